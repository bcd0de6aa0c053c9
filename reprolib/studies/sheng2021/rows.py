"""The tables of sheng2021 as data: which rows there are, what each one trains, and which table needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reprolib import tries
from reprolib.parameters import StudyParameters
from reprolib.studies.sheng2021.config import Config, Dataset, Sizes, Training
from reprolib.study import Row, Table

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 2

# Row names: the paper's where it has the row, ours in the same manner where it does not.
TIME = "Guess from the time"
TWO, GLOBAL, LOCAL = "Two Stream", "Only Global", "Only Local"
GLOBAL_AGAIN = "Only Global, trained again"
NO_LMFE, NO_LCFE, SPARSE = "Model w/o LMFE", "Model w/o LCFE", "Model with sparse LRLPs"
NO_GRAPH = "No graph and no encoding"
FULL_KEPT = "Full model, kept features"
NO_SEMANTIC, NO_ATTENTION, NO_ENCODING = "Model w/o A^se", "Model w/o A^st", "Model w/o LRLPs SE"
PLAIN, NO_GRAPH_KEPT = "Plain attention, kept features", "No graph, kept features"
FRONT = "ResNet, mean of frames"
MSTCN, BLSTM, BGRU = "ResNet+MSTCN", "ResNet+BLSTM", "ResNet+BGRU"
MT, WAS, FLOW = "MT", "WAS", "Two-Stream 3DCNN+BLSTM"
MASKED = "Only Global with lip masks"

GRAMMAR = "Grammar alone"
TWO_S, GLOBAL_S, LOCAL_S = f"{TWO}, sentences", f"{GLOBAL}, sentences", f"{LOCAL}, sentences"
CTC, TF, WAS_S = "TM-CTC", "Zhang et al.", "WAS, sentences"

ITALIAN, OF_LRS2 = ", LipNet-ITA", ", LRS2"


def italian(row: str) -> str:
    """A row on LipNet-ITA."""
    return row + ITALIAN


WORDS = {"LRW Acc": "accuracy"}
SLOTS = {"letters": "letters", "other slots": "closed", "slot known": "in_slot"}
COST = {"parameters (M)": "parameters_m"}
PARTS = {"CER, letters and digits": "cer_pair", "WER, letters and digits": "wer_pair"}
EACH = {"CER, mean of clips": "cer_clip", "WER, mean of clips": "wer_clip"}
COUNTS = {"Utterances": "utterances", "Word instances": "words", "Vocabulary": "vocabulary", "people": "people"}


def _of_both_sets(named: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Lines of a table of sentences: each method on LRS3, or our set in its place, and on LRS2."""
    rows = {"Grammar alone": GRAMMAR, **named}
    of_lrs3 = {f"{line}, LRS3": (row, "") for line, row in rows.items()}
    return of_lrs3 | {f"{line}, LRS2": (row + OF_LRS2, "") for line, row in rows.items()}


TABLES = (
    Table("table 1", "Table I. The global stream", {}),
    Table("table 2", "Table II. Local motion features", {}),
    Table("table 3", "Table III. The paper's sets, and ours in their place", COUNTS, {
        "LRW trainval": (TIME, "_train"), "LRW test": (TIME, "_test"),
        "LRS2 pretrain": (GRAMMAR + OF_LRS2, "_pretrain"), "LRS2 main": (GRAMMAR + OF_LRS2, "_train"),
        "LRS3 pretrain": (GRAMMAR, "_pretrain"), "LRS3 trainval": (GRAMMAR, "_train"), "LRS3 test": (GRAMMAR, "_test"),
        "LipNet-ITA, training": (italian(TIME), "_train"), "LipNet-ITA, test": (italian(TIME), "_test"),
    }),
    Table("table 4", "Table IV. Streams, words; on public data ours are GRID's", {**WORDS, **SLOTS, **COST}),
    Table("table 4b", "Table IV. Streams, sentences; other sentences than the paper's stand beside LRS3",
          {"CER": "cer", "WER": "wer", **PARTS}, _of_both_sets({TWO: TWO_S, GLOBAL: GLOBAL_S, LOCAL: LOCAL_S})),
    Table("table 5", "Table V. The local stream without its parts", {**WORDS, **SLOTS, **COST},
          {TIME: (TIME, ""), "Full model": (LOCAL, ""), **{row: (row, "") for row in (
              NO_LMFE, NO_LCFE, SPARSE, FULL_KEPT, NO_SEMANTIC, NO_ATTENTION, NO_ENCODING)}}),
    Table("table 6", "Table VI. Words: back ends on kept features of one global stream, and other networks",
          {**WORDS, **SLOTS, **COST},
          {TIME: (TIME, ""), **{row: (row, "") for row in (MSTCN, BLSTM, BGRU, FRONT, MT, WAS, FLOW)},
           "Ours (ASST-GCN+MSTCN)": (TWO, "")}),
    Table("table 7", "Table VII. Sentences; other sentences than the paper's stand beside LRS3",
          {"CER": "cer", "WER": "wer", **PARTS, **EACH},
          _of_both_sets({"WAS": WAS_S, CTC: CTC, "TM-seq2seq (Baseline)": GLOBAL_S, TF: TF, "Ours": TWO_S})),
    Table("extra A", "Extra A. Controls: other graphs, and streams that are trained again",
          {"accuracy": "accuracy", **SLOTS}),
    Table("extra B", "Extra B. Words of LipNet-ITA, people apart, neighbours hidden", {"accuracy": "accuracy"}),
    Table("extra C", "Extra C. Masks of the parts of the mouth as further channels", {"accuracy": "accuracy", **SLOTS}),
    Table("extra D", "Extra D. What attention graphs of the last layer follow: shares of their variance", {
        "word, within clips": "graph_share_word", "labels shuffled": "graph_share_chance", "p": "graph_p",
        "clip": "graph_share_clip", "speaker": "graph_share_speaker",
    }),
    Table("extra E", "Extra E. Rendered words: pairs that differ inside the mouth alone",
          {"accuracy": "accuracy", "minimal pairs": "pairs"}),
)  # fmt: skip

