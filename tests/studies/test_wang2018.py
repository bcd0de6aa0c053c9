from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reprolib import planning, studies, tries, tuning
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.landmark_masks import BACKGROUND, CLASSES, EYES, INNER_MOUTH, OUTER_MOUTH, SKIN
from reprolib.errors import UserError
from reprolib.models.fcn_resnet50 import STRIDE, upsample_tf1
from reprolib.report import published_from
from reprolib.results import Results
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.wang2018 import batches, data, experiment, figures, masks
from reprolib.studies.wang2018 import config as configuration
from reprolib.studies.wang2018 import rows as r
from reprolib.studies.wang2018.config import STEPS
from reprolib.studies.wang2018.scores import SCORES, mask_metrics, over_time
from reprolib.studies.wang2018.work import fcn_spec, layer_spec, part_of, primary_of
from reprolib.training import channels_first
from reprolib.trial import Context

STUDY = studies.load("wang2018")
SMOKE = STUDY.Parameters(profile="smoke", data="synthetic")
PUBLISHED = STUDY.folder / "wang2018" / "published.csv"
RAN = (
    r.SIZES_OF_LAYERS, r.MEAN_MASK, r.FCN, r.SMOOTHED, r.CROSS_ENTROPY, r.LINEAR, r.PRIMARY, r.PRIMARY_STILL,
    r.COMBINED, r.FCN_ZOOM, r.LINEAR_CLASSIFIER, r.STILLS_FCN, *(r.zoomed(region, None) for region in r.REGIONS),
    *map(r.mean_mask_of, r.REGIONS),
)  # fmt: skip


