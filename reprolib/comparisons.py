"""From records to the lines of tables, and to comparisons of two rows: effect, interval, verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reprolib import report
from reprolib.parameters import StudyParameters
from reprolib.records import Arrays
from reprolib.statistics import Interval, paired_bootstrap
from reprolib.trial import Record, Trial

Rows = Mapping[str, Sequence[Record]]  # row → its records, one a seed


@dataclass(frozen=True)
class Comparison:
    """A sentence about row `a` against row `b` in one score; `effect` is the paper's, None where it prints none.

    `of_a`, `of_b`: the records' arrays (items, …) that the score is computed from; another one than "confusion" may
    hold another way of predicting with the same network. `sign`: the claimed direction, where no number is printed.
    """

    id: str
    statement: str
    place: str
    a: str
    b: str
    score: str
    effect: float | None
    unit: str = "points"
    sign: int | None = None
    of_a: str = "confusion"
    of_b: str = "confusion"


def compare(
    c: Comparison,
    records: Rows,
    arrays: Arrays,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    groups: str | np.ndarray | None = None,
) -> Interval | None:
    """The paired effect a − b over the seeds that both rows have; None where one was not run or kept no such array.

    `statistic`: mean array over test items -> score. `groups`: int (items,), whose each test item is, or the name
    of the array of row `a` that tells it: people are resampled, not their pictures.
    """
    seeds = common_seeds(c, records)
    if not seeds:
        return None
    a, b = ([r for r in records[name] if r.trial.seed in seeds] for name in (c.a, c.b))
    if not (arrays.hold(a, c.of_a) and arrays.hold(b, c.of_b)):
        return None
    if isinstance(groups, str):
        groups = arrays(a[:1], groups)[0]
    return paired_bootstrap(arrays(a, c.of_a), arrays(b, c.of_b), statistic, groups=groups)


def planned(
    those: Sequence[Comparison],
    trials: Callable[[StudyParameters], Mapping[str, Sequence[Trial]]],
    parameters: StudyParameters,
) -> list[Comparison]:
    """Those of whose rows the study's `trials`, of all its tables, have both: what a data source lacks is not asked."""
    plan = trials(parameters.model_copy(update={"tables": []}))
    rows = {trial.name for of_place in plan.values() for trial in of_place}
    return [c for c in those if {c.a, c.b} <= rows]


def common_seeds(c: Comparison, records: Rows) -> set[int]:
    """Seeds with which both rows were run."""
    a, b = ({r.trial.seed for r in records.get(name, [])} for name in (c.a, c.b))
    return a & b


def claim(
    c: Comparison,
    found: Interval | None,
    records: Rows,
    *,
    study: str,
    parameters: StudyParameters,
    comparable: bool = True,
) -> report.Claim:
    """A claim of the paper with our effect and its verdict.

    `comparable=False`: the effect is shown and not judged, because one of the rows has not learned its task.
    """
    return report.Claim(
        study=study, id=c.id, statement=c.statement, place=c.place,
        published_effect=None if c.effect is None else round(c.effect, 4), unit=c.unit,
        data=parameters.data, profile=parameters.profile,
        effect=found.point if found else None, low=found.low if found else None, high=found.high if found else None,
        seeds=len(common_seeds(c, records)),
        verdict=report.verdict(c.effect, found if comparable else None, data=parameters.data, sign=c.sign),
    )  # fmt: skip


def answers(asked: Sequence[Comparison], found: Sequence[Interval | None], column: str) -> pd.DataFrame:
    """Our own questions, one a line, with the effect and its 95 % interval under `column`, or "not done"."""
    cells = [effect(interval, c.unit) for c, interval in zip(asked, found, strict=True)]
    return pd.DataFrame({column: cells}, index=pd.Index([c.statement for c in asked], name="question"))


def told(
    ids: Collection[str],
    known: Sequence[Comparison],
    effect_of: Callable[[Comparison], Interval | None],
    name_of: Callable[[str], str],
) -> list[str]:
    """`in_words` for the claims and questions of these `ids` among the `known`; `name_of`: score → its printed name."""
    by_id = {c.id: c for c in known}
    return [in_words(c, effect_of(c), name_of(c.score)) for c in map(by_id.__getitem__, ids)]


def in_words(c: Comparison, found: Interval | None, score: str) -> str:
    """What a claim or question came to: its sentence and, in HTML, the effect on the score of that name."""
    if found is None:
        return f"{c.statement} <em>Not done.</em>"
    sure = "" if found.low > 0 or found.high < 0 else ": it may be nothing"
    numbers = f"{found.point:+.2f} {c.unit} ({found.low:+.2f} to {found.high:+.2f}{sure})".replace("-", "−")
    return f"{c.statement} <em>{score} {numbers}</em>"


def effect(found: Interval | None, unit: str) -> str:
    """ "+1.20 [+0.30, +2.10] points", or "not done"."""
    if found is None:
        return report.NOT_DONE
    return f"{found.point:+.2f} [{found.low:+.2f}, {found.high:+.2f}] {unit}".replace("-", "−")


def scores(rows: Rows, columns: Mapping[str, str]) -> pd.DataFrame:
    """One line per trial: the row's name and, under each printed column, the record's metric or cost of that name.

    nan where a record has none.
    """
    measured = [(name, record.metrics | record.cost) for name, of_seeds in rows.items() for record in of_seeds]
    lines = [
        {"row": name} | {column: values.get(metric, np.nan) for column, metric in columns.items()}
        for name, values in measured
    ]
    return pd.DataFrame(lines, columns=["row", *columns])


def summary(lines: pd.DataFrame) -> pd.DataFrame:
    """A table of our own, without a published one beside it: mean ± standard deviation over the seeds.

    Rows without a record are absent; what a row's records do not have is "—".
    """
    nothing = pd.DataFrame(index=pd.Index([], dtype=str))
    beside = report.beside_published(report.summarise(lines, by="row"), nothing)
    return beside.iloc[:-1].xs("ours", axis=1, level=1).replace(report.NOT_DONE, report.ABSENT)
