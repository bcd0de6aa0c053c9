"""Cross-entropy in which every blob has the same weight: Masi et al. 2020, Eq. 5, without the consensus term."""

from __future__ import annotations

import torch
from torch.nn import functional as F

IGNORED_LABEL = 255


def blob_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, blobs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, averaged over each blob's pixels, then over each image's blobs, then over images; a scalar.

    logits: float (N, C, H, W). labels: int64 (N, H, W), 255 = ignored. blobs: int64 (N, H, W), ids ≥ 0 distinct
    within an image, −1 = ignored. Images without a blob do not count. Eq. 8 does two things at once: it gives small
    blobs the weight of large ones, and it ties the pixels of a blob together. This loss does only the first.

    >>> logits = torch.zeros(1, 2, 1, 3)  # both classes equally likely: log 2 everywhere
    >>> blob_cross_entropy(logits, torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0, 0, 1]]]))
    tensor(0.6931)
    """
    used = (blobs >= 0) & (labels != IGNORED_LABEL)
    image = torch.arange(len(logits), device=logits.device).view(-1, 1, 1).expand_as(blobs)[used]
    span = int(blobs.max()) + 2
    keys, row = torch.unique(image * span + blobs[used], return_inverse=True)
    pixels = torch.bincount(row, minlength=len(keys))
    # each pixel's share in the mean over its blob, over its image's blobs, and over the images with blobs
    owner = keys // span
    blobs_of_image = torch.bincount(owner, minlength=len(logits))
    images = (blobs_of_image > 0).sum().clamp(min=1)
    share = 1.0 / (pixels * blobs_of_image[owner] * images)
    per_pixel = F.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction="none")[used]
    return (per_pixel * share[row].to(per_pixel.dtype)).sum()
