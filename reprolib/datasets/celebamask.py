"""CelebAMask-HQ, faces with labels of up to 18 parts, in two layouts. Lee, Liu, Wu, Luo, CVPR 2020.

Official, as used in yin2020 Sec. 3.1 (`load`): 30,000 faces `CelebA-HQ-img/ID.jpg`,
`CelebAMask-HQ-mask-anno/FOLDER/ID_PART.png` (no file = the part is not visible) and
`CelebA-HQ-to-CelebA-mapping.txt`, which gives the CelebA partition of each face.

Indexed (`read_indexed`): `celebamask/images/ID.jpg` and `celebamask/masks/ID.png`, whose palette indices are the
classes `INDEXED_CLASSES`. It has no official split; `celebamask_split.csv` beside this module is the one that all
studies and tools use.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np

from reprolib.datasets import folders
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import (
    BROW_1,
    BROW_2,
    CLASSES,
    EYE_1,
    EYE_2,
    INNER_MOUTH,
    LOWER_LIP,
    NOSE,
    UPPER_LIP,
)
from reprolib.datasets.pictures import (
    picture_size,
    read_labels,
    read_mask,
    read_picture,
    resize_labels,
    resize_picture,
    same_size,
)
from reprolib.errors import UserError

FOLDER, PICTURES, MASKS = "CelebAMask-HQ", "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
FRAME = 512  # pixels a side: the masks' own size
PER_FOLDER = 2000
COUNTS = {"train": 24183, "validation": 2993, "test": 2824}
LAST_FILE = {"train": 162770, "validation": 182637, "test": 202599}  # of CelebA's partitions, files counted from 1
# r is the person's right, left in the image; where masks overlap the later part wins, as in the dataset's own script
PARTS = {
    "nose": NOSE, "r_eye": EYE_1, "l_eye": EYE_2, "r_brow": BROW_1, "l_brow": BROW_2,
    "mouth": INNER_MOUTH, "u_lip": UPPER_LIP, "l_lip": LOWER_LIP,
}  # fmt: skip
PAIRS = (("r_eye", "l_eye"), ("r_brow", "l_brow"))

INDEXED_FOLDER, INDEXED_PICTURES, INDEXED_MASKS = "celebamask", "images", "masks"
INDEXED_CLASSES = (
    "background", "skin", "nose", "glasses", "left eye", "right eye", "left brow", "right brow", "left ear",
    "right ear", "mouth", "upper lip", "lower lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
INDEXED_PAIRS = ((4, 5), (6, 7), (8, 9))  # the person's left and right
SPLIT = Path(__file__).with_name("celebamask_split.csv")


def load(root: Path, split: str, *, frame: int = FRAME, count: int | None = None) -> FaceSet:
    """The first `count` (None = all) faces of `split` ("train", "validation", "test") in the order of their numbers.

    images uint8 (N, frame, frame, 3), labels uint8 (N, frame, frame) into `parsing_faces.CLASSES`. A part
    without a mask file is absent: no pixel has its class. Eye 1 and brow 1 are those farther left in the image,
    whatever their files are called. UserError if the mapping, an image or all masks of a face are missing, a file is
    unreadable, or a mask has another aspect ratio than its image.
    """
    folders.check_split(split, COUNTS)
    folder = _folder(root)
    images, labels = [], []
    chosen = _partitions(folder)[split][:count]
    if not chosen:
        raise UserError(f"{folder / MAPPING} should give {split} faces, but gives none: copy it again")
    for number in chosen:
        image, classes = _read(folder, number)
        images.append(resize_picture(image, frame) if image.shape[:2] != (frame, frame) else image)
        labels.append(resize_labels(classes, frame))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(str(number) for number in chosen),
    )


def mask_path(folder: Path, number: int, part: str) -> Path:
    """Path of the mask of one part of face `number`; there is a file only if the part is visible."""
    return folder / MASKS / str(number // PER_FOLDER) / f"{number:05d}_{part}.png"


@cache
def split_names() -> dict[str, tuple[str, ...]]:
    """Part ("train", "validation", "test") → names of its faces, sorted: 650, 80 and 120 of 850."""
    with SPLIT.open(encoding="utf-8", newline="") as file:
        rows = [(row["part"], row["file"]) for row in csv.DictReader(file)]
    return {part: tuple(sorted(name for of, name in rows if of == part)) for part in ("train", "validation", "test")}


def indexed_folder(root: Path) -> Path:
    """The folder of the indexed layout; UserError if it is not under `root`."""
    return folders.dataset_folder(
        root,
        (INDEXED_FOLDER,),
        holds=lambda folder: (folder / INDEXED_MASKS).is_dir() and (folder / INDEXED_PICTURES).is_dir(),
        layout=f"{INDEXED_FOLDER}/{INDEXED_MASKS}",
    )


def indexed_names(folder: Path) -> list[str]:
    """Names of all faces that have labels in the indexed layout, sorted; UserError if there are none."""
    names = [path.stem for path in folders.files(folder / INDEXED_MASKS, ".png")]
    if not names:
        raise UserError(f"{folder / INDEXED_MASKS} should hold labels ID.png, but has none: copy the dataset there")
    return names


def indexed_files(folder: Path, name: str) -> tuple[Path, Path]:
    """(image, labels) of one face of the indexed layout."""
    return folder / INDEXED_PICTURES / f"{name}.jpg", folder / INDEXED_MASKS / f"{name}.png"


def read_indexed_labels(path: Path) -> np.ndarray:
    """uint8 (H, W) into `INDEXED_CLASSES`, as the file at `path` has them; UserError if it holds anything else."""
    labels = read_labels(path)
    if labels.max(initial=0) >= len(INDEXED_CLASSES):
        raise UserError(
            f"{path} should hold classes 0 to {len(INDEXED_CLASSES) - 1}, but holds {labels.max()}: "
            "copy this file again"
        )
    return labels


def read_indexed(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 (H, W, 3), labels uint8 (H, W) into `INDEXED_CLASSES`) of one face of the indexed layout.

    Of two eyes, brows or ears the one farther right in the image is the person's left, whatever its class in the file:
    some images of the dataset are mirrored, their labels are not. UserError if a file is missing or unreadable, or if
    image and labels differ in size.
    """
    picture, path = indexed_files(folder, name)
    image, labels = read_picture(picture), read_indexed_labels(path)
    same_size(image.shape[1::-1], labels.shape[1::-1], path)
    for left, right in INDEXED_PAIRS:
        of_left, of_right = labels == left, labels == right
        if _middle(of_left) < _middle(of_right):
            labels[of_left], labels[of_right] = right, left
    return image, labels


