"""The common format in which the video datasets return their clips."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from reprolib.datasets.people import split_people


@dataclass(frozen=True)
class ClipSet:
    """Short clips of faces, all of one length, with a label for every pixel of every frame.

    images: uint8 (N, T, H, W, 3), RGB. labels: uint8 (N, T, H, W), indices into `classes`.
    landmarks: float32 (N, T, 68, 2), pixels (x, y). names, subjects: N each, the clip and its person.
    categories: difficulty of each clip, 1 to 3 as 300VW's scenarios; 0 where the dataset does not say.
    """

    images: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    categories: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices) -> ClipSet:
        """The clips at `indices` (any integer sequence), in that order."""
        indices = [int(i) for i in indices]
        per_clip = [f.name for f in fields(self) if f.name != "classes"]

        def pick(value):
            return value[indices] if isinstance(value, np.ndarray) else tuple(value[i] for i in indices)

        return replace(self, **{name: pick(getattr(self, name)) for name in per_clip})


def joined(one: ClipSet, other: ClipSet) -> ClipSet:
    """The clips of both sets, which must have the same classes, frame size and number of frames."""

    def both(name: str):
        value, further = getattr(one, name), getattr(other, name)
        return np.concatenate([value, further]) if isinstance(value, np.ndarray) else value + further

    return replace(one, **{f.name: both(f.name) for f in fields(one) if f.name != "classes"})


def split_by_subject(clips: ClipSet, *, parts: tuple[float, ...], seed: int) -> list[ClipSet]:
    """One set of clips per entry of `parts` (shares of the people, sampled with `seed`); no person is in two.

    Every set gets at least one person. UserError for fewer people than parts.
    """
    sets = split_people(clips.subjects, parts=parts, seed=seed, called="people")
    return [clips.subset(indices) for indices in sets]
