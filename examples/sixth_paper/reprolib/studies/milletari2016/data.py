"""Rendered faces with the mouth as the one small object: 2 to 4 % of the pixels."""

from __future__ import annotations

import numpy as np

from reprolib.datasets.facesynth import PARTS, render
from reprolib.datasets.kept import kept
from reprolib.datasets.rendered import RENDERING
from reprolib.studies.milletari2016.config import Config

SEED = 2016
FIRST = {"train": 0, "validation": 100_000, "test": 200_000}  # ranges of faces that do not meet
MOUTH = [PARTS.index(part) for part in ("upper_lip", "lower_lip", "teeth", "tongue", "cavity")]


def mouths(config: Config, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, size, size, 3) and labels uint8 (N, size, size), 1 = mouth; every face is another person."""
    count = config.faces if split == "train" else config.faces // 2

    def make() -> dict[str, np.ndarray]:
        faces = [render(SEED, FIRST[split] + i, size=config.size) for i in range(count)]
        labels = np.isin([face.labels for face in faces], MOUTH).astype(np.uint8)
        return {"images": np.stack([face.image for face in faces]), "labels": labels}

    found = kept("milletari2016", (RENDERING, split, count, config.size), make)
    return found["images"], found["labels"]
