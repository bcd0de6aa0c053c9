"""Trials spread by Parsl: one worker per accelerator, each seeing only its own."""

import builtins
import inspect
import os
import re
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from reprolib import cluster
from reprolib import runner as trials_module
from reprolib.errors import UserError
from reprolib.paths import BOOK
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial


def which_gpu(trial: Trial, context: Context) -> Outcome:
    """Waits until both workers have a trial: else one that starts late would find nothing left to do."""
    gpu, seen = os.environ["CUDA_VISIBLE_DEVICES"], Path(trial.params["seen"])
    (seen / gpu).touch()
    deadline = time.monotonic() + 120
    while len(list(seen.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    threads = int(os.environ["OMP_NUM_THREADS"])
    return Outcome({"gpu": int(gpu), "double": 2 * trial.params["i"], "threads": threads})


def test_trials_run_on_two_accelerators(tmp_path, monkeypatch):
    pytest.importorskip("parsl")
    monkeypatch.setattr(cluster.joblib, "cpu_count", lambda: 6)
    (tmp_path / "seen").mkdir()
    trials = [Trial("fake", f"trial {i}", {"i": i, "seen": str(tmp_path / "seen")}, 0) for i in range(4)]
    config = cluster.configuration(accelerators=["3", "5"], folder=tmp_path / "parsl")
    store = RunStore(tmp_path / "results")
    with cluster.over_gpus(config) as executor:
        records = run(trials, which_gpu, store, Context(), progress=False, executor=executor)
    assert [record.failure for record in records] == [None] * 4
    assert [record.metrics["double"] for record in records] == [0, 2, 4, 6]
    assert {record.metrics["gpu"] for record in records} == {3, 5}
    assert {record.metrics["threads"] for record in records} == {3}  # six cores, two workers
    assert [store.get(trial) for trial in trials] == records


def test_the_books_example_of_a_cluster_runs_as_it_stands(tmp_path, monkeypatch):
    pytest.importorskip("parsl")
    (example,) = re.findall(r"```python\n(.*?SlurmProvider.*?)```", (BOOK / "reproduce.md").read_text(), re.DOTALL)
    configs, ran = [], []
    monkeypatch.setattr(cluster, "over_gpus", lambda config: nullcontext(configs.append(config)))
    monkeypatch.setattr(trials_module, "run", lambda *given, **named: ran.append((given, named)))
    exec(compile(example, "reproduce.md", "exec"), {})
    [[(trials, execute, store, context), named]] = ran
    inspect.signature(run).bind(trials, execute, store, context, **named)
    assert (len(trials) > 0, context.device) == (True, "cuda")
    [parallel] = configs[0].executors
    assert "OMP_NUM_THREADS" in parallel.provider.worker_init
    assert parallel.max_workers_per_node == len(parallel.available_accelerators) == 4


def test_one_worker_per_accelerator_and_two_where_it_is_named_twice(tmp_path):
    pytest.importorskip("parsl")
    (executor,) = cluster.configuration(accelerators=["0", "0", "1"], folder=tmp_path).executors
    assert executor.max_workers_per_node == 3
    assert executor.available_accelerators == ["0", "0", "1"]


def test_without_parsl_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_parsl(name, *arguments, **named):
        if name.startswith("parsl"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_parsl)
    with pytest.raises(UserError, match=r"install reprolib\[cluster\]"):
        cluster.configuration(accelerators=["0"], folder=tmp_path)
