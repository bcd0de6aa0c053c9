from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reprolib import metrics, studies
from reprolib.datasets import parsing_faces
from reprolib.errors import UserError
from reprolib.models.spatial_transformer import theta_of_centres
from reprolib.paper_networks import parsing_inputs as inputs
from reprolib.report import published
from reprolib.runner import run
from reprolib.statistics import Interval
from reprolib.store import RunStore
from reprolib.studies.yin2020 import data, networks, pictures, results, settings, systems
from reprolib.studies.yin2020.checkpoint import load_model
from reprolib.studies.yin2020.plan import trials
from reprolib.studies.yin2020.scores import parsing_metrics, share
from reprolib.studies.yin2020.systems import checkpoint_path, inside_crops
from reprolib.trial import Context

study = studies.load("yin2020")
SMOKE = settings.Parameters()
TINY = {"train": 4, "test": 3, "erased": 2, "few": 2}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The trials of Table 2 and Figure 5, one seed, in the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    parameters = settings.Parameters(tables=["2", "figure 5"])
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return parameters, store, context, {record.trial.name: record for record in records}


# --- the plan --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert {f"table {n}" for n in range(1, 5)} | {f"figure {n}" for n in range(1, 9)} <= set(trials(SMOKE))


def test_every_row_that_the_paper_prints_is_a_system():
    rows = {name for t in "234" for name in published("yin2020", t).index}
    assert rows <= set(settings.SYSTEMS) | set(results.PRINTED_AS["4"].values())
    assert {name for name, reason in settings.SYSTEMS.items() if reason} <= rows


def test_every_system_has_trials_and_every_trial_is_a_system():
    trained = {name for name, reason in settings.SYSTEMS.items() if reason is None}
    assert {t.params["system"] for needed in trials(SMOKE).values() for t in needed} == trained


def test_the_end_to_end_row_has_five_seeds_and_the_others_three():
    for profile in ("cpu", "gpu"):
        places = trials(settings.Parameters(profile=profile))
        seeds = {}
        for needed in places.values():
            for t in needed:
                seeds.setdefault(t.name, set()).add(t.seed)
        assert {name for name, of_row in seeds.items() if len(of_row) == 5} == {settings.END_TO_END}
        assert {len(of_row) for of_row in seeds.values()} == {3, 5}


def test_on_real_faces_the_second_source_is_the_first():
    places = trials(settings.Parameters(data="public"))
    first = {t.key for t in places["table 2"]}
    assert {t.key for t in places["table 3"] if t.name in (settings.ICNN, settings.STN)} <= first
    [hybrid] = [t for t in places["table 3"] if t.name == settings.HYBRID]
    assert (hybrid.params["source"], hybrid.params["start"]["source"]) == (settings.FASSEG, settings.SYNTHETIC)


def test_patches_are_odd_and_those_of_the_papers_datasets_are_the_papers():
    for profile in settings.SCALES:
        for source in {source for of_data in settings.SOURCES.values() for source in of_data}:
            found = settings.sizes(source, profile)
            assert found["patch"] % 2 == found["mouth_patch"] % 2 == 1
    assert settings.sizes(settings.HELEN, "gpu") == {"frame": 1024, "patch": 81, "mouth_patch": 81}
    assert settings.sizes(settings.CELEBAMASK, "gpu") == {"frame": 512, "patch": 127, "mouth_patch": 255}


def test_profiles_data_and_seeds_change_every_key_and_names_do_not():
    [trial] = [t for t in trials(SMOKE)["table 2"] if t.name == settings.ICNN]
    others = [trials(settings.Parameters(**more))["table 2"] for more in ({"profile": "cpu"}, {"data": "public"})]
    assert trial.key not in {t.key for needed in others for t in needed}
    assert replace(trial, name="another name").key == trial.key
    assert replace(trial, seed=1).key != trial.key


def test_only_the_tables_that_are_asked_for_are_planned():
    assert set(trials(settings.Parameters(tables=["3"]))) == {"table 3"}
    with pytest.raises(UserError, match="Unknown table 'tabel 3'; did you mean 'table 3'"):
        trials(settings.Parameters(tables=["tabel 3"]))


def test_a_trial_names_no_folder_of_this_machine():
    for needed in trials(settings.Parameters(data="public", data_root="/somewhere")).values():
        assert not any("/somewhere" in str(value) for t in needed for value in t.params.values())


# --- scores ----------------------------------------------------------------------------------------------


