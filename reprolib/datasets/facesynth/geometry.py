# ruff: noqa: RUF005 (array + tuple is a sum)
"""A face as points in space: template, identity, expression, pose and projection.

Coordinates: x to the right of the picture, y down, z towards the camera; the cheekbones are at x = ±1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

CAMERA_DISTANCE = 7.0  # in half face widths: a portrait lens, so that perspective is present but mild

# Left half of the picture and the middle line of the 68-point scheme; the other half is its mirror image.
_HALF = {
    0: (-1.00, -0.36, -0.62), 1: (-0.99, -0.10, -0.60), 2: (-0.96, 0.16, -0.56), 3: (-0.90, 0.41, -0.50),
    4: (-0.79, 0.65, -0.40), 5: (-0.63, 0.85, -0.26), 6: (-0.43, 1.01, -0.10), 7: (-0.22, 1.11, 0.05),
    8: (0.00, 1.14, 0.12),
    17: (-0.80, -0.63, -0.10), 18: (-0.68, -0.74, 0.04), 19: (-0.50, -0.78, 0.16), 20: (-0.33, -0.75, 0.24),
    21: (-0.17, -0.69, 0.29),
    27: (0.00, -0.50, 0.32), 28: (0.00, -0.35, 0.43), 29: (0.00, -0.19, 0.56), 30: (0.00, -0.03, 0.68),
    31: (-0.20, 0.09, 0.38), 32: (-0.10, 0.13, 0.44), 33: (0.00, 0.15, 0.47),
    36: (-0.62, -0.43, 0.02), 37: (-0.51, -0.51, 0.12), 38: (-0.37, -0.51, 0.14), 39: (-0.26, -0.41, 0.10),
    40: (-0.37, -0.365, 0.13), 41: (-0.51, -0.365, 0.11),
    48: (-0.36, 0.48, 0.16), 49: (-0.23, 0.40, 0.30), 50: (-0.08, 0.355, 0.38), 51: (0.00, 0.375, 0.39),
    57: (0.00, 0.655, 0.38), 58: (-0.10, 0.645, 0.37), 59: (-0.24, 0.585, 0.31),
    60: (-0.32, 0.48, 0.17), 61: (-0.12, 0.475, 0.36), 62: (0.00, 0.485, 0.37),
    66: (0.00, 0.485, 0.37), 67: (-0.12, 0.475, 0.36),
}  # fmt: skip
# MIRROR[i] is the landmark that i becomes when the picture is flipped.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46]
    + [39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


def _template() -> np.ndarray:
    points = np.zeros((68, 3))
    for i, p in _HALF.items():
        points[i] = p
        points[MIRROR[i]] = (-p[0], p[1], p[2])
    return points


TEMPLATE = _template()
JAW, BROWS, NOSE, EYES, MOUTH = (np.arange(a, b) for a, b in ((0, 17), (17, 27), (27, 36), (36, 48), (48, 68)))
EYE_LEFT, EYE_RIGHT = np.arange(36, 42), np.arange(42, 48)
UPPER_LIP = np.array([49, 50, 51, 52, 53, 61, 62, 63])
LOWER_LIP = np.array([55, 56, 57, 58, 59, 65, 66, 67])
CORNERS = np.array([48, 54, 60, 64])

IDENTITY_MODES = (
    "jaw_width", "face_length", "chin", "eye_size", "eye_spacing", "eye_tilt", "nose_length", "nose_width",
    "mouth_width", "upper_lip", "lower_lip", "mouth_height", "brow_height", "brow_tilt", "forehead", "cheeks",
)  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """State of the face: lips and jaw in [0, 1], `wide` and `brow` in [−1, 1], gaze in eye widths."""

    jaw: float = 0.0  # the jaw drops
    part: float = 0.0  # the lips part without the jaw: the upper one rises, the lower one falls
    wide: float = 0.0  # smile (> 0) or narrow (< 0)
    protrude: float = 0.0  # rounded lips
    press: float = 0.0  # lips rolled in
    tuck: float = 0.0  # lower lip under the upper teeth
    teeth: float = 0.5  # how much of the upper teeth shows in an open mouth
    tongue: float = 0.3  # how high the tongue lies in an open mouth
    blink: float = 0.0
    brow: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in degrees: yaw to the picture's right, pitch downwards, roll clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def matrix(self) -> np.ndarray:
        """float64 (3, 3): rotation from head to camera coordinates."""
        a, b, c = np.deg2rad((self.yaw, self.pitch, self.roll))
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
        tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        return tilt @ nod @ turn


@dataclass(frozen=True)
class View:
    """Position of a head in the image: pixel of its origin (between the cheekbones) and pixels per unit."""

    rotation: np.ndarray
    x: float
    y: float
    scale: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """float64 (…, 2): pixels (x, y) of points (…, 3) in head coordinates."""
        turned = points @ self.rotation.T
        grow = self.scale * CAMERA_DISTANCE / (CAMERA_DISTANCE - turned[..., 2:])
        return turned[..., :2] * grow + (self.x, self.y)

    def ellipsoid(self, centre, radii, *, grow: float = 1.0, square: float = 1.0, points: int = 40) -> np.ndarray:
        """float64 (points, 2): the outline of an ellipsoid in head coordinates; `square` < 1 fills its corners."""
        covariance = (self.rotation * np.square(np.multiply(radii, grow))) @ self.rotation.T
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], 1)
        circle = np.sign(circle) * np.abs(circle) ** square
        outline = circle @ np.linalg.cholesky(covariance[:2, :2]).T
        z = self.rotation[2] @ np.asarray(centre, float)
        scale = self.scale * CAMERA_DISTANCE / (CAMERA_DISTANCE - z)
        return outline * scale + self.project(np.asarray(centre, float))


def identify(modes: np.ndarray) -> np.ndarray:
    """float64 (68, 3): the template with identity `modes` (one standard normal number per IDENTITY_MODES)."""
    m = dict(zip(IDENTITY_MODES, np.clip(modes, -2.2, 2.2), strict=True))
    p = TEMPLATE.copy()
    below = np.clip((p[JAW, 1] - 0.1) / 1.0, 0, 1)
    p[JAW, 0] *= 1 + 0.09 * m["jaw_width"] * np.sin(np.pi * np.clip(below, 0, 0.95) * 0.9) + 0.03 * m["cheeks"]
    p[6:11, 0] *= 1 + 0.10 * m["chin"]
    p[JAW, 1] += 0.08 * m["face_length"] * below
    for eye, side in ((EYE_LEFT, -1), (EYE_RIGHT, 1)):
        centre = p[eye].mean(0)
        p[eye] = centre + (p[eye] - centre) * (1 + 0.08 * m["eye_size"], 1 + 0.17 * m["eye_size"], 1)
        p[eye, 1] += 0.10 * m["eye_tilt"] * -(p[eye, 0] - centre[0]) * side
        p[eye, 0] += side * 0.03 * m["eye_spacing"]
    p[BROWS, 0] += np.sign(p[BROWS, 0]) * 0.025 * m["eye_spacing"]
    p[BROWS, 1] += -0.045 * m["brow_height"] + 0.06 * m["brow_tilt"] * (np.abs(p[BROWS, 0]) - 0.5)
    p[NOSE, 1] += 0.05 * m["nose_length"] * (p[NOSE, 1] + 0.5) / 0.6
    p[31:36, 0] *= 1 + 0.15 * m["nose_width"]
    p[30, 2] += 0.05 * m["nose_length"]
    middle = p[60, 1]
    p[UPPER_LIP[:5], 1] = middle + (p[UPPER_LIP[:5], 1] - middle) * (1 + 0.22 * m["upper_lip"])
    p[LOWER_LIP[:5], 1] = middle + (p[LOWER_LIP[:5], 1] - middle) * (1 + 0.17 * m["lower_lip"])
    p[MOUTH, 0] *= 1 + 0.09 * m["mouth_width"]
    p[MOUTH, 1] += 0.03 * m["mouth_height"] + 0.02 * m["face_length"] + 0.025 * m["nose_length"]
    return p


def express(points: np.ndarray, e: Expression) -> np.ndarray:
    """float64 (68, 3): the face `points` (68, 3) with expression `e`."""
    p = points.copy()
    middle_y = points[60, 1]
    # lips rolled in lose height; rounded ones gain it
    thick = (1 - 0.55 * e.press) * (1 - 0.18 * max(e.wide, 0)) * (1 + 0.22 * e.protrude)
    p[MOUTH, 1] = middle_y + (p[MOUTH, 1] - middle_y) * thick
    p[MOUTH, 0] *= (1 + 0.24 * e.wide) * (1 - 0.38 * e.protrude)
    p[MOUTH, 2] += 0.13 * e.protrude
    p[CORNERS, 1] -= 0.055 * e.wide
    p[CORNERS, 2] -= 0.06 * e.wide
    # the jaw swings: chin and lower lip fall and move back
    p[LOWER_LIP, 1] += (0.40 * e.jaw + 0.05 * e.part) * np.array([0.74, 0.94, 1, 0.94, 0.74, 0.88, 1, 0.88])
    p[CORNERS, 1] += 0.15 * e.jaw
    p[CORNERS, 0] *= 1 - 0.09 * e.jaw
    p[UPPER_LIP, 1] -= 0.05 * e.part + 0.02 * e.jaw
    drop = np.clip((points[JAW, 1] - 0.2) / 0.8, 0, 1)
    p[JAW, 1] += 0.36 * e.jaw * drop
    p[JAW, 2] -= 0.10 * e.jaw * drop
    p[[65, 66, 67], 1] -= 0.03 * e.tuck
    p[[56, 57, 58], 1] -= 0.07 * e.tuck
    p[[55, 59], 1] -= 0.04 * e.tuck
    for top, low in ((37, 41), (38, 40), (43, 47), (44, 46)):
        p[top] += (p[low] - p[top]) * 0.93 * e.blink
    p[BROWS, 1] -= 0.11 * e.brow
    p[[21, 22], 1] += 0.06 * max(-e.brow, 0)
    return p


def forehead(points: np.ndarray, height: float, peak: float = 0.0, count: int = 13) -> np.ndarray:
    """float64 (count, 3): the hairline from temple 16 over the forehead to temple 0, `height` above the temples.

    `peak` > 0 lowers its middle (widow's peak) and raises its sides (receding temples), < 0 does the opposite.
    """
    angle = np.linspace(0, np.pi, count)[:, None]
    right, left = points[16], points[0]
    centre, half = (right + left) / 2, (right - left) / 2
    arc = centre + np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.62 * half * 0.99
    arc[:, 1] -= height * np.sin(angle[:, 0]) ** 0.8
    arc[:, 2] += 0.62 * np.sin(angle[:, 0]) ** 0.7  # the forehead bulges to the plane of the brows
    arc[:, 1] += peak * np.cos(3 * (angle[:, 0] - np.pi / 2)) * np.sin(angle[:, 0]) * 0.14
    return arc


@lru_cache(maxsize=64)
def _catmull_rom(count: int, closed: bool, steps: int) -> np.ndarray:
    """float64 (M, count): the matrix that turns `count` control points into a smooth curve through them."""
    spans = count if closed else count - 1
    rows = np.zeros((spans * steps + (not closed), count))
    for k in range(len(rows)):
        i, t = divmod(k, steps)
        t = t / steps
        weights = 0.5 * np.array(
            [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
        )
        for offset, w in zip((-1, 0, 1, 2), weights, strict=True):
            j = (i + offset) % count if closed else min(max(i + offset, 0), count - 1)
            rows[k, j] += w
    return rows


def smooth(points: np.ndarray, *, closed: bool = False, steps: int = 5) -> np.ndarray:
    """float64 (M, d): a Catmull–Rom curve through `points` (n, d)."""
    return _catmull_rom(len(points), closed, steps) @ points
