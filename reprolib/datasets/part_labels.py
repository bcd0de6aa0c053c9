"""LFW Part Labels: 2,927 aligned faces, hair, skin and background labelled superpixel by superpixel.

Kae, Sohn, Lee, Learned-Miller, CVPR 2013. Official split: 1,500 / 500 / 927.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from skimage.segmentation import slic

from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import (
    picture_size,
    read_picture,
    resize_labels,
    resize_picture,
    same_size,
    subfolder,
)
from reprolib.errors import UserError

CLASSES = ("background", "face", "hair")
COLOURS = np.array([(0, 0, 255), (0, 255, 0), (255, 0, 0)], np.int32)  # of the .ppm labels, in the order of CLASSES
COUNTS = {"train": 1500, "validation": 500, "test": 927}
IMAGES = "lfw_funneled"
LABELS = "parts_lfw_funneled_gt_images"
SUPERPIXELS = "parts_lfw_funneled_superpixels_mat"
SUPERPIXEL_LABELS = "parts_lfw_funneled_gt"


def load(root: Path, split: str, *, size: int = 128) -> FaceSet:
    """The faces of `split` ("train", "validation" or "test") of `<root>/part_labels` (or `root` itself).

    0 background, 1 face and neck, 2 hair, as in masi2020 Table 3. Pictures are aligned: they are only
    resized, from 250 to `size`. Superpixels are those of the dataset, nearest neighbour. UserError if a
    file is missing, unreadable or has another size.
    """
    folder = _folder(root)
    faces = read_list(folder, split)
    images, labels, superpixels = [], [], []
    for name, number in faces:
        image, ids = read_picture(_image_path(folder, name, number)), _superpixels(folder, name, number)
        colours = read_picture(_label_path(folder, name, number))
        same_size(image.shape[1::-1], colours.shape[1::-1], _label_path(folder, name, number))
        same_size(image.shape[1::-1], ids.shape[1::-1], _superpixel_path(folder, name, number))
        classes = np.linalg.norm(colours[..., None, :] - COLOURS, axis=-1).argmin(axis=-1).astype(np.uint8)
        images.append(resize_picture(image, size))
        labels.append(resize_labels(classes, size))
        superpixels.append(cv2.resize(ids, (size, size), interpolation=cv2.INTER_NEAREST_EXACT))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(f"{name}_{number:04d}" for name, number in faces),
        persons=tuple(name for name, _ in faces),
        superpixels=np.stack(superpixels).astype(np.int32),
    )


def read_list(folder: Path, split: str) -> list[tuple[str, int]]:
    """(name, number) of every face in parts_<split>.txt, which has a `Name number` a line; UserError otherwise."""
    path = folder / f"parts_{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [(line.split()[0], int(line.split()[1])) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: copy the dataset's list there") from error
    except (IndexError, ValueError) as error:
        raise UserError(f"{path} should have a name and a number on each line: copy it again") from error


def check(root: Path) -> list[str]:
    """What is there, one line per split; UserError if anything is missing, unreadable or of another size.

    Reads the header of every picture and label, and every fortieth face in full, superpixel labels included.
    """
    folder = _folder(root)
    lines = []
    for split, expected in COUNTS.items():
        faces = read_list(folder, split)
        if len(faces) != expected:
            raise UserError(
                f"{folder / f'parts_{split}.txt'} should list {expected} faces, but lists {len(faces)}: copy it again"
            )
        for i, (name, number) in enumerate(faces):
            size = picture_size(_image_path(folder, name, number))
            same_size(size, picture_size(_label_path(folder, name, number)), _label_path(folder, name, number))
            superpixels = _superpixel_path(folder, name, number)
            if not superpixels.is_file():
                raise UserError(f"{superpixels} is missing: copy the dataset's superpixels there")
            if i % 40 == 0:
                read_picture(_image_path(folder, name, number))
                read_picture(_label_path(folder, name, number))
                ids = _superpixels(folder, name, number)
                same_size(size, ids.shape[1::-1], superpixels)
                _check_superpixel_labels(folder, name, number, count=int(ids.max()) + 1)
        lines.append(f"Part Labels {split}: {expected} faces with labels and superpixels")
    return lines


def add_superpixels(faces: FaceSet, *, n_segments: int = 250) -> FaceSet:
    """`faces` with about `n_segments` SLIC superpixels an image: int32 (N, H, W), ids from 0."""
    found = [slic(image, n_segments=n_segments, compactness=10, start_label=0) for image in faces.images]
    return replace(faces, superpixels=np.stack(found).astype(np.int32))


def _folder(root: Path) -> Path:
    folder = subfolder(root, "part_labels", holds="parts_train.txt")
    for part in (IMAGES, LABELS, SUPERPIXELS):
        if not (folder / part).is_dir():
            raise UserError(f"{folder} should hold the folder {part}, but does not: unpack LFW Part Labels there")
    return folder


def _image_path(folder: Path, name: str, number: int) -> Path:
    return folder / IMAGES / name / f"{name}_{number:04d}.jpg"


def _label_path(folder: Path, name: str, number: int) -> Path:
    return folder / LABELS / f"{name}_{number:04d}.ppm"


def _superpixel_path(folder: Path, name: str, number: int) -> Path:
    return folder / SUPERPIXELS / name / f"{name}_{number:04d}.dat"


def _superpixels(folder: Path, name: str, number: int) -> np.ndarray:
    """Superpixel ids of one face, int32 (H, W), from 0: one text row of ids for each row of the picture."""
    path = _superpixel_path(folder, name, number)
    try:
        ids = np.loadtxt(path, dtype=np.int32, ndmin=2)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} should hold a row of superpixel ids for each row of pixels: copy it again") from error
    if ids.size == 0 or ids.min() < 0:
        raise UserError(f"{path} should hold superpixel ids from 0: copy it again")
    return ids


def _check_superpixel_labels(folder: Path, name: str, number: int, *, count: int) -> None:
    """UserError unless the label file has its count first and then one label, 0 to 2, for each superpixel."""
    path = folder / SUPERPIXEL_LABELS / name / f"{name}_{number:04d}.dat"
    try:
        values = np.array(path.read_text().split(), int)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} should hold the labels of the superpixels: copy it again") from error
    if len(values) != count + 1 or values[0] != count or not np.isin(values[1:], (0, 1, 2)).all():
        raise UserError(f"{path} should hold {count} and then as many labels 0, 1 or 2: copy it again")
