"""Words and sentences spoken by faces from facesynth: lower faces, with landmarks.

Words whose phonemes have the same visemes (homophenes: pat, bat, mat) look the same on these lips, and nearly the same
on real ones. No lipreader can tell them apart, so accuracy on a closed set that holds them has an upper bound below
100 %. Speaking rate, co-articulation and faces vary; every speaker has several clips. As in LRW, a word is cut out of
continuous speech, so parts of the words around it are seen, too. Landmarks have a small error, as a tracker's do.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from functools import partial

import joblib
import numpy as np
from tqdm import tqdm

from reprolib.datasets.facesynth import LEXICON, Delivery, FaceOptions, speak_closely, viseme_classes
from reprolib.datasets.facesynth.speech import timeline
from reprolib.datasets.rendered import rendered
from reprolib.datasets.speech import SpeechSet, alignment, drift, gathered, jitter
from reprolib.errors import UserError

SHIFT = 0.04  # seconds, the largest offset of a word from the middle of its clip: a frame
TRACKER = 0.004  # standard deviation of a landmark's error as a share of the image's side: 0.25 pixels of 64
_KNOWN = tuple(sorted(LEXICON))
SPEAKERS = FaceOptions(
    yaw=(-30.0, 30.0), pitch=(-12.0, 12.0), roll=(-15.0, 15.0), beard=0.15, makeup=0.3, low_light=0.03,
    side_light=0.15, blur=0.1, noise=0.2, jpeg=0.3, low_resolution=0.05, camera_strength=0.6,
)  # fmt: skip

# 20 words without homophenes, and pairs that differ only in the tongue and teeth seen between the lips.
DISTINCT = (
    "water", "five", "today", "room", "people", "four", "young", "again", "blue", "house",
    "rain", "change", "world", "three", "good", "open", "never", "join", "weather", "small",
)  # fmt: skip
MINIMAL_PAIRS = (("bat", "bath"), ("boat", "both"), ("ten", "than"), ("day", "lay"), ("nine", "light"))

# The slots of the GRID corpus, without its letters, which are not in the lexicon.
COMMANDS = ("bin", "lay", "place", "set")
COLOURS = ("blue", "green", "red", "white")
PREPOSITIONS = ("at", "by", "in", "with")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADVERBS = ("again", "now", "please", "soon")
GRAMMAR = (COMMANDS, COLOURS, PREPOSITIONS, DIGITS, ADVERBS)


def viseme_class_of(vocabulary: Sequence[str]) -> np.ndarray:
    """int64 (words,): an index for each word, the same for words that look the same, in order of appearance.

    UserError for a word that is not in facesynth's lexicon.
    """
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(viseme_classes(word.lower()), len(numbers)) for word in vocabulary], np.int64)


def words(
    seed: int,
    count: int,
    *,
    vocabulary: Sequence[str],
    frames: int,
    size: int,
    speakers: int,
    first: int = 0,
    fps: float = 25,
    tracker: float = TRACKER,
    persistence: float = 0.0,
    progress: bool = True,
) -> SpeechSet:
    """Clips `first` … `first + count − 1` of the infinite series with this `seed`, a word in the middle of each.

    Speakers take turns from clip to clip, and each goes through the vocabulary: words are equally frequent, and nobody
    repeats one before having said all. All clips have `frames` frames; a word that would not fit is spoken faster.
    Another word of the lexicon is spoken before and after it. `tracker`: standard deviation of the landmarks' error as
    a share of `size` (0: exact). `persistence`: correlation of that error from frame to frame. Finished sets are kept
    in the project's cache. UserError for an empty vocabulary or a word that is not in facesynth's lexicon.
    """
    vocabulary = tuple(word.upper() for word in vocabulary)
    _sensible(count, speakers)
    if not vocabulary:
        raise UserError("a set of words needs a vocabulary of one word or more, but it is empty: name some words")
    indices = range(first, first + count)
    texts = [vocabulary[(i // speakers + i % speakers) % len(vocabulary)] for i in indices]
    plan = [(i, text, frames, _cut_out(seed, i, i % speakers)) for i, text in zip(indices, texts, strict=True)]
    return _spoken(
        seed, plan, size=size, speakers=speakers, fps=fps, vocabulary=vocabulary, tracker=tracker,
        persistence=persistence, progress=progress,
    )  # fmt: skip


def sentences(
    seed: int,
    count: int,
    *,
    grammar: Sequence[Sequence[str]],
    size: int,
    speakers: int,
    first: int = 0,
    fps: float = 25,
    tracker: float = TRACKER,
    progress: bool = True,
) -> SpeechSet:
    """Clips `first` … `first + count − 1` of the infinite series with this `seed`: one word of each slot of `grammar`.

    Speakers take turns from clip to clip. Clips last 0.28 s longer than their sentence takes. `tracker` as in `words`.
    Finished sets are kept in the project's cache.
    """
    _sensible(count, speakers)
    if not grammar or not all(grammar):
        raise UserError("a grammar needs one word or more in each of its slots, but one has none: fill it")
    plan = []
    for i in range(first, first + count):
        rng = np.random.default_rng((seed, i, 31))
        said = [slot[rng.integers(len(slot))] for slot in grammar]
        pace = _pace(seed, i % speakers, i)
        # facesynth varies the tempo by 15 % around the pace
        length = timeline(tuple(word.lower() for word in said), tempo=0.85 * pace)[2][-1][1]
        plan.append((i, " ".join(said).upper(), math.ceil((length + 0.28) * fps), Delivery(pace=pace)))
    return _spoken(seed, plan, size=size, speakers=speakers, fps=fps, vocabulary=(), tracker=tracker, progress=progress)


def _sensible(count: int, speakers: int) -> None:
    if count < 1 or speakers < 1:
        raise UserError(
            f"a set needs at least one clip and one speaker, found {count} clips of {speakers} speakers: ask for more"
        )


def _pace(seed: int, speaker: int, index: int) -> float:
    """How fast this speaker speaks in this clip; 1 is the lexicon's own rate."""
    own = np.random.default_rng((seed, speaker, 32)).uniform(0.85, 1.2)
    return float(own * np.random.default_rng((seed, index, 33)).uniform(0.93, 1.07))


