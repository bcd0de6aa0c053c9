"""wang2018's clips and stills, from each dataset, and the crops that the close-up models see."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reprolib.datasets import landmarks300w, synthetic_clips, talking_clips, three_hundred_vw
from reprolib.datasets.clips import ClipSet, joined, split_by_subject
from reprolib.datasets.kept import content, kept
from reprolib.datasets.landmark_masks import CLASSES, EYES, INNER_MOUTH, OUTER_MOUTH
from reprolib.datasets.people import split_people
from reprolib.datasets.pictures import crop_square, resize_labels, resize_picture
from reprolib.errors import UserError
from reprolib.studies.wang2018.config import Region, Source
from reprolib.studies.wang2018.work import SHARES

SEED = 2018
PREPARED = 1  # raise when the same files give other clips
STILLS_SHARES = (0.9, 0.1)  # of HELEN's photos, for training and validation; AFW is the test
# Face classes of each region in the order of its model's classes behind the background, and the side of a crop as a
# multiple of the region's box; the paper does not give it.
PARTS = {"eyes": (EYES,), "mouth": (OUTER_MOUTH, INNER_MOUTH)}
MARGIN = {"eyes": 1.6, "mouth": 2.3}
JITTER = 0.1  # largest shift and scaling of a training crop, as a share of its side
SHOWN = 8  # frames whose images are kept
SHOWABLE = ("grid-", "person-", "helen_train/", "afw/")  # whose frames may be printed: no presenter, nobody of 300VW


class Sets(NamedTuple):
    """Training, validation and test clips; nobody is in two of them."""

    train: ClipSet
    validation: ClipSet
    test: ClipSet


def sets_of(source: Source, data_root: Path | None) -> Sets:
    """Clips of `source.frames` frames of `source.frame` pixels, at the size at which they are kept.

    talkingfaces: presenters, and GRID's first speaker in the test alone; landmarks from clean frames, two thirds of the
    clips degraded. landmarks300w: stills, HELEN for training and validation, AFW as the test. 300vw: split by video.
    facesynth: rendered, three clips of each person. UserError where a dataset is missing.
    """
    return _sets(source, None if source.dataset == "facesynth" else _required(data_root))


@lru_cache(maxsize=3)
def _sets(source: Source, data_root: Path | None) -> Sets:
    if source.dataset == "facesynth":
        clips = synthetic_clips.load(SEED, source.clips, size=source.frame, frames=source.frames)
        return Sets(*split_by_subject(clips, parts=SHARES, seed=SEED))
    if source.dataset == "landmarks300w":
        helen, afw = (landmarks300w.load(data_root, part, size=source.frame) for part in landmarks300w.PARTS)
        train, validation = split_people(helen.subjects, parts=STILLS_SHARES, seed=SEED, called="photos")
        return Sets(helen.subset(train), helen.subset(validation), afw)
    if source.dataset == "300vw":
        clips = three_hundred_vw.load(data_root, size=source.frame, frames=source.frames, count=source.clips)
        return Sets(*split_by_subject(clips, parts=SHARES, seed=SEED))
    found = Sets(*split_by_subject(_degraded(talking_clips.talking_faces(data_root), source.clips, source),
                                   parts=SHARES, seed=SEED))  # fmt: skip
    if not source.grid_clips:
        return found
    grid = _degraded(talking_clips.grid(data_root), source.grid_clips, source)
    return found._replace(test=joined(found.test, grid))


def _degraded(corpus: talking_clips.Corpus, count: int, source: Source) -> ClipSet:
    """The degraded clips of a corpus, made once for these files and this source, then mapped into memory."""

    def make() -> dict[str, np.ndarray]:
        clean = talking_clips.load(corpus, count=count, size=source.frame, frames=source.frames, seed=SEED)
        clips = talking_clips.degrade(clean, seed=SEED)
        return {name: np.asarray(value) for name, value in vars(clips).items() if name != "classes"}

    files = sorted(corpus.clips.values())
    found = kept("wang2018", (PREPARED, content(files), count, source.frame, source.frames, SEED), make)
    texts = {name: tuple(map(str, found[name])) for name in ("names", "subjects")}
    categories = tuple(int(number) for number in found["categories"])
    return ClipSet(**{**found, **texts, "categories": categories}, classes=CLASSES)


def _required(data_root: Path | None) -> Path:
    if data_root is None or not Path(data_root).is_dir():
        raise UserError("real faces need the folder with the datasets: give its path as data_root (--data-root)")
    return Path(data_root)


# --- what the networks see ---------------------------------------------------------------------------


def examples(source: Source, region: Region, data_root: Path | None) -> Sets:
    """The sets of a region, with images at the size of the networks' input.

    Labels of the training clips have the images' size. Those of the other two have the size at which predictions are
    scored: that of the frames for a face (scores are resized before the arg max, Sec. 4.2), of the input for a crop.
    Crops of eyes and mouth are fixed within a clip; training crops are jittered.
    """
    return _examples(source, region, None if source.dataset == "facesynth" else _required(data_root))


@lru_cache(maxsize=4)
def _examples(source: Source, region: Region, data_root: Path | None) -> Sets:
    sets = sets_of(source, data_root)
    if region != "face":
        rng = np.random.default_rng(SEED)
        train = region_crops(sets.train, region, source.size, jitter=rng)
        return Sets(train, *(region_crops(clips, region, source.size) for clips in sets[1:]))
    shown = [replace(clips, images=_at(clips.images, source.size)) for clips in sets]
    labels = np.array([[resize_labels(one, source.size) for one in clip] for clip in sets.train.labels])
    return Sets(replace(shown[0], labels=labels), *shown[1:])


def _at(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, T, H, W, 3) -> (N, T, size, size, 3)."""
    if images.shape[2] == size:
        return images
    return np.array([[resize_picture(frame, size) for frame in clip] for clip in images])