def rows(profile: str = "smoke", source: str = "synthetic") -> dict:
    return {row.name: row for row in STUDY.rows(STUDY.Parameters(profile=profile, data=source))}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Smoke trials of one row of every kind, first seed alone."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    trials = [trial for trial in studies.needed(STUDY, SMOKE, RAN) if trial.seed == 0]
    records = run(trials, STUDY.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return store, context, {record.trial.name: record for record in records}


# --- rows and claims -------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_has_rows_or_needs_none():
    places = {place for row in rows("cpu", "public").values() for place in row.places}
    paper = {f"table {n}" for n in range(1, 10)} | {f"figure {n}" for n in range(1, 7)}
    assert paper <= places | set(STUDY.without_rows)
    assert {table.place for table in STUDY.declared_tables} <= places


def test_every_row_that_the_paper_prints_is_trained_or_says_why_not():
    for table in STUDY.declared_tables:
        number = table.place.removeprefix("table ")
        if number in "123456789":
            printed = set(published_from(PUBLISHED, number).index)
            assert printed <= set(table.lines or {}) | set(rows("cpu", "public")) | set(r.QUOTED), table.place


def test_lines_of_tables_name_rows_that_are_at_their_place():
    for table in STUDY.declared_tables:
        for name, _ in (table.lines or {}).values():
            assert table.place in rows("cpu", "public")[name].places, (table.place, name)


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
@pytest.mark.parametrize("source", ["synthetic", "public", "paper"])
def test_no_trial_of_a_source_is_that_of_two_rows(profile, source):
    made = STUDY.rows(STUDY.Parameters(profile=profile, data=source))
    trials = [trial for row in made for trial in STUDY.trials_of(row)]
    assert len({trial.key for trial in trials}) == len(trials)
    assert len({row.name for row in made}) == len(made)


@pytest.mark.parametrize(("id", "effect"), [
    ("system", 9.26), ("conv-lstm", 1.03), ("linear-ce", 3.51), ("zoom", 3.72), ("zoom-inner", 7.93),
    ("smoothing", -0.29), ("tracker-skin", -2.36),
])  # fmt: skip
def test_published_effects_are_differences_of_the_papers_cells(id, effect):
    [claim] = [claim for claim in STUDY.registered_claims if claim.id == id]
    assert claim.published_effect == pytest.approx(effect)


def test_no_claim_on_talking_faces_rests_on_the_tracker_that_labels_them():
    for claim in STUDY.registered_claims:
        if claim.kind != "question" and r.TRACKER in (claim.a, claim.b):
            assert "public" not in claim.data


def test_rows_that_claims_compare_get_the_same_care():
    found = rows("cpu", "public")
    losses = (r.CROSS_ENTROPY, r.IOU, r.HINGE, r.LINEAR_MARGIN, r.LINEAR, r.DICE, r.LOVASZ)
    assert {replace(found[name].config.training, lr=1e-4) for name in losses} == {r.FROZEN_TRAINING["cpu"]}
    assert {found[name].config.layer for name in losses} == {r.LAYERS[r.CHOSEN]}
    assert set(losses) <= set(r.TUNED["public"]) <= set(found)


def test_a_tuned_learning_rate_is_the_best_of_those_tried():
    logged = tuning.read(STUDY)
    for name in {t.row for t in logged if (t.data, t.profile) == ("public", "cpu")}:
        best = tries.best(logged, data="public", profile="cpu", row=name)
        assert rows("cpu", "public")[name].config.training.lr == best, name


def test_start_bound_and_scale_are_crossed_under_two_losses():
    found = rows("cpu", "public")
    grid = {(loss, layer): found[r.grid_row(loss, layer)].config for loss in r.GRID_LOSSES for layer in r.LAYERS}
    assert len(grid) == 16
    for (loss, layer), config in grid.items():
        assert (config.loss, config.layer, config.gamma) == (loss, r.LAYERS[layer], 0.0)
    assert r.LAYERS[r.KERAS].bound == 1  # a classifier's scores need more room
    assert r.LAYERS[r.BOUNDED].bound > 5


def test_only_smoke_runs_start_from_random_weights():
    for row in rows("cpu", "public").values():
        assert row.config.pretrained == (row.config.stage not in ("sizes", "mean mask", "tracker"))
    assert not any(row.config.pretrained for row in rows().values())


def test_gamma_is_a_share_of_the_papers_rate_whatever_the_layers_own():
    config = rows("cpu", "public")[r.PRIMARY].config
    for lr in (1e-5, 1e-3):
        changed = replace(config, training=replace(config.training, lr=lr))
        assert lr * experiment._share(changed) == pytest.approx(0.05 * 1e-3)


# --- what trials share -----------------------------------------------------------------------------------


def test_a_system_is_made_of_networks_that_other_rows_train_too():
    found = rows("cpu", "public")
    system = found[r.COMBINED].config
    assert layer_spec(primary_of(system)) == layer_spec(found[r.PRIMARY].config)
    for region in r.REGIONS:
        part = part_of(system, region)
        assert layer_spec(part) == layer_spec(found[r.zoomed(region, r.ZOOM_GAMMA)].config)
        assert fcn_spec(part) == fcn_spec(found[r.zoomed(region, None)].config)
        assert fcn_spec(part_of(found[r.FCN_ZOOM].config, region)) == fcn_spec(found[r.zoomed(region, None)].config)
    assert primary_of(found[r.FCN_ZOOM].config).stage == "fcn"


def test_what_comes_after_training_does_not_change_what_is_trained():
    found = rows("cpu", "public")
    assert fcn_spec(found[r.SMOOTHED].config) == fcn_spec(found[r.FCN].config) == fcn_spec(found[r.LINEAR].config)
    assert layer_spec(found[r.PRIMARY_STILL].config) == layer_spec(found[r.PRIMARY].config)
    assert layer_spec(found[r.LINEAR_ALONE].config) != layer_spec(found[r.LINEAR].config)


def test_networks_with_one_name_in_networks_csv_cost_the_same():
    found = planning.read_networks(STUDY)
    for profile, source in (("cpu", "public"), ("smoke", "synthetic"), ("gpu", "public"), ("cpu", "paper")):
        for row in rows(profile, source).values():
            for work in STUDY.work(row.config):
                assert work.network in found, "run `python -m reprolib.planning`"


@pytest.mark.parametrize("name", [r.FCN, r.LINEAR, r.LINEAR_CLASSIFIER, r.PRIMARY])
def test_the_workload_of_plan_trains_on_frames(name):
    work = STUDY.work(rows()[name].config)[-1]
    load = experiment.workload(work, images=2 * STEPS)
    batch = load.prepare(load.data)
    value = load.loss(load.network(batch["images"]), batch)
    value.backward()
    assert value.isfinite()
    assert load.network.eval()(batch["images"][:1]).shape[:2] == (1, 5)  # a frame alone, as in prediction


# --- losses ----------------------------------------------------------------------------------------------


def test_the_loss_of_cells_is_that_of_every_fourth_pixel():
    torch.manual_seed(0)
    config = rows()[r.LINEAR].config
    cells, labels = torch.randn(2, 5, 5, 4, 4), torch.randint(0, 5, (2, 5, 64, 64))
    at_stride = {"labels": batches.at_loss_stride(labels)}
    pixels = upsample_tf1(cells.flatten(0, 1), STRIDE).unflatten(0, (2, 5))
    loss = batches.loss_of(config)
    torch.testing.assert_close(loss(cells, at_stride), loss(pixels, at_stride))


@pytest.mark.parametrize("name", list(batches.LOSSES))
def test_every_loss_teaches_one_batch(name):
    """Not that its value falls: the weights of Eq. 7 grow with the overlap."""
    torch.manual_seed(0)
    loss = batches.loss_of(replace(rows()[r.LINEAR].config, loss=name))
    truth = torch.randint(0, 5, (2, 3, 2, 2))  # two clips of three frames, one class for each cell
    labels = {"labels": truth.repeat_interleave(4, -1).repeat_interleave(4, -2)}
    cells = (0.1 * torch.randn(2, 3, 5, 2, 2)).requires_grad_()
    optimiser = torch.optim.Adam([cells], lr=0.1)
    before = (cells.argmax(2) == truth).float().mean()
    for _ in range(60):
        optimiser.zero_grad()
        loss(10 * torch.tanh(cells / 10), labels).backward()
        optimiser.step()
    assert before < 0.4
    assert (cells.argmax(2) == truth).float().mean() > 0.8


# --- one trial -------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification(tmp_path, small_run):
    store, _, records = small_run
    record = records[r.PRIMARY]
    [again] = run([record.trial], STUDY.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)
    assert again.metrics == record.metrics
    assert again.curves == record.curves
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    store, _, records = small_run
    for name, record in records.items():
        if name == r.SIZES_OF_LAYERS:
            continue
        arrays = store.arrays(record)
        assert record.metrics["miou"] == pytest.approx(float(mask_metrics(arrays["confusion"].sum(0))["miou"]))
        assert len(arrays["confusion"]) == len(arrays["units"])
        assert record.metrics["validation"] >= 0


def test_a_record_says_where_training_ended_and_whose_the_test_frames_are(small_run):
    store, _, records = small_run
    record = records[r.COMBINED]
    assert record.stopped["ceiling"] == record.trial.params["training"]["epochs"]
    assert record.units == {"person": len(np.unique(store.arrays(record)["units"]))}
    assert set(records[r.STILLS_FCN].units) == {"photo"}
    assert {"fcn_loss", "layer_loss", "eyes_fcn_loss", "mouth_layer_validation"} <= set(record.curves)


def test_at_the_start_at_the_classifier_a_row_is_its_baseline(small_run):
    _, context, _ = small_run
    config = rows()[r.LINEAR].config
    network = experiment._fcn(config, 0, context)[0].eval()
    model = experiment.convert(config, network).eval()
    clips = torch.rand(2, STEPS, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = network(clips.flatten(0, 1)).unflatten(0, (2, STEPS))
        torch.testing.assert_close(model(clips), expected, rtol=1e-5, atol=1e-5)


def test_frozen_layers_do_not_move_and_the_new_one_does(small_run):
    _, context, _ = small_run
    for name in (r.LINEAR, r.LINEAR_CLASSIFIER):
        config = rows()[name].config
        baseline = experiment._fcn(config, 0, context)[0]
        trained = experiment._trained(config, 0, context)[0]
        for key, value in baseline.encoder.state_dict().items():
            torch.testing.assert_close(trained.network.encoder.state_dict()[key], value, rtol=0, atol=0)
        torch.manual_seed(0)
        start = experiment.convert(config, baseline).conv_lstm
        assert any(not torch.equal(a, b) for a, b in
                   zip(start.parameters(), trained.conv_lstm.parameters(), strict=True))  # fmt: skip


def test_in_the_primary_model_all_layers_learn(small_run):
    _, context, _ = small_run
    config = rows()[r.PRIMARY].config
    before = dict(experiment._fcn(config, 0, context)[0].named_parameters())
    trained = experiment._trained(config, 0, context)[0]
    assert any(not torch.equal(after, before[name]) for name, after in trained.network.named_parameters())


def test_kept_features_are_those_of_the_network(small_run):
    _, context, _ = small_run
    config = rows()[r.FCN].config
    network = experiment._fcn(config, 0, context)[0]
    clips = data.examples(config.source, "face", None).validation
    features = masks.features_of(network, clips)
    assert features.shape == (len(clips), STEPS, 320, 4, 4) and features.dtype == np.float16
    images = batches.prepare({"images": channels_first(clips.images[0])})["images"]
    with torch.no_grad():
        expected = network.features(images)
    torch.testing.assert_close(torch.from_numpy(np.array(features[0])).float(), expected, rtol=2e-3, atol=2e-3)


def test_still_frames_take_as_many_steps_and_see_one_frame():
    torch.manual_seed(0)
    config = replace(rows()[r.LINEAR].config, layer=r.LAYERS[r.KERAS])
    model = experiment.convert(config, experiment.build(config)).eval()
    features = np.random.default_rng(0).normal(size=(STEPS, 320, 4, 4)).astype(np.float16)
    still = masks.scores_of(model, features, replace(config, still=True))
    unmoved = masks.scores_of(model, np.repeat(features[3:4], STEPS, axis=0), config)
    torch.testing.assert_close(still[3], unmoved[3])
    assert not torch.allclose(still[3], masks.scores_of(model, features, config)[3])


def test_gains_over_time_are_differences_of_two_records(small_run):
    store, _, records = small_run
    ours, baseline = (store.arrays(records[name])["over_time"] for name in (r.CROSS_ENTROPY, r.FCN))
    gains = [records[r.CROSS_ENTROPY].metrics[f"gain_t{t}"] for t in range(1, STEPS + 1)]
    np.testing.assert_allclose(gains, (ours - baseline).mean(0), atol=0.5)  # features are kept in half precision


def test_records_say_what_of_the_layer_is_flat(small_run):
    _, _, records = small_run
    found = {name for name in records[r.LINEAR].metrics if name.startswith("flat_")}
    assert found == {f"flat_{kind}_{part}" for kind in ("gates", "candidates") for part in r.PARTS}
    assert not any(name.startswith("flat_") for name in records[r.PRIMARY].metrics)


def test_the_sizes_of_table_1_are_measured(small_run):
    _, _, records = small_run
    metrics = records[r.SIZES_OF_LAYERS].metrics
    assert [metrics[f"side_{block}"] for block in r.BLOCKS] == [160, 79, 40, 20, 20, 20, 320]


# --- clips and crops -------------------------------------------------------------------------------------


def test_nobody_is_in_two_of_the_three_sets():
    sets = data.sets_of(rows()[r.FCN].config.source, None)
    people = [set(clips.subjects) for clips in sets]
    assert all(people)
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


def test_networks_see_less_than_is_kept_and_masks_are_scored_at_the_frames_size():
    source = rows()[r.FCN].config.source
    train, validation, test = data.examples(source, "face", None)
    assert train.images.shape[2:] == (64, 64, 3) and train.labels.shape[2:] == (64, 64)
    assert validation.labels.shape[2:] == test.labels.shape[2:] == (96, 96)


def test_a_region_box_holds_the_region_of_all_frames():
    labels = np.full((2, 40, 60), SKIN, np.uint8)
    labels[0, 10:14, 20:30] = EYES
    labels[1, 12:16, 24:34] = EYES
    x, y, side = data.region_box(labels, "eyes")
    assert side == round(1.6 * 13 + 1)
    assert x <= 20 and x + side >= 34 and y <= 10 and y + side >= 16
    assert x + side / 2 == pytest.approx(27, abs=1) and y + side / 2 == pytest.approx(13, abs=1)
    assert data.region_box(labels, "mouth") is None


def test_crops_show_what_is_in_the_box_at_another_size():
    labels = np.zeros((1, 32, 32), np.uint8)
    labels[0, 8:16, 8:16] = OUTER_MOUTH
    labels[0, 10:12, 10:12] = INNER_MOUTH
    images = np.repeat(labels[..., None], 3, -1) * 40
    np.testing.assert_array_equal(data.crops(images, (8, 8, 8), 8), images[:, 8:16, 8:16])
    found = data.crop_labels(labels, "mouth", (8, 8, 8), 16)[0]
    assert (found[4:8, 4:8] == 2).all()
    assert (found == 2).sum() == 16
    assert (found == 1).sum() == 240
    assert not data.crop_labels(labels, "mouth", (-4, -4, 8), 8)[0].any()


@pytest.mark.parametrize("region", r.REGIONS)
def test_crops_have_the_classes_of_their_model(region):
    source = rows()[r.FCN].config.source
    train, _, test = data.examples(source, region, None)
    assert train.images.shape[1:] == (STEPS, 64, 64, 3)
    assert train.labels.max() == len(test.classes) - 1 == len(configuration.CLASSES[region]) - 1


def clip_set(subjects: tuple[str, ...]) -> ClipSet:
    count = len(subjects)
    images = np.arange(count, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 1, 4, 4, 3), np.uint8)
    return ClipSet(images, images[..., 0], np.zeros((count, 1, 68, 2), np.float32), CLASSES,
                   tuple(map(str, range(count))), subjects, (1,) * count)  # fmt: skip


def test_frames_of_presenters_and_of_300vw_are_never_kept_for_figures():
    clips = clip_set(("speaker-01", "grid-s1", "114", "speaker-02", "grid-s1", "afw/123", "person-3"))
    assert data.shown_clips(clips) == [1, 4, 5, 6]
    assert data.shown_clips(clip_set(("speaker-01", "114"))) == []


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
@pytest.mark.parametrize("name", [r.FCN, r.STILLS_FCN])
def test_real_data_without_their_folder_are_refused_before_training(name, data_root):
    with pytest.raises(UserError, match="data_root"):
        data.sets_of(rows("cpu", "public")[name].config.source, data_root)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="landmarks300w, talkingfaces, grid_s1, 300vw"):
        STUDY.check_data(tmp_path)


