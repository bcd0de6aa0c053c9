"""Convolutions written as others of the same function, against PyTorch's own, which a CPU differentiates slowly.

The dilated depthwise convolution of `reprolib.models.dilated_fcn` on the maps of MobileNetV2's last stage at 224 and
320 pixels, and the stem of `reprolib.models.c3d_resnet18` on landmark patches and mouths of sheng2021's profile cpu.
One CPU thread, forward and backward. Run: `python benchmarks/rewritten_convolutions.py` (about 20 seconds). Prints how
many times as fast ours are, in CPU time; the best of several runs of each counts.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from reprolib.models.c3d_resnet18 import FrameStackConv3d
from reprolib.models.dilated_fcn import InterleavedConv2d

REPEATS = 10


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
        images = torch.randn(8, 960, side, side)
        options = {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 960}
        theirs, ours = (kind(960, 960, **options) for kind in (nn.Conv2d, InterleavedConv2d))
        images, theirs, ours = (x.to(memory_format=torch.channels_last) for x in (images, theirs, ours))
        images = images.detach().requires_grad_()
        ratio = seconds(theirs, images) / seconds(ours, images)
        print(f"dilated, {side}×{side}, 960 channels: {ratio:.1f} times as fast")
    for count, side in ((16 * 38, 12), (16, 40)):
        clips = torch.randn(count, 1, 13, side, side)
        options = {"kernel_size": (5, 7, 7), "stride": (1, 2, 2), "padding": (2, 3, 3), "bias": False}
        theirs, ours = (kind(1, 8, **options) for kind in (nn.Conv3d, FrameStackConv3d))
        ratio = seconds(theirs, clips) / seconds(ours, clips)
        print(f"stem, {count} clips of {side}×{side}: {ratio:.1f} times as fast")


if __name__ == "__main__":
    main()
