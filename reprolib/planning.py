"""What a run would do: steps, multiply-accumulates, memory, disk and time of every row.

Nothing here loads torch unless steps are timed (`measure`): the size of each network is read from the study's
networks.csv, which a test compares with the networks themselves.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from joblib import cpu_count

from reprolib import studies
from reprolib.errors import UserError
from reprolib.measuring import Measured, measure_all, timed_images
from reprolib.parameters import DATA, PROFILES, StudyParameters
from reprolib.store import RunStore, checkpoint_path
from reprolib.study import Study
from reprolib.trial import Record, Trial, canonical_json

TRAINING_STEP = 3  # forward passes: the backward pass computes two products where the forward pass computes one
RECORD_BYTES = 60_000  # record and artifact, where a study has none yet
CORE_HOURS, HEADLINE_MINUTES = 10, 10  # budgets of the profiles cpu and gpu


class Nominal(NamedTuple):
    """Assumed speed of a device that is not measured."""

    assumption: str
    macs_per_second: float
    least_step: float  # seconds: a GPU waits for the host that starts its kernels


NOMINAL = {
    # U-Net with MobileNetV2, 160 px, on one core of an AMD EPYC: 116 ms per image and training step
    "cpu": Nominal("30 GMAC/s per core", 30e9, 0.0),
    # the mean over eleven minutes of masi2020 and yin2020 on one H100, starts of processes included
    "cuda": Nominal("one H100 or H200 at 30 TMAC/s, and at least 10 ms per step", 30e12, 0.010),
}


@dataclass(frozen=True)
class Network:
    """What the cost of a network depends on: its key in networks.csv."""

    network: str
    classes: int
    width: int  # 0 where the network has only one
    size: int  # side of its input, pixels; the height where it is not square


@dataclass(frozen=True)
class Work:
    """One training that a trial needs."""

    stage: str  # as printed: "transfer with consensus"
    dataset: str  # where its images come from
    network: Network
    config: Any  # the study's configuration of this training
    loss: str
    epochs: int  # the ceiling
    batch_size: int
    images: int  # trained on in each epoch, at most
    evaluated: int  # predicted after each epoch, at most
    spec: Mapping[str, Any] | None = None  # of a stage that trials with one seed share, without the seed
    aspect: int = 1  # width of its images over their height

    @property
    def trained(self) -> int:
        """Images per epoch: a last batch of one is left out (`reprolib.training`)."""
        alone = self.batch_size > 1 and self.images % self.batch_size == 1
        return self.images - alone

    @property
    def steps(self) -> int:
        """Optimiser steps up to the ceiling."""
        return self.epochs * -(-self.trained // self.batch_size)

    @property
    def passes(self) -> int:
        """Forward passes of one image that cost as much as the training up to the ceiling."""
        return self.epochs * (TRAINING_STEP * self.trained + self.evaluated)

    @property
    def kind(self) -> tuple[Network, str, int]:
        """Trainings of one kind take the same time per step."""
        return self.network, self.loss, self.batch_size


@dataclass(frozen=True)
class Line:
    """What is missing of a row, or of a stage that rows share; costs are totals over everything that is missing."""

    name: str
    dataset: str
    done: int
    missing: int
    steps: int
    forward: int  # multiply-accumulates of one forward pass of one image; 0 without a network of its own
    macs: int
    megabytes: float | None  # of one process, where measured
    disk: float  # bytes
    seconds: float
    busy: float  # seconds for which it occupies the whole device
    source: str  # of the seconds: "measured", "recorded", "unmeasured", or nothing


@dataclass(frozen=True)
class Plan:
    """All lines of a run, and how long it takes."""

    lines: tuple[Line, ...]
    device: str
    workers: int
    longest: float  # seconds of the longest chain of shared stages and a trial
    headline: Plan | None = None  # the part of it that makes the tables with primary claims
    tables: tuple[str, ...] = ()  # these tables

    @property
    def seconds(self) -> float:
        """Of all workers together."""
        return sum(line.seconds for line in self.lines)

    @property
    def wall(self) -> float:
        """Seconds until the last trial ends, at most; workers beyond the cores, or on one GPU, share the device."""
        return max(self.longest, self.seconds / self.workers, sum(line.busy for line in self.lines))

    def printed(self) -> dict[str, list[str]]:
        """Printed column → one text per line, the last of them for the total."""
        total = Line(
            "Total", "", sum(x.done for x in self.lines), sum(x.missing for x in self.lines),
            sum(x.steps for x in self.lines), 0, sum(x.macs for x in self.lines), self.megabytes,
            sum(x.disk for x in self.lines), self.seconds, 0, "",
        )  # fmt: skip
        lines = [*self.lines, total]
        return {
            "row": [x.name for x in lines],
            "dataset": [x.dataset for x in lines],
            "done": [str(x.done) for x in lines],
            "missing": [str(x.missing) for x in lines],
            "steps": [f"{x.steps:,}" for x in lines],
            "GMAC/image": [f"{x.forward / 1e9:.3f}" if x.forward else "" for x in lines],
            "TMAC": [f"{x.macs / 1e12:,.1f}" for x in lines],
            "MiB": ["" if x.megabytes is None else f"{x.megabytes:,.0f}" for x in lines],
            "disk, MB": [f"{x.disk / 1e6:.1f}" for x in lines],
            "seconds": [f"{x.seconds:,.0f}" for x in lines],
            "": [x.source for x in lines],
        }

    @property
    def megabytes(self) -> float | None:
        """The most memory that a worker needs, MiB; None where it was not measured."""
        return max((x.megabytes for x in self.lines if x.megabytes is not None), default=None)


# --- planning ----------------------------------------------------------------------------------------


def plan(study: Study, parameters: StudyParameters, rows: Collection[str] = (), *, measured: bool = False) -> Plan:
    """What `run` with these parameters would do; with `measured` a few steps of each network are timed here.

    UserError for what `run` refuses, too.
    """
    if parameters.data_root and not Path(parameters.data_root).expanduser().is_dir():
        raise UserError(f"The data root {parameters.data_root} is not a folder; give the folder with the datasets.")
    store = studies.store_of(parameters)
    trials = studies.needed(study, parameters, rows)
    device = _device(parameters, measured)
    measured = measured and not (device == "cuda" and _without_gpu())
    times = measure_all(study.ID, device, _missing_works(study, trials, store)) if measured else {}
    costs = Costs(study, device, times)
    found = _plan(study, trials, store, costs, parameters.workers)

    places = study.trials(parameters.model_copy(update={"tables": []}))
    wanted = study.headline or {claim.place.lower() for claim in study.registered_claims if claim.primary}
    keys = {place: {trial.key for trial in places[place]} for place in sorted(wanted) if place.startswith("table ")}
    tables = tuple(place for place, of_place in keys.items() if any(trial.key in of_place for trial in trials))
    if rows or not tables:
        return found
    headline = [trial for trial in trials if any(trial.key in keys[place] for place in tables)]
    return replace(found, headline=_plan(study, headline, store, costs, parameters.workers), tables=tables)


def _plan(study: Study, trials: Sequence[Trial], store: RunStore, costs: Costs, workers: int) -> Plan:
    records = {trial.key: store.get(trial) for trial in trials}
    missing = {trial.key: _trainings(study, trial, store) for trial in trials if records[trial.key] is None}
    shared = {path: work for stages, _ in missing.values() for path, work in stages.items()}
    lines = []
    for stage in sorted({(work.stage, work.dataset) for work in shared.values()}):
        lines.append(costs.stage(*stage, {p: w for p, w in shared.items() if (w.stage, w.dataset) == stage}))
    record_bytes, chains = _record_bytes(store, study.ID), [0.0]
    for of_row in _by_row(trials):
        done = [record for trial in of_row if (record := records[trial.key])]
        of_missing = [missing[trial.key] for trial in of_row if trial.key in missing]
        line = costs.row(of_row[0], done, [own for _, own in of_missing], record_bytes)
        lines.append(line)
        for stages, _ in of_missing:
            before = sum(costs.of(work)[0] for path, work in stages.items() if not path.exists())
            chains.append(before + line.seconds / line.missing)
    found = Plan(tuple(lines), costs.device, 1, max(chains))
    return replace(found, workers=max(1, min(_workers(workers, found), len(missing))))


def _missing_works(study: Study, trials: Iterable[Trial], store: RunStore) -> list[Work]:
    """Every training that is still to be done; shared stages once per trial that needs them."""
    found = []
    for trial in trials:
        if store.get(trial) is None:
            stages, own = _trainings(study, trial, store)
            found += [*own, *(work for path, work in stages.items() if not path.exists())]
    return found


def _by_row(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Trials that differ in nothing but their seeds; two rows may have one name on two datasets."""
    rows: dict[str, list[Trial]] = {}
    for trial in trials:
        rows.setdefault(f"{trial.name} {canonical_json(dict(trial.params))}", []).append(trial)
    return list(rows.values())


