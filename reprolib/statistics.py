"""Paired effects with t intervals, Holm's correction and rank agreement.

Scores are arrays (seeds, items, …). The last axes hold what a statistic needs of one item: a number, a confusion
matrix, or (correct, total).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit  # scipy.stats takes four times as long to import

Statistic = Callable[[np.ndarray], np.ndarray]
"""Takes the mean over items, (R, S, …), and returns one number per resample and seed, (R, S)."""


@dataclass(frozen=True)
class Effect:
    """A paired difference between two rows with its t interval, in the unit of the statistic.

    `se`: standard error. `df`: degrees of freedom of t. `seeds`, `units`: numbers of seeds and of independent test
    units. `detectable`: the effect found four times in five, (t(0.975) + t(0.80))·SE. With a single seed or a single
    unit only `point`, `seeds` and `units` are known; everything else is nan.
    """

    point: float
    low: float
    high: float
    se: float
    df: float
    seeds: int
    units: int
    detectable: float

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided interval (low, high) at `level` in (0, 1)."""
        half = float(stdtrit(self.df, (1 + level) / 2) * self.se)
        return self.point - half, self.point + half


def mean(item_mean: np.ndarray) -> np.ndarray:
    """The statistic of plain scores (seeds, items): their mean."""
    return item_mean


def paired_effect(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Statistic = mean,
    *,
    units: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Effect:
    """statistic(a) − statistic(b) with a t interval that covers both new seeds and new test units.

    a, b: (seeds, items, …), the same seeds and items in the same order. `units`: (items,) ints or strings, the
    independent unit of each item (person, photo, clip). `statistic` is applied to the mean over items, so a pooled
    metric is pooled again in every resample. The effect is nan where the statistic is nan for any seed.

    The seed part of SE² is the variance of the per-seed differences, divided by the number of seeds. The unit part is
    the bootstrap variance over whole units of the seed-averaged difference, times U/(U − 1) because a resample of U
    units spreads too little. `_combine` adds the two. ValueError: seeds, items or units do not match.
    """
    a, b = _scores(a), _scores(b)
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"a and b must have the same seeds and test items, found {a.shape[:2]} and {b.shape[:2]}.")
    members = np.unique(np.asarray(units), return_inverse=True)[1]
    if members.shape != a.shape[1:2]:
        raise ValueError(f"units must name the unit of each of {a.shape[1]} items, found shape {np.shape(units)}.")
    n_seeds, n_units = len(a), int(members.max()) + 1

    per_seed = (statistic(a.mean(1)[None]) - statistic(b.mean(1)[None]))[0]  # (S,)
    point = float(per_seed.mean())
    nan = float("nan")
    no_interval = Effect(point, nan, nan, nan, nan, n_seeds, n_units, nan)
    if n_seeds < 2 or n_units < 2 or not np.isfinite(point):
        return no_interval

    counts = _resample_units(np.random.default_rng(seed), resamples, n_units)
    resampled = statistic(_resampled_means(a, members, counts)) - statistic(_resampled_means(b, members, counts))
    resampled = resampled[np.isfinite(resampled).all(1)]  # (R, S); a rare class may be absent from a resample
    if len(resampled) < 2:
        return no_interval
    unbiased = n_units / (n_units - 1)
    unit = unbiased * resampled.mean(1).var()
    # var over units of one seed's difference = consistent + interaction; of their mean = consistent + interaction / S
    interaction = (unbiased * resampled.var(0).mean() - unit) / (n_seeds - 1)
    se, df = _combine(per_seed.var(ddof=1) / n_seeds, unit, interaction, n_seeds, n_units)
    half, power = stdtrit(df, (1 + level) / 2) * se, (stdtrit(df, 0.975) + stdtrit(df, 0.80)) * se
    return Effect(
        point=point,
        low=float(point - half),
        high=float(point + half),
        se=float(se),
        df=float(df),
        seeds=n_seeds,
        units=n_units,
        detectable=float(power),
    )


def p_value(effect: Effect, against: float = 0.0) -> float:
    """Two-sided p of the hypothesis that the true effect is `against`, from t; nan where the effect has no interval.

    p < 1 − level exactly where `effect.interval(level)` excludes `against`.
    """
    distance = abs(effect.point - against)
    if effect.se == 0:
        return float(distance == 0)
    return float(2 * stdtr(effect.df, -distance / effect.se))


def holm_levels(p_values: ArrayLike, *, level: float = 0.95) -> np.ndarray:
    """Level of each claim's interval under Holm's correction, (m,) float64; nan where p is nan.

    The claim whose p has rank r among m (1 = smallest) gets level 1 − (1 − level)/(m − r + 1). Holm's procedure stops
    at the first claim that is not significant, so all later claims keep that claim's level. An interval at its level
    excludes zero exactly where the adjusted p is below 1 − level.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    alphas = (1 - level) / np.arange(len(order), 0, -1)
    stops = np.flatnonzero(p[order] >= alphas)
    if stops.size:
        alphas[stops[0] :] = alphas[stops[0]]
    levels = np.full(p.shape, np.nan)
    levels[order] = 1 - alphas
    return levels


def kendall_tau(published: ArrayLike, ours: ArrayLike) -> float:
    """Kendall's τ-b between two columns of a table, over the rows that both have; nan with fewer than two."""
    from scipy import stats  # takes a second; listing commands never call this function

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


def _resample_units(rng: np.random.Generator, resamples: int, n: int) -> np.ndarray:
    """How often each of n units is drawn in each resample: float64 (R, n), rows sum to n."""
    drawn = rng.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _resampled_means(scores: np.ndarray, members: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over items with every unit counted `counts` times: (S, items, …), (items,), (R, U) -> (R, S, …)."""
    order, sizes = np.argsort(members, kind="stable"), np.bincount(members)
    sums = np.add.reduceat(scores[:, order], np.cumsum(sizes) - sizes, axis=1)  # (S, U, …)
    items = (counts @ sizes).reshape(-1, *[1] * (scores.ndim - 1))  # units differ in size
    return np.tensordot(counts, sums, axes=(1, 1)) / items


def _combine(
    seed: ArrayLike, unit: ArrayLike, interaction: ArrayLike, seeds: int, units: int
) -> tuple[np.ndarray, np.ndarray]:
    """Standard error and degrees of freedom from the variance parts of a mean difference; arrays of one shape.

    seed: σ²_seed/S + σ²_interaction/(S·U), as the spread over seeds estimates it. unit: σ²_unit/U + σ²_interaction/
    (S·U), as the bootstrap estimates it. The interaction (a seed that is better on some units only) is in both, so
    it is taken out once; without this, nominal 95 % intervals of 3 seeds cover 97–98.5 % where it is large.

    df: Welch–Satterthwaite of the two parts, at least S − 1. A variance over few seeds is often too small by chance,
    which makes plain Welch–Satterthwaite claim too many df (coverage 92 % for 3 seeds). The seed part therefore
    counts (S + 2)/(S − 1) times in df; in SE it counts once. tests/test_statistics.py measures the coverage.
    """
    seed, unit = np.asarray(seed, np.float64), np.asarray(unit, np.float64)
    se = np.sqrt(np.maximum(seed - interaction, 0) + unit)
    careful = seed * (seeds + 2) / (seeds - 1)
    spread = careful**2 / (seeds - 1) + unit**2 / (units - 1)
    with np.errstate(invalid="ignore"):  # 0/0 where all differences are equal
        df = np.fmax((careful + unit) ** 2 / spread, seeds - 1)
    return se, df