# --- masks -----------------------------------------------------------------------------------------------


def test_smoothing_keeps_what_does_not_change_and_weighs_neighbours_as_the_paper_does():
    still = torch.rand(1, 5, 2, 2).expand(7, 5, 2, 2)
    torch.testing.assert_close(masks.smoothed(still), still)
    flash = torch.zeros(7, 1, 1, 1)
    flash[3] = 1
    expected = torch.tensor([0, 0.00257, 0.16552, 0.66382, 0.16552, 0.00257, 0])
    torch.testing.assert_close(masks.smoothed(flash).flatten()[2:5], expected[2:5], atol=1e-3, rtol=0)
    assert masks.smoothed(flash).flatten()[0] == 0


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

    combined = masks.zoom_in(frames, first, {"eyes": eye, "mouth": mouth})
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
    combined = masks.zoom_in(np.zeros((1, 32, 32, 3), np.uint8), first, {"eyes": None, "mouth": None})
    np.testing.assert_array_equal(combined, first)


def test_the_mean_mask_is_what_most_training_frames_have():
    clips = clip_set(("a", "b", "c"))
    labels = np.zeros((3, 1, 4, 4), np.uint8)
    labels[:2, :, 1:3], labels[2] = SKIN, EYES
    found = masks.mean_mask(replace(clips, labels=labels))(clips)
    np.testing.assert_array_equal(found, np.repeat(labels[:1], 3, axis=0))


