"""`kill -9` at random points: no finished trial is lost, none is half, and the next run ends the same."""

import hashlib
import json
import os
import random
import signal
import time

import numpy as np
import pytest
import torch

from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial

TRIALS = [Trial("fake", f"trial {i}", {"data": "synthetic", "profile": "smoke", "i": i}, seed=i) for i in range(30)]


def learn(trial: Trial, context: Context) -> Outcome:
    weights = torch.randn(64, 64)
    # The record is large on purpose: a write that can be cut in half.
    curve = torch.randn(20_000).tolist()
    return Outcome({"norm": weights.norm().item()}, {"curve": curve}, {"weights": weights.numpy()})


def run_all(folder) -> None:
    run(TRIALS, learn, RunStore(folder), Context(), workers=1, progress=False)


def in_a_child(folder) -> int:
    """Start a run in a process of its own and return its id; forked, so that torch need not load again."""
    child = os.fork()
    if child == 0:
        try:
            run_all(folder)
        finally:
            os._exit(0)
    return child


def visible_files(folder) -> dict[str, str]:
    """The content's hash of every finished file; temporary files are hidden ones."""
    files = [path for path in folder.rglob("*.*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_lose_nothing_and_the_rerun_ends_with_the_same_records(tmp_path):
    chance = random.Random(0)
    torch.set_num_threads(1)  # a forked process must not inherit a pool of threads
    start = time.monotonic()
    run_all(tmp_path / "whole")
    duration = time.monotonic() - start

    killed = tmp_path / "killed"
    finished: dict[str, str] = {}
    interrupted = 0
    for _ in range(20):
        child = in_a_child(killed)
        # Each run gets about a twentieth of the work done, so that all twenty are hit at work.
        time.sleep(chance.uniform(0, duration / 10))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        interrupted += os.WIFSIGNALED(status)
        now = visible_files(killed)
        records = {name: content for name, content in now.items() if name.startswith("trials")}
        assert finished.items() <= records.items()  # nothing finished is lost or written again
        for name in records:
            record = json.loads((killed / name).read_text())
            assert len(record["curves"]["curve"]) == 20_000
        for path in killed.glob("artifacts/fake/[!.]*.npz"):
            with np.load(path) as arrays:
                assert arrays["weights"].shape == (64, 64)
        finished = records
    assert interrupted > 0

    run_all(killed)
    store, reference = RunStore(killed), RunStore(tmp_path / "whole")
    assert not list(killed.rglob("*.corrupt"))
    for trial in TRIALS:
        record, expected = store.get(trial), reference.get(trial)
        assert (record.metrics, record.curves) == (expected.metrics, expected.curves)
        np.testing.assert_array_equal(store.arrays(record)["weights"], reference.arrays(expected)["weights"])
