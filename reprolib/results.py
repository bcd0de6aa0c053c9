"""From the records of a study to its tables and judged claims: each record and array is read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reprolib import report, verdicts
from reprolib.errors import UserError
from reprolib.parameters import DATA, StudyParameters
from reprolib.statistics import Effect, p_value, paired_effect
from reprolib.store import RunStore
from reprolib.study import Claim, Judged, Row, Study, Table
from reprolib.trial import Record

EXTENDED_SEEDS = 10  # to which the rows of an inconclusive claim may be extended once
MINIMUM_SEEDS = verdicts.FEWEST_SEEDS  # of each row with as many planned, for a table or figure to count as done


class Results:
    """The records of one study in a store, and what follows from them."""

    def __init__(self, study: Study, store: RunStore) -> None:
        self.study, self.store = study, store
        self._records = {record.trial.key: record for record in store.records(study.ID)}
        self._arrays: dict[str, dict[str, np.ndarray]] = {}
        self._effects: dict[tuple, Effect | None] = {}

    # --- records -------------------------------------------------------------------------------------

    def rows(self, parameters: StudyParameters) -> dict[str, Row]:
        """Printed name → row, of one profile and data source."""
        return {row.name: row for row in self.study.rows(parameters)}

    def of(self, row: Row) -> list[Record]:
        """The finished records of a row, by seed: of its planned seeds, and of an extension to ten."""
        wider = replace(row, seeds=max(row.seeds, EXTENDED_SEEDS)) if row.seeds > 1 else row
        keys = [trial.key for trial in self.study.trials_of(wider)]
        return [self._records[key] for key in keys if key in self._records]

    def by_row(self, parameters: StudyParameters, place: str | None = None) -> dict[str, list[Record]]:
        """Printed name → finished records, for the rows of `place` that have any; None: for all rows that have any."""
        rows = [row for row in self.study.rows(parameters) if place is None or place in row.places]
        return {row.name: records for row in rows if (records := self.of(row))}

    def sources(self, profiles: Sequence[str], place: str | None = None) -> list[StudyParameters]:
        """The data sources with records of `place` (None: of any place), most trusted first.

        Each comes with the best of `profiles` that has all of its rows done, else with the one that has the most rows.
        """
        found = []
        for data in reversed(DATA):  # paper, public, synthetic
            of_data = [self.study.Parameters(profile=profile, data=data) for profile in profiles]
            some = [p for p in of_data if self.by_row(p, place)]
            whole = [p for p in some if self.is_done([r for r in self.study.rows(p) if place in (None, *r.places)])]
            found += (whole or sorted(some, key=lambda p: -len(self.by_row(p, place))))[:1]
        return found

    def is_done(self, rows: Sequence[Row]) -> bool:
        """Whether there are rows, each with three seeds or all that are planned for it."""
        return bool(rows) and all(len(self.of(row)) >= min(MINIMUM_SEEDS, row.seeds) for row in rows)

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """What a trial kept for figures and intervals; read once."""
        if record.trial.key not in self._arrays:
            self._arrays[record.trial.key] = self.store.arrays(record)
        return self._arrays[record.trial.key]

    def stacked(self, records: Sequence[Record], name: str) -> np.ndarray | None:
        """An array of every record, (seeds, items, …); None where one of them lacks it."""
        found = [self.arrays(record).get(name) for record in records]
        return None if not found or any(array is None for array in found) else np.stack(found)

    # --- tables --------------------------------------------------------------------------------------

    def table(self, parameters: StudyParameters, table: Table) -> pd.DataFrame:
        """A table with our mean ± standard deviation over seeds beside the paper's cells, where it prints any."""
        records = self.by_row(parameters)
        placed = [row.name for row in self.study.rows(parameters) if table.place in row.places]
        lines = table.lines or {name: (name, "") for name in placed}
        scores = [
            {"row": line} | {column: _metric(record, metric, suffix) for column, metric in table.columns.items()}
            for line, (name, suffix) in lines.items()
            for record in records.get(name, [])
        ]
        ours = report.summarise(pd.DataFrame(scores, columns=["row", *table.columns]), by="row")
        paper = self.published(table.place)
        beside = report.beside_published(ours, paper)
        own = beside.columns[beside.columns.get_level_values(1) == "ours"]
        # "not done" is for what could be done: not for quoted rows, nor for scores that a finished row does not have
        done = [row in ours.index or row in self.study.quoted or row not in lines for row in beside.index]
        beside.loc[done, own] = beside.loc[done, own].replace(report.NOT_DONE, report.ABSENT)
        if paper.empty:
            return beside.iloc[:-1].xs("ours", axis=1, level=1)
        return beside

    def published(self, place: str) -> pd.DataFrame:
        """The paper's table, empty for what only we have; other sources are listed by `not_from_the_paper`."""
        number = place.removeprefix("table ")
        path = self.study.folder / self.study.ID / "published.csv"
        if not place.startswith("table ") or number not in set(_cells(path)["table"]):
            return pd.DataFrame(index=pd.Index([], dtype=str))
        return report.published_from(path, number)

    def not_from_the_paper(self, place: str) -> list[str]:
        """ "row (column, column): source" for the published cells that are not from the paper's text."""
        cells = _cells(self.study.folder / self.study.ID / "published.csv")
        other = cells[(cells["table"] == place.removeprefix("table ")) & (cells["source"] != "paper")]
        of_row = other.groupby(["row", "source"], sort=False)["column"].agg(", ".join)
        return [f"{row} ({columns}): {source}" for (row, source), columns in of_row.items()]

    # --- claims --------------------------------------------------------------------------------------

    def judged(self, parameters: StudyParameters, profiles: Sequence[str] = ()) -> list[Judged]:
        """The claims registered for one data source, judged by one rule; Holm over the primary ones of each dataset.

        `profiles`, best first: each claim is judged in the best one that can test it; empty: in that of `parameters`.
        """
        asked = [c for c in self.study.registered_claims if parameters.data in c.data and c.kind != "question"]
        tried = [self.study.Parameters(profile=p, data=parameters.data) for p in profiles] or [parameters]
        judged = [_best([self._judged(p, claim) for p in tried]) for claim in asked]
        corrected: dict[str, str] = {}
        for dataset in {j.dataset for j in judged}:
            family = [
                j for j in judged if j.claim.primary and j.verdict != verdicts.NOT_TESTED and j.dataset == dataset
            ]
            of = [self.parameters_of(j) for j in family]
            rules = [self._rule(p, j.claim) for p, j in zip(of, family, strict=True)]
            p_values = [self._p(p, j) for p, j in zip(of, family, strict=True)]
            given = verdicts.verdict_holm([_oriented(j.effect, j.claim) for j in family], rules, p_values)
            corrected |= dict(zip((j.claim.id for j in family), given, strict=True))
        return [
            replace(j, verdict_holm=corrected.get(j.claim.id, verdicts.NOT_TESTED)) if j.claim.primary else j
            for j in judged
        ]

    def questions(self, parameters: StudyParameters) -> list[tuple[Claim, Effect | None]]:
        """Our own questions of one data source with their effects; they get no verdict."""
        asked = [c for c in self.study.registered_claims if parameters.data in c.data and c.kind == "question"]
        return [(claim, self.effect(parameters, claim)) for claim in asked]

    def effect(self, parameters: StudyParameters, claim: Claim) -> Effect | None:
        """The paired effect a − b over the seeds that both rows have; None where one of them was not run."""
        key = (parameters.profile, parameters.data, claim.score, claim.a, claim.b)
        if key not in self._effects:
            self._effects[key] = self._effect(parameters, claim)
        return self._effects[key]

    def _effect(self, parameters: StudyParameters, claim: Claim) -> Effect | None:
        a, b = self._pair(parameters, claim)
        score = self.study.scores[claim.score]
        of_a, of_b = self.stacked(a, score.array), self.stacked(b, score.array)
        if of_a is None or of_b is None or of_a.shape != of_b.shape:
            return None
        if score.units is None:
            return paired_effect(of_a, of_b, score.statistic, units=np.arange(of_a.shape[1]))
        units = self.stacked([*a, *b], score.units)
        if units is None or (units != units[0]).any():
            raise UserError(
                f"the records of {claim.a!r} and {claim.b!r} should have the same test items and say whose each is, "
                "but do not: run one of the rows again"
            )
        return paired_effect(of_a, of_b, score.statistic, units=units[0])

    def _pair(self, parameters: StudyParameters, claim: Claim) -> tuple[list[Record], list[Record]]:
        """The records of both rows, with the seeds that both have."""
        rows = self.rows(parameters)
        a, b = (
            {record.trial.seed: record for record in self.of(rows[name])} if name in rows else {}
            for name in (claim.a, claim.b)
        )
        seeds = sorted(a.keys() & b.keys())
        return [a[seed] for seed in seeds], [b[seed] for seed in seeds]

    def parameters_of(self, judged: Judged) -> StudyParameters:
        """The parameters under which a claim was judged."""
        return self.study.Parameters(profile=judged.profile, data=judged.data)

    def level_of(self, parameters: StudyParameters, name: str, score: str) -> float | None:
        """A row's score, mean over its seeds; None where it was not run."""
        row = self.rows(parameters).get(name)
        values = [r.metrics[score] for r in self.of(row) if score in r.metrics] if row else []
        return float(np.mean(values)) if values else None

    def _judged(self, parameters: StudyParameters, claim: Claim) -> Judged:
        effect, rows = self.effect(parameters, claim), self.rows(parameters)
        dataset = rows[claim.a].config.dataset if claim.a in rows else ""
        if effect is None:
            reason = "At least one of the two rows was not run."
            return Judged(claim, parameters.data, dataset, parameters.profile, None, verdicts.NOT_TESTED, reason=reason)
        pair = dict(zip((claim.a, claim.b), self._pair(parameters, claim), strict=True))
        trivial = self.best_trivial(parameters, claim.a)
        learned = {n: trivial is not None and self._learned(parameters, n, trivial) for n in pair}
        rows = self.rows(parameters)
        converged = {
            name: rows[name].step_matched or all(r.stopped.get("converged", True) for r in records)
            for name, records in pair.items()
        }
        first = min(_started(record) for records in pair.values() for record in records)
        registered = bool(claim.registered) and claim.registered <= first
        if trivial is None:
            judgement = verdicts.Judgement(verdicts.NOT_TESTED, "No trivial prediction of this task was scored.")
        else:
            judgement = verdicts.judge(
                _oriented(effect, claim), self._rule(parameters, claim), learned_rows=learned,
                converged_rows=converged, registered=registered,
            )  # fmt: skip
        return Judged(
            claim, parameters.data, dataset, parameters.profile, effect, judgement.verdict, reason=judgement.reason,
            learned=all(learned.values()), converged=all(converged.values()), registered=registered,
        )  # fmt: skip

    def _rule(self, parameters: StudyParameters, claim: Claim) -> verdicts.Rule:
        """How the interval is judged: by the published size relative to the error that row b leaves, or by its sign."""
        if claim.kind == "sign":
            return verdicts.sign_verdict
        error = self.study.scores[claim.score].error
        our_b = self.level_of(parameters, claim.b, claim.score)
        if claim.kind == "null":
            return partial(verdicts.no_difference_verdict, margin=self._margin(parameters, claim))
        expected = verdicts.expected_effect(claim.published_a, claim.published_b, our_b, error=error)
        if not expected:  # our reference row leaves no error, so that no size can be expected
            return verdicts.sign_verdict
        return partial(verdicts.size_verdict, expected=abs(expected))

    def _margin(self, parameters: StudyParameters, claim: Claim) -> float:
        """How far two rows may differ where the paper finds no difference."""
        our_b = self.level_of(parameters, claim.b, claim.score)
        return claim.margin or verdicts.default_margin(our_b, error=self.study.scores[claim.score].error)

    def _p(self, parameters: StudyParameters, judged: Judged) -> float:
        """Two-sided p of a judged claim, for Holm's order."""
        if judged.claim.kind == "null":
            return verdicts.no_difference_p_value(judged.effect, self._margin(parameters, judged.claim))
        return p_value(judged.effect)

    def _learned(self, parameters: StudyParameters, name: str, trivial: float) -> bool:
        """Whether a row beats the best trivial prediction on validation items (rule 1)."""
        level = self.level_of(parameters, name, "validation")
        return level is not None and verdicts.learned(level, trivial)

    def best_trivial(self, parameters: StudyParameters, name: str) -> float | None:
        """The best validation score of a trivial predictor on the task of a row; None where none was run."""
        rows = self.rows(parameters)
        task = self.study.task_of(rows[name].config)
        rivals = [n for n in self.study.trivial if n in rows and self.study.task_of(rows[n].config) == task]
        levels = [level for n in rivals if (level := self.level_of(parameters, n, "validation")) is not None]
        return max(levels, default=None)

    def claims_json(self, parameters: StudyParameters, profiles: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The judged claims of one data source in the stable shape of `claims --json`; arguments as in `judged`."""
        return [as_json(self.study, judged) for judged in self.judged(parameters, profiles)]


def as_json(study: Study, judged: Judged) -> dict[str, Any]:
    """One claim on one data source, every key always there; a number that is not finite is None."""
    claim, effect = judged.claim, judged.effect
    numbers = {name: getattr(effect, name, None) for name in ("point", "low", "high", "seeds", "units", "detectable")}
    numbers = {n: None if v is None or not math.isfinite(v) else v for n, v in numbers.items()}
    return {
        "study": study.ID, "id": claim.id, "statement": claim.statement, "primary": claim.primary,
        "published_effect": claim.published_effect, "unit": study.scores[claim.score].unit,
        "data": judged.data, "dataset": judged.dataset, "profile": judged.profile,
        "effect": numbers["point"], "low": numbers["low"], "high": numbers["high"],
        "seeds": numbers["seeds"] or 0, "units": numbers["units"] or 0, "detectable": numbers["detectable"],
        "learned": judged.learned, "converged": judged.converged, "registered": judged.registered,
        "verdict": judged.verdict, "verdict_holm": judged.verdict_holm,
    }  # fmt: skip


def _best(judged: Sequence[Judged]) -> Judged:
    """Of one claim in several profiles, best first: the first that is tested, else the first with an effect."""
    tested = [j for j in judged if j.verdict != verdicts.NOT_TESTED]
    measured = [j for j in judged if j.effect is not None]
    return (tested or measured or list(judged[-1:]))[0]


def _started(record: Record) -> str:
    """The day on which a trial began, YYYY-MM-DD; empty where its record does not say when it ended."""
    if not (finished := record.cost.get("finished")):
        return ""
    return (datetime.fromisoformat(finished) - timedelta(seconds=record.cost["seconds"])).date().isoformat()


def _oriented(effect: Effect, claim: Claim) -> Effect:
    """The effect turned so that positive is the direction that the paper claims."""
    return effect if claim.direction > 0 else replace(effect, point=-effect.point, low=-effect.high, high=-effect.low)


def _metric(record: Record, metric: str, suffix: str) -> float:
    """A metric of the record, with the line's suffix; nan where the row has none."""
    return record.metrics.get(metric + suffix, record.cost.get(metric, np.nan) if not suffix else np.nan)


def _cells(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"table": str})
