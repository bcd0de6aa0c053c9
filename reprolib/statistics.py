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


def bootstrap(
    scores: ArrayLike,
    statistic: Statistic = mean,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Value of `statistic` over seeds and items, with the 95 % percentile interval of a bootstrap over both.

    scores: (seeds, items, …). The point is the mean over seeds of statistic(mean over items). `groups`: one number an
    item; items of one group (pictures of one person) are drawn together. ValueError: fewer than one seed or item.
    """
    scores = _scores(scores)
    rng = np.random.default_rng(seed)
    item_weights = _resample_items(rng, resamples, scores.shape[1], groups)
    seed_weights = _resample(rng, resamples, scores.shape[0])
    return _interval(
        _value(scores, statistic), _values(scores, statistic, item_weights, seed_weights), n=scores.shape[1]
    )


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Statistic = mean,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Value and 95 % interval of statistic(a) − statistic(b), both measured on the same test items.

    `a` (seeds, items, …) and `b` (seeds', items, …): every resample takes the same items of both; where both
    have as many seeds, also the same seeds. `groups` as in `bootstrap`. ValueError: the numbers of items differ.
    """
    a, b = _scores(a), _scores(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a and b must be measured on the same test items, found {a.shape[1]} and {b.shape[1]}.")
    rng = np.random.default_rng(seed)
    item_weights = _resample_items(rng, resamples, a.shape[1], groups)
    seed_weights_a = _resample(rng, resamples, a.shape[0])
    seed_weights_b = seed_weights_a if len(a) == len(b) else _resample(rng, resamples, b.shape[0])
    return _interval(
        _value(a, statistic) - _value(b, statistic),
        _values(a, statistic, item_weights, seed_weights_a) - _values(b, statistic, item_weights, seed_weights_b),
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


def _resample_items(rng: np.random.Generator, resamples: int, n: int, groups: ArrayLike | None) -> np.ndarray:
    """How often each of n items counts in each resample: (R, n), rows sum to n; whole groups are drawn if given."""
    if groups is None:
        return _resample(rng, resamples, n)
    members = np.unique(groups, return_inverse=True)[1]
    if members.shape != (n,):
        raise ValueError(f"groups must give one number to each of {n} items, found shape {members.shape}.")
    drawn = _resample(rng, resamples, members.max() + 1)[:, members]
    return drawn * (n / drawn.sum(1, keepdims=True))  # groups differ in size


def _value(scores: np.ndarray, statistic: Statistic) -> float:
    return float(np.mean(statistic(scores.mean(1)[None])))


def _values(scores: np.ndarray, statistic: Statistic, item_counts: np.ndarray, seed_counts: np.ndarray) -> np.ndarray:
    item_mean = np.tensordot(item_counts, scores, axes=(1, 1)) / scores.shape[1]  # (R, S, …)
    return (statistic(item_mean) * seed_counts).sum(1) / len(scores)  # (R, S) -> (R,)


def _interval(point: float, values: np.ndarray, *, n: int) -> Interval:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, (0.025, 0.975)) if finite.size else (np.nan, np.nan)
    return Interval(point=point, low=float(low), high=float(high), n=n)
