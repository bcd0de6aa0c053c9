"""What `plan` foresees: the same trainings, steps, checkpoints and networks as a run has, without torch."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reprolib import measuring, paths, planning, studies
from reprolib.cli import main
from reprolib.errors import UserError
from reprolib.planning import Line, Network, Plan, Work
from reprolib.store import RunStore, checkpoint_path
from reprolib.studies.masi2020 import rows as names
from reprolib.studies.masi2020.work import OCCLUDED, TEACHER, TRANSFER
from reprolib.trial import Outcome

STUDY = studies.load("masi2020")
SMOKE = STUDY.Parameters(profile="smoke", data="synthetic")


@pytest.fixture(autouse=True)
def empty_results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)


def rows(data: str, profile: str) -> dict:
    return {row.name: row for row in STUDY.rows(STUDY.Parameters(data=data, profile=profile))}


def lines(found: Plan) -> dict[str, Line]:
    """By name, of a plan with one dataset."""
    return {line.name: line for line in found.lines}


def some_work(*, epochs: int, batch_size: int, images: int, evaluated: int = 0) -> Work:
    network = Network("EncoderDecoder", 3, 8, 32)
    return Work("fine-tuning", "", network, None, "cross_entropy", epochs, batch_size, images, evaluated)


# --- one training ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "images"), [(4, 8), (4, 9), (4, 10), (4, 3), (1, 3)])
def test_steps_and_images_are_those_of_the_training_loop(batch_size, images):
    import torch
    from torch import nn

    from reprolib.training import RateChange, Schedule, make_fabric, train

    seen, steps = [], []

    def loss(output, batch):
        seen.append(len(output))
        return output.mean()

    schedule = Schedule(2, batch_size, lr=0.1, change=lambda _: RateChange(after_step=lambda: steps.append(1)))
    data = {"images": torch.zeros(images, 2)}
    train(nn.Linear(2, 1), data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0)
    work = some_work(epochs=2, batch_size=batch_size, images=images)
    assert (work.steps, 2 * work.trained) == (len(steps), sum(seen))


def test_a_training_step_counts_three_forward_passes_and_validation_one():
    assert some_work(epochs=10, batch_size=4, images=9, evaluated=5).passes == 10 * (3 * 8 + 5)


def test_workers_shorten_a_run_down_to_its_longest_chain_and_to_what_the_device_can_do():
    def plan(workers, *, longest, busy):
        line = Line("ours", "", 0, 2, 0, 0, 0, None, 0, seconds=100, busy=busy, source="unmeasured")
        return Plan((line,), "cpu", workers, longest).wall

    assert plan(1, longest=50, busy=10) == 100
    assert plan(2, longest=30, busy=10) == 50
    assert plan(2, longest=60, busy=10) == 60
    assert plan(4, longest=30, busy=80) == 80


# --- masi2020 ----------------------------------------------------------------------------------------


def test_a_fine_tuned_row_needs_its_teacher_and_its_transfer_first():
    teacher, transfer, tuning = STUDY.work(rows("paper", "gpu")[names.PARTS_CONSENSUS_REG].config)
    assert (teacher.stage, teacher.images, teacher.evaluated, teacher.steps) == ("teacher", 380, 78, 100 * 12)
    assert teacher.network == Network("FCN", 2, 0, 128)
    assert (transfer.stage, transfer.images, transfer.evaluated) == ("transfer with consensus", 2340, 260)
    assert transfer.steps == 60 * 74  # ⌈2340 / 32⌉
    assert (tuning.images, tuning.evaluated, tuning.steps) == (1500, 353 + 100, 60 * 47)
    assert tuning.spec is None and transfer.network == tuning.network == Network("EncoderDecoder", 3, 64, 128)


def test_a_row_without_training_needs_none():
    assert STUDY.work(rows("paper", "gpu")[names.MEAN_MASK].config) == []


def test_a_trial_looks_for_its_stages_where_the_plan_does(monkeypatch):
    from reprolib.studies.masi2020 import experiment
    from reprolib.trial import Context

    used = []

    class FoundItAlready(Exception):
        pass

    def fitted_once(study, spec, build, fit, context):
        used.append(spec)
        raise FoundItAlready

    monkeypatch.setattr(experiment, "fitted_once", fitted_once)
    for name in (names.TEACHER, names.TEACHER_AUGMENTED, names.CE_TRANSFER, names.CONSENSUS_TRANSFER):
        config = rows("synthetic", "smoke")[name].config
        with pytest.raises(FoundItAlready):
            experiment._fitted(config, 3, Context(), None)
        assert used[-1] == STUDY.work(config)[-1].spec | {"seed": 3}


@pytest.mark.skipif("REPROLIB_DATA_ROOT" not in os.environ, reason="REPROLIB_DATA_ROOT names no folder with datasets")
def test_the_numbers_of_faces_are_those_of_the_lists():
    from reprolib.datasets import part_labels
    from reprolib.studies.masi2020 import data

    root = Path(os.environ["REPROLIB_DATA_ROOT"])
    sets = {name: len(faces) for name, faces in data.lfw_lists(part_labels.dataset(root)).items()}
    assert (sets["train"], sets["validation"]) == OCCLUDED["lfw-occluded"]
    assert (sets["teacher"], sets["teacher-validation"]) == TEACHER
    assert len(part_labels.unlabelled(root)) == TRANSFER


@pytest.mark.slow
def test_networks_csv_holds_every_network_that_a_profile_trains_with_its_true_size():
    assert planning.read_networks(STUDY) == planning.count_networks(STUDY), "run `python -m reprolib.planning`"


# --- plans -------------------------------------------------------------------------------------------


def test_what_several_rows_share_is_counted_once_per_seed():
    found = lines(planning.plan(STUDY, SMOKE))
    assert (found["teacher"].missing, found["teacher"].steps) == (2, 2 * 2)  # 12 faces in batches of 8, one epoch
    assert found["transfer with consensus"].missing == 2
    assert found[names.CE_TRANSFER].missing == 2 and found[names.CE_TRANSFER].steps == 0
    tuned = found[names.CE_FINETUNED]
    assert (tuned.steps, tuned.forward) == (2 * 2 * 2, 7_237_632)
    assert tuned.macs == 2 * 2 * (3 * 12 + 8 + 8) * 7_237_632  # 8 faces for validation, the same 8 for sparsity
    assert tuned.seconds == pytest.approx(tuned.macs / 30e9) and tuned.source == "unmeasured"


def test_finished_trials_and_stages_are_not_planned_again(tmp_path):
    store = RunStore(tmp_path / "smoke")
    row = rows("synthetic", "smoke")[names.CE_FINETUNED]
    first, second = STUDY.trials_of(row)
    store.save(first, Outcome({"iou_face": 1.0}), cost={"seconds": 7.0, "device": "cpu"}, environment={})
    transfer = STUDY.work(row.config)[1]
    path = checkpoint_path(store.root, "masi2020", transfer.spec | {"seed": second.seed})
    path.parent.mkdir(parents=True)
    path.touch()
    found = lines(planning.plan(STUDY, SMOKE, [row.name]))
    assert (found[row.name].done, found[row.name].missing) == (1, 1)
    assert (found[row.name].seconds, found[row.name].source) == (7.0, "recorded")
    assert (found["transfer with cross-entropy"].done, found["transfer with cross-entropy"].missing) == (1, 0)
    assert "teacher" not in found  # the transfer that is there has had its teacher


def test_records_of_another_device_say_nothing_of_the_time(tmp_path):
    row = rows("synthetic", "smoke")[names.CE_FINETUNED]
    cost = {"seconds": 7.0, "device": "cuda"}
    RunStore(tmp_path / "smoke").save(STUDY.trials_of(row)[0], Outcome({"iou_face": 1.0}), cost=cost, environment={})
    assert lines(planning.plan(STUDY, SMOKE, [row.name]))[row.name].source == "unmeasured"


def test_a_gpu_that_is_not_here_is_estimated_and_its_headline_tables_are_judged():
    parameters = STUDY.Parameters(profile="gpu", data="paper")
    found = planning.plan(STUDY, parameters)
    assert found.device == "cuda" and {line.source for line in found.lines} == {"", "unmeasured"}
    assert found.tables == ("table 1", "table 3") and found.headline.wall < found.wall
    said = "\n".join(planning.sentences(parameters, found))
    assert "assume one H100 or H200 at 30 TMAC/s" in said
    verdict = "which fits in" if found.headline.wall <= 600 else "which does not fit in"
    assert f"at most (unmeasured), {verdict} the profile's 10 minutes" in said


def test_a_study_may_name_its_headline_tables():
    study = replace(STUDY, headline=("table 1",))
    assert planning.plan(study, study.Parameters(profile="gpu", data="paper")).tables == ("table 1",)


def test_a_network_that_was_never_counted_is_named():
    costs = planning.Costs(STUDY, "cpu", {})
    with pytest.raises(UserError, match=r"networks.csv has no line for .*size=31"):
        costs.macs(replace(some_work(epochs=1, batch_size=1, images=1), network=Network("FCN", 2, 0, 31)))


@pytest.mark.slow
def test_steps_are_timed_through_the_loop_that_trains():
    teacher, _, tuning = STUDY.work(rows("synthetic", "smoke")[names.CONSENSUS_FINETUNED].config)
    for work in (teacher, tuning):
        found = measuring.measure("masi2020", work, "cpu")
        assert 0 < found.step < 60 and 0 < found.image < found.step
        assert found.image_bytes == 32 * 32 * (3 + 1 + 2)  # uint8 image and labels, int16 blobs


# --- the command -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("masi2020 --profile gpx", "Unknown value of parameter 'profile': 'gpx'; did you mean 'gpu'?"),
        ("masi2020 -p sede 3", "Unknown parameter 'sede'; did you mean 'seeds'?"),
        ("masi2020 -p seeds two", "Parameter 'seeds' should be"),
        ("masi2020 --tables 9", "Unknown table '9'"),
        ("masi2020 --rows nobody", "no row of the chosen tables is named 'nobody'"),
        ("masi2020 --data paper --data-root /none", "The data root /none is not a folder"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, words, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *words.split()])
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    assert err.startswith(sentence) and len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_plan_without_measuring_loads_no_torch():
    code = "import sys; from reprolib.cli import app; app(sys.argv[1:], standalone_mode=False);"
    code += "print([name for name in ('torch', 'lightning', 'cv2', 'matplotlib') if name in sys.modules])"
    command = [sys.executable, "-c", code, "plan", "masi2020", "--profile", "cpu", "--data", "synthetic"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed[-1] == "[]"
    assert any(line.lstrip().startswith("Total") for line in printed)
