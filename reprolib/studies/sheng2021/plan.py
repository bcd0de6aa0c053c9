"""Which trials make which table and figure of sheng2021."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reprolib.parameters import select
from reprolib.studies.sheng2021 import settings as s
from reprolib.trial import Trial


def trials(parameters: s.Parameters) -> dict[str, list[Trial]]:
    """Table or figure → the trials it needs; those that `parameters.tables` leaves out are absent.

    The real clips of `public` and of GRID come without LRW: words are not asked for there, and front ends learn from
    synthetic words.
    """
    scale = s.SCALES[parameters.profile]
    common = {"profile": parameters.profile, "data": parameters.data, **asdict(scale.words)}
    of_sentences = asdict(scale.sentences)
    if parameters.data == "public":  # all clips there are
        of_sentences = {name: of_sentences[name] for name in of_sentences if name not in s.OF_SYNTHETIC}
    if parameters.data == "paper":
        of_sentences["set"] = parameters.sentences
    rows = rows_of(parameters.jitters)

    def of(*names: str) -> list[Trial]:
        return [_trial(name, common, rows[name], of_sentences, seed)
                for name in names for seed in range(parameters.seeds or scale.seeds)]  # fmt: skip

    plain = (s.LOCAL, s.ATTENTION, s.NO_GRAPH, s.SUMMED, s.CHIN, s.SPARSE)
    longer = (s.TWO, s.GLOBAL_LONGER, s.LOCAL_LONGER)
    noisy = [name for row in s.JITTERED for name in (row, *(s.jittered(row, j) for j in parameters.jitters))]
    words = {
        "table 5": of(s.LOCAL, s.NO_SEMANTIC, s.NO_ATTENTION, s.NO_LMFE, s.NO_LCFE, s.NO_ENCODING, s.SPARSE),
        "table 6": of(s.MT, s.WAS, s.BLSTM, s.BGRU, s.FLOW, s.GLOBAL_LONGER, s.TWO),
        "figure 5": of(s.LOCAL),
        "figure 7": of(s.LOCAL),
        "figure 8": of(s.LOCAL),
        "extra A": of(*plain, *longer),
        "extra B": of(*noisy),
        "extra C": of(s.MAJORITY, s.SHUFFLED, s.GLOBAL, s.LOCAL, s.TWO),
        "extra D": of(s.MASKED, s.GLOBAL),
        "extra F": of(s.LOCAL_LONGER, *map(s.longer, s.LONGER)),
    }
    three, three_s = (s.TWO, s.GLOBAL, s.LOCAL), (s.TWO_S, s.GLOBAL_S, s.LOCAL_S)
    plan = {
        "table 1": [],  # computed from the modules
        "table 2": [],
        "table 3": of(s.GLOBAL, s.GLOBAL_S),
        "table 4": of(*three, *three_s),
        "table 7": of(s.WAS_S, s.CTC, s.GLOBAL_S, s.TF, s.TWO_S),
        "table 7b": of(s.TWO_S),  # the paper's second Table VII
        "figure 1": [],  # drawn from the modules
        "figure 2": [],
        "figure 3": [],
        "figure 4": [],
        "figure 6": [],  # a synthetic face
        "figure 9": of(s.TWO_S),
        "extra E": of(s.BLIND, *three_s, s.WHOLE),
    }
    if parameters.data == "public" or of_sentences.get("set") == "grid":
        plan |= {"table 3": of(s.GLOBAL_S), "table 4": of(*three_s)}
    else:
        plan |= words
    if parameters.data != "synthetic":
        del plan["table 7b"], plan["figure 9"]  # what real people said is shown nowhere
    if parameters.data == "synthetic":  # real landmarks are a detector's already
        plan["extra G"] = of(*map(s.detected, s.DETECTED), *s.DETECTED)
    return select({place: plan[place] for place in sorted(plan, key=_order)}, parameters.tables)


def _order(place: str) -> tuple[int, str]:
    """Tables, then figures, then extras."""
    return ("table", "figure", "extra").index(place.split()[0]), place


def _trial(name: str, common: dict, row: dict, of_sentences: dict, seed: int) -> Trial:
    if row["task"] == "sentences":
        common = {**common, **of_sentences}
    return Trial("sheng2021", name, {**common, "system": name, **row}, seed, s.RECIPE)


def local_stream(
    *,
    points: str = "lower face",
    motion: bool = True,
    coordinates: bool = True,
    encoding: bool = True,
    semantic: bool = True,
    attention: bool = True,
    combine: str = "concat",
) -> dict:
    """The choices of the local stream; `points`: "lower face" (38), "nose and mouth" or "mouth and chin" (25)."""
    return {
        "points": points, "motion": motion, "coordinates": coordinates, "encoding": encoding, "semantic": semantic,
        "attention": attention, "combine": combine,
    }  # fmt: skip


def words(network: str, **choices) -> dict:
    """A network of the word task."""
    return {"task": "words", "network": network, **choices}


def sentences(network: str, streams: str) -> dict:
    """A back end of the sentence task on the front end `streams`."""
    return {"task": "sentences", "network": network, "streams": streams}


def rows_of(jitters: Sequence[float]) -> dict[str, dict]:
    """What each system is, whatever profile and data."""
    rows = {
        s.TWO: words("two", **local_stream()),
        s.GLOBAL: words("global"),
        s.LOCAL: words("local", **local_stream()),
        s.NO_SEMANTIC: words("local", **local_stream(semantic=False)),
        s.NO_ATTENTION: words("local", **local_stream(attention=False)),
        s.NO_LMFE: words("local", **local_stream(motion=False)),
        s.NO_LCFE: words("local", **local_stream(coordinates=False)),
        s.NO_ENCODING: words("local", **local_stream(encoding=False)),
        s.SPARSE: words("local", **local_stream(points="nose and mouth")),
        # rivals learn as long as two streams together
        s.MT: words("mt", longer=True),
        s.WAS: words("was", longer=True),
        s.BLSTM: words("blstm", longer=True),
        s.BGRU: words("bgru", longer=True),
        s.FLOW: words("flow", longer=True),
        s.ATTENTION: words("plain attention", **local_stream()),
        s.NO_GRAPH: words("local", **local_stream(semantic=False, attention=False)),
        s.SUMMED: words("local", **local_stream(combine="sum")),
        s.CHIN: words("local", **local_stream(points="mouth and chin")),
        s.MAJORITY: words("majority"),
        s.SHUFFLED: words("global", shuffled=True),
        s.GLOBAL_LONGER: words("global", longer=True),
        s.LOCAL_LONGER: words("local", **local_stream(), longer=True),
        s.MASKED: words("masked"),
        s.TWO_S: sentences("seq2seq", "two"),
        s.GLOBAL_S: sentences("seq2seq", "global"),
        s.LOCAL_S: sentences("seq2seq", "local"),
        s.WAS_S: sentences("was", "was"),
        s.CTC: sentences("ctc", "global"),
        s.TF: sentences("tf", "global"),
        s.WHOLE: {**sentences("seq2seq", "global"), **s.ALL_LAYERS},
        s.BLIND: {**sentences("seq2seq", "global"), "blind": True},
    }
    rows |= {s.longer(row): {**rows[row], "longer": True} for row in s.LONGER}
    rows |= {s.detected(row): {**rows[row], "tracker": s.DETECTOR} for row in s.DETECTED}
    return rows | {s.jittered(row, j): {**rows[row], "jitter": j} for row in s.JITTERED for j in jitters}
