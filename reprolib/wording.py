"""Results in words: what became of a claim, an effect and its interval, what a run cost, what a table is made from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from reprolib import report, verdicts
from reprolib.statistics import Effect
from reprolib.study import Judged, Study
from reprolib.trial import Record

FOUND = {  # what became of a claim, in words
    verdicts.REPRODUCED: "reproduced",
    verdicts.SMALLER: "found, but less than half as large",
    verdicts.NOT_REPRODUCED: "not reproduced, not even half the effect",
    verdicts.OPPOSITE: "the opposite is found",
    verdicts.INCONCLUSIVE: "inconclusive",
    verdicts.NOT_TESTED: "not tested",
}
FEW_UNITS = 10  # with fewer, an interval says nothing about other people
ON = {"paper": "the paper's own data", "public": "other real data", "synthetic": "rendered data"}


def in_words(study: Study, judged: Judged) -> str:
    """A claim in quotation marks and what became of it, as HTML."""
    claim, unit = judged.claim, study.scores[judged.claim.score].unit
    said = f"“{escape(claim.statement.rstrip('.'))}”: <strong>{FOUND[judged.verdict]}</strong> on {ON[judged.data]}"
    if judged.effect is None or judged.verdict == verdicts.NOT_TESTED:
        measured = f" ({effect_in_words(judged.effect, unit)})" if judged.effect else ""
        reason = f"{judged.reason[:1].lower()}{judged.reason[1:].rstrip('.')}"
        return f"{said}{measured}, because {escape(reason)}."
    paper = "the paper prints no number"
    if claim.published_effect is not None:
        paper = f"the paper: {claim.published_effect:+.3g} {unit}".replace("-", "−")
    return f"{said}. Ours: {effect_in_words(judged.effect, unit)}; {paper}."


def effect_in_words(effect: Effect, unit: str) -> str:
    """ "+0.21 points (95 % interval −0.40 to +0.80; 3 seeds, 691 test units)"."""
    if not np.isfinite(effect.low):
        return f"{effect.point:+z.2f} {unit} (no interval; seeds: {effect.seeds})".replace("-", "−")
    numbers = f"{effect.point:+z.2f} {unit} (95 % interval {effect.low:+z.2f} to {effect.high:+z.2f}".replace("-", "−")
    these = ", for these alone" if effect.units < FEW_UNITS else ""
    return f"{numbers}; {effect.seeds} seeds, {effect.units} test units{these})"


def compute_in_words(records: Sequence[Record]) -> str:
    """ "1.5 core-hours on a CPU (6 trials); 0.3 trial-hours on an H200 (4 trials)."; on a CPU, one core per trial."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for record in records:
        device = record.cost["device_name"], "core-hours" if record.cost["device"] == "cpu" else "trial-hours"
        seconds.setdefault(device, []).append(record.cost["seconds"])
    told = [
        f"{_hours(sum(of))} {hours} on {escape(name)} ({len(of)} {'trial' if len(of) == 1 else 'trials'})"
        for (name, hours), of in seconds.items()
    ]
    shared = " Several trials can share a GPU." if any(hours == "trial-hours" for _, hours in seconds) else ""
    return f"{'; '.join(told)}.{shared}" if told else "No trial is recorded."


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}" if seconds >= 360 else "less than 0.1"


def claims_table(study: Study, judged: Sequence[Judged]) -> pd.DataFrame:
    """One line per claim: verdicts, our effect and interval, detectable effect, paper's effect, why not tested."""
    lines = {}
    for j in judged:
        unit, effect = study.scores[j.claim.score].unit, j.effect
        known = effect is not None and np.isfinite(effect.low)
        lines[j.claim.statement] = {
            "primary": "yes" if j.claim.primary else "",
            "verdict": j.verdict,
            "after Holm": j.verdict_holm,
            "ours": effect_in_words(effect, unit) if effect else report.NOT_DONE,
            "detectable": f"{effect.detectable:.2f}" if known else report.ABSENT,
            "paper": report.ABSENT if j.claim.published_effect is None else f"{j.claim.published_effect:+.3g} {unit}",
            "place": j.claim.place,
            "why not tested": j.reason,
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def made_from(records: list[Record]) -> str:
    """The sentence that names the data, profile, seeds and device of a table or figure."""
    if not records:
        return "Not run: no trial is recorded."

    def all_of(values) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    return report.provenance(
        data=all_of(record.trial.params["data"] for record in records),
        profile=all_of(record.trial.params["profile"] for record in records),
        seeds=len({record.trial.seed for record in records}),
        device=all_of(record.cost["device_name"] for record in records),
        records=len(records),
    )