def check(root: Path) -> list[str]:
    """A report, one line per partition; UserError if anything is missing, unreadable or of another shape.

    Official layout: reads the header of every image and mask, and every five-hundredth face in full. Indexed layout,
    where the official one is not there: reads the header of every image and label file, and every fiftieth in full.
    """
    try:
        folder = _folder(root)
    except folders.DatasetMissing as missing:
        try:
            indexed = indexed_folder(root)
        except folders.DatasetMissing:
            raise missing from None
        return _check_indexed(indexed)
    lines = []
    for split, numbers in _partitions(folder).items():
        if len(numbers) != COUNTS[split]:
            raise UserError(
                f"{folder / MAPPING} should give {COUNTS[split]} {split} faces, but gives {len(numbers)}: "
                "copy it again from the original dataset"
            )
        incomplete = 0
        for i, number in enumerate(numbers):
            size, found = picture_size(_picture(folder, number)), _found(folder, number, PARTS)
            for path in found.values():
                _same_shape(size, picture_size(path), path)
            incomplete += len(found) < len(PARTS)
            if i % 500 == 0:
                _read(folder, number)
        lines.append(f"CelebAMask-HQ {split}: {len(numbers)} faces, {incomplete} of them without one or more parts")
    return lines


def _check_indexed(folder: Path) -> list[str]:
    present, lines = set(indexed_names(folder)), []
    for part, names in split_names().items():
        missing = [name for name in names if name not in present]
        if missing:
            raise UserError(
                f"{folder / INDEXED_MASKS} should hold {len(names)} {part} faces of {SPLIT.name}, but lacks "
                f"{len(missing)}, the first {missing[0]}.png: copy them there"
            )
        for i, name in enumerate(names):
            picture, labels = indexed_files(folder, name)
            same_size(picture_size(picture), picture_size(labels), labels)
            if i % 50 == 0:
                read_indexed(folder, name)
        lines.append(f"CelebAMask-HQ (indexed labels) {part}: {len(names)} faces")
    return lines