def region_crops(clips: ClipSet, region: str, size: int, *, jitter: np.random.Generator | None = None) -> ClipSet:
    """Crops of a region around its annotation, labelled for its own model; clips without it are left out."""
    boxes = [region_box(labels, region) for labels in clips.labels]
    there = [i for i, box in enumerate(boxes) if box is not None]
    kept_clips = clips.subset(there)
    squares = [_moved(boxes[i], jitter) if jitter else boxes[i] for i in there]
    pairs = list(zip(kept_clips.images, kept_clips.labels, squares, strict=True))
    return replace(
        kept_clips,
        images=np.stack([crops(images, box, size) for images, _, box in pairs]),
        labels=np.stack([crop_labels(labels, region, box, size) for _, labels, box in pairs]),
        classes=("background", *(kept_clips.classes[part] for part in PARTS[region])),
    )


def region_box(labels: np.ndarray, region: str) -> tuple[int, int, int] | None:
    """The square (x, y, side) around a region in all frames of (T, H, W) labels, with a margin; None if nowhere."""
    ys, xs = np.nonzero(np.isin(labels, PARTS[region]).any(axis=0))
    if not len(xs):
        return None
    side = max(8, round(MARGIN[region] * max(np.ptp(xs), np.ptp(ys)) + 1))
    x, y = (xs.min() + xs.max() + 1) / 2 - side / 2, (ys.min() + ys.max() + 1) / 2 - side / 2
    return round(x), round(y), side


def crops(images: np.ndarray, box: tuple[int, int, int], size: int) -> np.ndarray:
    """uint8 (T, H, W, 3) -> (T, size, size, 3), the square `box` of every frame."""
    return np.stack([resize_picture(crop_square(image, box), size) for image in images])


def crop_labels(labels: np.ndarray, region: str, box: tuple[int, int, int], size: int) -> np.ndarray:
    """uint8 (T, H, W) -> (T, size, size) with the classes of the region's own model."""
    own = np.zeros(256, np.uint8)
    own[list(PARTS[region])] = range(1, len(PARTS[region]) + 1)
    return np.stack([resize_labels(crop_square(own[frame], box, fill=0), size) for frame in labels])


def _moved(box: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    x, y, side = box
    dx, dy, zoom = rng.uniform(-JITTER, JITTER, 3)
    larger = max(8, round(side * (1 + zoom)))
    return round(x + (side - larger) / 2 + dx * side), round(y + (side - larger) / 2 + dy * side), larger


def shown_clips(clips: ClipSet) -> list[int]:
    """Up to `SHOWN` clips of which a frame may be printed, evenly spaced; [] where none may."""
    may = [i for i, subject in enumerate(clips.subjects) if subject.startswith(SHOWABLE)]
    chosen = np.linspace(0, len(may) - 1, min(SHOWN, len(may))).astype(int)
    return [may[i] for i in np.unique(chosen)] if may else []
