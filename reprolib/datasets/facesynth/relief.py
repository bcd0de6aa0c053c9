# ruff: noqa: RUF005 (array + tuple is a sum)
"""The rough relief of a face: a depth field, its normals, and the light on them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import CAMERA_DISTANCE, View

X0, X1, Y0, Y1 = -1.25, 1.25, -1.95, 1.75  # the part of the head that the field covers, in head coordinates


@dataclass(frozen=True)
class Light:
    """A key light of unit `direction` (3,) in camera coordinates, with ambient light and gloss."""

    direction: np.ndarray
    key: np.ndarray  # colour (3,) of the key light
    ambient: np.ndarray  # colour (3,) of what comes from everywhere
    gloss: float = 0.1
    exposure: float = 1.0


def _bell(x, centre, width):
    return np.exp(-0.5 * np.square((x - centre) / width))


def depth(points: np.ndarray, top: float, folds: float, *, columns: int, rows: int) -> np.ndarray:
    """float64 (rows, columns): height of the face surface over the grid X0…X1 × Y0…Y1.

    points: (68, 3) unposed landmarks; top: y of the hairline's middle; folds: depth of nasolabial folds.
    """
    x, y = np.linspace(X0, X1, columns), np.linspace(Y0, Y1, rows)
    jaw, chin = points[10:17], points[8, 1]  # from the side of the chin to the temple
    half = np.interp(y, [top - 0.45, top, top * 0.75 - 0.1, *jaw[::-1, 1]], [0.75, 0.88, 0.98, *jaw[::-1, 0]]) * 1.06
    middle = 0.36 - 0.14 * np.square(y + 0.15) * np.where(y > 0, 0.75, 0.8)
    middle -= 1.1 * np.square(np.clip(top + 0.1 - y, 0, 1))
    t = np.abs(x[None] / half[:, None])
    # a round head, whose sides go on falling beyond its outline so that their normals keep turning away
    dome = np.sqrt(1 - np.square(np.minimum(t, 0.93))) - 2.4 * np.clip(t - 0.93, 0, 0.5)
    z = -0.6 + (middle[:, None] + 0.6) * dome
    under = y[:, None] - np.interp(np.abs(x), points[8:13, 0], points[8:13, 1])[None]
    z -= 1.3 * np.square(np.clip(under + 0.16, 0, 0.6))

    bumps: list[tuple[float, float, float, float, float]] = []  # x, y, width, height, amplitude
    for k, (amplitude, width) in enumerate(((0.02, 0.09), (0.09, 0.085), (0.17, 0.09), (0.27, 0.115))):
        bumps.append((points[27 + k, 0], points[27 + k, 1], width, 0.10, amplitude))
    mouth = points[48:60].mean(0)
    for side, eye, brow, wing in ((-1, slice(36, 42), 19, 31), (1, slice(42, 48), 24, 35)):
        ex, ey = points[eye, :2].mean(0)
        bumps += [
            (ex, ey, 0.21, 0.12, -0.115),
            (ex, ey, 0.13, 0.075, 0.055),
            (side * 0.17, ey - 0.02, 0.07, 0.13, -0.05),
            (points[brow, 0], points[brow, 1] - 0.02, 0.24, 0.06, 0.05),
            (points[wing, 0] * 0.82, points[wing, 1] - 0.03, 0.065, 0.06, 0.10),
            (side * 0.58, -0.14, 0.22, 0.17, 0.075),
            (side * 0.50, 0.42, 0.14, 0.25, -0.05),
            *(
                (side * fx, fy + points[31, 1], 0.045, 0.07, -folds)
                for fx, fy in ((0.30, 0.05), (0.37, 0.17), (0.44, 0.30))
            ),
        ]
    bumps += [
        (mouth[0], mouth[1], 0.30, 0.22, 0.05),
        (0, points[33, 1] + 0.13, 0.028, 0.09, -0.02),
        (0, points[57, 1] + 0.10, 0.16, 0.05, -0.055),
        (0, chin - 0.16, 0.17, 0.12, 0.085),
    ]
    b = np.array(bumps)
    across = _bell(x[None], b[:, :1], b[:, 2:3])
    down = _bell(y[None], b[:, 1:2], b[:, 3:4]) * b[:, 4:]
    return z + down.T @ across


def shade(z: np.ndarray, rotation: np.ndarray, light: Light) -> np.ndarray:
    """float32 (rows, columns, 4): colour of the light (3) and strength of the gloss (1) on a depth field."""
    rows, columns = z.shape
    dy, dx = np.gradient(z, (Y1 - Y0) / (rows - 1), (X1 - X0) / (columns - 1))
    normal = np.stack([-dx, -dy, np.ones_like(z)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = normal @ rotation.T
    facing = normal @ light.direction
    wrapped = np.clip((facing + 0.25) / 1.25, 0, 1)
    hollow = np.clip(1 - 2.6 * np.clip(cv2.GaussianBlur(z, (0, 0), columns / 22) - z, -0.05, 0.2), 0.55, 1.08)
    halfway = light.direction + (0, 0, 1)
    shine = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1)
    out = np.empty((rows, columns, 4), np.float32)
    out[..., :3] = (light.ambient + light.key * wrapped[..., None]) * hollow[..., None]
    out[..., 3] = light.gloss * (shine**24 + 0.25 * shine**6)
    return out


def surface(z: np.ndarray, view: View, height: int, width: int, *, step: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """float32 (H, W) × 2: column and row of the depth field that each pixel shows.

    Solves pixel = project(x, y, z(x, y)) by fixed-point iteration on every `step`-th pixel.
    """
    rows, columns = z.shape
    # without the steepest sides, which no picture shows and on which the iteration would not settle
    smoothed = cv2.GaussianBlur(z, (0, 0), columns / 48)
    z32 = np.maximum(smoothed, -0.25).astype(np.float32)
    gx, gy = np.meshgrid(
        (np.arange(0, width + step, step, dtype=np.float32) - np.float32(view.x)) / np.float32(view.scale),
        (np.arange(0, height + step, step, dtype=np.float32) - np.float32(view.y)) / np.float32(view.scale),
    )
    r = view.rotation.astype(np.float32)
    inverse = np.linalg.inv(r[:2, :2])
    kx, ky = np.float32((columns - 1) / (X1 - X0)), np.float32((rows - 1) / (Y1 - Y0))
    zs = near = np.float32(0.2)
    for k in range(6):
        grow = (CAMERA_DISTANCE - near) / CAMERA_DISTANCE
        px = gx * grow - r[0, 2] * zs
        py = gy * grow - r[1, 2] * zs
        x = inverse[0, 0] * px + inverse[0, 1] * py
        y = inverse[1, 0] * px + inverse[1, 1] * py
        u, v = (x - X0) * kx, (y - Y0) * ky
        found = cv2.remap(z32, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        zs = found if k == 0 else np.float32(0.45) * found + np.float32(0.55) * zs  # damped: steep sides oscillate
        near = r[2, 0] * x + r[2, 1] * y + r[2, 2] * zs
    u, v = cv2.GaussianBlur(u, (0, 0), 1.2), cv2.GaussianBlur(v, (0, 0), 1.2)
    full = (gx.shape[1] * step, gx.shape[0] * step)
    shift = np.float32([[1.0 / step, 0, 0], [0, 1.0 / step, 0]])
    u, v = (
        cv2.warpAffine(m, shift, full, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
        for m in (u, v)
    )
    return u[:height, :width], v[:height, :width]
