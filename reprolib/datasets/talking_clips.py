"""Clips of real speakers with dlib's landmarks as annotation, and degraded frames as the network's input.

The talking faces and GRID have no annotation. Landmarks are tracked on the clean frames, and scores measure agreement
with dlib there. The network and the tracker of Table 2 see degraded frames, so that the annotation comes from better
frames than either sees. Source of the task: Wang et al. 2018, Sec. 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib.datasets import landmarks, talkingfaces, videos
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.facesynth import paste_occluder
from reprolib.datasets.folders import Skipped
from reprolib.datasets.grid import utterances
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask
from reprolib.datasets.pictures import crop_square, resize_picture
from reprolib.datasets.talking_mouths import speakers
from reprolib.errors import UserError
from reprolib.paths import CACHE

FACE = 0.7  # longer side of the landmarks' box as a share of the image's: skin on about a third of it
SHORTEST = 29  # frames of the shortest clips
GRID_START = 30  # of 75 frames
SHIFT, ZOOM = 0.04, 0.06  # standard deviations of a crop's position, in sides, and of the logarithm of its side
KINDS = ("occluder", "blur", "low resolution", "noise")  # in the order in which they arise, from scene to sensor


@dataclass(frozen=True)
class Corpus:
    """A source of clips: its files, the frame at which clips begin, and the speaker (None: from face embeddings)."""

    name: str
    clips: Mapping[str, Path]
    start: int = 0
    speaker: str | None = None


def talking_faces(root: Path) -> Corpus:
    """The clips of `<root>/talkingfaces` (or `root` itself), 29 frames or more, from their first frame."""
    return Corpus("talkingfaces", talkingfaces.clips_of(root))


def grid(root: Path) -> Corpus:
    """The clips of the first speaker in `<root>/grid_s1` or `grid`, from the middle of the sentence.

    Eleven clips of this speaker open with grey frames, and all with silence.
    """
    found = {one.name: one for one in utterances(root)}
    speaker = min(one.speaker or "" for one in found.values())
    clips = {name: one.video for name, one in found.items() if (one.speaker or "") == speaker}
    return Corpus("grid", clips, start=GRID_START, speaker=f"grid-{speaker}")


def load(corpus: Corpus, *, count: int, size: int, frames: int, seed: int = 0, progress: bool = True) -> ClipSet:
    """`frames` frames of each of `count` clips of a corpus, sampled with `seed`, from frame `corpus.start` on.

    images uint8 (count, frames, size, size, 3), clean. The crop is fixed through a clip: the square around the
    landmarks, slightly off as a detector's would be. If a search misses the face, its last box is used for 8 frames
    (`landmarks.track`). A clip that still has frames without landmarks is passed over; a few damaged ones are left out
    with a warning (`folders.Skipped`). subjects: the corpus's speaker, else clusters of face embeddings. Landmarks
    and embeddings are kept in the project's cache under a hash of the clip's bytes, images never. UserError if dlib is
    missing, `frames` is above `SHORTEST`, too many clips are damaged, or too few show a face.
    """
    if not 1 <= frames <= SHORTEST:
        raise UserError(f"clips of talking faces have {SHORTEST} frames or more, {frames} are asked for: ask for fewer")
    images = np.empty((count, frames, size, size, 3), np.uint8)
    inside = np.empty((count, frames, 68, 2), np.float32)
    names, embeddings = [], []
    found = _found(corpus, count=count, frames=frames, seed=seed, progress=progress)
    for i, (name, shown, track, embedding) in enumerate(found):
        names.append(name)
        embeddings.append(embedding)
        square = _as_detected(around(track), np.random.default_rng((seed, i)))
        for t, frame in enumerate(shown):
            images[i, t] = resize_picture(crop_square(frame, square), size)
        inside[i] = (track - square[:2] + 0.5) * (size / square[2]) - 0.5  # pixel centres
    subjects = (corpus.speaker,) * count
    if corpus.speaker is None:
        subjects = tuple(f"speaker-{number:02d}" for number in speakers(np.stack(embeddings)))
    return ClipSet(
        images=images,
        labels=np.array([[landmark_mask(points, (size, size)) for points in clip] for clip in inside]),
        landmarks=inside,
        classes=CLASSES,
        names=tuple(names),
        subjects=subjects,
        categories=(1,) * count,
    )


def degrade(clips: ClipSet, *, seed: int, kinds: tuple[str, ...] = KINDS) -> ClipSet:
    """The same clips as from a poor camera: a third untouched, a third with one fault, a third with two stronger ones.

    Faults are drawn from `kinds`. They last through the clip; an occluder drifts over the face. categories: 1
    untouched, 2 mild, 3 strong. Labels and landmarks stay those of the clean frames.
    """
    images = np.empty_like(clips.images)
    categories = tuple(1 + i % 3 for i in range(len(clips)))
    for i, category in enumerate(categories):
        rng = np.random.default_rng((seed, i))
        faults = rng.permutation(kinds)[: category - 1]
        frames = clips.images[i]
        for fault in sorted(faults, key=KINDS.index):  # what covers the face is photographed, too
            frames = _FAULTS[fault](frames, clips.landmarks[i], category - 1, rng)
        images[i] = frames
    return replace(clips, images=images, categories=categories)


def _occlude(frames, points, strength, rng):
    face = float(np.ptp(points[0, :, 0]))
    start, end = rng.uniform(-0.35, 0.35, (2, 2)) * face
    stream = rng.integers(2**32)  # the same thing in every frame, only elsewhere
    shown = []
    for t, (frame, at) in enumerate(zip(frames, points, strict=True)):
        near = at[30] + start + (end - start) * t / max(1, len(frames) - 1)
        covered, _ = paste_occluder(
            frame, np.zeros(frame.shape[:2], np.uint8), np.random.default_rng(stream), label=1, near=tuple(near),
            scale=face * (0.6, 0.9)[strength - 1],
        )  # fmt: skip
        shown.append(covered)
    return np.stack(shown)


def _blur(frames, points, strength, rng):
    sigma = frames.shape[1] / 128 * (1.2, 2.4)[strength - 1] * rng.uniform(0.8, 1.2)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def _noise(frames, points, strength, rng):
    noisy = frames + rng.normal(0, (18, 36)[strength - 1], frames.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def _low_resolution(frames, points, strength, rng):
    size = frames.shape[1]
    small = max(4, round(size / (4, 8)[strength - 1] * rng.uniform(0.8, 1.2)))
    return np.stack([cv2.resize(resize_picture(frame, small), (size, size)) for frame in frames])


_FAULTS = {"blur": _blur, "noise": _noise, "occluder": _occlude, "low resolution": _low_resolution}


def around(track: np.ndarray) -> tuple[int, int, int]:
    """The square (x, y, side) around the landmarks (T, 68, 2) of a whole clip."""
    low, high = track.min(axis=(0, 1)), track.max(axis=(0, 1))
    side = max(1, round(float((high - low).max() / FACE)))
    x, y = (low + high) / 2 - side / 2
    return round(float(x)), round(float(y)), side


def _as_detected(square: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    """A square (x, y, side), moved and scaled by a few per cent, so that positions in it tell less."""
    x, y, side = square
    dx, dy = rng.normal(0, SHIFT, 2) * side
    larger = max(1, round(side * float(np.exp(rng.normal(0, ZOOM)))))
    return round(x + dx + (side - larger) / 2), round(y + dy + (side - larger) / 2), larger


def _found(corpus: Corpus, *, count: int, frames: int, seed: int, progress: bool):
    """Name, frames (T, H, W, 3), landmarks (T, 68, 2) in their pixels and embedding (128,) of each of `count` clips."""
    skipped, found = Skipped(f"clips of {corpus.name}", len(corpus.clips)), 0
    with tqdm(total=count, desc="landmarks of clips", disable=not progress) as bar:
        for name in np.random.default_rng(seed).permutation(list(corpus.clips)).tolist():
            if found == count:
                break
            shown = None
            with skipped.item():
                shown = videos.read(corpus.clips[name], first=corpus.start + frames)[corpus.start :]
            if shown is None:
                continue
            kept = _tracked(corpus.clips[name], shown, corpus.start)
            if np.isfinite(kept["landmarks"]).all():
                found += 1
                bar.update()
                yield name, shown, kept["landmarks"], kept["embedding"]
    skipped.warn()
    if found < count:
        raise UserError(
            f"{count} clips are asked for, but only {found} of {len(corpus.clips)} show a face throughout: "
            "ask for fewer"
        )


def _tracked(clip: Path, shown: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """Landmarks (T, 68, 2) of a clip's frames and face embedding (128,), from the cache if they are there."""

    def make():
        track = landmarks.track(shown)
        seen = np.isfinite(track).all()
        return {"landmarks": track, "embedding": landmarks.embed(shown[0], track[0]) if seen else np.empty(0)}

    key = landmarks.hash_of("talking_clips-3", f"{start}+{len(shown)}", clip)
    return landmarks.remembered(CACHE / "talking_clips", key, make)
