"""GloRe (Chen et al., CVPR 2019) on the encoder and decoder of the lip network; a row of Yang et al. 2023, Table V."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.encoders import build_encoder
from reprolib.models.lip_network import Decoder, Heads, PredictionHeads, check_sides


class GloReUnit(nn.Module):
    """Project pixels onto nodes by a learned 1×1 convolution, apply a graph convolution, project back, and add.

    Input and output float32 (B, C, H, W), C divisible by 4. Source: Chen et al. 2019, Eq. 3–6.
    """

    def __init__(self, channels: int, *, nodes: int):
        super().__init__()
        inner = channels // 4
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.project = nn.Conv2d(channels, nodes, 1)
        self.between_nodes = nn.Conv1d(nodes, nodes, 1)
        self.between_channels = nn.Conv1d(inner, inner, 1, bias=False)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        state = self.reduce(features)  # (B, C/4, H, W)
        projection = self.project(features).flatten(2)  # B of the paper: (B, N, D), D = H·W
        # coordinate space -> interaction space, the mean over the pixels: (B, C/4, N)
        nodes = state.flatten(2) @ projection.transpose(1, 2) / projection.shape[2]
        # graph convolution (I − A) V W: nodes exchange, then each node is transformed
        exchanged = nodes - self.between_nodes(nodes.transpose(1, 2)).transpose(1, 2)
        nodes = F.relu(self.between_channels(exchanged))
        # interaction space -> coordinate space, by the same matrix
        return features + self.expand((nodes @ projection).reshape(state.shape))


class GloReNetwork(nn.Module):
    """Lip network whose three finer scales pass through a GloRe unit instead of FLM, FGR and SE fusion.

    Input float32 (N, 3, H, W), sides divisible by 32; output `Heads`. Yang et al. do not give these choices: units on
    all three finer scales, states of C/4 channels and 16/32/64 nodes are what Table V's parameter count needs.
    """

    def __init__(
        self,
        *,
        classes: int = 5,
        encoder: str = "resnet34",
        nodes: tuple[int, int, int] = (16, 32, 64),
    ):
        super().__init__()
        self.encoder = build_encoder(encoder)
        channels = self.encoder.channels
        self.units = nn.ModuleList(GloReUnit(c, nodes=n) for c, n in zip(channels[:3], nodes, strict=True))
        self.decoder = Decoder(channels)
        self.heads = PredictionHeads(channels, classes=classes)

    def forward(self, images: Tensor) -> Heads:
        check_sides(images)
        *scales, deepest = encoded = self.encoder(images)
        skips = [unit(x) for unit, x in zip(self.units, scales, strict=True)]
        return self.heads(self.decoder([*skips, deepest]), encoded, images.shape[-2:])
