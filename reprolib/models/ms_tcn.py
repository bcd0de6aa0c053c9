"""MS-TCN, the multi-scale temporal back end of word-level lip reading (Sheng et al. 2021, Sec. III-D and Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reprolib.models.c3d_resnet18 import Activation, activate, valid_frames, without_padding

KERNELS = (3, 5, 7)


class MSTCN(nn.Module):
    """Blocks of parallel dilated convolutions over time, the mean over a clip's frames, and a linear layer.

    features float32 (N, T, in_channels), lengths int64 (N,) or None for clips without padding -> logits (N, classes).
    `channels` is the width of one branch; a block has 3·channels. `blocks` lists the blocks' dilations. Padding changes
    nothing in evaluation mode, but enters the statistics of BatchNorm in training.
    Source: Sheng et al. 2021, Fig. 4 (three blocks); layers in the order of Martinez et al. 2020, with their dropout.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        channels: int = 256,
        blocks: Sequence[int] = (1, 2, 4),
        dropout: float = 0.2,
        activation: Activation = "prelu",
    ):
        super().__init__()
        wide = len(KERNELS) * channels
        options = {"dropout": dropout, "activation": activation}
        self.blocks = nn.ModuleList(
            MultiScaleBlock(wide if i else in_channels, channels, dilation=dilation, **options)
            for i, dilation in enumerate(blocks)
        )
        self.classifier = nn.Linear(wide, classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = features.transpose(1, 2)  # (N, C, T)
        for block in self.blocks:
            x = block(x, lengths)
        return self.classifier(mean_of_frames(x.transpose(1, 2), lengths))


class MultiScaleBlock(nn.Module):
    """Two multi-scale convolutions beside a 1×1 convolution, then the activation.

    Input (N, inputs, T), lengths (N,) or None; output (N, 3·channels, T).
    """

    def __init__(self, inputs: int, channels: int, *, dilation: int, dropout: float, activation: Activation):
        super().__init__()
        wide = len(KERNELS) * channels
        options = {"dilation": dilation, "dropout": dropout, "activation": activation}
        self.first = MultiScaleConvolution(inputs, channels, **options)
        self.second = MultiScaleConvolution(wide, channels, **options)
        self.shortcut = nn.Conv1d(inputs, wide, 1)
        self.activation = activate(wide, activation)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return self.activation(self.second(self.first(x, lengths), lengths) + self.shortcut(x))


class MultiScaleConvolution(nn.Module):
    """Convolutions with kernels 3, 5 and 7 side by side, each with BatchNorm and activation; then dropout.

    Input (N, inputs, T), lengths (N,) or None; output (N, 3·channels, T).
    """

    def __init__(self, inputs: int, channels: int, *, dilation: int, dropout: float, activation: Activation):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(inputs, channels, kernel, dilation=dilation, padding="same"),
                nn.BatchNorm1d(channels),
                activate(channels, activation),
            )
            for kernel in KERNELS
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = without_padding(x, lengths, dim=2)  # or the kernels would reach into it
        return self.dropout(torch.cat([branch(x) for branch in self.branches], dim=1))


def mean_of_frames(features: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over the valid frames: (N, T, C), lengths (N,) or None for all -> (N, C)."""
    if lengths is None:
        return features.mean(1)
    weights = valid_frames(lengths, features.shape[1]) / lengths[:, None]
    return (without_padding(features, lengths) * weights[..., None]).sum(1)
