"""Multi-class IoU loss, a region-based control for the segmentation loss of Wang et al. 2018."""

from __future__ import annotations

import torch

IGNORED_LABEL = 255


def iou_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 − IoU of softmax and labels, pooled over the batch, mean over all classes; a scalar.

    scores: float (N, C, …), before the softmax. labels: integer (N, …), 255 = ignored. A class without labels has
    IoU 0 and gives no gradient; 0 if all labels are ignored. Source: Wang et al. 2018, Eq. 3 (Rahman and Wang 2016).

    >>> scores = torch.tensor([[[9.0, -9.0, -9.0], [-9.0, 9.0, 9.0]]])  # classes 0, 1, 1
    >>> iou_loss(scores, torch.tensor([[0, 1, 0]])).round(decimals=3)  # both classes have IoU 1/2
    tensor(0.5000)
    """
    truth, used = label_masks(labels, classes=scores.shape[1])
    overlap, union = overlap_and_union(scores.softmax(1).flatten(2), truth, used)
    overlap, union = overlap.sum(0), union.sum(0)
    return torch.where(union > 0, 1 - overlap / union.clamp(min=1e-7), 0).mean()


def label_masks(labels: torch.Tensor, *, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of each class, bool (N, classes, P), and of the pixels that are not ignored, bool (N, 1, P).

    labels: integer (N, …) of P pixels each, 255 = ignored: in no class.
    """
    labels = labels.flatten(1)[:, None]
    return labels == torch.arange(classes, device=labels.device)[:, None], labels != IGNORED_LABEL


def overlap_and_union(p: torch.Tensor, truth: torch.Tensor, used: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ p·y and Σ (p + y − p·y) over the used pixels, both (N, C), for memberships p (N, C, P) in [0, 1]."""
    overlap = torch.where(truth, p, 0).sum(2)
    return overlap, torch.where(used, p, 0).sum(2) + truth.sum(2) - overlap
