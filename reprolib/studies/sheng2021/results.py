"""From sheng2021's records to its tables, claims and questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import pandas as pd

from reprolib import comparisons, report
from reprolib.comparisons import Comparison, Rows, claim, compare, planned, scores, summary, told
from reprolib.records import Arrays, by_row
from reprolib.statistics import Interval, paired_bootstrap
from reprolib.store import RunStore
from reprolib.studies.sheng2021 import settings as s
from reprolib.studies.sheng2021.facts import dimensions
from reprolib.studies.sheng2021.plan import trials
from reprolib.studies.sheng2021.scores import ARRAY_OF, score_of
from reprolib.trial import Record

PER_UTTERANCE = {"CER, mean of utterances": "cer_utterance", "WER, mean of utterances": "wer_utterance"}
SENTENCES_SEEN = {
    "WER": "wer", "WER of sentences not in training": "wer_new", "CER": "cer", "CER, training clips": "cer_training",
    "CER, validation clips": "cer_validation", "words not in training (%)": "new_words",
}  # fmt: skip
EXTRA_WORDS = {"Acc": "accuracy"} | s.HOMOPHENES
NAMES = {
    "accuracy": "accuracy", "viseme_accuracy": "accuracy of viseme classes", "cer": "CER", "wer": "WER",
    "distance": "distance",
}  # fmt: skip
STATISTICS = {"clips": "clips_{}", "words": "words_{}", "different words": "vocabulary_{}", "speakers": "speakers_{}"}


def records_of(parameters: s.Parameters, store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials that these parameters ask for."""
    return by_row(trials(parameters), store)


# --- tables ------------------------------------------------------------------------------------------


def tables(parameters: s.Parameters, store: RunStore) -> dict[str, pd.DataFrame]:
    """Every table of the paper with ours beside it, and seven that go beyond it ("extra A" to "extra G")."""
    records, plan = records_of(parameters, store), trials(parameters)

    def rows(place: str) -> dict[str, list[Record]]:
        return {name: records.get(name, []) for name in dict.fromkeys(t.name for t in plan[place])}

    made = {
        "table 1": lambda _: dimensions("table 1"),
        "table 2": lambda _: dimensions("table 2"),
        "table 3": _statistics,
        "table 4": lambda shown: _both_tasks(shown, _sentence_columns(parameters)),
        "table 5": lambda shown: _beside("5", shown, s.WORDS | s.HOMOPHENES | s.COST),
        "table 6": lambda shown: _beside("6", shown, s.WORDS | s.HOMOPHENES | s.COST),
        "table 7": lambda shown: _beside("7", shown, _sentence_columns(parameters) | PER_UTTERANCE | s.COST),
        "table 7b": lambda shown: decoding(shown[s.TWO_S], store),
        "extra A": lambda shown: _with_loss(shown, EXTRA_WORDS | s.COST),
        "extra B": lambda shown: summary(scores(shown, EXTRA_WORDS)),
        "extra C": lambda shown: summary(scores(shown, EXTRA_WORDS | {"best without context": "ceiling"})),
        "extra D": lambda shown: summary(scores(shown, EXTRA_WORDS | s.COST)),
        "extra E": _sentences_seen,
        "extra F": lambda shown: _with_loss(shown, EXTRA_WORDS),
        "extra G": lambda shown: summary(scores(shown, EXTRA_WORDS)),
    }
    return {place: make(rows(place)) for place, make in made.items() if place in plan}


def _sentence_columns(parameters: s.Parameters) -> dict[str, str]:
    """Our one set of sentences stands beside both of the paper's, unless it is one of them."""
    if parameters.data == "paper":
        named = {name: score for name, score in s.SENTENCES.items() if name.lower().startswith(parameters.sentences)}
        return named or {"CER": "cer", "WER": "wer"}  # the paper has no GRID
    return s.SENTENCES


