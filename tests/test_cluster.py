"""Trials spread by Parsl: one worker per accelerator, each seeing only its own."""

import builtins
import os

import pytest

from reprolib import cluster
from reprolib.errors import UserError
from reprolib.trials import Context, Outcome, RunStore, Trial, run


def which_gpu(trial: Trial, context: Context) -> Outcome:
    return Outcome({"gpu": int(os.environ["CUDA_VISIBLE_DEVICES"]), "double": 2 * trial.params["i"]})


def test_trials_run_on_two_accelerators(tmp_path):
    pytest.importorskip("parsl")
    trials = [Trial("fake", f"trial {i}", {"i": i}, 0) for i in range(4)]
    config = cluster.configuration(accelerators=["3", "5"], folder=tmp_path / "parsl")
    store = RunStore(tmp_path / "results")
    with cluster.over_gpus(config) as executor:
        records = run(trials, which_gpu, store, Context(), progress=False, executor=executor)
    assert [record.failure for record in records] == [None] * 4
    assert [record.metrics["double"] for record in records] == [0, 2, 4, 6]
    assert {record.metrics["gpu"] for record in records} <= {3, 5}
    assert [store.get(trial) for trial in trials] == records


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
