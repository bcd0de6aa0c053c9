"""Full precision inside a network that trains in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def in_float32(function: Callable) -> Callable:
    """`function` of tensors and tuples of tensors, run without autocast, with every bfloat16 argument cast to float32.

    Use it where the eight significant bits of bfloat16 are too few: exponents that differ little, pixel coordinates,
    sums over many terms, states of LSTMs and GRUs (which autocast computes in float16 on CUDA, whatever its dtype).
    Arguments are positional; those of other types pass unchanged.
    """

    @wraps(function, updated=())
    def exact(*arguments):
        device = next(argument.device.type for argument in arguments if isinstance(argument, Tensor))
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):
            return function(*(_widened(argument) for argument in arguments))

    return exact


def _widened(argument):
    if isinstance(argument, tuple):
        return tuple(_widened(part) for part in argument)
    return argument.float() if isinstance(argument, Tensor) and argument.dtype == torch.bfloat16 else argument
