"""The log of tried learning rates, tuning.csv beside a study's rows, and the rate that a row takes from it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from reprolib.errors import UserError
from reprolib.whole_files import write_whole


@dataclass(frozen=True)
class Try:
    """One learning rate of one row, and the best validation score that it reached; a line of tuning.csv.

    `key` stands for what was trained: a row whose configuration or recipe has changed since is tried again.
    `validation` is nan where the training diverged.
    """

    data: str
    dataset: str
    profile: str
    row: str
    lr: float
    epochs: int
    seed: int
    validation: float
    device: str
    key: str


def read(path: Path) -> list[Try]:
    """All tries of a log; empty where nothing was tuned. UserError for a file that is no such log."""
    if not path.is_file():
        return []
    numbers = {"lr": float, "epochs": int, "seed": int, "validation": float}
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    try:
        return [Try(**{name: numbers.get(name, str)(value) for name, value in line.items()}) for line in lines]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} should be a log of tries as `tune` writes it, but is not: tune again") from error


def write(path: Path, tries: Sequence[Try]) -> None:
    """The whole log, sorted, so that it does not matter in which order tries end."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Try)], lineterminator="\n")
    writer.writeheader()
    for one in sorted(tries, key=lambda t: (t.data, t.profile, t.row, t.lr)):
        writer.writerow(vars(one))
    write_whole(path, text.getvalue().encode())


def best(tries: Iterable[Try], *, data: str, profile: str, row: str) -> float | None:
    """The learning rate with the highest validation score; None where the row was not tuned or always diverged."""
    of_row = [t for t in tries if (t.data, t.profile, t.row) == (data, profile, row) and math.isfinite(t.validation)]
    return max(of_row, key=lambda t: t.validation).lr if of_row else None


def rates(path: Path, *, data: str, profile: str) -> dict[str, float]:
    """Row → its best learning rate, for the rows with tries in a log; synthetic data use the rates of public data."""
    log, data = read(path), "public" if data == "synthetic" else data
    found = {row: best(log, data=data, profile=profile, row=row) for row in {t.row for t in log}}
    return {row: rate for row, rate in found.items() if rate is not None}
