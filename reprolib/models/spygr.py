"""SpyGR (Li et al., CVPR 2020) on the encoder of the lip network; a row of Yang et al. 2023, Table V."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.encoders import build_encoder
from reprolib.models.lip_network import Heads, PredictionHeads, check_sides, upsampled


class GraphReasoning(nn.Module):
    """relu(L X Θ) with the Laplacian L = I − D̃^(−½) φ Λ φᵀ D̃^(−½) of a graph whose nodes are the pixels.

    Input float32 (B, C, H, W), C divisible by 4; output (B, outputs, H, W). φ has C/4 channels; Λ is diagonal, from
    the mean of φ over the pixels. Neither the graph nor L, both pixels × pixels, is ever formed.
    Source: Li et al. 2020, Eq. 3–7.
    """

    def __init__(self, channels: int, outputs: int):
        super().__init__()
        inner = channels // 4
        self.phi = nn.Conv2d(channels, inner, 1)
        # one slope and one offset per channel: Table V's count has no room for a full layer
        self.slope = nn.Parameter(torch.ones(inner))
        self.offset = nn.Parameter(torch.zeros(inner))
        self.theta = nn.Conv2d(channels, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        phi = F.relu(self.phi(features)).flatten(2)  # (B, C/4, D), D = H·W
        # Λ, positive: which similarities count in this image
        weights = (self.slope * phi.mean(2) + self.offset).sigmoid()
        weighted = weights[..., None] * phi
        # degrees of the pixels, the row sums of φ Λ φᵀ: (B, 1, D)
        degrees = (weighted * phi.sum(2, keepdim=True)).sum(1, keepdim=True)
        scale = (degrees + 1e-6).rsqrt()
        # X Θ − D̃^(−½) φ Λ φᵀ D̃^(−½) X Θ from right to left: (B, outputs, D)
        signal = self.theta(features)
        x = signal.flatten(2)
        neighbours = ((x * scale) @ weighted.transpose(1, 2)) @ phi * scale
        return F.relu(x - neighbours).reshape(signal.shape)


class SpyGRNetwork(nn.Module):
    """Graph reasoning on all four scales, summed from the coarsest to the finest, and the lip network's heads.

    Input float32 (N, 3, H, W), sides divisible by 32; output `Heads`. Yang et al. do not give these choices: reasoning
    to `width` channels on each scale, and no other decoder, is what Table V's counts need.
    """

    def __init__(self, *, classes: int = 5, encoder: str = "resnet34", width: int = 64):
        super().__init__()
        self.encoder = build_encoder(encoder)
        self.reasoning = nn.ModuleList(GraphReasoning(c, width) for c in self.encoder.channels)
        self.heads = PredictionHeads(self.encoder.channels, classes=classes, decoded=width)

    def forward(self, images: Tensor) -> Heads:
        check_sides(images)
        encoded = self.encoder(images)
        *finer, x = (reason(scale) for reason, scale in zip(self.reasoning, encoded, strict=True))
        for scale in reversed(finer):
            x = scale + upsampled(x, scale.shape[-2:])
        return self.heads(x, encoded, images.shape[-2:])