def test_a_part_that_nobody_has_has_no_f1_and_does_not_count_in_the_macro_one():
    found = np.diag([90, 1, 1, 1, 1, 1, 1, 0, 1])
    found[6, 7] = 1  # some of an upper lip is called inside of the mouth
    scores = parsing_metrics(found)
    assert np.isnan(scores["in_mouth"])
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
    counts = inside_crops(theta.numpy(), labels)
    assert counts[0].tolist() == [[0, 0]] * 4 + [[9, 15], [0, 0]]
    assert share(counts[0])[4] == 60
    assert np.isnan(share(counts[0])[0])


# --- batches ---------------------------------------------------------------------------------------------


def test_centres_of_a_batch_are_those_of_the_dataset():
    labels = np.random.default_rng(0).integers(0, 9, (3, 20, 24)).astype(np.uint8)
    labels[0][labels[0] == 1] = 0  # no brow
    labels[1][labels[1] > 5] = 0  # no mouth
    labels[2][labels[2] == 7] = 0  # a closed mouth
    np.testing.assert_array_equal(data.centres(torch.from_numpy(labels)), parsing_faces.centres(labels))


def test_the_mean_place_of_many_faces_is_that_of_all_at_once():
    """Counted a few faces at a time; some lack parts, one has none."""
    generator, sizes = torch.Generator().manual_seed(0), {"patch": 5, "mouth_patch": 7}
    labels = torch.randint(0, 9, (2 * data.FACES_AT_A_TIME + 5, 12, 14), generator=generator)
    for face, classes in enumerate(torch.randint(1, 9, (len(labels), 3), generator=generator)):
        labels[face][torch.isin(labels[face], classes)] = 0
    labels[3] = 0
    assert torch.equal(data.mean_theta(labels, **sizes), data.true_theta(labels, **sizes).nanmean(0))


def test_jitter_moves_crops_by_whole_pixels_and_no_further_than_its_part():
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


def test_small_pictures_are_those_of_the_parse_command():
    images = np.random.default_rng(0).integers(0, 255, (2, 48, 48, 3), dtype=np.uint8)
    small, full = inputs(images, 16)
    torch.testing.assert_close(data.shrunk(full, 16), small)


def test_no_synthetic_face_is_in_training_and_test():
    p = {**asdict(settings.SCALES["smoke"]), **TINY, "profile": "smoke", "frame": 48}
    sets = []
    for source in (settings.SYNTHETIC, settings.ELSEWHERE):
        of_source = {**p, "source": source}
        sets += [data.training_faces(of_source, None).persons, data.test_faces(of_source, None).persons]
    assert len({person for persons in sets for person in persons}) == sum(map(len, sets))
    assert max(scale.train for scale in settings.SCALES.values()) <= data.TEST


def test_more_erased_parts_include_those_of_fewer():
    p = {**TINY, "profile": "smoke", "frame": 48, "source": settings.SYNTHETIC}
    lost = [data.faces_without(p, None, number=number).tags[0] for number in (1, 2)]
    assert {tag for tag in lost[0] if tag.startswith("no ")} < {tag for tag in lost[1] if tag.startswith("no ")}


@pytest.mark.parametrize("data_root", [None, Path("/no/such/folder")])
def test_real_data_without_their_folder_are_refused_before_training(tmp_path, data_root):
    parameters = settings.Parameters(data="public", seeds=1, tables=["2"])
    context = Context(results=tmp_path, data_root=data_root)
    with pytest.raises(UserError, match="data_root"):
        run(studies.needed(study, parameters), study.execute, RunStore(tmp_path), context, progress=False)


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected one of the folders fasseg, SmithCVPR2013_dataset_resized"):
        study.check_data(tmp_path)


# --- trials ----------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification_with_and_without_checkpoints(tmp_path, small_run):
    _, store, context, records = small_run
    record = records[settings.END_TO_END]
    for folder in (tmp_path, context.results):  # everything anew, and from the stages that are kept
        again = run([record.trial], study.execute, RunStore(tmp_path / folder.name), Context(results=folder),
                    progress=False)[0]  # fmt: skip
        assert again.metrics == record.metrics
        for name, values in store.arrays(record).items():
            np.testing.assert_array_equal(RunStore(tmp_path / folder.name).arrays(again)[name], values)


def test_only_the_crops_differ_between_the_baseline_and_the_stn(small_run):
    _, _, context, records = small_run
    models = [systems._parser(records[name].trial.params, 0, context)[0] for name in (settings.ICNN, settings.STN)]
    for stage in ("coarse", "fine"):
        ours, theirs = (getattr(model, stage).state_dict() for model in models)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [model.cropper for model in models] == ["baseline", "stn"]


