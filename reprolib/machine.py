"""The machine that trials run on: its device and processes, its random numbers, and what a record says of it."""

import ctypes
import os
import platform
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

import reprolib
from reprolib.errors import UserError
from reprolib.paths import ROOT


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda"; "auto" takes a GPU if there is one. UserError for a missing GPU or another name."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("Device 'cuda' was asked for, but no GPU was found by PyTorch; use device 'auto' or 'cpu'.")
    if device not in ("cpu", "cuda"):
        raise UserError(f"The device should be 'auto', 'cpu' or 'cuda', but {device!r} was given.")
    return device


def resolve_workers(workers: int, device: str, megabytes: float | None = None) -> int:
    """The number of processes; 0 (automatic) means one per core on the CPU, and four on one GPU.

    `megabytes`: the measured memory of one process on the device, in MiB. If it is given, automatic workers are as many
    as fit into the free memory, at least one and at most one per core. UserError for a negative number.
    """
    if workers < 0:
        raise UserError(f"The number of workers should be 0 (automatic) or more, but {workers} was given.")
    if workers or megabytes is None:
        return workers or (4 if device == "cuda" else joblib.cpu_count())
    return int(max(1, min(joblib.cpu_count(), free_memory(device) // megabytes)))


def free_memory(device: str) -> float:
    """Memory that new processes may use on the device, in MiB; infinite where the system does not say (Windows)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / 2**20
    try:  # Linux: MemAvailable counts the caches that it would give back
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**10
    except (OSError, StopIteration):
        pages = getattr(os, "sysconf", lambda _: float("inf"))
        return pages("SC_PHYS_PAGES") * pages("SC_PAGE_SIZE") / 2**20


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that set BLAS and OpenMP `threads`: more compete for cores and change how sums round."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def set_seeds(seed: int, device: str) -> None:
    """Make what this process computes next depend on the seed alone: exactly on the CPU, up to rounding on a GPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries draw from the global generator)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.backends.cudnn.deterministic = device == "cpu"  # sums on a GPU are not the same twice anyway
    # On a GPU the mode would replace interpolation, padding and pooling by slow ones, and compile RoIAlign with Triton.
    # "warn" = use_deterministic_algorithms(True, warn_only=True), without loading Inductor
    torch.set_deterministic_debug_mode("warn" if device == "cpu" else "default")
    # Filling new tensors costs a fifth of a training step, and only exposes code that reads uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cpu":
        torch.set_num_threads(1)  # sums depend on how they are split over threads
        keep_pages()


def keep_pages() -> None:
    """Let this process keep the memory that it frees: every training step asks for the same again.

    Getting pages from the system is slow under a hypervisor. Only glibc has the call; elsewhere nothing changes. The
    effect is that of MALLOC_MMAP_MAX_=0 and a large MALLOC_TRIM_THRESHOLD_ at the start of the process.
    """
    trim_threshold, mmap_max = -1, -4  # names of glibc's malloc.h
    with suppress(AttributeError, OSError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(mmap_max, 0)
        allocator.mallopt(trim_threshold, 2**31 - 1)


def environment() -> dict[str, Any]:
    """Versions, platform and state of the code that a record was made with."""
    return {
        "reprolib": reprolib.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        # A copy without git history, as on a cluster node, gets its commit from the environment.
        "commit": _git("rev-parse", "HEAD") or os.environ.get("REPROLIB_COMMIT"),
        "dirty": _dirty(),
    }


def _dirty() -> bool | None:
    # Records, executed notebooks and the built book are made from the code: they do not change it.
    made = [f":(exclude){folder}" for folder in ("results", "book/executed", "_build")]
    changes = _git("status", "--porcelain", "--", ".", *made)
    return None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def peak_memory() -> float:
    """The most memory that this process has held, in MiB; nan where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
