"""What a study is: rows, tables and claims as data; planning, reading and judging, written once for all papers."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from reprolib import verdicts
from reprolib.datasets.folders import subfolders
from reprolib.errors import UserError
from reprolib.parameters import DATA, StudyParameters, select
from reprolib.paths import ROOT
from reprolib.statistics import Effect
from reprolib.trial import Context, Outcome, Trial

if TYPE_CHECKING:
    import pandas as pd

    from reprolib.planning import Work
    from reprolib.store import RunStore

STUDIES_FOLDER = ROOT / "reprolib" / "studies"


KINDS = ("effect", "sign", "null", "question")


@dataclass(frozen=True)
class Row:
    """One line of the tables: its printed name, the configuration of its trials, and where it is needed."""

    name: str
    config: Any  # the study's own frozen configuration
    seeds: int
    places: tuple[str, ...]  # such as ("table 3", "figure 6")
    step_matched: bool = False  # a control that stops after as many steps as its rival, whether it has converged or not


@dataclass(frozen=True)
class Table:
    """A table: printed column → metric of the record.

    `lines`: printed line → (row, suffix of its metrics), where they differ from the rows of the place.
    """

    place: str  # "table 1", or "extra A" for one that the paper does not have
    title: str
    columns: Mapping[str, str]
    lines: Mapping[str, tuple[str, str]] | None = None


@dataclass(frozen=True)
class Score:
    """A score that claims are judged on: how the mean of a record's array over test items becomes a number."""

    name: str  # as printed: "mean IoU"
    array: str  # of the record's artifact, (items, …)
    statistic: Callable[[np.ndarray], np.ndarray]
    unit: str = "points"
    higher_is_better: bool = True  # percent, with the error 100 − score; else the score itself is the error
    units: str | None = "units"  # the array with the independent unit of each test item; None: each is its own

    def error(self, score: float) -> float:
        """What is left to gain: 100 − score for percentages, the score itself where lower is better."""
        return verdicts.shortfall(score) if self.higher_is_better else verdicts.score_is_error(score)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper about row `a` against row `b`, registered before the rows were run.

    kind: "effect" (the paper prints both cells), "sign" (only a direction, `sign`), "null" (no difference, `margin`),
    "question" (ours, without a verdict).
    """

    id: str
    statement: str
    place: str
    kind: str
    score: str
    a: str
    b: str
    published_a: float | None
    published_b: float | None
    sign: int
    margin: float | None
    primary: bool
    data: tuple[str, ...]
    registered: str  # the date; empty = after the fact

    @property
    def published_effect(self) -> float | None:
        """a − b as printed; None where the paper prints no number."""
        if self.published_a is None or self.published_b is None:
            return None
        return round(self.published_a - self.published_b, 4)

    @property
    def direction(self) -> int:
        """+1 where the paper claims that a is the higher one, −1 where it claims the lower."""
        return self.sign or (1 if (self.published_effect or 0) >= 0 else -1)


@dataclass(frozen=True)
class Judged:
    """A claim on one data source: our effect, the gates, the verdict and the reason where there is none."""

    claim: Claim
    data: str
    dataset: str
    profile: str
    effect: Effect | None
    verdict: str
    verdict_holm: str = ""  # of primary claims
    reason: str = ""  # why it is not tested
    learned: bool | None = None
    converged: bool | None = None
    registered: bool = True  # before the first of its rows was run, where one was


@dataclass(frozen=True)
class Study:
    """One paper.

    Code that needs torch is in two modules that are imported only when a trial runs or a figure is drawn: `experiment`
    (run, validate, facts, network_of, workload) and `figures` (drawn).
    """

    ID: str
    TITLE: str
    REFERENCE: str
    config: type
    rows: Callable[[StudyParameters], list[Row]]
    declared_tables: tuple[Table, ...]
    figures: tuple[str, ...]  # of the paper: "figure 1" …
    scores: Mapping[str, Score]  # name, which is also the record's metric → score
    work: Callable[[Any], list[Work]]  # configuration → the trainings that a trial needs, in order
    trivial: tuple[str, ...]  # rows that predict without looking at the input
    recipe: int = 1  # raised when a change alters what a trial computes
    without_rows: tuple[str, ...] = ()  # figures drawn from the method itself
    quoted: Mapping[str, str] = field(default_factory=dict)  # rows of the paper's tables that we do not train → why
    task_of: Callable[[Any], str] = lambda config: ""  # configuration → task: rows of one task share validation items
    datasets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # → folders, of which it needs one
    loaders: Mapping[str, str] = field(default_factory=dict)  # folder → module with `check`, for `data check`
    tuned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # data source → rows to tune (`reprolib.tuning`)
    rates: tuple[float, ...] = ()  # learning rates that are tried for each of them
    headline: tuple[str, ...] = ()  # tables that `plan` wants in ten minutes of a GPU; empty: those of primary claims
    Parameters: type[StudyParameters] = StudyParameters
    folder: Path = STUDIES_FOLDER

    # --- planning ------------------------------------------------------------------------------------

    @property
    def SYSTEMS(self) -> dict[str, str | None]:
        """Every method by its printed name; the reason where it is quoted, None where it is trained."""
        named = {row.name for p in DATA for row in self.rows(self.Parameters(data=p, profile="cpu"))}
        return dict.fromkeys(sorted(named)) | dict(self.quoted)

    def trials(self, parameters: StudyParameters) -> dict[str, list[Trial]]:
        """Table or figure → the trials that it needs; those that `parameters.tables` leaves out are absent."""
        plan: dict[str, list[Trial]] = {place: [] for place in self._places()}
        for row in self.rows(parameters):
            for place in row.places:
                plan.setdefault(place, []).extend(self.trials_of(row))
        return select(plan, parameters.tables)

    def trials_of(self, row: Row) -> list[Trial]:
        """One trial per seed."""
        return [Trial(self.ID, row.name, asdict(row.config), seed, self.recipe) for seed in range(row.seeds)]

    def _places(self) -> list[str]:
        return [*(t.place for t in self.declared_tables), *self.figures]

    # --- running -------------------------------------------------------------------------------------

    @property
    def execute(self) -> Callable[[Trial, Context], Outcome]:
        """The function that runs one trial; it can be pickled, for it holds only the study's name."""
        return partial(execute, self.ID)

    def config_of(self, trial: Trial) -> Any:
        """The typed configuration of a trial; ValidationError (pydantic) for one that this code does not know."""
        return TypeAdapter(self.config).validate_python(dict(trial.params))

    def module(self, name: str) -> ModuleType:
        """A module of the study that is not needed for listings."""
        return importlib.import_module(f"reprolib.studies.{self.ID}.{name}")

    def missing_folders(self, row: Row, data_root: Path | None) -> tuple[str, ...]:
        """The folders of which a row needs one, if neither the data root nor a subfolder is one of them; else empty."""
        wanted = self.datasets.get(row.config.dataset, ())
        if not wanted or data_root is None:
            return ()
        there = {folder.name.casefold() for folder in (data_root.resolve(), *subfolders(data_root))}
        return () if there & {name.casefold() for name in wanted} else wanted

    def check_data(self, data_root: Path) -> list[str]:
        """The study's datasets found under the data root, one line each; UserError if none is or one is damaged."""
        from reprolib.studies import check_datasets

        if not self.loaders:
            raise UserError(f"{self.ID} uses rendered faces only; there is nothing to check.")
        modules = {folder: importlib.import_module(name) for folder, name in self.loaders.items()}
        return check_datasets(data_root, modules)

    # --- what came of it -----------------------------------------------------------------------------

    def tables(self, parameters: StudyParameters, store: RunStore) -> dict[str, pd.DataFrame]:
        """Every table of the chosen places, ours beside the paper's.

        Tables of the method itself have no columns and are left out.
        """
        from reprolib.results import Results  # which reads what is declared here

        results = Results(self, store)
        places = select({table.place: table for table in self.declared_tables} | dict.fromkeys(self.figures),
                        parameters.tables)  # fmt: skip
        return {place: results.table(parameters, table) for place, table in places.items() if table and table.columns}

    # --- claims --------------------------------------------------------------------------------------

    @cached_property
    def registered_claims(self) -> tuple[Claim, ...]:
        """The claims of claims.csv, their effects computed from the cells of published.csv that they name."""
        cells = published_cells(self.folder / self.ID / "published.csv")
        with (self.folder / self.ID / "claims.csv").open(encoding="utf-8", newline="") as file:
            return tuple(_claim(line, cells) for line in csv.DictReader(file))

    def fidelity(self) -> list[Any]:
        """Numbers that can be checked exactly."""
        return self.module("experiment").facts()


