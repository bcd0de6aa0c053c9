"""Reading, cropping and resizing of pictures and their label maps, the same for every dataset."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from reprolib.errors import UserError

IGNORED = 255


def read_picture(path: Path) -> np.ndarray:
    """The picture at `path`, turned as its EXIF orientation says.

    uint8 (H, W, 3) RGB; grey pictures get three equal channels. UserError if it is missing, no picture or
    cut short.
    """
    try:
        with Image.open(path) as picture:
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reports damaged PNG files as SyntaxError
        raise _unreadable(path, error) from error


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone, turned as EXIF says; UserError as in `read_picture`."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            sideways = picture.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5–8 swap the axes
            return (height, width) if sideways else (width, height)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read as a picture ({error})"
    return UserError(f"{path} {what}: copy this file again from the original dataset")


def same_size(image: tuple[int, int], labels: tuple[int, int], path: Path) -> None:
    """UserError unless a picture and the label map at `path` have one (width, height)."""
    if image != labels:
        raise UserError(
            f"{path} should have the size of its picture, {image[0]}×{image[1]}, "
            f"but is {labels[0]}×{labels[1]}: copy picture and label again from the same release of the dataset"
        )


def crop_square(array: np.ndarray, square: tuple[int, int, int], *, fill: int | None = None) -> np.ndarray:
    """The square (x, y, side) of `array` (H, W, …); beyond the edge `fill`, or the edge's pixels if it is None."""
    x, y, side = square
    height, width = array.shape[:2]
    pad = max(0, -x, -y, x + side - width, y + side - height)
    if pad:
        border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
        array = cv2.copyMakeBorder(array, pad, pad, pad, pad, border, value=[fill or 0] * 4)
    return array[y + pad : y + pad + side, x + pad : x + pad + side]


def resize_picture(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) -> (size, size, 3), or (height, width, 3): area average when shrinking, bilinear when growing."""
    height, width = (size, size) if isinstance(size, int) else size
    way = cv2.INTER_AREA if image.shape[0] > height or image.shape[1] > width else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)


def resize_labels(labels: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) -> (size, size), or (height, width).

    The label that covers most of a new pixel when shrinking, else the nearest.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if labels.shape[0] <= height and labels.shape[1] <= width:
        return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    values = np.unique(labels)
    shares = [
        cv2.resize((labels == v).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for v in values
    ]
    return values[np.argmax(shares, axis=0)].astype(np.uint8)


def box_of(mask: np.ndarray) -> np.ndarray:
    """float32 (4,) box x, y, width, height around the true pixels of a bool (H, W) mask; zeros if none are."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return np.zeros(4, np.float32)
    return np.array([xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1], np.float32)


def subfolder(root: Path, name: str, *, holds: str) -> Path:
    """`root`/`name` if it is there, else `root` itself if it holds `holds`; UserError if neither does."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"the data root {root} should be an existing folder: give its path as data_root (--data-root)")
    for folder in (root / name, root):
        if (folder / holds).exists():
            return folder
    raise UserError(
        f"{root} should hold {name}/{holds} (or {holds} itself), but does not: "
        f"unpack the dataset there in its official layout"
    )
