"""From video files to aligned clips: reading, dlib's landmarks (cached), and who speaks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reprolib.datasets import landmarks, videos
from reprolib.datasets.folders import Skipped
from reprolib.datasets.speech import SpeechSet, align, gathered
from reprolib.datasets.talking_mouths import speakers as clusters
from reprolib.errors import UserError
from reprolib.paths import CACHE

FPS = 25.0  # of LRW, LRS2, LRS3 and GRID


@dataclass(frozen=True)
class Utterance:
    """A video file and its transcript; speaker None where the dataset names none."""

    video: Path
    text: str
    speaker: str | None
    name: str


def drawn(utterances: Sequence[Utterance], *, count: int | None, seed: int) -> list[Utterance]:
    """`count` of the utterances, sampled with `seed`, in their order; None: all. UserError if there are fewer."""
    if count is None:
        return list(utterances)
    if not 1 <= count <= len(utterances):
        raise UserError(f"{count} clips are asked for, but there are {len(utterances)}: ask for at most as many")
    chosen = np.random.default_rng(seed).permutation(len(utterances))[:count]
    return [utterances[i] for i in sorted(chosen.tolist())]


def load(
    utterances: Sequence[Utterance],
    *,
    corpus: str,
    size: int,
    frames: int | None = None,
    vocabulary: tuple[str, ...] = (),
    fps: float = FPS,
    progress: bool = True,
) -> SpeechSet:
    """The clips of `utterances` as a set with frames of `size` × `size` pixels, aligned by dlib's landmarks.

    `frames`: how many are kept from the middle of each clip (None: all). Clips without a face are left out with a
    warning, and a few damaged ones (unreadable, shorter than `frames`, an empty text) as `folders.Skipped` says.
    Landmarks are kept in the project's cache, clip by clip, under a hash of the clip's bytes; frames never are. Where
    the dataset names no speakers, they are clusters of face embeddings. UserError if dlib is missing, too many clips
    are damaged, or none shows a face.
    """
    clips, kept, embeddings, without = [], [], [], []
    skipped = Skipped(f"clips of {corpus}", len(utterances))
    for one in tqdm(utterances, f"clips of {corpus}", disable=not progress):
        shown = None
        with skipped.item():
            shown = _shown(one, frames)
        if shown is None:
            continue
        points, embedding = tracked(one, shown, corpus)
        start = 0 if frames is None else (len(shown) - frames) // 2
        window = slice(start, start + (frames or len(shown)))
        if not np.isfinite(points[window]).all(axis=(1, 2)).any():
            without.append(one.name)
            continue
        clips.append(align(shown[window], points[window], size))
        kept.append(one)
        embeddings.append(embedding)
    skipped.warn()
    if not clips:
        raise UserError(
            f"{len(utterances)} clips of {corpus} should show a face, but dlib finds none in any of them: "
            "check that the data root holds the right videos"
        )
    if without:
        some = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
        warnings.warn(
            f"{len(without)} of {len(utterances)} clips of {corpus} show no face and are left out: {some}",
            stacklevel=2,
        )
    return gathered(
        clips,
        texts=tuple(one.text for one in kept),
        speakers=_speakers(kept, embeddings),
        names=tuple(one.name for one in kept),
        fps=fps,
        vocabulary=vocabulary,
    )


def _shown(one: Utterance, frames: int | None) -> np.ndarray:
    """The frames of a clip, uint8 (T, H, W, 3) RGB; UserError if it is damaged."""
    if not one.text.strip():
        raise UserError(f"{one.video} should have a transcript, but it is empty: leave this clip out")
    shown = videos.read(one.video)
    if frames is not None and len(shown) < frames:
        raise UserError(
            f"{one.video} should have {frames} frames or more, found {len(shown)}: ask for fewer frames or "
            "copy this clip again"
        )
    return shown


def _speakers(utterances: Sequence[Utterance], embeddings: Sequence[np.ndarray]) -> tuple[str, ...]:
    unknown = [i for i, one in enumerate(utterances) if one.speaker is None]
    names = [one.speaker for one in utterances]
    if unknown:
        for i, number in zip(unknown, clusters(np.stack([embeddings[i] for i in unknown])), strict=True):
            names[i] = f"speaker-{number:02d}"
    return tuple(names)


def tracked(one: Utterance, shown: np.ndarray, corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks float32 (T, 68, 2) in pixels of the video, NaN without a face, and the embedding (128,) or (0,)."""

    def make():
        points = landmarks.track(shown)
        seen = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
        embedding = np.empty(0, np.float32)
        if one.speaker is None and len(seen):
            embedding = landmarks.embed(shown[seen[0]], points[seen[0]])
        return {"landmarks": points, "embedding": embedding}

    key = landmarks.hash_of("speech-2", str(one.speaker is None), one.video)
    found = landmarks.remembered(CACHE / "speech" / corpus, key, make)
    return found["landmarks"], found["embedding"]


def sample(utterances: Sequence[Utterance], *, count: int = 8) -> str:
    """Decode a few clips spread over all of them, and describe them: "8 decoded, 25–75 frames".

    A few that cannot be decoded are named; UserError if they are too many.
    """
    chosen = utterances[:: max(1, len(utterances) // count)][:count]
    skipped, lengths = Skipped("sampled clips", len(chosen)), []
    for one in chosen:
        with skipped.item():
            lengths.append(len(videos.read(one.video)))
    damaged = f"; {skipped}" if skipped.reasons else ""
    return f"{len(lengths)} decoded, {min(lengths)}–{max(lengths)} frames{damaged}"
