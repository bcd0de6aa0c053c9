import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from reprolib import report, studies
from reprolib.datasets.characters import ENGLISH, Tokeniser
from reprolib.datasets.speech import SpeechSet, gathered, mouth_crops
from reprolib.errors import UserError
from reprolib.lip_checkpoints import LipModel
from reprolib.records import Arrays
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.sheng2021 import (
    data,
    facts,
    networks,
    pictures,
    plan,
    results,
    scores,
    sentences,
    settings,
    words,
)
from reprolib.studies.sheng2021.plan import trials
from reprolib.trial import Context, Outcome

study = studies.load("sheng2021")
SMOKE = settings.Parameters()
PLACES = {f"table {n}" for n in (*range(1, 8), "7b")} | {f"figure {n}" for n in range(1, 10)}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Every trial of the study but the lip masks', one seed, in the smoke profile."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    tables = ["table 3", "table 4", "table 5", "table 7", "table 7b", "figure 8", "extra B", "extra C", "extra E"]
    parameters = settings.Parameters(seeds=1, jitters=[4.0], tables=tables)
    records = run(studies.needed(study, parameters), study.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return parameters, store, context, {record.trial.name: record for record in records}


def smoke_trial(name, **more):
    everything = [t for of_place in trials(settings.Parameters(seeds=1, **more)).values() for t in of_place]
    return next(t for t in everything if t.name == name)


# --- the plan --------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_planned():
    assert set(trials(SMOKE)) >= PLACES


@pytest.mark.parametrize("table", ["4", "5", "6", "7"])
def test_every_row_that_the_paper_prints_is_planned(table):
    printed = settings.PRINTED_AS.get(table, {})
    ours = {printed.get(t.name, t.name) for t in trials(SMOKE)[f"table {table}"]}
    assert set(report.published("sheng2021", table).index) <= ours


def test_every_planned_system_is_named_and_every_named_one_is_planned():
    assert {t.name for of_place in trials(SMOKE).values() for t in of_place} == set(settings.SYSTEMS)


def test_trials_are_json_and_the_other_profiles_ask_for_three_seeds():
    for profile in ("cpu", "gpu"):
        everything = [t for of in trials(settings.Parameters(profile=profile)).values() for t in of]
        assert {t.seed for t in everything} == {0, 1, 2}
        json.dumps([dict(t.params) for t in everything])


def test_real_clips_without_word_timings_are_asked_for_sentences_alone():
    public = trials(settings.Parameters(data="public"))
    assert "table 5" not in public and "table 6" not in public
    assert {t.params["task"] for of_place in public.values() for t in of_place} == {"sentences"}


def test_the_sentences_of_the_papers_data_are_chosen_by_a_parameter():
    keys = {smoke_trial(settings.GLOBAL_S, data="paper", sentences=name).key for name in ("lrs2", "lrs3", "grid")}
    assert len(keys) == 3
    assert "set" not in smoke_trial(settings.GLOBAL_S).params


def test_the_two_tasks_name_their_sizes_apart():
    """Sentence trials carry both: a name that stood twice would change the front end, unseen."""
    of_words, of_sentences = ({f.name for f in fields(scale)} for scale in (settings.WordScale, settings.SentenceScale))
    assert not of_words & of_sentences


@pytest.mark.parametrize(
    ("row", "front"),
    [(settings.TWO_S, settings.TWO), (settings.GLOBAL_S, settings.GLOBAL_LONGER),
     (settings.LOCAL_S, settings.LOCAL_LONGER), (settings.WAS_S, settings.WAS)],
)  # fmt: skip
def test_a_sentences_front_end_is_the_word_rows_network(row, front):
    p = smoke_trial(row, profile="cpu").params
    of_words = smoke_trial(front, profile="cpu").params
    asked = {name: p[name] for name in words.WORD_SPEC} | sentences.front_of(p["streams"])
    assert asked == {name: of_words[name] for name in asked}


def test_rows_that_learn_longer_or_from_worse_landmarks_differ_in_nothing_else():
    for row, more in [(row, {"longer": True}) for row in settings.LONGER] + [
        (row, {"tracker": settings.DETECTOR}) for row in settings.DETECTED
    ]:
        name = (settings.longer if "longer" in more else settings.detected)(row)
        assert smoke_trial(name).params == {**smoke_trial(row).params, "system": name, **more}
    assert "extra G" not in trials(settings.Parameters(data="paper"))  # real landmarks are a detector's already


def test_a_detectors_landmarks_err_more_on_the_same_pictures_and_two_streams_start_from_them(monkeypatch):
    p, clean = smoke_trial(settings.detected(settings.TWO)).params, smoke_trial(settings.TWO).params
    noisy, exact = data.word_sets(p, None)[0], data.word_sets(clean | {"tracker": 0.0}, None)[0]
    np.testing.assert_array_equal(noisy.frames, exact.frames)
    assert (noisy.landmarks - exact.landmarks).std() == pytest.approx(settings.DETECTOR * p["size"], rel=0.05)
    asked = []

    def without_training(study_id, spec, build, fit, where):
        asked.append((spec["network"], spec.get("tracker")))
        return build(), {}

    monkeypatch.setattr(words, "fitted_once", without_training)
    words.fitted_reader(p, 0, Context(device="cpu"))
    assert asked == [(network, settings.DETECTOR) for network in ("two", "global", "local")]


def test_real_clips_have_no_sizes_that_only_synthetic_ones_can_have():
    assert not set(settings.OF_SYNTHETIC) & set(smoke_trial(settings.TWO_S, data="public").params)


# --- clips and what networks see of them ---------------------------------------------------------------------


def test_nobody_is_in_two_sets_and_sentences_have_other_people():
    p = smoke_trial(settings.GLOBAL_S).params
    series = []
    for sets in (data.word_sets(p, None), data.sentence_sets(p, None)):
        people = [speaker for clips in sets for speaker in set(clips.speakers)]
        assert len(people) == len(set(people)) >= len(sets)
        series.append({name.rpartition("-")[0] for clips in sets for name in clips.names})
    assert not series[0] & series[1]  # who a person is follows from the series and the number


def test_half_of_the_vocabulary_has_homophenes():
    for count in (4, 20, 80):
        visemes = data.viseme_classes_of(data.vocabulary_of(count))
        shared = (np.bincount(visemes)[visemes] > 1).mean()
        assert 0.4 <= shared <= 0.65
    with pytest.raises(UserError, match="ask for fewer"):
        data.vocabulary_of(10_000)


def test_words_outside_the_lexicon_are_viseme_classes_of_their_own():
    visemes = data.viseme_classes_of(("PAT", "BAT", "PARLIAMENT", "WESTERN"))
    assert visemes[0] == visemes[1]
    assert len(set(visemes)) == 3


def test_greys_are_normalised_by_the_training_sets_own_frames():
    p = smoke_trial(settings.GLOBAL).params
    training = data.word_sets(p, None)[0]
    views = data.Views(training, crop=32)
    valid = np.concatenate([f[:n] for f, n in zip(training.frames, training.lengths, strict=True)])
    assert views.mean == valid.mean()
    assert np.float32(views.deviation) == np.float32(valid.std())
    frames = views(training, ("frames",))["frames"]
    assert frames.mean().item() == pytest.approx(0, abs=1e-4)
    assert frames.std().item() == pytest.approx(1, abs=1e-3)


def test_noise_moves_landmarks_by_its_standard_deviation_and_is_the_same_for_the_same_seed():
    p = smoke_trial(settings.LOCAL).params
    training, test = data.word_sets(p, None)
    views = data.Views(training, crop=32)
    clean, noisy = (views(test, ("landmarks",), noise=noise, seed=1)["landmarks"] for noise in (0.0, 3.0))
    assert (noisy - clean).std().item() == pytest.approx(3, rel=0.05)
    torch.testing.assert_close(views(test, ("landmarks",), noise=3.0, seed=1)["landmarks"], noisy, rtol=0, atol=0)


def test_flow_finds_a_shift():
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (10, 10)), np.ones((4, 4))).astype(np.uint8)
    flow = data.optical_flow(np.stack([picture, np.roll(picture, 2, axis=1)])[None])
    assert flow.shape == (1, 2, 2, 40, 40)
    assert np.median(flow[0, 0, 0, 8:-8, 8:-8]) == pytest.approx(2, abs=0.5)
    np.testing.assert_array_equal(flow[:, :, 0], flow[:, :, 1])