def _beside(table: str, rows: Rows, columns: Mapping[str, str]) -> pd.DataFrame:
    printed = _printed(table, rows)
    ours = report.summarise(scores(printed, columns), by="row")
    return report.beside_published(ours.reindex(list(printed)), report.published("sheng2021", table))


def _both_tasks(rows: Rows, sentence_columns: Mapping[str, str]) -> pd.DataFrame:
    """Table IV: one line for a front end, its words and its sentences."""
    words = {name: of_seeds for name, of_seeds in rows.items() if name not in s.PRINTED_AS["4"]}
    sentences = {name: of_seeds for name, of_seeds in rows.items() if name in s.PRINTED_AS["4"]}
    of_sentences = dict(sentence_columns) | PER_UTTERANCE
    if words:
        of_words = scores(words, s.WORDS | s.HOMOPHENES | s.COST)
        lines = pd.concat([of_words, scores(_printed("4", sentences), of_sentences)])
    else:
        lines = scores(_printed("4", sentences), of_sentences | s.COST)
    ours = report.summarise(lines, by="row").reindex([s.TWO, s.GLOBAL, s.LOCAL])
    paper = report.published("sheng2021", "4")
    return report.beside_published(ours, paper if words else paper.drop(columns=list(s.WORDS)))


def _with_loss(rows: Rows, columns: Mapping[str, str]) -> pd.DataFrame:
    """A table of our own with the mean training loss of the last epoch, which tells who has learned to the end."""
    lines = scores(rows, columns)
    lines["last training loss"] = [record.curves["loss"][-1] for of_seeds in rows.values() for record in of_seeds]
    return summary(lines)


def _sentences_seen(rows: Rows) -> pd.DataFrame:
    """How sentences are read, and how many of the test's clips say one that no training clip says."""
    made = summary(scores(rows, SENTENCES_SEEN))
    counted = {name: of_seeds[0].metrics for name, of_seeds in rows.items() if of_seeds}
    made["clips of sentences not in training"] = [
        f"{of_row['new_sentences'] * of_row['clips_test'] / 100:,.0f} of {of_row['clips_test']:,.0f}"
        for of_row in map(counted.__getitem__, made.index)
    ]
    return made


def _printed(table: str, rows: Rows) -> dict[str, list[Record]]:
    names = s.PRINTED_AS.get(table, {})
    return {names.get(name, name): list(of_seeds) for name, of_seeds in rows.items()}


def _statistics(rows: Rows) -> pd.DataFrame:
    """Table III: the paper's sets, then ours."""
    paper = report.published("sheng2021", "3").map("{:,.0f}".format)
    paper["Speakers"] = report.ABSENT
    names = dict(zip(STATISTICS, paper.columns, strict=True))
    ours = {}
    for task, row in (("words", s.GLOBAL), ("sentences", s.GLOBAL_S)):
        for part in ("training", "test"):
            of_row = rows.get(row, [])
            ours[f"ours, {task}, {part}"] = {
                names[label]: f"{of_row[0].metrics[metric.format(part)]:,.0f}" if of_row else report.NOT_DONE
                for label, metric in STATISTICS.items()
            }
    if s.GLOBAL not in rows:
        ours = {name: line for name, line in ours.items() if "sentences" in name}
    return pd.concat([paper, pd.DataFrame(ours).T])


def decoding(of_seeds: list[Record], store: RunStore) -> pd.DataFrame:
    """The best hypothesis after each step of the beam search, of the first seed's example; empty if not done."""
    if not of_seeds:
        return pd.DataFrame({"decoded string": []})
    kept = store.arrays(of_seeds[0])
    lines = [str(text) for text in kept["hypotheses"]]
    index = [f"{step:02d}" for step in range(1, len(lines) + 1)]
    return pd.DataFrame({"decoded string": [*lines, str(kept["reference"])]}, index=[*index, "ground truth"])


# --- claims ------------------------------------------------------------------------------------------


