"""Faces of photos with 68 hand-set landmarks (Sagonas et al. 2013): HELEN's training faces and AFW.

`<root>/landmarks300w/PART/NAME.jpg` with `NAME.pts` beside it, `PART` being `helen_train` or `afw`; each file shows one
face of a photo. A photo with several faces has several files, `PHOTO_1`, `PHOTO_2` …
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reprolib.datasets import folders
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.kept import content, kept
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask
from reprolib.datasets.pictures import crop_square, read_picture, resize_picture
from reprolib.datasets.three_hundred_vw import read_points
from reprolib.errors import UserError

FOLDERS = ("landmarks300w",)
PARTS = ("helen_train", "afw")
BLACK = 0


def load(root: Path, part: str, *, size: int) -> ClipSet:
    """Every face of a part as a clip of one frame: the whole file, padded to a square with black and resized.

    images uint8 (N, 1, size, size, 3). subjects: the photo of each face, the independent unit; categories: 0. Made once
    and then read from the project's cache. UserError if the folder is missing, or a file is missing or damaged;
    ValueError for an unknown part.
    """
    files = _faces(root, part)
    points_of = [file.with_suffix(".pts") for file in files]
    if missing := [path for path in points_of if not path.is_file()]:
        raise UserError(f"{missing[0]} is missing: copy it from the original dataset")

    def make() -> dict[str, np.ndarray]:
        images, points = zip(*map(_square, files), strict=True)
        scale = np.array([size / image.shape[0] for image in images])[:, None, None]
        inside = ((np.stack(points) + 0.5) * scale - 0.5).astype(np.float32)  # pixel centres
        return {
            "images": np.stack([resize_picture(image, size) for image in images])[:, None],
            "labels": np.stack([landmark_mask(one, (size, size)) for one in inside])[:, None],
            "landmarks": inside[:, None],
        }

    arrays = kept("landmarks300w", (content([*files, *points_of]), size), make)
    names = tuple(file.stem for file in files)
    photos = tuple(f"{part}/{photo_of(name)}" for name in names)
    return ClipSet(**arrays, classes=CLASSES, names=names, subjects=photos, categories=(0,) * len(names))


def photo_of(name: str) -> str:
    """The photo that a face is from: "1051618982" for "1051618982_2"."""
    photo, _, number = name.rpartition("_")
    return photo if number.isdecimal() and photo else name


def check(root: Path) -> list[str]:
    """A report, one line per part; UserError if an image has no landmarks, or a file is damaged."""
    lines = []
    for part in PARTS:
        files = _faces(root, part)
        for file in files:
            read_points(file.with_suffix(".pts"))
        photos = len({photo_of(file.stem) for file in files})
        height, width = read_picture(files[0]).shape[:2]
        lines.append(f"landmarks300w: {len(files)} faces of {photos} photos in {part}, the first {width}×{height}")
    return lines


def _square(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """A file's face as a square uint8 (S, S, 3), and its landmarks (68, 2) in these pixels."""
    image = read_picture(file)
    height, width = image.shape[:2]
    side = max(height, width)
    x, y = -((side - width) // 2), -((side - height) // 2)
    return crop_square(image, (x, y, side), fill=BLACK), read_points(file.with_suffix(".pts")) - (x, y)


def _faces(root: Path, part: str) -> list[Path]:
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, found {part!r}")
    found = folders.dataset_folder(root, FOLDERS, holds=PARTS[0], layout="landmarks300w/helen_train/NAME.jpg")
    files = folders.files(found / part, ".jpg", ".png")
    if not files:
        raise UserError(f"{found / part} should hold faces NAME.jpg with NAME.pts, but holds none: copy it again")
    return files
