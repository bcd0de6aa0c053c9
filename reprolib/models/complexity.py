"""Size and arithmetic cost of a network."""

from __future__ import annotations

import copy

import thop
import torch
from torch import nn


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulate operations of one forward pass by thop's rule, as the papers quote them.

    `input_shape` includes the batch: (1, 3, 128, 128). The model is left as it was: thop hangs buffers and
    hooks on the modules it counts, so it is given a copy.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    with torch.no_grad():
        count, _ = thop.profile(model, inputs=(torch.zeros(input_shape),), verbose=False)
    return int(count)
