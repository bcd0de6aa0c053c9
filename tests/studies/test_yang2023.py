from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reprolib import metrics, planning, studies
from reprolib.datasets import celebamask
from reprolib.datasets.faces import FaceSet
from reprolib.errors import UserError
from reprolib.lip_checkpoints import load_model
from reprolib.losses.lip_loss import ce_dice_loss, lip_loss
from reprolib.models.encoders import build_encoder
from reprolib.models.lip_inference import expecting
from reprolib.report import published_from
from reprolib.results import Results
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.yang2023 import config as configuration
from reprolib.studies.yang2023 import data, experiment, figures
from reprolib.studies.yang2023 import rows as r
from reprolib.studies.yang2023.scores import lip_metrics
from reprolib.studies.yang2023.work import MOUTHS
from reprolib.trial import Context

STUDY = studies.load("yang2023")
SMOKE = STUDY.Parameters(profile="smoke", data="synthetic")
PUBLISHED = STUDY.folder / "yang2023" / "published.csv"
LEARNED = (r.BASELINE, r.PROPOSED, r.UNET)


def rows(profile: str = "smoke", dataset: str = "synthetic") -> dict:
    return {row.name: row for row in STUDY.rows(STUDY.Parameters(profile=profile, data=dataset))}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Smoke trials of the mean mask, the baseline, the proposed network and a Unet: the rows of Figures 5 and 11."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    trials = studies.needed(STUDY, SMOKE, [r.MEAN_MASK, *LEARNED])
    records = run(trials, STUDY.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return store, context, {(record.trial.name, record.trial.seed): record for record in records}


# --- rows and claims -------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_has_rows_or_needs_none():
    places = {place for row in rows("cpu", "public").values() for place in row.places}
    paper = {f"table {n}" for n in range(1, 7)} | {f"figure {n}" for n in range(1, 12)}
    assert paper <= places | set(STUDY.without_rows)
    assert {table.place for table in STUDY.declared_tables} <= places


def test_every_row_that_the_paper_prints_is_trained_or_says_why_not():
    for table in STUDY.declared_tables:
        number = table.place.removeprefix("table ")
        if number in "123456":
            printed = set(published_from(PUBLISHED, number).index)
            lines = set(table.lines or {}) | set(rows("cpu", "public"))
            assert printed <= lines | set(r.QUOTED), table.place


def test_no_trial_of_a_source_is_that_of_two_rows():
    for profile in ("smoke", "cpu", "gpu"):
        for source in ("synthetic", "public", "paper"):
            trials = [t for row in rows(profile, source).values() for t in STUDY.trials_of(row)]
            assert len({trial.key for trial in trials}) == len(trials)


def test_the_headline_claim_is_the_papers_difference_of_table_2():
    [claim] = [claim for claim in STUDY.registered_claims if claim.id == "both"]
    assert claim.published_effect == pytest.approx(7.94)


def test_rows_that_claims_compare_get_the_same_training():
    judged = {n for claim in STUDY.registered_claims if claim.kind != "question" for n in (claim.a, claim.b)}
    found = rows("cpu", "public")
    assert {replace(found[name].config.training, lr=1e-3) for name in judged} == {r.TRAINING["cpu"]}


def test_rows_that_carry_claims_are_tuned_or_follow_one_that_is():
    assert set(r.RATE_OF.values()) <= set(r.TUNED["public"])
    assert set(r.TUNED["public"]) <= set(rows("cpu", "public"))


def test_kernels_and_nodes_keep_the_papers_proportions():
    assert r.kernels_of("resnet34") == r.nodes_of(128, 256) == (16, 32, 64)
    assert r.kernels_of("resnet34", 8) == (8, 16, 32)
    for encoder in r.CHANNELS:
        assert r.kernels_of(encoder) == tuple(c // 4 for c in r.CHANNELS[encoder])
    assert r.nodes_of(64, 128) == (4, 8, 16)  # a quarter of the pixels
    assert r.nodes_of(64, 128, 32) == (8, 16, 32)


@pytest.mark.parametrize("encoder", r.CHANNELS)
def test_the_encoders_have_the_channels_by_which_kernels_are_counted(encoder):
    with torch.device("meta"):
        assert build_encoder(encoder).channels[:3] == r.CHANNELS[encoder]


def test_only_smoke_runs_start_from_random_weights():
    for name, row in rows("cpu", "public").items():
        random = {r.MEAN_MASK, r.RANDOM, r.SHUFFLENET, r.SQUEEZENET, r.RESNET_18, r.RESNET_34}
        assert row.config.pretrained == (name not in random)
    assert not any(row.config.pretrained for row in rows().values())


# --- networks and losses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in rows() if name != r.MEAN_MASK])
def test_every_network_learns_from_one_batch(name):
    torch.manual_seed(0)
    config = rows()[name].config
    model = experiment.build(config).train()
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    value = experiment.loss_of(config)(model(images), {"labels": labels})
    value.backward()
    assert value.isfinite()
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)


def test_the_loss_unpacks_what_the_network_packs():
    torch.manual_seed(0)
    config = rows()[r.PROPOSED].config
    heads = [torch.randn(2, channels, 4, 4) for channels in (5, 1, 5)]
    labels = torch.randint(0, 5, (2, 4, 4))
    loss = experiment.loss_of(config)
    torch.testing.assert_close(loss(torch.cat(heads, 1), {"labels": labels}), lip_loss(*heads, labels))
    torch.testing.assert_close(loss(heads[0], {"labels": labels}), ce_dice_loss(heads[0], labels))


def test_mean_dice_weighs_less_than_the_sum():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 5, 4, 4), torch.randint(0, 5, (2, 4, 4))
    by_sum, by_mean = (experiment.loss_of(rows()[n].config)(scores, {"labels": labels})
                       for n in (r.PROPOSED, r.MEAN_DICE))  # fmt: skip
    assert by_sum > by_mean


