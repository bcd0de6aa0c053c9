"""Soft Dice loss, a region-based control for the consensus loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F

IGNORED_LABEL = 255


def dice_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 − Dice of softmax and labels, pooled over the batch, mean over the classes present; a scalar.

    logits: float (N, C, H, W). labels: integer (N, H, W), 255 = ignored. 0 if all labels are ignored.
    Source: Milletari et al., 3DV 2016, Eq. for D, with sums of probabilities (not of squares) in the denominator.

    >>> logits = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])  # two classes, two pixels, sure of 0 and 1
    >>> dice_loss(logits, torch.tensor([[[0, 1]]])).round(decimals=3)
    tensor(0.)
    >>> dice_loss(logits, torch.tensor([[[1, 0]]])).round(decimals=3)
    tensor(1.)
    """
    losses, present = _of_classes(logits, labels)
    return (losses * present).sum() / present.sum().clamp(min=1)


def dice_sum(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """As `dice_loss`, but summed over the classes present: with K of them K times as large (yang2023 Eq. 16)."""
    losses, present = _of_classes(logits, labels)
    return (losses * present).sum()


def _of_classes(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """1 − Dice of each class, float (C,), and whether the labels have it, bool (C,)."""
    used = (labels != IGNORED_LABEL)[:, None]
    truth = F.one_hot(torch.where(used[:, 0], labels, 0).long(), logits.shape[1]).movedim(-1, 1) * used
    p = logits.softmax(1) * used
    # (N, C, H, W) -> (C,)
    overlap, size = (p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3))
    return 1 - 2 * overlap / size.clamp(min=1e-7), truth.sum((0, 2, 3)) > 0
