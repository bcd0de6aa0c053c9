"""From 68 landmarks to a mask of skin, eyes and mouth: the annotation of wang2018 (Sec. 4.1)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from reprolib.errors import UserError

CLASSES = ("background", "facial skin", "eyes", "outer mouth", "inner mouth")
BACKGROUND, SKIN, EYES, OUTER_MOUTH, INNER_MOUTH = range(5)

# Each outline is made of arcs (landmark indices) that meet in corners; painted in this order, one over the other.
# Nothing is annotated above the brows, so the brows close the skin; nose and brows count as skin.
OUTLINES = {
    "skin": (SKIN, (tuple(range(17)), (16, 26), tuple(range(26, 16, -1)), (17, 0))),
    "eye_l": (EYES, ((36, 37, 38, 39), (39, 40, 41, 36))),
    "eye_r": (EYES, ((42, 43, 44, 45), (45, 46, 47, 42))),
    "outer_mouth": (OUTER_MOUTH, (tuple(range(48, 55)), (*range(54, 60), 48))),
    "inner_mouth": (INNER_MOUTH, (tuple(range(60, 65)), (*range(64, 68), 60))),
}
STEPS = 8  # points of the outline between two landmarks
FRACTION_BITS = 4  # cv2 fills polygons whose corners lie on sixteenths of a pixel


def landmark_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask uint8 (H, W) into `CLASSES` of a face with landmarks (68, 2), in pixels (x, y).

    Outlines are natural cubic splines along each arc with corners where arcs meet, complete also where something
    covers the face. What a closed mouth or eye leaves, a line, has no area. UserError for another number of
    landmarks or for ones that are not finite. Source: Wang et al. 2018, Sec. 4.1 (the splines' form is ours).
    """
    points = np.asarray(points, np.float64)
    if points.shape != (68, 2):
        raise UserError(
            f"a mask needs 68 landmarks (x, y), found an array of shape {points.shape}: check the annotation"
        )
    if not np.isfinite(points).all():
        missing = int((~np.isfinite(points).all(axis=1)).sum())
        raise UserError(f"a mask needs 68 finite landmarks, found {missing} that are not: leave this frame out")
    mask = np.zeros(shape, np.uint8)
    for label, arcs in OUTLINES.values():
        outline = np.concatenate([spline(points[list(arc)])[:-1] for arc in arcs])
        corners = np.round(outline * (1 << FRACTION_BITS)).astype(np.int32)
        inside = cv2.fillPoly(np.zeros(shape, np.uint8), [corners], 1, shift=FRACTION_BITS)
        if _area(outline) >= 0.5:  # cv2 draws a line where there is no area
            mask[inside > 0] = label
    return mask


def masks_of_track(track: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Masks uint8 (T, H, W) of tracked landmarks (T, 68, 2): a frame without takes those of the nearest that has some.

    All background where no frame has landmarks.
    """
    seen = np.flatnonzero(np.isfinite(track).all(axis=(1, 2)))
    if not len(seen):
        return np.zeros((len(track), *shape), np.uint8)
    nearest = seen[np.abs(np.arange(len(track))[:, None] - seen).argmin(axis=1)]
    return np.stack([landmark_mask(track[t], shape) for t in nearest])


def spline(arc: np.ndarray) -> np.ndarray:
    """A natural cubic spline through the points (P, 2) of an arc: ((P − 1) · STEPS + 1, 2)."""
    if len(arc) == 2:
        return np.linspace(arc[0], arc[1], STEPS + 1)
    at = np.arange(len(arc))
    return CubicSpline(at, arc, bc_type="natural")(np.linspace(0, len(arc) - 1, (len(arc) - 1) * STEPS + 1))


def _area(outline: np.ndarray) -> float:
    """Of a closed polygon (P, 2), in square pixels."""
    x, y = outline.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
