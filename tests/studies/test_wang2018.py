import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from reprolib import report, studies
from reprolib.datasets.landmark_masks import BACKGROUND, EYES, INNER_MOUTH, OUTER_MOUTH, SKIN
from reprolib.errors import UserError
from reprolib.records import Arrays
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.wang2018 import data, pictures, plan, results, settings, systems
from reprolib.studies.wang2018.plan import trials
from reprolib.studies.wang2018.scores import mask_metrics
from reprolib.trial import Context, Outcome

study = studies.load("wang2018")
SMOKE = settings.Parameters()
PRIMARY = settings.primary(settings.PRIMARY_GAMMA)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The trials of Tables 4 and 9, one seed, in the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    parameters = settings.Parameters(seeds=1, tables=["table 4", "table 9", "figure 4", "extra D"])
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return parameters, store, context, {record.trial.name: record for record in records}


def smoke_trial(name):
    everything = [t for of_place in trials(settings.Parameters(seeds=1)).values() for t in of_place]
    return next(t for t in everything if t.name == name)


# --- the plan --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert {f"table {n}" for n in range(2, 10)} | {f"figure {n}" for n in range(1, 7)} <= set(trials(SMOKE))


@pytest.mark.parametrize("table", [str(n) for n in range(2, 10)])
def test_every_row_that_the_paper_prints_is_planned(table):
    printed = settings.PRINTED_AS.get(table, {})
    ours = {printed.get(t.name, t.name) for t in trials(SMOKE)[f"table {table}"]}
    assert set(report.published("wang2018", table).index) <= ours


def test_every_planned_system_is_named_and_every_named_one_is_planned():
    planned = {t.name for of_place in trials(SMOKE).values() for t in of_place}
    assert planned == set(settings.SYSTEMS)


def test_trials_are_json_and_the_other_profiles_ask_for_three_seeds():
    for profile in ("cpu", "gpu"):
        everything = [t for of in trials(settings.Parameters(profile=profile)).values() for t in of]
        assert {t.seed for t in everything} == {0, 1, 2}
        json.dumps([dict(t.params) for t in everything])


def test_another_gamma_asks_for_other_trials():
    parameters = settings.Parameters(gammas=[0.5], seeds=1, tables=["6"])
    assert [t.params["gamma"] for t in trials(parameters)["table 6"]] == [0.5]


# --- clips and crops -------------------------------------------------------------------------------------


def test_nobody_is_in_two_of_the_three_sets():
    p = smoke_trial(settings.FCN).params
    training, validation, test = data.sets_of(p, None)
    people = [set(clips.subjects) for clips in (training, validation, test)]
    assert all(people)
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    assert test.images.shape[2:4] == (128, 128)  # twice the network's side


def test_a_region_box_holds_the_region_of_all_frames():
    labels = np.full((2, 40, 60), SKIN, np.uint8)
    labels[0, 10:14, 20:30] = EYES
    labels[1, 12:16, 24:34] = EYES
    x, y, side = data.region_box(labels, "eyes")
    assert side == round(1.6 * 13 + 1)
    assert x <= 20 and x + side >= 34 and y <= 10 and y + side >= 16
    assert x + side / 2 == pytest.approx(27, abs=1) and y + side / 2 == pytest.approx(13, abs=1)
    assert data.region_box(labels, "mouth") is None


def test_crops_show_what_lies_in_the_box_at_another_size():
    labels = np.zeros((1, 32, 32), np.uint8)
    labels[0, 8:16, 8:16] = OUTER_MOUTH
    labels[0, 10:12, 10:12] = INNER_MOUTH
    images = np.repeat(labels[..., None], 3, -1) * 40
    np.testing.assert_array_equal(data.crops(images, (8, 8, 8), 8), images[:, 8:16, 8:16])
    found = data.crop_labels(labels, "mouth", (8, 8, 8), 16)[0]
    assert (found[4:8, 4:8] == 2).all()
    assert (found == 2).sum() == 16
    assert (found == 1).sum() == 240
    beyond = data.crop_labels(labels, "mouth", (-4, -4, 8), 8)[0]
    assert not beyond.any()


