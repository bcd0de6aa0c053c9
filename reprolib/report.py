"""Ours beside the papers': facts, claims and their verdicts, published numbers, tables for the book."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from reprolib.errors import UserError
from reprolib.paths import PUBLISHED, ROOT
from reprolib.statistics import Interval, kendall_tau

ABSENT = "—"
NOT_DONE = "not done"
RANKED = 5  # rows; the order of fewer says nothing
VERDICTS = ("reproduced", "same direction", "not reproduced", "opposite", "not tested")


@dataclass(frozen=True)
class Fact:
    """A number that can be checked exactly; `equal` is at the published precision.

    `source`: whose number it is ("paper", "release" for the authors' code, "arithmetic" for ours).
    """

    study: str
    quantity: str
    published: str
    ours: float
    equal: bool
    source: str = "paper"

    def to_json(self) -> dict:
        """The fact as JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True)
class Claim:
    """A testable sentence of a paper, its published effect, and ours with a 95 % interval.

    `place`: where the paper says it ("Table 1"). `effect`, `low`, `high`: in `unit`, None where nothing was run.
    `data`: synthetic, public or paper. `seeds`: how many trained networks stand behind each side.
    """

    study: str
    id: str
    statement: str
    place: str
    published_effect: float | None
    unit: str
    data: str
    profile: str
    effect: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: str

    def to_json(self) -> dict:
        """The claim as JSON-able fields; a number that is not finite becomes None."""
        return {name: _finite_or_none(value) for name, value in asdict(self).items()}


def verdict(
    published_effect: float | None,
    interval: Interval | None,
    *,
    data: str,
    sign: int | None = None,
    margin: float | None = None,
) -> str:
    """Compare our effect with the published one, by one rule for every claim of every paper.

    - *not tested*: there is no interval, or its bounds are not finite, or it is withheld because the rows do not do
      what the claim is about (`comparisons.claim`).
    - *reproduced*: our effect has the published sign and its interval excludes zero; on the paper's own data
      (`data` "paper") it is also at least half as large as published. A substitute data set says nothing
      about a size, so there the sign alone is asked for.
    - *same direction*: our effect has the published sign, but the interval includes zero, or (on the paper's
      own data) the effect is less than half as large.
    - *opposite*: our effect has the other sign and its interval excludes zero.
    - *not reproduced*: everything else.

    `sign` (+1 or −1): the direction that the paper's sentence claims where it prints no number, or one that does not
    fit the sentence; then the sign alone is asked for on all data.

    A published null, `published_effect` 0 without a sign, is *reproduced* when the whole interval lies within
    ±`margin` and else *not reproduced*; ValueError: a null without a margin.
    """
    null = published_effect == 0 and sign is None
    if null and (margin is None or margin <= 0):
        raise ValueError("A published effect of 0 needs a margin > 0 that counts as no effect.")
    if interval is None or not all(map(math.isfinite, (interval.point, interval.low, interval.high))):
        return "not tested"
    if null:
        return "reproduced" if -margin <= interval.low <= interval.high <= margin else "not reproduced"
    size_matters = data == "paper" and sign is None
    sign = sign or math.copysign(1.0, published_effect)
    point = sign * interval.point
    nearest, farthest = sorted((sign * interval.low, sign * interval.high))
    if point > 0:
        large_enough = not size_matters or point >= abs(published_effect) / 2
        return "reproduced" if nearest > 0 and large_enough else "same direction"
    return "opposite" if farthest < 0 else "not reproduced"


def fact(study: str, quantity: str, published: str | float, ours: float, *, source: str = "paper") -> Fact:
    """Check a number against a published one, at the published number of decimals.

    `published` is written as the paper prints it: "4,524,323", "121", "7.0". "7.0" asks for one decimal, "7"
    or 7 for none. Ours is rounded half up, as papers do; nan and infinity equal nothing.
    """
    printed = f"{published:,}" if isinstance(published, int) else str(published)
    value = Decimal(printed.replace(",", ""))
    equal = math.isfinite(ours) and _round_half_up(ours, like=value) == value
    return Fact(study=study, quantity=quantity, published=printed, ours=ours, equal=equal, source=source)


