"""The columns of masi2020's tables, from the counts that a record keeps of each test face."""

from __future__ import annotations

import numpy as np

from reprolib import metrics
from reprolib.study import Score

FACE, OCCLUSION = 1, 2


def occlusion_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Table 1's columns in percent from face/non-face confusion matrices (…, 2, 2)."""
    return {
        "iou_face": 100 * metrics.iou(confusion)[..., FACE],
        "accuracy": 100 * metrics.accuracy(confusion),
        "recall_face": 100 * metrics.recall(confusion)[..., FACE],
        "recall_all": 100 * metrics.mean_recall(confusion),
    }


def parts_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of Tables 2–4 in percent, from confusion matrices (…, 3, 3) of background, face and hair."""
    iou, f1 = metrics.iou(confusion), metrics.f1(confusion)
    columns = {"accuracy": metrics.accuracy(confusion)}
    columns |= {"iou_mean": metrics.mean_iou(confusion), "recall_all": metrics.mean_recall(confusion)}
    for index, name in enumerate(("bg", "face", "hair")):
        columns |= {f"iou_{name}": iou[..., index], f"f1_{name}": f1[..., index]}
    return {name: 100 * value for name, value in columns.items()}


def superpixel_percentage(counts: np.ndarray) -> np.ndarray:
    """Superpixel accuracy in percent from (…, 2) counts of right superpixels and of all."""
    return 100 * counts[..., 0] / counts[..., 1]


def _of_occlusion(column: str):
    return lambda mean: occlusion_metrics(mean)[column]


def _of_parts(column: str):
    return lambda mean: parts_metrics(mean)[column]


# Scores of claims: how the mean over faces of a record's array becomes the score.
SCORES = {
    "iou_face": Score("face IoU", "confusion", _of_occlusion("iou_face")),
    "real_iou_face": Score("face IoU under real glasses and hats", "real_confusion", _of_occlusion("iou_face"),
                           units="real_units"),
    "recall_all": Score("mean recall", "confusion", _of_occlusion("recall_all")),
    "sparsity": Score("sparsity", "sparsity", lambda mean: mean, unit="components", higher_is_better=False),
    "iou_hair": Score("hair IoU", "confusion", _of_parts("iou_hair")),
    "iou_mean": Score("mean IoU", "confusion", _of_parts("iou_mean")),
    "accuracy_sp": Score("superpixel accuracy", "superpixels", superpixel_percentage),
}  # fmt: skip
