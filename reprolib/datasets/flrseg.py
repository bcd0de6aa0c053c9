"""FLRSeg: 630 mouths of 58 speakers with labels of lip, teeth, tongue and cavity, for those who have it.

yang2023 Sec. IV-A1. Neither its folders nor the values in its masks are published, so any of the usual layouts of
image and mask pairs is read, and the order of the classes can be given.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from reprolib.datasets import folders
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.mouths import CLASSES
from reprolib.datasets.pictures import IGNORED, read_labels, read_picture, resize_labels, resize_picture, same_size
from reprolib.errors import UserError

FULL_SIZE = (128, 256)  # (height, width) to which the paper crops or pads every image
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "pictures", "rgb", "jpegimages"))
MASK_FOLDERS = frozenset(
    ("masks", "mask", "labels", "label", "annotations", "annotation", "gt", "groundtruth", "segmentationclass")
)
OTHERS = frozenset(("fasseg", "talkingfaces", "celebamask", "celebamask-hq", "lfw", "part_labels", "cofw", "grid"))
SPLIT_FOLDERS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
MASK_SUFFIX = re.compile(r"[_\-.](mask|label|labels|gt|seg|annotation)$", re.IGNORECASE)
LAYOUTS = "images/ and masks/ with the same file names, with or without train/ and test/, or NAME.jpg and NAME_mask.png"


def load(root: Path, *, size: tuple[int, int] = FULL_SIZE, order: tuple[str, ...] = CLASSES) -> FaceSet:
    """Every picture with a mask of `<root>/flrseg` (or FLRSeg, or `root` itself), at `size` (height, width).

    images uint8 (N, height, width, 3), labels uint8 (N, height, width) into `mouths.CLASSES`, 255 = ignored. `order`:
    the classes of the mask values 0, 1, 2, … Images are cropped or padded with black background around their middle to
    128 × 256 as in the paper, then resized. persons: the speaker's folder, else the part of a file name before the
    first _ or -; None if names are plain numbers. UserError if there are no pairs, or an image and its mask do not fit.
    """
    pairs = _pairs(root)
    images, labels = [], []
    for picture, mask in pairs.values():
        image, classes = _read(picture, mask, order)
        images.append(resize_picture(crop_or_pad(image, FULL_SIZE), size))
        labels.append(resize_labels(crop_or_pad(classes, FULL_SIZE), size))
    speakers = [_speaker(name) for name in pairs]
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(pairs),
        persons=tuple(speakers) if all(speakers) else None,
    )


def check(root: Path, *, order: tuple[str, ...] = CLASSES) -> list[str]:
    """A report in a few lines, after reading all files; UserError if a pair is unreadable or does not fit."""
    pairs = _pairs(root)
    pixels, sizes = np.zeros(256, np.int64), set()
    for picture, mask in pairs.values():
        image, classes = _read(picture, mask, order)
        pixels += np.bincount(classes.ravel(), minlength=256)
        sizes.add(image.shape[:2])
    speakers = {_speaker(name) for name in pairs}
    known = f"{len(speakers)} speakers" if None not in speakers else "speakers not told by folders or names"
    heights, widths = zip(*sizes, strict=True)
    shares = ", ".join(f"{c} {pixels[i] / pixels[: len(CLASSES)].sum():.1%}" for i, c in enumerate(CLASSES))
    return [
        f"FLRSeg: {len(pairs)} pictures with masks, {known} (the paper: 630 of 58)",
        f"sizes: {min(widths)}×{min(heights)} to {max(widths)}×{max(heights)} pixels",
        f"pixels: {shares}",
    ]


def crop_or_pad(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`array` (H, W, …) cropped, or padded with zeros, on both sides alike to (height, width): yang2023 Sec. IV-A3."""
    for axis, wanted in enumerate(size):
        extra = array.shape[axis] - wanted
        if extra > 0:
            array = array.take(range((extra + 1) // 2, (extra + 1) // 2 + wanted), axis=axis)
        before = max(0, -extra) // 2
        padding = [(0, 0)] * array.ndim
        padding[axis] = (before, max(0, -extra) - before)
        array = np.pad(array, padding)
    return array


def _pairs(root: Path) -> dict[str, tuple[Path, Path]]:
    """Name → (picture, mask), by name. A name is the path without suffixes and the folders of images and masks."""
    folder = folders.dataset_folder(root, ("flrseg",), holds=_is_flrseg, layout=f"flrseg/ with {LAYOUTS}")
    images, masks = {}, {}
    for path in folders.files(folder, *PICTURES, deep=True):
        parts = path.relative_to(folder).parts[:-1]
        marked = _is_mask(path, folder)
        roles = MASK_FOLDERS if marked else IMAGE_FOLDERS
        name = "/".join((*(part for part in parts if part.lower() not in roles), MASK_SUFFIX.sub("", path.stem)))
        # the same name twice in one folder: NAME.jpg is the picture, NAME.png its mask
        twin = not marked and name in images and {path.suffix.lower(), images[name].suffix.lower()} > {".png"}
        if twin and path.suffix.lower() != ".png":
            images[name], masks[name] = path, images[name]
        else:
            (masks if marked or twin else images)[name] = path
    for name, mask in masks.items():
        if name not in images:
            raise UserError(
                f"the mask {mask} should have a picture named {name.rsplit('/', 1)[-1]}, but has none: copy it there"
            )
    if not masks:
        raise UserError(
            f"{folder} should hold pictures and masks ({LAYOUTS}), but has {len(images)} pictures and no mask: "
            "put FLRSeg there in one of these layouts"
        )
    return {name: (images[name], masks[name]) for name in sorted(masks)}


def _is_flrseg(folder: Path) -> bool:
    """Whether a folder has the dataset's name, or holds masks and is not a root of several datasets."""
    if folder.name.casefold() == "flrseg":
        return True
    if any(inner.name.casefold() in OTHERS for inner in folders.subfolders(folder)):
        return False
    within = (folder, *folders.below(folder, depth=3))
    return any(_is_mask(path, folder) for one in within for path in folders.files(one, *PICTURES)) or _twins(within)


def _is_mask(path: Path, folder: Path) -> bool:
    """Whether a file's name, or the name of a folder that it is in, marks it as a mask."""
    parts = path.relative_to(folder).parts[:-1]
    return bool(MASK_SUFFIX.search(path.stem)) or any(part.lower() in MASK_FOLDERS for part in parts)


def _twins(within: tuple[Path, ...]) -> bool:
    """Whether a folder has NAME.jpg and its mask NAME.png."""
    for one in within:
        stems = [path.stem for path in folders.files(one, *PICTURES)]
        if len(stems) > len(set(stems)):
            return True
    return False


def _read(picture: Path, mask: Path, order: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 (H, W, 3) and its classes uint8 (H, W), 255 = ignored."""
    image, values = read_picture(picture), read_labels(mask)
    same_size(image.shape[1::-1], values.shape[1::-1], mask)
    strange = np.setdiff1d(values, [*range(len(order)), IGNORED])
    if len(strange):
        raise UserError(
            f"{mask} should hold the values 0 to {len(order) - 1} ({', '.join(order)}) and 255 for ignored, "
            f"but holds {', '.join(map(str, strange[:5].tolist()))}: convert the masks to class numbers"
        )
    to_class = np.full(256, IGNORED, np.uint8)
    to_class[: len(order)] = [CLASSES.index(name) for name in order]
    return image, to_class[values]


def _speaker(name: str) -> str | None:
    *folders, stem = name.split("/")
    own = [folder for folder in folders if folder.lower() not in SPLIT_FOLDERS]
    if own:
        return "/".join(own)
    first, *rest = re.split(r"[_\-]", stem)
    return first if rest and first else None
