"""A study of five rows with constructed arrays, for the tests of what all studies share (`reprolib.study` and on)."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from reprolib import report, studies
from reprolib.parameters import StudyParameters
from reprolib.store import RunStore
from reprolib.study import Row, Score, Study, Table
from reprolib.trial import Outcome

ID = "fake2020"
DATASETS = {"paper": "own", "public": "others", "synthetic": "facesynth"}
SEEDS = {"smoke": 2, "cpu": 5, "gpu": 3}
NOTHING, BASE, OURS, EXTRA, ELSEWHERE = "Nothing", "Base", "Ours", "Extra", "Nothing elsewhere"
CELLS = (
    ("1", "Base", "IoU", "60.5", "paper"),
    ("1", "Base", "holes", "4.0", "paper"),
    ("1", "Theirs", "IoU", "65.0", "paper"),
    ("1", "Ours", "IoU", "70.5", "paper"),
    ("1", "Ours", "holes", "3.0", "release"),
    ("2", "Ours, large", "IoU", "71.5", "paper"),
)
LARGER = {
    "id": "larger", "statement": "Ours is better.", "place": "Table 1", "kind": "effect", "score": "iou", "a": OURS,
    "b": BASE, "published_a": "1|Ours|IoU", "published_b": "1|Base|IoU", "sign": "", "margin": "", "primary": "yes",
    "data": "paper public synthetic", "registered": "2026-11-01",
}  # fmt: skip
FINISHED = "2026-11-20T10:00:00+00:00"


@dataclass(frozen=True)
class Training:
    epochs: int
    lr: float
    final_lr: float


@dataclass(frozen=True)
class Config:
    data: str
    dataset: str
    profile: str
    row: str
    task: str = "parts"
    training: Training | None = None


def rows(parameters: StudyParameters) -> list[Row]:
    seeds = parameters.seeds or SEEDS[parameters.profile]
    training = Training(epochs=10, lr=0.1, final_lr=0.01)

    def config(row: str, **more) -> Config:
        return Config(parameters.data, DATASETS[parameters.data], parameters.profile, row, **more)

    return [
        Row(NOTHING, config("nothing"), 1, ("table 1",)),
        Row(ELSEWHERE, config("nothing", task="another"), 1, ("extra A",)),
        Row(BASE, config("base", training=training), seeds, ("table 1", "figure 1")),
        Row(OURS, config("ours", training=training), seeds, ("table 1", "table 2", "figure 1")),
        Row(EXTRA, config("extra", training=training), seeds, ("extra A",)),
    ]


def make(folder: Path, monkeypatch, *claims: dict, cells=CELLS, experiment: dict | None = None, **changed) -> Study:
    """The study as the only one, its CSV files in `folder`; `claims`: what differs from LARGER, line by line."""
    home = folder / ID
    home.mkdir(parents=True, exist_ok=True)
    _write(home / "published.csv", ["table", "row", "column", "value", "source"], cells)
    lines = [list((LARGER | claim).values()) for claim in claims or ({},)]
    _write(home / "claims.csv", list(LARGER), lines)
    declared = {
        "ID": ID, "TITLE": "A fake", "REFERENCE": "Nobody, 2020", "config": Config, "rows": rows,
        "declared_tables": (
            Table("table 1", "Table 1. Both rows", {"IoU": "iou", "holes": "holes", "fps": "images_per_second"}),
            Table("table 2", "Table 2. Two sizes", {"IoU": "iou", "holes": "holes"}, {"Ours, large": (OURS, "_large")}),
            Table("extra A", "Extra A. Beyond the paper", {"IoU": "iou"}),
        ),
        "figures": ("figure 1", "figure 2"), "without_rows": ("figure 2",), "quoted": {"Theirs": "quoted: no code"},
        "recipe": 1,
        "scores": {
            "iou": Score("mean IoU", "iou", lambda mean: mean),
            "holes": Score("holes", "holes", lambda mean: mean, unit="components", higher_is_better=False),
        },
        "task_of": lambda config: config.task, "work": lambda config: [], "trivial": (NOTHING, ELSEWHERE),
        "datasets": {"own": ("own", "own_official")}, "loaders": {"own": f"reprolib.studies.{ID}.loader"},
        "tuned": {"synthetic": (BASE, OURS)}, "rates": (0.1, 0.2, 0.3), "folder": folder,
    }  # fmt: skip
    study = Study(**declared | changed)
    facts = lambda: [report.fact(ID, "layers", "5", 5), report.fact(ID, "GMAC", "7.0", 8.0, source="release")]  # noqa: E731
    register(monkeypatch, "", STUDY=study)
    register(monkeypatch, ".experiment", **{"facts": facts} | (experiment or {}))
    monkeypatch.setattr(studies, "STUDIES", (ID,))
    return study


def save(
    store: RunStore, study: Study, row: str, *, iou: float = 60.0, holes: float = 4.0, spread: float = 1.0,
    validation: float = 80.0, converged: bool = True, seeds: int | None = None, finished: str = FINISHED,
    device: str = "a CPU", metrics: dict | None = None, **parameters,
) -> None:  # fmt: skip
    """Record a row: every seed with the mean `iou` plus its place in an even spread of ±`spread`, over 12 people."""
    [made] = [r for r in study.rows(study.Parameters(**{"profile": "cpu"} | parameters)) if r.name == row]
    trials = study.trials_of(made)
    people = np.repeat(np.arange(12), 2)
    for trial, shift in zip(trials[:seeds], np.linspace(-spread, spread, len(trials)), strict=False):
        arrays = {"iou": people + iou + shift - people.mean(), "holes": np.full(24, holes + shift), "units": people}
        found = {"iou": arrays["iou"].mean(), "holes": arrays["holes"].mean(), "validation": validation}
        stopped = {} if made.config.training is None else {"best_epoch": 3, "ceiling": 10, "converged": converged}
        cost = {"seconds": 60.0, "device": "cpu", "device_name": device, "peak_memory_mb": 1.0, "finished": finished}
        outcome = Outcome(found | (metrics or {}), arrays=arrays, stopped=stopped, units={"person": 12})
        store.save(trial, outcome, cost=cost, environment={})


def register(monkeypatch, name: str, **contents) -> None:
    """Make a module of the study that can be imported by its name (".experiment"; "" for the package)."""
    module = ModuleType(f"reprolib.studies.{ID}{name}")
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def _write(path: Path, header, lines) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
