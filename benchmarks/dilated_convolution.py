"""A dilated depthwise convolution on interleaved quarters against PyTorch's: `reprolib.models.dilated_fcn`.

One CPU thread, forward and backward, on the maps of MobileNetV2's last stage at 224 and 320 pixels. Run:
`python benchmarks/dilated_convolution.py` (about ten seconds). Prints how many times as fast the quarters are, in CPU
time; the best of several runs of each counts.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from reprolib.models.dilated_fcn import InterleavedConv2d

CHANNELS, BATCH, REPEATS = 960, 8, 10


def seconds(module: nn.Module, images: torch.Tensor) -> float:
    """CPU seconds of the fastest of a few forward and backward passes."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        module(images).sum().backward()
        best = min(best, time.process_time() - started)
    return best


def main() -> None:
    """Print a line for each size."""
    torch.set_num_threads(1)
    for side in (14, 20):
        images = torch.randn(BATCH, CHANNELS, side, side).contiguous(memory_format=torch.channels_last)
        images.requires_grad_()
        theirs, ours = (
            kind(CHANNELS, CHANNELS, 3, padding=2, dilation=2, groups=CHANNELS).to(memory_format=torch.channels_last)
            for kind in (nn.Conv2d, InterleavedConv2d)
        )
        ratio = seconds(theirs, images) / seconds(ours, images)
        print(f"{side}×{side}, {CHANNELS} channels: {ratio:.1f} times as fast")


if __name__ == "__main__":
    main()
