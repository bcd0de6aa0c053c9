"""COFW, faces under occlusion, in its official layout: 500 training and 507 test faces with face masks.

Burgos-Artizzu, Perona, Dollár, ICCV 2013; masks after Jia et al., ECCV 2014, as used in masi2020 Sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from reprolib.datasets import folders, pictures
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import (
    IGNORED,
    LARGEST,
    crop_square,
    picture_size,
    resize_labels,
    resize_picture,
    same_size,
)
from reprolib.errors import UserError

CLASSES = ("non-face", "face")
FILES = {"train": "COFW_train_color.mat", "test": "COFW_test_color.mat"}
FIELDS = {"train": ("IsTr", "bboxesTr"), "test": ("IsT", "bboxesT")}
FIRST = {"train": 845, "test": 0}  # the first 845 training faces are LFPW's and have no masks
COUNTS = {"train": 500, "test": 507}
BOX_MARGIN = 1.25  # the crop's side over the longer side of the given box: "adjusted square box", Sec. 4


def load(root: Path, split: str, *, size: int = 128) -> FaceSet:
    """The faces of `split` ("train" or "test") of `<root>/cofw` (or `root` itself): 0 non-face, 1 face.

    Crops are squares around the given face boxes, `BOX_MARGIN` times as large; beyond the image they repeat its
    edge, and labels are 255. images uint8 (N, size, size, 3), boxes in pixels of the crop, names are those of
    the masks. UserError if a file is missing, unreadable, not in MATLAB 7.3 (HDF5) form, or a mask has
    another size.
    """
    folders.check_split(split, COUNTS)
    folder = _folder(root, split)
    images, labels, boxes = [], [], []
    with _open(folder, split) as file:
        given, references = _fields(file, folder, split)
        for i in range(len(given)):
            image = _image(file, references[FIRST[split] + i])
            mask = read_mask(folder, split, i)
            same_size(image.shape[1::-1], mask.shape[1::-1], mask_path(folder, split, i))
            square = box_square(given[i])
            images.append(resize_picture(crop_square(image, square), size))
            labels.append(resize_labels(crop_square(mask, square, fill=IGNORED), size))
            x, y, side = square
            boxes.append((given[i] - (x, y, 0, 0)) * (size / side))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(f"{split}/{mask_path(folder, split, i).stem}" for i in range(len(images))),
        boxes=np.array(boxes, np.float32),
    )


def mask_path(folder: Path, split: str, index: int) -> Path:
    """Path of the mask of face `index`, counted from 0 among the 500 or 507 of `split`.

    Files count from 1, as MATLAB does: `masks/test/0001.png` is the first face. Where there is a 0000.png they count
    from 0. The paper's own layout of the masks is not known; this function alone defines ours.
    """
    masks = folder / "masks" / split
    first = 0 if (masks / "0000.png").is_file() else 1
    return masks / f"{index + first:04d}.png"


def read_mask(folder: Path, split: str, index: int) -> np.ndarray:
    """The mask of one face, uint8 (H, W): 1 where it is set, else 0; formats and errors as `pictures.read_mask`."""
    return pictures.read_mask(mask_path(folder, split, index)).astype(np.uint8)


def box_square(box: np.ndarray) -> tuple[int, int, int]:
    """The square (x, y, side) around a box x, y, width, height, `BOX_MARGIN` times its longer side."""
    x, y, width, height = (float(v) for v in box)
    side = BOX_MARGIN * max(width, height)
    return round(x + (width - side) / 2), round(y + (height - side) / 2), max(1, round(side))


def check(root: Path) -> list[str]:
    """A report, one line per split; UserError if anything is missing, unreadable or of another size.

    Reads every image's shape and every mask's header, and every twentieth of both in full.
    """
    lines = []
    for split, expected in COUNTS.items():
        folder = _folder(root, split)
        grey = 0
        with _open(folder, split) as file:
            given, references = _fields(file, folder, split)
            if len(given) != expected:
                raise UserError(
                    f"{folder / FILES[split]} should hold {expected + FIRST[split]} faces, but holds "
                    f"{len(references)}: copy it again"
                )
            for i in range(len(given)):
                shape = _stored(file, references[FIRST[split] + i]).shape
                grey += len(shape) == 2
                path = mask_path(folder, split, i)
                same_size(shape[-2:], picture_size(path), path)
                if i % 20 == 0:
                    _image(file, references[FIRST[split] + i])
                    read_mask(folder, split, i)
        lines.append(f"COFW {split}: {expected} faces with boxes and masks ({grey} grey)")
    return lines


def _folder(root: Path, split: str) -> Path:
    return folders.dataset_folder(root, ("cofw",), holds=FILES[split])


@contextmanager
def _open(folder: Path, split: str) -> Iterator[h5py.File]:
    """The file of a split; UserError for any fault in it."""
    path = folder / FILES[split]
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} should be a MATLAB 7.3 (HDF5) file but cannot be read: copy it again") from error
    except Exception as error:  # h5py's errors in damaged files are of many types
        raise UserError(f"{path} is damaged ({error}): copy it again") from error


def _stored(file: h5py.File, at: str | h5py.Reference) -> h5py.Dataset:
    """An array of the file; UserError if it is not an array, is too large, or its values are in another file."""
    if isinstance(at, str) and not isinstance(file.get(at, getlink=True), h5py.HardLink):
        raise UserError(f"{file.filename} should hold {at} itself, but leads to another file: copy it again")
    array = file[at]
    if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual or array.size > LARGEST:
        raise UserError(f"{file.filename} is damaged ({array.name} is no array of it): copy it again")
    return array


def _fields(file: h5py.File, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(boxes float (n, 4) of the faces that have masks, object references of all pictures)."""
    images, boxes = FIELDS[split]
    if images not in file or boxes not in file:
        raise UserError(
            f"{folder / FILES[split]} should hold {images} and {boxes}, but holds {', '.join(file) or 'nothing'}: "
            "use the file of the original dataset"
        )
    # h5py gives MATLAB's arrays transposed: (4, n) and (1, n)
    given = np.asarray(_stored(file, boxes), float).T
    references = np.asarray(_stored(file, images)).ravel()
    if given.shape != (len(references), 4) or not np.isfinite(given).all():
        raise UserError(
            f"{folder / FILES[split]} should hold a box x, y, width, height for each of {len(references)} faces, but "
            f"holds an array of shape {given.shape}: use the file of the original dataset"
        )
    return given[FIRST[split] :], references


def _image(file: h5py.File, reference: h5py.Reference) -> np.ndarray:
    """One picture, uint8 (H, W, 3) RGB: stored as (3, W, H), or (W, H) when grey."""
    stored = np.asarray(_stored(file, reference), np.uint8).T
    if stored.ndim not in (2, 3) or stored.shape[2:] not in ((), (3,)) or not stored.size:
        raise UserError(f"{file.filename} is damaged (an image has the shape {stored.shape}): copy it again")
    return np.ascontiguousarray(stored if stored.ndim == 3 else np.repeat(stored[..., None], 3, axis=2))
