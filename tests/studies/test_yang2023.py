from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reprolib import metrics, studies
from reprolib.errors import UserError
from reprolib.losses.lip_loss import lip_loss, segmentation_loss
from reprolib.report import published
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.yang2023 import data, networks, pictures, plan, results, settings, systems
from reprolib.studies.yang2023.checkpoint import load_model
from reprolib.studies.yang2023.plan import trials
from reprolib.studies.yang2023.systems import checkpoint_path
from reprolib.training import predict
from reprolib.trial import Context

study = studies.load("yang2023")
SMOKE = settings.Parameters()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The trials of Figures 9 and 11, one seed, in the smoke profile: the proposed network, its baseline and a Unet."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    parameters = settings.Parameters(seeds=1, tables=["figure 9", "figure 11"])
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return parameters, store, context, records


# --- the plan --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert {f"table {n}" for n in range(1, 7)} | {f"figure {n}" for n in range(1, 12)} <= set(trials(SMOKE))


def test_every_row_that_the_paper_prints_is_trained():
    rows = {name for t in "123456" for name in published("yang2023", t).index}
    assert {settings.SAME_AS.get(name, name) for name in rows} <= set(settings.SYSTEMS)
    assert set(settings.SYSTEMS.values()) == {None}


def test_every_system_has_trials_and_every_trial_is_a_system():
    assert {t.params["system"] for needed in trials(SMOKE).values() for t in needed} == set(settings.SYSTEMS)


def test_the_proposed_network_is_trained_once_for_all_tables():
    places = trials(settings.Parameters(seeds=1))
    keys = {t.key for needed in places.values() for t in needed if t.name == settings.PROPOSED}
    assert len(keys) == 1
    for place in ("table 1", "table 2", "table 5", "table 6", "extra A"):
        assert keys & {t.key for t in places[place]}, place


def test_profiles_data_and_seeds_change_every_key_and_names_do_not():
    [trial] = [t for t in trials(settings.Parameters(seeds=1))["table 2"] if t.name == settings.BASELINE]
    others = [
        trials(settings.Parameters(seeds=1, **more))["table 2"] for more in ({"profile": "cpu"}, {"data": "public"})
    ]
    assert trial.key not in {t.key for needed in others for t in needed}
    assert replace(trial, name="another name").key == trial.key
    assert replace(trial, seed=1).key != trial.key


def test_the_grid_follows_the_parameters():
    names = {t.name for t in trials(settings.Parameters(kernels=[4, 16], nodes=[16]))["table 1"]}
    assert names == {"kernels 4/8/16, nodes 16/32/64", settings.PROPOSED}


def test_only_the_tables_that_are_asked_for_are_planned():
    assert set(trials(settings.Parameters(tables=["3"]))) == {"table 3"}
    with pytest.raises(UserError, match="Unknown table 'tabel 3'; did you mean 'table 3'"):
        trials(settings.Parameters(tables=["tabel 3"]))


def test_a_trial_names_no_folder_of_this_machine():
    for needed in trials(settings.Parameters(data="public", data_root="/somewhere")).values():
        assert not any("/somewhere" in str(value) for t in needed for value in t.params.values())


# --- networks --------------------------------------------------------------------------------------------


def test_the_training_loop_sees_three_heads_as_one_map_and_the_test_the_first_alone():
    torch.manual_seed(0)
    model = networks.build(plan.ABLATION[settings.BASELINE] | {"quarter_width": True}).eval()
    images = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        heads = model.network(images)
        assert torch.equal(model(images), heads.logits)
        assert model.train()(images).shape == (2, 5 + 1 + 5, 32, 64)


def test_the_heads_quick_order_gives_the_auxiliary_logits_of_the_papers_order():
    torch.manual_seed(0)
    model = networks.build(plan.ABLATION[settings.BASELINE] | {"quarter_width": True}).eval()
    images = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        quick, slow = model.network(images), model.network.eval()(images)
    torch.testing.assert_close(quick.auxiliary_logits, slow.auxiliary_logits)