QUOTED: dict[str, str] = {}


# --- sizes -------------------------------------------------------------------------------------------

DATASETS: dict[str, Dataset] = {"public": "grid", "synthetic": "facesynth", "paper": "lrw"}
SENTENCES: dict[str, dict[str, Dataset]] = {  # suffix of the rows' names → dataset
    "public": {"": "grid"}, "synthetic": {"": "facesynth"}, "paper": {"": "lrs3", OF_LRS2: "lrs2"},
}  # fmt: skip
# Channels, patches and crops are in the paper's proportions: 64 : 32 : 112.
SIZES = {
    "smoke": Sizes(frames=7, size=36, crop=24, patch=8, width=2, layers=2, subgraphs=2, beam=2, heads=2, blocks=1),
    "cpu": Sizes(frames=13, size=56, crop=40, patch=12, width=8, layers=2, subgraphs=4, beam=6, heads=4, blocks=2),
    "gpu": Sizes(frames=19, size=112, crop=80, patch=23, width=32, layers=4, subgraphs=8, beam=6, heads=8, blocks=4),
}
PAPER_SIZES = Sizes(frames=29, size=160, crop=112, patch=32, width=64, layers=6, subgraphs=8, beam=6, heads=8, blocks=6)
SEEDS = {"smoke": (1, 1), "cpu": (5, 3), "gpu": (3, 3)}  # rows of primary claims on words of GRID, others
CLIPS = {"smoke": 24, "cpu": 1200, "gpu": 6000}  # rendered words for training
SMOKE_WORDS = 4  # of the rendered vocabulary
OFFICIAL_CLIPS = {
    "smoke": 4,
    "cpu": 50,
    "gpu": 50,
}  # of each word of LRW for training; ×100: sentences of LRS2 and LRS3

TRAINING = {  # words: whole networks
    "smoke": Training(epochs=1, patience=1, batch_size=8, lr=1e-3, final_lr=1e-3),
    "cpu": Training(epochs=45, patience=5, batch_size=16, lr=1e-3, final_lr=1e-5),
    "gpu": Training(epochs=20, patience=4, batch_size=32, lr=1e-3, final_lr=1e-5),
}
BACK_END = {  # words: graphs and back ends on kept features
    "smoke": Training(epochs=1, patience=1, batch_size=8, lr=1e-3, final_lr=1e-3),
    "cpu": Training(epochs=45, patience=5, batch_size=32, lr=1e-3, final_lr=1e-5),
    "gpu": Training(epochs=20, patience=4, batch_size=32, lr=1e-3, final_lr=1e-5),
}
# Epochs and patience on LipNet-ITA: the validation score of people who are not in training rises late and is noisy, so
# that the patience of GRID drops the learning rate while the loss has hardly fallen.
ITALIAN_PATIENCE = {"smoke": (1, 1), "cpu": (90, 18), "gpu": (60, 12)}
SPELLING = {  # sentences
    "smoke": Training(epochs=3, patience=3, batch_size=8, lr=1e-3, final_lr=1e-3, warmup=10, stage_epochs=1),
    "cpu": Training(epochs=150, patience=20, batch_size=16, lr=1e-3, final_lr=1e-3, warmup=400, stage_epochs=4),
    "gpu": Training(epochs=150, patience=20, batch_size=32, lr=1e-3, final_lr=1e-3, warmup=400, stage_epochs=4),
}
# Rows whose learning rate is tuned on validation items (tuning.csv).
TUNED = {"public": (GLOBAL, LOCAL, FULL_KEPT, MSTCN, BLSTM, GLOBAL_S, CTC)}
RATES = (3e-4, 1e-3, 3e-3)
# Rows that are not tuned take the learning rate of the row that they vary.
RATE_OF = {
    TWO: GLOBAL, GLOBAL_AGAIN: GLOBAL, NO_LMFE: LOCAL, NO_LCFE: LOCAL, SPARSE: LOCAL,
    NO_GRAPH: LOCAL, NO_SEMANTIC: FULL_KEPT, NO_ATTENTION: FULL_KEPT, NO_ENCODING: FULL_KEPT, PLAIN: FULL_KEPT,
    NO_GRAPH_KEPT: FULL_KEPT, FRONT: GLOBAL, MT: GLOBAL, WAS: GLOBAL, FLOW: GLOBAL, MASKED: GLOBAL, BGRU: BLSTM,
    TWO_S: GLOBAL_S, LOCAL_S: GLOBAL_S, TF: GLOBAL_S, WAS_S: GLOBAL_S,
}  # fmt: skip


