from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reprolib import studies
from reprolib.errors import UserError
from reprolib.report import published
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.masi2020 import data, pictures, results, settings, systems
from reprolib.studies.masi2020.plan import trials
from reprolib.trial import Context, Outcome, Trial

study = studies.load("masi2020")
SMOKE = settings.Parameters()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Table 3's trials and the transfer, one seed, in the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    parameters = settings.Parameters(seeds=1, tables=["3", "figure 2"])
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    return parameters, store, context, records


# --- the plan --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert {f"table {n}" for n in range(1, 5)} | {f"figure {n}" for n in range(1, 7)} <= set(trials(SMOKE))


def test_every_row_that_the_paper_prints_is_trained_or_says_why_not():
    ours_at_two_sizes = {name for t in ("2", "4") for name in published("masi2020", t).index if "(Ours)" in name}
    rows = {name for t in "1234" for name in published("masi2020", t).index}
    assert rows - ours_at_two_sizes <= set(settings.SYSTEMS)


def test_every_system_that_is_trained_has_trials_and_no_other_has():
    planned = {t.params["system"] for needed in trials(SMOKE).values() for t in needed}
    trained = {name for name, reason in settings.SYSTEMS.items() if reason is None}
    assert trained <= planned
    assert not planned & (set(settings.SYSTEMS) - trained)


def test_profiles_data_and_seeds_change_every_key_and_names_do_not():
    [trial] = [t for t in trials(settings.Parameters(seeds=1))["table 1"] if t.name == settings.CE_FINETUNED]
    others = [
        trials(settings.Parameters(seeds=1, **more))["table 1"] for more in ({"profile": "cpu"}, {"data": "public"})
    ]
    assert trial.key not in {t.key for plan in others for t in plan}
    assert replace(trial, name="another name").key == trial.key
    assert replace(trial, seed=1).key != trial.key


def test_the_papers_point_of_the_sweep_is_run_once():
    plan = trials(settings.Parameters(seeds=1))
    papers = {"alpha": 10.0, "beta": 5.0, "loss": "consensus", "start": "cross_entropy"}
    [of_sweep] = [t for t in plan["extra A"] if papers.items() <= t.params.items()]
    assert of_sweep in plan["extra B"]


def test_only_the_tables_that_are_asked_for_are_planned():
    assert set(trials(settings.Parameters(tables=["3"]))) == {"table 3"}
    with pytest.raises(UserError, match="Unknown table 'tabel 3'; did you mean 'table 3'"):
        trials(settings.Parameters(tables=["tabel 3"]))


# --- one trial -------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification_whether_or_not_its_start_was_kept(tmp_path, small_run):
    _, store, _, records = small_run
    [record] = [r for r in records if r.trial.name == settings.PARTS_CONSENSUS_REG]
    again = run([record.trial], study.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)[0]
    assert again.metrics == record.metrics
    assert again.curves == record.curves
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    _, store, _, records = small_run
    for record in records:
        arrays = store.arrays(record)
        assert record.metrics["sparsity"] == pytest.approx(arrays["sparsity"].mean())
        right = np.trace(arrays["confusion"].sum(0))
        assert record.metrics["accuracy"] == pytest.approx(100 * right / arrays["confusion"].sum())


def test_the_teachers_turned_faces_keep_their_labels():
    image = torch.zeros(6, 3, 32, 32)
    label = torch.zeros(6, 32, 32, dtype=torch.long)
    image[:, :, 8:20, 6:24], label[:, 8:20, 6:24] = 1.0, 1
    batch = {"images": image, "labels": label, "blobs": label}
    moved = systems._move(batch, torch.Generator().manual_seed(0))
    agreement = ((moved["images"][:, 0] > 0.5) == (moved["labels"] == 1)).float().mean()
    assert agreement > 0.98
    assert not torch.equal(moved["labels"], label)


def test_a_flip_mirrors_picture_labels_and_blobs_together():
    ramp = torch.arange(4.0).expand(8, 3, 4, 4)
    batch = {"images": ramp, "labels": ramp[:, 0].long(), "blobs": ramp[:, 0].long()}
    flipped = systems._flip(batch, torch.Generator().manual_seed(0))
    mirrored = flipped["labels"][:, 0, 0] == 3
    assert 0 < mirrored.sum() < 8
    torch.testing.assert_close(flipped["images"][:, 0].long(), flipped["labels"])
    torch.testing.assert_close(flipped["blobs"], flipped["labels"])


def test_new_backgrounds_leave_the_face_alone():
    images, labels = torch.zeros(16, 3, 12, 12), torch.zeros(16, 12, 12, dtype=torch.long)
    labels[:, 3:9, 3:9] = 1
    changed = systems._elsewhere({"images": images, "labels": labels}, torch.Generator().manual_seed(0))["images"]
    assert (changed[:, :, 3:9, 3:9] == 0).all()
    assert 0 < (changed != 0).flatten(1).any(1).sum() < 16