def test_training_clips_that_cannot_be_learned_are_left_out_and_counted():
    def clips(*texts):
        return gathered(
            [(np.zeros((4, 2, 2), np.uint8), np.zeros((4, 68, 2)))] * len(texts),
            texts=texts, speakers=texts, names=texts, fps=25,
        )  # fmt: skip

    tokens, good = Tokeniser(ENGLISH), clips("ABAB", "BEE")
    assert sentences.learnable(good, tokens, ctc=True) is good
    with pytest.warns(UserWarning, match="1 of 2 training clips"):
        assert sentences.learnable(clips("É", "TOO LONG"), tokens, ctc=False).texts == ("TOO LONG",)
    with pytest.warns(UserWarning, match="2 of 3 training clips"):
        assert sentences.learnable(clips("ABAB", "BEES", "TOO LONG"), tokens, ctc=True).texts == ("ABAB",)


def clips_of_a_mouth(frames, lengths):
    """A set of grey pictures of 64 pixels with a mouth of 26 pixels in their middle."""
    landmarks = np.full((*frames.shape[:2], 68, 2), 31.5, np.float32)
    landmarks[:, :, 48], landmarks[:, :, 54] = (18.5, 31.5), (44.5, 31.5)
    names = tuple(map(str, range(len(frames))))
    return SpeechSet(frames, landmarks, np.array(lengths), names, None, (), names, names, 25.0)