def _words(id: str, statement: str, place: str, a: str, b: str, effect: float | None, **more) -> Comparison:
    score = more.pop("score", "accuracy")
    return Comparison(id, statement, place, a, b, score, effect, of_a=ARRAY_OF[score], of_b=ARRAY_OF[score], **more)


def _sentences(id: str, statement: str, place: str, a: str, b: str, effect: float | None, **more) -> Comparison:
    return _words(id, statement, place, a, b, effect, **{"score": "wer"} | more)


def _graphs(id: str, statement: str, place: str, **more) -> Comparison:
    return Comparison(id, statement, place, s.LOCAL, s.LOCAL, "distance", None, unit="% of the mean distance", **more)


CLAIMS = (
    _words("two-streams", "Two streams read words better than the global stream alone.",
           "Table IV", s.TWO, s.GLOBAL, 85.7 - 85.3),
    _words("two-local", "…than the local stream alone.", "Table IV", s.TWO, s.LOCAL, 85.7 - 82.6),
    _words("global-local", "The global stream alone reads words slightly better than the local one.",
           "Table IV", s.GLOBAL, s.LOCAL, 85.3 - 82.6),
    _words("semantic", "Without the semantic graph A^se words are read worse.",
           "Table V", s.NO_SEMANTIC, s.LOCAL, 79.1 - 82.6),
    _words("attention", "Without the attention graph A^st words are read worse.",
           "Table V", s.NO_ATTENTION, s.LOCAL, 78.3 - 82.6),
    _words("lmfe", "Without local motion (LMFE) words are read worse.", "Table V", s.NO_LMFE, s.LOCAL, 60.7 - 82.6),
    _words("lcfe", "Without coordinates (LCFE) words are read worse.", "Table V", s.NO_LCFE, s.LOCAL, 75.9 - 82.6),
    _words("motion-coordinates", "Local motion alone is better than coordinates alone.",
           "Table V", s.NO_LCFE, s.NO_LMFE, 75.9 - 60.7),
    _words("encoding", "Without semantic encoding words are read worse.",
           "Table V", s.NO_ENCODING, s.LOCAL, 79.7 - 82.6),
    _words("contour", "Without the contour of the face (25 points) words are read worse.",
           "Table V", s.SPARSE, s.LOCAL, 75.4 - 82.6),
    _words("mstcn", "MS-TCN is a better back end than a BLSTM.", "Table VI", s.GLOBAL_LONGER, s.BLSTM, 85.3 - 83.0),
    _words("flow", "Two streams with landmarks are better than two with optical flow.",
           "Table VI", s.TWO, s.FLOW, 85.7 - 84.1),
    _words("mt", "…than MT.", "Table VI", s.TWO, s.MT, 85.7 - 61.1),
    _words("was", "…than WAS.", "Table VI", s.TWO, s.WAS, 85.7 - 76.2),
)  # fmt: skip

GRAPH_CLAIMS = (
    _graphs("word-specific", "Attention graphs of one viseme class of words are alike, those of different classes are "
            "not: distance within less distance between, of different speakers.", "Figure 8", sign=-1),
    _graphs("layer-specific", "Semantic graphs are specific to their layer: distance to other layers less distance to "
            "the same layer, of trainings with other seeds.", "Figure 7", sign=1),
)  # fmt: skip


