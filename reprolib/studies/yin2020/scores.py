"""The columns of yin2020's tables, from confusion matrices of the nine classes and from counted pixels."""

from __future__ import annotations

import numpy as np

from reprolib import metrics
from reprolib.study import Score

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
    error. "overall_macro" is their older measure: the harmonic mean of precision and recall, each averaged over those
    of the seven columns whose part somebody has.
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


def percentages(confusion: np.ndarray) -> dict[str, float]:
    """The columns of `parsing_metrics` in percent, of one matrix (9, 9); a part that nobody has is left out."""
    found = {name: 100 * float(value) for name, value in parsing_metrics(confusion).items()}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def per_part(errors: np.ndarray) -> np.ndarray:
    """The mean error of a crop's centre from sums (…, 2) of [errors in pixels, crops that were counted]."""
    return errors[..., 0] / errors[..., 1]


def _f1(column: str):
    return lambda mean: 100 * parsing_metrics(mean)[column]


def _pooled(counts: np.ndarray) -> np.ndarray:
    return share(counts.sum(-2))  # over parts, or over numbers of erased parts


# Scores of claims: how the mean over faces of a record's array becomes the score.
SCORES = {
    "overall": Score("overall F1", "confusion", _f1("overall")),
    "overall_macro": Score("macro F1", "confusion", _f1("overall_macro")),
    **{name: Score(f"F1 of {name.replace('_', ' ')}", "confusion", _f1(name)) for name in SEVEN},
    "crop_recall": Score("crop recall", "crop_recall", _pooled),
    "centre_error": Score("error of a crop's middle", "centre_error", per_part, unit="pixels", higher_is_better=False),
    "recall_erased": Score("crop recall of erased parts", "recall_erased", _pooled, units="units_erased"),
    "recall_left": Score("crop recall of the parts that are left", "recall_left", _pooled, units="units_erased"),
    "overall_erased": Score("overall F1 with two parts erased", "confusion_erased", _f1("overall"),
                            units="units_erased"),
    "relative_time": Score("time per face", "relative_time", lambda mean: mean, unit="% of iCNN's time",
                           higher_is_better=False, units="repeats"),
    "relative_time_batched": Score("time per face, 32 at a time", "relative_time_batched", lambda mean: mean,
                                   unit="% of iCNN's time", higher_is_better=False, units="repeats"),
}  # fmt: skip
