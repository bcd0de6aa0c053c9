"""Faces without labels from short clips of news presenters.

The transfer corpus for real data, masi2020 Sec. 3.1.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib.datasets import landmarks
from reprolib.datasets.pictures import crop_square, resize_picture, subfolder
from reprolib.errors import UserError
from reprolib.paths import CACHE

# Median place of the box around dlib's 68 landmarks in the frontal crops of `fasseg.load`, so that both
# sets of pictures show faces alike: its height, and the height of its middle, as parts of the side.
LANDMARK_HEIGHT = 0.71
LANDMARK_MIDDLE = 0.61
FIRST_FRAMES = 25  # the frame is drawn from these; the shortest clips have 29


def unlabelled_faces(
    root: Path, *, count: int, size: int, seed: int = 0, progress: bool = True
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """`count` faces from as many clips of `<root>/talkingfaces` (or `root` itself), drawn with `seed`.

    (images uint8 (count, size, size, 3), landmarks float32 (count, 68, 2) in pixels of the crop, clip
    names). Clips in which dlib finds no face are passed over. Which frames, and their landmarks, are kept
    in the project's cache; pictures of these identifiable people never are. UserError if folder, clips or
    dlib are missing, or a clip is unreadable.
    """
    clips = clips_of(root)
    chosen, points = _detected(clips, count=count, seed=seed, progress=progress)
    images, inside = [], []
    for (clip, frame), face in zip(chosen, points, strict=True):
        square = framing(face)
        images.append(resize_picture(crop_square(read_frame(clips[clip], frame), square), size))
        inside.append((face - square[:2] + 0.5) * (size / square[2]) - 0.5)  # pixel centres, as in cv2.resize
    names = tuple(clip for clip, _ in chosen)
    return np.stack(images), np.stack(inside).astype(np.float32), names


def framing(points: np.ndarray) -> tuple[int, int, int]:
    """The square (x, y, side) in which a face with these (68, 2) landmarks is framed as in `fasseg.load`."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    side = (bottom - top) / LANDMARK_HEIGHT
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - LANDMARK_MIDDLE * side
    return round(float(x)), round(float(y)), max(1, round(float(side)))


def read_frame(clip: Path, index: int) -> np.ndarray:
    """Frame `index` of a clip, uint8 (H, W, 3) RGB; UserError if the clip cannot be decoded that far."""
    capture = cv2.VideoCapture(str(clip))
    try:
        # the first frame that is skipped or read tells whether the file can be decoded at all
        good = all(capture.grab() for _ in range(index + 1))
        good, frame = capture.retrieve() if good else (False, None)
    finally:
        capture.release()
    if not good:
        raise UserError(f"{clip} cannot be decoded up to frame {index}: copy this clip again")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def check(root: Path) -> list[str]:
    """What is there, one line per part; UserError if a clip is empty or one of a sample cannot be decoded."""
    clips = clips_of(root)
    for clip in clips.values():
        if clip.stat().st_size == 0:
            raise UserError(f"{clip} is empty: copy this clip again")
    sample = list(clips.values())[:: max(1, len(clips) // 8)]
    height, width = {read_frame(clip, 0).shape[:2] for clip in sample}.pop()
    return [f"talkingfaces: {len(clips)} clips, {width}×{height} pixels ({len(sample)} decoded)"]


def clips_of(root: Path) -> dict[str, Path]:
    """Name → file of every clip; UserError if there is none."""
    folder = subfolder(root, "talkingfaces", holds="video") / "video"
    clips = {path.stem: path for path in sorted(folder.glob("*.mp4"))}
    if not clips:
        raise UserError(f"{folder} should hold clips ID.mp4, but has none: copy the clips there")
    return clips


def _detected(clips: dict[str, Path], *, count: int, seed: int, progress: bool):
    """([(clip, frame index)], landmarks (count, 68, 2) in pixels of the frame) of the first `count` faces."""
    settings = ["talkingfaces-1", list(clips), count, seed, FIRST_FRAMES]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    stored = CACHE / "talkingfaces" / f"{key}.json"
    if stored.is_file():
        kept = json.loads(stored.read_text())
        return [tuple(pair) for pair in kept["chosen"]], np.array(kept["landmarks"], np.float32)

    rng = np.random.default_rng(seed)
    order = rng.permutation(list(clips))
    frames = rng.integers(FIRST_FRAMES, size=len(order))
    chosen, points = [], []
    with tqdm(total=count, desc="landmarks of unlabelled faces", disable=not progress) as bar:
        for clip, frame in zip(order.tolist(), frames.tolist(), strict=True):
            if len(chosen) == count:
                break
            face = landmarks.detect(read_frame(clips[clip], frame))
            if face is not None:
                chosen.append((clip, frame))
                points.append(face)
                bar.update()
    if len(chosen) < count:
        raise UserError(
            f"{count} unlabelled faces are asked for, but only {len(chosen)} of {len(clips)} clips "
            "show a face: ask for fewer"
        )
    kept = {"chosen": chosen, "landmarks": np.stack(points).tolist()}
    landmarks.save_bytes(stored, json.dumps(kept).encode())
    return chosen, np.stack(points)