def test_the_published_recipe_changes_the_second_stage_alone_and_joint_training_all(small_run):
    _, _, context, records = small_run
    p = records[settings.STN].trial.params
    choices = [], ["fine"], ["coarse", "localiser", "fine"]
    before, recipe, joint = (systems._parser({**p, "learns": learns}, 0, context)[0] for learns in choices)

    def moved(model, stage):
        pairs = zip(getattr(before, stage).parameters(), getattr(model, stage).parameters(), strict=True)
        return not all(torch.equal(a, b) for a, b in pairs)

    assert [moved(recipe, stage) for stage in ("coarse", "localiser", "fine")] == [False, False, True]
    assert [moved(joint, stage) for stage in ("coarse", "localiser", "fine")] == [True, True, True]
    ours, theirs = recipe.coarse.state_dict(), before.coarse.state_dict()  # with BatchNorm's statistics
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_end_to_end_network_is_kept_for_the_parse_command(small_run):
    _, store, context, records = small_run
    record = records[settings.END_TO_END]
    p = record.trial.params
    model = load_model(checkpoint_path(record.trial, context.results))
    assert (model.small, model.frame) == (p["small"], p["frame"])
    test = data.test_faces(p, None)
    found = model.network.parse(*inputs(test.images, model.small)).numpy()
    counts = metrics.confusion(found, test.labels, 9)
    different = np.abs(counts - store.arrays(record)["confusion"]).sum() / 2
    assert different < 1e-3 * counts.sum()  # weights are kept in half precision


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    _, store, _, records = small_run
    for record in records.values():
        arrays = store.arrays(record)
        p = record.trial.params
        assert arrays["confusion"].shape == (p["test"], 9, 9)
        assert (arrays["confusion"].sum((1, 2)) == p["frame"] ** 2).all()
        assert record.metrics["f1_overall"] == pytest.approx(parsing_metrics(arrays["confusion"].sum(0))["overall"])
        assert record.metrics["crop_recall"] == pytest.approx(share(arrays["crop_recall"].sum((0, 1))))


def test_with_nothing_erased_all_parts_are_left_and_with_everything_none(small_run):
    _, store, _, records = small_run
    arrays = store.arrays(records[settings.STN])
    erased, left = arrays["recall_erased"], arrays["recall_left"]  # (faces, numbers, 2)
    assert (erased[:, 0] == 0).all() and (left[:, 6] == 0).all()
    np.testing.assert_array_equal((erased + left)[..., 1], np.repeat(left[:, :1, 1], 7, axis=1))


def test_a_hybrid_starts_from_the_network_trained_elsewhere(small_run):
    _, _, context, records = small_run
    [untuned] = [t for t in trials(SMOKE)["table 3"] if t.name == settings.UNTUNED]
    here, there = (systems._parser(t.params, 0, context)[0] for t in (records[settings.END_TO_END].trial, untuned))
    ours, theirs = here.state_dict(), there.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert untuned.params["source"] == settings.ELSEWHERE


def test_both_methods_are_timed_with_and_without_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "REPEATS", 2)
    monkeypatch.setattr(systems, "BATCH", 2)
    [trial] = trials(SMOKE)["extra B"]
    store = RunStore(tmp_path)
    [record] = run([trial], study.execute, store, Context(results=tmp_path), progress=False)
    took = store.arrays(record)["milliseconds"]  # (repeats, methods, one or many)
    assert took.shape == (2, 2, 2) and (took > 0).all()
    assert record.cost["proposed_ms_batched"] == np.median(took[:, 1, 1])


