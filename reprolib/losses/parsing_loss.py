"""The losses of yin2020: coarse labels, positions of the parts, fine labels of the parts (Sec. 2.4 and 2.5.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.models.spatial_transformer import crop

SINGLE = 5  # parts that are one class each, 1 to 5: brows, eyes, nose
UPPER_LIP = 6  # classes 6, 7 and 8 are the mouth's


def coarse_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the coarse labels, Eq. 18. logits: (N, 9, s, s); labels: int64 (N, s, s)."""
    return F.cross_entropy(logits, labels)


def theta_loss(theta: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 (β = 1), averaged over all entries of θ, Eq. 19 and 20.

    theta, target: float (N, 6, 2, 3). Parts that a face lacks have a target that is not finite and do not count; 0 if
    no part is left.
    """
    known = target.isfinite().flatten(2).all(2)
    return F.smooth_l1_loss(theta[known], target[known], reduction="sum") / max(1, 6 * int(known.sum()))


def part_targets(labels: Tensor, theta: Tensor, *, patch: int, mouth_patch: int) -> tuple[Tensor, Tensor]:
    """The labels in each part's crop: int64 (N, 5, patch, patch) of 0 and 1, and (N, mouth_patch, mouth_patch) of 0–3.

    labels: integer (N, H, W) of the frame; theta: (N, 6, 2, 3). Sampled by nearest neighbour. In a part's crop
    all other parts are background, and so is the area outside the frame. The mouth's labels: background, upper lip,
    inner mouth, lower lip.
    """
    planes = labels[:, None].to(theta.dtype)
    singles = crop(planes, theta[:, :SINGLE].detach(), patch=patch, mode="nearest")[:, :, 0]
    mouth = crop(planes, theta[:, SINGLE:].detach(), patch=mouth_patch, mode="nearest")[:, 0, 0]
    own = torch.arange(1, SINGLE + 1, device=labels.device)[:, None, None]
    return (singles == own).long(), (mouth - UPPER_LIP + 1).clamp(min=0).long()


def part_loss(outputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of the fine labels, summed over the six parts: Eq. 16, 17 and 22.

    outputs: "theta", "parts" and "mouth" as `reprolib.models.stn_icnn` gives them; labels: integer (N, H, W) of the
    frame, cropped at the predicted θ. The gradient in θ comes through the cropped images alone.
    """
    parts, mouth = outputs["parts"], outputs["mouth"]
    singles, mouth_labels = part_targets(labels, outputs["theta"], patch=parts.shape[-1], mouth_patch=mouth.shape[-1])
    of_singles = F.cross_entropy(parts.flatten(0, 1), singles.flatten(0, 1))
    return SINGLE * of_singles + F.cross_entropy(mouth, mouth_labels)