def _sentence_claims(parameters: s.Parameters) -> tuple[Comparison, ...]:
    """Claims of sentences; the published effects are those of the set at hand.

    On substitute data they are LRS3's, and WAS's are LRS2's; on GRID, which the paper has not, there are none.
    """
    chosen = parameters.sentences if parameters.data == "paper" else "substitute"
    cer, wer, local, was, ctc = {
        "lrs2": (36.2 - 40.1, 55.7 - 58.7, 55.7 - 61.6, 55.7 - 70.4, 55.7 - 65.0),
        "lrs3": (42.9 - 48.1, 62.7 - 68.8, 62.7 - 73.5, None, 62.7 - 74.7),
        "substitute": (42.9 - 48.1, 62.7 - 68.8, 62.7 - 73.5, 55.7 - 70.4, 62.7 - 74.7),
    }.get(chosen, (None,) * 5)  # fmt: skip

    def lower(id: str, statement: str, place: str, b: str, effect: float | None, **more) -> Comparison:
        return _sentences(id, statement, place, s.TWO_S, b, effect, **{"sign": -1 if effect is None else None} | more)

    return (
        lower("two-cer", "Two streams lower the CER of the global stream.",
              "Table IV", s.GLOBAL_S, cer, score="cer"),
        lower("two-wer", "Two streams lower the WER of the global stream.", "Table IV", s.GLOBAL_S, wer),
        lower("two-local-wer", "Two streams lower the WER of the local stream.",
              "Table IV", s.LOCAL_S, local),
        lower("was-wer", "Two streams have a lower WER than WAS.", "Table VII", s.WAS_S, was),
        lower("ctc-wer", "Two streams have a lower WER than TM-CTC.", "Table VII", s.CTC, ctc),
    )  # fmt: skip


# what a row of extra F is without, or has instead
LACKING = (
    ("semantic", "without A^se", s.NO_SEMANTIC), ("attention", "without A^st", s.NO_ATTENTION),
    ("lmfe", "without local motion", s.NO_LMFE), ("lcfe", "without coordinates", s.NO_LCFE),
    ("encoding", "without semantic encoding", s.NO_ENCODING), ("contour", "without the contour", s.SPARSE),
    ("plain", "plain multi-head attention instead", s.ATTENTION), ("no-graph", "no graph at all", s.NO_GRAPH),
)  # fmt: skip

# What the paper leaves open; answered with intervals, without a verdict.
QUESTIONS = (
    _words("contours", "Do contours add to appearance? Two streams against the global one, viseme classes.",
           "Table IV", s.TWO, s.GLOBAL, None, score="viseme_accuracy"),
    _words("as-long", "Do two streams gain from their further epochs? Against the global one trained as long.",
           "extra A", s.TWO, s.GLOBAL_LONGER, None),
    _words("as-long-local", "…against the local one trained as long.", "extra A", s.TWO, s.LOCAL_LONGER, None),
    _words("plain", "Are two graphs needed? The full model against plain multi-head attention.",
           "extra A", s.LOCAL, s.ATTENTION, None),
    _words("no-graph", "…against no graph at all.", "extra A", s.LOCAL, s.NO_GRAPH, None),
    _words("semantic-alone", "A^se alone against no graph.", "extra A", s.NO_ATTENTION, s.NO_GRAPH, None),
    _words("attention-alone", "A^st alone against no graph.", "extra A", s.NO_SEMANTIC, s.NO_GRAPH, None),
    _words("equally", "Is one graph as important as the other? Without A^se against without A^st.",
           "Table V", s.NO_SEMANTIC, s.NO_ATTENTION, None),
    _words("sum", "Subgraphs concatenated (Fig. 3) against summed (Eq. 4)?", "extra A", s.LOCAL, s.SUMMED, None),
    _words("chin", "Which 25 points? Mouth and chin against nose and mouth.", "extra A", s.CHIN, s.SPARSE, None),
    _words("shuffled", "Does anything leak? Shuffled labels against always one word.",
           "extra C", s.SHUFFLED, s.MAJORITY, None),
    _words("masks", "Does a fine-grained lip mask as a further channel help the global stream?",
           "extra D", s.MASKED, s.GLOBAL, None),
    *(_words(f"longer-{id}", f"Trained longer, {what}, against the full model.",
             "extra F", s.longer(row), s.LOCAL_LONGER, None) for id, what, row in LACKING),
    _words("detected", "Do contours add to appearance where landmarks err as a detector's do? Two streams against the "
           "global one, viseme classes.",
           "extra G", s.detected(s.TWO), s.detected(s.GLOBAL), None, score="viseme_accuracy"),
    _words("detected-local", "What do such landmarks cost the local stream?",
           "extra G", s.detected(s.LOCAL), s.LOCAL, None),
    _sentences("seen", "What does seeing a sentence change? Two streams against guesses from its length.",
               "extra E", s.TWO_S, s.BLIND, None),
    _sentences("seen-global", "…global stream against guesses.", "extra E", s.GLOBAL_S, s.BLIND, None),
    _sentences("seen-local", "…local stream against guesses.", "extra E", s.LOCAL_S, s.BLIND, None),
    _sentences("whole", "What does it give when all layers learn from the sentences? Global stream.",
               "extra E", s.WHOLE, s.GLOBAL_S, None),
    _sentences("whole-seen", "The global stream, all layers of which learn from the sentences, against guesses?",
               "extra E", s.WHOLE, s.BLIND, None),
    # the abstract says so; its Table VII does not: 55.7 and 62.7 against 51.7 and 60.1
    _sentences("zhang", "Two streams against the blocks of Zhang et al.?", "Table VII", s.TWO_S, s.TF, None),
    _sentences("tf", "What does the TF block change over the baseline's transformer?",
               "Table VII", s.TF, s.GLOBAL_S, None),
    _sentences("ctc", "Is CTC worse than seq2seq on the same features?", "Table VII", s.CTC, s.GLOBAL_S, None),
    _graphs("speaker-specific", "Do attention graphs follow the word or the speaker? Distance of one viseme class by "
            "different speakers less that of different classes by one speaker.", "Figure 8"),
)  # fmt: skip


