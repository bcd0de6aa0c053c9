"""An image and its label map, painted together from back to front."""

from __future__ import annotations

import cv2
import numpy as np

_SHIFT = 4  # OpenCV's sub-pixel bits


class Canvas:
    """image: float32 (H, W, 3), 0…255; labels: uint8 (H, W)."""

    def __init__(self, image: np.ndarray):
        self.image = image
        self.labels = np.zeros(image.shape[:2], np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[:2]

    def mask(self, *outlines: np.ndarray, soft: float = 0.0) -> np.ndarray:
        """float32 (H, W) in [0, 1]: anti-aliased union of polygons (n, 2), with an edge `soft` pixels wide."""
        out = np.zeros(self.size, np.uint8)
        for outline in outlines:
            points = np.round(np.clip(outline, -4000, 4000) * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(out, [points], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
        return _soften(out, soft)

    def strokes(self, lines, thickness: float, *, soft: float = 0.0, closed: bool = False) -> np.ndarray:
        """float32 (H, W) in [0, 1]: polylines (n, 2), `thickness` in pixels; those thinner than a pixel are fainter."""
        out = np.zeros(self.size, np.uint8)
        points = [np.round(np.clip(line, -4000, 4000) * (1 << _SHIFT)).astype(np.int32) for line in lines]
        value = int(255 * min(1.0, thickness))
        cv2.polylines(out, points, closed, value, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)
        return _soften(out, soft)

    def paint(self, mask: np.ndarray, colour, label: int | None = None) -> None:
        """Lay `colour` ((3,) or (H, W, 3)) over the picture with opacity `mask`; label where it is at least half."""
        x, y, w, h = cv2.boundingRect((mask > 0.004).view(np.uint8))
        if w == 0 or h == 0:
            return
        roi = np.s_[y : y + h, x : x + w]
        colour = np.asarray(colour, np.float32)
        over = colour[roi] if colour.ndim == 3 else colour
        m = mask[roi][..., None]
        self.image[roi] += m * (over - self.image[roi])
        if label is not None:
            self.labels[roi][mask[roi] >= 0.5] = label

    def darken(self, mask: np.ndarray, factor: float) -> None:
        """Multiply the picture by `factor` where `mask` is 1."""
        x, y, w, h = cv2.boundingRect((mask > 0.004).view(np.uint8))
        roi = np.s_[y : y + h, x : x + w]
        self.image[roi] *= 1 + (factor - 1) * mask[roi][..., None]


def _soften(mask: np.ndarray, soft: float) -> np.ndarray:
    if soft > 3:  # a wide blur of a smaller mask looks the same and costs a tenth
        h, w = mask.shape
        k = soft / 1.5
        small = cv2.resize(mask, (max(2, round(w / k)), max(2, round(h / k))), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.5), (w, h), interpolation=cv2.INTER_LINEAR)
    elif soft > 0.25:
        mask = cv2.GaussianBlur(mask, (0, 0), soft)
    return mask.astype(np.float32) * np.float32(1 / 255)
