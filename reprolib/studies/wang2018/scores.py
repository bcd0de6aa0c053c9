"""The columns of wang2018's tables, from confusion matrices."""

from __future__ import annotations

import numpy as np

from reprolib import metrics

# The columns behind the classes of each region's networks, background first.
NAMES = {
    "face": ("background", "skin", "eyes", "outer", "inner"),
    "eyes": ("background", "eyes"),
    "mouth": ("background", "outer", "inner"),
}
REGION = {len(names): region for region, names in NAMES.items()}


def mask_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """IoU of each class and their mean without background (Eq. 2), in percent, from confusion matrices (…, K, K).

    K = 5 for faces, 2 for eyes, 3 for mouths. A class that is nowhere is left out of the mean.
    """
    iou = 100 * metrics.iou(confusion)
    names = NAMES[REGION[confusion.shape[-1]]]
    return {"miou": 100 * metrics.mean_iou(confusion, first=1)} | {f"iou_{n}": iou[..., k] for k, n in enumerate(names)}
