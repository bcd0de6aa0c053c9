"""What a GPU trains in bfloat16, on the CPU: one trial of every family of networks trains and is scored."""

from types import SimpleNamespace

import lightning
import pytest

from reprolib import studies, training
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context

ROWS = [
    ("masi2020", "Struct. via con. +Transf.+f.t.+reg."),
    ("yang2023", "Proposed"),
    ("yin2020", "STN-iCNN"),
    ("yin2020", "RoI-Align in place of the STN"),
    ("wang2018", "Primary model + two additional models"),
    ("sheng2021", "Only Local"),
    ("sheng2021", "ResNet+BLSTM"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Shared by the rows, so that common stages are trained once."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize(("study_id", "row"), ROWS)
def test_a_row_trains_in_bfloat16(study_id, row, results, monkeypatch):
    used = []

    def mixed(**options):
        used.append(lightning.Fabric(**options | {"precision": "bf16-mixed"}))
        return used[-1]

    monkeypatch.setattr(training, "lightning", SimpleNamespace(Fabric=mixed))
    study = studies.load(study_id)
    trial = next(t for t in studies.needed(study, study.Parameters()) if (t.name, t.seed) == (row, 0))
    (record,) = run([trial], study.execute, RunStore(results), Context("cpu", results=results), progress=False)
    assert record.failure is None
    assert used