def test_the_loss_unpacks_what_the_network_packs():
    torch.manual_seed(0)
    segmentation, edge, auxiliary = (torch.randn(2, channels, 4, 4) for channels in (5, 1, 5))
    labels = torch.randint(0, 5, (2, 4, 4))
    packed = torch.cat([segmentation, edge, auxiliary], dim=1)
    torch.testing.assert_close(
        networks.loss(packed, {"labels": labels}), lip_loss(segmentation, edge, auxiliary, labels)
    )
    torch.testing.assert_close(networks.loss(segmentation, {"labels": labels}), segmentation_loss(segmentation, labels))


def test_multi_scale_inference_does_not_change_what_no_scale_and_no_mirror_changes():
    class ByBrightness(nn.Module):
        def forward(self, images):
            return torch.cat([images[:, :1], -images[:, :1]], dim=1)

    images = torch.full((2, 3, 64, 64), 0.3)
    averaged = networks.MultiScale(ByBrightness(), (0.5, 1.0, 1.5))(images)
    torch.testing.assert_close(averaged, ByBrightness()(images).softmax(1))


def test_multi_scale_inference_averages_a_picture_and_its_mirror_image():
    class LeftIsFirst(nn.Module):
        """Class 0 in the left half, whatever the picture."""

        def forward(self, images):
            left = torch.zeros(len(images), 2, *images.shape[2:])
            left[:, 0, :, : images.shape[3] // 2] = 50.0
            left[:, 1, :, images.shape[3] // 2 :] = 50.0
            return left

    p = networks.MultiScale(LeftIsFirst(), (1.0,))(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(p, torch.full((1, 2, 32, 32), 0.5))


def test_multi_scale_inference_hands_on_only_sizes_that_the_encoder_takes():
    seen = []

    class Noting(nn.Module):
        def forward(self, images):
            seen.append(tuple(images.shape[2:]))
            return images[:, :2]

    networks.MultiScale(Noting(), (0.5, 1.0, 1.5))(torch.zeros(1, 3, 32, 64))
    assert set(seen) == {(32, 32), (32, 64), (64, 96)}


def test_expectation_at_test_time_makes_predictions_repeatable_and_is_undone():
    torch.manual_seed(0)
    model = networks.build(plan.PROPOSED | {"quarter_width": True}).eval()
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad(), networks.expecting(model):
        assert torch.equal(model(images), model(images))
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("system", [s for s in settings.SYSTEMS if "four times" not in s])
def test_every_network_learns_from_one_batch(system):
    torch.manual_seed(0)
    spec = plan.PROPOSED if system == settings.CROSS else plan.specification(system)
    model = networks.build(spec | {"quarter_width": True}).train()
    images, labels = torch.randn(2, 3, 32, 64), torch.randint(0, 5, (2, 32, 64))
    value = networks.loss(model(images), {"labels": labels})
    value.backward()
    assert value.isfinite()
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)


def test_levelling_takes_what_the_fuzzy_parts_tell_and_nothing_else():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    models = {
        system: networks.build(plan.specification(system) | {"quarter_width": True, "sampling": "expectation"}).eval()
        for system in (settings.PROPOSED, settings.BASELINE)
    }
    for system, model in models.items():
        before = model(images)
        with networks.levelled(model):
            changed = not torch.allclose(model(images), before, atol=1e-6)
        assert changed == (system == settings.PROPOSED)
        torch.testing.assert_close(model(images), before)
    assert set(networks.best_membership(models[settings.PROPOSED], images)) == {4, 8, 16}
    assert networks.best_membership(models[settings.BASELINE], images) == {}


def test_records_say_what_the_fuzzy_parts_tell(small_run):
    _, store, _, records = small_run
    [record] = [r for r in records if r.trial.name == settings.PROPOSED]
    assert {"miou_levelled", "membership_4", "membership_8", "membership_16"} <= set(record.metrics)
    assert store.arrays(record)["confusion_levelled"].sum() == store.arrays(record)["confusion"].sum()


# --- one trial -------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification(tmp_path, small_run):
    _, store, _, records = small_run
    [record] = [r for r in records if r.trial.name == settings.PROPOSED]
    again = run([record.trial], study.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)[0]
    assert again.metrics == record.metrics
    assert again.curves == record.curves
    for name, values in store.arrays(record).items():
        np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[name], values)


def test_the_proposed_network_is_kept_for_the_lips_command(small_run):
    _, store, context, records = small_run
    [record] = [r for r in records if r.trial.name == settings.PROPOSED]
    model = load_model(checkpoint_path(record.trial, context.results))
    p = record.trial.params
    assert model.size == (p["height"], p["width"])
    test = data.test_mouths(p, None)
    with networks.expecting(model.network):
        found = predict(networks.MultiScale(model.network, p["scales"]), networks.inputs(test.images))
    counts = metrics.confusion(found, test.labels, len(settings.CLASSES))
    moved = np.abs(counts - store.arrays(record)["confusion_expectation"]).sum() / 2
    assert moved <= 0.005 * counts.sum()  # weights are kept in half precision


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    _, store, _, records = small_run
    for record in records:
        confusion = store.arrays(record)["confusion"]
        assert confusion.shape == (record.trial.params["test"], 5, 5)
        assert record.metrics["pa"] == pytest.approx(100 * np.trace(confusion.sum(0)) / confusion.sum())


def test_at_severity_0_no_hard_case_changes_a_mouth(small_run):
    _, store, _, records = small_run
    [record] = [r for r in records if r.trial.name == settings.BASELINE]
    hard = store.arrays(record)["confusion_hard"]  # (cases, severities, mouths, 5, 5)
    assert (hard[:, 0] == hard[:1, 0]).all()
    assert (hard[:, 4] != hard[:, 0]).any()


# --- data ------------------------------------------------------------------------------------------------


def test_no_synthetic_speaker_is_in_training_and_test():
    p = {**settings.SCALES["smoke"].__dict__, "trained_on": "synthetic", "tested_on": "synthetic", "train": 12}
    train, test = data.training_mouths(p, None), data.test_mouths(p, None)
    assert len(train) == 12
    assert not set(train.persons) & set(test.persons)
    for scale in settings.SCALES.values():
        assert scale.train <= data.TEST


def test_figure_9_shows_mouths_that_no_network_was_trained_on():
    [p] = [t.params for t in trials(settings.Parameters(seeds=1))["figure 9"]]
    assert (p["trained_on"], p["tested_on"]) == ("synthetic", data.ELSEWHERE)
    train, test = data.training_mouths(p, None), data.test_mouths(p, None)
    assert not set(train.names) & set(test.names)


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
def test_real_data_without_their_folder_are_refused_before_training(tmp_path, data_root):
    parameters = settings.Parameters(data="public", seeds=1, tables=["3"])
    context = Context(results=tmp_path, data_root=data_root)
    with pytest.raises(UserError, match="data_root"):
        run(studies.needed(study, parameters), study.execute, RunStore(tmp_path), context, progress=False)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected one of the folders talkingfaces, fasseg, flrseg"):
        study.check_data(tmp_path)


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    _, store, _, _ = small_run
    tables = study.tables(settings.Parameters(seeds=1, tables=["1", "2", "6"]), store)
    table = tables["table 2"]
    assert table.loc[settings.BASELINE, ("mIoU", "paper")] == "66.95"
    assert float(table.loc[settings.BASELINE, ("mIoU", "ours")]) > 0
    assert table.loc[settings.BASELINE, ("Params (M)", "ours")] == "27.67"
    assert table.loc[settings.GRAPH, ("mIoU", "ours")] == "not done"
    ours = [
        table.loc[settings.PROPOSED, ("mIoU", "ours")],
        tables["table 1"].loc["kernels 16/32/64, nodes 16/32/64", ("mIoU", "ours")],
        tables["table 6"].loc[settings.RESNET_34, ("mIoU", "ours")],
    ]
    assert {round(float(value), 1) for value in ours} == {float(ours[2])}  # one record under three names


def test_claims_without_records_are_not_tested(tmp_path):
    claims = study.claims(SMOKE, RunStore(tmp_path))
    assert len({claim.id for claim in claims}) == len(claims) == len(results.CLAIMS) + 2
    assert {claim.verdict for claim in claims} == {"not tested"}


def test_an_effect_is_the_difference_of_the_two_rows(small_run):
    parameters, store, _, records = small_run
    by_name = {r.trial.name: r for r in records}
    [claim] = [c for c in study.claims(parameters, store) if c.id == "both"]
    ours = by_name[settings.PROPOSED].metrics["miou"] - by_name[settings.BASELINE].metrics["miou"]
    assert claim.effect == pytest.approx(ours)
    assert claim.low <= claim.effect <= claim.high
    assert claim.published_effect == pytest.approx(7.94)


def test_the_published_effects_are_differences_of_published_cells():
    tables = {f"Table {t}": published("yang2023", t) for t in "123456"}
    columns = {"miou": "mIoU", "pa": "PA", "mpa": "mPA", "iou_teeth": "teeth", "iou_cavity": "cavity"}
    printed = {"Table 1": results.PRINTED_AS["1"], "Table 6": results.PRINTED_AS["6"]}
    for c in results.CLAIMS:
        rows = [printed.get(c.place, {}).get(row, row) for row in (c.a, c.b)]
        a, b = tables[c.place].loc[rows, columns[c.score]]
        assert c.effect == pytest.approx(a - b), c.id


def test_questions_compare_two_ways_of_predicting_with_one_network(small_run):
    parameters, store, _, records = small_run
    [record] = [r for r in records if r.trial.name == settings.PROPOSED]
    arrays = store.arrays(record)
    expected = 100 * (
        metrics.mean_iou(arrays["confusion"].sum(0)) - metrics.mean_iou(arrays["confusion_single"].sum(0))
    )
    answers = study.questions(parameters, store).iloc[:, 0]
    assert answers["What do scales and flips at test time give?"].startswith(f"{expected:+.2f}".replace("-", "−"))


def test_the_spread_of_the_grid_is_set_against_that_of_the_seeds(monkeypatch):
    scores = np.array([[1.0, 3.0], [5.0, 7.0]])  # two settings, two seeds
    names = [settings.grid_row(8, 16), settings.PROPOSED]

    class Measured:
        def __init__(self, miou):
            self.metrics = {"miou": miou}

    found = {name: [Measured(v) for v in row] for name, row in zip(names, scores, strict=True)}
    monkeypatch.setattr(results, "records_of", lambda parameters, store: found)
    spread = results.grid_spread(settings.Parameters(kernels=[8, 16], nodes=[16]), None).iloc[:, 0]
    assert spread["range of the means"] == "4.00"
    assert spread["…expected from the seeds alone"] == "1.00"  # √2 / √2


def test_fidelity_finds_every_count_but_nine():
    unequal = {fact.quantity for fact in study.fidelity() if not fact.equal}
    params, macs = results.COUNTS
    once = [settings.MOBILENET, settings.SQUEEZENET, settings.SHUFFLENET]
    assert unequal == {
        f"Table 2, {settings.GRAPH}, {macs}",
        f"Table 5, {settings.DUALSEG}, {macs}",
        *(f"Table 6, {encoder}, {count}" for encoder in once for count in (params, macs)),
        f"Table 6, {settings.SQUEEZENET} with the encoder counted twice, {macs}",
    }


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    parameters, store, _, _ = small_run
    expected = {"figure 1", "figure 5", "figure 9", "figure 10", "figure 11a", "figure 11b"}
    assert set(pictures.drawn(parameters, store)) == expected


def test_canny_edges_are_found_in_the_dark():
    label = np.zeros((1, 32, 64), np.uint8)
    label[:, 10:20, 20:40] = np.arange(20) % 4 + 1
    image = np.where(label[..., None] > 0, 12, 4).astype(np.uint8).repeat(3, -1)
    figure = pictures._colours_and_edges({"example_images": image, "example_labels": label})
    edges = figure.axes[2].images[0].get_array()
    assert (edges == 0).any()


def test_figure_2_shows_the_papers_sizes():
    texts = [text.get_text() for text in pictures.network().axes[0].texts]
    assert "fuzzy learning\n128×16×32\n0.15M" in texts
    assert sum("encoder\n" in text for text in texts) == 4


def test_figure_3_rebuilds_a_feature_from_its_best_kernel():
    best = pictures.fuzzy_learning().axes[3].lines[0]
    x, y = best.get_data()
    assert y[np.abs(x + 1.5).argmin()] == pytest.approx(-1.5, abs=0.01)  # at the mean of kernel 1


def test_the_systems_that_are_made_harder_are_those_of_figure_11():
    needed = {t.params["system"] for t in trials(SMOKE)["figure 11"]}
    assert needed == set(systems.MADE_HARDER)
