"""From 68 landmarks to a mask of skin, eyes and mouth: the annotation of wang2018 (Sec. 4.1)."""

from __future__ import annotations

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


def landmark_mask(points: np.ndarray, shape: tuple[int, int], *, forehead: bool = False) -> np.ndarray:
    """The mask uint8 (H, W) into `CLASSES` of a face with landmarks (68, 2), in pixels (x, y).

    Outlines are natural cubic splines along each arc with corners where arcs meet; they are complete also where
    something covers the face. Skin ends at the brows, or with `forehead` at half an ellipse above them. UserError
    for another number of landmarks or for ones that are not finite. Source: Wang et al. 2018, Sec. 4.1 (the splines'
    form is ours).
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
        curves = [spline(points[list(arc)]) for arc in arcs]
        if forehead and label == SKIN:
            curves[1:] = [_forehead(points)]
        mask[inside(np.concatenate([curve[:-1] for curve in curves]), shape)] = label
    return mask


def masks_of_track(track: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Masks uint8 (T, H, W) of tracked landmarks (T, 68, 2), NaN in frames without.

    A frame without landmarks takes those of the nearest frame in time; all is background if no frame has any.
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


def inside(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the pixels whose centres lie inside a closed polygon (P, 2), by the even-odd rule.

    cv2.fillPoly also paints the pixels that the polygon's edge touches. In images of 128 × 128 pixels this enlarges
    eyes by a quarter and inner mouths by half, and turns a mouth that hardly opens into a bar.
    """
    height, width = shape
    (x, y), (next_x, next_y) = outline.T, np.roll(outline, -1, axis=0).T
    row, edge = np.nonzero((y <= np.arange(height)[:, None]) != (next_y <= np.arange(height)[:, None]))
    crossing = x[edge] + (row - y[edge]) / (next_y[edge] - y[edge]) * (next_x[edge] - x[edge])
    crossings = np.zeros((height, width + 1), np.int64)  # of the edge with a row, at the first centre behind each
    np.add.at(crossings, (row, np.clip(np.ceil(crossing), 0, width).astype(int)), 1)
    return crossings.cumsum(axis=1)[:, :width] % 2 == 1


def _forehead(points: np.ndarray) -> np.ndarray:
    """Half an ellipse (33, 2) from landmark 16 over the hairline to landmark 0.

    Brows are as far from the hairline as from the nose's base (33), the rule of facial thirds.
    """
    middle = (points[0] + points[16]) / 2
    brows = (points[21] + points[22]) / 2
    angle = np.linspace(0, np.pi, 33)[:, None]
    return middle + np.cos(angle) * (points[16] - middle) + np.sin(angle) * (2 * brows - points[33] - middle)
