"""Size and arithmetic cost of a network."""

from __future__ import annotations

import copy

import thop
import torch
from thop.profile import register_hooks
from torch import nn

from reprolib.models.c3d_resnet18 import FrameStackConv3d
from reprolib.models.dilated_fcn import InterleavedConv2d

# thop knows a layer by its exact class
OURS = {InterleavedConv2d: register_hooks[nn.Conv2d], FrameStackConv3d: register_hooks[nn.Conv3d]}


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def counted(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply-accumulate operations of one forward pass by thop's rule, as the papers quote them.

    `input_shape` includes the batch: (1, 3, 128, 128). The parameters are those of called layers that thop knows:
    a bare `nn.Parameter` or a layer that is not called counts nothing; a module registered under two names counts
    twice, its operations four times. The model is left as it was: thop hangs buffers and hooks on the modules it
    counts, so it is given a copy. On the meta device nothing is computed.
    """
    model = copy.deepcopy(model).float().eval()
    images = torch.zeros(input_shape, device=next(model.parameters()).device)
    with torch.no_grad():
        operations, known = thop.profile(model, inputs=(images,), custom_ops=OURS, verbose=False)
    return int(known), int(operations)


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulate operations of one forward pass by thop's rule (see `counted`)."""
    return counted(model, input_shape)[1]
