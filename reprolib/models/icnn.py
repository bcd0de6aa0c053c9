"""Interlinked convolutional networks: four rows, each at half the size of the one above, that exchange features.

`ICNN` is the form that yin2020 uses in both of its stages, `OriginalICNN` the one of Zhou et al. (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (8, 16, 24, 32)
STEPS = 3  # interlinked steps between the input layers and the integration


def convolution(before: int, after: int, *, kernel: int = 5) -> nn.Conv2d:
    """Convolution with bias that keeps the size."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2)


def halved(features: Tensor) -> Tensor:
    """3×3 max-pool of stride 2: (…, H, W) → (…, ⌈H/2⌉, ⌈W/2⌉)."""
    return F.max_pool2d(features, kernel_size=3, stride=2, padding=1)


def enlarged(features: Tensor, like: Tensor) -> Tensor:
    """Nearest up-sampling to the height and width of `like`, which need not be even."""
    return F.interpolate(features, size=like.shape[-2:], mode="nearest")


def enlarged_with_parity(features: Tensor, like: Tensor) -> Tensor:
    """As `enlarged`, with two more channels that mark the pixels of odd rows and of odd columns (Zhou et al.)."""
    features = enlarged(features, like)
    batch, _, height, width = features.shape
    odd_rows = (torch.arange(height).to(features) % 2)[:, None].expand(batch, 1, height, width)
    odd_columns = (torch.arange(width).to(features) % 2).expand(batch, 1, height, width)
    return torch.cat([features, odd_rows, odd_columns], dim=1)


def pyramid(images: Tensor, rows: int) -> list[Tensor]:
    """The images and their repeated max-pools, `rows` scales in all: sides 128, 64, 32, 16, or 81, 41, 21, 11."""
    scales = [images]
    while len(scales) < rows:
        scales.append(halved(scales[-1]))
    return scales


def interlinked(rows: Sequence[Tensor], enlarge: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """Each row beside the max-pool of the row above and the up-sampling of the row below (Sec. 2.2)."""
    last = len(rows) - 1
    return [
        torch.cat(
            [
                *([halved(rows[i - 1])] if i > 0 else []),
                row,
                *([enlarge(rows[i + 1], row)] if i < last else []),
            ],
            dim=1,
        )
        for i, row in enumerate(rows)
    ]


def interlinked_channels(channels: Sequence[int], *, parity: int = 0) -> list[int]:
    """Channels of each row after `interlinked`: 24, 48, 72, 56 for `CHANNELS`; `parity`: those added by up-sampling."""
    above, below = (0, *channels[:-1]), (*(c + parity for c in channels[1:]), 0)
    return [sum(three) for three in zip(above, channels, below, strict=True)]


class ICNN(nn.Module):
    """The network of both stages of STN-iCNN: iCNN with batch normalisation, ReLU and two convolutions per step.

    images: float32 (N, 3, H, W) of any size → logits float32 (N, labels, H, W).
    Source: yin2020 Sec. 2.2 and Figure 2; layers as in the authors' code, without those that its forward pass never
    calls.
    """

    def __init__(self, labels: int, *, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(_normalised(3, c, nn.Tanh()) for c in channels)
        self.steps = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(_normalised(before, c, nn.ReLU()), _normalised(c, c, nn.ReLU()))
                for before, c in zip(interlinked_channels(channels), channels, strict=True)
            )
            for _ in range(STEPS)
        )
        self.integration = nn.ModuleList(_normalised(c + below, c, nn.Tanh()) for c, below in pairwise(channels))
        self.head = nn.Sequential(
            _normalised(channels[0], 2 * labels + 8, nn.Tanh()),
            convolution(2 * labels + 8, labels),
            convolution(labels, labels, kernel=9),
        )

    def forward(self, images: Tensor) -> Tensor:
        # four scales of the image, each with its own first features
        scales = pyramid(images, len(self.inputs))
        rows = [layer(scale) for layer, scale in zip(self.inputs, scales, strict=True)]
        # every row reads its neighbours, all rows at once
        for step in self.steps:
            linked = interlinked(rows, enlarged)
            rows = [layers(features) for layers, features in zip(step, linked, strict=True)]
        # from the coarsest row up to the finest
        features = rows[-1]
        for layer, row in zip(reversed(self.integration), reversed(rows[:-1]), strict=True):
            features = layer(torch.cat([row, enlarged(features, row)], dim=1))
        return self.head(features)


def _normalised(before: int, after: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution(before, after), nn.BatchNorm2d(after), activation)


class OriginalICNN(nn.Module):
    """The iCNN of Zhou et al.: one convolution per step, tanh everywhere, no batch normalisation.

    images: float32 (N, 3, H, W) of any size → logits float32 (N, labels, H, W), `labels` counts the background.
    Each image is standardised channel by channel, as the original's inputs are.
    Source: Zhou, Hu and Zhang 2015, with the layers of their code.
    """

    def __init__(self, labels: int, *, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        parity = 2
        wide = 2 * (labels - 1) + 8
        self.inputs = nn.ModuleList(convolution(3, c, kernel=9) for c in channels)
        self.steps = nn.ModuleList(
            nn.ModuleList(
                convolution(before, c)
                for before, c in zip(interlinked_channels(channels, parity=parity), channels, strict=True)
            )
            for _ in range(STEPS)
        )
        after = (wide, *channels[1:-1])
        self.integration = nn.ModuleList(
            convolution(c + below + parity, out) for (c, below), out in zip(pairwise(channels), after, strict=True)
        )
        self.head = convolution(wide, labels, kernel=9)

    def forward(self, images: Tensor) -> Tensor:
        scales = pyramid(F.instance_norm(images), len(self.inputs))
        rows = [layer(scale).tanh() for layer, scale in zip(self.inputs, scales, strict=True)]
        # every row reads its neighbours, all rows at once
        for step in self.steps:
            linked = interlinked(rows, enlarged_with_parity)
            rows = [layer(features).tanh() for layer, features in zip(step, linked, strict=True)]
        # from the coarsest row up to the finest
        features = rows[-1]
        for layer, row in zip(reversed(self.integration), reversed(rows[:-1]), strict=True):
            features = layer(torch.cat([row, enlarged_with_parity(features, row)], dim=1)).tanh()
        return self.head(features)
