"""Effects and intervals against hand-computed values and simulations whose truth is known."""

import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reprolib import metrics
from reprolib.statistics import (
    Effect,
    _combine,
    holm_levels,
    kendall_tau,
    p_value,
    paired_effect,
)

# Variance that seeds add to the mean difference, relative to what units and seed × unit add. For 3 seeds and no
# interaction, the sd of seeds is 0.06 to 3.4 times the sd of units with 8 units, 0.01 to 0.7 times with 200.
SEED_PARTS = (0.01, 0.1, 0.3, 1.0, 3.0, 6.0, 30.0)


def coverage(seeds: int, units: int, *, seed_part: float, interaction: float, repeats: int, rng) -> float:
    """Share of 95 % intervals that hold the truth; `interaction`: sd of seed × unit relative to the sd of units.

    For normal differences the three estimates are independent scaled χ², so thousands of experiments take
    milliseconds; test_the_variance_parts_are_those_of_the_simulation ties them to `paired_effect`.
    """
    unit, both = 1 / units, interaction**2 / (seeds * units)
    seed = seed_part * (unit + both)
    df_seed, df_unit = seeds - 1, units - 1
    error = rng.normal(0, np.sqrt(seed + unit + both), repeats)
    se, df = _combine(
        (seed + both) * rng.chisquare(df_seed, repeats) / df_seed,
        (unit + both) * rng.chisquare(df_unit, repeats) / df_unit,
        both * rng.chisquare(df_seed * df_unit, repeats) / (df_seed * df_unit),
        seeds,
        units,
    )
    return np.mean(np.abs(error) <= stats.t.ppf(0.975, df) * se)


def differences(seeds: int, units: int, items: int, *, sd: tuple[float, float, float], rng) -> np.ndarray:
    """(seeds, units · items) normal differences around zero; sd of seeds, of units, of seed × unit; items repeat."""
    seed, unit, both = sd
    values = rng.normal(0, seed, (seeds, 1)) + rng.normal(0, unit, (1, units)) + rng.normal(0, both, (seeds, units))
    return np.repeat(values, items, axis=1)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("units", [8, 30, 200])
@pytest.mark.parametrize("interaction", [0.0, 0.5, 1.0])
def test_a_95_percent_interval_covers_93_to_97_percent(seeds, units, interaction):
    rng = np.random.default_rng(0)
    for seed_part in SEED_PARTS:
        covered = coverage(seeds, units, seed_part=seed_part, interaction=interaction, repeats=20_000, rng=rng)
        assert 0.93 <= covered <= 0.97, seed_part


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_strong_interaction_of_seeds_and_units_keeps_the_coverage_near_95_percent(seeds):
    rng = np.random.default_rng(0)
    for seed_part in SEED_PARTS:
        covered = coverage(seeds, 30, seed_part=seed_part, interaction=2.0, repeats=10_000, rng=rng)
        assert 0.925 <= covered <= 0.98, seed_part


@pytest.mark.parametrize(("seeds", "units", "sd"), [(3, 8, (0.3, 1, 1)), (3, 30, (1, 1, 0.5)), (5, 30, (0.1, 1, 1))])
def test_intervals_of_whole_experiments_cover_the_truth(seeds, units, sd):
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(500):
        d = differences(seeds, units, 2, sd=sd, rng=rng)
        effect = paired_effect(d, np.zeros_like(d), units=np.repeat(np.arange(units), 2), resamples=300, seed=repeat)
        covered += effect.low <= 0 <= effect.high
    assert 0.92 <= covered / 500 <= 0.98  # ± 2.5 % is the noise of 500 experiments


def test_the_variance_parts_are_those_of_the_simulation():
    seeds, units = 4, 12
    d = differences(seeds, units, 3, sd=(0.2, 1, 1), rng=np.random.default_rng(0))
    cells = d[:, ::3]  # (seeds, units), each its own value
    rows, columns = cells.mean(1), cells.mean(0)
    residual = cells - rows[:, None] - columns + cells.mean()  # two-way analysis of variance by hand
    se, df = _combine(
        rows.var(ddof=1) / seeds,
        columns.var(ddof=1) / units,
        (residual**2).sum() / ((seeds - 1) * (units - 1)) / (seeds * units),
        seeds,
        units,
    )
    effect = paired_effect(d, np.zeros_like(d), units=np.repeat(np.arange(units), 3), resamples=50_000)
    assert effect.point == pytest.approx(cells.mean())
    assert effect.se == pytest.approx(se, rel=0.01)
    assert effect.df == pytest.approx(df, rel=0.02)


