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
from torch import Tensor, nn

from reprolib.datasets.mouths import BACKGROUND, CLASSES
from reprolib.datasets.talking_mouths import crop_box, mouth_crop
from reprolib.figures import part_colours
from reprolib.lip_checkpoints import LipModel, load_model
from reprolib.models.lip_inference import MultiScale, expecting, inputs
from reprolib.photos import find_faces, label_photos, only_face

SCALES = (0.5, 1.0, 1.5, 2.0)  # Sec. IV-A3


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
    """The landmarks float32 (68, 2) of the only face in a uint8 (H, W, 3) photo; UserError if it is not alone."""
    return only_face(find_faces(photo), name=name)


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


def run(images: Sequence[Path], *, checkpoint: Path, out: Path) -> Iterator[Path]:
    """Write NAME_mask.png (class numbers, with a palette) and NAME_overlay.png for every photo; yields their paths.

    All photos are tried; one UserError at the end has a sentence for each that could not be used.
    """
    model = load_model(checkpoint)

    def label(photo: np.ndarray, name: str) -> np.ndarray:
        return segment(photo, find_mouth(photo, name=name), model).labels

    yield from label_photos(images, label, colours=part_colours(CLASSES), out=out)
