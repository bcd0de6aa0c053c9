"""A trial is a pure function of its specification; its record is all that a reader ever sees of it."""

import dataclasses
import gc
import hashlib
import io
import json
import math
import numbers
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from reprolib.errors import UserError
from reprolib.machine import environment, processor, resolve_device, resolve_workers, set_seeds, thread_limits
from reprolib.paths import RESULTS

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

# --- what is run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One training (or measurement), fully specified: `params` holds JSON values only."""

    study: str
    name: str
    params: Mapping[str, JSON]
    seed: int
    recipe_version: int = 1

    def __post_init__(self) -> None:
        # A private copy in JSON's own types: what is read back from a record is equal to what was written.
        object.__setattr__(self, "params", json.loads(_json(dict(self.params))))

    @property
    def key(self) -> str:
        """16 hex digits of a hash of everything that decides the result; the display name does not."""
        decisive = {"study": self.study, "params": self.params, "seed": self.seed}
        decisive["recipe_version"] = self.recipe_version
        return hashlib.sha256(_json(decisive).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Context:
    """Where a trial runs: never part of its key."""

    device: str = "cpu"  # "cpu", "cuda", or "auto" before `run` has resolved it
    data_root: Path | None = None
    results: Path = RESULTS


@dataclass
class Outcome:
    """What a trial found: finite numbers, curves of such, a few arrays for figures, and its speed."""

    metrics: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)  # e.g. {"images_per_second": 812.0}


@dataclass(frozen=True)
class Record:
    """A trial with its outcome, cost and environment; `failure` says in a sentence why it has no outcome."""

    trial: Trial
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    cost: dict[str, Any]  # seconds, device, device_name, peak_memory_mb, workers on it, and the outcome's speed
    environment: dict[str, Any]
    failure: str | None = None


class StoreError(UserError):
    """The results folder cannot be written: going on would train in vain."""


# --- where records live --------------------------------------------------------------------------------