# --- scores, tables, figures -----------------------------------------------------------------------------


def test_the_mean_iou_leaves_out_the_background_and_classes_that_are_nowhere():
    confusion = np.diag([50, 20, 0, 6, 0])
    confusion[1, 3] = 4
    scores = mask_metrics(confusion)
    assert scores["miou"] == pytest.approx(100 * (20 / 24 + 6 / 10) / 2)
    assert np.isnan(scores["iou_eyes"]) and scores["iou_background"] == 100


def test_later_frames_are_compared_with_the_first_of_their_clip():
    perfect = np.diag([4, 4, 4, 4, 4])
    half = np.diag([4, 2, 2, 2, 2]) + np.eye(5, k=-1, dtype=int) * [2, 2, 2, 2, 0]
    frames = over_time(np.stack([half, *[perfect] * 4] * 2))
    assert frames.shape == (2, STEPS)
    gain = 100 - float(mask_metrics(half)["miou"])
    assert SCORES["later"].statistic(frames.mean(0)) == pytest.approx(gain)


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    store, _, _ = small_run
    tables = STUDY.tables(SMOKE, store)
    table = tables["table 9"]
    assert set(published_from(PUBLISHED, "9").index) <= set(table.index)
    assert table.loc["FCN-ResNet50 + cross-entropy", ("mIoU", "paper")] == "54.50"
    assert table.loc["ConvLSTM-FCN (freezing other layers) + IoU loss", ("mIoU", "ours")] == "not done"
    assert float(table.loc["Primary model + segmentation loss", ("mIoU", "ours")].split(" ")[0]) >= 0
    assert tables["table 1"].loc["Conv2_x", ("output side", "ours")] == "79"
    assert tables["table 2"].loc["FCN-VGG16", ("mIoU", "ours")] == "—"  # quoted


