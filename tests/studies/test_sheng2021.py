from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reprolib import planning, studies, tries, tuning
from reprolib.datasets import grid, synthetic_speech
from reprolib.datasets.speech import mouth_crops
from reprolib.errors import UserError
from reprolib.lip_checkpoints import LipModel
from reprolib.models.asst_gcn import ASSTGCN, PlainAttention
from reprolib.report import published_from
from reprolib.results import Results
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.studies.sheng2021 import data, experiment, facts, figures, networks, scores, sentences, words
from reprolib.studies.sheng2021 import rows as r
from reprolib.studies.sheng2021.config import Training
from reprolib.studies.sheng2021.work import CLASSES, COUNTS, examples_for, is_shared, work
from reprolib.trial import Context

STUDY = studies.load("sheng2021")
SMOKE = STUDY.Parameters(profile="smoke", data="synthetic")
PUBLISHED = STUDY.folder / "sheng2021" / "published.csv"
SMALL = (r.TIME, r.GLOBAL, r.LOCAL, r.TWO, r.FULL_KEPT, r.BLSTM, r.GRAMMAR, r.TWO_S, r.CTC)


def rows(profile: str = "smoke", dataset: str = "synthetic") -> dict:
    return {row.name: row for row in STUDY.rows(STUDY.Parameters(profile=profile, data=dataset))}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Smoke trials of one row of every kind."""
    folder = tmp_path_factory.mktemp("results")
    store, context = RunStore(folder), Context(device="cpu", results=folder)
    trials = studies.needed(STUDY, SMOKE, SMALL)
    records = run(trials, STUDY.execute, store, context, progress=False)
    assert [record.failure for record in records] == [None] * len(records)
    return store, context, {record.trial.name: record for record in records}


# --- rows and claims -------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_has_rows_or_needs_none():
    places = {place for row in rows("cpu", "public").values() for place in row.places}
    paper = {f"table {n}" for n in (*range(1, 8), "4b")} | {f"figure {n}" for n in range(1, 10)}
    assert paper <= places | set(STUDY.without_rows)
    of_extras = places | {place for row in rows("cpu").values() for place in row.places}
    assert {table.place for table in STUDY.declared_tables} <= of_extras | set(STUDY.without_rows)


@pytest.mark.parametrize("number", ["4", "4b", "5", "6", "7"])
def test_every_row_that_the_paper_prints_is_trained(number):
    [table] = [table for table in STUDY.declared_tables if table.place == f"table {number}"]
    lines = table.lines or {
        name: (name, "") for name, row in rows("cpu", "public").items() if table.place in row.places
    }
    assert set(published_from(PUBLISHED, number).index) <= set(lines)
    there = rows("cpu", "public") | rows("cpu", "paper")
    assert {row for row, _ in lines.values()} <= set(there)


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
@pytest.mark.parametrize("source", ["synthetic", "public", "paper"])
def test_no_trial_of_a_source_is_that_of_two_rows(profile, source):
    trials = [t for row in rows(profile, source).values() for t in STUDY.trials_of(row)]
    assert len({trial.key for trial in trials}) == len(trials)


def test_rendered_words_are_for_the_streams_alone():
    assert set(rows("cpu")) == {r.TIME, r.GLOBAL, r.LOCAL, r.TWO}


def test_the_effect_of_a_claim_is_the_difference_of_the_papers_cells():
    effects = {claim.id: claim.published_effect for claim in STUDY.registered_claims}
    assert effects["two-local"] == pytest.approx(85.7 - 82.6)
    assert effects["attention"] == pytest.approx(78.3 - 82.6)
    assert effects["two-wer"] == pytest.approx(62.7 - 68.8)


def test_the_gain_of_two_streams_on_words_is_too_small_to_be_a_claim():
    [asked] = [claim for claim in STUDY.registered_claims if claim.id == "contours"]
    assert asked.kind == "question"


def test_rows_that_a_claim_compares_get_the_same_training():
    found = rows("cpu", "public") | rows("cpu", "paper")
    for claim in STUDY.registered_claims:
        if claim.kind != "question":
            a, b = (replace(found[name].config.training, lr=1.0) for name in (claim.a, claim.b))
            assert a == b, claim.id


def test_graphs_are_compared_on_features_of_one_training_that_has_none():
    found = rows("cpu", "public")
    for name in (r.FULL_KEPT, r.NO_SEMANTIC, r.NO_ATTENTION, r.NO_ENCODING, r.PLAIN, r.NO_GRAPH_KEPT):
        [front] = found[name].config.before
        assert front == found[r.NO_GRAPH].config
        assert (front.graph, front.encoding) == ("none", False)


def test_back_ends_are_compared_on_features_of_one_training_that_has_none():
    for suffix in ("", r.ITALIAN):
        found = rows("cpu", "public")
        for name in (r.MSTCN, r.BLSTM, r.BGRU):
            assert found[name + suffix].config.before == (found[r.FRONT + suffix].config,)
            assert found[r.FRONT + suffix].config.back_end == "mean"


def test_two_streams_start_from_the_rows_of_the_single_ones_and_sentences_from_those_of_words():
    found = rows("cpu", "public")
    assert found[r.TWO].config.before == (found[r.GLOBAL].config, found[r.LOCAL].config)
    for sentence, front in ((r.TWO_S, r.TWO), (r.GLOBAL_S, r.GLOBAL), (r.LOCAL_S, r.LOCAL), (r.CTC, r.GLOBAL)):
        assert found[sentence].config.before == (found[front].config,)


def test_a_tuned_learning_rate_is_the_best_of_those_tried():
    logged = tuning.read(STUDY)
    for name in {t.row for t in logged if (t.data, t.profile) == ("public", "cpu")}:
        best = tries.best(logged, data="public", profile="cpu", row=name)
        assert rows("cpu", "public")[name].config.training.lr == best, name


def test_rows_that_carry_claims_are_tuned_or_follow_one_that_is():
    assert set(r.RATE_OF.values()) <= set(r.TUNED["public"]) <= set(rows("cpu", "public"))
    judged = {n for c in STUDY.registered_claims if c.kind != "question" for n in (c.a, c.b)}
    bases = {name.removesuffix(r.ITALIAN).removesuffix(r.OF_LRS2) for name in judged}
    assert bases <= set(r.RATE_OF) | set(r.TUNED["public"])


def test_a_tuned_rate_reaches_the_stages_that_start_from_the_row(monkeypatch):
    monkeypatch.setattr(r.tries, "rates", lambda path, *, data, profile: {r.GLOBAL: 0.5})
    found = rows("cpu", "public")
    assert found[r.GLOBAL].config.training.lr == found[r.TWO].config.before[0].training.lr == 0.5
    assert found[r.MASKED].config.training.lr == 0.5  # follows it
    assert found[r.LOCAL].config.training.lr != 0.5


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_crops_and_patches_keep_the_papers_proportions(profile):
    sizes, paper = r.SIZES[profile], r.PAPER_SIZES
    assert sizes.patch / sizes.crop == pytest.approx(paper.patch / paper.crop, rel=0.06)
    assert sizes.crop / sizes.size == pytest.approx(paper.crop / paper.size, rel=0.03)
    assert (paper.channels, paper.embedding) == (512, 64)


# --- work ------------------------------------------------------------------------------------------------


def test_the_trainings_before_a_row_come_first_and_are_shared():
    found = rows("cpu", "public")
    made = work(found[r.TWO_S].config)
    assert [w.config for w in made] == [found[n].config for n in (r.GLOBAL, r.LOCAL, r.TWO, r.TWO_S)]
    assert [w.spec is not None for w in made] == [True, True, True, False]
    assert work(found[r.GLOBAL].config)[0].spec == made[0].spec
    assert work(found[r.TIME].config) == []


def test_only_whole_networks_of_the_streams_are_kept():
    found = rows("cpu", "public")
    shared = {name for name, row in found.items() if row.config.training and is_shared(row.config)}
    assert shared == {
        r.GLOBAL, r.LOCAL, r.TWO, r.NO_LMFE, r.NO_LCFE, r.NO_GRAPH, r.FRONT, r.GLOBAL_AGAIN, r.MASKED, r.SPARSE,
        r.FRONT + r.ITALIAN, r.GLOBAL + r.ITALIAN,
    }  # fmt: skip


def test_rows_that_differ_have_networks_that_are_counted_apart():
    by_name = {}
    for profile in ("smoke", "cpu"):
        for row in rows(profile, "public").values():
            for made in work(row.config):
                config = replace(made.config, training=None, before=(), clips=0, data="public", profile="cpu")
                by_name.setdefault(made.network, set()).add(replace(config, start="random"))
    assert {name: len(configs) for name, configs in by_name.items() if len(configs) > 1} == {}


def test_the_counts_of_words_follow_from_the_committed_lists():
    split = list(data.listed_parts("grid_split.csv").values())
    assert {part: split.count(part) for part in data.PARTS} == {"train": 175, "validation": 25, "test": 50}
    assert COUNTS["grid", "words"] == (4 * 6 * 175, 4 * 6 * 25)
    assert len(data.GRID_WORDS) == CLASSES["grid"] and len(data.RENDERED_WORDS) == CLASSES["facesynth"]
    assert examples_for(rows("cpu")[r.GLOBAL].config) == (1200, 185)


def test_the_split_of_grid_has_every_letter_and_digit_in_training_and_test():
    split = data.listed_parts("grid_split.csv")
    assert {pair[0] for pair in split} == set(grid.SLOTS[3]) and {pair[1] for pair in split} == set(grid.SLOTS[4])
    for part in ("train", "test"):
        of_part = [pair for pair, where in split.items() if where == part]
        assert {pair[0] for pair in of_part} == set(grid.SLOTS[3])
        assert {pair[1] for pair in of_part} == set(grid.SLOTS[4])


def test_nobody_of_lipnet_ita_is_in_two_parts_and_the_two_who_are_seen_most_are_trained_on():
    people = data.listed_parts("lipnet_ita_people.csv")
    assert len(people) == 17
    assert people["bs"] == people["ds"] == "train"
    assert sum(part == "test" for part in people.values()) == 7


@pytest.mark.parametrize("name", [r.GLOBAL, r.LOCAL, r.TWO, r.FULL_KEPT, r.BLSTM, r.FLOW, r.TWO_S, r.CTC, r.WAS_S])
def test_plan_counts_and_times_the_networks_of_all_kinds(name):
    made = work(rows()[name].config)[-1]
    load = experiment.workload(made, images=2)
    torch.manual_seed(0)
    output = load.network(load.data["images"])
    assert torch.isfinite(load.loss(output, load.data))


def test_a_counted_network_has_the_parameters_of_the_one_that_is_trained():
    for name in (r.LOCAL, r.FULL_KEPT, r.BGRU):
        config = rows()[name].config
        trained = words.build(config)
        counted = experiment.network_of(work(config)[-1])
        assert sum(p.numel() for p in trained.parameters()) == sum(p.numel() for p in counted.parameters())


# --- data ------------------------------------------------------------------------------------------------


def test_rendered_words_have_no_homophenes_and_pairs_that_differ():
    classes = synthetic_speech.viseme_class_of(data.RENDERED_WORDS)
    assert len(set(classes.tolist())) == len(data.RENDERED_WORDS) == 30


def test_a_words_own_frames_hide_its_neighbours():
    np.testing.assert_array_equal(data.own_frames(3.2, 5.9, most=9, there=100), [3, 4, 5])
    np.testing.assert_array_equal(data.own_frames(10, 30, most=4, there=100), [18, 19, 20, 21])
    np.testing.assert_array_equal(data.own_frames(7.2, 7.4, most=9, there=100), [7])
    np.testing.assert_array_equal(data.own_frames(98, 103, most=9, there=100), [98, 99, 99, 99, 99])


def test_flow_finds_a_shift():
    rng = np.random.default_rng(0)
    frame = np.kron(rng.integers(0, 256, (12, 12)), np.ones((4, 4))).astype(np.uint8)
    flow = data.optical_flow(np.stack([frame, np.roll(frame, 2, axis=1)])[None])
    assert (flow.shape, flow.dtype) == ((1, 2, 2, 48, 48), np.int8)
    middle = flow[0, :, 0, 12:36, 12:36] / data.FLOW_STEPS
    assert np.median(middle[0]) == pytest.approx(2, abs=0.3) and np.median(middle[1]) == pytest.approx(0, abs=0.2)
    np.testing.assert_array_equal(flow[:, :, 0], flow[:, :, 1])


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
    landmarks = np.full((2, 3, 68, 2), 31.5, np.float32)
    landmarks[:, :, 48], landmarks[:, :, 54] = (18.5, 31.5), (44.5, 31.5)
    lengths = np.array([3, 2])
    masks = data.lip_masks(frames, landmarks, lengths, 16)
    assert (masks.shape, masks.dtype) == ((2, 4, 3, 16, 16), np.uint8)
    crops = mouth_crops(frames, landmarks, 16)
    for clip, length in enumerate((3, 2)):
        np.testing.assert_array_equal(masks[clip, 0, :length] > 127, crops[clip, :length] > 127)
    assert not masks[1, :, 2].any()  # after the clip's end
    assert not masks[:, 1:].any()  # neither teeth, tongue nor cavity
    np.testing.assert_array_equal(data.lip_masks(frames, landmarks, lengths, 16), masks)
    assert asked == [3, 2]  # kept, not asked again


def test_real_data_without_a_folder_are_refused():
    with pytest.raises(UserError, match="The dataset grid is read from a folder"):
        data.examples_of(rows("cpu", "public")[r.GLOBAL].config, None)


# --- what networks see -----------------------------------------------------------------------------------


def test_a_clip_is_normalised_over_its_valid_frames_whatever_its_brightness():
    clips = torch.randint(0, 256, (2, 4, 8, 8), dtype=torch.uint8)
    clips[1] = clips[0]
    lengths = torch.tensor([4, 2])
    found = words.normalised(clips, lengths)
    assert found[0].mean() == pytest.approx(0, abs=1e-5)
    assert found[1, :2].mean() == pytest.approx(0, abs=1e-5)
    assert not found[1, 2:].any()
    dark = words.normalised(clips // 4, lengths)
    assert (dark - found).abs().max() < 0.2


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


def test_a_mirrored_flow_points_the_other_way():
    flow = torch.ones(16, 2, 3, 4, 4)
    batch = {"crops": torch.zeros(16, 3, 4, 4), "flow": flow, "lengths": torch.full((16,), 3)}
    out = words.augmented(batch, torch.Generator().manual_seed(0), shift=0)["flow"]
    assert set(out[:, 0].flatten().tolist()) == {-1.0, 1.0}
    assert (out[:, 1] == 1).all()


def test_of_kept_features_one_version_is_taken_for_each_word():
    features = torch.stack([torch.zeros(32, 5, 3), torch.ones(32, 5, 3)], 1)
    batch = {"features": features, "lengths": torch.full((32,), 5)}
    taken = words.augmented(batch, torch.Generator().manual_seed(0), shift=1)["features"]
    assert taken.shape == (32, 5, 3)
    assert set(taken.mean((1, 2)).tolist()) == {0.0, 1.0}


def test_the_guess_from_the_time_follows_moment_and_length_and_else_the_commonest_word():
    def said(labels, times):
        return data.Examples({}, ("W",) * len(labels), ("u",) * len(labels), ("s",) * len(labels), ("A", "B", "C"),
                             np.array(labels), np.array(times, np.float32))  # fmt: skip

    early, late = [(10, 5)] * 30, [(50, 5)] * 40
    train = said([0] * 30 + [1] * 40, early + late)
    assert words.guess_from_time(train, said([0, 0], [(11, 5), (49, 5)])).argmax(1).tolist() == [0, 1]
    blind = said([0, 1, 1], [(0, 0)] * 3)
    assert words.guess_from_time(blind, blind).argmax(1).tolist() == [1, 1, 1]


# --- networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "kind", "semantic", "attention"),
    [("both", ASSTGCN, True, True), ("semantic", ASSTGCN, True, False), ("attention", ASSTGCN, False, True),
     ("none", ASSTGCN, False, False), ("plain", PlainAttention, None, None)],
)  # fmt: skip
def test_a_row_has_the_graphs_that_it_names(graph, kind, semantic, attention):
    found = networks.build_graph(replace(rows()[r.LOCAL].config, graph=graph))
    assert isinstance(found, kind)
    if kind is ASSTGCN:
        assert (found.layers[0].semantic_graph is not None, found.layers[0].theta is not None) == (semantic, attention)


def test_kept_features_of_landmarks_with_graph_and_encoding_give_what_the_whole_stream_gives():
    torch.manual_seed(0)
    whole = networks.build_reader(rows()[r.LOCAL].config).eval()
    kept = networks.build_graph_back_end(rows()[r.FULL_KEPT].config).eval()
    stream = whole.network.local_stream
    kept.graph, kept.head, kept.encoding = stream.graph, whole.network.head, stream.encoding
    frames, points, lengths = torch.rand(2, 7, 36, 36), 36 * torch.rand(2, 7, 68, 2), torch.tensor([7, 7])
    nodes = stream.nodes(frames, points, lengths) - stream.encoding
    torch.testing.assert_close(kept(nodes, lengths), whole(frames, points, lengths))


def test_semantic_graphs_of_some_epochs_are_kept():
    reader = networks.build_reader(rows()[r.LOCAL].config)
    graph = reader.network.local_stream.graph.layers[0].semantic_graph
    for epoch in range(3):
        nn.init.constant_(graph, float(epoch))
        reader.keep_graphs(epoch)
    assert reader.snapshot_epochs.tolist() == [1, 2, 0, 0]
    assert reader.snapshots[:2, 0, 0, 0, 0].tolist() == [0.0, 1.0]


def test_a_back_end_gets_features_of_mean_0_and_deviation_1():
    model = networks.Scaled(nn.Identity(), 3)
    features, lengths = 5 + 2 * torch.randn(40, 9, 3), torch.tensor([9, 4] * 20)
    features[1::2, 4:] = 1e3  # padding
    model.measure(features, lengths)
    valid = model.scale(features)[torch.arange(9) < lengths[:, None]]
    torch.testing.assert_close(valid.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(valid.std(0), torch.ones(3))


def test_the_loss_of_a_blstm_is_the_frames_mean_cross_entropy():
    config = rows()[r.BLSTM].config
    logits, labels = torch.randn(4, 5, 3), torch.tensor([0, 1, 2, 0])
    found = words.loss_of(config)(logits.log_softmax(-1).mean(1), {"labels": labels})
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(5))
    torch.testing.assert_close(found, expected)


# --- sentences -------------------------------------------------------------------------------------------

TEXTS = ["BIN BLUE AT A ONE NOW", "LAY RED BY B TWO SOON"]
SPANS = np.tile(np.stack([np.arange(6) * 10 + 5, np.arange(6) * 10 + 14], 1), (2, 1, 1)).astype(np.float32)


def parts(*, stage_epochs: int = 1, steps: int = 1, spans=SPANS) -> sentences.Parts:
    training = Training(epochs=9, patience=9, batch_size=2, lr=1.0, final_lr=1.0, warmup=4, stage_epochs=stage_epochs)
    return sentences.Parts(TEXTS, spans, training, steps=steps)


def batch_of_two() -> dict:
    frames = torch.arange(75.0)[None, None, :, None].expand(2, 1, 75, 1)
    return {"features": frames, "lengths": torch.tensor([75, 75]), "which": torch.tensor([0, 1])}


def test_the_curriculum_begins_with_one_word_and_ends_with_whole_sentences():
    cut = parts(steps=2)
    most = []
    for _ in range(12):
        most.append(cut.most_words())
        cut(batch_of_two(), torch.Generator().manual_seed(0))
    assert most == [1, 1, 2, 2, 3, 3, 5, 5, None, None, None, None]


def test_a_part_has_its_own_frames_and_says_its_own_words():
    made = parts()(batch_of_two(), torch.Generator().manual_seed(1))
    for row, text in enumerate(TEXTS):
        said = sentences.TOKENS.decode(made["previous"][row, 1:].tolist())
        place = text.split().index(said)  # one word
        start, end = SPANS[row, place]
        shown = made["features"][row, : made["lengths"][row], 0]
        assert shown[0] <= start and shown[-1] >= end - 1
        assert (shown.diff() == 1).all()
        assert len(shown) <= (end - start) + 2 * sentences.MARGIN


def test_without_times_sentences_stay_whole():
    made = parts(spans=None)(batch_of_two(), torch.Generator().manual_seed(1))
    assert made["lengths"].tolist() == [75, 75]
    assert [sentences.TOKENS.decode(row[1:].tolist()) for row in made["previous"]] == TEXTS


def test_a_part_is_wide_enough_to_be_spelt_by_ctc():
    spans = SPANS.copy()
    spans[..., 1] = spans[..., 0] + 1  # of one frame each
    cut = parts(spans=spans)
    for seed in range(20):
        made = cut(batch_of_two(), torch.Generator().manual_seed(seed))
        texts = [sentences.TOKENS.decode(row[1:].tolist()) for row in made["previous"]]
        for text, length in zip(texts, made["lengths"].tolist(), strict=True):
            assert length >= sentences.frames_needed(text)


def test_the_rate_peaks_at_lr_after_the_warm_up():
    training = Training(epochs=1, patience=1, batch_size=1, lr=0.3, final_lr=0.3, warmup=10)
    schedule = sentences.schedule_of(training)
    layer = nn.Linear(1, 1)
    optimiser = schedule.optimiser_of(layer)
    change = schedule.change(optimiser)
    rates = []
    for _ in range(40):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        change.after_step()
    assert np.argmax(rates) == 9 and max(rates) == pytest.approx(0.3)
    assert rates[39] == pytest.approx(0.15)  # four times the warm-up: half the peak


def test_grammar_says_the_commonest_word_of_each_position_of_usual_sentences():
    texts = ["BIN RED", "LAY RED", "BIN BLUE", "A B C"]
    assert sentences.by_grammar(texts) == "BIN RED"


def test_training_sentences_that_cannot_be_learned_are_left_out_and_counted():
    def clips(*texts):
        lengths = np.full(len(texts), 4)
        return data.Examples({"lengths": lambda: lengths}, texts, texts, texts)

    assert sentences.learnable(clips("ABAB", "BEE"), ctc=True) == [0, 1]
    with pytest.warns(UserWarning, match="1 of 2 training sentences"):
        assert sentences.learnable(clips("É", "TOO LONG"), ctc=False) == [1]
    with pytest.warns(UserWarning, match="2 of 3 training sentences"):
        assert sentences.learnable(clips("ABAB", "BEES", "TOO LONG"), ctc=True) == [0]


# --- scores ----------------------------------------------------------------------------------------------


def test_letters_other_slots_and_the_known_slot_are_scored_apart():
    groups = ("letter", "letter", "digit", "digit")
    logits = np.array([[5, 1, 9, 0], [5, 1, 0, 0], [0, 0, 1, 2.0]])
    arrays = scores.word_arrays(logits, np.array([0, 0, 2]), groups)
    found = scores.word_metrics(arrays)
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert (found["letters"], found["closed"]) == (50, 0)
    assert found["in_slot"] == pytest.approx(200 / 3)  # the first is a letter, and its letter scores highest


def test_minimal_pairs_are_scored_apart():
    arrays = scores.word_arrays(np.eye(3), np.array([0, 2, 2]), ("pair", "pair", "distinct"))
    assert scores.word_metrics(arrays) == {"accuracy": pytest.approx(200 / 3), "pairs": 100}


def test_pooled_rates_differ_from_the_mean_of_clips():
    arrays = {name: np.array([[1, 1], [0, 9]]) for name in ("characters", "words")}
    found = scores.sentence_metrics(arrays)
    assert (found["cer"], found["cer_clip"]) == (10, 50)


def test_letter_and_digit_are_the_fourth_and_fifth_word():
    assert scores.letter_and_digit("BIN BLUE AT A ONE NOW") == "A ONE"
    assert scores.letter_and_digit("BIN BLUE AT") == ""


def test_a_rate_of_nothing_is_not_a_number():
    assert np.isnan(scores.rate(np.array([0.0, 0.0])))


def test_the_variance_between_groups_of_equal_items_is_all_there_is():
    groups = np.repeat([0, 1, 2], 4)
    assert scores.share_of_variance(np.eye(3)[groups], groups) == pytest.approx(100)
    assert scores.share_of_variance(np.eye(3)[groups], np.tile([0, 1, 2, 3], 3)) == pytest.approx(0)


def test_graphs_that_follow_the_word_are_told_from_graphs_that_follow_the_clip():
    rng = np.random.default_rng(0)
    labels, clips = np.tile(np.arange(6), 20), np.repeat(np.arange(20), 6)
    of_word = np.eye(6)[labels] + 0.3 * rng.normal(size=(120, 6))
    of_clip = np.eye(20)[clips] + 0.3 * rng.normal(size=(120, 20))
    share, chance, p = scores.permutation_test(of_word, labels, clips, seed=0)
    assert share > 5 * chance and p == pytest.approx(1 / 200)
    share, chance, p = scores.permutation_test(of_clip, labels, clips, seed=0)
    assert share < 2 * chance and p > 0.05


# --- records ---------------------------------------------------------------------------------------------


def test_a_trial_is_a_function_of_its_specification(small_run, tmp_path):
    _, _, records = small_run
    for name in (r.TWO, r.CTC):
        again = experiment.run(rows()[name].config, 0, Context(device="cpu", results=tmp_path))
        assert again.metrics == records[name].metrics


def test_another_seed_gives_another_network(small_run):
    _, context, records = small_run
    assert experiment.run(rows()[r.GLOBAL].config, 1, context).curves != records[r.GLOBAL].curves


def test_every_row_has_a_validation_score_and_says_where_it_stopped(small_run):
    _, _, records = small_run
    for name, record in records.items():
        assert "validation" in record.metrics, name
        assert bool(record.stopped) == (name not in (r.TIME, r.GRAMMAR)), name


def test_claims_find_the_units_of_their_test_items(small_run):
    store, _, _ = small_run
    results = Results(STUDY, store)
    found = results.judged(SMOKE)
    effects = {judged.claim.id: judged.effect for judged in found}
    assert effects["two-local"] is not None and effects["two-local"].seeds == 1
    assert {judged.verdict for judged in found} == {"not tested"}  # smoke trainings do not beat a guess


def test_tables_show_ours_beside_the_papers(small_run):
    store, _, _ = small_run
    tables = STUDY.tables(SMOKE, store)
    assert "table 1" not in tables  # of the method itself
    assert tables["table 4"].loc["Two Stream", ("LRW Acc", "paper")] == "85.7"
    assert tables["table 4b"].loc["Two Stream, LRS3", ("WER", "paper")] == "62.7"
    assert tables["table 4"].loc["Only Global", ("LRW Acc", "ours")] != "not done"


def test_figures_are_drawn_of_rows_that_were_run(small_run):
    store, _, _ = small_run
    drawn = figures.drawn(Results(STUDY, store), SMOKE)
    assert set(drawn) >= {"figure 5", "figure 7", "figure 8", "figure 8b", "figure 9b"}


def test_nothing_is_drawn_without_records(tmp_path):
    assert figures.drawn(Results(STUDY, RunStore(tmp_path)), SMOKE) == {}


def test_tuning_sees_validation_items_alone_and_keeps_no_network(small_run, tmp_path):
    _, context, records = small_run
    score = experiment.validate(rows()[r.GLOBAL].config, 0, replace(context, results=tmp_path))
    assert score == max(records[r.GLOBAL].curves["validation"])
    assert not list(tmp_path.rglob("*.pt"))


def test_drawings_show_the_modules_shapes():
    texts = [text.get_text() for text in figures.framework().axes[0].texts]
    assert any("29 × 1024" in text for text in texts)
    for draw in (figures.local_stream, figures.graph_layer, figures.back_end, figures.landmark_choice):
        assert draw().axes


# --- numbers of the method -------------------------------------------------------------------------------


def test_numbers_of_the_paper_hold_but_for_the_side_that_its_rule_misprints():
    unequal = [fact.quantity for fact in STUDY.fidelity() if not fact.equal]
    assert unequal == ["Table I, side of the output of 512"]
    assert {fact.source for fact in STUDY.fidelity()} == {"paper", "arithmetic"}


def test_the_front_ends_dimensions_are_the_tables():
    assert facts.dimensions("table 1").loc["GlobalPool2d", "ours"] == "29 × 512 × 1 × 1"
    assert len(facts.dimensions("table 2")) == 5


def test_networks_csv_has_every_network_of_the_smoke_profile_with_its_size():
    kept = planning.read_networks(STUDY)
    for name in (r.GLOBAL, r.LOCAL, r.CTC):
        made = work(rows()[name].config)[-1]
        with torch.device("meta"):
            network = experiment.network_of(made)
        assert kept[made.network][0] == sum(p.numel() for p in network.parameters())


# --- sentences of the page ---------------------------------------------------------------------------------


class Found:
    """Results of one row, as the page's sentences ask for them."""

    def __init__(self, row: str, metrics: list[dict], graphs: np.ndarray | None = None) -> None:
        self.row, self.graphs = row, graphs
        self.records = [SimpleNamespace(metrics=one) for one in metrics]

    def by_row(self, parameters):
        return {self.row: self.records}

    def arrays(self, record):
        return {"attention_examples": self.graphs}


