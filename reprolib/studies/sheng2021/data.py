"""The clips of sheng2021, from each dataset, and what the networks see of them.

Words are windows. Those of GRID are centred on the word and include what is said around it, as in LRW. Those of
LipNet-ITA are the word's own frames alone: everyone there reads the same sentences, so that a neighbour gives the word
away.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from reprolib.datasets import grid, lipnet_ita, lrs2, lrs3, lrw, speech_videos, synthetic_speech, videos
from reprolib.datasets.kept import content, kept
from reprolib.datasets.rendered import folder_of, kept_once, made_once
from reprolib.datasets.speech import (
    MOUTH,
    SpeechSet,
    align,
    fill_gaps,
    gathered,
    mouth_crops,
    split_by_speaker,
)
from reprolib.datasets.talking_mouths import crop_box, mouth_crop
from reprolib.errors import UserError
from reprolib.lip_checkpoints import LipModel, load_model
from reprolib.models.lip_inference import inputs as network_inputs
from reprolib.paths import CACHE, ROOT
from reprolib.studies.sheng2021.config import Config, Sizes
from reprolib.studies.sheng2021.work import MASK_CHANNELS, SPLIT, italian_frames, italian_size

SEED = 2031
SENTENCE_SEED = 2032  # other people than those of the words
CLIPS = 1  # raise when the same files give other arrays
PARTS = ("train", "validation", "test")
GRID_WORDS = tuple((word.upper(), slot) for slot, of_slot in enumerate(grid.SLOTS) for word in of_slot.values())
RENDERED_WORDS = (*(word for pair in synthetic_speech.MINIMAL_PAIRS for word in pair), *synthetic_speech.DISTINCT)
# A detector's error: its standard deviation in x and y as a share of the aligned face's side, 3.4 % of the distance
# between the eyes on average (dlib's regression trees err by 4.9 % on HELEN), and its correlation from frame to frame.
TRACKER, PERSISTENCE = 0.012, 0.9
CLIPS_EACH = 40  # rendered clips of one person
LONGEST_RENDERED = 2  # words of a rendered sentence
MOST_WORDS = 37  # of a sentence of LRS2 or LRS3: the curriculum's last stage
FLOW_STEPS = 16  # of optical flow in a pixel
LIPS = ROOT / "reprolib" / "weights" / "fuzzy.pt"


@dataclass(frozen=True)
class Examples:
    """Words or sentences, N of them.

    views: name → a function that gives what networks see: "crops" uint8 (N, T, h, w), "frames" uint8 (N, T, S, S),
    "landmarks" float32 (N, T, 68, 2) in pixels of the frames, "lengths" int64 (N,), "flow" int8 (N, 2, T, h, w),
    "masks" uint8 (N, parts, T, h, w). units: the independent unit of each. Words have labels int64 (N,) into
    `vocabulary`, and times float32 (N, 2), middle and length in frames of their clip, zeros where unseen;
    of GRID and rendered words, `groups` names the slot of each word of the vocabulary, or "pair" and "distinct".
    Sentences of GRID have spans float32 (N, words, 2), the words' starts and ends in frames.
    """

    views: Mapping[str, Callable[[], np.ndarray]]
    texts: tuple[str, ...]
    units: tuple[str, ...]
    speakers: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    times: np.ndarray | None = None
    groups: tuple[str, ...] = ()
    spans: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def see(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The named views as tensors."""
        return {name: torch.from_numpy(np.asarray(self.views[name]())) for name in names}


@dataclass(frozen=True)
class Sets:
    """Three sets of examples, and the numbers of clips left out as damaged and of frames repaired by interpolation."""

    train: Examples
    validation: Examples
    test: Examples
    damaged: int = 0
    repaired: int = 0


