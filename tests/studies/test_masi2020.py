"""masi2020: the rows of its tables, the stages of a trial, and what a record keeps."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reprolib import studies
from reprolib.datasets.faces import FaceSet
from reprolib.errors import UserError
from reprolib.losses.blobs import blobs_from_components
from reprolib.parameters import DATA
from reprolib.results import Results
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.masi2020 import data, experiment, figures
from reprolib.studies.masi2020 import rows as r
from reprolib.training import Fitted, Stopped
from reprolib.trial import Context

STUDY = studies.load("masi2020")
SMOKE = STUDY.Parameters(seeds=1)
RUN = (r.PARTS_MEAN_MASK, r.CE_TRANSFER, r.PARTS_BASELINE, r.PARTS_CONSENSUS)
CLASSES = ("background", "face", "occlusion")
STOPPED = Stopped(best_epoch=1, epochs=1, ceiling=1, patience=0, converged=True)


def rows_of(**parameters) -> dict:
    return {row.name: row for row in STUDY.rows(STUDY.Parameters(**{"seeds": 1} | parameters))}


def faces_of(labels: np.ndarray, **more) -> FaceSet:
    names = tuple(map(str, range(len(labels))))
    return FaceSet(np.zeros((*labels.shape, 3), np.uint8), labels.astype(np.uint8), CLASSES, names, **more)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Part Labels with both losses, its trivial row, and the transfer: one seed of the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    trials = [STUDY.trials_of(rows_of()[name])[0] for name in RUN]
    records = run(trials, STUDY.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(RUN)
    return store, dict(zip(RUN, records, strict=True))


# --- rows --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert {f"table {n}" for n in range(1, 5)} | {f"figure {n}" for n in range(1, 7)} <= set(STUDY.trials(SMOKE))


def test_part_labels_are_the_papers_own_data_and_pasted_occluders_are_not():
    assert {row.config.dataset for row in rows_of(data="paper").values()} == {"lfw-parts", "cofw"}
    assert {row.config.dataset for row in rows_of(data="public").values()} == {"lfw-occluded"}
    assert {row.config.dataset for row in rows_of().values()} == {"facesynth"}


def test_the_papers_point_of_the_sweep_is_a_row_of_the_table():
    papers = rows_of()[r.SAME_START]
    assert (papers.config.alpha, papers.config.beta, papers.config.loss) == (10.0, 5.0, "consensus")
    assert {"table 1", "extra A"} <= set(papers.places)
    assert r.beta_row(5, "cross_entropy") == r.SAME_START
    assert {row.config.beta for row in rows_of().values() if "extra A" in row.places} == {0.0, 5.0, 20.0}


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_losses_are_compared_at_equal_schedules(profile):
    """Rows of one task that fine-tune the paper's network differ in loss, start, dropout and β, in nothing else."""
    for row in (row for name in DATA for row in rows_of(profile=profile, data=name).values()):
        config = row.config
        if config.start in ("cross_entropy", "consensus"):
            tuning = r.PARTS_FINE_TUNING if config.task == "parts" else r.OCCLUSION_FINE_TUNING
            rate = config.training.lr
            assert config.training == replace(tuning[profile], lr=rate, final_lr=rate)
            tuned = rows_of(profile=profile, data=config.data).get(r.TUNED_AS[config.task][config.loss])
            assert tuned is None or rate == tuned.config.training.lr
            assert config.pretraining == r.pretraining(profile, config.start)
            assert (config.network, config.stage) == ("EncoderDecoder", "supervised")


