"""LFW Part Labels: 2,927 aligned faces, hair, skin and background labelled superpixel by superpixel.

Kae, Sohn, Lee, Learned-Miller, CVPR 2013. Official split: 1,500 / 500 / 927. Labels are read as the official `.ppm`
or as `.png`; where the official superpixels are missing, SLIC superpixels replace them. People may be in more than
one list: see `apart`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from skimage.segmentation import slic
from tqdm import tqdm

from reprolib.datasets import folders
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import picture_size, read_picture, resize_labels, resize_picture, same_size
from reprolib.errors import UserError

FOLDERS = ("part_labels", "lfw")
CLASSES = ("background", "face", "hair")
COLOURS = np.array([(0, 0, 255), (0, 255, 0), (255, 0, 0)], np.int32)  # of the label files, in the order of CLASSES
COUNTS = {"train": 1500, "validation": 500, "test": 927}
ANNOTATED_SIZE = 250  # side of the images, labels and superpixels, pixels
IMAGES = "lfw_funneled"
LABELS = "parts_lfw_funneled_gt_images"
SUPERPIXELS = "parts_lfw_funneled_superpixels_mat"
SUPERPIXEL_LABELS = "parts_lfw_funneled_gt"
UNLABELLED = "unlabelled"

Face = tuple[str, int]  # name of the person, number of the image


def load(root: Path, split: str, *, size: int = 128, superpixels: bool = True) -> FaceSet:
    """The faces of `split` ("train", "validation" or "test") of `<root>/part_labels`, `<root>/lfw` or `root` itself.

    images uint8 (N, size, size, 3); labels uint8 (N, size, size): 0 background, 1 face and neck, 2 hair, as in
    masi2020 Table 3. Images are aligned: they are only resized, from 250 to `size`. superpixels int32 (N, size, size),
    if they are requested: the dataset's or SLIC's (`superpixel_source`) at 250 pixels, resized by nearest neighbour.
    UserError if a file is missing, unreadable or has another size.
    """
    folders.check_split(split, COUNTS)
    folder = dataset(root)
    faces = read_list(folder, split)
    return load_faces(folder, faces, size=size, superpixels=superpixels)


def load_faces(folder: Path, faces: Sequence[Face], *, size: int = 128, superpixels: bool = False) -> FaceSet:
    """The given faces of the dataset in `folder`, otherwise as `load`."""
    images, labels, ids = [], [], []
    official = superpixel_source(folder) == "official"
    for name, number in tqdm(faces, "LFW Part Labels", delay=5):
        image, classes = read_face(folder, name, number)
        images.append(resize_picture(image, size))
        labels.append(resize_labels(classes, size))
        if superpixels:
            found = _superpixels(folder, name, number) if official else slic_superpixels(image)
            same_size(image.shape[1::-1], found.shape[1::-1], _superpixel_path(folder, name, number))
            ids.append(cv2.resize(found, (size, size), interpolation=cv2.INTER_NEAREST_EXACT))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(f"{name}_{number:04d}" for name, number in faces),
        persons=tuple(name for name, _ in faces),
        superpixels=np.stack(ids).astype(np.int32) if superpixels else None,
    )


def read_face(folder: Path, name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 (H, W, 3), labels uint8 (H, W) into `CLASSES`) of one face, not resized; UserError as in `load`."""
    image, path = read_picture(image_path(folder, name, number)), label_path(folder, name, number)
    colours = read_picture(path)
    same_size(image.shape[1::-1], colours.shape[1::-1], path)
    classes = np.linalg.norm(colours[..., None, :] - COLOURS, axis=-1).argmin(axis=-1).astype(np.uint8)
    return image, classes


def superpixel_source(folder: Path) -> Literal["official", "SLIC"]:
    """The source of the superpixels that `load` returns."""
    return "official" if (folder / SUPERPIXELS).is_dir() else "SLIC"


def apart(faces: Sequence[Face], *others: Iterable[Face]) -> np.ndarray:
    """bool (N,): which of the `faces` show a person who is in none of the `others`."""
    elsewhere = {name for other in others for name, _ in other}
    return np.array([name not in elsewhere for name, _ in faces], bool)


def unlabelled(root: Path) -> list[Path]:
    """Images of `<folder>/unlabelled/NAME/*.jpg`; lfw_unlabelled.csv lists those of the published results.

    UserError if there are none, or if they show a person who is in one of the lists.
    """
    folder = dataset(root)
    found = folders.files(folder / UNLABELLED, ".jpg", ".jpeg", ".png", deep=True)
    if not found:
        raise UserError(
            f"{folder / UNLABELLED} should hold unlabelled faces NAME/*.jpg, but has none: copy images of LFW there "
            "whose people are not in parts_train.txt, parts_validation.txt or parts_test.txt"
        )
    listed = {name for split in COUNTS for name, _ in read_list(folder, split)}
    if known := sorted({path.parent.name for path in found} & listed):
        raise UserError(
            f"{folder / UNLABELLED} should hold people who are in no list of LFW Part Labels, but holds {len(known)} "
            f"of them, the first {known[0]}: remove their folders"
        )
    return found


