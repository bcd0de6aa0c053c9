"""Faults of a camera: motion blur, defocus, low resolution, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Camera:
    """Faults of one camera at one moment; lengths in pixels of an image 128 pixels high."""

    motion: float = 0.0
    motion_angle: float = 0.0
    defocus: float = 0.0
    resolution: float = 1.0  # width and height that the sensor resolves, as a share of the image's
    noise: float = 0.0  # standard deviation in grey levels
    jpeg: int = 0  # quality; 0 = not compressed


def draw_camera(
    rng: np.random.Generator, *, blur: float, noise: float, jpeg: float, low_resolution: float, strength: float
) -> Camera:
    """A camera; the first four arguments are probabilities, `strength` scales how bad its faults are."""
    faults = rng.random(4) < (blur, noise, jpeg, low_resolution)
    moving = rng.random() < 0.5
    size = rng.uniform(0.4, 1.0, 4)
    return Camera(
        motion=float(faults[0] * moving * size[0] * 6.5 * strength),
        motion_angle=float(rng.uniform(0, np.pi)),
        defocus=float(faults[0] * (not moving) * size[0] * 1.9 * strength),
        resolution=float(1 - faults[3] * np.clip(size[3] * 0.62 * strength, 0, 0.8)),
        noise=float(1.2 + faults[1] * size[1] * 17 * strength),
        jpeg=int(np.clip(faults[2] * (72 - 55 * size[2] * strength), 0, 95)) if faults[2] else 0,
    )


def expose(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3): `image` (float32 (H, W, 3), 0…255) as taken by `camera`."""
    h, w = image.shape[:2]
    unit = h / 128
    if camera.motion * unit > 1.2:
        image = cv2.filter2D(
            image, -1, _streak(camera.motion * unit, camera.motion_angle), borderType=cv2.BORDER_REPLICATE
        )
    if camera.defocus * unit > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), camera.defocus * unit)
    if camera.resolution < 1:
        small = (max(8, round(w * camera.resolution)), max(8, round(h * camera.resolution)))
        image = cv2.resize(
            cv2.resize(image, small, interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_LINEAR
        )
    if camera.noise:
        grain = rng.standard_normal((h, w, 3), dtype=np.float32)
        image = image + grain * np.float32(camera.noise)
    out = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if camera.jpeg:
        _, code = cv2.imencode(".jpg", out[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, camera.jpeg))
        out = np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])
    return out


def _streak(length: float, angle: float) -> np.ndarray:
    n = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((n, n), np.uint8)
    d = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.round(((n - 1) / 2 + np.array([-d, d])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    if kernel.sum() == 0:
        kernel[n // 2, n // 2] = 1
    return kernel.astype(np.float32) / kernel.sum()
