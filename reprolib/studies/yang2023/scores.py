"""The columns of yang2023's tables, from the counts that a record keeps of each test mouth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reprolib import metrics
from reprolib.study import Score

PRINTED = {3: ("bg", "lip"), 5: ("bg", "lip", "teeth", "tongue", "cavity")}  # columns of Tables III and IV
BACKGROUND, LIP, INNER = 0, 1, 2  # inner mouth: class 2, or classes 2 to 4 together


def lip_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of Tables I–VI in percent, from confusion matrices (…, K, K) of three or five classes (Sec. IV-A2).

    mIoU and mPA are means over the classes; the paper's formulas divide one by k and the other by N, both of which are
    the number of classes. A class that no mouth shows is left out. "inner" is all that is inside the lips as one class.
    """
    classes = confusion.shape[-1]
    columns = {
        "miou": metrics.mean_iou(confusion),
        "pa": metrics.accuracy(confusion),
        "mpa": metrics.mean_recall(confusion),
    }
    merged = metrics.merge_classes(confusion, ((BACKGROUND,), (LIP,), tuple(range(INNER, classes))))
    for counts, names in ((confusion, PRINTED[classes]), (merged, ("bg", "lip", "inner"))):
        iou, recall = metrics.iou(counts), metrics.recall(counts)
        for index, name in enumerate(names):
            columns |= {f"pa_{name}": recall[..., index], f"iou_{name}": iou[..., index]}
    return {name: 100 * value for name, value in columns.items()}


def mouth_iou(confusion: np.ndarray) -> np.ndarray:
    """IoU in percent of the whole mouth against the background, from matrices (…, 2, 2)."""
    return 100 * metrics.iou(confusion)[..., 1]


def _column(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda mean: lip_metrics(mean)[name]


# Scores of claims: how the mean over mouths of a record's array becomes the score.
SCORES = {
    "miou": Score("mean IoU", "confusion", _column("miou")),
    "miou_open": Score("mean IoU of open mouths", "confusion_open", _column("miou")),
    "pa": Score("pixel accuracy", "confusion", _column("pa")),
    "mpa": Score("mean pixel accuracy", "confusion", _column("mpa")),
    "iou_inner": Score("IoU of the inner mouth", "confusion", _column("iou_inner")),
    "iou_teeth": Score("IoU of the teeth", "confusion", _column("iou_teeth")),
    "iou_cavity": Score("IoU of the inner cavity", "confusion", _column("iou_cavity")),
}
