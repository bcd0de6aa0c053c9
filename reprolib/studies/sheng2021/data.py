"""sheng2021's clips, from each data source, and what the networks see of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from reprolib.datasets import grid, lrs2, lrs3, lrw, synthetic_speech, talking_speech
from reprolib.datasets.facesynth import LEXICON
from reprolib.datasets.rendered import kept_once
from reprolib.datasets.speech import MOUTH, SpeechSet, gathered, jitter, mouth_crops, split_by_speaker
from reprolib.datasets.talking_mouths import crop_box, mouth_crop
from reprolib.errors import UserError
from reprolib.lip_checkpoints import LipModel, load_model
from reprolib.models.lip_inference import inputs as network_inputs
from reprolib.paths import CACHE, ROOT
from reprolib.studies.sheng2021 import settings as s

SEED = 2031  # sizes and rates were chosen on the people of series 2021: nobody here is one of them
SENTENCE_SEED = 2032  # other people than those of the words
OFFICIAL = ("train", "val", "test")  # parts of LRS2
PARTS = 4  # lip, teeth, tongue, cavity
MASKING = 1  # raise when the same clips give other masks
LIPS = ROOT / "reprolib" / "weights" / "fuzzy.pt"


def word_sets(p: Mapping, data_root: Path | None) -> list[SpeechSet]:
    """Training and test clips of single words, with no speaker in both; the people for validation are left out.

    "tracker": how far synthetic landmarks err, where a row says so; clips are aligned without this error.
    """
    sizes = (p[name] for name in ("vocabulary", "clips", "speakers", "frames", "size"))
    return _word_sets(words_from(p), data_root, *sizes, p.get("tracker", synthetic_speech.TRACKER))


def words_from(p: Mapping) -> str:
    """Where words come from: "paper" is LRW; "synthetic" also for sentences of `public` and GRID, which have none."""
    return "paper" if p["data"] == "paper" and p.get("set") != "grid" else "synthetic"


@lru_cache(maxsize=2)
def _word_sets(
    source: str,
    data_root: Path | None,
    vocabulary: int,
    count: int,
    speakers: int,
    frames: int,
    size: int,
    tracker: float,
) -> list[SpeechSet]:
    if source == "paper":
        counts = {
            part: max(1, round(share * count / vocabulary))
            for part, share in (("train", s.SPLIT[0]), ("test", s.SPLIT[2]))
        }
        return [
            lrw.load(data_root, part=part, words=vocabulary, per_word=each, frames=frames, size=size)
            for part, each in counts.items()
        ]
    clips = synthetic_speech.words(
        SEED, count, vocabulary=vocabulary_of(vocabulary), frames=frames, size=size, speakers=speakers, tracker=tracker
    )
    return split_by_speaker(clips, parts=s.SPLIT, seed=SEED)[::2]


def sentence_sets(p: Mapping, data_root: Path | None) -> list[SpeechSet]:
    """Training, validation and test clips of sentences; no speaker is in two of them, or among those of the words."""
    sizes = (p.get(name) for name in s.OF_SYNTHETIC)
    return _sentence_sets(p["data"], p.get("set"), data_root, *sizes, p["size"])


@lru_cache(maxsize=2)
def _sentence_sets(
    source: str,
    name: str | None,
    data_root: Path | None,
    count: int | None,
    longest: int | None,
    speakers: int | None,
    size: int,
) -> list[SpeechSet]:
    if source == "synthetic":
        clips = synthetic_sentences(count, longest=longest, speakers=speakers, size=size)
    elif source == "public":
        clips = talking_speech.load(data_root, size=size)
    elif name == "grid":
        clips = grid.load(data_root, count=count, size=size)
    else:
        return _official(name, data_root, count, size)
    return split_by_speaker(clips, parts=s.SPLIT, seed=SEED)


def _official(name: str, data_root: Path, count: int, size: int) -> list[SpeechSet]:
    """Official parts of LRS2 or LRS3; LRS3 has none for validation, which gets some of the talks for training.

    Where a part has fewer clips than are asked for, it is taken whole.
    """
    training, validation, test = (round(share * count) for share in s.SPLIT)
    corpus, most_words = {"lrs2": lrs2, "lrs3": lrs3}[name], max(s.CURRICULUM)

    def load(part: str, count: int) -> SpeechSet:
        there = len(lrs2.at_most(corpus.utterances(data_root, part), most_words))
        return corpus.load(data_root, part=part, count=min(count, there), most_words=most_words, size=size)

    if name == "lrs2":
        return [load(part, n) for part, n in zip(OFFICIAL, (training, validation, test), strict=True)]
    talks = load("trainval", training + validation)
    return [*split_by_speaker(talks, parts=s.SPLIT[:2], seed=SEED), load("test", test)]


def synthetic_sentences(count: int, *, longest: int, speakers: int, size: int) -> SpeechSet:
    """About `count` sentences by the same people, as many of two words as of three, …, `longest`.

    They are beginnings of GRID's commands ("bin blue at four now").
    """
    lengths = range(2, longest + 1)
    each = count // len(lengths)
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


def vocabulary_of(count: int) -> tuple[str, ...]:
    """The first `count` words of the synthetic vocabulary, half of them with homophenes; UserError if it has fewer."""
    known = synthetic_speech.VOCABULARY
    if count > len(known):
        raise UserError(
            f"expected at most {len(known)} words of the synthetic vocabulary, found {count}; ask for fewer"
        )
    return known[:count]


# --- what networks see ---------------------------------------------------------------------------------


class Views:
    """Clips as the tensors that networks take; greys are normalised by mean and deviation of the training set.

    "crops" (N, T, h, h), "frames" (N, T, S, S), "flow" (N, 2, T, h, h), "masks" (N, T, classes, h, h): float32;
    "landmarks" float32 (N, T, 68, 2) in pixels of the frames; "lengths" int64 (N,).
    """

    def __init__(self, training: SpeechSet, *, crop: int) -> None:
        self.crop = crop
        # clip by clip: what numpy does to all pixels at once takes eight times their memory
        clips = zip(training.frames, training.lengths, strict=True)
        counts = sum(np.bincount(frames[:length].ravel(), minlength=256) for frames, length in clips)
        greys = np.arange(256)
        self.mean = float(counts @ greys / counts.sum())
        self.deviation = max(float(np.sqrt(counts @ (greys - self.mean) ** 2 / counts.sum())), 1.0)

    def __call__(
        self, clips: SpeechSet, names: Sequence[str], *, noise: float = 0.0, seed: int = 0
    ) -> dict[str, Tensor]:
        """The tensors `names`; `noise`: standard deviation of disturbed landmarks in pixels of the frames."""
        points = clips.landmarks
        if noise:
            points = jitter(points, noise, np.random.default_rng(seed))
        made: dict[str, Tensor] = {}
        crops = mouth_crops(clips.frames, points, self.crop) if {"crops", "flow", "masks"} & set(names) else None
        for name in names:
            if name == "crops":
                made[name] = self._greys(crops)
            elif name == "frames":
                made[name] = self._greys(clips.frames)
            elif name == "landmarks":
                made[name] = torch.from_numpy(points.astype(np.float32))
            elif name == "lengths":
                made[name] = torch.from_numpy(clips.lengths.astype(np.int64))
            elif name == "flow":
                made[name] = torch.from_numpy(optical_flow(crops))
            else:
                made[name] = torch.from_numpy(lip_masks(clips, points, crops.shape[-1]))
        return made

    def _greys(self, pictures: np.ndarray) -> Tensor:
        return (torch.from_numpy(pictures).float() - self.mean) / self.deviation


def optical_flow(crops: np.ndarray) -> np.ndarray:
    """Dense flow (Farnebäck) from each frame to the next: uint8 (N, T, h, w) -> float32 (N, 2, T, h, w), pixels.

    The last frame has the flow of the one before it.
    """
    count, frames, height, width = crops.shape
    flow = np.zeros((count, 2, frames, height, width), np.float32)
    for i in range(count):
        for t in range(frames - 1):
            found = cv2.calcOpticalFlowFarneback(crops[i, t], crops[i, t + 1], None, 0.5, 2, 9, 2, 5, 1.1, 0)
            flow[i, :, t] = found.transpose(2, 0, 1)
    flow[:, :, -1] = flow[:, :, max(frames - 2, 0)]
    return flow


def viseme_classes_of(vocabulary: Sequence[str]) -> np.ndarray:
    """The number of each word's viseme class, int64 (words,); a word outside the lexicon is a class of its own."""
    known = np.array([word.lower() in LEXICON for word in vocabulary])
    numbers = np.empty(len(vocabulary), np.int64)
    numbers[known] = synthetic_speech.viseme_class_of([w for w, k in zip(vocabulary, known, strict=True) if k])
    numbers[~known] = numbers[known].max(initial=-1) + 1 + np.arange((~known).sum())
    return numbers


