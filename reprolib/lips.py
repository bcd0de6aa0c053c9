"""From a photo of a face to a mask of lip, teeth, tongue and cavity: yang2023 as a tool.

Two stages, as in the paper (Sec. IV-A1): dlib's landmarks give the mouth's crop, the network labels its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reprolib.datasets import landmarks
from reprolib.datasets.mouths import BACKGROUND
from reprolib.datasets.pictures import read_picture
from reprolib.datasets.talking_mouths import crop_box, mouth_crop
from reprolib.errors import UserError
from reprolib.figures import overlay, part_colours
from reprolib.studies.yang2023.checkpoint import LipModel, load_model
from reprolib.studies.yang2023.networks import MultiScale, expecting, inputs
from reprolib.studies.yang2023.settings import CLASSES

SCALES = (0.5, 1.0, 1.5, 2.0)  # Sec. IV-A3
SMALLEST_FACE = 40  # pixels: what dlib finds
DETECTION_SIDE = 1024  # pixels to which larger photos are shrunk for dlib


@dataclass(frozen=True)
class LipMask:
    """What was found in a photo.

    labels: uint8 (H, W) in the photo's frame. crop: uint8 (h, w, 3), what the network saw; crop_labels: uint8 (h, w).
    Both label maps hold indices: background, lip, teeth, tongue, cavity.
    """

    labels: np.ndarray
    crop: np.ndarray
    crop_labels: np.ndarray


@torch.no_grad()
def predict_multiscale(model: nn.Module, images: Tensor, *, scales: Sequence[float] = SCALES) -> Tensor:
    """Class probabilities (N, classes, H, W), averaged over sizes and mirror images, of float32 (N, 3, H, W) images.

    Fuzzy learning modules take the expectation, so that the same picture always gives the same mask.
    """
    with expecting(model):
        return MultiScale(model, scales)(images)


def find_mouth(photo: np.ndarray, *, name: str) -> np.ndarray:
    """The landmarks float32 (68, 2) of the one face in a uint8 (H, W, 3) photo; UserError if there is not exactly one.

    A photo of several people has to be cropped to one of them: which one is meant cannot be known.
    """
    height, width = photo.shape[:2]
    if min(height, width) < SMALLEST_FACE:
        raise UserError(
            f"{name} has {width}×{height} pixels, but a face needs {SMALLEST_FACE}×{SMALLEST_FACE}: give a larger photo"
        )
    shrunk = max(1.0, max(height, width) / DETECTION_SIDE)
    small = photo
    if shrunk > 1:
        small = cv2.resize(photo, None, fx=1 / shrunk, fy=1 / shrunk, interpolation=cv2.INTER_AREA)
    faces = landmarks.detect_all(small, zoom=4)
    if len(faces) == 0:
        raise UserError(f"{name} shows no face that dlib finds: give a photo of one face, upright and from the front")
    if len(faces) > 1:
        raise UserError(f"{name} shows {len(faces)} faces, but one is wanted: crop the photo to one face")
    return (faces[0] + 0.5) * shrunk - 0.5


def segment(photo: np.ndarray, points: np.ndarray, model: LipModel) -> LipMask:
    """Label the mouth of a uint8 (H, W, 3) RGB photo whose face has the (68, 2) landmarks `points`."""
    crop, _ = mouth_crop(photo, points, size=model.size)
    probabilities = predict_multiscale(model.network, inputs(crop[None]))[0].numpy()
    return LipMask(
        labels=_in_photo(probabilities, crop_box(points), photo.shape[:2]),
        crop=crop,
        crop_labels=probabilities.argmax(0).astype(np.uint8),
    )


def _in_photo(probabilities: np.ndarray, box: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Class probabilities (classes, h, w) of a crop as labels uint8 in the photo: background outside its box."""
    x, y, width, height = box
    left, top = np.floor((x, y)).astype(int)
    columns, rows = int(np.ceil(x + width)) - left, int(np.ceil(y + height)) - top
    scale = probabilities.shape[2] / width
    shift = scale * (np.array([left, top]) + 0.5 - (x, y)) - 0.5  # pixel centres, as in `mouth_crop`
    to_crop = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = np.stack(
        [
            cv2.warpAffine(p, to_crop, (columns, rows), flags=way, borderValue=float(k == BACKGROUND))
            for k, p in enumerate(probabilities)
        ]
    ).argmax(axis=0)
    labels = np.full(shape, BACKGROUND, np.uint8)
    inside = (slice(max(0, top), max(0, top + rows)), slice(max(0, left), max(0, left + columns)))
    seen = labels[inside]
    seen[:] = placed[max(0, -top) :, max(0, -left) :][: seen.shape[0], : seen.shape[1]]
    return labels


def read_photo(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) RGB, grey photos with three equal channels; UserError if it is missing or unreadable."""
    if not path.is_file():
        raise UserError(f"{path} should be a photo, but there is no such file: check its path")
    try:
        return read_picture(path)
    except UserError as error:
        raise UserError(f"{path} should be a photo, but cannot be read as a picture: give another file") from error


def run(images: Sequence[Path], *, checkpoint: Path, out: Path) -> Iterator[Path]:
    """Write NAME_mask.png (class numbers, with a palette) and NAME_overlay.png for every photo; yields their paths.

    All photos are tried; one UserError at the end has a sentence for each that could not be used.
    """
    names = [image.stem for image in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two photos are named {twice[0]}, and one's mask would replace the other's: rename one")
    model = load_model(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    colours = part_colours(CLASSES)
    failures = []
    for image in images:
        try:
            photo = read_photo(image)
            found = segment(photo, find_mouth(photo, name=str(image)), model)
        except UserError as error:
            failures.append(str(error))
            continue
        mask = Image.fromarray(found.labels)
        mask.putpalette(colours.ravel().tolist())
        shown = overlay(photo, found.labels, colours, (0.0, *[0.55] * (len(CLASSES) - 1)))
        for kind, picture in (("mask", mask), ("overlay", Image.fromarray(shown))):
            path = out / f"{image.stem}_{kind}.png"
            picture.save(path)
            yield path
    if failures:
        raise UserError("\n".join(failures))