def test_lip_masks_are_what_the_network_sees_at_the_places_of_the_crops(monkeypatch, tmp_path):
    asked = []

    def bright(images):
        """All that is brighter than the middle grey is lip, the rest background."""
        asked.append(len(images))
        lip = images[:, :1] > 0
        never = torch.full_like(images[:, :1], -100.0).expand(-1, 3, -1, -1)
        return torch.cat([torch.where(lip, -100.0, 0.0), torch.where(lip, 0.0, -100.0), never], dim=1)

    monkeypatch.setattr(data, "_lip_model", lambda: LipModel(bright, (64, 128)))
    monkeypatch.setattr(data, "CACHE", tmp_path)
    blocks = np.random.default_rng(0).random((2, 3, 16, 16)) < 0.5
    frames = np.kron(blocks, np.ones((4, 4))).astype(np.uint8) * 200 + 20
    clips = clips_of_a_mouth(frames, [3, 2])
    masks = data.lip_masks(clips, clips.landmarks, 16)
    assert masks.shape == (2, 4, 3, 16, 16)
    crops = mouth_crops(frames, clips.landmarks, 16)
    for clip, length in enumerate((3, 2)):
        np.testing.assert_array_equal(masks[clip, 0, :length] > 0.5, crops[clip, :length] > 127)
    assert not masks[1, :, 2].any()  # after the clip's end
    assert not masks[:, 1:].any()  # neither teeth, tongue nor cavity
    np.testing.assert_array_equal(data.lip_masks(clips, clips.landmarks, 16), masks)
    assert asked == [3, 2]  # kept, not asked again


# --- training --------------------------------------------------------------------------------------------


def test_crops_are_mirrored_and_shifted_whole_and_the_local_stream_is_left_alone():
    count, side, seed = 8, 8, 3
    crops, lengths = torch.arange(count * 6 * side**2).view(count, 6, side, side), torch.tensor([6, 4] * 4)
    batch = {"crops": crops, "frames": crops + 1, "landmarks": torch.rand(count, 6, 68, 2), "lengths": lengths}
    out = words.augmented(batch, torch.Generator().manual_seed(seed), shift=2)
    for name in ("frames", "landmarks", "lengths"):
        assert out[name] is batch[name]
    drawn = torch.Generator().manual_seed(seed)
    mirror = torch.rand(count, generator=drawn) < 0.5
    dx, dy = (torch.randint(-2, 3, (count,), generator=drawn) for _ in range(2))
    dt = torch.randint(-1, 2, (count,), generator=drawn)
    assert all(len(values.unique()) > 1 for values in (mirror, dx, dy, dt))
    for i, length in enumerate(lengths.tolist()):
        padded = np.pad(crops[i, :length].numpy(), ((1, 1), (2, 2), (2, 2)), "edge")
        expected = padded[1 + dt[i] :, 2 + dy[i] :, 2 + dx[i] :][:length, :side, :side]
        np.testing.assert_array_equal(out["crops"][i, :length], np.flip(expected, -1) if mirror[i] else expected)
    unmoved = words.augmented({"landmarks": batch["landmarks"]}, torch.Generator(), shift=1)
    assert unmoved["landmarks"] is batch["landmarks"]


