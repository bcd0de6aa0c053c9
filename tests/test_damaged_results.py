"""Records, artifacts, checkpoints and lists that bit rot or a stranger has changed: set aside, or one sentence.

`REPROLIB_FUZZ=2000 pytest tests/test_damaged_results.py` tries so many files each.
"""

import warnings

import numpy as np
import pytest
from damage import damaged, many, reads_or_says
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reprolib import own_masks, tries
from reprolib.checkpoints import fitted_once, load_network, save_network
from reprolib.errors import UserError
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial

TRIAL = Trial("fake", "row", {"data": "synthetic", "profile": "smoke"}, 0)


@many
@given(data=st.data(), file=st.sampled_from((f"trials/fake/{TRIAL.key}.json", f"artifacts/fake/{TRIAL.key}.npz")))
def test_damaged_records_and_artifacts_are_set_aside_or_whole(tmp_path, data, file):
    store = RunStore(tmp_path)
    outcome = Outcome({"miou": 50.5}, {"loss": [1.0, 0.5]}, {"scores": np.arange(9.0)})
    saved = store.save(TRIAL, outcome, cost={"seconds": 1.0}, environment={"python": "3"})
    path = tmp_path / file
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = store.get(TRIAL)
        listed = store.records("fake")
    if found is not None:
        assert found.trial == TRIAL
        np.testing.assert_array_equal(store.arrays(found)["scores"], np.arange(9.0))
    assert len(listed) <= 1
    assert all(record.trial.key == saved.trial.key for record in listed)


@many
@given(data=st.data())
def test_a_damaged_stage_is_made_again(tmp_path, data):
    def stage():
        fit = {"loss": [0.5]}
        return fitted_once("fake", {"seed": 1}, lambda: nn.Linear(3, 2), lambda _: fit, Context(results=tmp_path))

    fresh, _ = stage()
    (path,) = (tmp_path / "checkpoints").rglob("*.pt")
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, fitted = stage()
    assert set(fitted) == {"loss"}
    assert model.weight.shape == fresh.weight.shape
    path.unlink()


@many
@given(data=st.data())
def test_damaged_networks(tmp_path, data):
    def build(width):
        return nn.Linear(width, 2)

    save_network(tmp_path / "whole.pt", nn.Linear(3, 2), arguments={"width": 3}, names=["a", "b"])
    content = (tmp_path / "whole.pt").read_bytes()
    reads_or_says(
        lambda path: load_network(path, build, study="fake", what="network"),
        tmp_path / "a.pt",
        data.draw(damaged(content)),
    )


@many
@given(data=st.data(), name=st.sampled_from(("classes.json", "classes.txt")))
def test_damaged_lists_of_classes(tmp_path, data, name):
    content = b'["background", "lip"]' if name.endswith("json") else b"background\nlip\n"
    reads_or_says(own_masks.read_classes, tmp_path / name, data.draw(damaged(content)))


class Planted:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_poisoned_checkpoint_runs_nothing(tmp_path):
    import torch

    planted = tmp_path / "planted"
    torch.save({"model": {}, "state": Planted(planted)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="cannot be used"):
        load_network(tmp_path / "a.pt", nn.Identity, study="fake", what="network")
    np.savez(tmp_path / "b.npz", scores=np.array([Planted(planted)], object))
    store = RunStore(tmp_path)
    record = store.save(TRIAL, Outcome({"x": 1.0}, {}, {"scores": np.zeros(1)}), cost={}, environment={})
    (artifact,) = (tmp_path / "artifacts").rglob("*.npz")
    artifact.write_bytes((tmp_path / "b.npz").read_bytes())
    with pytest.warns(RuntimeWarning, match="not the one that was written"):
        assert store.arrays(record) == {}
    assert not planted.exists()


def test_a_log_of_tries_that_somebody_edited_is_one_sentence(tmp_path):
    path = tmp_path / "tuning.csv"
    head = "data,dataset,profile,row,lr,epochs,seed,validation,device,key"
    for text in ("data,row\npublic,a\n", f"{head}\na,b\n", f"{head}\na,b,c,d,fast,1,0,1,cpu,k\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"tuning\.csv"):
            tries.read(path)