@pytest.mark.parametrize("system", [settings.FCN, settings.UNET])
def test_whole_face_networks_answer_at_the_size_of_the_frame(system):
    [p] = [t.params for t in trials(SMOKE)["table 4"] if t.name == system]
    with torch.no_grad():
        assert networks.whole_face(p).eval()(torch.rand(1, 3, 70, 70)).shape == (1, 9, 70, 70)


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_quoted_lost_or_not_done(small_run):
    _, store, _, _ = small_run
    tables = study.tables(settings.Parameters(tables=["1", "2", "3", "4"]), store)
    assert tables["table 2"].loc[settings.ICNN, ("overall", "paper")] == "0.865"
    assert float(tables["table 2"].loc[settings.ICNN, ("overall", "ours")]) > 0
    assert tables["table 2"].loc[settings.ORIGINAL, ("eyes", "paper")] == "—"  # lost
    assert tables["table 3"].loc[settings.STN, ("overall", "ours")] == "not done"
    assert tables["table 3"].loc[settings.STN, ("overall", "paper")] == "0.915"
    assert tables["table 4"].loc["Wei et al. [30]", ("overall", "ours")] == "quoted"
    assert (
        tables["table 4"].loc["Zhou et al. [35]", ("overall", "ours")]
        == tables["table 2"].loc[settings.ORIGINAL, ("overall", "ours")]
    )
    assert tables["table 4"].loc[settings.END_TO_END, ("skin", "ours")] == "—"
    assert tables["table 1"].loc["HELEN, pre-training", ("Lr1", "paper")] == "0.0023"


def test_claims_without_records_are_not_tested(tmp_path):
    claims = study.claims(SMOKE, RunStore(tmp_path))
    assert len({claim.id for claim in claims}) == len(claims) == len(results.CLAIMS) + len(results.NULLS) + 2
    assert {claim.verdict for claim in claims} == {"not tested"}


def test_an_effect_is_the_difference_of_the_two_rows_in_points(small_run):
    parameters, store, _, records = small_run
    [claim] = [c for c in study.claims(parameters, store) if c.id == "stn"]
    a, b = (records[name].metrics["f1_overall"] for name in (settings.STN, settings.ICNN))
    assert claim.effect == pytest.approx(100 * (a - b))
    assert claim.low <= claim.effect <= claim.high


def test_the_published_effects_are_differences_of_published_cells():
    columns = {"overall": "overall", "eyes": "eyes", "brows": "brows", "nose": "nose", "in_mouth": "In-mouth",
               "upper_lip": "Upper-lip", "lower_lip": "Lower-lip", "mouth": "mouth"}  # fmt: skip
    for c in results.CLAIMS:
        if c.effect is not None:
            table = c.place.removeprefix("Table ")
            rows = [results.PRINTED_AS.get(table, {}).get(row, row) for row in (c.a, c.b)]
            a, b = published("yin2020", table).loc[rows, columns[c.score]]
            assert c.effect == pytest.approx(100 * (a - b)), c.id


def test_two_rows_are_alike_within_a_point():
    [alike] = [c for c in results.NULLS if c.id == "hybrid"]
    verdicts = [
        results._null(alike, Interval(0.0, -reach, reach, 10), {}, SMOKE).verdict for reach in (0.9, 1.1)
    ]  # fmt: skip
    assert verdicts == ["reproduced", "not reproduced"]


def test_the_spread_has_every_seed_of_the_end_to_end_row(small_run):
    parameters, store, _, records = small_run
    table = results.spread(parameters, store)
    assert table.loc[settings.END_TO_END, "seed 0"] == f"{records[settings.END_TO_END].metrics['f1_overall']:.4f}"


def test_every_exactly_checkable_number_is_met():
    assert [fact.quantity for fact in study.fidelity() if not fact.equal] == []
    assert results.difference(80) > 1  # an even crop lies between pixels


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    parameters, store, _, _ = small_run
    found = pictures.drawn(parameters, store)
    assert set(found) == {"figure 1", "figure 5a", "figure 5b", "figure 8"}


def test_figure_2_shows_the_sizes_of_every_row():
    texts = [text.get_text() for text in pictures.interlinked().axes[0].texts]
    for size in ("8×128×128", "16×64×64", "24×32×32", "32×16×16"):
        assert any(text.startswith(f"step\n{size}\n") for text in texts)
    assert sum(text.startswith("step\n") for text in texts) == 12


def test_figure_7_samples_odd_crops_on_pixels_and_even_ones_between():
    odd, even = (ax.lines[2].get_xdata() for ax in pictures.sampling_grids().axes[:2])
    np.testing.assert_allclose(odd, np.round(odd), atol=1e-5)
    np.testing.assert_allclose(np.abs(even - np.round(even)), 0.5, atol=1e-5)


def test_on_fassegs_single_source_the_hybrid_is_compared_with_full_training_there(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(results, "_compare", lambda c, *_: asked.append(c))
    for source in ("synthetic", "public"):
        results.claims(settings.Parameters(data=source), RunStore(tmp_path))
    rivals = [c.b for c in asked if c.id == "hybrid"]
    assert rivals == [settings.END_TO_END_SECOND, settings.END_TO_END]