def test_a_mirrored_flow_points_the_other_way():
    flow = torch.ones(16, 2, 3, 4, 4)
    batch = {"crops": torch.zeros(16, 3, 4, 4), "flow": flow, "lengths": torch.full((16,), 3)}
    out = words.augmented(batch, torch.Generator().manual_seed(0), shift=0)["flow"]
    assert set(out[:, 0].flatten().tolist()) == {-1.0, 1.0}
    assert (out[:, 1] == 1).all()


def test_the_curriculum_begins_with_short_sentences_and_ends_with_all():
    texts = ("A B",) * 4 + ("A B C",) * 4 + ("A B C D E",) * 2 + ("A B C D",)
    stages = sentences.curriculum(texts, 12, 4)
    assert [len(indices) for indices, _ in stages] == [4, 8, 11]
    assert [epochs for _, epochs in stages] == [2, 2, 8]
    assert sentences.curriculum(("A B",) * 4, 5, 4) == [([0, 1, 2, 3], 5)]


def test_a_trial_is_a_function_of_its_specification(tmp_path, small_run):
    _, store, _, records = small_run
    for name in (settings.LOCAL, settings.LOCAL_S):
        record = records[name]
        [again] = run([record.trial], study.execute, RunStore(tmp_path), Context(results=tmp_path), progress=False)
        assert again.metrics == record.metrics
        assert again.curves == record.curves
        for array, values in store.arrays(record).items():
            np.testing.assert_array_equal(RunStore(tmp_path).arrays(again)[array], values)


def test_two_streams_start_from_streams_that_learned_alone(small_run, monkeypatch):
    _, _, context, records = small_run
    p = records[settings.TWO].trial.params
    whole, _ = words.fitted_reader(smoke_trial(settings.GLOBAL).params, 0, context)
    built = {}

    def without_training(study_id, spec, build, fit, where):
        if spec["network"] == "two":
            built["two"] = build()
            return built["two"], {}
        return whole_or_local(study_id, spec, build, fit, where)

    whole_or_local = words.fitted_once
    monkeypatch.setattr(words, "fitted_once", without_training)
    words.fitted_reader(p, 0, context)
    expected = whole.network.global_stream.state_dict()
    for name, value in built["two"].network.global_stream.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_the_front_end_keeps_its_statistics_while_it_is_fine_tuned(small_run):
    _, _, context, _ = small_run
    front, _ = words.fitted_reader(smoke_trial(settings.GLOBAL).params, 0, context)
    model = networks.SentenceReader(front, torch.nn.Dropout())
    model.train()
    assert model.back.training
    assert not any(module.training for module in model.front.modules())


@pytest.mark.parametrize("name", [settings.NO_LMFE, settings.SPARSE, settings.NO_GRAPH, settings.ATTENTION])
def test_an_ablation_has_the_networks_other_parts(name):
    reader = networks.build_reader(smoke_trial(name).params, 4)
    local = reader.network.local_stream
    assert (local.motion is None) == (name == settings.NO_LMFE)
    assert len(local.points) == (25 if name == settings.SPARSE else 38)
    graph = local.graph.layers[0]
    if name == settings.ATTENTION:
        assert not hasattr(graph, "semantic_graph")
    else:
        assert (graph.semantic_graph is None) == (name == settings.NO_GRAPH)


def test_real_data_without_their_folder_are_refused_before_training(tmp_path):
    parameters = settings.Parameters(data="public", seeds=1, tables=["4"])
    with pytest.raises(UserError, match="data_root"):
        run(studies.needed(study, parameters), study.execute, RunStore(tmp_path), Context(results=tmp_path))


def test_a_data_root_without_any_known_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="should hold one of the folders talkingfaces, lrw, lrs2, lrs3, grid"):
        study.check_data(tmp_path)