@pytest.mark.parametrize("name", [r.PROPOSED, r.UNET, r.LSFCNN])
def test_the_workload_of_plan_is_the_network_that_is_trained(name):
    config = rows()[name].config
    [work] = STUDY.work(config)
    load = experiment.workload(work, images=2)
    assert load.data["images"].shape == (2, 3, config.height, config.width)
    expected = {key: value.shape for key, value in experiment.build(config).state_dict().items()}
    assert {key: value.shape for key, value in load.network.state_dict().items()} == expected


def test_networks_with_one_name_in_networks_csv_cost_the_same():
    found = planning.read_networks(STUDY)
    for profile, source in (("cpu", "public"), ("smoke", "synthetic"), ("gpu", "public")):
        for row in rows(profile, source).values():
            for work in STUDY.work(row.config):
                assert work.network in found, "run `python -m reprolib.planning`"


# --- one trial -------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification(tmp_path, small_run):
    store, _, records = small_run
    record = records[r.PROPOSED, 0]
    again = run([record.trial], STUDY.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)[0]
    assert again.metrics == record.metrics
    assert again.curves == record.curves
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    store, _, records = small_run
    for record in records.values():
        confusion = store.arrays(record)["confusion"]
        assert confusion.shape == (record.trial.params["test_mouths"], 5, 5)
        assert record.metrics["pa"] == pytest.approx(100 * np.trace(confusion.sum(0)) / confusion.sum())
        assert record.metrics["validation"] >= 0


def test_a_record_says_where_training_ended_and_whose_the_test_mouths_are(small_run):
    store, _, records = small_run
    record = records[r.PROPOSED, 0]
    assert record.stopped["ceiling"] == record.trial.params["training"]["epochs"]
    assert record.units == {"person": len(np.unique(store.arrays(record)["units"]))}


def test_open_mouths_are_counted_apart(small_run):
    store, _, records = small_run
    arrays = store.arrays(records[r.BASELINE, 0])
    opened = data.is_open(data.mouths_of(rows()[r.BASELINE].config, None).test.labels)
    np.testing.assert_array_equal(arrays["confusion_open"][opened], arrays["confusion"][opened])
    assert not arrays["confusion_open"][~opened].any()


