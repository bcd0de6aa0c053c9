"""LipNet-ITA: Italian mouths with word times, from the public repository OnlineKD-LipNetITA.

`<root>/lipnet_ita/sN/K-XX.mp4`: mouths of 50 × 100 pixels, 100 frames at 25 frames per second, each with one of 19
sentences. `K-XX.align` beside it: lines `start end word` in thousandths of a frame. XX are the initials of the person,
who may have several recordings sN. No image of this set may be shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reprolib.datasets import folders, grid, videos
from reprolib.datasets.folders import Skipped
from reprolib.errors import UserError

FOLDERS = ("lipnet_ita", "lipnet-ita")


@dataclass(frozen=True)
class Clip:
    """One sentence: its video, the initials of the person, and its words with start and end in frames."""

    video: Path
    person: str
    words: tuple[tuple[str, float, float], ...]


def clips(root: Path) -> list[Clip]:
    """All clips, sorted by path. A few damaged ones are left out with a warning (`folders.Skipped`).

    Words are in upper case, without punctuation at either end. UserError if the folder is missing or too many clips
    are damaged.
    """
    found, skipped = _read(root)
    skipped.warn()
    return found


def _read(root: Path) -> tuple[list[Clip], Skipped]:
    folder = folders.dataset_folder(root, FOLDERS, holds=_is_ours, layout="lipnet_ita/sN/K-XX.mp4")
    paths = folders.files(folder, ".mp4", deep=True)
    found, skipped = [], Skipped("clips of lipnet_ita", len(paths))
    for video in paths:
        with skipped.item():
            _, dash, person = video.stem.partition("-")
            if not dash:
                raise UserError(
                    f"{video} should be named K-XX.mp4, with a person's initials: give it its official name"
                )
            timed = grid.read_times(video.with_suffix(".align"))
            words = tuple((word.strip(".,?!"), start, end) for word, start, end in timed if end > start)
            found.append(Clip(video, person, words))
    return found, skipped


def _is_ours(folder: Path) -> bool:
    return any("-" in video.stem for inner in folders.subfolders(folder) for video in folders.files(inner, ".mp4")[:1])


def mouths(clip: Clip, size: tuple[int, int]) -> np.ndarray:
    """The frames of a clip in grey at `size` (height, width): uint8 (T, height, width); UserError if damaged."""
    frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in videos.read(clip.video)]
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames])


def check(root: Path) -> list[str]:
    """A report on what was found and what is damaged; UserError as in `clips`."""
    found, skipped = _read(root)
    people, words = {clip.person for clip in found}, {word for clip in found for word, _, _ in clip.words}
    return [f"lipnet_ita: {len(found)} clips of {len(people)} people, {len(words)} words", *skipped.lines()]
