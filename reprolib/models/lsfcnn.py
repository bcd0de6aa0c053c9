"""LSFCNN (Guan et al. 2020) on the encoder and decoder of the lip network; a row of Yang et al. 2023, Table V."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reprolib.models.encoders import build_encoder
from reprolib.models.fuzzy_learning import membership
from reprolib.models.lip_network import Decoder, Heads, PredictionHeads, SqueezeExcitationFusion, check_sides

Conjunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class FuzzyAndModule(nn.Module):
    """Fuzzify C/4 channels and let C/4 rules "x_1 is K_1 AND x_2 is K_2 AND …" fire at every pixel.

    Input and output float32 (B, C, H, W), C divisible by 4; μ and σ have shape (C/4 channels, C/4 rules). The firing
    strengths themselves are passed on as features. `conjunction` computes AND: by default the minimum, as OR is the
    maximum in Yang et al. 2023, Sec. III-B. The alternative is `and_by_product`; over 64 channels a product is 0 in
    float32.
    Source: Guan et al. 2020.
    """

    def __init__(self, channels: int, *, conjunction: Conjunction | None = None):
        super().__init__()
        self.conjunction = conjunction or and_rules
        inner = channels // 4
        self.reduce = nn.Conv2d(channels, inner, 3, padding=1)
        self.mu = nn.Parameter(torch.randn(inner, inner))
        self.sigma = nn.Parameter(torch.randn(inner, inner))
        self.expand = nn.Conv2d(2 * inner, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.reduce(features)
        # its large tensors are computed again for the gradient, not kept
        strengths = checkpoint(self.conjunction, x, self.mu, self.sigma, use_reentrant=False, preserve_rng_state=False)
        return self.expand(torch.cat([x, strengths], dim=1))


def and_rules(x: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Smallest membership over the channels: (B, C, H, W) with μ, σ (C, R) -> (B, R, H, W) in [0, 1]."""
    return membership(x, mu, sigma).amin(1).movedim(-1, 1)


def and_by_product(x: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Product of the memberships over the channels, shapes as in `and_rules`: 0 where too many are small."""
    u = (x[..., None] - mu[:, None, None]) / sigma[:, None, None]
    return u.square().sum(1).neg().exp().movedim(-1, 1)


class LSFCNN(nn.Module):
    """Lip network with AND rules in place of FLM and FGR.

    Input float32 (N, 3, H, W), sides divisible by 32; output `Heads`.
    """

    def __init__(self, *, classes: int = 5, encoder: str = "resnet34", conjunction: Conjunction | None = None):
        super().__init__()
        self.encoder = build_encoder(encoder)
        channels = self.encoder.channels
        self.fuzzy = nn.ModuleList(FuzzyAndModule(c, conjunction=conjunction) for c in channels[:3])
        self.fusion = nn.ModuleList(SqueezeExcitationFusion(2 * c, c) for c in channels[:3])
        self.decoder = Decoder(channels)
        self.heads = PredictionHeads(channels, classes=classes)

    def forward(self, images: Tensor) -> Heads:
        check_sides(images)
        *scales, deepest = encoded = self.encoder(images)
        skips = [
            fuse(torch.cat([x, fuzzy(x)], dim=1))
            for fuse, fuzzy, x in zip(self.fusion, self.fuzzy, scales, strict=True)
        ]
        return self.heads(self.decoder([*skips, deepest]), encoded, images.shape[-2:])
