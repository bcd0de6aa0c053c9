"""Segmentation metrics from per-image confusion matrices, and the components and superpixels of masi2020.

A confusion matrix counts pixels, row = annotated class, column = predicted class. It is kept per image, so
that a pooled metric (one matrix over all images) and its bootstrap interval come from the same array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:  # listings read scores without loading torch
    import torch

IGNORED = 255


def confusion(
    pred: ArrayLike | torch.Tensor,
    label: ArrayLike | torch.Tensor,
    classes: int,
    *,
    where: ArrayLike | torch.Tensor | None = None,
) -> np.ndarray:
    """Count the pixels of every (annotated, predicted) pair of classes in each image.

    `pred`, `label`: integers (N, H, W); `label` 255 is not counted. `where`: bool, broadcastable to
    (N, H, W), counts only its true pixels (e.g. the given face box). Returns int64 (N, classes, classes).
    ValueError: shapes differ, or a counted value is not a class.
    """
    pred, label = _same_shape(pred, label)
    counted = label != IGNORED
    if where is not None:
        counted = counted & np.broadcast_to(_array(where).astype(bool), label.shape)
    for name, values in (("label", label), ("pred", pred)):
        if (counted & ((values < 0) | (values >= classes))).any():
            found = values[counted]
            raise ValueError(f"{name} holds classes {found.min()}…{found.max()}, expected 0…{classes - 1}.")
    # one number per pair of classes, and one more for pixels not counted; one image at a time fits into the cache
    pairs = np.where(counted, label.astype(np.int32) * classes + pred, classes**2)
    counts = [np.bincount(image.ravel(), minlength=classes**2 + 1)[:-1] for image in pairs]
    return np.array(counts, dtype=np.int64).reshape(len(label), classes, classes)


def merge_classes(conf: np.ndarray, groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Sum the classes of each group into one: new class i is `groups[i]`.

    (…, K, K) -> (…, G, G). COFW merges occlusion and background into non-face: `((0, 2), (1,))` (4.3).
    ValueError: a class is in no group or in two.
    """
    if sorted(k for group in groups for k in group) != list(range(conf.shape[-1])):
        raise ValueError(f"groups {groups} must hold each of the {conf.shape[-1]} classes exactly once.")
    member = np.zeros((len(groups), conf.shape[-1]), dtype=conf.dtype)
    for new, group in enumerate(groups):
        member[new, list(group)] = 1
    return member @ conf @ member.T


def iou(conf: np.ndarray) -> np.ndarray:
    """Intersection over union of each class: (…, K, K) -> float64 (…, K); nan for a class in neither map."""
    true, annotated, predicted = _counts(conf)
    return _ratio(true, annotated + predicted - true)


def recall(conf: np.ndarray) -> np.ndarray:
    """Share of each class's annotated pixels found: (…, K, K) -> (…, K); nan if none is annotated."""
    true, annotated, _ = _counts(conf)
    return _ratio(true, annotated)


def precision(conf: np.ndarray) -> np.ndarray:
    """Share of each class's predicted pixels right: (…, K, K) -> (…, K); nan if none is predicted."""
    true, _, predicted = _counts(conf)
    return _ratio(true, predicted)


