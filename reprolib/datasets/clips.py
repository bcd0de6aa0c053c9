"""The one shape in which every video dataset hands its clips to a study."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from reprolib.errors import UserError


@dataclass(frozen=True)
class ClipSet:
    """Short clips of faces, all of one length, with a label for every pixel of every frame.

    images: uint8 (N, T, H, W, 3), RGB. labels: uint8 (N, T, H, W), indices into `classes`.
    landmarks: float32 (N, T, 68, 2), pixels (x, y). names, subjects: N clips, N people.
    categories: 1 to 3, how hard a clip is, as 300VW's scenarios; 0 where the dataset does not say.
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


def windows(clips: ClipSet, *, length: int = 5) -> ClipSet:
    """Every clip cut into windows of `length` frames that do not overlap; what is left at its end is dropped.

    UserError if the clips have fewer frames than a window.
    """
    count = clips.images.shape[1] // length
    if not count:
        raise UserError(
            f"windows of {length} frames need clips of at least as many, found {clips.images.shape[1]}: "
            "ask for longer clips"
        )

    def cut(value):
        if isinstance(value, tuple):
            return tuple(one for one in value for _ in range(count))
        kept = value[:, : count * length]
        return kept.reshape(len(value) * count, length, *value.shape[2:])

    return replace(clips, **{f.name: cut(getattr(clips, f.name)) for f in fields(clips) if f.name != "classes"})


def split_by_subject(clips: ClipSet, *, parts: tuple[float, ...], seed: int) -> list[ClipSet]:
    """The clips in as many sets as there are `parts` (shares of the people, drawn with `seed`): nobody is in two.

    Every part gets one person at least. UserError for fewer people than parts.
    """
    people = np.random.default_rng(seed).permutation(sorted(set(clips.subjects)))
    if len(people) < len(parts):
        raise UserError(
            f"a split into {len(parts)} sets needs as many people, found {len(people)}: give clips of more people"
        )
    ends = np.round(np.cumsum(parts) / sum(parts) * len(people)).astype(int)
    at_least = np.arange(1, len(parts) + 1)  # one person each, and as many left for those behind
    ends = np.clip(ends, at_least, len(people) - at_least[::-1] + 1)
    ends = np.maximum.accumulate(ends - at_least) + at_least
    sets = np.split(people, ends[:-1])
    return [clips.subset(np.flatnonzero(np.isin(clips.subjects, of_part))) for of_part in sets]
