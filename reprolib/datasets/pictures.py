"""Reading, cropping and resizing of images and their label maps, the same for every dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache as once
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reprolib.errors import UserError

IGNORED = 255
# Formats that are only pixels. Pillow knows more, and hands some of them (EPS) to other programs.
FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "DIB", "GIF", "WEBP", "AVIF", "PPM", "JPEG2000")
LARGEST = 89_000_000  # pixels, where Pillow starts to warn of decompression bombs: about 1 GB while it is read
WHITE, BLACK = 255, 0
ORIENTATION = 0x0112  # EXIF
TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def read_picture(path: Path) -> np.ndarray:
    """The image at `path`, rotated as its EXIF orientation says: uint8 (H, W, 3) RGB.

    Grey images get three equal channels. 16-bit integers and floats from 0 to 1 are scaled to 8 bits. Transparent
    pixels are blended with white, as most programs show them. Of several frames the first is read. UserError if the
    file is missing, not an image, damaged, larger than `LARGEST` pixels, or of other numbers, whose white is unknown.
    """
    with _opened(path) as image:
        return _as_rgb(image, path, ground=WHITE)


def read_labels(path: Path) -> np.ndarray:
    """The class number of every pixel, uint8 (H, W): the indices of a palette, or the grey values, unscaled.

    Three equal channels are read as grey; transparency is ignored. UserError as in `read_picture`, for colours
    without a palette, and for numbers that are not 0 to 255.
    """
    with _opened(path) as image:
        values = np.array(image)
        if values.ndim == 3:
            colours = values[..., : 1 if image.mode == "LA" or image.mode == "PA" else 3]
            if (colours != colours[..., :1]).any():
                raise UserError(
                    f"{path} should hold one class number per pixel, but holds colours: convert it to class numbers"
                )
            values = colours[..., 0]
    if values.min() < 0 or values.max() > 255 or (values != np.floor(values)).any():
        raise UserError(
            f"{path} should hold class numbers from 0 to 255, but holds {values.min():g} to {values.max():g}: "
            "convert it to class numbers"
        )
    return values.astype(np.uint8)


def read_mask(path: Path) -> np.ndarray:
    """Where a mask is set, bool (H, W): where it is brighter than half, or 1 if it holds only 0 and 1.

    A palette of greys is read by brightness; in a palette of colours every index but 0 is set. Transparent pixels are
    not set. UserError as in `read_picture`, and for colours without a palette.
    """
    with _opened(path) as image:
        if image.mode in ("P", "PA"):
            indices = np.array(image.getchannel(0) if image.mode == "PA" else image)
            palette = np.array(image.convert("RGB"))
            if (palette != palette[..., :1]).any():
                return indices > 0
        values = np.array(image)
        if values.ndim == 2 and image.mode != "P" and values.max() <= 1 and values.dtype.kind != "f":
            return values == 1
        rgb = _as_rgb(image, path, ground=BLACK)
    spread = cv2.max(cv2.max(rgb[..., 0], rgb[..., 1]), rgb[..., 2]) - rgb.min(axis=-1)
    if spread.max() > 64:  # JPEG colours the borders of grey a little
        raise UserError(f"{path} should be a mask in black and white, but has colours: copy the mask again")
    return rgb[..., 0] > 127 if rgb.max() > 1 else rgb[..., 0] == 1


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone, rotated as EXIF says; UserError as in `read_picture`."""
    with _opened(path, header=True) as image:
        width, height = image.size
        # Pillow has turned the size of a TIFF file already
        sideways = image.format != "TIFF" and _orientation(image) >= 5  # orientations 5–8 swap the axes
        return (height, width) if sideways else (width, height)


@contextmanager
def _opened(path: Path, *, header: bool = False) -> Iterator[Image.Image]:
    """The image, decoded and rotated (or its `header` alone); UserError for any fault in it."""
    path = Path(path)
    if not path.is_file():  # a pipe would be waited for
        what = "is no file" if path.exists() else "is missing"
        raise UserError(f"{path} {what}: copy this file again from the original dataset")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are limited here
            with Image.open(path, formats=_formats()) as image:
                width, height = image.size
                if width * height > LARGEST:
                    raise _too_large(path, f"{width}×{height}")
                if header:
                    yield image
                    return
                image.load()
                turn = TURNS.get(_orientation(image))
                yield image if turn is None else image.transpose(turn)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, f"more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million") from error
    except Exception as error:  # Pillow's errors in damaged files are of nearly every type
        raise UserError(
            f"{path} cannot be read as an image ({error}): copy this file again from its source, or give another"
        ) from error


