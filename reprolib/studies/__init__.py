"""One module per paper: which trials make which table, and how records become tables and claims."""

import difflib
import importlib
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from reprolib import paths
from reprolib.datasets.folders import DatasetMissing
from reprolib.errors import UserError
from reprolib.parameters import StudyParameters, select
from reprolib.store import RunStore
from reprolib.study import Study
from reprolib.trial import Context, Trial

STUDIES = (
    "masi2020",
    "yang2023",
    "yin2020",
    "wang2018",
    "sheng2021",
)


def load(study_id: str) -> Study:
    """One study; UserError for an unknown id, listing the known ones."""
    if study_id not in STUDIES:
        close = difflib.get_close_matches(study_id, STUDIES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(STUDIES)}."
        raise UserError(f"There is no study {study_id!r}; {hint}")
    return importlib.import_module(f"reprolib.studies.{study_id}").STUDY


def store_of(parameters: StudyParameters) -> RunStore:
    """The store of these parameters' records; smoke runs have their own and never replace published results."""
    return RunStore(_results(parameters))


def context_of(parameters: StudyParameters) -> Context:
    """The device, data root and results folder of these parameters' trials."""
    data_root = Path(parameters.data_root).expanduser().resolve() if parameters.data_root else None
    return Context(device=parameters.device, data_root=data_root, results=_results(parameters))


def needed(study: Study, parameters: StudyParameters, rows: Collection[str] = ()) -> list[Trial]:
    """The trials of the tables and figures that `parameters.tables` names, each once, in paper order.

    `rows`: printed names of rows; empty = all. Rows whose dataset is not under the data root are left out, with a
    sentence on stderr. UserError for a row that the chosen tables do not have, and if the dataset of no row is there.
    """
    places = study.trials(parameters.model_copy(update={"tables": []}))
    chosen = select(places, parameters.tables)
    trials = list({trial.key: trial for trials in chosen.values() for trial in trials}.values())
    if unknown := set(rows) - {trial.name for trial in trials}:
        raise UserError(f"no row of the chosen tables is named {sorted(unknown)[0]!r}; see the tables of {study.ID}")
    trials = [trial for trial in trials if not rows or trial.name in rows]
    return _possible(study, parameters, trials)


def _possible(study: Study, parameters: StudyParameters, trials: list[Trial]) -> list[Trial]:
    """The trials whose dataset is under the data root; all of them where no data root is given, to be refused later."""
    if not parameters.data_root or not (root := Path(parameters.data_root).expanduser()).is_dir():
        return trials
    missing = {row.name: folders for row in study.rows(parameters) if (folders := study.missing_folders(row, root))}
    for folders in dict.fromkeys(missing.values()):
        left_out = [name for name, of_row in missing.items() if of_row == folders]
        if any(trial.name in left_out for trial in trials):
            print(f"Left out: {len(left_out)} rows that need the folder {' or '.join(folders)}.", file=sys.stderr)
    possible = [trial for trial in trials if trial.name not in missing]
    if trials and not possible:
        wanted = "; ".join(" or ".join(folders) for folders in dict.fromkeys(missing.values()))
        raise UserError(f"{root} holds nothing that these rows need: expected a folder {wanted}")
    return possible


def check_datasets(data_root: Path, datasets: Mapping[str, ModuleType]) -> list[str]:
    """Lines that describe which of a study's datasets (folder → loader with `check`) are under `data_root`.

    UserError if none is there, or one is incomplete.
    """
    found = []
    for module in datasets.values():
        with suppress(DatasetMissing):
            found += module.check(data_root)
    if not found:
        raise UserError(
            f"{data_root} should hold one of the folders {', '.join(datasets)}, or be one of them, but is neither: "
            "the book's page on reproducing shows each dataset's layout"
        )
    return found


def _results(parameters: StudyParameters) -> Path:
    return paths.RESULTS / "smoke" if parameters.profile == "smoke" else paths.RESULTS
