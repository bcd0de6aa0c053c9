"""Talking faces from facesynth with masks from their landmarks: 300VW's task, in its three categories of difficulty."""

from __future__ import annotations

import numpy as np

from reprolib.datasets.clips import ClipSet
from reprolib.datasets.facesynth import FaceOptions, video
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask

CATEGORIES = (1, 2, 3)
FACES = FaceOptions(crop_margin=0.28)  # skin on about a third of the picture, as the paper's IoUs imply


def load(
    seed: int, count: int, *, size: int, frames: int, first: int = 0, fps: float = 25, options: FaceOptions = FACES
) -> ClipSet:
    """Clips `first` … `first + count − 1` of the endless series `seed`, three of each person, one of each category.

    images uint8 (count, frames, size, size, 3). Labels come from the exact landmarks, as people would annotate them:
    complete also where something covers the face. Sets whose ranges start at multiples of three share nobody.
    """
    made = [
        video(
            seed, index, frames=frames, fps=fps, size=size, category=_category(index), options=options,
            person=index // len(CATEGORIES),
        )
        for index in range(first, first + count)
    ]  # fmt: skip
    landmarks = np.stack([clip.landmarks for clip in made])
    return ClipSet(
        images=np.stack([clip.images for clip in made]),
        labels=np.array([[landmark_mask(points, (size, size)) for points in clip] for clip in landmarks]),
        landmarks=landmarks,
        classes=CLASSES,
        names=tuple(f"facesynth-{seed}-{index}" for index in range(first, first + count)),
        subjects=tuple(f"person-{index // len(CATEGORIES)}" for index in range(first, first + count)),
        categories=tuple(_category(index) for index in range(first, first + count)),
    )


def _category(index: int) -> int:
    return CATEGORIES[index % len(CATEGORIES)]