def test_scratch_may_take_as_many_steps_as_transfer_and_fine_tuning_together():
    for profile, transfer in (("cpu", 2340), ("gpu", 2340)):  # faces
        scratch, of_transfer, tuning = (
            sizes[profile] for sizes in (r.SCRATCH_TRAINING, r.TRANSFER_TRAINING, r.OCCLUSION_FINE_TUNING)
        )
        assert scratch.batch_size == tuning.batch_size
        pretrained = of_transfer.epochs * -(-transfer // of_transfer.batch_size)
        per_epoch = -(-372 // tuning.batch_size)
        assert scratch.epochs * per_epoch >= pretrained + tuning.epochs * per_epoch


# --- one trial ---------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification_whether_or_not_its_start_was_kept(tmp_path, small_run):
    store, records = small_run
    record = records[r.PARTS_BASELINE]  # it began at the weights that the row of the transfer kept
    [again] = run([record.trial], STUDY.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)
    assert (again.metrics, again.curves, again.stopped) == (record.metrics, record.curves, record.stopped)
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    store, records = small_run
    for name, record in records.items():
        arrays = store.arrays(record)
        assert record.metrics["sparsity"] == pytest.approx(arrays["sparsity"].mean())
        right = np.trace(arrays["confusion"].sum(0))
        assert record.metrics["accuracy"] == pytest.approx(100 * right / arrays["confusion"].sum())
        assert record.units == {"person": len(np.unique(arrays["units"]))}
        for score_name, score in STUDY.scores.items():
            if score_name in record.metrics and score.array in arrays:
                assert float(score.statistic(arrays[score.array].mean(0))) == pytest.approx(record.metrics[score_name])
        assert (name == r.PARTS_MEAN_MASK) == (record.stopped == {})


def test_every_column_of_a_table_is_a_metric_of_its_rows(small_run):
    parts, transfer = (small_run[1][name].metrics for name in (r.PARTS_BASELINE, r.CE_TRANSFER))
    measured = {"table 1": transfer, "table 2": parts, "table 3": parts, "table 4": parts} | dict.fromkeys(
        ("extra A", "extra B", "extra C"), transfer
    )
    for table in STUDY.declared_tables:
        missing = set(table.columns.values()) - set(measured[table.place])
        assert missing <= {"real_iou_face"}  # needs real faces


def test_curves_begin_before_the_first_step(small_run):
    curves = small_run[1][r.PARTS_BASELINE].curves
    assert len(curves["sparsity"]) == len(curves["validation"]) + 1 == len(curves["loss"]) + 1


def test_pseudo_labels_are_measured_against_annotation(small_run):
    metrics = small_run[1][r.CE_TRANSFER].metrics
    found = {name for name in metrics if name.startswith("pseudo_")}
    assert found == set(next(t for t in STUDY.declared_tables if t.place == "extra C").columns.values())
    assert all(0 <= metrics[name] <= 100 for name in found)


@pytest.mark.parametrize(
    ("row", "start", "others"),
    [
        (r.CE_FINETUNED, r.CE_TRANSFER, r.CONSENSUS_TRANSFER),
        (r.CONSENSUS_FINETUNED, r.CONSENSUS_TRANSFER, r.CE_TRANSFER),
        (r.SAME_START, r.CE_TRANSFER, r.CONSENSUS_TRANSFER),
        (r.PARTS_CONSENSUS_REG, r.CONSENSUS_TRANSFER, r.CE_TRANSFER),
    ],
)
def test_fine_tuning_starts_from_the_transfer_of_its_own_loss(row, start, others, monkeypatch):
    """Nothing is trained here: a stage that trials share is replaced by weights filled with a number for its loss."""
    number = {"cross_entropy": 0.25, "consensus": 0.75}

    def fitted_once(study, spec, build, fit, context):
        network = build()
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, number[spec["loss"]])
        return network, Fitted({}, STOPPED)

    monkeypatch.setattr(experiment, "fitted_once", fitted_once)
    monkeypatch.setattr(experiment, "_fine_tune", lambda network, *_: Fitted({}, STOPPED))
    rows = rows_of()
    tuned, transferred, other = (
        experiment._fitted(rows[name].config, 0, Context(), None)[0] for name in (row, start, others)
    )
    for a, b, c in zip(*(network.parameters() for network in (tuned, transferred, other)), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    scratch = experiment._fitted(rows[r.CE_SCRATCH].config, 0, Context(), None)[0]
    assert len(next(scratch.parameters()).unique()) > 1


@pytest.mark.parametrize("of_start", [True, False])
def test_a_fine_tuned_network_has_converged_only_if_its_start_has(of_start, monkeypatch):
    config = rows_of()[r.CE_FINETUNED].config
    start = Fitted({}, replace(STOPPED, converged=of_start))
    monkeypatch.setattr(experiment, "_transferred", lambda *_: (experiment.build(config), start))
    monkeypatch.setattr(experiment, "_fine_tune", lambda *_: Fitted({}, replace(STOPPED, converged=True)))
    assert experiment._fitted(config, 0, Context(), None)[1].stopped.converged == of_start


@pytest.mark.parametrize(
    ("task", "expected"),
    [("occlusion", [[0, 1, 1, 2], [0, 1, 1, 0], [3, 1, 1, 0]]), ("parts", [[0, 1, 1, 2], [0, 1, 1, 0], [2, 1, 1, 0]])],
)
def test_classes_are_the_blobs_on_part_labels_and_pieces_of_occlusion_on_the_other_task(monkeypatch, task, expected):
    faces = faces_of(np.array([[[0, 1, 1, 2], [0, 1, 1, 0], [2, 1, 1, 0]]]))
    seen = {}

    def train(network, tensors, loss, **how):
        seen.update(tensors, **how)
        return Fitted({"sparsity": [1.0], "validation": [2.0]}, STOPPED)

    monkeypatch.setattr(experiment, "_faces", lambda config, root: SimpleNamespace(train=faces, validation=faces))
    monkeypatch.setattr(experiment, "train", train)
    config = rows_of()[r.PARTS_CONSENSUS_REG if task == "parts" else r.CONSENSUS_FINETUNED].config
    before = lambda network, epoch: {"sparsity": 7.0}  # noqa: E731
    fitted = experiment._fine_tune(torch.nn.Identity(), config, 0, Context(), before)
    assert seen["blobs"].tolist() == [expected]
    assert (seen["augment"] is experiment.flip) == config.regularised
    assert fitted.curves == {"sparsity": [7.0, 1.0], "validation": [2.0]}
    components = blobs_from_components(faces.labels, component_classes=(2,))
    assert (task == "occlusion") == np.array_equal(seen["blobs"].numpy(), components)


def test_tuning_takes_the_best_validation_score_and_never_sees_a_test_face(monkeypatch):
    faces = faces_of(np.ones((2, 32, 32)), boxes=np.array([[0, 0, 32, 32]] * 2, np.float32))
    sets = SimpleNamespace(train=faces, validation=faces)  # without `test`: asking for it fails
    monkeypatch.setattr(experiment, "_faces", lambda config, root: sets)
    monkeypatch.setattr(experiment, "train", lambda *_, **__: Fitted({"validation": [1.0, 3.0, 2.0]}, STOPPED))
    assert experiment.validate(rows_of()[r.CE_SCRATCH].config, 0, Context()) == 3.0


def test_the_trivial_rows_do_not_look(monkeypatch):
    labels = np.array([[[0, 1], [1, 2]], [[0, 1], [2, 2]], [[1, 1], [1, 2]]])
    monkeypatch.setattr(experiment, "_faces", lambda config, root: SimpleNamespace(train=faces_of(labels)))
    noise = np.random.default_rng(0).integers(0, 256, (2, 2, 2, 3), np.uint8)
    mean_mask = experiment._fitted(rows_of()[r.MEAN_MASK].config, 0, Context(), None)[0]
    assert experiment.predicted(mean_mask, noise).tolist() == [[[0, 1], [1, 2]]] * 2
    everything = experiment._fitted(rows_of()[r.EVERYTHING].config, 0, Context(), None)[0]
    assert (experiment.predicted(everything, np.zeros((1, 32, 32, 3), np.uint8)) == 1).all()


def test_the_teachers_turned_faces_keep_their_labels():
    image = torch.zeros(6, 3, 32, 32)
    label = torch.zeros(6, 32, 32, dtype=torch.long)
    image[:, :, 8:20, 6:24], label[:, 8:20, 6:24] = 1.0, 1
    batch = {"images": image, "labels": label, "blobs": label}
    moved = experiment.move(batch, torch.Generator().manual_seed(0))
    agreement = ((moved["images"][:, 0] > 0.5) == (moved["labels"] == 1)).float().mean()
    assert agreement > 0.98
    assert not torch.equal(moved["labels"], label)
    assert torch.equal(moved["labels"], moved["blobs"])


def test_a_flip_mirrors_image_labels_and_blobs_together():
    ramp = torch.arange(4.0).expand(8, 3, 4, 4)
    batch = {"images": ramp, "labels": ramp[:, 0].long(), "blobs": ramp[:, 0].long()}
    flipped = experiment.flip(batch, torch.Generator().manual_seed(0))
    mirrored = flipped["labels"][:, 0, 0] == 3
    assert 0 < mirrored.sum() < 8
    torch.testing.assert_close(flipped["images"][:, 0].long(), flipped["labels"])
    torch.testing.assert_close(flipped["blobs"], flipped["labels"])


def test_each_network_gets_the_pixels_that_it_was_made_for():
    batch = {"images": torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)}
    config = rows_of()[r.CE_SCRATCH].config
    own = experiment.prepared(experiment.build(config))(batch)["images"]
    assert own.flatten(1)[:, 0].tolist() == [-1.0, 1.0]
    other = experiment.prepared(torch.nn.Identity())(batch)["images"]  # ImageNet's mean and deviation
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(other[0, :, 0, 0], -mean / deviation)


def test_pseudo_labels_come_from_the_contour_and_the_teachers_mask():
    config = replace(rows_of()[r.CE_TRANSFER].config.pretraining, transfer_faces=3)
    images, landmarks = data.transfer_faces(replace(rows_of()[r.CE_TRANSFER].config, pretraining=config), None)
    flat = torch.zeros(2, *images.shape[1:3])
    nothing, everything = flat.clone(), flat.clone()
    nothing[0], everything[1] = 1.0, 1.0
    labels, _ = experiment.pseudo_labels_of(experiment.Constant(everything), images, landmarks)
    assert (labels == 1).all()
    labels, blobs = experiment.pseudo_labels_of(experiment.Constant(nothing), images, landmarks)
    assert set(np.unique(labels)) == {0, 2}
    assert ((blobs >= 2) == (labels == 2)).all()


def test_pixels_that_are_not_counted_make_no_components():
    found = np.array([[[1, 1, 1, 1, 1]]], np.uint8)
    labels = np.array([[[1, 1, 255, 1, 1]]], np.uint8)
    config = rows_of()[r.CE_SCRATCH].config
    assert experiment._sparsity(found, labels, config).tolist() == [0.0]


# --- data --------------------------------------------------------------------------------------------


def test_nearest_upsampling_repeats_pixels():
    labels = np.array([[[0, 1], [2, 1]]], np.uint8)
    assert data.nearest(labels, 4)[0].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 1, 1]] * 2


