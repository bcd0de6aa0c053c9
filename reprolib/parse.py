"""From a photo of a face to a mask of brows, eyes, nose, lips and inner mouth: yin2020 as a tool.

The photo is padded with zeros to a square and resized to the frame that the network knows, as in Sec. 2.5.1. Nothing
looks for the face: it should take 60 to 80 % of the photo's longer side, upright and from the front, as in training.
Where dlib is installed (extra `landmarks`), photos with no face or with several are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.datasets.helen import padded
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.errors import UserError
from reprolib.figures import part_colours
from reprolib.photos import find_faces, label_photos, only_face
from reprolib.studies.yin2020.checkpoint import ParsingModel, load_model

# what the parts are called where they have their colours: left and right share one
COLOURED_AS = ("background", "brow_l", "brow_r", "eye_l", "eye_r", "nose", "upper_lip", "cavity", "lower_lip")


def inputs(images: np.ndarray, small: int) -> tuple[Tensor, Tensor]:
    """What the network takes: uint8 (N, H, W, 3) -> float32 (N, 3, small, small) and (N, 3, H, W), both in [0, 1]."""
    full = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()
    return F.interpolate(full, (small, small), mode="bilinear", align_corners=False, antialias=True), full


@torch.no_grad()
def segment(photo: np.ndarray, model: ParsingModel) -> np.ndarray:
    """Labels uint8 (H, W) into `parsing_faces.CLASSES` of a uint8 (H, W, 3) RGB photo of one face."""
    height, width = photo.shape[:2]
    side = max(height, width)
    square = resize_picture(padded(photo, side), model.frame)
    labels = model.network.parse(*inputs(square[None], model.small))[0].numpy()
    top, left = (side - height) // 2, (side - width) // 2
    return enlarged(labels, side)[top : top + height, left : left + width]


def enlarged(labels: np.ndarray, side: int) -> np.ndarray:
    """Labels uint8 (h, w) at side × side pixels: outlines stay smooth where they grow."""
    if max(labels.shape) >= side:
        return resize_labels(labels, side)
    values = np.unique(labels)
    shares = [
        cv2.resize((labels == v).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) for v in values
    ]
    return values[np.argmax(shares, axis=0)].astype(np.uint8)


def run(images: Sequence[Path], *, checkpoint: Path, out: Path) -> Iterator[Path]:
    """Write NAME_mask.png (class numbers, with a palette) and NAME_overlay.png for every photo; yields their paths.

    All photos are tried; one UserError at the end has a sentence for each that could not be used.
    """
    model = load_model(checkpoint)

    def label(photo: np.ndarray, name: str) -> np.ndarray:
        refuse_other_than_one_face(photo, name=name)
        return segment(photo, model)

    yield from label_photos(images, label, colours=part_colours(COLOURED_AS), out=out)


def refuse_other_than_one_face(photo: np.ndarray, *, name: str) -> None:
    """UserError if dlib finds no face or several in a uint8 (H, W, 3) photo; without dlib every photo passes."""
    try:
        faces = find_faces(photo)
    except UserError:  # dlib is not installed
        return
    only_face(faces, name=name)