def test_no_sentence_of_real_people_is_kept(monkeypatch, tmp_path):
    trial = smoke_trial(settings.LOCAL_S)
    synthetic = data.sentence_sets(trial.params, None)
    monkeypatch.setattr(data, "sentence_sets", lambda p, data_root: synthetic)
    real = replace(trial, params={**trial.params, "data": "public"})
    outcome = study.execute(real, Context(results=tmp_path))
    assert set(outcome.arrays) == {"characters", "words", "characters_rate", "words_rate", "speakers", "new"}
    assert {array.dtype.kind for array in outcome.arrays.values()} <= set("bif")  # no text


# --- scores ----------------------------------------------------------------------------------------------


def test_a_homophene_is_wrong_as_a_word_and_right_as_a_viseme_class():
    found = scores.correct(np.array([0, 1, 2]), np.array([1, 1, 0]), np.array([0, 0, 1]))
    np.testing.assert_array_equal(found, [[0, 1], [1, 1], [0, 0]])
    assert scores.word_metrics(found) == pytest.approx({"accuracy": 100 / 3, "viseme_accuracy": 200 / 3})


def test_the_ceiling_is_the_commonest_word_of_each_viseme_class():
    assert scores.ceiling(np.array([0, 0, 0, 1, 2]), np.array([7, 7, 8])) == pytest.approx(80)


def test_pooled_rates_differ_from_the_mean_of_utterances():
    counts = np.array([[1, 2], [1, 10]])
    found = scores.sentence_metrics(counts, counts)
    assert found["cer"] == pytest.approx(100 * 2 / 12)
    assert found["cer_utterance"] == pytest.approx(100 * (0.5 + 0.1) / 2)