def test_the_standard_error_and_its_degrees_of_freedom_by_hand():
    se, df = _combine(seed=3.0, unit=2.0, interaction=1.0, seeds=3, units=9)
    assert se == pytest.approx(2.0)  # 3 − 1 + 2 = 4
    assert df == pytest.approx((7.5 + 2) ** 2 / (7.5**2 / 2 + 2**2 / 8))  # the seed part counts 5/2 times
    assert _combine(seed=1.0, unit=2.0, interaction=5.0, seeds=3, units=9)[0] == pytest.approx(np.sqrt(2))
    assert _combine(seed=0.0, unit=1.0, interaction=0.0, seeds=10, units=4)[1] == 9  # never below S − 1


def test_an_interval_is_point_and_t_times_the_standard_error():
    d = differences(5, 20, 1, sd=(1, 1, 1), rng=np.random.default_rng(3))
    effect = paired_effect(d + 2, np.full_like(d, 0.5), units=np.arange(20), level=0.9)
    t = stats.t(effect.df)
    assert effect.point == pytest.approx(d.mean() + 1.5)
    assert (effect.low, effect.high) == pytest.approx(
        (effect.point - t.ppf(0.95) * effect.se, effect.point + t.ppf(0.95) * effect.se)
    )
    assert effect.interval(0.9) == pytest.approx((effect.low, effect.high))
    assert effect.detectable == pytest.approx((t.ppf(0.975) + t.ppf(0.80)) * effect.se)
    assert (effect.seeds, effect.units) == (5, 20)
    assert p_value(effect) == pytest.approx(2 * t.sf(effect.point / effect.se))
    assert p_value(effect, effect.interval(0.98)[0]) == pytest.approx(0.02)


def test_a_detectable_effect_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    d = differences(5, 20, 1, sd=(1, 1, 1), rng=rng)
    effect = paired_effect(d, np.zeros_like(d), units=range(20))
    estimate = effect.detectable + rng.normal(0, effect.se, 40_000)
    se = effect.se * np.sqrt(rng.chisquare(effect.df, 40_000) / effect.df)
    assert np.mean(estimate - stats.t.ppf(0.975, effect.df) * se > 0) == pytest.approx(0.8, abs=0.02)


def test_what_both_rows_share_takes_no_part_in_the_effect():
    shared = np.random.default_rng(0).normal(0, 10, (3, 40))
    effect = paired_effect(shared + 1, shared, units=np.arange(40))
    assert (effect.point, effect.low, effect.high) == pytest.approx((1, 1, 1))


def test_whole_units_are_resampled_whatever_their_names_and_order():
    rng = np.random.default_rng(0)
    of_item = rng.integers(0, 6, 300)
    d = rng.normal(0, 1, 6)[of_item] + rng.normal(0, 0.01, (3, 300))
    zeros = np.zeros_like(d)
    persons = paired_effect(d, zeros, units=np.array(list("fedcba"))[of_item], resamples=20_000)
    photos = paired_effect(d, zeros, units=np.arange(300))
    assert (persons.units, photos.units) == (6, 300)
    assert persons.point == photos.point
    assert persons.se > 5 * photos.se
    order = rng.permutation(300)
    shuffled = paired_effect(d[:, order], zeros, units=of_item[order], resamples=20_000)
    assert shuffled.se == pytest.approx(persons.se, rel=0.02)


def test_a_pooled_metric_is_pooled_in_every_resample():
    """Accuracy of images of unequal size; its spread over new test sets is known from drawing many test sets."""
    rng = np.random.default_rng(0)

    def confusions(seeds: int, images: int) -> np.ndarray:
        size = rng.integers(10, 2000, images)
        right = np.clip(rng.normal(0.8 - 1e-4 * size, 0.05), 0, 1) * size + rng.normal(0, 1e-3, (seeds, images))
        conf = np.zeros((seeds, images, 2, 2))
        conf[..., 0, 0], conf[..., 0, 1] = right, size - right
        return conf

    nothing = np.zeros((200, 2, 2))
    nothing[:, 0, 1] = 1
    many = np.array([metrics.accuracy(confusions(1, 200)[0].mean(0)) for _ in range(4000)])
    conf = confusions(3, 200)
    effect = paired_effect(conf, np.broadcast_to(nothing, conf.shape), metrics.accuracy, units=np.arange(200))
    assert effect.point == pytest.approx(metrics.accuracy(conf.mean(1)).mean())
    assert effect.se == pytest.approx(many.std(), rel=0.15)


