"""The study of yin2020: its rows and claims as data, its frames, its scores, one trial of every kind."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reprolib import metrics, studies
from reprolib.datasets import celebamask, parsing_faces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES, CROPS
from reprolib.errors import UserError
from reprolib.models.spatial_transformer import theta_of_centres
from reprolib.parameters import StudyParameters
from reprolib.report import published_from
from reprolib.results import Results
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.yin2020 import data, evaluation, experiment, figures, networks, rows
from reprolib.studies.yin2020.checkpoint import load_model
from reprolib.studies.yin2020.scores import SCORES, parsing_metrics, per_part, percentages, share
from reprolib.studies.yin2020.work import stage_spec, trained_elsewhere, with_stage_training
from reprolib.trial import Context

study = studies.load("yin2020")
PUBLISHED = study.folder / "yin2020" / "published.csv"
SMOKE = StudyParameters(seeds=1)
BY_NAME = {row.name: row for row in study.rows(SMOKE)}
SOURCES = ("synthetic", "public", "paper")


def rows_of(data_source, profile="cpu"):
    return {row.name: row for row in study.rows(StudyParameters(profile=profile, data=data_source))}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The trials of Table 2 and Figure 5, one seed, in the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    parameters = StudyParameters(seeds=1, tables=["2", "figure 5"])
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return store, context, {record.trial.name: record for record in records}


# --- rows and claims -------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    places = set(study.trials(StudyParameters(profile="cpu", data="public")))
    assert {f"table {n}" for n in range(1, 5)} | {f"figure {n}" for n in range(1, 9)} <= places


def test_every_row_that_the_paper_prints_is_trained_or_quoted_with_a_reason():
    for table in study.declared_tables:
        number = table.place.removeprefix("table ")
        if number in "1234":
            trained = set(table.lines or {}) | set(rows_of("paper"))
            assert set(published_from(PUBLISHED, number).index) <= trained | set(rows.QUOTED)
    assert all(reason.startswith("quoted: ") for reason in rows.QUOTED.values())


def test_every_line_of_a_table_is_a_row_on_some_data():
    known = {name for source in SOURCES for profile in ("smoke", "cpu") for name in rows_of(source, profile)}
    for table in study.declared_tables:
        assert {row for row, _ in (table.lines or {}).values()} <= known


def test_both_rows_of_every_claim_are_trained_on_the_data_that_it_names():
    for claim in study.registered_claims:
        assert claim.score in SCORES
        for source in claim.data:
            assert {claim.a, claim.b} <= set(rows_of(source)) | set(rows.QUOTED), claim.id


def test_primary_claims_are_about_a_dozen_and_were_registered_before_the_first_full_run():
    primary = [claim for claim in study.registered_claims if claim.primary]
    assert 8 <= len(primary) <= 14
    assert {claim.registered for claim in study.registered_claims} == {"2026-11-26"}
    assert not any(claim.primary for claim in study.registered_claims if claim.kind == "question")


def test_end_to_end_training_is_compared_with_the_authors_mean_of_ten_runs():
    effects = {claim.id: claim.published_effect for claim in study.registered_claims}
    assert effects["end-to-end"] == pytest.approx(0.7)  # 0.90 − 0.893
    assert effects["whole"] == pytest.approx(3.5)  # 0.90 − 0.865
    assert effects["stn"] == pytest.approx(2.8)
    assert effects["stn-celebamask"] == pytest.approx(3.6)


def test_every_published_cell_has_a_source_and_what_is_not_the_papers_says_so():
    with PUBLISHED.open(encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert all(cell["source"] for cell in cells)
    elsewhere = {(c["table"], c["row"], c["column"]) for c in cells if c["source"] != "paper"}
    printed = {("2", "STN-iCNN", name) for name in ("eyes", "nose", "overall")}
    printed |= {("4", "STN-iCNN", name) for name in ("eyes", "nose", "overall")}
    assert elsewhere == printed | {("2", "STN-iCNN, mean of ten runs", "overall")}


def test_table_4_repeats_the_baselines_of_table_2():
    second, fourth = (published_from(PUBLISHED, number) for number in "24")
    for here, there in ((rows.ICNN, rows.ICNN), ("Zhou et al. [35]", rows.ORIGINAL)):
        assert fourth.loc[here].dropna().to_dict() == second.loc[there].dropna().to_dict()


def test_the_main_rows_have_five_seeds_and_the_others_three_at_most():
    seeds = {name: row.seeds for name, row in rows_of("public").items()}
    five = {name for name, count in seeds.items() if count == 5}
    second = {rows.ICNN_SECOND, rows.STN_SECOND, rows.END_TO_END_SECOND}
    assert five == {rows.ICNN, rows.STN, rows.END_TO_END, rows.STAGE_2_ONLY} | second
    assert max(count for name, count in seeds.items() if name not in five) == 3


def test_on_public_data_table_3_is_made_from_the_trials_of_table_2():
    of_public = rows_of("public")
    for first, second in (
        (rows.ICNN, rows.ICNN_SECOND), (rows.STN, rows.STN_SECOND), (rows.END_TO_END, rows.END_TO_END_SECOND),
        (rows.MEAN_PLACE, rows.MEAN_PLACE_SECOND), (rows.MEAN_MASK, rows.MEAN_MASK_SECOND),
    ):  # fmt: skip
        assert study.trials_of(of_public[first])[0].key == study.trials_of(of_public[second])[0].key
    of_paper = rows_of("paper")
    assert of_paper[rows.STN].config.dataset == "helen"
    assert of_paper[rows.STN_SECOND].config.dataset == "celebamask-hq"


def test_rendered_faces_have_the_headline_rows_alone():
    assert set(rows_of("synthetic")) == {
        rows.MEAN_MASK, rows.MEAN_PLACE, rows.STAGE_1, rows.ICNN, rows.STN, rows.END_TO_END, rows.TRUE_PLACE
    }  # fmt: skip


def test_smoke_has_every_kind_of_row():
    missing = set(rows_of("public", "smoke")) - set(rows_of("synthetic", "smoke"))
    assert missing == set()


def test_patches_are_odd_and_those_of_the_papers_datasets_are_the_papers():
    for profile, sizes in rows.FRAMES.items():
        for _, patch, mouth_patch in sizes.values():
            assert patch % 2 == mouth_patch % 2 == 1, profile
    assert rows.FRAMES["gpu"]["helen"] == (1024, 81, 81)
    assert rows.FRAMES["gpu"]["celebamask-hq"] == (512, 127, 255)
    assert rows_of("paper", "gpu")[rows.STN].config.channels == (8, 16, 24, 32)


def test_the_joint_rate_is_the_authors_and_another_is_a_row():
    of_public = rows_of("public")
    assert of_public[rows.END_TO_END].config.pretrained_rate == 0.001
    assert of_public[rows.JOINT_AT_OTHER_RATE].config.pretrained_rate == 0.01
    assert not of_public[rows.STAGE_2_ONLY].config.joint


def test_rows_of_one_comparison_have_the_same_ceiling_and_patience():
    of_public = rows_of("public")
    together = [
        of_public[name].config.training
        for name in (rows.END_TO_END, rows.STAGE_2_ONLY, rows.LONGER, rows.ROI_ALIGN, rows.JOINT_AT_OTHER_RATE)
    ]
    assert len({(t.epochs, t.patience, t.batch_size) for t in together}) == 1
    assert min(t.batch_size for t in together) >= 16
    original, ours = of_public[rows.ORIGINAL].config.pretraining, of_public[rows.ICNN].config.pretraining
    for stage in ("coarse", "fine"):
        a, b = getattr(original, stage), getattr(ours, stage)
        assert (a.epochs, a.patience, a.batch_size) == (b.epochs, b.patience, b.batch_size)


def test_tuned_rows_exist_and_have_a_training_of_their_own():
    for source, names in rows.TUNED.items():
        for name in names:
            assert rows_of(source)[name].config.training is not None


def test_profiles_data_and_seeds_change_every_key_and_names_do_not():
    trial = study.trials_of(BY_NAME[rows.ICNN])[0]
    others = [study.trials_of(rows_of(source, profile)[rows.ICNN])[0]
              for source, profile in (("synthetic", "cpu"), ("public", "smoke"))]  # fmt: skip
    assert trial.key not in {other.key for other in others}
    assert replace(trial, name="another name").key == trial.key
    assert replace(trial, seed=1).key != trial.key


def test_only_the_tables_that_are_asked_for_are_planned():
    assert set(study.trials(StudyParameters(tables=["3"]))) == {"table 3"}
    with pytest.raises(UserError, match="Unknown table 'tabel 3'; did you mean 'table 3'"):
        study.trials(StudyParameters(tables=["tabel 3"]))


def test_listing_does_not_load_torch():
    listing = "from reprolib import studies; studies.load('yin2020').registered_claims"
    code = f"import sys; {listing}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- shared stages ---------------------------------------------------------------------------------------


def test_stages_are_shared_by_all_rows_that_do_not_differ_in_them():
    stn, half, light = (BY_NAME[name].config for name in (rows.STN, rows.STN_HALF, rows.LIGHT))
    assert stage_spec(stn, "fine") == stage_spec(half, "fine")
    assert stage_spec(stn, "coarse") != stage_spec(half, "coarse")
    assert stage_spec(stn, "coarse") == stage_spec(light, "coarse")
    assert stage_spec(stn, "localiser") != stage_spec(light, "localiser")
    true_place = with_stage_training(BY_NAME[rows.TRUE_PLACE].config)
    assert stage_spec(stn, "fine") == stage_spec(true_place, "fine")


def test_the_hybrid_strategy_starts_from_the_parser_that_was_trained_elsewhere():
    for count in (20, 100):
        hybrid = trained_elsewhere(rows_of("public")[rows.few_row(count)].config)
        there = rows_of("synthetic")[rows.END_TO_END].config
        assert stage_spec(hybrid, "together") == stage_spec(there, "together")


def test_a_tuned_rate_counts_in_the_stage_that_it_is_tuned_for():
    row = BY_NAME[rows.STAGE_1].config
    faster = replace(row, training=replace(row.training, lr=0.5))
    assert with_stage_training(faster).pretraining.coarse.lr == 0.5


# --- scores ----------------------------------------------------------------------------------------------


def test_a_part_that_nobody_has_has_no_f1_and_does_not_count_in_the_macro_one():
    found = np.diag([90, 1, 1, 1, 1, 1, 1, 0, 1])
    found[6, 7] = 1  # some of an upper lip is called inside of the mouth
    scores = parsing_metrics(found)
    assert np.isnan(scores["in_mouth"])
    assert "in_mouth" not in percentages(found)
    assert scores["upper_lip"] == pytest.approx(2 / 3)
    precision, recall = 1.0, (5 + 1 / 2) / 6
    assert scores["overall_macro"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert np.isfinite(parsing_metrics(np.diag(np.ones(9)))["in_mouth"])


def test_overall_f1_does_not_see_confused_parts_and_the_macro_one_does():
    right = np.diag([100, 5, 5, 5, 5, 20, 5, 5, 5])
    confused = right.copy()
    confused[5, 5], confused[5, 8] = 0, 20  # every pixel of the nose is called lower lip
    assert parsing_metrics(confused)["overall"] == parsing_metrics(right)["overall"] == 1
    assert parsing_metrics(right)["overall_macro"] == 1
    assert parsing_metrics(confused)["overall_macro"] < 0.9
    assert parsing_metrics(confused)["nose"] == 0


def test_f1_by_hand():
    confusion = np.zeros((9, 9), int)
    confusion[6, 6], confusion[6, 7], confusion[7, 7], confusion[0, 8], confusion[8, 0] = 4, 2, 2, 1, 1
    found = parsing_metrics(confusion)
    assert found["upper_lip"] == pytest.approx(2 * 4 / (6 + 4))
    assert found["in_mouth"] == pytest.approx(2 * 2 / (2 + 4))
    assert found["mouth"] == pytest.approx(2 * 8 / (9 + 9))  # within the mouth nothing is wrong
    assert np.isnan(found["nose"])


def test_left_and_right_brow_are_one_column():
    confusion = np.zeros((9, 9), int)
    confusion[1, 2] = confusion[2, 1] = 3
    assert parsing_metrics(confusion)["brows"] == 1


def test_inside_crops_counts_the_pixels_of_each_part():
    labels = np.zeros((1, 31, 31), np.uint8)
    labels[0, 10:13, 10:15] = 5  # a nose of 3 × 5 pixels, centre (12, 11)
    centres = torch.full((1, 6, 2), 25.0)
    centres[0, 4] = torch.tensor([12.0, 11.0])
    theta = theta_of_centres(centres, frame=(31, 31), patch=3)
    counts = evaluation.inside_crops(theta.numpy(), labels)
    assert counts[0].tolist() == [[0, 0]] * 4 + [[9, 15], [0, 0]]
    assert share(counts[0])[4] == 60
    assert np.isnan(share(counts[0])[0])


def test_the_centre_error_is_a_distance_in_pixels_over_the_parts_that_are_there():
    truth = torch.full((1, 6, 2), 10.0)
    truth[0, 3:] = torch.nan  # three parts are absent
    moved = torch.full((1, 6, 2), 10.0)
    moved[0, 0] += torch.tensor([3.0, 4.0])
    theta, true = (theta_of_centres(c, frame=(31, 31), patch=5) for c in (moved, truth))
    errors = evaluation.centre_errors(theta, true, frame=(31, 31))
    np.testing.assert_allclose(errors, [[5.0, 3.0]], atol=1e-4)
    assert per_part(errors.sum(0)) == pytest.approx(5 / 3)


def test_the_mean_mask_is_the_constant_mask_with_the_highest_overall_f1():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[:, 1, 1] = 5  # always nose
    labels[:2, 2, 2] = 7  # inner mouth in two of three
    labels[0, 0, :] = 1  # a brow in one of three
    mask = experiment._mean_mask(FaceSet(np.zeros((3, 4, 4, 3), np.uint8), labels, CLASSES, ("a", "b", "c")))
    predicted = mask(torch.zeros(2, 3, 4, 4)).argmax(1).numpy()
    assert predicted.shape == (2, 4, 4)
    expected = np.zeros((4, 4), int)
    expected[1, 1], expected[2, 2] = 5, 7
    np.testing.assert_array_equal(predicted[0], expected)


# --- frames of CelebAMask-HQ -----------------------------------------------------------------------------


def _portrait(size=64):
    """A square image of a person, white on black, with a nose in the middle and the right eye on the left."""
    labels = np.zeros((size, size), np.uint8)
    labels[8:56, 8:56] = 1  # skin
    labels[30:36, 30:36] = celebamask.INDEXED_CLASSES.index("nose")
    labels[20:24, 18:26] = celebamask.INDEXED_CLASSES.index("right eye")
    return np.where(labels[..., None] > 0, 255, 0).astype(np.uint8).repeat(3, axis=2), labels


def test_a_person_keeps_its_labels_when_it_is_put_into_a_frame():
    image, labels = _portrait()
    ground = np.zeros((120, 120, 3), np.uint8)
    for seed in range(5):
        frame, found = data.framed(image, labels, ground, np.random.default_rng(seed))
        assert frame.shape == (120, 120, 3) and found.shape == (120, 120)
        assert set(np.unique(found)) == {0, CLASSES.index("nose"), CLASSES.index("eye 1")}
        assert frame[found > 0].min() > 150  # parts are on the person
        share_of_frame = (found == CLASSES.index("nose")).mean()
        image_sides = np.sqrt(share_of_frame / (36 / 64**2))  # of the frame
        assert 0.8 * data.SMALLEST < image_sides < 1.2 * data.LARGEST


def test_faces_are_anywhere_in_their_frames():
    image, labels = _portrait()
    ground = np.zeros((120, 120, 3), np.uint8)
    places = np.concatenate([
        parsing_faces.centres(data.framed(image, labels, ground, np.random.default_rng(seed))[1][None])[:, 4]
        for seed in range(40)
    ])  # fmt: skip
    assert (places.std(axis=0) > 0.1 * 120).all()
    assert places.min() > 0 and places.max() < 119


def test_a_lent_background_shows_nothing_of_its_own_person():
    image, labels = _portrait()
    image[labels == 0] = (10, 200, 10)
    ground = data.background(image, labels, 80)
    assert ground.shape == (80, 80, 3)
    assert np.abs(ground.astype(int) - (10, 200, 10)).max() <= 40


def test_every_part_of_the_paper_comes_from_a_class_of_celebamask():
    assert set(data.OF_INDEXED) <= set(celebamask.INDEXED_CLASSES)
    assert sorted(data.OF_INDEXED.values()) == sorted(CLASSES[1:])


# --- batches ---------------------------------------------------------------------------------------------


def test_centres_of_a_batch_are_those_of_the_dataset():
    labels = np.random.default_rng(0).integers(0, 9, (3, 20, 24)).astype(np.uint8)
    labels[0][labels[0] == 1] = 0  # no brow
    labels[1][labels[1] > 5] = 0  # no mouth
    labels[2][labels[2] == 7] = 0  # a closed mouth
    np.testing.assert_array_equal(data.centres(torch.from_numpy(labels)), parsing_faces.centres(labels))


def test_the_mean_place_of_many_faces_is_that_of_all_at_once():
    """Counted a few faces at a time; some lack parts, one has none."""
    rng, sizes = np.random.default_rng(0), {"patch": 5, "mouth_patch": 7}
    labels = rng.integers(0, 9, (2 * data.FACES_AT_A_TIME + 5, 12, 14)).astype(np.uint8)
    for one in labels:
        one[np.isin(one, rng.integers(1, 9, 3))] = 0
    labels[3] = 0
    at_once = data.true_theta(torch.from_numpy(labels), **sizes).nanmean(0)
    assert torch.equal(data.mean_theta(labels, **sizes), at_once)


def test_jitter_moves_crops_by_whole_pixels_and_no_further_than_its_share():
    labels = torch.zeros(8, 64, 64, dtype=torch.uint8)
    for part, (x, y) in enumerate(((20, 20), (44, 20), (22, 28), (42, 28), (32, 38), (32, 48)), start=1):
        labels[:, y, x] = part
    sizes = {"patch": 21, "mouth_patch": 21}
    off = data.jittered_theta(labels, torch.Generator().manual_seed(0), **sizes) - data.true_theta(labels, **sizes)
    pixels = off[..., 2] * 63 / 2
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-4, rtol=0)
    limit = (torch.tensor(data.JITTER) * 21).round()
    assert (pixels.abs().amax((0, 2)) <= limit + 1e-4).all()
    assert off[..., :2].abs().max() == 0


def test_reduced_frames_show_the_same_labels():
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 10:20, 10:30] = 5
    found = FaceSet(np.zeros((1, 40, 40, 3), np.uint8), labels, CLASSES, ("a",))
    small = data.reduced(found, 20)
    assert small.images.shape == (1, 20, 20, 3)
    np.testing.assert_array_equal(np.argwhere(small.labels[0]), np.argwhere(labels[0, 1::2, 1::2]))
    assert data.reduced(found, 64) is found


def test_noise_on_reduced_frames_is_as_weak_as_noise_that_was_reduced_with_them():
    grey = {"images": torch.full((64, 3, 32, 32), 128, dtype=torch.uint8), "labels": torch.zeros(64, 32, 32)}

    def noise(frame: int) -> float:
        frames, _ = data.varied(grey, torch.Generator().manual_seed(0), frame=frame)
        deviations = frames[:, 0, 12:20, 12:20].flatten(1).std(1)  # the middle, which no black border reaches
        return float(deviations[deviations > 1e-3].mean())

    assert noise(32) == pytest.approx(0.1, rel=0.05)
    assert noise(4 * 32) == pytest.approx(0.1 / 4, rel=0.05)


def test_no_rendered_face_is_in_two_sets():
    sets = data.faces(BY_NAME[rows.STN].config, None)
    names = [name for part in (sets.train, sets.validation, sets.test) for name in part.names]
    assert len(set(names)) == len(names)
    most = max(train for sizes in rows.FACES.values() for train, _ in sizes.values())
    assert most <= data.RENDERED_VALIDATION <= data.RENDERED_TEST - data.VALIDATION_FACES


def test_more_erased_parts_include_those_of_fewer():
    config = BY_NAME[rows.STN].config
    lost = [data.faces_without(config, None, number=number).tags[0] for number in (1, 2)]
    assert {tag for tag in lost[0] if tag.startswith("no ")} < {tag for tag in lost[1] if tag.startswith("no ")}


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
def test_real_data_without_their_folder_are_refused_before_training(tmp_path, data_root):
    row = rows_of("public", "smoke")[rows.STN]
    context = Context(results=tmp_path, data_root=data_root)
    with pytest.raises(UserError, match="data_root"):
        study.execute(study.trials_of(row)[0], context)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="should hold one of the folders celebamask, SmithCVPR2013_dataset_resized"):
        study.check_data(tmp_path)


# --- trials ----------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification_with_and_without_checkpoints(tmp_path, small_run):
    store, context, records = small_run
    record = records[rows.END_TO_END]
    for folder in (tmp_path, context.results):  # everything anew, and from the stages that are kept
        again = run([record.trial], study.execute, RunStore(tmp_path / folder.name), Context(results=folder),
                    progress=False)[0]  # fmt: skip
        assert again.metrics == record.metrics
        for name, values in store.arrays(record).items():
            np.testing.assert_array_equal(RunStore(tmp_path / folder.name).arrays(again)[name], values)


def test_only_the_crops_differ_between_the_baseline_and_the_stn(small_run):
    _, context, _ = small_run
    models = [experiment._trained(BY_NAME[name].config, 0, context)[0] for name in (rows.ICNN, rows.STN)]
    for stage in ("coarse", "fine"):
        ours, theirs = (getattr(model, stage).state_dict() for model in models)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [model.cropper for model in models] == ["baseline", "stn"]


def test_the_published_recipe_changes_the_second_stage_alone_and_joint_training_all(small_run):
    _, context, _ = small_run
    chosen = (rows.STN, rows.STAGE_2_ONLY, rows.END_TO_END)
    before, recipe, joint = (experiment._trained(BY_NAME[name].config, 0, context)[0] for name in chosen)

    def moved(model, stage):
        pairs = zip(getattr(before, stage).parameters(), getattr(model, stage).parameters(), strict=True)
        return not all(torch.equal(a, b) for a, b in pairs)

    assert [moved(recipe, stage) for stage in ("coarse", "localiser", "fine")] == [False, False, True]
    assert [moved(joint, stage) for stage in ("coarse", "localiser", "fine")] == [True, True, True]
    ours, theirs = recipe.coarse.state_dict(), before.coarse.state_dict()  # with BatchNorm's statistics
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_hybrid_has_the_scale_of_its_new_frame_and_else_the_weights_from_elsewhere(small_run):
    _, context, _ = small_run
    config = BY_NAME[rows.UNTUNED].config
    config = replace(config, source=replace(config.source, frame=48, patch=13, mouth_patch=19))
    model = experiment._trained(config, 0, context)[0]
    there = experiment._trained(trained_elsewhere(config), 0, context)[0]
    changed = [n for n, v in model.state_dict().items() if not torch.equal(v, there.state_dict()[n])]
    assert changed == ["localiser.head.bias"]
    found = data.faces(config, None).train
    frames = data.tensors(found)["images"].float() / 255
    with torch.no_grad():
        theta = model.localiser(model.coarse(data.shrunk(frames, config.small)).softmax(1)).mean(0)
    sides = torch.tensor(data.sides(13, 19)) - 1.0
    torch.testing.assert_close(theta[:, 0, 0], sides / 47, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(theta[:, 1, 1], sides / 47, atol=1e-5, rtol=1e-3)


def test_the_end_to_end_network_is_kept_for_the_parse_command(small_run):
    store, context, records = small_run
    record, config = records[rows.END_TO_END], BY_NAME[rows.END_TO_END].config
    model = load_model(experiment.checkpoint_path(config, 0, context.results))
    assert (model.small, model.frame) == (config.small, config.source.frame)
    test = data.faces(config, None).test
    full = data.tensors(test)["images"].float() / 255
    found = model.network.parse(data.shrunk(full, model.small), full).numpy()
    counts = metrics.confusion(found, test.labels, 9)
    different = np.abs(counts - store.arrays(record)["confusion"]).sum() / 2
    assert different < 1e-3 * counts.sum()  # weights are kept in half precision


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    store, _, records = small_run
    for record in records.values():
        arrays = store.arrays(record)
        config = study.config_of(record.trial)
        assert arrays["confusion"].shape == (config.source.test_faces, 9, 9)
        assert (arrays["confusion"].sum((1, 2)) == config.source.frame**2).all()
        assert record.metrics["overall"] == pytest.approx(percentages(arrays["confusion"].sum(0))["overall"])
        assert len(arrays["units"]) == config.source.test_faces
        if "crop_recall" in record.metrics:
            assert record.metrics["crop_recall"] == pytest.approx(share(arrays["crop_recall"].sum((0, 1))))


def test_crops_at_the_true_places_have_no_centre_error_and_all_mean_places_are_one(small_run):
    _, _, records = small_run
    assert records[rows.TRUE_PLACE].metrics["centre_error"] == pytest.approx(0, abs=1e-3)
    assert records[rows.MEAN_PLACE].metrics["centre_error"] > 0
    assert "centre_error" not in records[rows.MEAN_MASK].metrics


def test_a_row_is_converged_only_if_all_its_stages_are(small_run):
    _, _, records = small_run
    for name in (rows.STN, rows.END_TO_END):
        assert records[name].stopped["converged"] is False  # two epochs
        assert records[name].stopped["ceiling"] == 2
    assert records[rows.MEAN_MASK].stopped == {}


def test_table_1_is_read_from_the_record_of_the_end_to_end_row(small_run):
    _, _, records = small_run
    found, config = records[rows.END_TO_END].metrics, BY_NAME[rows.END_TO_END].config
    assert found["lr1_before"] == pytest.approx(1e6 * config.pretraining.coarse.lr)
    assert found["lr1_together"] == pytest.approx(1e6 * 0.001 * config.training.lr)
    assert records[rows.STAGE_2_ONLY].metrics["lr1_together"] == 0


def test_with_nothing_erased_all_parts_are_left_and_with_everything_none(small_run):
    store, _, records = small_run
    arrays = store.arrays(records[rows.STN])
    erased, left = arrays["recall_erased"], arrays["recall_left"]  # (faces, numbers, 2)
    assert (erased[:, 0] == 0).all() and (left[:, 6] == 0).all()
    np.testing.assert_array_equal((erased + left)[..., 1], np.repeat(left[:, :1, 1], 7, axis=1))


def test_both_methods_are_timed_in_turn_and_judged_only_where_nothing_else_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "REPEATS", 2)
    monkeypatch.setattr(evaluation, "TIMED_BATCHES", (1, 2))
    config = BY_NAME[rows.TIMED_STN].config
    for load, is_judged in ((0.9, True), (3.0, False)):
        monkeypatch.setattr(evaluation.os, "getloadavg", lambda load=load: (load, 0, 0))
        outcome = experiment.run(config, 0, Context(results=tmp_path))
        assert outcome.metrics["milliseconds"] > 0
        assert ("relative_time" in outcome.arrays) is is_judged
    assert "repeats" in outcome.arrays


def test_a_whole_face_network_answers_at_the_size_of_the_frame():
    network = networks.WholeFace(torch.nn.Conv2d(3, 9, 1), side=32)
    assert network(torch.rand(1, 3, 70, 70)).shape == (1, 9, 70, 70)


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers(small_run):
    store, _, records = small_run
    results = Results(study, store)
    made = {table.place: results.table(SMOKE, table) for table in study.declared_tables}
    assert made["table 2"].loc[rows.ICNN, ("overall", "paper")] == "86.5"
    ours = made["table 2"].loc[rows.ICNN, ("overall", "ours")]
    assert float(ours) == pytest.approx(records[rows.ICNN].metrics["overall"], abs=0.051)
    assert made["table 2"].loc[rows.ORIGINAL, ("eyes", "paper")] == "—"  # lost
    assert made["table 3"].loc["STN-iCNN*", ("overall", "paper")] == "91.5"
    assert made["table 4"].loc["Wei et al. [30]", ("overall", "ours")] == "—"  # quoted
    assert (
        made["table 4"].loc["Zhou et al. [35]", ("overall", "ours")]
        == made["table 2"].loc[rows.ORIGINAL, ("overall", "ours")]
    )
    assert made["table 1"].loc["HELEN, pre-training", ("Lr1 × 10⁶", "paper")] == "2300"


def test_what_the_papers_readme_gives_to_two_decimals_is_printed_so(small_run):
    store, _, _ = small_run
    [table] = [table for table in study.declared_tables if table.place == "table 2"]
    made = Results(study, store).table(SMOKE, table)
    assert made.loc["STN-iCNN", ("overall", "paper")] == "91"
    assert made.loc["STN-iCNN, mean of ten runs", ("overall", "paper")] == "90"


def test_claims_without_records_are_not_tested(tmp_path):
    results = Results(study, RunStore(tmp_path))
    for source in SOURCES:
        judged = results.judged(StudyParameters(profile="cpu", data=source))
        assert judged and {one.verdict for one in judged} == {"not tested"}


def test_an_effect_is_the_difference_of_the_two_rows_in_points(small_run):
    store, _, records = small_run
    [claim] = [c for c in study.registered_claims if c.id == "stn"]
    effect = Results(study, store).effect(SMOKE, claim)
    a, b = (records[name].metrics["overall"] for name in (rows.STN, rows.ICNN))
    assert effect.point == pytest.approx(a - b)


def test_every_exactly_checkable_number_is_met():
    assert [fact.quantity for fact in study.fidelity() if not fact.equal] == []
    assert experiment.difference(80) > 1  # an even crop lies between pixels
    assert {fact.source for fact in study.fidelity()} == {"paper", "release", "arithmetic"}


def test_only_figures_whose_rows_are_there_are_drawn(small_run):
    store, _, _ = small_run
    found = figures.drawn(Results(study, store), SMOKE)
    assert set(found) == {"figure 1", "figure 5a", "figure 5b", "figure 8"}


def test_figure_2_shows_the_sizes_of_every_row():
    texts = [text.get_text() for text in figures.interlinked().axes[0].texts]
    for size in ("8×128×128", "16×64×64", "24×32×32", "32×16×16"):
        assert any(text.startswith(f"step\n{size}\n") for text in texts)
    assert sum(text.startswith("step\n") for text in texts) == 12


def test_figure_7_samples_odd_crops_on_pixels_and_even_ones_between():
    odd, even = (ax.lines[2].get_xdata() for ax in figures.sampling_grids().axes[:2])
    np.testing.assert_allclose(odd, np.round(odd), atol=1e-5)
    np.testing.assert_allclose(np.abs(even - np.round(even)), 0.5, atol=1e-5)


def test_crops_and_parts_are_named_alike_in_figures_and_data():
    assert tuple(CROPS) == figures.PARTS
    assert evaluation.ERASED == figures.ERASED
