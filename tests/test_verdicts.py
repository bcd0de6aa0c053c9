"""Every branch of every verdict on constructed intervals, and the gates before it."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from reprolib.statistics import Effect, p_value
from reprolib.verdicts import (
    LEARNED_MARGIN,
    VERDICTS,
    Judgement,
    converged,
    default_margin,
    expected_effect,
    judge,
    learned,
    no_difference_p_value,
    no_difference_verdict,
    score_is_error,
    shortfall,
    sign_verdict,
    size_verdict,
    verdict_holm,
)

NAN = float("nan")


def an_effect(point: float, se: float = 1.0, df: float = 8.0, *, seeds: int = 5, units: int = 30) -> Effect:
    t = stdtrit(df, 0.975)
    return Effect(point, point - t * se, point + t * se, se, df, seeds, units, (t + stdtrit(df, 0.8)) * se)


def passed(effect: Effect | None, rule=sign_verdict, **changed) -> Judgement:
    gates = {"learned_rows": {"FCN": True}, "converged_rows": {"FCN": True}, "registered": True} | changed
    return judge(effect, rule, **gates)


def test_the_verdicts_in_their_order():
    assert VERDICTS == ("reproduced", "smaller", "not reproduced", "opposite", "inconclusive", "not tested")


@pytest.mark.parametrize(
    ("low", "high", "expected_verdict"),
    [
        (0.1, 6.0, "reproduced"),
        (0.1, 2.0, "reproduced"),  # reaches half the expected effect of 4
        (9.0, 12.0, "reproduced"),  # larger than published
        (0.1, 1.9, "smaller"),
        (0.0, 1.9, "not reproduced"),
        (-1.0, 0.0, "not reproduced"),
        (-9.0, 1.9, "not reproduced"),
        (-3.0, -0.1, "opposite"),
        (0.0, 2.0, "inconclusive"),
        (-9.0, 9.0, "inconclusive"),
    ],
)
def test_a_size_is_judged_against_half_the_expected_effect(low, high, expected_verdict):
    assert size_verdict(low, high, expected=4.0) == expected_verdict


@pytest.mark.parametrize(
    ("low", "high", "expected_verdict"),
    [
        (0.1, 0.2, "reproduced"),
        (-0.2, -0.1, "opposite"),
        (0.0, 1.0, "inconclusive"),
        (-1.0, 0.0, "inconclusive"),
        (-1.0, 1.0, "inconclusive"),
    ],
)
def test_a_sign_is_judged_by_zero_alone(low, high, expected_verdict):
    assert sign_verdict(low, high) == expected_verdict


@pytest.mark.parametrize(
    ("low", "high", "expected_verdict"),
    [
        (-2.0, 2.0, "reproduced"),
        (0.5, 1.0, "reproduced"),  # differs from zero, but by less than the margin
        (2.1, 3.0, "not reproduced"),
        (-3.0, -2.1, "not reproduced"),
        (1.0, 3.0, "inconclusive"),
        (-3.0, 1.0, "inconclusive"),
        (-3.0, 3.0, "inconclusive"),
        (2.0, 3.0, "inconclusive"),
    ],
)
def test_no_difference_is_judged_by_the_margin(low, high, expected_verdict):
    assert no_difference_verdict(low, high, margin=2.0) == expected_verdict


@pytest.mark.parametrize(
    "rule", [partial(size_verdict, expected=1), sign_verdict, partial(no_difference_verdict, margin=1)]
)
@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (NAN, NAN), (0.0, NAN)])
def test_no_rule_judges_what_is_no_interval(rule, low, high):
    with pytest.raises(ValueError, match="low <= high"):
        rule(low, high)


@pytest.mark.parametrize("number", [0.0, -1.0, NAN])
def test_an_expected_effect_and_a_margin_are_positive(number):
    with pytest.raises(ValueError, match="expected effect must be positive"):
        size_verdict(0, 1, number)
    with pytest.raises(ValueError, match="margin must be positive"):
        no_difference_verdict(0, 1, number)


def test_the_expected_effect_removes_the_published_share_of_our_error():
    # 7.94 of 33.05 points = 24 % of the error; ours leaves 20 points
    assert expected_effect(74.89, 66.95, 80.0, error=shortfall) == pytest.approx(20 * 7.94 / 33.05)
    # error rate 30 -> 15: half; ours is 8
    assert expected_effect(15.0, 30.0, 8.0, error=score_is_error) == pytest.approx(4.0)
    assert expected_effect(60.0, 70.0, 70.0, error=shortfall) == pytest.approx(-10.0)


@given(st.floats(0, 100), st.floats(0, 99))
def test_on_equal_data_the_expected_effect_is_the_published_one(a, b):
    assert expected_effect(a, b, b, error=shortfall) == pytest.approx(a - b, abs=1e-9)


def test_a_perfect_reference_leaves_nothing_to_improve():
    with pytest.raises(ValueError, match="leave some error, found 0"):
        expected_effect(100.0, 100.0, 90.0, error=shortfall)


def test_the_margin_is_a_tenth_of_the_error_of_the_reference():
    assert default_margin(80.0, error=shortfall) == pytest.approx(2.0)
    assert default_margin(8.0, error=score_is_error) == pytest.approx(0.8)


def test_a_row_has_learned_ten_points_above_the_trivial_predictor():
    assert LEARNED_MARGIN == 10
    assert learned(49.3, 39.3)
    assert not learned(49.2, 39.3)
    assert learned(5.0, 15.0, higher_is_better=False)
    assert not learned(15.0, 5.0, higher_is_better=False)
    assert not learned(NAN, 5.0)


def test_a_row_has_converged_if_its_best_epoch_is_further_than_patience_from_the_ceiling():
    assert converged(best_epoch=29, ceiling=40, patience=10)
    assert not converged(best_epoch=30, ceiling=40, patience=10)
    assert not converged(best_epoch=40, ceiling=40, patience=10)


def test_a_claim_that_passes_every_gate_is_judged_by_its_rule_at_its_level():
    effect = an_effect(2.5)  # t(0.975, 8) = 2.31, t(0.995, 8) = 3.36
    assert passed(effect) == Judgement("reproduced")
    assert passed(effect, level=0.99) == Judgement("inconclusive")
    assert passed(effect, partial(size_verdict, expected=20)) == Judgement("smaller")


@pytest.mark.parametrize(
    ("effect", "gates", "reason"),
    [
        (None, {}, "At least one of the two rows was not run."),
        (an_effect(9), {"registered": False}, "The claim was not registered before the first full run."),
        (
            an_effect(9),
            {
                "learned_rows": {"FCN": False, "U-Net": True, "FCN + reg.": False},
                "converged_rows": {"FCN": True, "U-Net": True, "FCN + reg.": True},
            },
            "Does not beat the best trivial predictor by 10 points on validation items: FCN, FCN + reg.",
        ),
        (
            an_effect(9),
            {"learned_rows": {"FCN": True, "U-Net": True}, "converged_rows": {"FCN": True, "U-Net": False}},
            "Still improving when the longest allowed training ended: U-Net",
        ),
        (an_effect(9, NAN, NAN, seeds=1), {}, "One seed was run, so there is no interval."),
        (
            an_effect(9, NAN, NAN, units=1),
            {},
            "The test items are all of one independent unit, so there is no interval.",
        ),
        (an_effect(NAN, NAN, NAN), {}, "The score is undefined on these test items, so there is no interval."),
    ],
)
def test_a_claim_that_fails_a_gate_is_not_tested_and_says_which(effect, gates, reason):
    assert passed(effect, **gates) == Judgement("not tested", reason)


@pytest.mark.parametrize("gates", [{"learned_rows": {}, "converged_rows": {}}, {"learned_rows": {"U-Net": True}}])
def test_a_run_without_its_gates_is_never_judged(gates):
    with pytest.raises(ValueError, match="both gates must be given for the same rows"):
        passed(an_effect(9), **gates)


def test_the_correction_widens_the_interval_of_the_smallest_p_most():
    effects = [an_effect(2.4), an_effect(9.0), an_effect(0.1), an_effect(-6.0)]
    p = [p_value(e) for e in effects]
    assert [sign_verdict(e.low, e.high) for e in effects] == ["reproduced", "reproduced", "inconclusive", "opposite"]
    assert verdict_holm(effects, [sign_verdict] * 4, p) == ["inconclusive", "reproduced", "inconclusive", "opposite"]
    assert verdict_holm(effects[:1], [sign_verdict], p[:1]) == ["reproduced"]  # one claim alone needs no correction


def test_a_claim_that_fails_a_gate_takes_no_part_in_the_correction():
    effects = [an_effect(2.4), an_effect(9.0)]
    p = [p_value(effects[0]), NAN]
    assert verdict_holm(effects, [sign_verdict] * 2, p) == ["reproduced", "not tested"]


def test_one_family_in_twenty_of_true_nulls_has_a_decisive_verdict():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        se = np.sqrt(rng.chisquare(8, 5) / 8)
        effects = [an_effect(float(point), float(s)) for point, s in zip(rng.normal(size=5), se, strict=True)]
        wrong += set(verdict_holm(effects, [sign_verdict] * 5, [p_value(e) for e in effects])) != {"inconclusive"}
    assert wrong / 2000 == pytest.approx(0.05, abs=0.015)


@given(st.floats(-6, 6), st.floats(0.05, 3), st.floats(0.5, 0.999))
def test_the_p_of_no_difference_decides_as_the_interval_does(point, se, level):
    effect = an_effect(point, se)
    p = no_difference_p_value(effect, margin=2.0)
    if abs(p - (1 - level)) > 1e-9:
        decided = no_difference_verdict(*effect.interval(level), margin=2.0) != "inconclusive"
        assert decided == (p < 1 - level)


def test_two_seeds_give_an_interval_and_no_verdict():
    gates = {"learned_rows": {"FCN": True}, "converged_rows": {"FCN": True}, "registered": True}
    two, three = (Effect(2.0, 1.0, 3.0, 0.2, 5.0, seeds, 100, 0.6) for seeds in (2, 3))
    assert judge(two, sign_verdict, **gates).reason == "Fewer than 3 seeds of both rows were run."
    assert judge(three, sign_verdict, **gates).verdict == "reproduced"
