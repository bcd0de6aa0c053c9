"""Equal care for every row: the same learning rates are tried for a row and its rivals, on validation items alone."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import joblib
from tqdm import tqdm

from reprolib.errors import UserError
from reprolib.machine import resolve_device, resolve_workers, set_seeds, thread_limits
from reprolib.parameters import StudyParameters
from reprolib.study import Row, Study
from reprolib.trial import Context

SEED = 0
SHARE_OF_EPOCHS = 3  # a third of the row's own ceiling


@dataclass(frozen=True)
class Try:
    """One learning rate of one row, and the best validation score that it reached; a line of tuning.csv."""

    data: str
    dataset: str
    profile: str
    row: str
    lr: float
    epochs: int
    seed: int
    validation: float


def path_of(study: Study) -> Path:
    """The study's log of tries, committed beside its rows."""
    return study.folder / study.ID / "tuning.csv"


def read(study: Study) -> list[Try]:
    """All tries of a study; empty where nothing was tuned."""
    path = path_of(study)
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Try(**line | {"lr": float(line["lr"]), "epochs": int(line["epochs"]), "seed": int(line["seed"]),
                          "validation": float(line["validation"])})
            for line in csv.DictReader(file)
        ]  # fmt: skip


def best(tries: Iterable[Try], *, data: str, profile: str, row: str) -> float:
    """The learning rate with the highest validation score; ValueError where the row was not tuned."""
    of_row = [t for t in tries if (t.data, t.profile, t.row) == (data, profile, row)]
    return max(of_row, key=lambda t: t.validation).lr


def tune(study: Study, parameters: StudyParameters, context: Context, *, workers: int = 0) -> list[Try]:
    """Try the study's rates for each of its tuned rows on one data source, log them in tuning.csv and return all tries.

    A try trains with one seed for a third of the row's epochs and never sees a test item; tries that the file has are
    not repeated. UserError for a study that tunes nothing on this data source.
    """
    rows = {row.name: row for row in study.rows(parameters)}
    wanted = [(rows[name], lr) for name in study.tuned.get(parameters.data, ()) for lr in study.rates]
    if not wanted:
        raise UserError(f"{study.ID} tunes no row on {parameters.data} data; tuned are {', '.join(study.tuned)}")
    tries = read(study)
    done = {(t.data, t.profile, t.row, t.lr) for t in tries}
    missing = [(r, lr) for r, lr in wanted if (parameters.data, parameters.profile, r.name, lr) not in done]
    context = replace(context, device=resolve_device(context.device))
    workers = min(resolve_workers(workers, context.device), max(len(missing), 1))
    os.environ.update(thread_limits(1))
    found = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
        joblib.delayed(_try)(study.ID, row, lr, context) for row, lr in missing
    )
    for made in tqdm(found, total=len(missing), unit="try"):
        tries.append(made)
        _write(path_of(study), tries)
    return tries


def _try(study_id: str, row: Row, lr: float, context: Context) -> Try:
    from reprolib import studies

    study, training = studies.load(study_id), row.config.training
    shorter = replace(training, lr=lr, final_lr=lr, epochs=-(-training.epochs // SHARE_OF_EPOCHS))
    config = replace(row.config, training=shorter)
    set_seeds(SEED, context.device)
    score = study.module("experiment").validate(config, SEED, context)
    return Try(config.data, config.dataset, config.profile, row.name, lr, shorter.epochs, SEED, round(score, 4))


def _write(path: Path, tries: Sequence[Try]) -> None:
    """The whole log, sorted, so that it does not matter in which order tries end."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Try)], lineterminator="\n")
        writer.writeheader()
        for one in sorted(tries, key=lambda t: (t.data, t.profile, t.row, t.lr)):
            writer.writerow(vars(one))
    temporary.replace(path)
