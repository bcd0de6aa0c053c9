"""The mouths of yang2023, from each dataset, at the size that a trial requests; nobody is in two sets.

Crops of CelebAMask-HQ and FASSEG follow the box around the annotated mouth, a little off as a detector's would be.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from reprolib.datasets import celebamask, fasseg, flrseg, folders, mouths
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.folders import DatasetMissing
from reprolib.datasets.kept import content, kept
from reprolib.datasets.people import split_people
from reprolib.datasets.pictures import box_of, resize_labels, resize_picture
from reprolib.datasets.rendered import RENDERING
from reprolib.errors import UserError
from reprolib.studies.yang2023.config import CLASSES, Config
from reprolib.studies.yang2023.work import mouths_for

SEED = 2023
CROPS = 1  # raise when the same arguments give other crops
# First index of each set of rendered mouths; eleven in a row are of one person.
TRAIN, VALIDATION, TEST = (11 * 10_000 * i for i in range(3))
RENDERED_TEST = 220
ANNOTATOR_NOISE = 1.0  # pixels by which borders in rendered training labels are off, as hand-drawn ones are
SHARES = (0.7, 0.1, 0.2)  # of FLRSeg's speakers, for training, validation and test
FILL = 0.6  # of a crop's width that the mouth takes, as in the authors' release
SHIFT, ZOOM = 0.04, 0.06  # standard deviations: of the box's centre in mouth widths, of the logarithm of its size
OPEN, SEEN_OPEN = "open", 0.05  # an open mouth: this share of it is inside the lips
# Another camera, far away, and faces turned further: what LRW is to FLRSeg (Figure 9).
FAR_AWAY = replace(mouths.MOUTHS, yaw=(-50.0, 50.0), pitch=(-20.0, 20.0), blur=0.5, jpeg=1.0, low_resolution=0.5)
SHOWN_SEVERITIES = (0, 2, 4)  # of the one mouth that figures show in every hard case
FASSEG_SIZE, FASSEG_FACES = 512, "V2/Test"  # pixels a side; 50 frontal faces


@dataclass(frozen=True)
class Mouths:
    """The three sets of one dataset; mouths that show their inside have the tag "open"."""

    train: FaceSet
    validation: FaceSet
    test: FaceSet


def mouths_of(config: Config, data_root: Path | None) -> Mouths:
    """Images uint8 (N, height, width, 3) and labels uint8 (N, height, width) into `config.classes`, 255 = ignored.

    celebamask: background, lip and inner mouth of the 850 faces in the split that all studies share; faces without a
    mouth are left out. flrseg: split by speaker. facesynth: rendered. Where the configuration asks for fewer mouths,
    open and closed ones are taken in proportion. UserError if the dataset is missing.
    """
    return _mouths(
        config.dataset, data_root, (config.height, config.width), config.train_mouths, config.test_mouths,
        mouths_for(replace(config, train_mouths=0, test_mouths=0)),
    )  # fmt: skip


@lru_cache(maxsize=2)
def _mouths(
    dataset: str, data_root: Path | None, size: tuple[int, int], train: int, test: int, available: tuple[int, int]
) -> Mouths:
    if dataset == "facesynth":
        counts = {TRAIN: train or available[0], VALIDATION: test or available[1], TEST: test or RENDERED_TEST}
        sets = [_rendered(first, count, size) for first, count in counts.items()]
        return Mouths(*map(tagged, sets))
    if data_root is None:
        raise UserError(f"The dataset {dataset} is read from a folder; give its path as data_root (--data-root).")
    if dataset == "celebamask":
        sets = [_celebamask(data_root, part, size) for part in celebamask.split_names()]
    else:
        faces = flrseg.load(data_root, size=size)
        parts = split_people(faces.persons or (), parts=SHARES, seed=SEED, called="speakers")
        sets = [faces.subset(part) for part in parts]
    sets = [tagged(faces) for faces in sets]
    limits = (train, test, test)
    return Mouths(*(stratified(faces, most) if most else faces for faces, most in zip(sets, limits, strict=True)))


def elsewhere(config: Config, data_root: Path | None) -> FaceSet | None:
    """Mouths of a dataset that the network was not trained on: 0 background, 1 mouth (Figure 9).

    50 frontal faces of FASSEG, cut as CelebAMask-HQ's; rendered ones of another camera for facesynth. None without
    FASSEG's folder.
    """
    size = (config.height, config.width)
    if config.dataset == "facesynth":
        found = mouths.synthetic(SEED + 1, config.test_mouths or 50, size=size, options=FAR_AWAY)
        return replace(found, labels=(found.labels > 0).astype(np.uint8), classes=("background", "mouth"))
    if data_root is None:
        return None
    try:
        return _fasseg(data_root, size)
    except DatasetMissing:
        return None


# --- sets --------------------------------------------------------------------------------------------


def _rendered(first: int, count: int, size: tuple[int, int]) -> FaceSet:
    noise = ANNOTATOR_NOISE if first == TRAIN else 0.0
    persons = tuple(f"speaker-{i // mouths.PICTURES_PER_PERSON}" for i in range(first, first + count))

    def make() -> dict[str, np.ndarray]:
        faces = mouths.synthetic(SEED, count, size=size, first=first, annotator_noise=noise)
        return {"images": faces.images, "labels": faces.labels}

    arrays = kept("yang2023", (RENDERING, SEED, first, count, size, noise), make)
    names = tuple(f"mouth-{i}" for i in range(first, first + count))
    return FaceSet(arrays["images"], arrays["labels"], CLASSES["facesynth"], names, persons)


def _celebamask(data_root: Path, part: str, size: tuple[int, int]) -> FaceSet:
    folder = celebamask.indexed_folder(data_root)
    names = celebamask.split_names()[part]
    files = [file for name in names for file in celebamask.indexed_files(folder, name)]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]} is missing: copy it from the original dataset")

    def make() -> dict[str, np.ndarray]:
        made, whose = [], []
        for index, name in enumerate(names):
            image, labels = celebamask.read_indexed(folder, name)
            mouth = three_classes(labels)
            if (mouth > 0).any():
                made.append(crop(image, mouth, size, name=name))
                whose.append(index)
        images, labels = map(np.stack, zip(*made, strict=True))
        return {"images": images, "labels": labels, "whose": np.array(whose)}

    arrays = kept("yang2023", (CROPS, FILL, SHIFT, ZOOM, content(files), size), make)
    whose = tuple(names[i] for i in arrays["whose"])
    return FaceSet(arrays["images"], arrays["labels"], CLASSES["celebamask"], whose)


def three_classes(labels: np.ndarray) -> np.ndarray:
    """CelebAMask-HQ's classes -> 0 background, 1 lip (upper and lower), 2 inner mouth, uint8."""
    table = np.zeros(256, np.uint8)
    table[[celebamask.INDEXED_CLASSES.index(name) for name in ("upper lip", "lower lip")]] = 1
    table[celebamask.INDEXED_CLASSES.index("mouth")] = 2
    return table[labels]