def _trainings(study: Study, trial: Trial, store: RunStore) -> tuple[dict[Path, Work], list[Work]]:
    """The shared stages that a trial needs, as checkpoint → work, and the trainings of its own.

    Stages before an existing checkpoint are not needed.
    """
    shared, own = {}, []
    for work in reversed(study.work(study.config_of(trial))):
        if work.spec is None:
            own.append(work)
            continue
        path = checkpoint_path(store.root, study.ID, {**work.spec, "seed": trial.seed})
        shared[path] = work
        if path.exists():
            break
    return shared, own


class Costs:
    """The costs of trainings, from measured times, else from times in records, else from MACs."""

    def __init__(self, study: Study, device: str, measured: Mapping[tuple, Measured]) -> None:
        self.networks = read_networks(study)
        self.device, self.measured, self.path = device, measured, networks_path(study)

    def of(self, work: Work) -> tuple[float, float]:
        """Seconds of a training up to its ceiling, and for how many of them it occupies the whole device."""
        if work.kind in self.measured:
            found = self.measured[work.kind]
            seconds = work.steps * found.step + work.epochs * work.evaluated * found.image
            return seconds, seconds / cpu_count() if self.device == "cpu" else seconds
        rate = NOMINAL[self.device]
        computing = self.macs(work) / rate.macs_per_second
        seconds = max(computing, work.steps * rate.least_step)
        return seconds, seconds / cpu_count() if self.device == "cpu" else computing

    def macs(self, work: Work) -> int:
        """Multiply-accumulates of a training up to its ceiling."""
        return work.passes * self._size(work)[1]

    def _size(self, work: Work) -> tuple[int, int]:
        """Parameters, and multiply-accumulates of one forward pass of one image."""
        if work.network not in self.networks:
            raise UserError(f"{self.path} has no line for {work.network}; run `python -m reprolib.planning` to add it.")
        return self.networks[work.network]

    def stage(self, name: str, dataset: str, of_stage: Mapping[Path, Work]) -> Line:
        """The line of a stage that trials share: once per seed."""
        missing = [[work] for path, work in of_stage.items() if not path.exists()]
        disk = sum(4 * self._size(works[0])[0] for works in missing)  # float32 weights
        return self._line((name, dataset), len(of_stage) - len(missing), missing, disk, [])

    def row(self, trial: Trial, done: Sequence[Record], missing: Sequence[Sequence[Work]], record_bytes: float) -> Line:
        """The line of a trial's row; `missing` holds, for each missing trial, what that trains for itself alone."""
        recorded = [r.cost["seconds"] for r in done if r.cost.get("device") == self.device]
        heading = trial.name, str(trial.params.get("dataset", ""))
        return self._line(heading, len(done), missing, record_bytes * len(missing), recorded)

    def _line(
        self,
        heading: tuple[str, str],
        done: int,
        missing: Sequence[Sequence[Work]],
        disk: float,
        recorded: Sequence[float],
    ) -> Line:
        works = [work for trial in missing for work in trial]
        seconds, busy = (sum(of) for of in zip(*map(self.of, works), strict=True)) if works else (0.0, 0.0)
        source = "" if not works else "measured" if self.measured else "recorded" if recorded else "unmeasured"
        if source == "recorded":  # a median leaves out the trial that trained the shared stages, too
            seconds = median(recorded) * len(missing)
            busy = seconds / cpu_count() if self.device == "cpu" else seconds
        memory = [
            found.megabytes + found.image_bytes * max(work.images - timed_images(work), 0) / 2**20
            for work in works if (found := self.measured.get(work.kind))
        ]  # fmt: skip
        return Line(
            *heading, done, len(missing), sum(work.steps for work in works),
            max((self._size(work)[1] for work in works), default=0), sum(map(self.macs, works)),
            max(memory, default=None), disk, seconds, busy, source,
        )  # fmt: skip


