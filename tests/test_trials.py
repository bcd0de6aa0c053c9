"""Trials, their records and the store: what is finished stays finished, and the same trial is the same numbers."""

import functools
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprolib import machine
from reprolib.errors import UserError
from reprolib.runner import _Job, run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Record, StoreError, Trial

CPU = Context(device="cpu")


def trial(name="a", *, seed=0, **params) -> Trial:
    return Trial("fake", name, {"data": "synthetic", "profile": "smoke", "name": name, **params}, seed)


def learn(trial: Trial, context: Context) -> Outcome:
    """A tiny training that draws from every generator a trial may use."""
    if trial.params.get("die"):
        os._exit(1)
    if "failure" in trial.params:
        raise RuntimeError(trial.params["failure"])
    if "user_failure" in trial.params:
        raise UserError(trial.params["user_failure"])
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3))
    optimiser = torch.optim.Adam(model.parameters())
    losses = []
    for _ in range(3):
        noise = random.random() + np.random.rand()  # noqa: NPY002
        loss = (model(torch.randn(4, 3, 24, 24)) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    score = float("nan") if trial.params.get("nan") else losses[-1]
    kept = {"first_layer": model[0].weight.detach().numpy()}
    return Outcome({"loss": score}, {"loss": losses}, kept, {"images_per_second": 12.0})


def never(trial: Trial, context: Context) -> Outcome:
    raise AssertionError("a finished trial was run again")


def metrics(records: list[Record]) -> list[dict[str, float]]:
    return [record.metrics for record in records]


def quietly(trials, execute, store, **more) -> list[Record]:
    return run(trials, execute, store, CPU, progress=False, **more)


# --- keys


def test_the_key_depends_on_everything_but_the_display_name():
    base = Trial("s", "name", {"a": 1, "b": [0.5]}, 0)
    assert base.key == Trial("s", "another name", {"b": [0.5], "a": 1}, 0).key
    others = [
        Trial("t", "name", base.params, 0),
        Trial("s", "name", base.params | {"a": 2}, 0),
        Trial("s", "name", base.params, 1),
        Trial("s", "name", base.params, 0, recipe_version=2),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5


def test_the_key_is_stable_over_time():
    """A changed key would orphan every committed record."""
    assert Trial("masi2020", "x", {"beta": 0.5, "system": "é"}, 3).key == "270bdfdc74329ef3"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.integers(0, 2**31))
def test_a_trial_survives_json(params, seed):
    first = Trial("s", "n", params, seed)
    again = Trial("s", "n", json.loads(json.dumps(dict(first.params))), seed)
    assert again == first
    assert again.key == first.key


def test_params_that_json_cannot_hold_are_refused():
    with pytest.raises(TypeError):
        Trial("s", "n", {"a": np.float32(1)}, 0)
    with pytest.raises(ValueError, match="JSON"):
        Trial("s", "n", {"a": float("nan")}, 0)


# --- seeds


def test_two_runs_of_a_trial_are_equal_and_two_seeds_differ(tmp_path):
    once = quietly([trial(seed=0), trial(seed=1)], learn, RunStore(tmp_path / "once"))
    again = quietly([trial(seed=1), trial(seed=0)], learn, RunStore(tmp_path / "again"))
    assert metrics(once) == metrics(again)[::-1]
    assert once[0].metrics != once[1].metrics


@pytest.fixture(scope="module")
def in_two_workers(tmp_path_factory):
    """Four trials in two processes: two succeed, one raises, one kills its process."""
    store = RunStore(tmp_path_factory.mktemp("workers"))
    wanted = [trial(seed=0), trial(seed=1), trial("raises", failure="a bug"), trial("dies", die=True)]
    return store, wanted, quietly(wanted, learn, store, workers=2)


def test_the_number_of_workers_does_not_change_the_numbers(tmp_path, in_two_workers):
    _, wanted, records = in_two_workers
    assert {record.cost["workers"] for record in records[:2]} == {2}
    alone = quietly(wanted[:2], learn, RunStore(tmp_path), workers=1)
    assert metrics(records[:2]) == metrics(alone)
    assert [record.curves for record in records[:2]] == [record.curves for record in alone]


def test_a_trial_that_kills_its_process_takes_no_other_along(in_two_workers):
    store, wanted, records = in_two_workers
    assert [bool(record.failure) for record in records] == [False, False, True, True]
    assert records[2].failure == "RuntimeError: a bug"
    assert records[3].failure.startswith("The process of this trial died")
    assert [store.get(t) is not None for t in wanted] == [True, True, False, False]


# --- on a GPU, which the tests do not have


@pytest.fixture
def gpu(monkeypatch):
    """A GPU in name alone: what was called of it, in order."""
    calls = []
    for name in ("init", "reset_peak_memory_stats", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, functools.partial(calls.append, name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**20)
    yield calls
    machine.set_seeds(0, "cpu")


def test_a_gpu_gets_its_memory_back_after_every_trial_also_a_failed_one(tmp_path, gpu):
    def execute(trial, context):
        return Outcome({"width": 1 / trial.params["width"]})

    run([trial(width=1), trial(width=0)], execute, RunStore(tmp_path), Context("cuda"), workers=1, progress=False)
    good = ["init", "reset_peak_memory_stats", "synchronize", "empty_cache"]
    assert gpu == [*good, "init", "reset_peak_memory_stats", "empty_cache"]


def test_only_the_cpu_pays_for_algorithms_that_repeat_bit_for_bit():
    for device, repeats in (("cuda", False), ("cpu", True)):
        machine.set_seeds(0, device)
        assert torch.are_deterministic_algorithms_enabled() == repeats
        assert torch.backends.cudnn.deterministic == repeats
        assert not torch.backends.cudnn.benchmark  # its search per shape made steps slower on an H100


def test_images_a_second_on_a_shared_device_are_not_kept(tmp_path, gpu):
    def execute(trial, context):
        return Outcome({"iou": 1.0}, speed={"images_per_second": 812.0})

    store = RunStore(tmp_path)
    [alone] = run([trial(width=1)], execute, store, Context("cuda"), workers=1, progress=False)
    assert alone.cost["images_per_second"] == 812.0
    shared = _Job(execute, store, Context("cuda"), {}, 4)(trial(width=2))
    assert "images_per_second" not in shared.cost


def test_a_full_gpu_is_told_with_the_way_out(tmp_path, gpu):
    def execute(trial, context):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    (record,) = run([trial()], execute, RunStore(tmp_path), Context("cuda"), workers=1, progress=False)
    assert record.failure == "The GPU had no memory left for this trial; try fewer workers."


# --- what is run


def test_finished_trials_are_not_run_again(tmp_path):
    store = RunStore(tmp_path)
    first = quietly([trial()], learn, store)
    assert quietly([trial()], never, store) == first


def test_one_record_per_trial_in_the_order_given(tmp_path):
    wanted = [trial("b"), trial("a"), trial("b")]
    records = quietly(wanted, learn, RunStore(tmp_path))
    assert [record.trial for record in records] == wanted


def test_a_failure_is_recorded_and_tried_again_while_the_others_go_on(tmp_path, capsys):
    store, wanted = RunStore(tmp_path), [trial("bad", failure="two\nlines"), trial("good")]
    bad, good = run(wanted, learn, store, CPU)
    assert (bad.failure, good.failure) == ("RuntimeError: two", None)
    shown = capsys.readouterr().err
    assert shown.startswith("Device of 2 trials: cpu.\n")
    assert "Trial 'bad' (seed 0) failed: RuntimeError: two" in shown
    note = tmp_path / "failures" / "fake" / f"{wanted[0].key}.json"
    assert 'raise RuntimeError(trial.params["failure"])' in json.loads(note.read_text())["traceback"]
    assert store.records("fake") == [good]
    (mended,) = quietly(wanted[:1], lambda trial, context: Outcome({"loss": 0.0}), store)
    assert mended.failure is None
    assert not note.exists()


@pytest.mark.parametrize("where", ["metrics", "curves", "loss"])
def test_a_result_that_is_not_finite_is_a_failure_in_one_sentence(tmp_path, where):
    def execute(trial, context):
        if where == "loss":  # what the training loop does
            raise UserError("The loss became nan in epoch 2; lower the learning rate.")
        nan = float("nan")
        return Outcome({"iou": nan if where == "metrics" else 1.0}, {"iou": [nan]} if where == "curves" else {})

    (record,) = quietly([trial()], execute, RunStore(tmp_path))
    assert "nan" in record.failure
    assert "\n" not in record.failure
    assert "Error" not in record.failure
    assert RunStore(tmp_path).get(trial()) is None


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    def interrupted(trial, context):
        if trial.params["name"] == "second":
            raise KeyboardInterrupt
        return learn(trial, context)

    store = RunStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quietly([trial("first"), trial("second")], interrupted, store)
    assert [record.trial.name for record in store.records("fake")] == ["first"]
    assert not list(tmp_path.glob("failures/fake/*.json"))


# --- records


def test_a_record_is_read_as_it_was_written(tmp_path):
    (written,) = quietly([trial()], learn, RunStore(tmp_path))
    store = RunStore(tmp_path)
    assert store.get(trial()) == written
    assert store.records("fake") == [written]
    assert store.records("another study") == []
    weights = store.arrays(written)["first_layer"]
    assert (weights.shape, weights.dtype) == ((8, 3, 3, 3), np.float32)


def test_a_record_says_what_it_cost_and_where_it_was_made(tmp_path):
    (record,) = quietly([trial()], learn, RunStore(tmp_path))
    names = {"seconds", "device", "device_name", "peak_memory_mb", "workers", "images_per_second", "finished"}
    assert set(record.cost) == names
    assert (record.cost["device"], record.cost["workers"]) == ("cpu", 1)
    assert record.cost["peak_memory_mb"] > 1
    names = {"python", "torch", "numpy", "platform", "commit", "dirty", "reprolib"}
    assert set(record.environment) == names
    assert record.environment["torch"] == torch.__version__


def test_a_trial_without_arrays_has_no_artifact(tmp_path):
    (record,) = quietly([trial()], lambda trial, context: Outcome({"loss": 1}), RunStore(tmp_path))
    assert RunStore(tmp_path).arrays(record) == {}
    assert record.metrics == {"loss": 1.0}
    assert not list(tmp_path.glob("artifacts/fake/*.npz"))


def spoil_json(path):
    path.write_text(path.read_text()[:-20])


def spoil_key(path):
    path.write_text(path.read_text().replace('"seed":0', '"seed":5'))


def spoil_metric(path):
    path.write_text(path.read_text().replace('"metrics": {"loss":', '"metrics": {"loss":"high","was":'))


def empty(path):
    path.write_text("")


def spoil_artifact(path):
    artifact = path.parents[2] / "artifacts" / "fake" / f"{path.stem}.npz"
    artifact.write_bytes(artifact.read_bytes()[:-1])


def remove_artifact(path):
    (path.parents[2] / "artifacts" / "fake" / f"{path.stem}.npz").unlink()


@pytest.mark.parametrize(
    "spoil", [spoil_json, spoil_key, spoil_metric, empty, spoil_artifact, remove_artifact], ids=lambda f: f.__name__
)
def test_a_corrupt_record_is_named_set_aside_and_made_again(tmp_path, spoil):
    store = RunStore(tmp_path)
    (good,) = quietly([trial()], learn, store)
    path = tmp_path / "trials" / "fake" / f"{trial().key}.json"
    spoil(path)
    with pytest.warns(RuntimeWarning, match=f"{path.name} is corrupt"):
        assert store.get(trial()) is None
    assert path.with_name(path.name + ".corrupt").exists()
    (again,) = quietly([trial()], learn, store)
    assert (again.metrics, store.get(trial())) == (good.metrics, again)


# --- refused before any training


def test_an_unwritable_results_folder_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"could not be written to .*file"):
        quietly([trial()], never, RunStore(tmp_path / "file" / "results"))


def test_a_disk_that_fills_up_stops_the_run(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    def execute(trial, context):
        monkeypatch.setattr(os, "replace", full)
        return Outcome({"loss": 1.0})

    with pytest.raises(StoreError, match="No space left on device"):
        quietly([trial("first"), trial("second")], execute, RunStore(tmp_path))


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.resolve_device("auto") == "cpu"
    with pytest.raises(UserError, match="no GPU was found"):
        run([trial()], never, RunStore(tmp_path), Context(device="cuda"))
    with pytest.raises(UserError, match="'auto', 'cpu' or 'cuda', but 'tpu'"):
        run([trial()], never, RunStore(tmp_path), Context(device="tpu"))


def test_real_data_need_their_folder(tmp_path):
    real = Trial("fake", "a", {"data": "public", "profile": "smoke"}, 0)
    with pytest.raises(UserError, match="'public' need the folder"):
        run([real], never, RunStore(tmp_path), CPU)
    with pytest.raises(UserError, match="nowhere is not a folder"):
        run([real], never, RunStore(tmp_path), Context(data_root=tmp_path / "nowhere"))


def test_finished_trials_on_real_data_are_read_without_the_data(tmp_path):
    real = Trial("fake", "a", {"data": "public", "profile": "smoke"}, 0)
    context = Context(data_root=tmp_path)
    done = run([real], learn, RunStore(tmp_path), context, progress=False)
    assert run([real], never, RunStore(tmp_path), CPU) == done


def test_any_executor_may_carry_the_trials(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        records = quietly([trial(seed=0), trial(seed=1)], learn, RunStore(tmp_path / "a"), executor=executor)
    alone = quietly([trial(seed=0), trial(seed=1)], learn, RunStore(tmp_path / "b"))
    assert metrics(records) == metrics(alone)


def test_a_remote_worker_without_the_device_fails_its_trials_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with ThreadPoolExecutor(1) as executor:
        (record,) = run([trial()], learn, RunStore(tmp_path), Context("cuda"), progress=False, executor=executor)
    assert record.failure.startswith("Device 'cuda' was asked for, but no GPU was found")


def test_a_copy_without_history_is_told_its_commit(monkeypatch):
    monkeypatch.setattr(machine, "_git", lambda *arguments: None)
    monkeypatch.setenv("REPROLIB_COMMIT", "abc123")
    assert (machine.environment()["commit"], machine.environment()["dirty"]) == ("abc123", None)


def test_automatic_workers_are_the_cores_or_four_on_a_gpu(monkeypatch):
    monkeypatch.setattr(machine.joblib, "cpu_count", lambda: 7)
    workers = functools.partial(machine.resolve_workers, 0)
    assert (workers("cpu"), workers("cuda"), machine.resolve_workers(3, "cuda")) == (7, 4, 3)
    with pytest.raises(UserError, match="-1 was given"):
        machine.resolve_workers(-1, "cpu")


def test_automatic_workers_are_as_many_as_the_free_memory_holds(monkeypatch):
    monkeypatch.setattr(machine.joblib, "cpu_count", lambda: 7)
    monkeypatch.setattr(machine, "free_memory", lambda device: {"cpu": 6000.0, "cuda": 80_000.0}[device])
    found = [machine.resolve_workers(0, *of) for of in (("cpu", 2500), ("cpu", 9000), ("cpu", 10), ("cuda", 30_000))]
    assert found == [2, 1, 7, 2]
    assert machine.resolve_workers(3, "cpu", 9000) == 3  # whoever names a number gets it


def test_the_free_memory_of_this_machine_is_less_than_all_of_it():
    assert 0 < machine.free_memory("cpu") <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_a_process_keeps_the_memory_that_it_frees():
    code = """
import resource, sys, torch
from reprolib import machine
if sys.argv[1] == "keep":
    machine.set_seeds(0, "cpu")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # alignment shifts the first blocks
    torch.ones(2**23)
before = faults()
for _ in range(4):
    torch.ones(2**23)
print(faults() - before)
"""
    keeps, plain = (int(subprocess.check_output([sys.executable, "-c", code, how])) for how in ("keep", "plain"))
    assert keeps < 100 < plain


def test_what_a_killed_writer_left_is_swept_after_an_hour(tmp_path):
    store = RunStore(tmp_path)
    store.check_writable("fake")
    old, new = tmp_path / "trials/fake/.a.json.1.tmp", tmp_path / "trials/fake/.b.json.1.tmp"
    for left in (old, new):
        left.write_text("{")
    os.utime(old, (0, 0))
    store.check_writable("fake")
    assert (old.exists(), new.exists()) == (False, True)
    assert store.records("fake") == []