def test_claims_without_records_are_not_tested(tmp_path):
    judged = Results(STUDY, RunStore(tmp_path)).judged(SMOKE)
    assert judged and {one.verdict for one in judged} == {"not tested"}


def test_an_untrained_baseline_has_not_learned(small_run):
    store, _, _ = small_run
    judged = {one.claim.id: one for one in Results(STUDY, store).judged(SMOKE)}
    assert judged["system"].effect is not None
    assert judged["system"].verdict == "not tested" and judged["system"].learned is False
    assert judged["later-frames"].effect is not None


def test_the_parts_of_the_gain_add_up(small_run):
    store, _, _ = small_run
    results = Results(STUDY, store)
    table = figures.parts_of_the_gain(results, SMOKE)["ours"]
    chain = [float(text.split(" ")[0].replace("−", "-")) for text in table.iloc[:5]]
    assert sum(chain[:4]) == pytest.approx(chain[4], abs=0.05)
    assert "of 2 people" in figures.better_people(results, SMOKE)
    first = figures.worse_from_the_start(results, SMOKE)
    assert first.startswith("Best after their first epoch")  # smoke runs have one epoch
    assert r.LINEAR in first and r.MEAN_MASK not in first


def test_checkable_numbers_of_the_paper_and_the_base_code_are_met():
    facts = STUDY.fidelity()
    assert len(facts) == 13 and all(fact.equal for fact in facts)
    assert {fact.source for fact in facts} == {"paper", "release", "arithmetic"}


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    store, _, _ = small_run
    drawn = figures.drawn(Results(STUDY, store), SMOKE)
    assert set(drawn) == {"figure 2", "figure 3", "figure 4", "figure 5", "figure 6", "table 4", "table 5"}


def test_figure_1_shows_the_papers_shapes():
    texts = [text.get_text() for ax in figures.conversion().axes for text in ax.texts]
    assert "10 × 5 × 320 × 320" in texts and "2 × 5 × 5 × 20 × 20" in texts
