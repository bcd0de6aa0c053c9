"""What the commands that label a user's own photos share: reading, finding the one face, writing mask and overlay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reprolib.datasets import landmarks
from reprolib.datasets.pictures import read_picture
from reprolib.errors import UserError
from reprolib.figures import overlay

SMALLEST_FACE = 40  # pixels: what dlib finds
DETECTION_SIDE = 1024  # pixels to which larger photos are shrunk for dlib


def read_photo(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) RGB, grey photos with three equal channels; UserError if it is missing, unreadable or tiny."""
    if not path.is_file():
        raise UserError(f"{path} should be a photo, but there is no such file: check its path")
    try:
        photo = read_picture(path)
    except UserError as error:
        raise UserError(f"{path} should be a photo, but cannot be read as a picture: give another file") from error
    height, width = photo.shape[:2]
    if min(height, width) < SMALLEST_FACE:
        raise UserError(
            f"{path} has {width}×{height} pixels, but a face needs {SMALLEST_FACE}×{SMALLEST_FACE}: give a larger photo"
        )
    return photo


def find_faces(photo: np.ndarray) -> np.ndarray:
    """The landmarks float32 (faces, 68, 2) in a uint8 (H, W, 3) photo; UserError if dlib is not installed."""
    shrunk = max(1.0, max(photo.shape[:2]) / DETECTION_SIDE)
    small = photo
    if shrunk > 1:
        small = cv2.resize(photo, None, fx=1 / shrunk, fy=1 / shrunk, interpolation=cv2.INTER_AREA)
    return (landmarks.detect_all(small, zoom=4) + 0.5) * shrunk - 0.5


def only_face(faces: np.ndarray, *, name: str) -> np.ndarray:
    """The one of (faces, 68, 2) landmarks, (68, 2); UserError if there is not exactly one.

    A photo of several people has to be cropped to one of them: which one is meant cannot be known.
    """
    if len(faces) == 0:
        raise UserError(f"{name} shows no face that dlib finds: give a photo of one face, upright and from the front")
    if len(faces) > 1:
        raise UserError(f"{name} shows {len(faces)} faces, but one is wanted: crop the photo to one face")
    return faces[0]


def label_photos(
    images: Sequence[Path], label: Callable[[np.ndarray, str], np.ndarray], *, colours: np.ndarray, out: Path
) -> Iterator[Path]:
    """Write NAME_mask.png (class numbers, with a palette) and NAME_overlay.png for every photo; yields their paths.

    label: from a photo uint8 (H, W, 3) and its path to labels uint8 (H, W), where 0 is background. colours: uint8
    (K, 3). All photos are tried; one UserError at the end has a sentence for each that could not be used.
    """
    names = [image.stem for image in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two photos are named {twice[0]}, and one's mask would replace the other's: rename one")
    out.mkdir(parents=True, exist_ok=True)
    failures = []
    for image in images:
        try:
            photo = read_photo(image)
            labels = label(photo, str(image))
        except UserError as error:
            failures.append(str(error))
            continue
        mask = Image.fromarray(labels)
        mask.putpalette(colours.ravel().tolist())
        shown = overlay(photo, labels, colours, (0.0, *[0.55] * (len(colours) - 1)))
        for kind, picture in (("mask", mask), ("overlay", Image.fromarray(shown))):
            path = out / f"{image.stem}_{kind}.png"
            picture.save(path)
            yield path
    if failures:
        raise UserError("\n".join(failures))
