"""DualSeg with DGCNet's two graphs (Zhang et al., BMVC 2019); a row of Yang et al. 2023, Table V."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.encoders import build_encoder
from reprolib.models.lip_network import Decoder, Heads, PredictionHeads, check_sides, conv_norm_relu


class CoordinateGraph(nn.Module):
    """Graph over positions, at an eighth of the resolution: affinity of position pairs, then one transformation.

    Input and output float32 (B, C, H, W), C even, any H and W. Source: Zhang et al. 2019, "coordinate space".
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.shrink = nn.Sequential(*(_halving(channels) for _ in range(3)))
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.transform = nn.Sequential(nn.Conv1d(inner, inner, 1, bias=False), nn.BatchNorm1d(inner))
        self.expand = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        small = self.shrink(features)
        query, key, value = (layer(small) for layer in (self.query, self.key, self.value))
        # affinity of every pair of positions: (B, D, D)
        affinity = (query.flatten(2).transpose(1, 2) @ key.flatten(2)).softmax(2)
        # A X W: (B, C/2, D)
        reasoned = F.relu(self.transform(value.flatten(2) @ affinity.transpose(1, 2)))
        expanded = self.expand(reasoned.reshape(value.shape))
        return F.interpolate(expanded, features.shape[-2:], mode="bilinear", align_corners=True)


class FeatureGraph(nn.Module):
    """Graph over C/4 nodes of the feature space with states of C/2 channels.

    Input and output float32 (B, C, H, W), C divisible by 4. Source: Zhang et al. 2019, "feature space".
    """

    def __init__(self, channels: int):
        super().__init__()
        nodes, state = channels // 4, channels // 2
        self.state = nn.Sequential(nn.Conv2d(channels, state, 1), nn.BatchNorm2d(state))
        self.project = nn.Sequential(nn.Conv2d(channels, nodes, 1), nn.BatchNorm2d(nodes))
        self.between_nodes = nn.Sequential(nn.Conv1d(nodes, nodes, 1), nn.BatchNorm1d(nodes))
        self.between_channels = nn.Sequential(nn.Conv1d(state, state, 1, bias=False), nn.BatchNorm1d(state))
        self.expand = nn.Sequential(nn.Conv2d(state, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        state = self.state(features)
        projection = self.project(features).flatten(2)  # (B, nodes, D)
        # pixels -> nodes, the mean over the pixels: (B, nodes, C/2)
        nodes = projection @ state.flatten(2).transpose(1, 2) / projection.shape[2]
        # graph convolution: (I − A) V W
        exchanged = (nodes - self.between_nodes(nodes)).transpose(1, 2)
        nodes = F.relu(self.between_channels(exchanged))
        # nodes -> pixels
        return self.expand((nodes @ projection).reshape(state.shape))


class DualSegNetwork(nn.Module):
    """Lip network without FLM, FGR and SE fusion; both graphs work on the decoder's output, at stride 4.

    Input float32 (N, 3, H, W), sides divisible by 32; output `Heads`. Yang et al. do not say where the graphs are: this
    position, after a 3×3 convolution of 64 channels, is what Table V's counts need.
    """

    def __init__(self, *, classes: int = 5, encoder: str = "resnet34"):
        super().__init__()
        self.encoder = build_encoder(encoder)
        channels = self.encoder.channels
        finest = channels[0]
        self.decoder = Decoder(channels)
        self.enter = conv_norm_relu(finest, finest, kernel=3)
        self.coordinate_graph = CoordinateGraph(finest)
        self.feature_graph = FeatureGraph(finest)
        self.leave = nn.Sequential(nn.Conv2d(2 * finest, finest, 1), nn.BatchNorm2d(finest))
        self.heads = PredictionHeads(channels, classes=classes)

    def forward(self, images: Tensor) -> Heads:
        check_sides(images)
        encoded = self.encoder(images)
        x = self.enter(self.decoder(encoded))
        # reasoning over positions and over features side by side, each added to what came in
        dual = torch.cat([x + self.coordinate_graph(x), x + self.feature_graph(x)], dim=1)
        return self.heads(self.leave(dual), encoded, images.shape[-2:])


def _halving(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels), nn.BatchNorm2d(channels)
    )
