"""Pairwise smoothing without a CRF, a control for the consensus loss."""

from __future__ import annotations

import torch

IGNORED_LABEL = 255


def smoothness_penalty(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean distance ½‖p(s) − p(t)‖₁ of 4-neighbours s, t that have the same label; a scalar in [0, 1].

    logits: float (N, C, H, W). labels: integer (N, H, W), 255 = ignored. 0 if no neighbours share a label.
    Where the consensus term ties each pixel to the mean of its blob, this one ties it to the next pixel only:
    the pairwise potential of a grid CRF, restricted to edges inside a labelled region, as a training loss.
    Source: anisotropic total variation (Rudin et al. 1992) on the softmax.

    >>> logits = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])  # two neighbours with opposite predictions
    >>> smoothness_penalty(logits, torch.tensor([[[1, 1]]])).round(decimals=3)
    tensor(1.)
    >>> smoothness_penalty(logits, torch.tensor([[[0, 1]]]))  # they have different labels
    tensor(0.)
    """
    p = logits.softmax(1)
    total, pairs = logits.new_zeros(()), logits.new_zeros(())
    for dim in (-2, -1):
        size = labels.shape[dim] - 1
        here, there = labels.narrow(dim, 0, size), labels.narrow(dim, 1, size)
        alike = (here == there) & (here != IGNORED_LABEL)
        distance = (p.narrow(dim, 1, size) - p.narrow(dim, 0, size)).abs().sum(1) / 2
        total = total + (distance * alike).sum()
        pairs = pairs + alike.sum()
    return total / pairs.clamp(min=1)