def test_records_say_what_the_modules_do(small_run):
    _, _, records = small_run
    inside = {"gain_sampling", "loss_without_flm", "loss_without_fgr", "reach_4", "nodes_used_16"}
    assert inside <= set(records[r.PROPOSED, 0].metrics)
    assert not inside & set(records[r.BASELINE, 0].metrics)


def test_averages_over_sizes_are_measured_only_where_they_are_asked(small_run):
    _, _, records = small_run
    for name in LEARNED:
        asked = bool(rows()[name].config.scales)
        assert ("miou_multiscale" in records[name, 0].metrics) == asked


def test_at_severity_0_no_hard_case_changes_a_mouth(small_run):
    store, _, records = small_run
    hard = store.arrays(records[r.UNET, 0])["confusion_hard"]  # (cases, severities, mouths, 5, 5)
    assert (hard[:, 0] == hard[:1, 0]).all()
    assert (hard[:, 4] != hard[:, 0]).any()


def test_the_proposed_network_is_kept_for_the_lips_command(small_run):
    _, context, records = small_run
    config = rows()[r.PROPOSED].config
    model = load_model(experiment.checkpoint_path(config, 0, context.results))
    assert model.size == (config.height, config.width)
    test = data.mouths_of(config, None).test
    with expecting(model.network):
        found = experiment.finder(model.network)(test.images)
    score = 100 * float(metrics.mean_iou(metrics.confusion(found, test.labels, 5).sum(0)))
    record = records[r.PROPOSED, 0]
    expected = record.metrics["miou"] - record.metrics["gain_sampling"]
    assert score == pytest.approx(expected, abs=0.5)  # weights are kept in half precision


# --- data ------------------------------------------------------------------------------------------------


def test_no_rendered_speaker_is_in_two_sets():
    mouths = data.mouths_of(rows()[r.PROPOSED].config, None)
    people = [set(faces.persons) for faces in (mouths.train, mouths.validation, mouths.test)]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    most = max(data.RENDERED_TEST, *MOUTHS["facesynth"])
    assert most <= data.VALIDATION - data.TRAIN and most <= data.TEST - data.VALIDATION


def test_figure_9_shows_mouths_that_no_network_was_trained_on():
    config = rows()[r.PROPOSED].config
    faces, train = data.elsewhere(config, None), data.mouths_of(config, None).train
    assert set(np.unique(faces.labels)) == {0, 1}
    assert not any((image == other).all() for image in faces.images for other in train.images)


def celebamask_root(root: Path) -> Path:
    """The faces of the split, 64 px: a lip of 16 × 8 pixels, in every second face with an inside of 8 × 4."""
    folder = root / celebamask.INDEXED_FOLDER
    for inner in (celebamask.INDEXED_PICTURES, celebamask.INDEXED_MASKS):
        (folder / inner).mkdir(parents=True)
    names = [name for of_part in celebamask.split_names().values() for name in of_part]
    for index, name in enumerate(names):
        labels = np.ones((64, 64), np.uint8)
        labels[40:48, 24:40] = 11
        labels[44:48, 24:40] = 12
        if index % 2:
            labels[42:46, 28:36] = 10
        image = np.repeat((20 * labels)[..., None], 3, axis=2)
        picture, mask = celebamask.indexed_files(folder, name)
        Image.fromarray(image).save(picture)
        Image.fromarray(labels).save(mask)
    return root