def published(study: str, table: str) -> pd.DataFrame:
    """Read a paper's own table: rows and columns in printed order, nan where the paper gives no number.

    Source: `studies/<study>/published.csv`, or `published/<study>.csv` of a study that is not yet ported, with
    table,row,column,value. UserError: no such study or table.
    """
    own = ROOT / "reprolib" / "studies" / study / "published.csv"
    path = own if own.exists() else PUBLISHED / f"{study}.csv"
    if not path.exists():
        raise UserError(f"Expected published numbers of {study} in {own}, found no such file; add it.")
    return published_from(path, table)


def published_from(path: Path, table: str) -> pd.DataFrame:
    """`published`, from a file with the columns table, row, column and value."""
    study = path.stem if path.stem != "published" else path.parent.name
    cells = pd.read_csv(path, dtype={"table": str})
    if table not in set(cells["table"]):
        known = ", ".join(cells["table"].unique())
        raise UserError(f"Expected a table of {study} ({known}), found {table!r}; choose one of these.")
    cells = cells[cells["table"] == table]
    wide = cells.pivot(index="row", columns="column", values="value")
    wide = wide.reindex(index=cells["row"].unique(), columns=_column_order(cells))
    return wide.rename_axis(index=None, columns=None)


def summarise(scores: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """Mean and standard deviation over the seeds of each row: the `ours` of `beside_published`.

    `scores`: one line per trial, the column `by` naming the table's row, all others numeric. The result has
    rows as they first occur and columns (name, "mean" | "sd"); one seed alone has sd nan.
    """
    return scores.groupby(by, sort=False).agg(["mean", "std"]).rename(columns={"std": "sd"}, level=1)


def beside_published(ours: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Our table beside the paper's, cell by cell, with Kendall's τ of the rows under columns of `RANKED` rows or more.

    `ours`: columns (name, "mean" | "sd") as from `summarise`, in the paper's units. `paper`: as from
    `published`. Returns text, columns (name, "ours" | "paper"): the paper's rows and columns first, then
    those that only we have. Ours has the paper's number of decimals. A cell that the paper does not give is
    "—", one that we have not done is "not done".
    """
    rows = list(dict.fromkeys([*paper.index, *ours.index]))
    names = list(dict.fromkeys([*paper.columns, *ours.columns.get_level_values(0)]))
    cells: dict[tuple[str, str], list[str]] = {}
    for name in names:
        mean, sd, theirs = (
            _column(ours, (name, "mean"), rows),
            _column(ours, (name, "sd"), rows),
            _column(paper, name, rows),
        )
        form = _format(theirs)
        ranked = np.isfinite(theirs) & np.isfinite(mean)
        tau = _number(kendall_tau(theirs, mean) if ranked.sum() >= RANKED else np.nan, "{:.2f}".format, absent=ABSENT)
        cells[name, "ours"] = [*(_mean_sd(m, s, form) for m, s in zip(mean, sd, strict=True)), tau]
        cells[name, "paper"] = [*(_number(value, form, absent=ABSENT) for value in theirs), ""]
    return pd.DataFrame(cells, index=[*rows, "Kendall τ of the rows"])


def provenance(*, data: str, profile: str, seeds: int, device: str, records: int) -> str:
    """The sentence under a table or figure that says what it was made from."""
    return (
        f"Data: {data}; profile: {profile}; seeds: {seeds}; device: {device}; "
        f"made from {records} {'record' if records == 1 else 'records'}."
    )


def to_html(table: pd.DataFrame, caption: str) -> str:
    """A table as plain HTML: no colours of its own, so that it reads on light and dark ground.

    Wide tables scroll sideways within their own frame on a phone.
    """
    body = table.to_html(border=0, escape=True, classes="results", na_rep=ABSENT).replace(" ± ", "&nbsp;±&nbsp;")
    # The caption stands outside the frame that scrolls, or it would be as wide as the table.
    title = f"<figcaption><strong>{escape(caption)}</strong></figcaption>"
    return f'<figure class="results">{title}\n<div style="overflow-x: auto">\n{body}\n</div></figure>'


def verdict_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim of one data source: the sentence, the verdict, ours, the published effect and its place."""
    return pd.DataFrame(
        {
            "verdict": [c.verdict for c in claims],
            "ours": [_with_unit(_signed(c.effect), c.unit, absent=NOT_DONE) for c in claims],
            "95 % interval": [_bounds(c.low, c.high) for c in claims],
            "paper": [_with_unit(_signed(c.published_effect), c.unit) for c in claims],
            "place": [c.place for c in claims],
        },
        index=pd.Index([c.statement for c in claims]),
    )


def verdict_counts(claims: Sequence[Claim]) -> pd.DataFrame:
    """How many claims of each study have each verdict: one row per (study, data), one column per verdict."""
    counts: Mapping[tuple[str, str], dict[str, int]] = {(c.study, c.data): dict.fromkeys(VERDICTS, 0) for c in claims}
    for c in claims:
        counts[c.study, c.data][c.verdict] += 1
    index = pd.MultiIndex.from_tuples(list(counts), names=["study", "data"])
    return pd.DataFrame(list(counts.values()), index=index, columns=list(VERDICTS))


def fidelity_table(facts: Sequence[Fact]) -> pd.DataFrame:
    """One row per exactly checkable number: published, ours at the published precision, equal or not."""
    return pd.DataFrame(
        {
            "quantity": [f.quantity for f in facts],
            "published": [f.published for f in facts],
            "source": [f.source for f in facts],
            "ours": [_as_printed(f) for f in facts],
            "equal": ["yes" if f.equal else "no" for f in facts],
        },
        index=pd.Index([f.study for f in facts]),
    )


def _column_order(cells: pd.DataFrame) -> list[str]:
    """The table's printed column order, merged from rows that each lack some columns."""
    sorter = TopologicalSorter({name: () for name in cells["column"]})
    for _, row in cells.groupby("row", sort=False):
        for left, right in pairwise(row["column"]):
            sorter.add(right, left)
    return list(sorter.static_order())


def _round_half_up(value: float, *, like: Decimal) -> Decimal:
    return Decimal(repr(float(value))).quantize(Decimal((0, (1,), like.as_tuple().exponent)), ROUND_HALF_UP)


def _as_printed(f: Fact) -> str:
    if not math.isfinite(f.ours):
        return str(f.ours)
    return f"{_round_half_up(f.ours, like=Decimal(f.published.replace(',', ''))):,}"


def _column(table: pd.DataFrame, name: str | tuple[str, str], rows: list[str]) -> np.ndarray:
    if name not in table.columns:
        return np.full(len(rows), np.nan)
    return table[name].reindex(rows).to_numpy(float)


def _format(column: np.ndarray) -> Callable[[float], str]:
    """The paper's number format in a column: the fewest decimals that show all its numbers.

    Three significant digits where the numbers span orders of magnitude (frames per second), two decimals
    where the paper gives no number.
    """
    given = column[np.isfinite(column)]
    if given.size and given.max() > 100 * given.min() > 0:
        return partial(np.format_float_positional, precision=3, fractional=False, trim="-")
    exact = (d for d in range(4) if np.allclose(given, given.round(d), rtol=0, atol=1e-9))
    return f"{{:.{next(exact, 4) if given.size else 2}f}}".format


def _number(value: float, form: Callable[[float], str], *, absent: str) -> str:
    return form(value) if math.isfinite(value) else absent


def _mean_sd(mean: float, sd: float, form: Callable[[float], str]) -> str:
    spread = f" ± {form(sd)}" if math.isfinite(mean) and math.isfinite(sd) else ""
    return _number(mean, form, absent=NOT_DONE) + spread


def _signed(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:+.3g}".replace("-", "−")


def _with_unit(number: str, unit: str, *, absent: str = ABSENT) -> str:
    return f"{number} {unit}".strip() if number else absent


def _bounds(low: float | None, high: float | None) -> str:
    return f"{_signed(low)} … {_signed(high)}" if _signed(low) and _signed(high) else ABSENT


def _finite_or_none(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