def read_list(folder: Path, split: str) -> list[tuple[str, int]]:
    """(name, number) of every face in parts_<split>.txt, which has one `Name number` per line; UserError otherwise."""
    path = folder / f"parts_{split}.txt"
    lines = folders.read_lines(path)
    try:
        faces = [(line.split()[0], int(line.split()[1])) for line in lines]
    except (IndexError, ValueError) as error:
        raise UserError(f"{path} should have a name and a number on each line: copy it again") from error
    if not faces:
        raise UserError(f"{path} should list the {split} faces, but is empty: copy it again")
    for name, _ in faces:
        folders.inside(folder / IMAGES, name, of=path)
    return faces


def check(root: Path) -> list[str]:
    """A report, one line per split and optional part; UserError if a face is missing or unreadable.

    Reads the header of every image and label, and every fortieth face in full, superpixel labels included. Where the
    official superpixels or unlabelled faces are missing, a line says what works without them.
    """
    folder = dataset(root)
    official = superpixel_source(folder) == "official"
    lines = []
    for split, expected in COUNTS.items():
        faces = read_list(folder, split)
        if len(faces) != expected:
            raise UserError(
                f"{folder / f'parts_{split}.txt'} should list {expected} faces, but lists {len(faces)}: copy it again"
            )
        for i, (name, number) in enumerate(faces):
            size = picture_size(image_path(folder, name, number))
            same_size(size, picture_size(label_path(folder, name, number)), label_path(folder, name, number))
            superpixels = _superpixel_path(folder, name, number)
            if official and not superpixels.is_file():
                raise UserError(f"{superpixels} is missing: copy the dataset's superpixels there")
            if i % 40 == 0:
                read_face(folder, name, number)
                if official:
                    ids = _superpixels(folder, name, number)
                    same_size(size, ids.shape[1::-1], superpixels)
                    _check_superpixel_labels(folder, name, number, count=int(ids.max()) + 1)
        lines.append(f"Part Labels {split}: {expected} faces with labels{' and superpixels' if official else ''}")
    if not official:
        lines.append(f"Part Labels: no folder {SUPERPIXELS}; superpixel accuracy is measured on SLIC superpixels")
    faces = folders.files(folder / UNLABELLED, ".jpg", ".jpeg", ".png", deep=True)
    if faces:
        lines.append(f"Part Labels: {len(faces)} unlabelled faces for the transfer")
    else:
        lines.append(f"Part Labels: no folder {UNLABELLED}; all but the transfer from unlabelled faces can be run")
    return lines


def add_superpixels(faces: FaceSet, *, n_segments: int = 250) -> FaceSet:
    """`faces` with about `n_segments` SLIC superpixels per image: int32 (N, H, W), ids from 0."""
    return replace(faces, superpixels=np.stack([slic_superpixels(image, n_segments) for image in faces.images]))


def slic_superpixels(image: np.ndarray, n_segments: int = 250) -> np.ndarray:
    """int32 (H, W): about `n_segments` SLIC superpixels of a uint8 (H, W, 3) image, ids from 0."""
    return slic(image, n_segments=n_segments, compactness=10, start_label=0).astype(np.int32)


def dataset(root: Path) -> Path:
    """The dataset's folder; UserError if it, its images or its labels are missing."""
    folder = folders.dataset_folder(root, FOLDERS, holds="parts_train.txt")
    for part in (IMAGES, LABELS):
        if not (folder / part).is_dir():
            raise UserError(f"{folder} should hold the folder {part}, but does not: unpack LFW Part Labels there")
    return folder


def image_path(folder: Path, name: str, number: int) -> Path:
    return folder / IMAGES / name / f"{name}_{number:04d}.jpg"


def label_path(folder: Path, name: str, number: int) -> Path:
    """The official .ppm, or the .png where only that is there."""
    official = folder / LABELS / f"{name}_{number:04d}.ppm"
    lossless = official.with_suffix(".png")
    return lossless if lossless.is_file() and not official.is_file() else official


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
    text = folders.read_text(path)
    try:
        values = np.array(text.split(), int)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} should hold the labels of the superpixels: copy it again") from error
    if len(values) != count + 1 or values[0] != count or not np.isin(values[1:], (0, 1, 2)).all():
        raise UserError(f"{path} should hold {count} and then as many labels 0, 1 or 2: copy it again")
