"""The columns of yang2023's tables, from confusion matrices of the five classes."""

from __future__ import annotations

import numpy as np

from reprolib import metrics
from reprolib.studies.yang2023.settings import PRINTED_CLASSES


def lip_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of Tables I–VI in percent, from confusion matrices (…, 5, 5) (Sec. IV-A2).

    mIoU and mPA are means over the classes; the paper's formulas divide one by k and the other by N, both of
    which count them. A class that no mouth shows is left out.
    """
    iou, recall = metrics.iou(confusion), metrics.recall(confusion)
    columns = {"miou": metrics.mean_iou(confusion), "pa": metrics.accuracy(confusion)}
    columns["mpa"] = metrics.mean_recall(confusion)
    for index, name in enumerate(PRINTED_CLASSES):
        columns |= {f"pa_{name}": recall[..., index], f"iou_{name}": iou[..., index]}
    return {name: 100 * value for name, value in columns.items()}
