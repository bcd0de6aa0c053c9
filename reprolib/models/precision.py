"""Full precision inside a network that trains in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def in_float32(function: Callable) -> Callable:
    """`function` of tensors, computed without autocast and with every bfloat16 argument made float32.

    For what eight bits cannot carry: exponents that differ by little, coordinates of pixels, sums over many terms.
    Other types of argument pass as they are.
    """

    @wraps(function, updated=())
    def exact(*arguments):
        device = next(argument.device.type for argument in arguments if isinstance(argument, Tensor))
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):
            return function(*(_widened(argument) for argument in arguments))

    return exact


def _widened(argument):
    return argument.float() if isinstance(argument, Tensor) and argument.dtype == torch.bfloat16 else argument