def test_graph_distances_compare_words_and_speakers():
    graphs = np.zeros((4, 1, 2))
    graphs[2:, 0, 0] = 1  # two words, each by two speakers: graphs follow the word
    apart = scores.graph_distances(graphs, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(apart, np.tile([0, 1.5, 1.5], (4, 1)))
    alone = scores.graph_distances(graphs, np.array([0, 1, 2, 3]), np.array([0, 1, 2, 3]))
    assert np.isnan(alone[:, :2]).all()


def test_the_metrics_of_a_record_follow_from_its_arrays(small_run):
    _, store, _, records = small_run
    for record in records.values():
        arrays = store.arrays(record)
        if record.trial.params["task"] == "words":
            right = scores.correct(arrays["predicted"], arrays["labels"], arrays["visemes"])
            np.testing.assert_array_equal(right, arrays["correct"])
            assert record.metrics["accuracy"] == pytest.approx(scores.word_metrics(right)["accuracy"])
        else:
            found = scores.sentence_metrics(arrays["characters"], arrays["words"])
            assert {name: record.metrics[name] for name in found} == pytest.approx(found)
        assert len(arrays["speakers"]) == record.metrics["clips_test"]


# --- tables, claims, figures -----------------------------------------------------------------------------


def test_tables_show_ours_beside_the_papers_and_say_what_is_not_done(small_run):
    parameters, store, _, _ = small_run
    made = study.tables(parameters.model_copy(update={"tables": []}), store)
    assert list(made["table 4"].index[:-1]) == list(report.published("sheng2021", "4").index)
    assert not (made["table 4"].xs("ours", axis=1, level=1) == report.NOT_DONE).any().any()
    assert not (made["table 7"]["LRS3 WER", "ours"] == report.NOT_DONE).any()
    assert (made["table 6"]["LRW Acc", "ours"] == report.NOT_DONE).any()
    assert made["table 3"].loc["LRW test", "Vocabulary"] == "500"
    assert made["table 3"].loc["ours, words, test", "Vocabulary"] == "4"
    assert made["table 7b"].index[-1] == "ground truth"


def test_the_front_ends_dimensions_are_the_tables():
    table = facts.dimensions("table 1")
    assert table.loc["MaxPool3d 1×3×3", "ours"] == "29 × 64 × 28 × 28"
    assert table.loc["Residual 512", "ours"] == "29 × 512 × 4 × 4"
    assert facts.dimensions("table 2").loc["Conv3d 1×3×3, 256", "ours"] == "29 × 256 × 2 × 2"


def test_every_claim_has_a_verdict_and_is_tested_where_both_rows_were_run(small_run):
    parameters, store, _, _ = small_run
    everything = parameters.model_copy(update={"tables": []})
    found = {claim.id: claim for claim in study.claims(everything, store)}
    assert found["two-streams"].effect is not None
    assert found["two-cer"].published_effect == pytest.approx(-5.2)
    assert found["mt"].verdict == "not tested"
    assert found["layer-specific"].verdict == "not tested"  # one seed
    assert len(study.questions(everything, store)) == len(results.QUESTIONS) + 3


def test_of_real_clips_only_sentences_are_asked_for_and_shown(small_run, tmp_path):
    """The real clips' records are written from synthetic ones: no real clip is needed to see what a page would show."""
    _, synthetic, _, records = small_run
    parameters, store = settings.Parameters(data="public", seeds=1), RunStore(tmp_path)
    for trial in {t for of_place in trials(parameters).values() for t in of_place}:
        of_row = records[trial.name]
        kept = {name: value for name, value in synthetic.arrays(of_row).items() if value.dtype.kind in "bif"}
        store.save(trial, Outcome(of_row.metrics, of_row.curves, kept), cost=of_row.cost, environment={})
    made = study.tables(parameters, store)
    assert "table 7b" not in made and "figure 9" not in trials(parameters)
    shown = [made["table 4"].loc[settings.TWO_S.removesuffix(", sentences"), (name, "ours")] for name in settings.COST]
    assert report.NOT_DONE not in shown
    assert "of viseme classes" not in made["table 4"].columns.get_level_values(0)
    found = study.claims(parameters, store)
    assert {claim.id for claim in found} == {c.id for c in results._sentence_claims(parameters)}
    # in one epoch nobody learns to read, and then there is nothing to compare
    read = {c.id for c in results._sentence_claims(parameters) if results._learned(c, *read_from(parameters, store))}
    assert {claim.id for claim in found if claim.verdict != "not tested"} == read
    asked = study.questions(parameters, store)
    assert (asked != report.NOT_DONE).all(axis=None)
    assert any("guesses" in sentence for sentence in asked.index)
    assert len(study.answers(parameters, store, ["two-streams", "seen"])) == 1


def read_from(parameters, store):
    return results.records_of(parameters, store), Arrays(store)


def saved(store, parameters, name, seed=0, **arrays):
    """A record of a row that is nothing but arrays."""
    planned = {(t.name, t.seed): t for of_place in trials(parameters).values() for t in of_place}
    outcome = Outcome({"wer": 1.0}, arrays={**arrays, "speakers": np.arange(6)})
    store.save(planned[name, seed], outcome, cost={}, environment={})


def test_a_claim_on_sentences_is_judged_where_both_rows_read_better_than_who_guesses(tmp_path):
    parameters, store = settings.Parameters(data="public", seeds=1), RunStore(tmp_path)
    rates = {settings.BLIND: 6, settings.TWO_S: 2, settings.GLOBAL_S: 4, settings.LOCAL_S: 6}
    counts = {name: np.tile([errors, 8], (6, 1)) for name, errors in rates.items()}
    for name, of_row in counts.items():
        saved(store, parameters, name, words=of_row, characters=of_row)
    found = {claim.id: claim for claim in study.claims(parameters, store)}
    assert found["two-wer"].verdict == "reproduced"
    assert found["two-local-wer"].verdict == "not tested"  # one of the two guesses
    assert found["two-local-wer"].effect == pytest.approx(-50)  # shown, not judged
    assert study.answers(parameters, store, ["two-local-wer"]) == []
    assert len(study.answers(parameters, store, ["two-wer", "seen"])) == 2


def test_a_claim_on_words_is_judged_where_every_seed_beats_the_commonest_word(tmp_path):
    parameters, store = settings.Parameters(seeds=2), RunStore(tmp_path)
    right = {settings.MAJORITY: (0, 0), settings.GLOBAL: (4, 4), settings.LOCAL: (5, 0), settings.TWO: (6, 6)}
    for name, of_seeds in right.items():
        for seed, count in enumerate(of_seeds):
            correct = np.repeat((np.arange(6) < count)[:, None], 2, axis=1).astype(np.float32)
            graphs = {"graph_distances": np.full((6, 3), np.nan), "semantic": np.zeros((1, 2, 2))}
            saved(store, parameters, name, seed, correct=correct, **graphs)
    found = {claim.id: claim.verdict for claim in study.claims(parameters, store)}
    assert found["two-streams"] != "not tested"
    assert found["two-local"] == "not tested"  # one seed of the local stream has learned nothing
    everyone = results.records_of(parameters, store)
    del everyone[settings.MAJORITY]
    [two_local] = [c for c in results.CLAIMS if c.id == "two-local"]
    assert results._learned(two_local, everyone, Arrays(store))  # nobody guessed


def test_an_error_rates_claim_is_of_the_pooled_rate(small_run):
    parameters, store, _, records = small_run
    [claim] = [c for c in results._sentence_claims(parameters) if c.id == "two-wer"]
    two, whole = (records[name].metrics["wer"] for name in (settings.TWO_S, settings.GLOBAL_S))
    assert results._compare(claim, *read_from(parameters, store)).point == pytest.approx(two - whole)


def test_semantic_graphs_that_follow_their_layer_are_told_from_those_that_do_not():
    class Kept:
        def __init__(self, graphs):
            self.graphs = graphs

        def __call__(self, of_seeds, name):
            return self.graphs

    rng = np.random.default_rng(0)
    of_layer = rng.normal(size=(1, 4, 4, 4))
    noise = rng.normal(size=(3, 4, 4, 4))
    records = {settings.LOCAL: [object()] * 3}
    specific = results._between_layers(records, Kept(of_layer + 0.1 * noise))
    assert specific.low > 0
    assert results._between_layers(records, Kept(noise)).point < specific.point / 2
    assert results._between_layers(records, Kept(noise[:, :3])) is None  # three layers are too few


def test_a_layer_is_not_specific_because_its_graphs_are_larger():
    class Kept:
        def __call__(self, of_seeds, name):
            return noise * np.array([1.0, 2.0, 4.0, 8.0])[:, None, None]

    noise = np.random.default_rng(0).normal(size=(3, 4, 8, 8))
    found = results._between_layers({settings.LOCAL: [object()] * 3}, Kept())
    assert abs(found.point) < 3  # percent; without the norms it is 20


def test_fidelity_holds_but_for_the_sides_that_the_tables_misprint():
    facts = study.fidelity()
    assert len(facts) >= 25
    misprinted = ["Table I, side of the output of Conv3d", "Table I, side of the output of 512",
                  "Table II, side of the output of Conv3d"]  # fmt: skip
    assert [fact.quantity for fact in facts if not fact.equal] == misprinted


def test_operations_are_those_of_a_count_by_hand():
    frames, width, ffn = 7, 16, 32
    layer = torch.nn.TransformerEncoderLayer(width, 4, ffn, batch_first=True).eval()
    by_hand = frames * (4 * width * width + 2 * width * ffn) + 2 * frames * frames * width
    assert networks.operations(layer, [torch.zeros(1, frames, width)]) == by_hand
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN is what would hide them")
def test_operations_of_recurrent_layers_count_on_a_gpu_too():
    layer, seen = torch.nn.LSTM(8, 16, batch_first=True), torch.zeros(1, 5, 8)
    assert networks.operations(layer.cuda(), [seen.cuda()]) == networks.operations(layer.cpu(), [seen]) > 0


def test_a_back_end_gets_features_of_mean_0_and_deviation_1():
    p = smoke_trial(settings.GLOBAL).params
    reader = networks.build_reader(p, 4)
    model = networks.SentenceReader(reader, torch.nn.Dropout()).eval()
    assert reader.network.head is None  # what only words need does not count
    lengths = torch.tensor([5, 8])
    raw = torch.randn(2, 8, reader.channels) * 3 + 2
    raw[0, 5:] = 1e3  # padding
    model.measure(raw, lengths)
    valid = torch.cat([model.scaled(raw)[0, :5], model.scaled(raw)[1]])
    torch.testing.assert_close(valid.mean(0), torch.zeros(reader.channels), atol=1e-5, rtol=0)
    torch.testing.assert_close(valid.std(0), torch.ones(reader.channels), atol=1e-4, rtol=0)


def test_who_guesses_knows_a_clips_length_and_nothing_else():
    p = smoke_trial(settings.BLIND).params
    assert p["blind"]
    torch.manual_seed(0)
    front = networks.build_reader(p | {"network": "global"}, 4)
    back = networks.build_back_end(p, front.channels, 39)
    crops, previous = torch.randn(2, 8, p["crop"], p["crop"]), torch.zeros(2, 3, dtype=torch.long)
    for blind in (True, False):
        model = networks.SentenceReader(front, back, blind=blind).eval()
        logits = model(crops, torch.tensor([8, 8]), previous)
        assert torch.allclose(logits[0], logits[1], atol=1e-6) == blind
        assert not torch.allclose(model(crops, torch.tensor([8, 5]), previous)[1], logits[1], atol=1e-6)


def test_the_blocks_of_zhang_et_al_read_maps():
    p = smoke_trial(settings.TF).params
    back = networks.build_back_end(p, 8 * p["width"], 39)
    model = networks.SentenceReader(networks.build_reader(p | {"network": "global"}, 4), back).eval()
    crops, lengths = torch.randn(2, 8, p["crop"], p["crop"]), torch.tensor([8, 6])
    maps = model.features(crops, lengths)
    assert maps.shape == (2, 8, 8 * p["width"], 1, 1)
    # at first the fusion is the average, which these maps equal
    torch.testing.assert_close(maps[0, :, :, 0, 0], model.front.features(crops, lengths)[0])
    assert model(crops, lengths, torch.zeros(2, 3, dtype=torch.long)).shape == (2, 3, 39)


def test_the_loss_of_frames_is_their_mean_cross_entropy():
    logits, labels = torch.randn(3, 5, 4), torch.tensor([0, 3, 1])
    scores = logits.log_softmax(-1).mean(1)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(5), label_smoothing=0.1)
    torch.testing.assert_close(words.LOSSES["blstm"](scores, {"labels": labels}, smoothing=0.1), expected)


