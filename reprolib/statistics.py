"""Intervals by bootstrap over seeds and test items, and rank agreement.

Scores are arrays (seeds, items, …), whatever a statistic needs of one item standing in the last axes: a
number, a confusion matrix, (correct, total).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Statistic = Callable[[np.ndarray], np.ndarray]
"""Takes the mean over items, (R, S, …), and returns one number per resample and seed, (R, S)."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; `n` is the number of test items."""

    point: float
    low: float
    high: float
    n: int


def mean(item_mean: np.ndarray) -> np.ndarray:
    """The statistic of plain scores (seeds, items): their mean."""
    return item_mean


def bootstrap(scores: ArrayLike, statistic: Statistic = mean, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """95 % percentile interval of a statistic, seeds and items resampled with replacement.

    `scores` (seeds, items, …). Every seed sees the same resampled items, as all seeds share the test set. The
    statistic is computed per seed, then averaged over seeds: a pooled IoU is `lambda c: iou(c)[..., 1]` on
    confusion matrices (seeds, items, K, K). Resamples for which it is nan are left out.
    """
    scores = _scores(scores)
    rng = np.random.default_rng(seed)
    item_counts = _resample(rng, resamples, scores.shape[1])
    seed_counts = _resample(rng, resamples, scores.shape[0])
    return _interval(
        _value(scores, statistic),
        _values(scores, statistic, item_counts, seed_counts),
        n=scores.shape[1],
    )


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, statistic: Statistic = mean, *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """95 % percentile interval of statistic(a) − statistic(b), both measured on the same test items.

    `a` (seeds, items, …) and `b` (seeds', items, …): every resample takes the same items of both; where both
    have as many seeds, also the same seeds. ValueError: the numbers of items differ.
    """
    a, b = _scores(a), _scores(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a and b must be measured on the same test items, found {a.shape[1]} and {b.shape[1]}.")
    rng = np.random.default_rng(seed)
    item_counts = _resample(rng, resamples, a.shape[1])
    seed_counts_a = _resample(rng, resamples, a.shape[0])
    seed_counts_b = seed_counts_a if len(a) == len(b) else _resample(rng, resamples, b.shape[0])
    return _interval(
        _value(a, statistic) - _value(b, statistic),
        _values(a, statistic, item_counts, seed_counts_a) - _values(b, statistic, item_counts, seed_counts_b),
        n=a.shape[1],
    )


def kendall_tau(published: ArrayLike, ours: ArrayLike) -> float:
    """Kendall's τ-b between two columns of a table, over the rows that both have; nan with fewer than two."""
    published, ours = np.asarray(published, np.float64), np.asarray(ours, np.float64)
    both = np.isfinite(published) & np.isfinite(ours)
    if both.sum() < 2:
        return float("nan")
    return float(stats.kendalltau(published[both], ours[both]).statistic)


def _scores(scores: ArrayLike) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim < 2 or 0 in scores.shape[:2]:
        raise ValueError(f"scores must be (seeds, items, …) with at least one of each, found {scores.shape}.")
    return scores


def _resample(rng: np.random.Generator, resamples: int, n: int) -> np.ndarray:
    """How often each of n things is drawn in each resample: (R, n), rows sum to n."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples)


def _value(scores: np.ndarray, statistic: Statistic) -> float:
    return float(np.mean(statistic(scores.mean(1)[None])))


def _values(scores: np.ndarray, statistic: Statistic, item_counts: np.ndarray, seed_counts: np.ndarray) -> np.ndarray:
    item_mean = np.tensordot(item_counts, scores, axes=(1, 1)) / scores.shape[1]  # (R, S, …)
    return (statistic(item_mean) * seed_counts).sum(1) / len(scores)  # (R, S) -> (R,)


def _interval(point: float, values: np.ndarray, *, n: int) -> Interval:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, (0.025, 0.975)) if finite.size else (np.nan, np.nan)
    return Interval(point=point, low=float(low), high=float(high), n=n)
