"""Learning rates are tried for a row and its rivals alike, on validation items alone, and every try is logged once."""

import math
import os
from dataclasses import replace
from unittest import mock

import pytest
import shared_core as fake

from reprolib import tries as log
from reprolib import tuning
from reprolib.errors import UserError
from reprolib.training import Diverged
from reprolib.trial import Context

SCORE = {0.1: 60.0, 0.2: 70.0, 0.3: 65.0}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The study, the calls of its `validate`, and `tune` on one data source."""
    calls, seeded = [], []

    def validate(config, seed, context):
        calls.append((config, seed))
        if config.training.lr == broken.get("lr"):
            raise broken["error"]
        return SCORE[config.training.lr] + (config.row == "ours")

    def run(config, seed, context):
        raise AssertionError("tuning scored test items")

    broken: dict = {}
    study = fake.make(tmp_path, monkeypatch, experiment={"validate": validate, "run": run})
    monkeypatch.setattr(tuning, "set_seeds", lambda seed, device: seeded.append((seed, device)))

    def tune(rows=(), **parameters):
        chosen = study.Parameters(**{"profile": "cpu"} | parameters)
        return tuning.tune(study, chosen, Context(results=tmp_path), workers=1, rows=rows)

    with mock.patch.dict(os.environ):  # tuning limits the threads of this process
        yield study, calls, seeded, broken, tune


def test_every_rate_is_tried_for_every_tuned_row_with_one_seed_and_a_third_of_the_epochs(world):
    study, calls, seeded, _, tune = world
    tries = tune()
    rows = {row.name: row.config for row in study.rows(study.Parameters(profile="cpu"))}
    expected = [
        (replace(rows[name], training=fake.Training(epochs=4, lr=lr, final_lr=lr)), 0)  # 4: a third of 10, rounded up
        for name in (fake.BASE, fake.OURS) for lr in (0.1, 0.2, 0.3)
    ]  # fmt: skip
    assert calls == expected
    assert seeded == [(0, "cpu")] * 6
    assert [(t.row, t.lr, t.epochs, t.seed, t.validation) for t in tries] == [
        ("Base", 0.1, 4, 0, 60.0), ("Base", 0.2, 4, 0, 70.0), ("Base", 0.3, 4, 0, 65.0),
        ("Ours", 0.1, 4, 0, 61.0), ("Ours", 0.2, 4, 0, 71.0), ("Ours", 0.3, 4, 0, 66.0),
    ]  # fmt: skip
    assert {(t.data, t.dataset, t.profile) for t in tries} == {("synthetic", "facesynth", "cpu")}


def test_the_log_is_read_back_as_it_was_written_and_gives_the_best_rate(world):
    study, _, _, _, tune = world
    assert tuning.read(study) == []
    tries = tune()
    assert tuning.read(study) == tries
    header, *lines = tuning.path_of(study).read_text(encoding="utf-8").splitlines()
    assert header == "data,dataset,profile,row,lr,epochs,seed,validation,device,key"
    assert lines == sorted(lines) and len(lines) == 6
    assert log.best(tries, data="synthetic", profile="cpu", row=fake.BASE) == 0.2
    assert log.best(tries, data="synthetic", profile="gpu", row=fake.BASE) is None


def test_a_try_is_logged_when_it_ends_and_never_repeated(world):
    study, calls, _, broken, tune = world
    broken |= {"lr": 0.3, "error": RuntimeError("killed")}
    with pytest.raises(RuntimeError, match="killed"):
        tune()
    assert [(t.row, t.lr) for t in tuning.read(study)] == [("Base", 0.1), ("Base", 0.2)]
    broken.clear()
    calls.clear()
    assert len(tune()) == 6
    assert [(config.row, config.training.lr) for config, _ in calls] == [
        ("base", 0.3), ("ours", 0.1), ("ours", 0.2), ("ours", 0.3),
    ]  # fmt: skip
    calls.clear()
    tune()
    assert calls == []


def test_a_rate_at_which_training_diverges_is_logged_and_loses(world):
    study, _, _, broken, tune = world
    broken |= {"lr": 0.2, "error": Diverged("expected a finite training loss")}
    tries = tune()
    assert sum(math.isnan(t.validation) for t in tries) == 2
    assert [str(t.validation) for t in tuning.read(study)] == [str(t.validation) for t in tries]
    assert log.best(tries, data="synthetic", profile="cpu", row=fake.BASE) == 0.3


def test_tries_of_an_older_recipe_are_replaced(world):
    study, calls, _, _, tune = world
    tune()
    object.__setattr__(study, "recipe", study.recipe + 1)
    assert len(tune()) == len(tuning.read(study)) == 6
    assert len(calls) == 12


def test_rows_can_be_tuned_one_after_another(world):
    _, calls, _, _, tune = world
    assert len(tune(rows=[fake.OURS])) == 3
    assert {config.row for config, _ in calls} == {"ours"}
    assert len(tune()) == 6
    with pytest.raises(UserError, match="fake2020 does not tune 'Other' on synthetic data"):
        tune(rows=["Other"])


def test_profiles_are_tuned_apart(world):
    study, calls, _, _, tune = world
    tune()
    tune(profile="gpu")
    assert len(calls) == len(tuning.read(study)) == 12


def test_a_data_source_without_tuned_rows_is_refused(world):
    with pytest.raises(UserError, match="fake2020 tunes no row on paper data; tuned are synthetic"):
        world[-1](data="paper")
