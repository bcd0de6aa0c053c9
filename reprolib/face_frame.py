"""The square of CelebA-HQ around a face, and the windows of it that networks see.

The square is the alignment of CelebA-HQ (Karras et al., ICLR 2018, appendix C), computed from 68 landmarks. Faces that
are tilted, small or anywhere in a photo look alike in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Frame:
    """A square in a photo: its centre (x, y) and the vector from there to the middle of its right side, in pixels.

    Coordinates are continuous: the first pixel reaches from 0 to 1.
    """

    centre: np.ndarray
    axis: np.ndarray

    @property
    def half(self) -> float:
        """Half the side in pixels."""
        return float(np.hypot(*self.axis))


@dataclass(frozen=True)
class Window:
    """A square part of a frame, cut to `size` × `size` pixels.

    down: how far its centre is below the frame's. half: half its side. The unit of both is half the frame's side.
    """

    down: float
    half: float
    size: int


FEATURES = Window(down=0.19, half=0.58, size=192)  # brows to chin
REGIONS = Window(down=0.0, half=1.2, size=128)  # with hair and neck


def whole(height: int, width: int) -> Frame:
    """The frame of a whole image of `height` × `width` pixels, which is square or nearly so."""
    return Frame(np.array([width / 2, height / 2]), np.array([max(height, width) / 2, 0.0]))


def frame_of(points: np.ndarray) -> Frame:
    """The frame of a face with (68, 2) landmarks in pixels, integers at pixel centres."""
    points = np.asarray(points, np.float64) + 0.5
    right, left = points[36:42].mean(0), points[42:48].mean(0)
    eyes, mouth = (right + left) / 2, (points[48] + points[54]) / 2
    across, down = left - right, mouth - eyes
    axis = across + np.array([down[1], -down[0]])
    length = max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    return Frame(eyes + 0.1 * down, axis / max(np.hypot(*axis), 1e-9) * length)


def to_window(frame: Frame, window: Window) -> np.ndarray:
    """The affine map (2, 3) from pixel coordinates of the photo to those of the window, integers at pixel centres."""
    x_axis = frame.axis * window.half
    y_axis = np.array([-x_axis[1], x_axis[0]])
    centre = frame.centre + window.down * np.array([-frame.axis[1], frame.axis[0]])
    length = float(x_axis @ x_axis)
    linear = np.stack([x_axis, y_axis]) / length * (window.size / 2)
    shift = window.size / 2 - linear @ centre
    return np.concatenate([linear, (linear.sum(1) / 2 + shift - 0.5)[:, None]], 1)


def cut(photo: np.ndarray, matrix: np.ndarray, size: int | tuple[int, int], *, border: int = cv2.BORDER_CONSTANT):
    """Cut a window (height, width, …) from a photo (H, W, …); `matrix` (2, 3) maps the photo to the window.

    size: side in pixels, or (height, width). border: OpenCV's mode beyond the photo, by default black. A photo much
    larger than the window is first averaged over whole blocks of pixels: bilinear sampling alone would skip most of
    them.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shrink = int(1 / max(np.sqrt(abs(np.linalg.det(matrix[:, :2]))), 1e-9) + 1e-6)
    if shrink < 2:
        return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
    # only the part of the photo that the window sees is averaged
    corners = np.array([[-1, -1], [width, -1], [-1, height], [width, height]], np.float64)
    corners = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    limits = photo.shape[1::-1]
    low = np.clip(np.floor(corners.min(0)).astype(int) - shrink, 0, limits)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + shrink, 0, limits)
    if (high <= low).any():
        return np.zeros((height, width, *photo.shape[2:]), photo.dtype)
    columns, rows = (-(-(high - low) // shrink)).tolist()
    part = photo[low[1] : high[1], low[0] : high[0]]
    below, right = rows * shrink - part.shape[0], columns * shrink - part.shape[1]
    if below or right:  # whole blocks also at the photo's edge
        part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    # photo x = low + shrink · (x' + ½) - ½
    linear = matrix[:, :2] * shrink
    shift = matrix[:, 2] + matrix[:, :2] @ (low + (shrink - 1) / 2)
    to_window = np.concatenate([linear, shift[:, None]], 1)
    return cv2.warpAffine(small, to_window, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
