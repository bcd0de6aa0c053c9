"""HELEN as relabelled and resized by Smith et al., CVPR 2013: 2,330 faces with soft labels of eleven classes.

The dataset of yin2020 Sec. 3.1 in its official layout `SmithCVPR2013_dataset_resized/`: `images/NAME.jpg`,
`labels/NAME/NAME_lbl00.png` … `NAME_lbl10.png`, and three lists.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reprolib.datasets import folders
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES
from reprolib.datasets.pictures import (
    crop_square,
    picture_size,
    read_picture,
    resize_labels,
    resize_picture,
    same_size,
)
from reprolib.errors import UserError

FOLDER = "SmithCVPR2013_dataset_resized"
LISTS = {"train": "exemplars.txt", "validation": "tuning.txt", "test": "testing.txt"}
COUNTS = {"train": 2000, "validation": 230, "test": 100}
FRAME = 1024  # pixels a side, to which the authors of yin2020 pad
PLANES = 11  # 02–09 are the paper's parts in its order, 01 is skin, 10 hair


def load(root: Path, split: str, *, frame: int = FRAME, count: int | None = None) -> FaceSet:
    """The first `count` (None = all) faces of `split` ("train", "validation", "test") in the order of its list.

    images uint8 (N, frame, frame, 3), labels uint8 (N, frame, frame) into `parsing_faces.CLASSES`. Each image is
    in the middle of a frame of 1024² zeros (a larger one is shrunk into it), which is then resized to `frame`².
    Planes are soft: a pixel gets the class of the brightest, where background is 255 less the sum of the eight
    parts. UserError if a list, image or plane is missing, unreadable or of another size.
    """
    folders.check_split(split, COUNTS)
    folder, names = _listed(root, split)
    images, labels = [], []
    for name in names[:count]:
        image, classes = _read(folder, name)
        square, outlines = padded(image, FRAME), padded(classes, FRAME)
        images.append(resize_picture(square, frame) if frame != FRAME else square)
        labels.append(resize_labels(outlines, frame))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(names[:count]),
    )


def padded(array: np.ndarray, side: int) -> np.ndarray:
    """A picture (H, W, 3) or label map (H, W) in the middle of side × side zeros; shrunk to fit if it is larger."""
    longer = max(array.shape[:2])
    if longer > side:
        shape = tuple(max(1, round(length * side / longer)) for length in array.shape[:2])
        array = resize_picture(array, shape) if array.ndim == 3 else resize_labels(array, shape)
    height, width = array.shape[:2]
    return crop_square(array, (-((side - width) // 2), -((side - height) // 2), side), fill=0)


def plane_path(folder: Path, name: str, plane: int) -> Path:
    """Path of one of a face's eleven soft label planes in the dataset's `folder`."""
    return folder / "labels" / name / f"{name}_lbl{plane:02d}.png"


def harden(planes: np.ndarray) -> np.ndarray:
    """Soft planes uint8 (11, H, W) in the files' order -> labels uint8 (H, W) into `CLASSES`.

    Background is 255 less the sum of the eight parts.
    """
    scores = planes[1 : 1 + len(CLASSES)].astype(np.int32)
    scores[0] = 255 - scores[1:].sum(axis=0)
    return scores.argmax(axis=0).astype(np.uint8)


def check(root: Path) -> list[str]:
    """A report, one line per list; UserError if anything is missing, unreadable or of another size.

    Reads the header of every image and plane, and every fiftieth face in full.
    """
    lines = []
    for split, expected in COUNTS.items():
        folder, names = _listed(root, split)
        if len(names) != expected:
            raise UserError(
                f"{folder / LISTS[split]} should name {expected} faces, but names {len(names)}: "
                "copy it again from the original dataset"
            )
        for i, name in enumerate(names):
            size = picture_size(_picture(folder, name))
            for plane in range(PLANES):
                path = plane_path(folder, name, plane)
                same_size(size, picture_size(path), path)
            if i % 50 == 0:
                _read(folder, name)
        lines.append(f"HELEN {split} ({LISTS[split]}): {expected} faces with {PLANES} planes each")
    return lines


def _listed(root: Path, split: str) -> tuple[Path, list[str]]:
    """The dataset's folder and the names in a list, whose lines are `index , NAME`."""
    folder = folders.dataset_folder(root, (FOLDER, "helen"), holds=_is_helen, layout=f"{FOLDER}/labels")
    path = folder / LISTS[split]
    lines = folders.read_lines(path)
    names = [line.rsplit(",", 1)[-1].strip() for line in lines]
    if not names or not all("," in line for line in lines):
        raise UserError(f"{path} should have lines `index , NAME`, but has others: copy it from the original dataset")
    for name in names:
        folders.inside(folder, name, of=path)
    return folder, names


def _is_helen(folder: Path) -> bool:
    named = folder.name.casefold() == FOLDER.casefold()
    return (folder / "labels").is_dir() and (named or any((folder / name).is_file() for name in LISTS.values()))


def _picture(folder: Path, name: str) -> Path:
    return folder / "images" / f"{name}.jpg"


def _read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 (H, W, 3), labels uint8 (H, W)) of one face in its own size."""
    image, planes = read_picture(_picture(folder, name)), []
    for plane in range(PLANES):
        path = plane_path(folder, name, plane)
        soft = read_picture(path)[..., 0]
        same_size(image.shape[1::-1], soft.shape[1::-1], path)
        planes.append(soft)
    return image, harden(np.stack(planes))