def _device(parameters: StudyParameters, measured: bool) -> str:
    """Without a measurement "auto" is the device that the profile is made for."""
    if measured and not (parameters.device == "auto" and parameters.profile == "gpu"):
        from reprolib.machine import resolve_device

        return resolve_device(parameters.device)
    made_for = "cuda" if parameters.profile == "gpu" else "cpu"
    return made_for if parameters.device == "auto" else parameters.device


def _without_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def _workers(wanted: int, found: Plan) -> int:
    if found.megabytes is not None:
        from reprolib.machine import resolve_workers

        return resolve_workers(wanted, found.device, found.megabytes)
    return wanted or (4 if found.device == "cuda" else cpu_count())  # as `resolve_workers`, without torch


def _record_bytes(store: RunStore, study_id: str) -> float:
    """Bytes of a record with its artifact: the mean over those that are there."""
    records = list((store.root / "trials" / study_id).glob("*.json"))
    if not records:
        return RECORD_BYTES
    artifacts = (store.root / "artifacts" / study_id).glob("*.npz")
    return sum(path.stat().st_size for path in [*records, *artifacts]) / len(records)


# --- what is said of a plan --------------------------------------------------------------------------


def sentences(parameters: StudyParameters, found: Plan) -> list[str]:
    """Sentences that explain the numbers, give the time of the whole run, and compare it with the profile's budget."""
    sources = {line.source for line in found.lines} - {""}
    said = [
        "Steps, TMAC (10¹² multiply-accumulates, a training step counted as three forward passes) and seconds are at "
        "most: training stops early where the validation score no longer rises. Data preparation and scoring come on "
        "top.",
        "A row without steps needs no training, or is trained in one of the shared stages above the rows.",
    ]
    if "unmeasured" in sources:
        said.append(f"Unmeasured seconds assume {NOMINAL[found.device].assumption}.")
    if "recorded" in sources:
        said.append("Recorded seconds are the median of the row's finished trials.")
    unmeasured = " (unmeasured)" if "unmeasured" in sources else ""
    of_workers = f"{found.workers} worker{'s' * (found.workers > 1)} on {found.device}"
    said.append(f"Wall time with {of_workers}: {duration(found.wall)} at most{unmeasured}.")
    if parameters.profile == "cpu" and found.device == "cpu":
        hours = found.seconds / 3600
        fits = "within" if hours <= CORE_HOURS else "more than"
        said.append(f"Core-hours: {hours:.1f} at most, {fits} the profile's {CORE_HOURS}{unmeasured}.")
    if parameters.profile == "gpu" and found.headline:
        fits = "fits in" if found.headline.wall <= 60 * HEADLINE_MINUTES else "does not fit in"
        names = " and ".join(place.removeprefix("table ") for place in found.tables)
        said.append(
            f"Headline tables ({names}): {duration(found.headline.wall)} at most{unmeasured}, which {fits} the "
            f"profile's {HEADLINE_MINUTES} minutes on one H100."
        )
    return said