def claims(parameters: s.Parameters, store: RunStore) -> list[report.Claim]:
    """The paper's claims with our paired effects (bootstrap over seeds and speakers) and verdicts."""
    records, arrays = records_of(parameters, store), Arrays(store)
    return [
        claim(
            c, _compare(c, records, arrays), records,
            study="sheng2021", parameters=parameters, comparable=_learned(c, records, arrays),
        )
        for c in _claimed(parameters)
    ]  # fmt: skip


def questions(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Our own questions: effect with its 95 % interval, one row each."""
    records, arrays = records_of(parameters, store), Arrays(store)
    noise = [
        _words("noise", f"What does noise of {jitter:g} px in the landmarks cost? {row}.",
               "extra B", s.jittered(row, jitter), row, None)
        for row in s.JITTERED for jitter in parameters.jitters
    ]  # fmt: skip
    asked = planned((*QUESTIONS, *noise), trials, parameters)
    found = [_compare(c, records, arrays) for c in asked]
    return comparisons.answers(asked, found, "accuracy (WER for sentences), 95 % interval")


def answers(parameters: s.Parameters, store: RunStore, ids: Collection[str]) -> list[str]:
    """What the named claims and questions came to, one line each, in words (HTML) and numbers from the records.

    Claims that are not tested because one of the rows has not learned are left out.
    """
    records, arrays = records_of(parameters, store), Arrays(store)
    known = [c for c in _claimed(parameters) if _learned(c, records, arrays)] + planned(QUESTIONS, trials, parameters)
    there = {c.id for c in known}
    asked = [name for name in ids if name in there]
    return told(asked, known, lambda c: _compare(c, records, arrays), NAMES.__getitem__)


def _claimed(parameters: s.Parameters) -> list[Comparison]:
    """The paper's claims that this data source can test."""
    return planned((*CLAIMS, *_sentence_claims(parameters), *GRAPH_CLAIMS), trials, parameters)


def _learned(c: Comparison, records: Rows, arrays: Arrays) -> bool:
    """Whether both rows have learned: with every seed they beat the trivial row by an interval over speakers.

    That is always the same word, or sentences guessed from their length. Where nobody guessed all count as learned.
    """
    trivial, score, sign = (s.BLIND, "wer", -1) if c.score in ("wer", "cer") else (s.MAJORITY, "accuracy", 1)
    guessed = records.get(trivial, [])

    def beats(record: Record) -> bool:
        floor = [r for r in guessed if r.trial.seed == record.trial.seed] or guessed
        both = (arrays([one], ARRAY_OF[score]) for one in (record, floor[0]))
        found = paired_bootstrap(*both, score_of(score), groups=arrays([record], "speakers")[0])
        return min(sign * found.low, sign * found.high) > 0

    return not guessed or all(beats(record) for row in (c.a, c.b) for record in records.get(row, []))


def _compare(c: Comparison, records: Rows, arrays: Arrays) -> Interval | None:
    if c.id in OF_GRAPHS:
        return OF_GRAPHS[c.id](records, arrays)
    return compare(c, records, arrays, score_of(c.score), groups="speakers")


def _distances(records: Rows, arrays: Arrays, columns: tuple[int, int]) -> Interval | None:
    """Mean difference of two columns of `scores.graph_distances`, over the clips that have both."""
    of_seeds = records.get(s.LOCAL, [])
    if not of_seeds:
        return None
    apart = arrays(of_seeds, "graph_distances").astype(np.float64)[..., list(columns)]
    there = np.isfinite(apart).all(axis=(0, 2))
    if not there.any():
        return None
    speakers = arrays(of_seeds[:1], "speakers")[0][there]
    return paired_bootstrap(100 * apart[:, there, 0], 100 * apart[:, there, 1], groups=speakers)


def _between_layers(records: Rows, arrays: Arrays) -> Interval | None:
    """How much farther a layer's semantic graph is from other layers' than from the same layer's, of other seeds.

    Distances between graphs of norm 1, averaged over their subgraphs, whose order means nothing; one item is one layer,
    and fewer than four layers give no interval.
    """
    of_seeds = records.get(s.LOCAL, [])
    if len(of_seeds) < 2:
        return None
    graphs = arrays(of_seeds, "semantic").astype(np.float64)  # (seeds, layers, K, K)
    seeds, layers = graphs.shape[:2]
    if layers < 4:
        return None
    flat = graphs.reshape(seeds, layers, -1)
    flat /= np.linalg.norm(flat, axis=-1, keepdims=True)  # layers of unlike norm would be far apart whatever they show
    apart = np.linalg.norm(flat[:, :, None, None] - flat[None, None], axis=-1)  # (seeds, layers, seeds, layers)
    other_seed = ~np.eye(seeds, dtype=bool)[:, None, :, None]
    same_layer = np.eye(layers, dtype=bool)[None, :, None, :]
    apart = 100 * apart / apart[np.broadcast_to(other_seed, apart.shape)].mean()
    same = (apart * (other_seed & same_layer)).sum((2, 3)) / (seeds - 1)
    different = (apart * (other_seed & ~same_layer)).sum((2, 3)) / ((seeds - 1) * max(layers - 1, 1))
    return paired_bootstrap(different, same)


# effects that are no difference of two rows' scores
OF_GRAPHS = {
    "word-specific": partial(_distances, columns=(0, 2)),
    "speaker-specific": partial(_distances, columns=(0, 1)),
    "layer-specific": _between_layers,
}


# --- homophenes ----------------------------------------------------------------------------------------


def homophenes(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Accuracy of words in homophene groups, of their viseme classes, and of words that look like no other."""
    records, arrays = records_of(parameters, store), Arrays(store)
    lines = {}
    for name in (s.TWO, s.GLOBAL, s.LOCAL):
        if name not in records:
            continue
        correct = 100 * arrays(records[name], "correct").mean(0)  # (N, 2)
        labels, visemes = (arrays(records[name][:1], array)[0] for array in ("labels", "visemes"))
        shared = np.bincount(visemes)[visemes[labels]] > 1
        lines[name] = {
            "words with homophenes": f"{correct[shared, 0].mean():.1f}",
            "…their viseme classes": f"{correct[shared, 1].mean():.1f}",
            "words without": f"{correct[~shared, 0].mean():.1f}",
        }
    return pd.DataFrame(lines).T