def examples_of(config: Config, data_root: Path | None) -> Sets:
    """The words or sentences of a row's dataset; UserError if it is missing.

    grid: split by letter and digit, so that test sentences have pairs that training never saw (grid_split.csv).
    lipnet-ita: split by person (lipnet_ita_people.csv). facesynth: rendered, split by speaker. lrw, lrs2, lrs3: the
    official parts.
    """
    if config.dataset == "facesynth":
        return _rendered(config.task, config.sizes, config.clips, config.vocabulary)
    if data_root is None:
        raise UserError(
            f"The dataset {config.dataset} is read from a folder; give its path as data_root (--data-root)."
        )
    if config.dataset == "grid":
        return _grid_words(data_root, config.sizes) if config.task == "words" else _grid_clips(data_root, config.sizes)
    if config.dataset == "lipnet-ita":
        return _italian_words(data_root, config.sizes)
    if config.dataset == "lrw":
        return _lrw(data_root, config.sizes, config.clips)
    return _official(data_root, config.dataset, config.sizes, config.clips)


def listed_parts(name: str) -> dict[str, str]:
    """A committed list: pair of letter and digit, or person → part."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return {key: part for key, part in list(csv.reader(file))[1:]}


# --- GRID --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _GridClips:
    """The aligned clips of GRID that are whole, by part: arrays of all files, and which of them are used."""

    arrays: Mapping[str, np.ndarray]
    utterances: tuple[speech_videos.Utterance, ...]
    times: tuple[tuple[tuple[str, float, float], ...], ...]
    parts: Mapping[str, np.ndarray]  # part → indices of clips
    key: str
    damaged: int
    repaired: int


@lru_cache(maxsize=1)
def _grid(data_root: Path, size: int, crop: int) -> _GridClips:
    found = tuple(grid.utterances(data_root))
    aligned = grid.alignments(data_root)
    if missing := [one.name for one in found if one.name not in aligned]:
        raise UserError(f"words of GRID need their times: {missing[0]} has no .align file; copy the alignments, too")
    key = content(one.video for one in found)
    arrays = made_once(
        folder_of("sheng2021", (CLIPS, key, size, crop)), len(found), partial(_grid_clip, found, size, crop)
    )
    usable = np.flatnonzero(arrays["usable"])
    split = listed_parts("grid_split.csv")
    part_of = np.array([split[grid.pair_of(found[i].name)] for i in usable])
    times = tuple(tuple(grid.read_times(aligned[one.name])) for one in found)
    return _GridClips(
        arrays, found, times, {part: usable[part_of == part] for part in PARTS}, key,
        len(found) - len(usable), int(arrays["missing"][usable].sum()),
    )  # fmt: skip


def _grid_clip(found: Sequence[speech_videos.Utterance], size: int, crop: int, index: int) -> dict[str, np.ndarray]:
    """One clip, aligned by its landmarks: frames, crops and landmarks, and whether it is whole."""
    one, length = found[index], grid.FRAMES
    made = {
        "frames": np.zeros((length, size, size), np.uint8), "crops": np.zeros((length, crop, crop), np.uint8),
        "landmarks": np.zeros((length, 68, 2), np.float32), "usable": np.array(False), "missing": np.array(0),
    }  # fmt: skip
    frames = videos.read(one.video)
    if grid.is_damaged(frames):
        return made
    points, _ = speech_videos.tracked(one, frames, "grid")
    missing = ~np.isfinite(points[:length]).all((1, 2))
    if missing.all():
        return made
    aligned, moved = align(frames[:length], fill_gaps(points[:length]), size)
    crops = mouth_crops(aligned[None], moved[None], crop)[0]
    return {
        "frames": aligned, "crops": crops, "landmarks": moved, "usable": np.array(True),
        "missing": np.array(missing.sum()),
    }  # fmt: skip


def _grid_words(data_root: Path, sizes: Sizes) -> Sets:
    clips = _grid(data_root, sizes.size, sizes.crop)
    names = {word: label for label, (word, _) in enumerate(GRID_WORDS)}
    sets = {}
    for part, indices in clips.parts.items():
        words = [(clip, *timed) for clip in indices.tolist() for timed in clips.times[clip]]
        owner = np.array([word[0] for word in words])
        times = np.array([((start + end) / 2, end - start) for *_, start, end in words], np.float32)
        first = np.round(times[:, 0] - sizes.frames / 2).astype(int)
        at = (first[:, None] + np.arange(sizes.frames)).clip(0, grid.FRAMES - 1)  # the ends of a clip are repeated
        at_key = (CLIPS, clips.key, sizes.size, sizes.crop, sizes.frames, part)
        views: dict[str, Callable[[], np.ndarray]] = {
            name: partial(_windows, (*at_key, name), clips.arrays[name], owner, at)
            for name in ("crops", "frames", "landmarks")
        }
        views["lengths"] = partial(np.full, len(words), sizes.frames, np.int64)
        texts = tuple(word[1] for word in words)
        sets[part] = _with_more_views(Examples(
            views, texts, tuple(clips.utterances[i].name for i in owner), tuple(_speaker(clips, i) for i in owner),
            tuple(word for word, _ in GRID_WORDS), np.array([names[text] for text in texts], np.int64), times,
            tuple(SLOT_NAMES[slot] for _, slot in GRID_WORDS),
        ), sizes, at_key)  # fmt: skip
    return Sets(*(sets[part] for part in PARTS), damaged=clips.damaged, repaired=clips.repaired)


SLOT_NAMES = ("command", "colour", "preposition", "letter", "digit", "adverb")


def _windows(key: tuple, array: np.ndarray, owner: np.ndarray, at: np.ndarray) -> np.ndarray:
    return kept("sheng2021", key, lambda: {"windows": array[owner[:, None], at]})["windows"]


def _speaker(clips: _GridClips, index: int) -> str:
    return clips.utterances[index].speaker or clips.utterances[index].name.partition("/")[0]


def _grid_clips(data_root: Path, sizes: Sizes) -> Sets:
    clips = _grid(data_root, sizes.size, sizes.crop)
    sets = {}
    for part, indices in clips.parts.items():
        views: dict[str, Callable[[], np.ndarray]] = {
            name: partial(clips.arrays[name].__getitem__, indices) for name in ("crops", "frames", "landmarks")
        }
        views["lengths"] = partial(np.full, len(indices), grid.FRAMES, np.int64)
        spans = np.array([[timed[1:] for timed in clips.times[i]] for i in indices], np.float32)
        names = tuple(clips.utterances[i].name for i in indices)
        texts = tuple(clips.utterances[i].text for i in indices)
        sets[part] = Examples(views, texts, names, tuple(_speaker(clips, i) for i in indices), spans=spans)
    return Sets(*(sets[part] for part in PARTS), damaged=clips.damaged, repaired=clips.repaired)


# --- LipNet-ITA --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _italian_words(data_root: Path, sizes: Sizes) -> Sets:
    found = tuple(lipnet_ita.clips(data_root))
    parts, most = listed_parts("lipnet_ita_people.csv"), italian_frames(sizes)
    size = italian_size(sizes)
    words = [(clip, *timed) for clip in found for timed in clip.words]
    vocabulary = tuple(sorted({word for _, word, _, _ in words}))

    def make() -> dict[str, np.ndarray]:
        shown = {clip: lipnet_ita.mouths(clip, size) for clip in tqdm(found, "mouths of LipNet-ITA", mininterval=10)}
        made, lengths = np.zeros((len(words), most, *size), np.uint8), np.zeros(len(words), np.int64)
        for i, (clip, _, start, end) in enumerate(words):
            own = own_frames(start, end, most=most, there=len(shown[clip]))
            made[i, : len(own)], lengths[i] = shown[clip][own], len(own)
        return {"crops": made, "lengths": lengths}

    arrays = kept("sheng2021", (CLIPS, content(clip.video for clip in found), size, most), make)
    sets = []
    for part in PARTS:
        chosen = np.array([i for i, (clip, *_) in enumerate(words) if parts[clip.person] == part])
        of_part = [words[i] for i in chosen]
        people = tuple(clip.person for clip, *_ in of_part)
        sets.append(Examples(
            {name: partial(array.__getitem__, chosen) for name, array in arrays.items()},
            tuple(word for _, word, _, _ in of_part), people, people, vocabulary,
            np.array([vocabulary.index(word) for _, word, _, _ in of_part], np.int64),
            np.array([(0, end - start) for *_, start, end in of_part], np.float32),  # a window hides its moment
        ))  # fmt: skip
    return Sets(*sets)


def own_frames(start: float, end: float, *, most: int, there: int) -> np.ndarray:
    """Indices of a word's own frames in a clip of `there` frames: at least one, and at most the middle `most`."""
    first, last = int(np.floor(start)), max(int(np.ceil(end)), int(np.floor(start)) + 1)
    if last - first > most:
        first = (first + last - most) // 2
        last = first + most
    return np.arange(first, last).clip(0, there - 1)


