"""The local stream of Sheng et al. 2021: patches and coordinates of landmarks, then ASST-GCN (Sec. III-B)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reprolib.models.asst_gcn import ASSTGCN
from reprolib.models.c3d_resnet18 import SpatioTemporalStem, he_initialise, without_padding
from reprolib.models.landmark_patches import LRLP38, landmark_patches, relative_coordinates
from reprolib.models.precision import in_float32

# line of Table II -> the module that ends it; outputs are (M·T, channels, h, w), the first (M, channels, T, h, w)
STAGES = {
    "Conv3d 5×7×7": "stem.convolution",
    "MaxPool3d 1×3×3": "stem.pool",
    "Conv3d 1×3×3, 128": "second",
    "Conv3d 1×3×3, 256": "third",
    "AveragePool2d": "average",
}


class LMFE(nn.Module):
    """Local motion feature extraction: three convolutions on the patches of one landmark, shared by all landmarks.

    Input float32 (M, 1, T, p, p), landmarks in the batch; output (M, T, 4·width). The 1×3×3 convolutions of the paper
    are 3×3 convolutions of single frames. Source: Sheng et al. 2021, Table II; BatchNorm and ReLU are ours.
    """

    def __init__(self, *, width: int = 64):
        super().__init__()
        self.stem = SpatioTemporalStem(width)
        self.second = _halving(width, 2 * width)
        self.third = _halving(2 * width, 4 * width)
        self.average = nn.AdaptiveAvgPool2d(1)
        he_initialise(self)

    def forward(self, patches: Tensor) -> Tensor:
        # (M, 1, T, p, p) -> (M·T, width, p/4, p/4) -> (M·T, 4·width, 1, 1)
        maps = self.average(self.third(self.second(self.stem(patches))))
        return maps.flatten(1).unflatten(0, (patches.shape[0], patches.shape[2]))


def _halving(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )


class LCFE(nn.Module):
    """Landmark coordinate feature extraction: a convolution over five frames, shared by all landmarks.

    Input float32 (N, T, K, 2); output (N, T, K, channels). Source: Sheng et al. 2021, Sec. III-B.
    """

    def __init__(self, *, channels: int = 256):
        super().__init__()
        self.convolution = nn.Conv1d(2, channels, 5, padding=2)

    def forward(self, coordinates: Tensor) -> Tensor:
        batch, _, nodes, _ = coordinates.shape
        # (N, T, K, 2) -> (N·K, 2, T) -> (N·K, channels, T) -> (N, T, K, channels)
        tracks = coordinates.permute(0, 2, 3, 1).flatten(0, 1)
        return in_float32(self.convolution)(tracks).unflatten(0, (batch, nodes)).permute(0, 3, 1, 2)


class LocalStream(nn.Module):
    """Motion and coordinate features of the landmarks `points`, related by a graph network, mean over landmarks.

    frames float32 (N, T, H, W), landmarks (N, T, 68, 2) in pixels of the frames, lengths int64 (N,) or None for clips
    without padding -> (N, T, channels). LMFE and LCFE give half of the channels each. Without `motion` or `coordinates`
    a linear layer widens the other half to all channels, so that the graph network is unchanged. `graph` replaces
    ASST-GCN; otherwise `graph_options` are those of `ASSTGCN`. In evaluation mode padding changes nothing.
    ValueError with neither motion nor coordinates, and for channels that 8 does not divide.
    Source: Sheng et al. 2021, Fig. 2.
    """

    def __init__(
        self,
        *,
        points: Sequence[int] = LRLP38,
        patch: int = 32,
        channels: int = 512,
        motion: bool = True,
        coordinates: bool = True,
        semantic_encoding: bool = True,
        graph: nn.Module | None = None,
        **graph_options,
    ):
        super().__init__()
        if not motion and not coordinates:
            raise ValueError("a local stream needs motion or coordinates, found neither")
        if channels % 8:
            raise ValueError(f"channels must be divisible by 8, found {channels}")
        self.points, self.patch, self.channels = tuple(points), patch, channels
        self.motion = LMFE(width=channels // 8) if motion else None
        self.coordinates = LCFE(channels=channels // 2) if coordinates else None
        self.widen = nn.Identity() if motion and coordinates else nn.Linear(channels // 2, channels)
        # one learned vector for each landmark
        self.encoding = nn.Parameter(torch.randn(len(points), channels)) if semantic_encoding else None
        self.graph = ASSTGCN(len(points), channels, **graph_options) if graph is None else graph

    def forward(self, frames: Tensor, landmarks: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.graph(self.nodes(frames, landmarks, lengths), lengths).mean(2)

    def nodes(self, frames: Tensor, landmarks: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Input of the graph network, one vector per landmark and frame: (N, T, K, channels)."""
        features = []
        if self.motion is not None:
            patches = landmark_patches(frames, landmarks[:, :, list(self.points)], self.patch)
            patches = without_padding(patches, lengths, dim=2).flatten(0, 1)[:, None]
            # (N·K, T, C) -> (N, T, K, C)
            features.append(self.motion(patches).unflatten(0, (len(frames), -1)).transpose(1, 2))
        if self.coordinates is not None:
            features.append(self.coordinates(without_padding(relative_coordinates(landmarks, self.points), lengths)))
        nodes = self.widen(torch.cat(features, dim=-1))
        return nodes if self.encoding is None else nodes + self.encoding

    def attention_graphs(self, frames: Tensor, landmarks: Tensor, lengths: Tensor | None = None) -> Tensor:
        """A^st of all layers on these clips: (layers, N, T, Q, K, K)."""
        return self.graph.attention_graphs(self.nodes(frames, landmarks, lengths), lengths)

    def semantic_graphs(self) -> Tensor:
        """A^se of all layers: (layers, Q, K, K)."""
        return self.graph.semantic_graphs()