def test_shrinking_a_set_shrinks_images_labels_superpixels_and_landmarks_alike():
    labels = np.zeros((1, 8, 8))
    faces = faces_of(
        labels, superpixels=np.arange(64, dtype=np.int32).reshape(1, 8, 8), landmarks=np.full((1, 68, 2), 3.5),
        boxes=np.array([[0, 2, 4, 6]], np.float32),
    )  # fmt: skip
    small = data.resized(faces, 4)
    assert small.images.shape == (1, 4, 4, 3)
    assert small.labels.shape == small.superpixels.shape == (1, 4, 4)
    assert small.boxes.tolist() == [[0, 1, 2, 3]]
    np.testing.assert_allclose(small.landmarks, 1.5)  # the middle of eight pixels is the middle of four


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
def test_real_data_without_their_folder_are_refused_before_training(tmp_path, data_root):
    trials = studies.needed(STUDY, STUDY.Parameters(data="public", seeds=1, tables=["1"]))
    context = Context(results=tmp_path, data_root=data_root)
    with pytest.raises(UserError, match="data_root"):
        run(trials, STUDY.execute, RunStore(tmp_path), context, progress=False)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="should hold one of the folders lfw, celebamask, cofw"):
        STUDY.check_data(tmp_path)


# --- tables, claims, figures -------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    store, records = small_run
    tables = STUDY.tables(SMOKE, store)
    third = tables["table 3"]
    assert third.loc[r.PARTS_BASELINE, ("acc_sp", "paper")] == "96.15"
    ours = f"{records[r.PARTS_BASELINE].metrics['accuracy_sp']:.2f}"
    assert third.loc[r.PARTS_BASELINE, ("acc_sp", "ours")] == ours
    mean_mask = f"{records[r.PARTS_MEAN_MASK].metrics['iou_mean']:.2f}"
    assert third.loc[r.PARTS_MEAN_MASK, ("IOU_mean", "ours")] == mean_mask
    assert tables["table 1"].loc[r.CE_FINETUNED, ("IOU_face", "ours")] == "not done"
    assert tables["table 1"].loc["RPP [73]", ("IOU_face", "ours")] == "—"


