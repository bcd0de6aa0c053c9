"""The columns of yin2020's tables, from confusion matrices of the nine classes and from counted pixels."""

from __future__ import annotations

import numpy as np

from reprolib import metrics

# columns of Tables 2–4 → classes whose union they are
GROUPS = {
    "eyes": (3, 4), "brows": (1, 2), "nose": (5,), "in_mouth": (7,), "upper_lip": (6,), "lower_lip": (8,),
    "mouth": (6, 7, 8), "overall": tuple(range(1, 9)),
}  # fmt: skip
SEVEN = tuple(name for name in GROUPS if name != "overall")


def parsing_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of Tables 2–4, F1 from 0 to 1 (Eq. 23–25), from confusion matrices (…, 9, 9); nan: nobody has the part.

    "eyes", "brows" and "mouth" are unions of their classes, in which a confusion of left and right is no error.
    "overall" is the authors': the union of all eight parts against the rest, in which no confusion of parts is an
    error. "overall_macro" is the older one of theirs: the harmonic mean of precision and recall, each averaged over
    those of the seven columns whose part somebody has.
    """
    merged = {name: _against_rest(confusion, classes) for name, classes in GROUPS.items()}
    there = {name: binary[..., 1, :].sum(-1) > 0 for name, binary in merged.items()}
    columns = {name: np.where(there[name], metrics.f1(binary)[..., 1], np.nan) for name, binary in merged.items()}
    counted = np.sum([there[name] for name in SEVEN], axis=0)
    precision, recall = (
        np.sum([np.where(there[name], np.nan_to_num(score(merged[name])[..., 1]), 0) for name in SEVEN], axis=0)
        / np.maximum(counted, 1)
        for score in (metrics.precision, metrics.recall)
    )
    total = precision + recall
    columns["overall_macro"] = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return columns


def share(counts: np.ndarray) -> np.ndarray:
    """Percent from counts (…, 2) of [hits, all]; nan where there is nothing to hit."""
    hits, every = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return 100 * np.divide(hits, every, out=np.full(every.shape, np.nan), where=every > 0)


def _against_rest(confusion: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    rest = tuple(k for k in range(confusion.shape[-1]) if k not in classes)
    return metrics.merge_classes(confusion, (rest, classes))
