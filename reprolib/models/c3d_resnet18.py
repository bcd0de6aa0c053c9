"""C3D-ResNet18, the global stream of Sheng et al. 2021: one spatio-temporal convolution, then a ResNet per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# line of Table I -> the module that ends it; outputs are (N·T, channels, h, w), the first (N, channels, T, h, w)
STAGES = {
    "Conv3d 5×7×7": "stem.convolution",
    "MaxPool3d 1×3×3": "stem.pool",
    "Residual 64, first and second": "stages.0",
    "Residual 128": "stages.1",
    "Residual 256": "stages.2",
    "Residual 512": "stages.3",
    "GlobalPool2d": "average",
}
Activation = Literal["relu", "prelu"]


class C3DResNet18(nn.Module):
    """A 5×7×7 convolution over frames, then ResNet-18 on every frame up to its global average.

    Input float32 crops (N, T, h, w), or (N, in_channels, T, h, w); output (N, T, 8·width). `width` scales all channels
    (64 is the paper's), `blocks` counts the residual blocks of the four stages ((3, 4, 6, 3) is ResNet-34). Frames
    from `lengths` (N,) on are padding, which no other frame sees. Convolutions have no biases. ValueError for another
    activation. Source: Sheng et al. 2021, Table I.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        activation: Activation = "relu",
        in_channels: int = 1,
        blocks: Sequence[int] = (2, 2, 2, 2),
    ):
        super().__init__()
        self.stem = SpatioTemporalStem(width, in_channels=in_channels, activation=activation)
        channels = [width * 2**stage for stage in range(4)]
        self.stages = nn.Sequential(
            *(
                _stage(before, after, count, stride=1 if stage == 0 else 2, activation=activation)
                for stage, (before, after, count) in enumerate(
                    zip([width, *channels[:3]], channels, blocks, strict=True)
                )
            )
        )
        self.average = nn.AdaptiveAvgPool2d(1)
        self.channels = channels[-1]
        he_initialise(self)

    def forward(self, crops: Tensor, lengths: Tensor | None = None) -> Tensor:
        maps = self.maps(crops, lengths)
        return self.average(maps.flatten(0, 1)).flatten(1).unflatten(0, maps.shape[:2])

    def maps(self, crops: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Input of the global average: (N, T, 8·width, ⌈h/32⌉, ⌈w/32⌉)."""
        clips = crops[:, None] if crops.dim() == 4 else crops
        batch, _, frames, _, _ = clips.shape
        # (N, C, T, h, w) -> (N·T, width, h/4, w/4)
        maps = self.stem(without_padding(clips, lengths, dim=2))
        return self.stages(maps).unflatten(0, (batch, frames))


class FrameStackConv3d(nn.Conv3d):
    """A 3-D convolution at stride 1 in time, computed as a 2-D one whose channels are the frames under its kernel.

    The same function of the same parameters, up to rounding. With few input channels PyTorch's gradient of a 3-D
    convolution is slow on a CPU (`benchmarks/rewritten_convolutions.py`). For odd kernels, padded by half
    of their length, rounded down, on every side.
    """

    def forward(self, clips: Tensor) -> Tensor:
        length, *sides = self.kernel_size
        padded = F.pad(clips, (0, 0, 0, 0, length // 2, length // 2))
        # (N, C, T, h, w, length) -> (N·T, C·length, h, w)
        stacked = padded.unfold(2, length, 1).permute(0, 2, 1, 5, 3, 4).flatten(2, 3).flatten(0, 1)
        stacked = stacked.contiguous(memory_format=torch.channels_last)
        padding = [side // 2 for side in sides]
        maps = F.conv2d(stacked, self.weight.flatten(1, 2), self.bias, stride=self.stride[1:], padding=padding)
        return maps.unflatten(0, (len(clips), -1)).transpose(1, 2)


class SpatioTemporalStem(nn.Module):
    """Conv3d 5×7×7 at stride (1, 2, 2), BatchNorm, activation, and MaxPool3d 1×3×3 at stride (1, 2, 2).

    Input float32 (N, in_channels, T, h, w); output (N·T, width, ⌈h/4⌉, ⌈w/4⌉), one map per frame: later layers see
    single frames. Source: Sheng et al. 2021, first two lines of Tables I and II.
    """

    def __init__(self, width: int, *, in_channels: int = 1, activation: Activation = "relu"):
        super().__init__()
        self.convolution = FrameStackConv3d(
            in_channels, width, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False
        )
        self.norm = nn.BatchNorm2d(width)
        self.activation = activate(width, activation)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, clips: Tensor) -> Tensor:
        # (N, width, T, h/2, w/2) -> (N·T, width, h/2, w/2): 2-D layers are faster than 3-D layers
        maps = self.convolution(clips).transpose(1, 2).flatten(0, 1)
        return self.pool(self.activation(self.norm(maps)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes.

    Input (N, inputs, h, w); output (N, channels, ⌈h/stride⌉, ⌈w/stride⌉).
    """

    def __init__(self, inputs: int, channels: int, *, stride: int = 1, activation: Activation = "relu"):
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            activate(channels, activation),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != channels:
            # Equals a 1×1 convolution with this stride. For that one, with fewer than 16 input channels in
            # channels_last, oneDNN computes a wrong gradient and writes past its memory (uxlfoundation/oneDNN,
            # issue 6035).
            self.shortcut = nn.Sequential(
                nn.MaxPool2d(1, stride), nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels)
            )
        self.activation = activate(channels, activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


def _stage(inputs: int, channels: int, count: int, *, stride: int, activation: Activation) -> nn.Sequential:
    first = BasicBlock(inputs, channels, stride=stride, activation=activation)
    return nn.Sequential(first, *(BasicBlock(channels, channels, activation=activation) for _ in range(1, count)))


def activate(channels: int, activation: Activation) -> nn.Module:
    """ReLU, or PReLU with one slope for each channel (which starts at 0.25); ValueError for another name."""
    if activation not in ("relu", "prelu"):
        raise ValueError(f"activation must be 'relu' or 'prelu', found {activation!r}")
    return nn.ReLU() if activation == "relu" else nn.PReLU(channels)


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Which of `frames` frames belong to clips of `lengths` (N,): bool (N, frames)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def without_padding(x: Tensor, lengths: Tensor | None, *, dim: int = 1) -> Tensor:
    """`x` (N, …, T, …) with zeros from `lengths` on along its time dimension `dim`; unchanged if `lengths` is None."""
    if lengths is None:
        return x
    shape = [1] * x.dim()
    shape[0], shape[dim] = x.shape[0], x.shape[dim]
    return x.masked_fill(~valid_frames(lengths, x.shape[dim]).view(shape), 0)


def he_initialise(model: nn.Module) -> None:
    """Set all convolutions, in place, to He's normal weights by fan-out and zero biases."""
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