def test_mouths_of_celebamask_are_cut_by_their_labels_into_three_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("reprolib.datasets.kept.CACHE", tmp_path / "cache")
    monkeypatch.setattr(celebamask, "split_names", lambda: {"train": ("a", "b", "c"), "validation": ("d",),
                                                            "test": ("e", "f")})  # fmt: skip
    config = replace(rows("cpu", "public")[r.PROPOSED].config, height=32, width=64)
    mouths = data.mouths_of(config, celebamask_root(tmp_path))
    assert [len(faces) for faces in (mouths.train, mouths.validation, mouths.test)] == [3, 1, 2]
    assert mouths.train.labels.shape == (3, 32, 64) and mouths.train.classes == ("background", "lip", "inner mouth")
    assert [bool(tags) for tags in mouths.train.tags] == [False, True, False]
    for label in mouths.train.labels:
        assert 0.4 < np.ptp(np.nonzero(label.any(0))[0]) / 64 < 0.8  # about `FILL` of the width


def test_a_crop_is_off_as_a_detector_would_be_and_depends_on_the_name_alone():
    labels = np.zeros((200, 300), np.uint8)
    labels[90:110, 130:170] = 1
    image = np.repeat(100 * labels[..., None], 3, axis=2)
    first, again, other = (data.crop(image, labels, (64, 128), name=name)[1] for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.any() and not first[0].any() and not first[-1].any()  # the mouth is inside


def test_a_mouth_at_the_edge_gets_background_beyond_it():
    labels = np.zeros((40, 60), np.uint8)
    labels[30:, 20:40] = 1
    _, cut = data.crop(np.zeros((40, 60, 3), np.uint8), labels, (32, 64), name="x")
    assert cut.shape == (32, 64) and not cut[-1].any()


def test_open_and_closed_mouths_are_taken_in_proportion():
    labels = np.ones((8, 10, 10), np.uint8)
    labels[:4, :5] = 2
    faces = data.tagged(FaceSet(np.zeros((8, 10, 10, 3), np.uint8), labels, ("a", "b", "c"), tuple("abcdefgh")))
    chosen = data.stratified(faces, 4)
    assert [bool(tags) for tags in chosen.tags] == [True, True, False, False]


def test_a_mouth_is_open_from_one_twentieth_on():
    labels = np.ones((2, 10, 10), np.uint8)
    labels[0, 0, :5], labels[1, 0, :4] = 2, 3
    assert data.is_open(labels).tolist() == [True, False]


def test_the_most_open_mouth_shows_teeth_tongue_and_cavity():
    labels = np.zeros((3, 2, 6), np.uint8)
    labels[0, 0, :5] = 2
    labels[1, 0, :3] = (2, 3, 4)
    labels[2, 0] = (2, 2, 2, 3, 3, 3)
    dark = np.zeros((3, 2, 6, 3), np.uint8)
    assert data.most_open(dark, labels) == 1
    lit = dark + np.array([9, 0, 9], np.uint8)[:, None, None, None]
    assert data.most_open(lit, labels) == 2  # not the one in the dark


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
def test_real_data_without_their_folder_are_refused_before_training(data_root):
    with pytest.raises(UserError, match="data_root"):
        data.mouths_of(rows("cpu", "public")[r.PROPOSED].config, data_root)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="celebamask, fasseg, flrseg"):
        STUDY.check_data(tmp_path)


# --- scores, tables, figures -----------------------------------------------------------------------------


def test_the_inside_of_the_mouth_is_one_class_whatever_its_parts():
    five = np.diag([50, 20, 5, 3, 2])
    five[2, 3] = 4  # teeth called tongue: still inside
    scores = lip_metrics(five)
    assert scores["iou_inner"] == pytest.approx(100)
    assert scores["iou_teeth"] == pytest.approx(100 * 5 / 9)
    three = np.diag([50, 20, 10])
    assert lip_metrics(three)["miou"] == lip_metrics(three)["iou_inner"] == pytest.approx(100)
    assert "iou_teeth" not in lip_metrics(three)


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    store, _, _ = small_run
    tables = STUDY.tables(SMOKE.model_copy(update={"tables": ["1", "2", "6"]}), store)
    table = tables["table 2"]
    assert table.loc[r.BASELINE, ("mIoU", "paper")] == "66.95"
    assert float(table.loc[r.BASELINE, ("mIoU", "ours")].split(" ")[0]) > 0
    assert table.loc[r.GRAPH, ("mIoU", "ours")] == "not done"
    ours = [
        table.loc[r.PROPOSED, ("mIoU", "ours")].split(" ")[0],
        tables["table 1"].loc[r.grid_row(16, 16), ("mIoU", "ours")].split(" ")[0],
        tables["table 6"].loc[r.MOBILENET, ("mIoU", "ours")].split(" ")[0],
    ]
    assert {round(float(value), 1) for value in ours} == {float(ours[2])}  # one record under three names
    assert tables["table 1"].loc[r.grid_row(8, 8), ("mIoU", "ours")] == "—"  # quoted