def test_region_sets_have_the_classes_of_their_model():
    for region, classes in (("eyes", 2), ("mouth", 3)):
        p = smoke_trial(settings.zoomed(region, None)).params
        training, _, test = data.region_sets(p, None)
        assert training.images.shape[1:] == (5, 64, 64, 3)
        assert training.labels.max() == classes - 1 == len(test.classes) - 1
        again = data.region_sets(p, None)[0]
        np.testing.assert_array_equal(again.images, training.images)  # the jitter, too


# --- masks -----------------------------------------------------------------------------------------------


def test_smoothing_keeps_what_does_not_change_and_weighs_neighbours_as_the_paper_does():
    still = torch.rand(1, 5, 2, 2).expand(7, 5, 2, 2)
    torch.testing.assert_close(systems.smoothed(still), still)
    flash = torch.zeros(7, 1, 1, 1)
    flash[3] = 1
    expected = torch.tensor([0, 0.00257, 0.16552, 0.66382, 0.16552, 0.00257, 0])
    torch.testing.assert_close(systems.smoothed(flash).flatten()[2:5], expected[2:5], atol=1e-3, rtol=0)
    assert systems.smoothed(flash).flatten()[0] == 0


def test_zooming_in_replaces_eyes_and_mouth_and_nothing_else():
    first = np.full((2, 64, 64), BACKGROUND, np.uint8)
    first[:, 8:60, 8:56] = SKIN
    first[:, 20:24, 16:46] = EYES
    first[:, 44:50, 24:40] = OUTER_MOUTH
    frames = np.zeros((2, 64, 64, 3), np.uint8)

    def eye(crops, side):
        found = np.zeros((2, side, side), np.uint8)
        found[:, side // 2, side // 2] = 1
        return found

    def mouth(crops, side):
        return np.full((2, side, side), 2, np.uint8)

    combined = systems.zoom_in(frames, first, {"eyes": eye, "mouth": mouth})
    assert (combined == EYES).sum() == 2
    x, y, side = data.region_box(first, "mouth")
    box = (slice(None), slice(y, y + side), slice(x, x + side))
    np.testing.assert_array_equal(combined[box] == INNER_MOUTH, first[box] != BACKGROUND)
    assert not (combined == OUTER_MOUTH).any()
    assert (combined[first == BACKGROUND] == BACKGROUND).all()
    outside = (combined != INNER_MOUTH) & (combined != EYES)
    np.testing.assert_array_equal(combined[outside], np.where(first == BACKGROUND, BACKGROUND, SKIN)[outside])


def test_a_region_that_the_primary_model_misses_stays_missed():
    first = np.full((1, 32, 32), SKIN, np.uint8)
    combined = systems.zoom_in(np.zeros((1, 32, 32, 3), np.uint8), first, {"eyes": None, "mouth": None})
    np.testing.assert_array_equal(combined, first)


# --- training --------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification(tmp_path, small_run):
    _, store, _, records = small_run
    record = records[PRIMARY]
    [again] = run([record.trial], study.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)
    assert again.metrics == record.metrics
    assert again.curves == record.curves
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    _, store, _, records = small_run
    for record in records.values():
        arrays = store.arrays(record)
        scores = mask_metrics(arrays["confusion"].sum(0))
        assert record.metrics["miou"] == pytest.approx(float(scores["miou"]))
        assert len(arrays["confusion"]) == len(arrays["subjects"]) == len(arrays["times"]) == len(arrays["clips"])
        assert set(arrays["times"]) == set(range(5))


def test_frozen_layers_do_not_move(small_run):
    """All rows of Table 5 share their frozen layers: the baseline's."""
    _, _, context, records = small_run
    frozen, _ = systems._conv_lstm(records[settings.LINEAR].trial.params, 0, context)
    baseline, _ = systems._fcn(smoke_trial(settings.FCN).params, 0, context)
    kept = {n: v for n, v in baseline.state_dict().items() if not n.startswith("classifier")}
    assert kept
    for name, value in kept.items():
        torch.testing.assert_close(frozen.network.state_dict()[name], value, rtol=0, atol=0)


def test_the_other_layers_learn_at_their_own_rate(small_run):
    """Not batch normalisation's running statistics: these move at any rate."""
    _, _, context, records = small_run
    baseline, _ = systems._fcn(smoke_trial(settings.FCN).params, 0, context)
    before = dict(baseline.named_parameters())
    way = {}
    for gamma in (0.01, 0.1):
        learned, _ = systems._conv_lstm({**records[PRIMARY].trial.params, "gamma": gamma}, 0, context)
        moved = {n: (after - before[n]).abs().mean().item() for n, after in learned.network.named_parameters()}
        assert all(moved.values())
        way[gamma] = sum(moved.values())
    assert way[0.1] > 2 * way[0.01]


def test_a_new_classifier_learns_alone_and_looks_at_one_frame(small_run):
    _, _, context, records = small_run
    trained, curves = systems._conv_lstm(smoke_trial(settings.LINEAR_CLASSIFIER).params, 0, context)
    frozen, _ = systems._conv_lstm(records[settings.LINEAR].trial.params, 0, context)
    for name, value in frozen.network.state_dict().items():
        assert torch.equal(trained.network.state_dict()[name], value)
    assert curves["loss"]
    clip = torch.randn(1, 5, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(trained(clip)[:, 2:3], trained(clip[:, 2:3]))


def test_still_frames_take_as_many_steps_and_see_one_frame(small_run):
    _, _, context, records = small_run
    model, _ = systems._conv_lstm(records[settings.LINEAR].trial.params, 0, context)
    frames = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    still = systems._scores_of_still(model, frames)
    unmoved = systems._scores(model, np.repeat(frames[8:9], 5, axis=0), steps=5)
    torch.testing.assert_close(still[8], unmoved[3])  # frame 8 is the fourth of its five
    assert not torch.allclose(still[8], systems._scores(model, frames, steps=5)[8])


def test_the_mean_mask_is_what_most_training_frames_have(monkeypatch):
    labels = np.zeros((3, 1, 4, 4), np.uint8)
    labels[:2, :, 1:3], labels[2] = SKIN, EYES
    training = replace(data.sets_of(smoke_trial(settings.FCN).params, None)[0], labels=labels)
    monkeypatch.setattr(data, "sets_of", lambda p, data_root: [training])
    found = systems._mean_mask({}, Context())(np.zeros((5, 8, 8, 3), np.uint8), 4)
    np.testing.assert_array_equal(found, np.repeat(labels[0], 5, axis=0))


def test_without_a_rate_baselines_look_closer(small_run, monkeypatch):
    """Extra D: the same boxes and crops, of networks that see frames one by one."""
    _, _, context, _ = small_run
    used = []
    monkeypatch.setattr(systems, "_trained", lambda p, *_, trained=systems._trained: used.append(p) or trained(p, *_))
    systems.execute(smoke_trial(settings.PRIMARY_FCN_ZOOM), context)
    assert [(p["region"], p["stage"]) for p in used] == [("face", "conv_lstm"), ("eyes", "fcn"), ("mouth", "fcn")]


@pytest.mark.parametrize("name", sorted({row["loss"] for row in plan.rows_of([]).values() if "loss" in row}))
def test_every_loss_falls_on_one_batch(name):
    torch.manual_seed(0)
    labels = torch.randint(0, 5, (2, 3, 8, 8))  # two clips of three frames
    scores = (0.1 * torch.randn(2, 3, 5, 8, 8)).requires_grad_()
    optimiser = torch.optim.Adam([scores], lr=0.05)
    values = []
    for _ in range(20):
        value = systems.LOSSES[name](scores.tanh(), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < values[0]


def test_real_data_without_their_folder_are_refused_before_training(tmp_path):
    parameters = settings.Parameters(data="public", seeds=1, tables=["3"])
    with pytest.raises(UserError, match="data_root"):
        run(studies.needed(study, parameters), study.execute, RunStore(tmp_path), Context(results=tmp_path))


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="should hold one of the folders talkingfaces, 300vw"):
        study.check_data(tmp_path)


@pytest.mark.parametrize("row", settings.PICTURED)
def test_no_picture_of_real_clips_is_kept(row, monkeypatch, tmp_path):
    trial = smoke_trial(row)
    synthetic = data.sets_of(trial.params, None)
    monkeypatch.setattr(data, "sets_of", lambda p, data_root: synthetic)
    real = replace(trial, params={**trial.params, "data": "public"})
    outcome = study.execute(real, Context(results=tmp_path))
    assert set(outcome.arrays) == {"confusion", "subjects", "categories", "clips", "times"}


def test_pictures_are_kept_for_the_rows_that_figures_show_alone(small_run):
    _, store, _, records = small_run
    with_pictures = {name for name, record in records.items() if "example_images" in store.arrays(record)}
    assert with_pictures == set(records) & set(settings.PICTURED)
    assert set(pictures.FIGURE_6.values()) <= set(settings.PICTURED)
    assert with_pictures < set(records)


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    _, store, _, _ = small_run
    made = study.tables(settings.Parameters(seeds=1), store)
    assert list(made["table 9"].index[:-1]) == list(report.published("wang2018", "9").index)
    assert not (made["table 9"]["mIoU", "ours"] == report.NOT_DONE).any()
    assert made["table 4"].loc["Adam", ("T1", "ours")] != report.NOT_DONE
    assert (made["table 6"]["mIoU", "ours"] == report.NOT_DONE).any()


def test_the_gain_over_time_is_the_mean_of_frames_at_each_place():
    perfect, half = np.diag([4, 4, 4, 4, 4]), np.diag([4, 2, 2, 2, 2]) + np.eye(5, k=-1, dtype=int) * [2, 2, 2, 2, 0]
    ours = np.stack([half, perfect] * 5)
    baseline = np.stack([half] * 10)
    gains = results.gain_over_time(ours, baseline, np.arange(10) % 5)
    gain = float(mask_metrics(perfect)["miou"] - mask_metrics(half)["miou"])
    np.testing.assert_allclose(gains, gain / 2)  # every place in a clip has one good frame and one that is as before
    first = results.gain_over_time(np.concatenate([ours[:1], ours[1::2]]), baseline[:6], np.array([0, 1, 2, 3, 4, 1]))
    np.testing.assert_allclose(first, (0, gain, gain, gain, gain))


def test_the_papers_marks_beside_intervals_over_people(small_run):
    parameters, store, _, _ = small_run
    table = results.significance(parameters, store)
    assert settings.COMBINED in table.index
    assert settings.FCN not in table.index
    p = table["paired t-test, p"].astype(float)
    assert ((p >= 0) & (p <= 1)).all()


def test_groups_of_clips_pool_their_frames():
    confusion = np.zeros((1, 4, 5, 5), int)
    confusion[0] += np.eye(5, dtype=int)
    confusion[0, 2:, 1, 1], confusion[0, 2:, 1, 0] = 0, 1  # skin is lost in the second clip
    scores = results._group_scores(confusion, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(scores, (100, 75))


@pytest.fixture
def two_systems(tmp_path):
    """Baseline and segmentation loss on two people's clips of five frames: the second is right on the first person."""
    store = RunStore(tmp_path)
    right, no_mouth = np.eye(5, dtype=np.int32), np.eye(5, dtype=np.int32)
    no_mouth[4, 4], no_mouth[4, 3] = 0, 1  # what is inside the mouth is called lips
    of_row = {settings.FCN: [no_mouth] * 10, settings.LINEAR: [no_mouth] + [right] * 4 + [no_mouth] * 5}
    common = {"clips": np.repeat([0, 1], 5), "subjects": np.repeat([0, 1], 5), "categories": np.repeat([1, 3], 5)}
    for row, confusion in of_row.items():
        arrays = common | {"confusion": np.array(confusion), "times": np.tile(np.arange(5), 2)}
        store.save(smoke_trial(row), Outcome({"miou": 1.0}, arrays=arrays), cost={}, environment={})
    return settings.Parameters(seeds=1), store


def test_classes_that_a_system_never_calls_are_named(two_systems):
    table = results.missed(*two_systems)
    assert list(table.index) == [settings.FCN]
    assert table.loc[settings.FCN].tolist() == ["0 of 1", "0 of 1", "0 of 1", "1 of 1"]


def test_people_on_whom_a_system_is_better_are_counted(two_systems):
    assert results.better_people(*two_systems).loc[settings.LINEAR].tolist() == ["1 of 2", "+0.0"]


def test_categories_have_their_own_pooled_scores(two_systems):
    table = results.by_category(*two_systems)
    # of the first clip one of five frames has no inner mouth (IoU 4/5), which lips pay for (5/6)
    assert table.loc[settings.LINEAR].tolist() == [f"{100 * (1 + 1 + 5 / 6 + 4 / 5) / 4:.2f}", "62.50"]
    assert table.loc[settings.FCN].tolist() == ["62.50", "62.50"]


def test_later_frames_are_compared_with_the_first(two_systems):
    parameters, store = two_systems
    records = results.records_of(parameters, store)
    records[settings.CROSS_ENTROPY] = records[settings.LINEAR]
    _, effect = results._later_frames(records, Arrays(store))
    assert effect.point == pytest.approx((37.5 + 0) / 2)  # the first frame of neither person gains


def test_every_claim_has_a_verdict_and_is_tested_where_both_rows_were_run(small_run):
    parameters, store, _, _ = small_run
    found = {claim.id: claim for claim in study.claims(parameters, store)}
    assert found["zoom"].effect is not None
    assert found["later-frames"].effect is not None
    assert found["deeplab"].verdict == "not tested"


def test_a_claim_on_a_system_that_never_calls_a_class_is_not_judged(two_systems):
    parameters, store = two_systems
    records = results.records_of(parameters, store)
    of_linear = Outcome({"miou": 1.0}, arrays=store.arrays(records[settings.LINEAR][0]))
    for row in (settings.HINGE, settings.LINEAR_MARGIN, settings.CROSS_ENTROPY):
        outcome = of_linear
        if row == settings.CROSS_ENTROPY:
            outcome = Outcome({"miou": 1.0}, arrays=store.arrays(records[settings.FCN][0]))
        store.save(smoke_trial(row), outcome, cost={}, environment={})
    found = {claim.id: claim for claim in study.claims(parameters, store)}
    assert found["linear-ce"].effect > 0
    assert found["linear-ce"].verdict == "not tested"
    assert found["forms"].verdict == "not reproduced"  # both find all classes, equally well


def test_real_clips_are_not_asked_what_is_run_on_synthetic_ones_alone(tmp_path):
    asked = {
        data: study.questions(settings.Parameters(data=data), RunStore(tmp_path)) for data in ("public", "synthetic")
    }
    assert len(asked["public"]) < len(asked["synthetic"])
    assert not any("peepholes" in question for question in asked["public"].index)


def test_where_the_tracker_annotates_it_is_no_rival(tmp_path):
    ids = {
        data: {claim.id for claim in study.claims(settings.Parameters(data=data), RunStore(tmp_path))}
        for data in ("synthetic", "public")
    }
    assert ids["synthetic"] - ids["public"] == {"tracker", "system-tracker"}


def test_figures_with_faces_are_drawn_from_synthetic_ones_alone(small_run, monkeypatch):
    parameters, store, _, _ = small_run
    records = results.records_of(parameters, store)
    monkeypatch.setattr(pictures, "records_of", lambda *_: records)  # as if real clips had left pictures
    drawn = pictures.drawn(parameters.model_copy(update={"data": "public"}), store)
    assert set(drawn) == {"figure 6", "table 4", "curves"}


def test_fidelity_holds_for_every_size_and_count():
    facts = study.fidelity()
    assert len(facts) == 13
    assert all(fact.equal for fact in facts)


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    parameters, store, _, _ = small_run
    drawn = pictures.drawn(parameters, store)
    assert set(drawn) == {"figure 2", "figure 3", "figure 4", "figure 5", "figure 6", "table 4", "curves"}


def test_figure_1_shows_the_layers_shapes():
    texts = [text.get_text() for ax in pictures.conversion().axes for text in ax.texts]
    assert "10 × 2048 × 20 × 20" in texts
    assert "2 × 5 × 2048 × 20 × 20" in texts
    assert texts.count("10 × 5 × 320 × 320") == 2
