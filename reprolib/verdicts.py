"""What makes a result count, and the verdict on a claim: one rule for all studies.

Every effect is oriented so that positive is the claimed direction, and is in points of the study's main score.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reprolib.statistics import Effect, holm_levels, p_value

VERDICTS = ("reproduced", "smaller", "not reproduced", "opposite", "inconclusive", "not tested")
REPRODUCED, SMALLER, NOT_REPRODUCED, OPPOSITE, INCONCLUSIVE, NOT_TESTED = VERDICTS

FEWEST_SEEDS = 3  # for a verdict
LEARNED_MARGIN = 10.0
"""Points of the main score by which a row must beat the best trivial predictor on validation items."""

Rule = Callable[[float, float], str]
"""Takes low and high of an interval, returns a verdict: one of the three functions below, all else filled in."""


def size_verdict(low: float, high: float, expected: float) -> str:
    """Verdict on a claim with a published effect, here `expected` > 0 in our points (see `expected_effect`).

    Half the expected effect is the smallest that still agrees. ValueError: low > high, nan, or expected ≤ 0.
    """
    _check_interval(low, high)
    if not expected > 0:
        raise ValueError(f"the expected effect must be positive in the claimed direction, found {expected}.")
    if low > 0:
        return REPRODUCED if high >= expected / 2 else SMALLER
    if high < 0:
        return OPPOSITE
    return NOT_REPRODUCED if high < expected / 2 else INCONCLUSIVE


def sign_verdict(low: float, high: float) -> str:
    """Verdict on a claim of a direction without a published size. ValueError: low > high or nan."""
    _check_interval(low, high)
    if low > 0:
        return REPRODUCED
    return OPPOSITE if high < 0 else INCONCLUSIVE


def no_difference_verdict(low: float, high: float, margin: float) -> str:
    """Verdict on a claim that two rows differ by at most `margin` > 0 points (see `default_margin`).

    ValueError: low > high, nan, or margin ≤ 0.
    """
    _check_interval(low, high)
    if not margin > 0:
        raise ValueError(f"the margin must be positive, found {margin}.")
    if -margin <= low and high <= margin:
        return REPRODUCED
    return NOT_REPRODUCED if low > margin or high < -margin else INCONCLUSIVE


def no_difference_p_value(effect: Effect, margin: float) -> float:
    """The larger two-sided p of the two margins: small where the interval is wholly inside or wholly outside them."""
    return max(p_value(effect, margin), p_value(effect, -margin))


@dataclass(frozen=True)
class Judgement:
    """A verdict of `VERDICTS`; `reason` says in plain words why a claim is not tested and is empty otherwise."""

    verdict: str
    reason: str = ""


def shortfall(score: float) -> float:
    """The error that a score in percent leaves: what it lacks to 100."""
    return 100 - score


def score_is_error(score: float) -> float:
    """The error that a score leaves where lower is better (error rate, sparsity): the score itself."""
    return score


def expected_effect(published_a: float, published_b: float, our_b: float, *, error: Callable[[float], float]) -> float:
    """The effect, in our points, that removes the published share of the error of our reference row b.

    Row a is the one claimed to be better. `error` is `shortfall` or `score_is_error`. Positive: a has less error.
    ValueError: the published reference row leaves no error.

    >>> round(expected_effect(74.89, 66.95, 80.0, error=shortfall), 1)  # 7.94 of 33.05 points, 24 % of our 20
    4.8
    """
    reference = error(published_b)
    if not reference > 0:
        raise ValueError(f"the published reference row must leave some error, found {reference}.")
    return (reference - error(published_a)) / reference * error(our_b)


def default_margin(our_b: float, *, error: Callable[[float], float]) -> float:
    """Margin of a published "no difference" in our points: a tenth of the error of our reference row b."""
    return error(our_b) / 10


def learned(score_of_row: float, trivial_score: float, *, higher_is_better: bool = True) -> bool:
    """Whether a row beats the best trivial predictor by `LEARNED_MARGIN`; both are validation scores in points."""
    gain = score_of_row - trivial_score if higher_is_better else trivial_score - score_of_row
    return gain >= LEARNED_MARGIN


def converged(best_epoch: int, ceiling: int, patience: int) -> bool:
    """Whether the best epoch (counted from 1) is further than `patience` epochs from the ceiling."""
    return ceiling - best_epoch > patience


def judge(
    effect: Effect | None,
    rule: Rule,
    *,
    learned_rows: Mapping[str, bool],
    converged_rows: Mapping[str, bool],
    registered: bool,
    level: float = 0.95,
) -> Judgement:
    """Verdict on a claim, or "not tested" with the first gate that fails.

    `effect`: None where nothing was run. `learned_rows`, `converged_rows`: for the printed name of each compared row,
    whether it passes; a row that is exempt (a step-matched control) is given as True. `level`: of the judged interval.
    ValueError: something was run, but the gates of its rows are not given.
    """
    if effect is None:
        return Judgement(NOT_TESTED, "At least one of the two rows was not run.")
    if not learned_rows or learned_rows.keys() != converged_rows.keys():
        raise ValueError(
            f"both gates must be given for the same rows, found {list(learned_rows)} and {list(converged_rows)}."
        )
    if not registered:
        return Judgement(NOT_TESTED, "The claim was not registered before the first full run.")
    if failed := [name for name, passed in learned_rows.items() if not passed]:
        return Judgement(
            NOT_TESTED,
            f"Does not beat the best trivial predictor by {LEARNED_MARGIN:g} points on validation items: "
            f"{', '.join(failed)}",
        )
    if failed := [name for name, passed in converged_rows.items() if not passed]:
        return Judgement(NOT_TESTED, f"Still improving when the longest allowed training ended: {', '.join(failed)}")
    low, high = effect.interval(level)
    if math.isnan(low):
        return Judgement(NOT_TESTED, _why_no_interval(effect))
    if effect.seeds < FEWEST_SEEDS:
        return Judgement(NOT_TESTED, f"Fewer than {FEWEST_SEEDS} seeds of both rows were run.")
    return Judgement(rule(low, high))


def verdict_holm(effects: Sequence[Effect], rules: Sequence[Rule], p_values: Sequence[float]) -> list[str]:
    """Holm-corrected verdicts of the primary claims of one paper on one dataset.

    `p_values`: `p_value(effect)`, or `no_difference_p_value` for a "no difference"; nan where a gate fails, which
    gives "not tested". Of the m other claims, the one whose p has rank r is judged by the same rule on
    its interval at level 1 − 0.05/(m − r + 1); after the first claim that is not significant the level stays. So at
    most one family in twenty has a "reproduced", "smaller" or "opposite" for an effect that is truly zero.
    """
    return [
        NOT_TESTED if math.isnan(level) else rule(*effect.interval(level))
        for effect, rule, level in zip(effects, rules, holm_levels(p_values).tolist(), strict=True)
    ]


def _check_interval(low: float, high: float) -> None:
    if not low <= high:
        raise ValueError(f"an interval needs low <= high, found [{low}, {high}].")


def _why_no_interval(effect: Effect) -> str:
    if effect.seeds < 2:
        return "One seed was run, so there is no interval."
    if effect.units < 2:
        return "The test items are all of one independent unit, so there is no interval."
    return "The score is undefined on these test items, so there is no interval."
