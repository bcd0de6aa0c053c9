"""yang2023's mouths, from each data source, at the sizes that a trial asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from reprolib.datasets import fasseg, flrseg, landmarks, mouths, talking_mouths
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.paths import CACHE
from reprolib.studies.yang2023.settings import ELSEWHERE

SEED = 2023
TEST = 11 * 10_000  # the first synthetic test mouth; eleven mouths in a row are one speaker's
ANNOTATOR_NOISE = 1.0  # pixels by which borders in synthetic training labels are off, as hand-drawn ones are
# Another camera, far away, and faces turned further: what LRW is to FLRSeg (Figure 9).
FAR_AWAY = replace(mouths.MOUTHS, yaw=(-50.0, 50.0), pitch=(-20.0, 20.0), blur=0.5, jpeg=1.0, low_resolution=0.5)
SHOWN = 12  # mouths whose pictures are kept
FASSEG_SIZE = 512  # at which dlib looks at FASSEG's faces


def training_mouths(p: Mapping, data_root: Path | None) -> FaceSet:
    """What the trial's system is trained on; `p["trained_on"]` says where it comes from."""
    return _mouths(p["trained_on"], data_root, (p["height"], p["width"]), p["train"], p["test"])[0]


def test_mouths(p: Mapping, data_root: Path | None) -> FaceSet:
    """What it is tested on, other speakers always; `p["tested_on"]` says where they come from."""
    return _mouths(p["tested_on"], data_root, (p["height"], p["width"]), p["train"], p["test"])[1]


def shown_mouths(p: Mapping, data_root: Path | None) -> FaceSet | None:
    """Mouths that may be printed: test mouths, FASSEG's instead of the talking faces, none of FLRSeg's."""
    if p["tested_on"] == "paper":
        return None
    if p["tested_on"] == "public":
        return _fasseg_mouths(data_root, (p["height"], p["width"]))
    test = test_mouths(p, data_root)
    return test.subset(evenly_spaced(len(test), SHOWN))


def hard_mouths(faces: FaceSet, p: Mapping) -> FaceSet:
    """The mouths that are made harder (Figures 10 and 11), evenly spaced."""
    return faces.subset(evenly_spaced(len(faces), p["hard"]))


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` indices, the first and the last among them; all where there are fewer."""
    return np.linspace(0, count - 1, min(wanted, count)).astype(int)


def most_open(images: np.ndarray, labels: np.ndarray) -> int:
    """Of the brighter half of the mouths, the one in which the smallest of teeth, tongue and cavity is largest."""
    brightness = images.mean(axis=(1, 2, 3))
    inner = [[(label == part).sum() for part in (mouths.TEETH, mouths.TONGUE, mouths.CAVITY)] for label in labels]
    openness = np.array([min(parts) + 1e-6 * sum(parts) for parts in inner])
    return int(np.where(brightness >= np.median(brightness), openness, -1).argmax())


@lru_cache(maxsize=4)
def _mouths(source: str, data_root: Path | None, size: tuple[int, int], train: int, test: int):
    if source == "synthetic":
        return (
            mouths.synthetic(SEED, train, size=size, annotator_noise=ANNOTATOR_NOISE),
            mouths.synthetic(SEED, test, size=size, first=TEST),
        )
    if source == ELSEWHERE:
        far_away = mouths.synthetic(SEED + 1, test, size=size, options=FAR_AWAY)
        return far_away, far_away  # nothing is trained on it
    if source == "public":
        faces = talking_mouths.load(data_root, count=train + test, size=size, seed=SEED)
    else:
        faces = flrseg.load(data_root, size=size)
    return mouths.split_by_speaker(faces, test=test, seed=SEED)


@lru_cache(maxsize=1)
def _fasseg_mouths(data_root: Path | None, size: tuple[int, int]) -> FaceSet:
    """Mouths of FASSEG's frontal faces, cut and labelled as the talking faces are."""
    faces = fasseg.load(data_root, size=FASSEG_SIZE)
    faces = faces.subset(evenly_spaced(len(faces), 3 * SHOWN))
    found = landmarks.detect_many(faces.images, cache=CACHE / "fasseg", progress=False)
    usable = [i for i, points in enumerate(found) if np.isfinite(points).all()][:SHOWN]
    crops = [talking_mouths.mouth_crop(faces.images[i], found[i]) for i in usable]
    return FaceSet(
        images=np.stack([resize_picture(crop, size) for crop, _ in crops]),
        labels=np.stack([resize_labels(talking_mouths.pseudo_labels(*crop), size) for crop in crops]),
        classes=mouths.CLASSES,
        names=tuple(faces.names[i] for i in usable),
    )
