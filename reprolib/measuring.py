"""Time a few training steps on this machine with the real training loop; torch is imported only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from reprolib.errors import UserError

if TYPE_CHECKING:
    from reprolib.planning import Work

TIMED_STEPS, TIMED_IMAGES = 3, 64


class Workload(NamedTuple):
    """What is timed: a network, random data for a few batches, and what `reprolib.training.train` does with them."""

    network: Any
    data: dict[str, Any]
    loss: Callable
    prepare: Callable
    augment: Callable | None


class Measured(NamedTuple):
    """One kind of training on this machine: seconds per step and per predicted image, MiB, bytes per training image."""

    step: float
    image: float
    megabytes: float
    image_bytes: float


def measure_all(study_id: str, device: str, works: Iterable[Work]) -> dict[tuple, Measured]:
    """Time each kind of training (`Work.kind`) once.

    Each runs in a fresh process like a worker's, so that its memory is measured alone. UserError if the process dies.
    """
    from joblib.externals.loky import get_reusable_executor
    from tqdm import tqdm

    from reprolib.machine import thread_limits

    kinds = {work.kind: work for work in works}
    found = {}
    for kind, work in tqdm(kinds.items(), "measuring", delay=5):
        with get_reusable_executor(max_workers=1, env=thread_limits(1)) as executor:
            try:
                found[kind] = executor.submit(measure, study_id, work, device).result()
            except BrokenExecutor:
                raise UserError(
                    f"The process that timed {work.network} died, most likely for lack of memory; plan without "
                    "measuring, or with fewer programs beside it."
                ) from None
    return found


def measure(study_id: str, work: Work, device: str) -> Measured:
    """Time three training steps, after one to warm up, and one batch of predictions, on random data."""
    import torch

    from reprolib import studies
    from reprolib.machine import peak_memory, set_seeds
    from reprolib.training import RateChange, Schedule, make_fabric, predict, train

    set_seeds(0, device)
    ends = []

    def note() -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())

    load = studies.load(study_id).module("experiment").workload(work, images=timed_images(work))
    schedule = Schedule(1, work.batch_size, lr=1e-5, change=lambda optimiser: RateChange(after_step=note))
    train(
        load.network, load.data, load.loss, schedule=schedule, fabric=make_fabric(device), seed=0,
        prepare=load.prepare, augment=load.augment,
    )  # fmt: skip
    load.network.eval()
    images = load.data["images"][:TIMED_IMAGES]
    predict(load.network, images[:1], prepare=load.prepare)
    start = time.perf_counter()
    predict(load.network, images, prepare=load.prepare)
    per_image = (time.perf_counter() - start) / len(images)
    bytes_per_image = sum(x.element_size() * x[0].numel() for x in load.data.values())
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_memory()
    return Measured(fmean(b - a for a, b in pairwise(ends)), per_image, peak, bytes_per_image)


def timed_images(work: Work) -> int:
    return work.batch_size * (1 + TIMED_STEPS)
