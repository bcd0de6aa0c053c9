"""`kill -9` at random points: no finished trial is lost, none is half, and the next run ends the same.

Twenty kills; KILLS=200 python -m pytest tests/test_kill.py for more.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from reprolib.checkpoints import fitted_once
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial

KILLS = int(os.environ.get("KILLS", "20"))
STAGES = 5  # trained once for all trials that share them
TRIALS = [
    Trial("fake", f"trial {i}", {"data": "synthetic", "profile": "smoke", "i": i}, seed=i)
    for i in range(max(30, 3 * KILLS // 2))
]


def learn(trial: Trial, context: Context) -> Outcome:
    stage, fitted = fitted_once(
        "fake", {"stage": trial.params["i"] % STAGES, "seed": 7}, lambda: nn.Linear(300, 300), fit, context
    )
    torch.manual_seed(trial.seed)  # whether the stage came from a checkpoint must not matter
    weights = torch.randn(64, 64) + stage.weight.mean() + fitted["loss"][-1]
    # The record is large on purpose: a write that can be cut in half.
    curve = torch.randn(20_000).tolist()
    return Outcome({"norm": weights.norm().item()}, {"curve": curve}, {"weights": weights.detach().numpy()})


def fit(model: nn.Linear) -> dict:
    time.sleep(0.02)
    with torch.no_grad():
        model.weight += torch.randn_like(model.weight)
    return {"loss": [1.0, float(model.weight.detach().mean())]}


def run_all(folder) -> None:
    run(TRIALS, learn, RunStore(folder), Context(results=folder), workers=1, progress=False)


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
def test_kills_lose_nothing_and_the_rerun_ends_with_the_same_records(tmp_path):
    chance = random.Random(0)
    torch.set_num_threads(1)  # a forked process must not inherit a pool of threads
    start = time.monotonic()
    run_all(tmp_path / "whole")
    duration = time.monotonic() - start

    killed = tmp_path / "killed"
    finished: dict[str, str] = {}
    interrupted = 0
    for _ in range(KILLS):
        child = in_a_child(killed)
        # Each run gets its part of the work done, so that all are hit at work.
        time.sleep(chance.uniform(0, 4 * duration / KILLS))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        interrupted += os.WIFSIGNALED(status)
        now = visible_files(killed)
        records = {name: content for name, content in now.items() if name.startswith("trials")}
        assert finished.items() <= records.items()  # nothing finished is lost or written again
        for name in records.keys() - finished.keys():
            record = json.loads((killed / name).read_text())
            assert len(record["curves"]["curve"]) == 20_000
            with np.load(killed / name.replace("trials", "artifacts").replace(".json", ".npz")) as arrays:
                assert arrays["weights"].shape == (64, 64)
        finished = records
    assert interrupted > KILLS / 2
    print(f"{interrupted} runs killed at work; {len(finished)} of {len(TRIALS)} trials were finished, none was lost")

    run_all(killed)
    store, reference = RunStore(killed), RunStore(tmp_path / "whole")
    assert not list(killed.rglob("*.corrupt"))
    for trial in TRIALS:
        record, expected = store.get(trial), reference.get(trial)
        assert (record.metrics, record.curves) == (expected.metrics, expected.curves)
        np.testing.assert_array_equal(store.arrays(record)["weights"], reference.arrays(expected)["weights"])


WITH_WORKERS = """
import sys, time
from pathlib import Path
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial

def slowly(trial, context):
    import os, time
    (context.results / f"{os.getpid()}.worker").touch()
    time.sleep(0.5)
    return Outcome({"x": 1.0})

folder = Path(sys.argv[1])
trials = [Trial("fake", str(i), {"data": "synthetic", "profile": "smoke", "i": i}, i) for i in range(200)]
run(trials, slowly, RunStore(folder), Context(results=folder), workers=2, progress=False)
"""


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getppid") or sys.platform == "win32", reason="needs parents")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_workers_of_a_killed_run_end_with_it(tmp_path, end):
    parent = subprocess.Popen([sys.executable, "-c", WITH_WORKERS, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while len(found := list(tmp_path.glob("*.worker"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        parent.send_signal(end)
        parent.wait()
    workers, deadline = [int(path.stem) for path in found], time.monotonic() + 30
    while any(map(lives, workers)):
        assert time.monotonic() < deadline, "a worker goes on through the queue of a run that is gone"
        time.sleep(0.2)
    records = len(list(tmp_path.rglob("trials/fake/*.json")))
    assert records < 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_runs_of_one_trial_at_once_train_it_once(tmp_path):
    torch.set_num_threads(1)
    children = [os.fork() or _train_and_note(tmp_path) for _ in range(2)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert len((tmp_path / "trained").read_text().splitlines()) == 1
    assert RunStore(tmp_path).get(TRIALS[0]).metrics == {"x": 1.0}


def _train_and_note(folder) -> None:
    def slowly(trial, context):
        with (folder / "trained").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return Outcome({"x": 1.0})

    code = 1
    try:
        run(TRIALS[:1], slowly, RunStore(folder), Context(), workers=1, progress=False)
        code = 0
    finally:
        os._exit(code)
