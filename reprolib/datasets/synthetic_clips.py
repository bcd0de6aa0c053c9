"""Talking faces from facesynth with masks from their landmarks: 300VW's task, in its three categories of difficulty."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from reprolib.datasets.clips import ClipSet
from reprolib.datasets.facesynth import FaceOptions, video
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask
from reprolib.datasets.rendered import rendered

CATEGORIES = (1, 2, 3)
FACES = FaceOptions(crop_margin=0.19)  # skin on about a third of the picture, as the paper's IoUs imply


def load(
    seed: int, count: int, *, size: int, frames: int, category: int | None = None, first: int = 0, fps: float = 25,
    options: FaceOptions = FACES, progress: bool = True,
) -> ClipSet:  # fmt: skip
    """Clips `first` … `first + count − 1` of the infinite series with this `seed`: each person once per category.

    With a `category`, all clips have it; a person's clips differ in motion, words and light. images uint8 (count,
    frames, size, size, 3). Labels come from the exact landmarks, as people would annotate them: complete also where
    something covers the face. Sets whose ranges start at multiples of three and do not overlap share no person.
    Finished sets are kept in the project's cache.
    """
    indices = range(first, first + count)
    categories = tuple(category or CATEGORIES[index % len(CATEGORIES)] for index in indices)
    people = tuple(index // len(CATEGORIES) for index in indices)

    def draw() -> dict[str, np.ndarray]:
        drawing = tqdm(indices, "synthetic clips", disable=not progress)
        made = [
            video(seed, index, frames=frames, fps=fps, size=size, category=hard, options=options, person=person)
            for index, hard, person in zip(drawing, categories, people, strict=True)
        ]
        return {"images": np.stack([clip.images for clip in made]), "landmarks": np.stack([c.landmarks for c in made])}

    kept = rendered("synthetic_clips", (seed, indices, categories, people, size, frames, fps, options), draw)
    return ClipSet(
        images=kept["images"],
        labels=np.array([[landmark_mask(points, (size, size)) for points in clip] for clip in kept["landmarks"]]),
        landmarks=kept["landmarks"],
        classes=CLASSES,
        names=tuple(f"facesynth-{seed}-{index}" for index in indices),
        subjects=tuple(f"person-{person}" for person in people),
        categories=categories,
    )