def duration(seconds: float) -> str:
    """In seconds, minutes or hours, whichever reads well."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


# --- the size of networks ----------------------------------------------------------------------------


def networks_path(study: Study) -> Path:
    return study.folder / study.ID / "networks.csv"


def read_networks(study: Study) -> dict[Network, tuple[int, int]]:
    """Network → parameters, and multiply-accumulates of one forward pass, of networks.csv."""
    with networks_path(study).open(encoding="utf-8", newline="") as file:
        return {
            Network(line["network"], *(int(line[f.name]) for f in fields(Network)[1:])):
                (int(line["parameters"]), int(line["macs"]))
            for line in csv.DictReader(file)
        }  # fmt: skip


def count_networks(study: Study) -> dict[Network, tuple[int, int]]:
    """What networks.csv should hold: every network that any profile trains on any data, counted."""
    import torch

    from reprolib.models import complexity

    works = {
        work.network: work
        for profile in PROFILES for data in DATA
        for row in study.rows(study.Parameters(profile=profile, data=data))
        for work in study.work(row.config)
    }  # fmt: skip
    found = {}
    for network, work in sorted(works.items(), key=lambda item: astuple(item[0])):
        with torch.device("meta"):  # counts without computing
            model = study.module("experiment").network_of(work)
        macs = complexity.macs(model, (1, 3, network.size, network.size * work.aspect))
        found[network] = complexity.parameters(model), macs
    return found


def write_networks(study: Study) -> None:
    """Write networks.csv again, after a change of the study's networks or sizes."""
    with networks_path(study).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(f.name for f in fields(Network)), "parameters", "macs"])
        writer.writerows([*astuple(network), *size] for network, size in count_networks(study).items())


if __name__ == "__main__":
    for one in map(studies.load, studies.STUDIES):
        write_networks(one)