def execute(study_id: str, trial: Trial, context: Context) -> Outcome:
    """Run one trial: the study's experiment gets the trial's parameters as its typed configuration."""
    from reprolib import studies

    study = studies.load(study_id)
    return study.module("experiment").run(study.config_of(trial), trial.seed, context)


def published_cells(path: Path) -> dict[str, float]:
    """ "table|row|column" → the printed value; UserError where the file is missing."""
    if not path.is_file():
        raise UserError(f"expected the paper's numbers in {path}, found no such file; add it")
    with path.open(encoding="utf-8", newline="") as file:
        return {f"{c['table']}|{c['row']}|{c['column']}": float(c["value"]) for c in csv.DictReader(file)}


def _claim(line: Mapping[str, str], cells: Mapping[str, float]) -> Claim:
    if line["kind"] not in KINDS:
        raise UserError(f"claim {line['id']!r} has the kind {line['kind']!r}; choose from {', '.join(KINDS)}")
    if line["kind"] == "effect" and not (line["published_a"] and line["published_b"]):
        raise UserError(f"claim {line['id']!r} has the kind 'effect' and needs both published cells")

    def cell(name: str) -> float | None:
        if not line[name]:
            return None
        if line[name] not in cells:
            raise UserError(f"claim {line['id']!r} names the cell {line[name]!r}, which published.csv does not have")
        return cells[line[name]]

    return Claim(
        id=line["id"], statement=line["statement"], place=line["place"], kind=line["kind"], score=line["score"],
        a=line["a"], b=line["b"], published_a=cell("published_a"), published_b=cell("published_b"),
        sign=int(line["sign"] or 0), margin=float(line["margin"]) if line["margin"] else None,
        primary=line["primary"] == "yes", data=tuple(line["data"].split()), registered=line["registered"],
    )  # fmt: skip