def test_a_class_absent_from_some_resamples_does_not_spoil_the_interval():
    conf = np.zeros((3, 12, 2, 2))
    conf[..., 0, 0] = np.random.default_rng(0).uniform(5, 9, (3, 12))
    conf[:, 0, 1, 1] = 4  # the second class is in one image only

    def second_recall(mean_conf):
        return metrics.recall(mean_conf)[..., 1]

    other = conf.copy()
    other[:, 0, 1, 0] = 4
    effect = paired_effect(conf, other, second_recall, units=np.arange(12))
    assert (effect.point, effect.se) == pytest.approx((0.5, 0))


@pytest.mark.parametrize(("seeds", "units"), [(1, [0, 1, 2, 3]), (3, [7, 7, 7, 7])])
def test_one_seed_or_one_unit_gives_a_point_without_an_interval(seeds, units):
    effect = paired_effect(np.full((seeds, 4), 3.0), np.ones((seeds, 4)), units=units)
    assert (effect.point, effect.seeds, effect.units) == (2, seeds, len(set(units)))
    assert np.isnan([effect.low, effect.high, effect.se, effect.df, effect.detectable, p_value(effect)]).all()


def test_an_undefined_score_of_one_seed_makes_the_effect_undefined():
    scores = np.ones((3, 4))
    scores[1, 2] = np.nan
    effect = paired_effect(scores, np.ones((3, 4)), units=range(4))
    assert np.isnan([effect.point, effect.low, effect.high]).all()


def test_equal_differences_have_no_width_and_no_doubt():
    effect = paired_effect(np.ones((3, 4)), np.zeros((3, 4)), units=range(4))
    assert (effect.low, effect.high, effect.df) == (1, 1, 2)
    assert (p_value(effect), p_value(effect, 1.0)) == (0, 1)


def test_an_effect_repeats_with_its_seed():
    d = differences(3, 30, 1, sd=(1, 1, 1), rng=np.random.default_rng(0))
    one, same, other = (paired_effect(d, np.zeros_like(d), units=range(30), seed=s) for s in (4, 4, 5))
    assert asdict(one) == asdict(same) != asdict(other)


@pytest.mark.parametrize("shape", [(2, 5), (3, 4)])
def test_an_effect_needs_the_same_seeds_and_items(shape):
    with pytest.raises(ValueError, match="same seeds and test items"):
        paired_effect(np.ones((3, 5)), np.ones(shape), units=range(5))


def test_units_must_name_every_item():
    with pytest.raises(ValueError, match=r"the unit of each of 5 items, found shape \(2,\)"):
        paired_effect(np.ones((3, 5)), np.ones((3, 5)), units=[0, 1])


def test_five_seeds_of_a_thousand_confusion_matrices_take_a_fifth_of_a_second():
    a, b = np.random.default_rng(0).poisson(100, (2, 5, 1000, 3, 3))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        paired_effect(a, b, metrics.mean_iou, units=range(1000))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2


def holm(p_values) -> np.ndarray:
    """Holm's adjusted p of each of m hypotheses; a nan stays nan and does not count in m."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # argsort puts nan last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def test_holm_by_hand():
    assert holm([0.01, 0.04, np.nan, 0.03]) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([]).shape == (0,)


def test_levels_follow_the_rank_and_stop_at_the_first_claim_that_fails():
    assert holm_levels([0.001, 0.02, 0.002]) == pytest.approx([1 - 0.05 / 3, 0.95, 1 - 0.05 / 2])
    # the second smallest fails 0.05/2, so the third is not tested at 0.05, where it would pass
    assert holm_levels([0.001, 0.04, 0.03, np.nan]) == pytest.approx([1 - 0.05 / 3, 0.975, 0.975, np.nan], nan_ok=True)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 2), st.floats(2, 50)), min_size=1, max_size=8))
def test_an_interval_at_its_holm_level_excludes_zero_where_the_adjusted_p_is_small(cases):
    nan = float("nan")
    effects = [Effect(point, nan, nan, se, df, 3, 9, nan) for point, se, df in cases]
    p = [p_value(e) for e in effects]
    for effect, adjusted, level in zip(effects, holm(p), holm_levels(p), strict=True):
        low, high = effect.interval(level)
        if abs(adjusted - 0.05) > 1e-9:
            assert (low > 0 or high < 0) == (adjusted < 0.05)


def test_a_listing_imports_no_network_library():
    code = "import sys, reprolib.verdicts; print([m for m in ('torch', 'pandas', 'scipy.stats') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_kendall_tau_uses_the_rows_that_both_have():
    assert kendall_tau([1, 2, 3, np.nan], [10, 20, 30, 0]) == pytest.approx(1)
    assert kendall_tau([1, 2, 3], [30, 20, 10]) == pytest.approx(-1)
    assert kendall_tau([1, 2, 3], [10, 30, 20]) == pytest.approx(1 / 3)
    assert np.isnan(kendall_tau([1, np.nan], [1, 2]))