def f1(conf: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall: (…, K, K) -> (…, K); nan for a class in neither map."""
    true, annotated, predicted = _counts(conf)
    return _ratio(2 * true, annotated + predicted)


def accuracy(conf: np.ndarray) -> np.ndarray:
    """Share of the counted pixels that are right: (…, K, K) -> (…); nan where nothing was counted."""
    return _ratio(_counts(conf)[0].sum(-1), conf.sum((-2, -1)))


def mean_iou(conf: np.ndarray, *, first: int = 0) -> np.ndarray:
    """Mean of `iou` over the classes that are present, from class `first` on: (…, K, K) -> (…).

    With `first` = 1 the background is left out (wang2018 Eq. 2).
    """
    return _mean_of_present(iou(conf)[..., first:])


def mean_recall(conf: np.ndarray) -> np.ndarray:
    """Mean of `recall` over the annotated classes, the papers' rec_all: (…, K, K) -> (…)."""
    return _mean_of_present(recall(conf))


def sparsity(pred: ArrayLike | torch.Tensor, label: ArrayLike | torch.Tensor) -> np.ndarray:
    """Absolute error in the number of connected components of each image (masi2020 4.2): float64 (N,).

    `pred`, `label`: integers (N, H, W). A component is a maximal set of 8-connected pixels of one class;
    class 0 makes none. Pixels with `label` 255 count as class 0 in both maps.
    """
    pred, label = _label_maps(pred, label)
    ignored = label == IGNORED
    pred, label = np.where(ignored, 0, pred), np.where(ignored, 0, label)
    from skimage import measure  # loads slowly, and only this score needs it

    def components(maps: np.ndarray) -> np.ndarray:
        return np.array([measure.label(each, return_num=True)[1] for each in maps], dtype=np.float64)

    return np.abs(components(label) - components(pred))


def superpixel_accuracy(
    pred: ArrayLike | torch.Tensor, label: ArrayLike | torch.Tensor, superpixels: ArrayLike | torch.Tensor
) -> np.ndarray:
    """Count the superpixels whose majority prediction is their majority annotation, in each image.

    All three are integers (N, H, W); superpixel ids are per image and not negative. Pixels with `label` 255
    do not vote, and a superpixel of only such pixels is left out. In a tie the lower class wins. Returns int64
    (N, 2), [correct, total]; the pooled accuracy is `s[:, 0].sum() / s[:, 1].sum()` (masi2020 4.4).
    ValueError: shapes differ, or an id is negative.
    """
    pred, label = _label_maps(pred, label)
    superpixels = _array(superpixels).astype(np.int64)
    if superpixels.shape != label.shape or superpixels.min(initial=0) < 0:
        raise ValueError(f"superpixels must be ids ≥ 0 of shape {label.shape}, found shape {superpixels.shape}.")
    votes = label != IGNORED
    stride = superpixels.max(initial=0) + 1
    image = np.arange(len(label))[:, None, None]
    ids, position = np.unique((superpixels + stride * image)[votes], return_inverse=True)
    classes = int(max(pred[votes].max(initial=0), label[votes].max(initial=0))) + 1

    def majority(maps: np.ndarray) -> np.ndarray:
        counts = np.bincount(position * classes + maps[votes], minlength=len(ids) * classes)
        return counts.reshape(len(ids), classes).argmax(1)

    correct = majority(pred) == majority(label)
    owner = ids // stride
    return np.stack(
        [
            np.bincount(owner[correct], minlength=len(label)),
            np.bincount(owner, minlength=len(label)),
        ],
        axis=1,
    ).astype(np.int64)


def box_mask(boxes: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """True inside each box: boxes (N, 4) [x, y, width, height] in pixels -> bool (N, *size), size = (H, W).

    A pixel is inside when its centre is; parts of a box outside the image are dropped.
    """
    x, y, width, height = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T[:, :, None]
    rows, columns = np.arange(size[0]), np.arange(size[1])
    inside_rows = (rows >= y - 0.5) & (rows < y + height - 0.5)  # (N, H)
    inside_columns = (columns >= x - 0.5) & (columns < x + width - 0.5)  # (N, W)
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def _array(values: ArrayLike | torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _label_maps(pred, label) -> tuple[np.ndarray, np.ndarray]:
    pred, label = _same_shape(pred, label)
    return pred.astype(np.int64), label.astype(np.int64)


def _same_shape(pred, label) -> tuple[np.ndarray, np.ndarray]:
    pred, label = _array(pred), _array(label)
    if pred.shape != label.shape or pred.ndim != 3:
        raise ValueError(f"pred and label must both be (N, H, W), found {pred.shape} and {label.shape}.")
    return pred, label


def _counts(conf: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, annotated and predicted pixels of each class, (…, K) each."""
    return np.diagonal(conf, axis1=-2, axis2=-1), conf.sum(-1), conf.sum(-2)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _mean_of_present(values: np.ndarray) -> np.ndarray:
    return _ratio(np.nansum(values, axis=-1), np.isfinite(values).sum(-1))
