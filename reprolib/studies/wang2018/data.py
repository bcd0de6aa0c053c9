"""wang2018's clips, from each data source, and the crops that the zoomed-in models see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from reprolib.datasets import synthetic_clips, talking_clips, three_hundred_vw
from reprolib.datasets.clips import ClipSet, split_by_subject, windows
from reprolib.datasets.landmark_masks import EYES, INNER_MOUTH, OUTER_MOUTH
from reprolib.datasets.pictures import crop_square, resize_labels, resize_picture
from reprolib.studies.wang2018.settings import SPLIT, STEPS, ZOOM

SEED = 2018
# Face classes of each region in the order of the zoomed-in model's classes behind its background, and the side of a
# crop as a multiple of the region's box; the paper does not give it.
PARTS = {"eyes": (EYES,), "mouth": (OUTER_MOUTH, INNER_MOUTH)}
MARGIN = {"eyes": 1.6, "mouth": 2.3}
JITTER = 0.1  # of a training crop's side, by which it is shifted and scaled at most
SHOWN = 8  # frames whose pictures are kept


def sets_of(p: Mapping, data_root: Path | None) -> list[ClipSet]:
    """Training, validation and test clips at `ZOOM` times the network's side; nobody is in two of them."""
    return _sets(p["data"], data_root, p["clips"], p["frames"], ZOOM * p["size"])


@lru_cache(maxsize=2)
def _sets(source: str, data_root: Path | None, count: int, frames: int, size: int) -> list[ClipSet]:
    if source == "synthetic":
        clips = synthetic_clips.load(SEED, count, size=size, frames=frames)
    elif source == "public":
        clips = talking_clips.load(data_root, count=count, size=size, frames=frames, seed=SEED)
        clips = talking_clips.degrade(clips, seed=SEED)
    else:
        clips = three_hundred_vw.load(data_root, size=size, frames=frames, count=count)
    return split_by_subject(clips, parts=SPLIT, seed=SEED)


def region_sets(p: Mapping, data_root: Path | None) -> list[ClipSet]:
    """Training, validation and test clips of T frames of the trial's region, at the side of its network.

    For a face these are whole frames. The crops of the eyes and of the mouth stay where they are for T frames;
    training crops are moved about a little.
    """
    sets = [windows(clips, length=STEPS) for clips in sets_of(p, data_root)]
    if p["region"] == "face":
        return [resized(clips, p["size"]) for clips in sets]
    rng = np.random.default_rng(SEED)
    return [region_crops(clips, p["region"], p["size"], jitter=rng if i == 0 else None) for i, clips in enumerate(sets)]


def resized(clips: ClipSet, size: int) -> ClipSet:
    """The clips with frames and labels of another side; landmarks are left as they are."""
    images = np.array([[resize_picture(frame, size) for frame in clip] for clip in clips.images])
    labels = np.array([[resize_labels(frame, size) for frame in clip] for clip in clips.labels])
    return replace(clips, images=images, labels=labels)


def region_crops(clips: ClipSet, region: str, size: int, *, jitter: np.random.Generator | None = None) -> ClipSet:
    """Crops of a region around its annotation, labelled for the zoomed-in model; clips without it are left out."""
    boxes = [region_box(labels, region) for labels in clips.labels]
    there = [i for i, box in enumerate(boxes) if box is not None]
    kept = clips.subset(there)
    squares = [_moved(boxes[i], jitter) if jitter else boxes[i] for i in there]
    pairs = list(zip(kept.images, kept.labels, squares, strict=True))
    return replace(
        kept,
        images=np.stack([crops(images, box, size) for images, _, box in pairs]),
        labels=np.stack([crop_labels(labels, region, box, size) for _, labels, box in pairs]),
        classes=("background", *(kept.classes[part] for part in PARTS[region])),
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
    """uint8 (T, H, W) -> (T, size, size) with the classes of the region's zoomed-in model."""
    own = np.zeros(256, np.uint8)
    own[list(PARTS[region])] = range(1, len(PARTS[region]) + 1)
    return np.stack([resize_labels(crop_square(own[frame], box, fill=0), size) for frame in labels])


def shown_frames(clips: ClipSet) -> list[int]:
    """The clips of which a frame is kept for the pictures, evenly spaced."""
    return np.unique(np.linspace(0, len(clips) - 1, min(SHOWN, len(clips))).astype(int)).tolist()


def _moved(box: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    x, y, side = box
    dx, dy, zoom = rng.uniform(-JITTER, JITTER, 3)
    larger = max(8, round(side * (1 + zoom)))
    return round(x + (side - larger) / 2 + dx * side), round(y + (side - larger) / 2 + dy * side), larger