def _folder(root: Path) -> Path:
    return folders.dataset_folder(root, (FOLDER,), holds=MASKS)


def _partitions(folder: Path) -> dict[str, list[int]]:
    """Face numbers of CelebA's three partitions; lines of the mapping are `idx orig_idx orig_file` under a header."""
    path = folder / MAPPING
    partitions = {split: [] for split in LAST_FILE}
    lines = folders.read_lines(path)[1:]
    try:
        for line in lines:
            number, _, file = line.split()
            original = int(Path(file).stem)
            split = next(split for split, last in LAST_FILE.items() if original <= last)
            partitions[split].append(int(number))
    except (ValueError, StopIteration) as error:
        raise UserError(
            f"{path} should have a header and lines `idx orig_idx orig_file`, but has none: "
            "copy it again from the original dataset"
        ) from error
    return {split: sorted(numbers) for split, numbers in partitions.items()}


def _picture(folder: Path, number: int) -> Path:
    return folder / PICTURES / f"{number}.jpg"


def _found(folder: Path, number: int, parts) -> dict[str, Path]:
    """Part → path of its mask, of the visible parts; UserError if no part is visible."""
    paths = {part: mask_path(folder, number, part) for part in parts}
    found = {part: path for part, path in paths.items() if path.is_file()}
    if not found:
        raise UserError(
            f"{folder / MASKS / str(number // PER_FOLDER)} should hold masks {number:05d}_PART.png of face {number}, "
            "but has none: copy the folder again from the original dataset"
        )
    return found


def _read(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 (H, W, 3), labels uint8 (h, w)) of one face; the dataset's images are twice as large as masks."""
    image = read_picture(_picture(folder, number))
    found = _found(folder, number, PARTS)
    masks = {}
    for part, path in found.items():
        masks[part] = read_mask(path)
        _same_shape(image.shape[1::-1], masks[part].shape[1::-1], path)
        same_size(next(iter(masks.values())).shape[1::-1], masks[part].shape[1::-1], path)
    return image, merge(masks)


def merge(masks: dict[str, np.ndarray]) -> np.ndarray:
    """Masks bool (H, W) by part, at least one -> labels uint8 (H, W) into `CLASSES`; unknown parts are left out."""
    masks = dict(masks)
    for right, left in PAIRS:
        if _middle(masks.get(right)) > _middle(masks.get(left)):
            masks[right], masks[left] = masks[left], masks[right]
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for part, index in PARTS.items():
        if part in masks:
            labels[masks[part]] = index
    return labels


def _middle(mask: np.ndarray | None) -> float:
    """The column of a mask's centroid; NaN, which is never greater, if it is absent or empty."""
    return float(np.nonzero(mask)[1].mean()) if mask is not None and mask.any() else float("nan")


def _same_shape(image: tuple[int, int], mask: tuple[int, int], path: Path) -> None:
    """UserError unless image and mask, (width, height), have the same aspect ratio and the mask is no larger."""
    if image[0] * mask[1] != image[1] * mask[0] or mask[0] > image[0]:
        raise UserError(
            f"{path} should be a mask in the shape of its picture, {image[0]}×{image[1]}, but is {mask[0]}×{mask[1]}: "
            "copy picture and masks again from the same release of the dataset"
        )