@lru_cache(maxsize=1)
def _lip_model() -> LipModel:
    return load_model(LIPS)


def lip_masks(clips: SpeechSet, points: np.ndarray, side: int) -> np.ndarray:
    """Lip, teeth, tongue and cavity in the crops of `mouth_crops`, from yang2023's network: float32 (N, 4, T, h, w).

    The network sees its own crop of each frame, in grey, and at one scale; what it finds is kept in the project's
    cache. UserError if its checkpoint is missing.
    """
    seen = hashlib.sha256(f"{MASKING} {side}".encode())
    for part in (clips.frames, points.astype(np.float32), np.frombuffer(_lip_weights(), np.uint8)):
        seen.update(np.ascontiguousarray(part))
    stored = CACHE / "lip_masks" / seen.hexdigest()[:16]

    def predict() -> dict[str, np.ndarray]:
        masks = [
            _masks_of(frames[:count], of_clip[:count], side)
            for frames, of_clip, count in tqdm(
                zip(clips.frames, points, clips.lengths.tolist(), strict=True), "lip masks", total=len(clips)
            )
        ]
        return {"masks": np.concatenate(masks)}

    found = np.split(kept_once(stored, predict)["masks"], np.cumsum(clips.lengths)[:-1])
    masks = np.zeros((len(clips), PARTS, clips.frames.shape[1], side, side), np.float32)
    for place, of_clip in zip(masks, found, strict=True):
        place[:, : len(of_clip)] = of_clip.transpose(1, 0, 2, 3) / np.float32(255)
    return masks


def _lip_weights() -> bytes:
    """The checkpoint's bytes; UserError from `load_model` if there are none."""
    return LIPS.read_bytes() if LIPS.is_file() else b""


@torch.no_grad()
def _masks_of(frames: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """Probabilities of the parts in one clip's crops, in 255ths: uint8 (T, 4, side, side)."""
    model = _lip_model()
    colours = np.repeat(frames[..., None], 3, axis=-1)
    mouths = [mouth_crop(f, p, size=model.size)[0] for f, p in zip(colours, points, strict=True)]
    found = model.network(network_inputs(np.stack(mouths))).softmax(1)[:, 1:].numpy()  # without background
    masks = np.empty((len(frames), PARTS, side, side), np.uint8)
    for t, of_frame in enumerate(points):
        corner = np.round(of_frame[MOUTH].mean(0) - (side - 1) / 2)
        x, y, width, _ = crop_box(of_frame)
        scale = model.size[1] / width
        shift = scale * (corner + 0.5 - (x, y)) - 0.5  # pixel centres, as in `mouth_crop`
        place = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        for part in range(PARTS):
            way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            masks[t, part] = (255 * cv2.warpAffine(found[t, part], place, (side, side), flags=way)).round()
    return masks