def test_an_effect_is_the_difference_of_the_two_rows(small_run):
    store, _, records = small_run
    [claim] = [claim for claim in STUDY.registered_claims if claim.id == "both"]
    effect = Results(STUDY, store).effect(SMOKE, claim)
    ours = [records[r.PROPOSED, seed].metrics["miou"] - records[r.BASELINE, seed].metrics["miou"] for seed in (0, 1)]
    assert effect.point == pytest.approx(np.mean(ours), abs=0.5)  # means of seeds, and seeds of means
    assert effect.low <= effect.point <= effect.high


def test_claims_without_records_are_not_tested(tmp_path):
    judged = Results(STUDY, RunStore(tmp_path)).judged(SMOKE)
    assert judged and {one.verdict for one in judged} == {"not tested"}


def test_an_untrained_baseline_has_not_learned(small_run):
    store, _, _ = small_run
    judged = {one.claim.id: one for one in Results(STUDY, store).judged(SMOKE)}
    assert judged["both"].verdict == "not tested" and judged["both"].reason


def test_counts_that_were_fitted_are_no_facts_and_readings_of_ours_are_marked():
    facts = {fact.quantity: fact for fact in STUDY.fidelity()}
    assert not any(name in quantity for quantity in facts for name in (r.GLORE, r.DUALSEG, r.SPYGR))
    assert {f.source for q, f in facts.items() if "twice" in q} == {"arithmetic"}
    params, macs = r.COUNTS
    once = [r.MOBILENET, r.SQUEEZENET, r.SHUFFLENET]
    assert {quantity for quantity, fact in facts.items() if not fact.equal} == {
        f"Table 2, {r.GRAPH}, {macs}",
        *(f"Table 6, {encoder}, {count}" for encoder in once for count in (params, macs)),
        f"Table 6, {r.SQUEEZENET}, encoder counted twice, {macs}",
    }


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    store, _, _ = small_run
    drawn = figures.drawn(Results(STUDY, store), SMOKE)
    assert set(drawn) == {"figure 1", "figure 5", "figure 9", "figure 10", "figure 11a", "figure 11b"}


def test_figures_of_three_classes_have_colours():
    for classes in configuration.CLASSES.values():
        assert len(figures.figures.part_colours(classes)) == len(classes)


def test_canny_edges_are_found_in_the_dark():
    label = np.zeros((1, 32, 64), np.uint8)
    label[:, 10:20, 20:40] = np.arange(20) % 4 + 1
    image = np.where(label[..., None] > 0, 12, 4).astype(np.uint8).repeat(3, -1)
    kept = {"example_images": image, "example_labels": label}
    figure = figures._colours_and_edges(kept, configuration.CLASSES["facesynth"])
    edges = figure.axes[2].images[0].get_array()
    assert (edges == 0).any()


def test_figure_2_shows_the_papers_sizes():
    texts = [text.get_text() for text in figures.network().axes[0].texts]
    assert "fuzzy learning\n128×16×32\n0.15M" in texts
    assert sum("encoder\n" in text for text in texts) == 4


def test_figure_3_rebuilds_a_feature_from_its_best_kernel():
    best = figures.fuzzy_learning().axes[3].lines[0]
    x, y = best.get_data()
    assert y[np.abs(x + 1.5).argmin()] == pytest.approx(-1.5, abs=0.01)  # at the mean of kernel 1