def _cut_out(seed: int, index: int, speaker: int) -> Delivery:
    """The delivery of a word cut out of continuous speech."""
    rng = np.random.default_rng((seed, index, 34))
    before, after = (_KNOWN[k] for k in rng.integers(len(_KNOWN), size=2))
    return Delivery(
        pace=_pace(seed, speaker, index), shift=float(rng.uniform(-SHIFT, SHIFT)), before=(before,), after=(after,)
    )


def _spoken(seed, plan, *, size, speakers, fps, vocabulary, tracker, persistence=0.0, progress) -> SpeechSet:
    """The set of `plan`: (index, text, frames, delivery) of every clip; rendered once, then read from the cache."""
    indices, texts, lengths, _ = zip(*plan, strict=True)

    def draw() -> dict[str, np.ndarray]:
        # a process pool, but not inside a worker of a run
        workers = 1 if multiprocessing.parent_process() else joblib.cpu_count()
        made = joblib.Parallel(workers, return_as="generator")(
            joblib.delayed(speak_closely)(
                text, seed, index, frame=partial(alignment, size=size), frames=length, fps=fps,
                size=size, how=how, options=SPEAKERS, person=index % speakers,
            )
            for index, text, length, how in plan
        )  # fmt: skip
        made = list(tqdm(made, "synthetic speech", total=len(plan), mininterval=10, disable=not progress))
        frames, points = (np.concatenate(parts) for parts in zip(*made, strict=True))
        return {"frames": frames, "landmarks": points}

    kept = rendered("synthetic_speech", (seed, plan, size, speakers, fps, SPEAKERS), draw)
    ends = np.cumsum(lengths)[:-1]
    found = [
        drift(points, tracker * size, np.random.default_rng((seed, index, 35)), persistence=persistence)
        if persistence
        else jitter(points, tracker * size, np.random.default_rng((seed, index, 35)))
        for index, points in zip(indices, np.split(kept["landmarks"], ends), strict=True)
    ]
    clips = list(zip(np.split(kept["frames"], ends), found, strict=True))
    return gathered(
        clips,
        texts=texts,
        speakers=tuple(f"person-{index % speakers}" for index in indices),
        names=tuple(f"facesynth-{seed}-{index}" for index in indices),
        fps=fps,
        vocabulary=vocabulary,
    )