@once
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _too_large(path: Path, found: str) -> UserError:
    return UserError(
        f"{path} has {found} pixels, but at most {LARGEST / 1e6:.0f} million can be read: give a smaller image"
    )


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 where EXIF is broken or says something else."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
        value = int(value[0] if isinstance(value, tuple) else value)  # some programs write it as text
    except Exception:  # broken EXIF says nothing about the pixels
        return 1
    return value if value in TURNS else 1


def _as_rgb(image: Image.Image, path: Path, *, ground: int) -> np.ndarray:
    """Any decoded image as uint8 (H, W, 3); transparent pixels are blended with the grey level `ground`."""
    if image.mode.startswith(("I", "F")):
        grey = _eight_bits(image, path)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, (ground, ground, ground, 255))
        image = Image.alpha_composite(behind, image)
    return np.array(image.convert("RGB"))


def _eight_bits(image: Image.Image, path: Path) -> np.ndarray:
    """A grey image of 16 bits or of numbers from 0 to 1 as uint8 (H, W)."""
    values = np.array(image)
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            raise UserError(
                f"{path} should hold numbers from 0 to 1, but holds {values.min():g} to {values.max():g}, and what is "
                "white is not known: save it with 8 or 16 bits"
            )
        return np.round(values * 255).astype(np.uint8)
    if image.mode == "I" and image.format != "PPM":  # Pillow scales PPM to 16 bits
        raise UserError(
            f"{path} holds whole numbers of 32 bits, and what is white is not known: save it with 8 or 16 bits"
        )
    tags = getattr(image, "tag_v2", {})  # of a TIFF file: 258 bits, 262 whether 0 is white
    white = 2 ** tags.get(258, (16,))[0] - 1
    table = ((np.arange(white + 1) * 255 + white // 2) // white).astype(np.uint8)
    if tags.get(262) == 0:
        table = table[::-1]
    return table[values.clip(0, white)]


def same_size(image: tuple[int, int], labels: tuple[int, int], path: Path) -> None:
    """UserError unless an image and the label map at `path` have the same (width, height)."""
    if image != labels:
        raise UserError(
            f"{path} should have the size of its picture, {image[0]}×{image[1]}, "
            f"but is {labels[0]}×{labels[1]}: copy picture and label again from the same release of the dataset"
        )


def crop_square(array: np.ndarray, square: tuple[int, int, int], *, fill: int | None = None) -> np.ndarray:
    """The square (x, y, side) of `array` (H, W, …); beyond its edge `fill`, or the edge's pixels if `fill` is None."""
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
    lower, narrower = min(height, image.shape[0]), min(width, image.shape[1])
    if (lower, narrower) != image.shape[:2]:  # OpenCV averages only if no side grows
        image = cv2.resize(image, (narrower, lower), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def resize_labels(labels: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) -> (size, size), or (height, width).

    A new pixel gets the label that covers most of it when shrinking, and the label at its centre when growing.
    """
    height, width = (size, size) if isinstance(size, int) else size
    lower, narrower = min(height, labels.shape[0]), min(width, labels.shape[1])
    if (lower, narrower) != labels.shape:
        values = np.unique(labels)
        shares = [
            cv2.resize((labels == v).astype(np.float32), (narrower, lower), interpolation=cv2.INTER_AREA)
            for v in values
        ]
        labels = values[np.argmax(shares, axis=0)].astype(np.uint8)
    return labels[np.ix_(nearest(height, lower), nearest(width, narrower))]


def nearest(large: int, small: int) -> np.ndarray:
    """Index of the one of `small` pixels that holds the centre of each of `large` on the same line: int64 (large,)."""
    return (2 * np.arange(large) + 1) * small // (2 * large)


def box_of(mask: np.ndarray) -> np.ndarray:
    """float32 (4,) box x, y, width, height around the true pixels of a bool (H, W) mask; zeros if none are."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return np.zeros(4, np.float32)
    return np.array([xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1], np.float32)