def test_grid_has_columns_of_its_own_and_no_published_effects():
    parameters = settings.Parameters(data="paper", sentences="grid")
    assert results._sentence_columns(parameters) == {"CER": "cer", "WER": "wer"}
    assert {(c.effect, c.sign) for c in results._sentence_claims(parameters)} == {(None, -1)}
    lrs3 = {c.id: c.effect for c in results._sentence_claims(settings.Parameters(data="paper", sentences="lrs3"))}
    assert lrs3["was-wer"] is None
    assert lrs3["two-wer"] == pytest.approx(-6.1)


def test_only_figures_whose_trials_are_finished_are_drawn(small_run):
    parameters, store, _, _ = small_run
    drawn = pictures.drawn(parameters.model_copy(update={"tables": []}), store)
    assert set(drawn) >= {"figure 5", "figure 7", "figure 8", "extra A"}
    assert pictures.drawn(settings.Parameters(profile="cpu"), store) == {}


def test_drawings_show_the_modules_shapes():
    texts = [text.get_text() for ax in pictures.framework().axes for text in ax.texts]
    assert any("29 × 1024" in text for text in texts)
    texts = [text.get_text() for ax in pictures.local_stream().axes for text in ax.texts]
    assert any("38 × 29 × 32 × 32" in text for text in texts)
    texts = [text.get_text() for ax in pictures.back_end().axes for text in ax.texts]
    assert sum("768 × 29" in text for text in texts) == 3
    assert len(pictures.landmark_choice().axes) == 2
    texts = [text.get_text() for ax in pictures.graph_layer().axes for text in ax.texts]
    assert any("29 × 8 × 38 × 38" in text for text in texts)


def test_rows_differ_in_what_they_are():
    rows = plan.rows_of([1.0])
    specs = [json.dumps(row, sort_keys=True) for row in rows.values()]
    assert len(set(specs)) == len(specs)


def test_the_rate_rises_in_the_warm_up_and_then_falls_to_nothing():
    rate = words.rising_then_falling(4, warmup=2)
    assert [rate(epoch) for epoch in range(5)] == [0.5, 0.75, 0.5, 0.25, 0.0]
    assert [words.rising_then_falling(4, warmup=none)(0) for none in (0, 1)] == [1.0, 1.0]