# --- rendered and official sets ----------------------------------------------------------------------


@lru_cache(maxsize=2)
def _rendered(task: str, sizes: Sizes, clips: int, vocabulary: int) -> Sets:
    total = round(clips / SPLIT[0])
    speakers = max(6, total // CLIPS_EACH)
    if task == "sentences":
        spoken = _rendered_sentences(total, speakers=speakers, size=sizes.size)
    else:
        spoken = synthetic_speech.words(
            SEED, total, vocabulary=RENDERED_WORDS[: vocabulary or None], frames=sizes.frames, size=sizes.size,
            speakers=speakers, tracker=TRACKER, persistence=PERSISTENCE,
        )  # fmt: skip
    return Sets(*(_from_set(part, sizes) for part in split_by_speaker(spoken, parts=SPLIT, seed=SEED)))


def _rendered_sentences(count: int, *, speakers: int, size: int) -> SpeechSet:
    """About `count` beginnings of GRID's commands ("bin blue"), as many of one word as of two."""
    lengths = range(1, LONGEST_RENDERED + 1)
    each = max(1, count // len(lengths))
    sets = [
        synthetic_speech.sentences(
            SENTENCE_SEED, each, grammar=synthetic_speech.GRAMMAR[:length], size=size, speakers=speakers, first=i * each
        )
        for i, length in enumerate(lengths)
    ]
    return gathered(
        [(f[:n], m[:n]) for one in sets for f, m, n in zip(one.frames, one.landmarks, one.lengths, strict=True)],
        texts=tuple(text for one in sets for text in one.texts),
        speakers=tuple(speaker for one in sets for speaker in one.speakers),
        names=tuple(name for one in sets for name in one.names),
        fps=sets[0].fps,
    )


@lru_cache(maxsize=1)
def _lrw(data_root: Path, sizes: Sizes, per_word: int) -> Sets:
    """As many clips of each word for training, a fifth of them for validation and test each."""
    fewer = max(1, per_word // 5)
    return Sets(*(
        _from_set(lrw.load(data_root, part=part, per_word=count, frames=sizes.frames, size=sizes.size), sizes)
        for part, count in zip(("train", "val", "test"), (per_word, fewer, fewer), strict=True)
    ))  # fmt: skip


@lru_cache(maxsize=2)
def _official(data_root: Path, name: str, sizes: Sizes, count: int) -> Sets:
    """Official parts of LRS2 or LRS3, `count` clips in all; some talks serve as the validation part that LRS3 lacks.

    Where a part has fewer clips than requested, it is taken whole.
    """
    training, validation, test = (round(share * count) for share in SPLIT)
    corpus = {"lrs2": lrs2, "lrs3": lrs3}[name]

    def load(part: str, count: int) -> SpeechSet:
        there = len(lrs2.at_most(corpus.utterances(data_root, part), MOST_WORDS))
        return corpus.load(data_root, part=part, count=min(count, there), most_words=MOST_WORDS, size=sizes.size)

    if name == "lrs2":
        sets = [load(part, n) for part, n in zip(("train", "val", "test"), (training, validation, test), strict=True)]
    else:
        talks = load("trainval", training + validation)
        sets = [*split_by_speaker(talks, parts=SPLIT[:2], seed=SEED), load("test", test)]
    return Sets(*(_from_set(one, sizes) for one in sets))


def _from_set(clips: SpeechSet, sizes: Sizes) -> Examples:
    views: dict[str, Callable[[], np.ndarray]] = {
        "frames": lambda: clips.frames, "landmarks": lambda: clips.landmarks, "lengths": lambda: clips.lengths,
        "crops": lambda: mouth_crops(clips.frames, clips.landmarks, sizes.crop),
    }  # fmt: skip
    pairs = {word.upper() for pair in synthetic_speech.MINIMAL_PAIRS for word in pair}
    groups = tuple("pair" if word in pairs else "distinct" for word in clips.vocabulary)
    times = np.zeros((len(clips), 2), np.float32)
    found = Examples(
        views, clips.texts, clips.speakers, clips.speakers, clips.vocabulary, clips.labels, times,
        groups if clips.names[0].startswith("facesynth") else (),
    )  # fmt: skip
    return _with_more_views(found, sizes, None)


# --- flow and masks ----------------------------------------------------------------------------------


def _with_more_views(found: Examples, sizes: Sizes, key: tuple | None) -> Examples:
    """With "flow" and "masks", computed from the other views; flow is cached under `key`, unless that is None."""

    def flow() -> np.ndarray:
        return optical_flow(np.asarray(found.views["crops"]()))

    def masks() -> np.ndarray:
        frames, points, lengths = (np.asarray(found.views[name]()) for name in ("frames", "landmarks", "lengths"))
        return lip_masks(frames, points, lengths, sizes.crop)

    def once(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        return make() if key is None else kept("sheng2021", (*key, name), lambda: {name: make()})[name]

    return replace(found, views={**found.views, "flow": partial(once, "flow", flow), "masks": masks})


def optical_flow(crops: np.ndarray) -> np.ndarray:
    """Dense flow (Farnebäck) from each frame to the next: uint8 (N, T, h, w) -> int8 (N, 2, T, h, w), 1/16 pixel.

    The last frame has the flow of the one before it.
    """
    count, frames, height, width = crops.shape
    flow = np.zeros((count, 2, frames, height, width), np.int8)
    for i in range(count):
        for t in range(frames - 1):
            found = cv2.calcOpticalFlowFarneback(crops[i, t], crops[i, t + 1], None, 0.5, 2, 9, 2, 5, 1.1, 0)
            flow[i, :, t] = (FLOW_STEPS * found).round().clip(-127, 127).transpose(2, 0, 1)
    flow[:, :, -1] = flow[:, :, max(frames - 2, 0)]
    return flow


@lru_cache(maxsize=1)
def _lip_model() -> LipModel:
    return load_model(LIPS)


def lip_masks(frames: np.ndarray, points: np.ndarray, lengths: np.ndarray, side: int) -> np.ndarray:
    """The parts of a mouth in the crops of `mouth_crops`, by yang2023's network: uint8 (N, parts, T, h, w), 255 = sure.

    The network sees its own crop of each frame, in grey, and at one scale; the masks are kept in the project's cache.
    UserError if its checkpoint is missing.
    """
    seen = hashlib.sha256(f"{CLIPS} {side}".encode())
    for part in (frames, points.astype(np.float32), np.frombuffer(LIPS.read_bytes() if LIPS.is_file() else b"", "u1")):
        seen.update(np.ascontiguousarray(part))

    def predict() -> dict[str, np.ndarray]:
        masks = np.zeros((len(frames), MASK_CHANNELS, frames.shape[1], side, side), np.uint8)
        for place, shown, of_clip, count in zip(
            masks, tqdm(frames, "lip masks", mininterval=10), points, lengths.tolist(), strict=True
        ):
            place[:, :count] = _masks_of(shown[:count], of_clip[:count], side).transpose(1, 0, 2, 3)
        return {"masks": masks}

    return kept_once(CACHE / "lip_masks" / seen.hexdigest()[:16], predict)["masks"]


@torch.no_grad()
def _masks_of(frames: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """Probabilities of the parts in one clip's crops, in 255ths: uint8 (T, parts, side, side)."""
    model = _lip_model()
    colours = np.repeat(frames[..., None], 3, axis=-1)
    mouths = [mouth_crop(f, p, size=model.size)[0] for f, p in zip(colours, points, strict=True)]
    found = model.network(network_inputs(np.stack(mouths))).softmax(1)[:, 1:].numpy()  # without background
    masks = np.empty((len(frames), MASK_CHANNELS, side, side), np.uint8)
    for t, of_frame in enumerate(points):
        corner = np.round(of_frame[MOUTH].mean(0) - (side - 1) / 2)
        x, y, width, _ = crop_box(of_frame)
        scale = model.size[1] / width
        shift = scale * (corner + 0.5 - (x, y)) - 0.5  # pixel centres, as in `mouth_crop`
        place = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        for part in range(MASK_CHANNELS):
            way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            masks[t, part] = (255 * cv2.warpAffine(found[t, part], place, (side, side), flags=way)).round()
    return masks