def _fasseg(data_root: Path, size: tuple[int, int]) -> FaceSet:
    folder = folders.dataset_folder(data_root, ("fasseg",), holds="V2")
    files = [file for kind in ("RGB", "Labels") for file in folders.files(folder / "V2" / f"Test_{kind}")]

    def make() -> dict[str, np.ndarray]:
        faces = fasseg.load(data_root, size=FASSEG_SIZE)
        chosen = [i for i, name in enumerate(faces.names) if name.startswith(FASSEG_FACES)]
        made = [
            crop(faces.images[i], (faces.labels[i] == fasseg.MOUTH).astype(np.uint8), size, name=faces.names[i])
            for i in chosen
        ]
        images, labels = map(np.stack, zip(*made, strict=True))
        return {"images": images, "labels": labels}

    arrays = kept("yang2023", (CROPS, FILL, SHIFT, ZOOM, FASSEG_SIZE, content(files), size), make)
    names = tuple(f"{FASSEG_FACES}/{i}" for i in range(len(arrays["images"])))
    return FaceSet(arrays["images"], arrays["labels"], ("background", "mouth"), names)


# --- crops and choices -------------------------------------------------------------------------------


def crop(image: np.ndarray, labels: np.ndarray, size: tuple[int, int], *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The mouth of an image uint8 (H, W, 3), cut and resized to `size` (height, width), with its labels.

    The box around the labels above 0 takes `FILL` of the crop's width (less where the mouth is tall). The crop is then
    shifted and scaled at random, seeded by `name` alone. Beyond the image its edge is repeated, labelled background.
    """
    x, y, width, height = box_of(labels > 0)
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    shift, zoom = rng.normal(0, SHIFT, 2) * width, float(np.exp(rng.normal(0, ZOOM)))
    aspect = size[1] / size[0]
    wide = max(width, aspect * height) / FILL * zoom
    corner = np.array([x + width / 2 - wide / 2, y + height / 2 - wide / aspect / 2]) + shift
    left, top = np.round(corner).astype(int)
    across, down = max(2, round(wide)), max(1, round(wide / aspect))
    pad = max(0, -left, -top, left + across - labels.shape[1], top + down - labels.shape[0])
    inside = (slice(top + pad, top + pad + down), slice(left + pad, left + pad + across))
    image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)[inside]
    labels = cv2.copyMakeBorder(labels, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=[0])[inside]
    return resize_picture(image, size), resize_labels(labels, size)


def tagged(faces: FaceSet) -> FaceSet:
    """The same mouths, those that show their inside tagged as open."""
    opened = is_open(faces.labels)
    return replace(faces, tags=tuple((OPEN,) if one else () for one in opened))


def is_open(labels: np.ndarray) -> np.ndarray:
    """bool (N,): `SEEN_OPEN` or more of the mouth's pixels are inside the lips; labels (N, H, W)."""
    used = labels < 255
    inside, mouth = ((used & (labels >= least)).sum((1, 2)) for least in (2, 1))
    return inside >= SEEN_OPEN * np.maximum(mouth, 1)


def stratified(faces: FaceSet, count: int) -> FaceSet:
    """`count` of the mouths, open and closed ones in proportion, each evenly spaced; all where there are fewer."""
    opened = np.array([OPEN in tags for tags in faces.tags or ((),) * len(faces)], bool)
    of_open = round(count * opened.mean())
    chosen = [
        group[evenly_spaced(len(group), wanted)]
        for group, wanted in ((np.flatnonzero(opened), of_open), (np.flatnonzero(~opened), count - of_open))
    ]
    return faces.subset(np.sort(np.concatenate(chosen)))


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` indices, the first and the last among them; all where there are fewer."""
    return np.linspace(0, count - 1, min(wanted, count)).astype(int)


def most_open(images: np.ndarray, labels: np.ndarray) -> int:
    """Of the brighter half of the mouths, the one in which the smallest part inside the lips is largest."""
    brightness = images.mean(axis=(1, 2, 3))
    parts: Sequence[int] = range(2, max(3, int(labels[labels < 255].max(initial=2)) + 1))
    inner = [[(label == part).sum() for part in parts] for label in labels]
    openness = np.array([min(of_part) + 1e-6 * sum(of_part) for of_part in inner])
    return int(np.where(brightness >= np.median(brightness), openness, -1).argmax())