def test_pseudo_labels_come_from_the_contour_and_the_teachers_mask():
    faces = data.transfer_faces(dict(trials(SMOKE)["table 1"][0].params), None)
    nothing, everything = torch.nn.Module(), systems._EverythingIsFace()
    nothing.forward = lambda images: torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(images), 2, 32, 32)
    nothing.register_parameter("p", torch.nn.Parameter(torch.zeros(1)))
    labels, blobs = systems.pseudo_labels_of(everything, *faces)
    assert (labels == 1).all()
    labels, blobs = systems.pseudo_labels_of(nothing, *faces)
    assert set(np.unique(labels)) == {0, 2}
    assert ((blobs >= 2) == (labels == 2)).all()


# --- data ------------------------------------------------------------------------------------------------


def test_no_synthetic_face_is_in_two_sets():
    starts = (data.TEACHER, data.TRANSFER, data.COFW_TRAIN, data.COFW_TEST, data.PARTS_TRAIN, data.PARTS_TEST)
    sets = ("teacher_faces", "transfer_faces", "cofw_train", "cofw_test", "parts_train", "parts_test")
    for scale in settings.SCALES.values():
        counts = [getattr(scale, name) for name in sets]
        ranges = [range(start, start + count) for start, count in zip(starts, counts, strict=True)]
        assert sum(counts) == len(set().union(*ranges))


def test_shrinking_a_set_shrinks_pictures_labels_and_superpixels_alike():
    faces = data.part_label_faces({"data": "synthetic", "parts_train": 2, "parts_test": 1}, None, large_size=40)[0]
    small = data.resized(faces, 20)
    assert small.images.shape == (2, 20, 20, 3)
    assert small.labels.shape == small.superpixels.shape == (2, 20, 20)
    assert set(np.unique(small.superpixels[0])) <= set(np.unique(faces.superpixels[0]))


def test_nearest_upsampling_repeats_pixels():
    assert (
        data.nearest(np.array([[[0, 1], [2, 1]]], np.uint8), 4)[0].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 1, 1]] * 2
    )


def test_two_sets_are_joined_field_by_field():
    faces = data.part_label_faces({"data": "synthetic", "parts_train": 2, "parts_test": 1}, None, large_size=40)
    both = data.concatenated(*faces)
    assert len(both) == len(both.names) == len(both.superpixels) == 3
    np.testing.assert_array_equal(both.images[2], faces[1].images[0])


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
def test_real_data_without_their_folder_are_refused_before_training(tmp_path, data_root):
    parameters = settings.Parameters(data="public", seeds=1, tables=["3"])
    context = Context(results=tmp_path, data_root=data_root)
    with pytest.raises(UserError, match="data_root"):
        run(studies.needed(study, parameters), study.execute, RunStore(tmp_path), context, progress=False)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected one of the folders fasseg, talkingfaces, cofw, part_labels"):
        study.check_data(tmp_path)


@pytest.mark.parametrize(
    ("row", "start"),
    [(settings.CE_FINETUNED, settings.CE_TRANSFER), (settings.CONSENSUS_FINETUNED, settings.CONSENSUS_TRANSFER)],
)
def test_fine_tuning_starts_from_the_transfer_of_its_own_loss(row, start, tmp_path, monkeypatch):
    context = Context(results=tmp_path)
    of_name = {t.name: t for t in trials(settings.Parameters(seeds=1))["table 1"]}
    transferred = study.execute(of_name[start], context)
    monkeypatch.setattr(systems, "train", lambda *_, **__: defaultdict(list))  # no step of fine-tuning
    untouched = study.execute(of_name[row], context)
    np.testing.assert_array_equal(untouched.arrays["confusion"], transferred.arrays["confusion"])
    scratch = study.execute(of_name[settings.CE_SCRATCH], context)
    assert not np.array_equal(scratch.arrays["confusion"], transferred.arrays["confusion"])


def test_what_is_not_counted_stays_so_when_occlusions_are_split_off(monkeypatch):
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 16:50, 16:40] = 1
    labels[0, :, 50:] = 255
    images = np.zeros((1, 64, 64, 3), np.uint8)
    faces = data.FaceSet(images=images, labels=labels, classes=("non-face", "face"), names=("one",))
    larger = replace(faces, images=np.zeros((1, 128, 128, 3), np.uint8))
    contour = np.zeros((64, 64), bool)
    contour[10:60, 10:60] = True
    monkeypatch.setattr(data.landmarks, "detect_many", lambda pictures, cache: np.full((1, 68, 2), 63.5))
    monkeypatch.setattr(data, "face_contour", lambda points, shape: contour)
    found = data._factorised(faces, larger)
    np.testing.assert_allclose(found.landmarks, 31.5)  # in pixels of the smaller picture
    assert (found.labels[:, :, 50:] == 255).all()
    assert (found.labels == 2).any() and (found.labels == 1).any()


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    parameters, store, _, _ = small_run
    table = study.tables(parameters, store)["table 3"]
    assert table.loc[settings.PARTS_BASELINE, ("acc_sp", "paper")] == "96.15"
    assert float(table.loc[settings.PARTS_BASELINE, ("acc_sp", "ours")]) > 0
    everything = study.tables(SMOKE, store)
    assert everything["table 1"].loc[settings.CE_FINETUNED, ("IOU_face", "ours")] == "not done"


