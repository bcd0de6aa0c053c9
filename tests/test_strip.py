"""The strip of images: a recorded result, else the idea on a rendered face; never an image that may not be shown."""

import re

import numpy as np
import pytest
import shared_core as fake
from shared_core import NOTHING, OURS

from reprolib import strip as module
from reprolib.store import RunStore
from reprolib.strip import CARDS, Card, strip
from reprolib.trial import Outcome

IDEA = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 200, np.uint8)
CARD = Card(lambda: IDEA, "the idea", rows=("Not run", OURS), classes=("background", "face"), number=1)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CARDS", {fake.ID: CARD})
    return fake.make(tmp_path, monkeypatch), RunStore(tmp_path / "results")


def record(store, study, row, data, **arrays):
    [made] = [r for r in study.rows(study.Parameters(profile="cpu", data=data)) if r.name == row]
    cost = {"seconds": 1.0, "device_name": "a CPU", "finished": fake.FINISHED}
    store.save(study.trials_of(made)[0], Outcome({"iou": 1.0}, arrays=arrays), cost=cost, environment={})


def test_without_records_each_paper_has_two_described_images(tmp_path):
    html = strip(RunStore(tmp_path))
    descriptions = re.findall(r'alt="([^"]+)"', html)
    assert len(descriptions) == len(set(descriptions)) == 2 * len(CARDS) == 10
    assert html.count("data:image/jpeg;base64,") == 10
    assert "our result" not in html


def test_a_recorded_prediction_is_painted_on_the_input_of_the_same_data(world):
    study, store = world
    images = np.zeros((2, 8, 8, 3), np.uint8)
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[1, :, :4] = 1
    record(store, study, NOTHING, "synthetic", example_images=images)
    record(store, study, OURS, "synthetic", example_predictions=labels)
    (image, painted), row, dataset = module._recorded(fake.ID, CARD, store, ("cpu",))
    assert (row, dataset) == (OURS, "facesynth")
    assert not image.any()
    assert painted[:, :4].any() and not painted[:, 4:].any()  # the background stays as it is
    assert "our result, row “Ours”" in strip(store, profiles=("cpu",))


@pytest.mark.parametrize("data", ["public", "paper"])  # the fake study's "others" and "own"
def test_images_of_a_dataset_that_is_not_listed_are_never_shown(world, data):
    study, store = world
    record(store, study, NOTHING, data, example_images=np.zeros((2, 8, 8, 3), np.uint8))
    record(store, study, OURS, data, example_predictions=np.zeros((2, 8, 8), np.uint8))
    assert module._recorded(fake.ID, CARD, store, ("cpu",)) is None
    assert "the idea" in strip(store, profiles=("cpu",))


def test_no_dataset_of_people_who_were_not_asked_may_be_shown():
    assert not {"talkingfaces", "lipnet-ita"} & set(module.SHOWN)
