"""Faces without labels from short clips of news presenters.

The transfer corpus for real data, masi2020 Sec. 3.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reprolib.datasets import folders, landmarks, videos
from reprolib.datasets.folders import Skipped
from reprolib.datasets.pictures import crop_square, resize_picture
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
    names). Clips in which dlib finds no face are passed over; a few damaged ones, too, with a warning
    (`folders.Skipped`). Landmarks are kept in the project's cache under a hash of the clip's bytes; images
    of these identifiable people never are. UserError if folder, clips or dlib are missing, or too many
    clips are damaged.
    """
    clips = clips_of(root)
    images, inside, names = [], [], []
    for name, image, face in faces_of(clips, _detected, count=count, seed=seed, progress=progress):
        square = framing(face)
        images.append(resize_picture(crop_square(image, square), size))
        inside.append((face - square[:2] + 0.5) * (size / square[2]) - 0.5)  # pixel centres, as in cv2.resize
        names.append(name)
    return np.stack(images), np.stack(inside).astype(np.float32), tuple(names)


def faces_of(
    clips: dict[str, Path], detect: Callable[[Path, int, np.ndarray], np.ndarray | None], *, count: int, seed: int,
    progress: bool,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:  # fmt: skip
    """Name, frame uint8 (H, W, 3) and what `detect` finds of the first `count` clips that show a face, in an order
    and at frames drawn with `seed`.

    detect: from a clip's path, frame index and frame to what is wanted of its face, or None if there is none. Damaged
    clips are passed over as `folders.Skipped` says. UserError if too few clips show a face.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(list(clips)).tolist()
    indices = rng.integers(FIRST_FRAMES, size=len(order)).tolist()
    skipped, found = Skipped("clips of talkingfaces", len(clips)), 0
    with tqdm(total=count, desc="faces of clips", disable=not progress) as bar:
        for name, index in zip(order, indices, strict=True):
            if found == count:
                break
            image = None
            with skipped.item():
                image = videos.read_frame(clips[name], index)
            face = None if image is None else detect(clips[name], index, image)
            if face is not None:
                found += 1
                bar.update()
                yield name, image, face
    skipped.warn()
    if found < count:
        raise UserError(
            f"{count} faces are asked for, but only {found} of {len(clips)} clips show a face: ask for fewer"
        )


def _detected(clip: Path, index: int, image: np.ndarray) -> np.ndarray | None:
    """The landmarks (68, 2) in pixels of a frame, from the cache if they are there."""

    def make():
        face = landmarks.detect(image)
        return {"landmarks": np.empty((0, 2), np.float32) if face is None else face}

    found = landmarks.remembered(CACHE / "talkingfaces", landmarks.hash_of("talkingfaces-2", str(index), clip), make)
    return found["landmarks"] if len(found["landmarks"]) else None


def framing(points: np.ndarray) -> tuple[int, int, int]:
    """The square (x, y, side) in which a face with these (68, 2) landmarks is framed as in `fasseg.load`."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    side = (bottom - top) / LANDMARK_HEIGHT
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - LANDMARK_MIDDLE * side
    return round(float(x)), round(float(y)), max(1, round(float(side)))


def check(root: Path) -> list[str]:
    """What is there, and what is damaged, one line per part; UserError if too much is. A sample of clips is decoded."""
    clips = clips_of(root)
    empty = Skipped("clips of talkingfaces", len(clips))
    for clip in clips.values():
        with empty.item():
            if clip.stat().st_size == 0:
                raise UserError(f"{clip} is empty: copy this clip again")
    sample = [clip for clip in clips.values() if clip.stat().st_size][:: max(1, len(clips) // 8)]
    sizes, undecodable = [], Skipped("sampled clips", len(sample))
    for clip in sample:
        with undecodable.item():
            sizes.append(videos.read_frame(clip, 0).shape[1::-1])
    (width, height), _ = Counter(sizes).most_common(1)[0]
    line = f"talkingfaces: {len(clips)} clips, {width}×{height} pixels ({len(sizes)} decoded)"
    return [line, *empty.lines(), *undecodable.lines()]


def clips_of(root: Path) -> dict[str, Path]:
    """Name → file of every clip; UserError if there is none."""
    return {path.stem: path for path in folders.files(folder_of(root) / "video", ".mp4")}


def folder_of(root: Path) -> Path:
    """The folder of video/ and text/; UserError if there is none with a clip."""
    return folders.dataset_folder(
        root,
        ("talkingfaces",),
        holds=lambda folder: bool(folders.files(folder / "video", ".mp4")),
        layout="talkingfaces/video/ID.mp4",
    )
