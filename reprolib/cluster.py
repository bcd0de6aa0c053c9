"""Trials spread over several GPUs, or the nodes of a cluster, by Parsl (extra `cluster`)."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import torch

from reprolib.errors import UserError
from reprolib.machine import thread_limits

if TYPE_CHECKING:
    from parsl.config import Config
    from parsl.providers.base import ExecutionProvider


def gpus_here(count: int) -> list[str]:
    """Names of the first `count` GPUs that this process may use, for `configuration`; UserError where there are fewer.

    If CUDA_VISIBLE_DEVICES is set, they are the first that it lists.
    """
    found = torch.cuda.device_count()
    if count > found:
        raise UserError(
            f"{count} GPUs were asked for, but PyTorch finds {found} on this machine; "
            "ask for as many as there are, or see with nvidia-smi and CUDA_VISIBLE_DEVICES what hides the others."
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(gpu) for gpu in range(count)]


def configuration(
    *, accelerators: Sequence[str], folder: Path, provider: "ExecutionProvider | None" = None
) -> "Config":
    """One worker per accelerator, each seeing only its own (CUDA_VISIBLE_DEVICES).

    A name that is listed twice gives that GPU two workers. `provider`: for a cluster, such as Parsl's SlurmProvider;
    None for this machine. The nodes of a cluster must share the results folder, and the provider's `worker_init` must
    set up Python and this package and limit the threads of each worker (OMP_NUM_THREADS). `folder`: for Parsl's logs.
    UserError if parsl is not installed.
    """
    try:
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider
    except ImportError:
        raise UserError(
            "Several GPUs need the package parsl, which is not installed; install reprolib[cluster]."
        ) from None
    local = provider is None
    # Parsl's programs are beside this Python, which may not be on the path; its workers import what we import.
    programs = Path(sys.executable).parent
    found = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    found |= thread_limits(max(1, joblib.cpu_count() // len(accelerators)))
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in found.items())
    executor = HighThroughputExecutor(
        label="trials",
        address="127.0.0.1" if local else None,  # a cluster's nodes find the address themselves
        loopback_address="127.0.0.1",
        available_accelerators=list(accelerators),
        max_workers_per_node=len(accelerators),
        provider=provider or LocalProvider(init_blocks=1, max_blocks=1, worker_init=exports),
        interchange_launch_cmd=[str(programs / "interchange.py")],
    )
    return Config(executors=[executor], run_dir=str(folder), retries=1, usage_tracking=0, initialize_logging=False)


@contextmanager
def over_gpus(config: "Config") -> Iterator[Executor]:
    """An executor for `reprolib.runner.run` that lives as long as the `with` block."""
    from parsl.concurrent import ParslPoolExecutor

    with ParslPoolExecutor(config) as executor:
        yield executor
