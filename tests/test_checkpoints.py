"""Stages that several trials share: fitted once, read again, and made again where the file is spoilt."""

import errno
import os

import pytest
import torch
from torch import nn

from reprolib.checkpoints import fitted_once, load_network, save_network
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.training import Fitted, Stopped
from reprolib.trial import Context, Outcome, StoreError, Trial


class Stage:
    """A stage that draws random numbers in building and fitting, and counts how often it was fitted."""

    def __init__(self, results):
        self.context, self.fitted = Context(results=results), 0

    def __call__(self, *, seed=0):
        return fitted_once("fake", {"seed": seed}, self.build, self.fit, self.context)

    def build(self):
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def fit(self, model):
        self.fitted += 1
        model.train()
        model(torch.randn(8, 2))
        return Fitted({"loss": [torch.rand(()).item()]}, Stopped(1, 1, 1, 0, False))

    @property
    def files(self):
        return sorted(path.name for path in (self.context.results / "checkpoints" / "fake").glob("*.pt*"))


def equal(one, other):
    (model, fitted), (again, fitted_again) = one, other
    states = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    return fitted == fitted_again and all(torch.equal(a, b) for a, b in states)


def test_a_stage_is_fitted_once_and_comes_in_evaluation_mode_fresh_and_read_again(tmp_path):
    stage = Stage(tmp_path)
    fresh, again, other = stage(), stage(), stage(seed=1)
    assert stage.fitted == 2
    assert equal(fresh, again)
    assert not equal(fresh, other)
    assert not any(module.training for model, _ in (fresh, again) for module in model.modules())


def half(path):
    path.write_bytes(path.read_bytes()[:500])


def nothing(path):
    path.write_bytes(b"")


def of_another_network(path):
    torch.save({"weights": nn.Linear(3, 3).state_dict(), "fitted": {}}, path)


@pytest.mark.parametrize("spoil", [half, nothing, of_another_network], ids=lambda f: f.__name__)
def test_a_checkpoint_that_cannot_be_read_is_set_aside_and_made_again(tmp_path, spoil):
    stage = Stage(tmp_path)
    fresh, (name,) = stage(), stage.files
    spoil(tmp_path / "checkpoints" / "fake" / name)
    with pytest.warns(RuntimeWarning, match=f"{name} cannot be read .* set aside as {name}.corrupt") as warned:
        assert equal(stage(), fresh)
    assert len(warned) == 1
    assert (stage.fitted, stage.files) == (2, [name, name + ".corrupt"])
    assert equal(stage(), fresh)
    assert stage.fitted == 2


def full_disk(source, target):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_while_a_stage_is_kept_stops_the_run(tmp_path, monkeypatch):
    stage = Stage(tmp_path)

    def execute(trial, context):
        monkeypatch.setattr(os, "replace", full_disk)  # it had room for the probe
        stage()
        return Outcome({"loss": 0.0})

    wanted = [Trial("fake", name, {"name": name}, 0) for name in ("first", "second")]
    with pytest.raises(StoreError, match=r"checkpoints/fake \(No space left on device"):
        run(wanted, execute, RunStore(tmp_path), stage.context, progress=False)
    assert stage.fitted == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_network_that_cannot_be_kept_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "lips.pt"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(StoreError, match="No space left on device"):
        save_network(path, nn.Linear(2, 2), arguments={"in_features": 2, "out_features": 2})
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("lips.pt", b"old")]


def test_a_kept_network_is_read_with_its_description(tmp_path):
    network = nn.Linear(2, 2).half().float()
    save_network(tmp_path / "n.pt", network, arguments={"in_features": 2, "out_features": 2}, classes=("a", "b"))
    again, described = load_network(tmp_path / "n.pt", nn.Linear, study="fake", what="line")
    assert torch.equal(again.weight, network.weight)
    assert described == {"classes": ("a", "b")}
    assert not again.training
