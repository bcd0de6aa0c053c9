"""The columns of wang2018's tables, from confusion matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reprolib import metrics
from reprolib.studies.wang2018.config import CLASSES, STEPS
from reprolib.study import Score

NAMES = {len(names): names for names in CLASSES.values()}


def mask_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """IoU of each class and their mean without background (Eq. 2), in percent, from confusion matrices (…, K, K).

    K = 5 for faces, 2 for eyes, 3 for mouths. An absent class is left out of the mean.
    """
    iou, names = 100 * metrics.iou(confusion), NAMES[confusion.shape[-1]]
    return {"miou": 100 * metrics.mean_iou(confusion, first=1)} | {f"iou_{n}": iou[..., k] for k, n in enumerate(names)}


def percentages(confusion: np.ndarray) -> dict[str, float]:
    """The columns of `mask_metrics` of one matrix (K, K); an absent class is left out."""
    found = {name: float(value) for name, value in mask_metrics(confusion).items()}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def over_time(confusion: np.ndarray) -> np.ndarray:
    """Each frame's own mIoU by its place in its clip: (clips · T, K, K) -> float64 (clips, T), percent."""
    return mask_metrics(confusion)["miou"].reshape(-1, STEPS)


def _column(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda mean: mask_metrics(mean)[name]


def _later_than_first(mean: np.ndarray) -> np.ndarray:
    """Mean mIoU of frames 2 to T of a clip minus that of its first, from mIoU (…, T)."""
    return mean[..., 1:].mean(-1) - mean[..., 0]


# Scores of claims: how the mean over frames, or over clips, of a record's array becomes the score.
SCORES = {
    "miou": Score("mean IoU", "confusion", _column("miou")),
    "iou_skin": Score("IoU of facial skin", "confusion", _column("iou_skin")),
    "iou_eyes": Score("IoU of the eyes", "confusion", _column("iou_eyes")),
    "iou_outer": Score("IoU of the outer mouth", "confusion", _column("iou_outer")),
    "iou_inner": Score("IoU of the inner mouth", "confusion", _column("iou_inner")),
    "later": Score("mean IoU of frames 2 to 5 over that of frame 1", "over_time", _later_than_first,
                   units="units_of_clips"),
}  # fmt: skip