class RunStore:
    """Records as files: trials/<study>/<key>.json, artifacts/….npz beside them, failures/….json apart."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def get(self, trial: Trial) -> Record | None:
        """The finished record of a trial; None where there is none, or a corrupt one (then set aside)."""
        return self._read(self._path("trials", trial, ".json"))

    def records(self, study: str) -> list[Record]:
        """All finished records of a study, by name and seed."""
        found = (self._read(path) for path in sorted((self.root / "trials" / study).glob("*.json")))
        return sorted((record for record in found if record), key=lambda r: (r.trial.name, r.trial.seed))

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The arrays that a trial kept for figures; empty where it kept none."""
        path = self._path("artifacts", record.trial, ".npz")
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)

    def save(
        self, trial: Trial, outcome: Outcome, *, cost: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Record:
        """Write a finished trial; whole or not at all, also when the process is killed meanwhile.

        UserError for a metric or curve that is not finite; StoreError where the folder cannot be written.
        """
        metrics = {name: _finite(name, value) for name, value in outcome.metrics.items()}
        curves = {name: [_finite(name, value) for value in curve] for name, curve in outcome.curves.items()}
        cost = {**cost, **{name: _finite(name, value) for name, value in outcome.speed.items()}}
        record = Record(trial, metrics, curves, cost, dict(environment))
        artifact = None
        if outcome.arrays:
            # The arrays come first: a record that can be seen has its arrays already.
            content = _npz(outcome.arrays)
            artifact = hashlib.sha256(content).hexdigest()
            write_atomically(self._path("artifacts", trial, ".npz"), content)
        write_atomically(self._path("trials", trial, ".json"), _encode(record, artifact_sha256=artifact))
        self._path("failures", trial, ".json").unlink(missing_ok=True)
        return record

    def save_failure(
        self,
        trial: Trial,
        failure: str,
        *,
        trace: str,
        cost: Mapping[str, Any],
        environment: Mapping[str, Any],
    ) -> Record:
        """Note why a trial failed; it counts as missing and is tried again by the next run."""
        record = Record(trial, {}, {}, dict(cost), dict(environment), failure)
        write_atomically(self._path("failures", trial, ".json"), _encode(record, traceback=trace))
        return record

    def check_writable(self, study: str) -> None:
        """StoreError, before any training, where records could not be saved; sweeps what killed writers left."""
        for folder in ("trials", "artifacts", "failures", "checkpoints"):
            probe = self.root / folder / study / f".probe.{os.getpid()}"
            write_atomically(probe, b"\0" * 65536)
            probe.unlink()
            for left in probe.parent.glob(".*.tmp"):
                if time.time() - left.stat().st_mtime > 3600:  # no living process writes for an hour
                    left.unlink(missing_ok=True)

    def _path(self, folder: str, trial: Trial, suffix: str) -> Path:
        return self.root / folder / trial.study / (trial.key + suffix)

    def _read(self, path: Path) -> Record | None:
        if not path.exists():
            return None
        try:
            return self._decode(path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = path.with_name(path.name + ".corrupt")
            os.replace(path, aside)
            message = f"The record {path} is corrupt ({error}); it was set aside as {aside.name}."
            warnings.warn(message, RuntimeWarning, stacklevel=3)
            return None

    def _decode(self, path: Path) -> Record:
        content = json.loads(path.read_text(encoding="utf-8"))
        trial = Trial(**content["trial"])
        if trial.key != path.stem:
            raise ValueError(f"its specification has the key {trial.key}")
        metrics = {name: _finite(name, value) for name, value in content["metrics"].items()}
        if content["artifact_sha256"] is not None:
            artifact = self._path("artifacts", trial, ".npz")
            found = hashlib.sha256(artifact.read_bytes()).hexdigest() if artifact.exists() else None
            if found != content["artifact_sha256"]:
                raise ValueError(f"{artifact} is {'not the one that was written' if found else 'missing'}")
        return Record(trial, metrics, content["curves"], content["cost"], content["environment"])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _encode(record: Record, **more: JSON) -> bytes:
    """One line per part, so that a changed record reads well in a diff."""
    parts = dataclasses.asdict(record) | more
    return ("{\n" + ",\n".join(f"{_json(key)}: {_json(part)}" for key, part in parts.items()) + "\n}\n").encode()


def _finite(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(
            f"The result {name!r} should be a finite number, but it is {value!r}; "
            "a lower learning rate may keep the training stable."
        )
    return float(value)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a hidden file beside the target, then rename; StoreError, and nothing left, where the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StoreError(
            f"Results could not be written to {path.parent} ({error.strerror}); "
            "free some space or choose a folder that you may write to."
        ) from None


# --- running trials ------------------------------------------------------------------------------------


def run(
    trials: Iterable[Trial],
    execute: Callable[[Trial, Context], Outcome],
    store: RunStore,
    context: Context,
    *,
    workers: int = 1,
    progress: bool = True,
    executor: Executor | None = None,
) -> list[Record]:
    """Run the trials that the store lacks and return one record per trial, in the order given.

    A failing trial is recorded, shown and returned (`Record.failure`) while the others go on; the next run
    tries it again.  `workers` processes share the device (0 = one per core, or four on a GPU).  Any other
    `concurrent.futures.Executor` may carry the trials instead: `reprolib.cluster` makes one for several GPUs,
    `workers` on each.
    UserError before training where the device, the data root or a writable results folder is missing.
    """
    trials = list(trials)
    done = {trial.key: store.get(trial) for trial in trials}
    missing = list({trial.key: trial for trial in trials if done[trial.key] is None}.values())
    if missing:
        if executor is None:  # elsewhere the device is that of the worker
            context = dataclasses.replace(context, device=resolve_device(context.device))
        workers = min(resolve_workers(workers, context.device), len(missing))
        _check_data_root(missing, context.data_root)
        for study in sorted({trial.study for trial in missing}):
            store.check_writable(study)
        if progress:
            where = context.device if executor is None else f"{context.device}, on the executor's machines"
            print(f"Device of {len(missing)} trials: {where}.", file=sys.stderr)
            _warn_of_slow_device(missing, context.device)
        job = _Job(execute, store, context, environment(), workers)
        if executor is not None:
            finished = _in_executor(job, missing, executor)
        elif workers == 1:
            finished = _in_process(job, missing)
        else:
            finished = _in_workers(job, missing, workers)
        # Few lines, for logs and notebooks: at most one every ten seconds.
        with tqdm(total=len(missing), unit="trial", mininterval=10, disable=not progress, file=sys.stderr) as bar:
            for record in finished:
                done[record.trial.key] = record
                bar.set_description(record.trial.name, refresh=False)
                bar.update()
                if record.failure and progress:
                    bar.write(f"Trial {_label(record.trial)} failed: {record.failure}", file=sys.stderr)
    return [done[trial.key] for trial in trials]


def _warn_of_slow_device(trials: Sequence[Trial], device: str) -> None:
    """A line where trials at the papers' sizes run on the CPU: it may be wanted, or a driver may be missing."""
    if device == "cpu" and any(trial.params.get("profile") == "gpu" for trial in trials):
        print(
            "Warning: profile 'gpu' runs on the CPU, where it is very slow. To use a GPU, its driver (see nvidia-smi) "
            f"must be new enough for the CUDA of this PyTorch: {torch.version.cuda or 'none, so install another'}.",
            file=sys.stderr,
        )


def _check_data_root(trials: Sequence[Trial], data_root: Path | None) -> None:
    wanted = sorted({str(trial.params.get("data", "synthetic")) for trial in trials} - {"synthetic"})
    if wanted and data_root is None:
        raise UserError(
            f"Data {wanted[0]!r} need the folder that holds them, but none was given; "
            "set data_root (on the command line: --data-root)."
        )
    if wanted and not Path(data_root).is_dir():
        raise UserError(
            f"The data root {data_root} is not a folder; "
            "set data_root (on the command line: --data-root) to the folder with the data."
        )


@dataclass(frozen=True)
class _Job:
    """What all trials of one call of `run` share; it travels to the workers."""

    execute: Callable[[Trial, Context], Outcome]
    store: RunStore
    context: Context
    environment: dict[str, Any]
    workers: int

    def __call__(self, trial: Trial) -> Record:
        """Run one trial and write its record, from whichever process this is."""
        set_seeds(trial.seed, self.context.device)
        cuda = self.context.device == "cuda"
        if cuda:
            torch.cuda.init()  # statistics of a device that is not yet in use cannot be reset
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        try:
            outcome = self.execute(trial, self.context)
            if cuda:
                torch.cuda.synchronize()
            cost = self.cost(time.perf_counter() - start)
            return self.store.save(trial, outcome, cost=cost, environment=self.environment)
        except StoreError:
            raise
        except Exception as error:
            cost = self.cost(time.perf_counter() - start)
            return self.fail(trial, error, cost)
        finally:
            if cuda:  # what this process keeps for itself, the others on the device lack
                gc.collect()  # an optimiser and its model hold each other
                torch.cuda.empty_cache()

    def cost(self, seconds: float) -> dict[str, Any]:
        if self.context.device == "cuda":
            name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
        else:
            # The peak of the whole process; kilobytes on Linux, bytes on macOS.
            unit = 2**20 if sys.platform == "darwin" else 2**10
            name, peak = processor(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return {
            "seconds": round(seconds, 3),
            "device": self.context.device,
            "device_name": name,
            "peak_memory_mb": round(peak, 1),
            "workers": self.workers,
        }

    def fail(self, trial: Trial, error: BaseException, cost: Mapping[str, Any]) -> Record:
        if isinstance(error, UserError):
            failure = str(error)
        elif isinstance(error, BrokenExecutor):
            failure = "The process of this trial died, most likely for lack of memory; try fewer workers."
        elif isinstance(error, torch.OutOfMemoryError):
            failure = "The GPU had no memory left for this trial; try fewer workers."
        else:
            failure = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        trace = "".join(traceback.format_exception(error))
        return self.store.save_failure(trial, failure, trace=trace, cost=cost, environment=self.environment)


def _call(job: _Job, trial: Trial) -> Record:
    """Run a trial on the machine that this is, which may have another device than the one that submits."""
    here = dataclasses.replace(job.context, device=resolve_device(job.context.device))
    return dataclasses.replace(job, context=here)(trial)


def _label(trial: Trial) -> str:
    return f"{trial.name!r} (seed {trial.seed})"


def _in_process(job: _Job, trials: Sequence[Trial]) -> Iterator[Record]:
    return map(job, trials)


def _in_workers(job: _Job, trials: Sequence[Trial], workers: int) -> Iterator[Record]:
    """Trials in `workers` processes of joblib's loky; each process writes its own records."""
    limits = thread_limits(1 if job.context.device == "cpu" else max(1, joblib.cpu_count() // workers))
    lost = []
    with _processes(workers, limits) as executor:
        futures = {executor.submit(_call, job, trial): trial for trial in trials}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenExecutor):
                lost.append(futures[future])
            else:
                yield future.result()
    # One dead worker (out of memory, say) breaks the whole pool: what it took along is tried alone.
    for trial in lost:
        with _processes(1, limits) as executor:
            yield from _in_executor(job, [trial], executor)


@contextmanager
def _processes(workers: int, limits: Mapping[str, str]) -> Iterator[Executor]:
    executor = get_reusable_executor(max_workers=workers, env=dict(limits))
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)  # interrupted: do not wait for hours of training
        raise
    executor.shutdown()  # gives the workers' memory on the device back


def _in_executor(job: _Job, trials: Sequence[Trial], executor: Executor) -> Iterator[Record]:
    futures = {executor.submit(_call, job, trial): trial for trial in trials}
    for future in as_completed(futures):
        error = future.exception()
        if error is None:
            yield future.result()
        elif isinstance(error, StoreError):
            raise error
        else:
            yield job.fail(futures[future], error, {"device": job.context.device})