def test_an_effect_is_the_difference_of_the_two_rows(small_run):
    store, records = small_run
    results = Results(STUDY, store)
    judged = {j.claim.id: j for j in results.judged(SMOKE)}
    a, b = (records[name].metrics["iou_hair"] for name in (r.PARTS_CONSENSUS, r.PARTS_BASELINE))
    assert judged["parts-hair"].effect.point == pytest.approx(a - b)
    assert judged["parts-hair"].claim.published_effect == pytest.approx(3.53)
    assert judged["cofw-iou"].effect is None
    assert {j.verdict for j in judged.values()} == {"not tested"}  # one seed has no interval


def test_the_published_effects_are_the_papers():
    effects = {claim.id: claim.published_effect for claim in STUDY.registered_claims}
    printed = {
        "parts-hair": 3.53, "parts-mean": 2.09, "parts-superpixels": 0.46, "parts-sparsity": -2.2,
        "parts-sparsity-reg": 0.0, "cofw-iou": 1.6, "cofw-sparsity": -2.2, "transfer": 7.7, "student-teacher": 0.8,
    }  # fmt: skip
    assert {id: effects[id] for id in printed} == pytest.approx(printed)


def test_facts_are_equal_but_for_the_receptive_field():
    facts = STUDY.fidelity()
    assert [(fact.published, fact.ours, fact.source) for fact in facts if not fact.equal] == [("121", 97, "paper")]
    assert {fact.source for fact in facts} == {"paper", "release"}


def test_only_figures_whose_rows_are_finished_are_drawn(small_run):
    drawn = figures.drawn(Results(STUDY, small_run[0]), SMOKE)
    assert set(drawn) == {"figure 2", "figure 6"}
    assert len(drawn["figure 2"].axes) >= 7  # one tile per step


def test_the_pull_of_figure_3_is_weakest_on_wrong_pixels_without_the_second_term():
    figure = figures.intuition()
    pulls = [np.abs(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    wrong, right = (11, 12), (6, 7)  # inside the hole, inside the face
    cross_entropy, beta_0, beta_5 = pulls[1], pulls[2], pulls[3]
    assert cross_entropy[wrong] > cross_entropy[right]
    assert beta_0[wrong] < beta_0[right]
    assert beta_5[wrong] > beta_5[right]