def tuned_rates(parameters: StudyParameters) -> Callable[[str, Training], Training]:
    """A function that gives a row's training its tuned learning rate."""
    rates = tries.rates(Path(__file__).with_name("tuning.csv"), data=parameters.data, profile=parameters.profile)

    def rated(name: str, training: Training) -> Training:
        base = name.removesuffix(ITALIAN).removesuffix(OF_LRS2)
        return replace(training, lr=rates.get(RATE_OF.get(base, base), training.lr))

    return rated


# --- rows --------------------------------------------------------------------------------------------


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row of every table and figure on one data source, with its configuration and its number of seeds.

    Rendered words are for the three streams, except in smoke runs, which have no other data.
    """
    made = words(parameters)
    if parameters.data == "synthetic" and parameters.profile != "smoke":
        return [row for row in made if row.name in (TIME, TWO, GLOBAL, LOCAL)]
    for suffix, dataset in SENTENCES[parameters.data].items():
        made += sentences(parameters, made, dataset, suffix)
    return made + (italian_words(parameters) if parameters.data == "public" else [])


def words(parameters: StudyParameters) -> list[Row]:
    """The rows of Tables IV to VI."""
    profile, data = parameters.profile, parameters.data
    many, few, one = (parameters.seeds or n for n in (*SEEDS[profile], 1))
    if data == "synthetic":
        many = few
    training, rated = TRAINING[profile], tuned_rates(parameters)
    base = Config(
        data=data, dataset=DATASETS[data], profile=profile, task="words", network="Time", sizes=_sizes(parameters),
        clips={"synthetic": CLIPS, "paper": OFFICIAL_CLIPS}.get(data, {}).get(profile, 0),
        vocabulary=SMOKE_WORDS if data == "synthetic" and profile == "smoke" else 0,
    )  # fmt: skip
    streams = replace(base, network="Streams")

    def whole(name: str, **parts) -> Config:
        return replace(streams, training=rated(name, training), **parts)

    def kept(name: str, front: Config, **parts) -> Config:
        return replace(streams, training=rated(name, BACK_END[profile]), before=(front,), **parts)

    one_global, one_local = whole(GLOBAL), whole(LOCAL, streams="local")
    two = whole(TWO, streams="both", start="streams", before=(one_global, one_local))
    no_graph = whole(NO_GRAPH, streams="local", graph="none", encoding=False)
    front = whole(FRONT, back_end="mean")
    nodes = {"streams": "local", "start": "nodes"}
    local_figures = ("table 5", "figure 5", "figure 7", "figure 8", "extra D", "extra A")
    synthetic = ("extra E",) if data == "synthetic" else ()
    return [
        Row(TIME, base, 1, ("table 3", "table 4", "table 5", "table 6", *synthetic)),
        Row(GLOBAL, one_global, many, ("table 4", "extra A", "extra C", *synthetic)),
        Row(LOCAL, one_local, many, ("table 4", *local_figures, *synthetic)),
        Row(TWO, two, many, ("table 4", "table 6", "extra A", *synthetic)),
        Row(NO_LMFE, whole(NO_LMFE, streams="local", motion=False), many, ("table 5",)),
        Row(NO_LCFE, whole(NO_LCFE, streams="local", coordinates=False), many, ("table 5",)),
        Row(NO_GRAPH, no_graph, many, ("extra A",)),
        Row(FULL_KEPT, kept(FULL_KEPT, no_graph, **nodes), many, ("table 5", "extra A")),
        Row(NO_SEMANTIC, kept(NO_SEMANTIC, no_graph, graph="attention", **nodes), many, ("table 5",)),
        Row(NO_ATTENTION, kept(NO_ATTENTION, no_graph, graph="semantic", **nodes), many, ("table 5",)),
        Row(NO_ENCODING, kept(NO_ENCODING, no_graph, encoding=False, **nodes), many, ("table 5",)),
        Row(PLAIN, kept(PLAIN, no_graph, graph="plain", **nodes), many, ("extra A",)),
        Row(NO_GRAPH_KEPT, kept(NO_GRAPH_KEPT, no_graph, graph="none", **nodes), many, ("extra A",)),
        Row(FRONT, front, few, ("table 6",)),
        Row(MSTCN, kept(MSTCN, front, start="kept"), few, ("table 6",)),
        Row(BLSTM, kept(BLSTM, front, start="kept", back_end="BLSTM"), few, ("table 6",)),
        Row(BGRU, kept(BGRU, front, start="kept", back_end="BGRU"), few, ("table 6",)),
        Row(GLOBAL_AGAIN, whole(GLOBAL_AGAIN, start="streams", before=(one_global,)), few, ("extra A",)),
        Row(MASKED, whole(MASKED, masks=True), few, ("extra C",)),
        Row(SPARSE, whole(SPARSE, streams="local", points="nose and mouth"), one, ("table 5",)),
        Row(MT, replace(whole(MT), network="MT"), one, ("table 6",)),
        Row(WAS, replace(whole(WAS), network="WAS"), one, ("table 6",)),
        Row(FLOW, replace(whole(FLOW), network="Flow"), one, ("table 6",)),
    ]  # fmt: skip


def sentences(parameters: StudyParameters, of_words: list[Row], dataset: Dataset, suffix: str) -> list[Row]:
    """The rows of Tables IV and VII on one set of sentences; front ends are those of the words."""
    networks = {row.name: row.config for row in of_words}
    _, few, one = (parameters.seeds or n for n in (*SEEDS[parameters.profile], 1))
    base = replace(
        networks[TIME], task="sentences", network="Grammar", dataset=dataset, vocabulary=0,
        clips=100 * OFFICIAL_CLIPS[parameters.profile] if parameters.data == "paper" else networks[TIME].clips,
    )  # fmt: skip

    rated = tuned_rates(parameters)

    def spelling(name: str, front: str, back_end: str = "seq2seq") -> Config:
        training = rated(name, SPELLING[parameters.profile])
        return replace(
            base, network="Streams", streams=networks[front].streams, back_end=back_end, start="kept",
            before=(networks[front],), training=training,
        )  # fmt: skip

    made = [
        Row(GRAMMAR, base, 1, ("table 3", "table 4b", "table 7")),
        Row(TWO_S, spelling(TWO_S, TWO), few, ("table 4b", "table 7", "figure 9")),
        Row(GLOBAL_S, spelling(GLOBAL_S, GLOBAL), few, ("table 4b", "table 7")),
        Row(LOCAL_S, spelling(LOCAL_S, LOCAL), few, ("table 4b",)),
        Row(CTC, spelling(CTC, GLOBAL, "CTC"), few, ("table 7",)),
        Row(TF, spelling(TF, GLOBAL, "TF"), few, ("table 7",)),
        Row(WAS_S, spelling(WAS_S, GLOBAL, "WAS"), one, ("table 7",)),
    ]
    return [replace(row, name=row.name + suffix) for row in made]


def italian_words(parameters: StudyParameters) -> list[Row]:
    """Words of LipNet-ITA by methods that need no landmarks."""
    few = parameters.seeds or SEEDS[parameters.profile][1]
    of_grid = {row.name: row.config for row in words(parameters)}
    epochs, patience = ITALIAN_PATIENCE[parameters.profile]

    def longer(name: str) -> Config:
        config = replace(of_grid[name], dataset="lipnet-ita")
        if config.training:
            config = replace(config, training=replace(config.training, epochs=epochs, patience=patience))
        return replace(config, before=(longer(FRONT),)) if config.before else config

    made = []
    for name in (TIME, FRONT, MSTCN, BLSTM, BGRU, GLOBAL):
        places = ("extra B", "table 3") if name == TIME else ("extra B",)
        made.append(Row(italian(name), longer(name), 1 if name == TIME else few, places))
    return made


def _sizes(parameters: StudyParameters) -> Sizes:
    """LRW, LRS2 and LRS3 at the paper's size where the profile is for a GPU."""
    paper = parameters.data == "paper" and parameters.profile == "gpu"
    return PAPER_SIZES if paper else SIZES[parameters.profile]
