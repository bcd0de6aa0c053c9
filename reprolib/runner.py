"""Running trials: what is missing is executed, in this process, in several, or on a cluster."""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import torch
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from reprolib import together
from reprolib.errors import UserError
from reprolib.machine import (
    environment,
    peak_memory,
    processor,
    resolve_device,
    resolve_workers,
    set_seeds,
    thread_limits,
)
from reprolib.store import RunStore
from reprolib.training import fabric_of
from reprolib.trial import Context, Outcome, Record, StoreError, Trial


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
    tries it again. `workers` processes share the device (0 = one per core, or four on a GPU). Any other
    `concurrent.futures.Executor` may run the trials instead: `reprolib.cluster` makes one for several GPUs,
    with `workers` on each.
    With `context.devices` > 1 all devices train each network together, one trial after the other. The running command
    is started once more for each further device; these copies run the same trials, but print and keep nothing.
    UserError before training where the device, the data root or a writable results folder is missing.
    """
    trials = list(trials)
    if context.devices > 1:
        context = dataclasses.replace(context, device=resolve_device(context.device))
        fabric_of(context)
        if not together.first():
            scratch = tempfile.TemporaryDirectory()  # deleted with its name, at the end of this function
            store, progress = RunStore(Path(scratch.name)), False
    done = {trial.key: record for trial in trials if (record := store.get(trial))}
    missing = together.agreed(list({trial.key: trial for trial in trials if trial.key not in done}.values()))
    if missing:
        if executor is None:  # elsewhere the device is that of the worker
            context = dataclasses.replace(context, device=resolve_device(context.device))
        workers = 1 if context.devices > 1 else min(resolve_workers(workers, context.device), len(missing))
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
    """Warn if trials at the papers' sizes run on the CPU: this may be intended, or a driver may be missing."""
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
    if data_root is not None and wanted and not data_root.is_dir():
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
        """Run a trial and write its record, in any process; if another run has the trial, wait for its record."""
        with self.store.claimed(trial):
            return together.agreed(self.store.get(trial)) or self._executed(trial)

    def _executed(self, trial: Trial) -> Record:
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
            if self.workers > 1:  # images per second mean nothing while other trials use the device
                outcome.speed = {}
            return self.store.save(trial, outcome, cost=cost, environment=self.environment)
        except StoreError:
            raise
        except Exception as error:
            cost = self.cost(time.perf_counter() - start)
            return self.fail(trial, error, cost)
        finally:
            if cuda:  # memory that this process keeps is missing for the others on the device
                gc.collect()  # an optimiser and its model hold each other
                torch.cuda.empty_cache()

    def cost(self, seconds: float) -> dict[str, Any]:
        if self.context.device == "cuda":
            name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
        else:
            name, peak = processor(), peak_memory()
        if self.context.devices > 1:
            name = f"{self.context.devices} × {name}"
        return {
            "seconds": round(seconds, 3),
            "device": self.context.device,
            "device_name": name,
            "peak_memory_mb": round(peak, 1),
            "workers": self.workers,
            **({"devices": self.context.devices} if self.context.devices > 1 else {}),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
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
    """Run a trial on this machine, whose device may differ from that of the machine that submitted it."""
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
    with processes(workers, limits) as executor:
        futures = {executor.submit(_call, job, trial): trial for trial in trials}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenExecutor):
                lost.append(futures[future])
            else:
                yield future.result()
    # One dead worker (out of memory, say) breaks the whole pool: the trials lost with it are run one by one.
    for trial in lost:
        with processes(1, limits) as executor:
            yield from _in_executor(job, [trial], executor)


@contextmanager
def processes(workers: int, limits: Mapping[str, str]) -> Iterator[Executor]:
    """`workers` processes with `limits` in their environment, which end with this one, however it ends."""
    executor = get_reusable_executor(
        max_workers=workers, env=dict(limits), initializer=_end_with, initargs=(os.getpid(),)
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)  # interrupted: do not wait for hours of training
        raise
    executor.shutdown()  # gives the workers' memory on the device back


def _end_with(parent: int) -> None:
    """End this process soon after its parent: the workers of a killed run would otherwise go on, unseen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