@pytest.mark.parametrize(
    ("cost", "verdict"),
    [
        ({"device": "cuda", "workers": 1}, "reproduced"),
        ({"device": "cuda"}, "reproduced"),  # an old record
        ({"device": "cuda", "workers": 4}, "not tested"),
        ({"device": "cpu", "workers": 1}, "not tested"),
    ],
)
def test_speed_is_judged_on_a_gpu_that_no_other_trial_shared(tmp_path, cost, verdict):
    parameters, store = settings.Parameters(profile="gpu", data="paper"), RunStore(tmp_path)
    rows = study.trials(parameters)["table 1"]
    for trial in (row for row in rows if row.name == settings.CONSENSUS_FINETUNED):
        store.save(trial, Outcome({}, speed={"images_per_second": 400.0 + trial.seed}), cost=cost, environment={})
    [speed] = [claim for claim in study.claims(parameters, store) if claim.id == "speed"]
    assert speed.verdict == verdict


def test_claims_without_records_are_not_tested(tmp_path):
    claims = study.claims(SMOKE, RunStore(tmp_path))
    assert len({claim.id for claim in claims}) == len(claims) == len(results.CLAIMS) + 2
    assert {claim.verdict for claim in claims} == {"not tested"}


def test_teachers_that_know_the_tests_domain_are_compared_with_no_student(tmp_path):
    store = RunStore(tmp_path)
    ids = [{c.id for c in study.claims(settings.Parameters(data=name), store)} for name in ("synthetic", "public")]
    assert ids[0] - ids[1] == {"student-teacher", "student-augmented"}


def test_an_effect_is_the_difference_of_the_two_rows(small_run):
    parameters, store, _, records = small_run
    by_name = {r.trial.name: r for r in records}
    [claim] = [c for c in study.claims(parameters, store) if c.id == "parts-hair"]
    rows = (by_name[name].metrics["iou_hair"] for name in (settings.PARTS_CONSENSUS, settings.PARTS_BASELINE))
    assert claim.effect == pytest.approx(-float(np.diff(list(rows))[0]))
    assert claim.low <= claim.effect <= claim.high
    assert claim.published_effect == pytest.approx(3.53)
    words = " ".join(study.answers(parameters, store, ["parts-hair", "cofw-iou"]))
    assert f"{claim.effect:+.2f}".replace("-", "−") in words
    assert "Not done." in words


def test_the_published_effects_are_differences_of_published_cells():
    cells = {table: published("masi2020", table) for table in ("1", "3")}
    columns = {"iou_face": "IOU_face", "recall_all": "rec_all", "sparsity": "spars."}
    for c in results.CLAIMS:
        if c.place == "Table 1":
            paper, column = cells["1"], columns[c.score]
        else:
            paper = cells["3"]
            column = {"iou_hair": "IOU_hair", "iou_mean": "IOU_mean", "accuracy_sp": "acc_sp", "sparsity": "spars."}[
                c.score
            ]
        assert c.effect == pytest.approx(paper.loc[c.a, column] - paper.loc[c.b, column]), c.id


def test_fidelity_finds_all_equal_but_the_receptive_field():
    unequal = [fact for fact in study.fidelity() if not fact.equal]
    assert [(fact.published, fact.ours) for fact in unequal] == [("121", 97)]


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    parameters, store, _, _ = small_run
    assert set(pictures.drawn(parameters, store)) == {"figure 2"}
    assert set(pictures.drawn(settings.Parameters(seeds=1), store)) == {"figure 2", "figure 6"}


@pytest.mark.parametrize("place", trials(SMOKE))
def test_what_is_drawn_for_one_place_belongs_to_it(small_run, place):
    drawn = pictures.drawn(settings.Parameters(seeds=1, tables=[place]), small_run[1])
    assert {pictures.place_of(name) for name in drawn} <= {place}


def test_the_pull_of_figure_3_is_weakest_on_wrong_pixels_without_the_second_term():
    figure = pictures.intuition()
    pulls = [np.abs(ax.images[0].get_array()) for ax in figure.axes]
    wrong, right = (11, 12), (6, 7)  # inside the hole, inside the face
    cross_entropy, beta_0, beta_5 = pulls[1], pulls[2], pulls[3]
    assert cross_entropy[wrong] > cross_entropy[right]
    assert beta_0[wrong] < beta_0[right]
    assert beta_5[wrong] > beta_5[right]


def test_a_trial_names_no_folder_of_this_machine():
    for needed in trials(settings.Parameters(data="public", data_root="/somewhere")).values():
        assert not any("/somewhere" in str(value) for t in needed for value in t.params.values())
    assert isinstance(needed[0], Trial)
