"""Receptive field of one output pixel, by gradient and by interval arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn


def gradient_map(model: nn.Module, input_size: int, pixel: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """|∂ output(pixel) / ∂ input|, summed over channels: float64 (input_size, input_size).

    `pixel` = (row, column) of the output. Every weight is replaced by a random non-zero one, since a trained
    or zero weight may hide a connection; float64 keeps the products of small weights at the border of the
    field from vanishing. The model itself is left as it was.
    """
    model = copy.deepcopy(model).double().cpu().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = max(1, parameter[0].numel())
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((0.5 + noise) / fan_in)
    image = torch.rand(1, 3, input_size, input_size, generator=generator, dtype=torch.float64, requires_grad=True)
    model(image)[0, :, pixel[0], pixel[1]].sum().backward()
    return image.grad[0].abs().sum(0).numpy()


def longest_path(model: nn.Module) -> list[nn.Module]:
    """The convolutions and pixel shuffles of a model in order of definition.

    In `EncoderDecoder` that is the path with the widest field: encoder, context, decoder, classifier. (The
    skip past the context branch sees a part of what the branch sees.)
    """
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.PixelShuffle)]


def interval(layers: Iterable[nn.Module], pixel: int) -> tuple[int, int]:
    """First and last input index, along one axis, that output index `pixel` depends on (borders not clipped).

    `layers`: square Conv2d and PixelShuffle in order from the input.
    """
    first = last = pixel
    for layer in reversed(list(layers)):
        if isinstance(layer, nn.PixelShuffle):
            first, last = first // layer.upscale_factor, last // layer.upscale_factor
        else:
            stride, padding, dilation = layer.stride[0], layer.padding[0], layer.dilation[0]
            first = first * stride - padding
            last = last * stride - padding + dilation * (layer.kernel_size[0] - 1)
    return first, last


def by_arithmetic(layers: Iterable[nn.Module], *, phases: int = 4) -> tuple[int, ...]:
    """Receptive field in pixels of the output phases 0 … phases − 1, along one axis.

    A pixel shuffle makes neighbouring outputs share inputs, so the field depends on the output index modulo
    the total upscaling (4 in `EncoderDecoder`: 93 or 97 pixels).
    """
    layers = list(layers)
    ends = [interval(layers, phase) for phase in range(phases)]
    return tuple(last - first + 1 for first, last in ends)