def test_the_page_counts_damaged_clips_and_interpolated_frames():
    assert figures.left_out(Found(r.TIME, [{"damaged": 0.0, "repaired": 0.0}]), SMOKE) == ""
    assert figures.left_out(Found(r.LOCAL, []), SMOKE) == ""
    said = figures.left_out(Found(r.TIME, [{"damaged": 16.0, "repaired": 1200.0}]), SMOKE)
    assert said == "Damaged clips left out: 16. Frames with interpolated landmarks: 1,200."


def test_the_page_says_what_attention_graphs_follow():
    seeds = [
        {"graph_share_word": 30.0, "graph_share_chance": 4.0, "graph_share_clip": 55.0, "graph_p": 0.005},
        {"graph_share_word": 34.0, "graph_share_chance": 4.0, "graph_share_clip": 57.0, "graph_p": 0.03},
    ]
    uniform = np.full((2, 2, 38, 38), 1 / 38)
    said = figures.followed(Found(r.LOCAL, seeds, uniform), SMOKE)
    assert said.startswith("32 % of the attention graphs' variance within clips lies between words, 4 % where")
    assert "(p ≤ 0.030); 56 % of all between clips" in said
    assert "gives itself 1.0 times an equal share" in said
    itself = np.broadcast_to(np.eye(38), uniform.shape)
    assert "gives itself 38.0 times" in figures.followed(Found(r.LOCAL, seeds, itself), SMOKE)
    assert figures.followed(Found(r.LOCAL, [{"accuracy": 1.0}]), SMOKE) == ""
