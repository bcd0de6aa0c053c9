"""Equal care for every row: the same learning rates are tried for a row and its rivals, on validation items alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from reprolib import tries
from reprolib.errors import UserError
from reprolib.machine import resolve_device, resolve_workers, set_seeds, thread_limits
from reprolib.parameters import StudyParameters
from reprolib.runner import processes
from reprolib.study import Row, Study
from reprolib.training import Diverged
from reprolib.trial import Context, canonical_json
from reprolib.tries import Try

SEED = 0
SHARE_OF_EPOCHS = 3  # a third of the row's own ceiling


def path_of(study: Study) -> Path:
    """The study's log of tries, committed beside its rows."""
    return study.folder / study.ID / "tuning.csv"


def read(study: Study) -> list[Try]:
    """All tries of a study; empty where nothing was tuned."""
    return tries.read(path_of(study))


def current(study: Study, parameters: StudyParameters) -> dict[tuple[str, float], tuple[Row, str]]:
    """(row, learning rate) → the row with that rate for a third of its epochs, and the key of that try.

    The key is a hash of the configuration without its learning rates (those of earlier stages may be tuned, too), the
    rate that is tried, and the recipe.
    """
    rows = {row.name: row for row in study.rows(parameters)}
    found = {}
    for name in study.tuned.get(parameters.data, ()):
        for lr in study.rates:
            row = rows[name]
            training = row.config.training
            shorter = replace(training, lr=lr, final_lr=lr, epochs=-(-training.epochs // SHARE_OF_EPOCHS))
            tried = replace(row, config=replace(row.config, training=shorter))
            decisive = [study.ID, _without_rates(asdict(tried.config)), lr, SEED, study.recipe]
            found[name, lr] = tried, hashlib.sha256(canonical_json(decisive).encode()).hexdigest()[:16]
    return found


def _without_rates(config: Any) -> Any:
    if isinstance(config, dict):
        return {name: _without_rates(value) for name, value in config.items() if name not in ("lr", "final_lr")}
    return config


def tune(
    study: Study, parameters: StudyParameters, context: Context, *, workers: int = 0, rows: Sequence[str] = ()
) -> list[Try]:
    """Try the study's rates for each of its tuned rows on one data source, log them in tuning.csv and return all tries.

    A try trains with one seed for a third of the row's epochs and never sees a test item; tries that the file has are
    not repeated, those of an older configuration or recipe are replaced. `rows`: these rows alone (a row that builds on
    tuned stages is tuned after them). UserError for a study that tunes nothing on this data source.
    """
    wanted = current(study, parameters)
    if not wanted:
        raise UserError(f"{study.ID} tunes no row on {parameters.data} data; tuned are {', '.join(study.tuned)}")
    if unknown := set(rows) - {name for name, _ in wanted}:
        raise UserError(f"{study.ID} does not tune {sorted(unknown)[0]!r} on {parameters.data} data")
    keys = {key for _, key in wanted.values()}
    here = (parameters.data, parameters.profile)
    context = replace(context, device=resolve_device(context.device))
    with FileLock(path_of(study).with_suffix(".lock")):
        log = [t for t in read(study) if (t.data, t.profile) != here or t.key in keys]
        done = {t.key for t in log}
        missing = [of for (name, _), of in wanted.items() if of[1] not in done and (not rows or name in rows)]
        workers = min(resolve_workers(workers, context.device), max(len(missing), 1))
        os.environ.update(thread_limits(1))
        for made in tqdm(_tried(study.ID, missing, context, workers), total=len(missing), unit="try"):
            log.append(made)
            tries.write(path_of(study), log)
    return log


def _tried(study_id: str, missing: Sequence[tuple[Row, str]], context: Context, workers: int) -> Iterator[Try]:
    """The tries as they end."""
    if workers == 1:
        yield from (_try(study_id, row, key, context) for row, key in missing)
        return
    with processes(workers, thread_limits(1)) as executor:
        futures = [executor.submit(_try, study_id, row, key, context) for row, key in missing]
        yield from (future.result() for future in as_completed(futures))


def _try(study_id: str, row: Row, key: str, context: Context) -> Try:
    from reprolib import studies

    config = row.config
    set_seeds(SEED, context.device)
    try:
        score = round(studies.load(study_id).module("experiment").validate(config, SEED, context), 4)
    except Diverged:
        score = float("nan")
    training = config.training
    return Try(config.data, config.dataset, config.profile, row.name, training.lr, training.epochs, SEED, score,
               context.device, key)  # fmt: skip
