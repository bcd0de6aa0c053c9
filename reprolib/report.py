"""Ours beside the papers': facts, published numbers, tables for the book."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from reprolib.errors import UserError
from reprolib.statistics import kendall_tau

ABSENT = "—"
NOT_DONE = "not done"
RANKED = 5  # rows; the order of fewer says nothing


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


def fact(study: str, quantity: str, published: str | float, ours: float, *, source: str = "paper") -> Fact:
    """Check a number against a published one, at the published number of decimals.

    `published` is written as the paper prints it: "4,524,323", "121", "7.0". "7.0" asks for one decimal, "7"
    or 7 for none. Ours is rounded half up, as papers do; nan and infinity equal nothing.
    """
    printed = f"{published:,}" if isinstance(published, int) else str(published)
    value = Decimal(printed.replace(",", ""))
    equal = math.isfinite(ours) and _round_half_up(ours, like=value) == value
    return Fact(study=study, quantity=quantity, published=printed, ours=ours, equal=equal, source=source)


def published_from(path: Path, table: str) -> pd.DataFrame:
    """A paper's own table: rows and columns in printed order, nan where the paper gives no number.

    path: a study's published.csv, with the columns table, row, column and value. UserError: no such table.
    """
    study = path.stem if path.stem != "published" else path.parent.name
    cells = pd.read_csv(path, dtype={"table": str})
    if table not in set(cells["table"]):
        known = ", ".join(cells["table"].unique())
        raise UserError(f"Expected a table of {study} ({known}), found {table!r}; choose one of these.")
    cells = cells[cells["table"] == table]
    wide = cells.pivot(index="row", columns="column", values="value")
    wide = wide.reindex(index=cells["row"].unique(), columns=_column_order(cells))
    wide = wide.rename_axis(index=None, columns=None)
    wide.attrs["as_given"] = _as_given(path, table)
    return wide


def _as_given(path: Path, table: str) -> dict[tuple[str, str], str]:
    """(column, row) → text of the cells that are not from the paper itself, which may have fewer decimals than it."""
    cells = pd.read_csv(path, dtype=str)
    if "source" not in cells:
        return {}
    other = cells[(cells["table"] == table) & (cells["source"] != "paper")]
    return {(cell.column, cell.row): cell.value for cell in other.itertuples()}


def summarise(scores: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """Mean and standard deviation over the seeds of each row: the `ours` of `beside_published`.

    `scores`: one line per trial, the column `by` naming the table's row, all others numeric. The result has
    rows as they first occur and columns (name, "mean" | "sd"); one seed alone has sd nan.
    """
    return scores.groupby(by, sort=False).agg(["mean", "std"]).rename(columns={"std": "sd"}, level=1)


def beside_published(ours: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Our table beside the paper's, cell by cell, with Kendall's τ of the rows under columns of `RANKED` rows or more.

    `ours`: columns (name, "mean" | "sd") as from `summarise`, in the paper's units. `paper`: as from
    `published_from`. Returns text, columns (name, "ours" | "paper"): the paper's rows and columns first, then
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
        printed = [_number(value, form, absent=ABSENT) for value in theirs]
        as_given = paper.attrs.get("as_given", {})
        cells[name, "paper"] = [*(as_given.get((name, row), one) for row, one in zip(rows, printed, strict=True)), ""]
    return pd.DataFrame(cells, index=[*rows, "Kendall τ of the rows"])


def provenance(*, data: str, profile: str, seeds: int, device: str, records: int) -> str:
    """The sentence under a table or figure that says what it was made from."""
    return (
        f"Data: {data}; profile: {profile}; seeds: {seeds}; device: {device}; "
        f"made from {records} {'record' if records == 1 else 'records'}."
    )


HEADING = re.compile(r"<th[^>]*>[^<]*")
SUBSCRIPT = re.compile(r"([A-Za-z0-9]+)_([a-z]{2,})")  # IOU_hair, not Conv2_x


def to_html(table: pd.DataFrame, caption: str) -> str:
    """A table as plain HTML: no colours of its own, so that it reads on light and dark ground.

    Wide tables scroll sideways within their own frame on a phone.
    """
    body = table.to_html(border=0, escape=True, classes="results", na_rep=ABSENT).replace(" ± ", "&nbsp;±&nbsp;")
    body = HEADING.sub(lambda heading: SUBSCRIPT.sub(r"\1<sub>\2</sub>", heading[0]), body)
    # The caption is outside the frame that scrolls, or it would be as wide as the table.
    title = f"<figcaption><strong>{escape(caption)}</strong></figcaption>"
    frame = f'<div class="frame" tabindex="0" role="region" aria-label="{escape(caption.partition(". ")[0])}">'
    return f'<figure class="results">{title}\n{frame}\n{body}\n</div></figure>'


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
