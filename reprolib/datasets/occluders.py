"""Occluders pasted over photographs of faces: those of facesynth, and sunglasses, matched to the photo's light."""

from __future__ import annotations

import cv2
import numpy as np

from reprolib.datasets.facesynth import occluders as drawn

KINDS = (*drawn.KINDS, "sunglasses")  # hand, microphone, scarf (or medical mask), cup, object, sunglasses
SHARES = (0.28, 0.1, 0.18, 0.1, 0.22, 0.12)
COVERED = (0.08, 0.6)  # bounds of the share of the face that an occluder hides
ATTEMPTS = 20
JAW, EYES = slice(0, 17), (slice(36, 42), slice(42, 48))
MIDDLE = (27, 28, 29, 30, 33, 51)  # bridge and tip of the nose, upper lip


def paste(
    image: np.ndarray, landmarks: np.ndarray, face: np.ndarray, rng: np.random.Generator, *, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 (H, W, 3), occluder bool (H, W)): a copy of `image` with one occluder over its face.

    image: uint8 (H, W, 3). landmarks: float (68, 2), pixels (x, y). face: bool (H, W), the whole face. kind: one of
    `KINDS`, else drawn at random. The occluder is drawn again until it hides a share of the face within `COVERED`, at
    most `ATTEMPTS` times; without success the image comes back unchanged and the mask is empty. The occluder has the
    brightness, light direction, colour cast and noise of the face; its edge is as soft as the photo, and it casts a
    soft shadow. Pixels that are neither occluder, edge nor shadow do not change.
    """
    jaw = landmarks[JAW]
    width = float(np.ptp(jaw[:, 0]))
    for _ in range(ATTEMPTS):
        chosen = rng.choice(KINDS, p=SHARES) if kind is None else kind
        if chosen == "sunglasses":
            pasted, mask = _sunglasses(image, landmarks, width, rng)
        else:
            near = landmarks[list(MIDDLE)].mean(axis=0) + 0.08 * width * rng.normal(size=2)
            blank = np.zeros(image.shape[:2], np.uint8)
            pasted, mask = drawn.paste_occluder(
                image, blank, rng, label=1, near=tuple(near), scale=1.05 * width, kind=str(chosen)
            )
            mask = mask.astype(bool)
            if chosen != "hand":  # drawn colours are more vivid than those of cloth and things in photographs
                colour = pasted[mask].astype(np.float32)
                grey = colour.mean(axis=-1, keepdims=True)
                pasted[mask] = np.clip(grey + rng.uniform(0.25, 0.8) * (colour - grey) + 0.5, 0, 255).astype(np.uint8)
        if COVERED[0] <= mask[face].mean() <= COVERED[1]:
            lit = _in_light(image, pasted, mask, face)
            return _soft_edge(lit, mask, width), mask
    return image.copy(), np.zeros(image.shape[:2], bool)


def _in_light(image: np.ndarray, pasted: np.ndarray, mask: np.ndarray, face: np.ndarray) -> np.ndarray:
    """`pasted` with the occluder's pixels lit and coloured as the face is.

    A plane is fitted to the face's brightness: its slope is the direction of the light. The colour cast is that of
    the image's mean, as a white balance would estimate it.
    """
    grey = image.astype(np.float32).mean(axis=-1)
    y, x = (axis.astype(np.float32) for axis in np.nonzero(face))
    plane = np.linalg.lstsq(np.stack([x, y, np.ones_like(x)], axis=1), grey[face], rcond=None)[0]
    rows, columns = np.nonzero(mask)
    brightness = (plane[0] * columns + plane[1] * rows + plane[2]) / max(float(grey[face].mean()), 1.0)
    mean = image.reshape(-1, 3).mean(axis=0) + 1.0
    cast = np.clip((mean / mean.mean()) ** 0.5, 0.85, 1.15)
    lit = pasted.astype(np.float32)
    lit[mask] *= np.clip(brightness, 0.55, 1.35)[:, None] * cast
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _soft_edge(image: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    """`image` with the occluder's inside as slightly blurred as the photo, and its edge feathered.

    The feather is about 2 % of the face's width.
    """
    sigma = max(0.6, 0.008 * width)
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    reach = 2 * max(1, round(sigma)) + 1
    band = cv2.dilate(mask.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    weight = cv2.GaussianBlur(band, (0, 0), sigma / 2)[..., None]
    weight = weight * np.float32(0.9)  # a trace of the grain stays
    return np.clip(image + weight * (blurred.astype(np.float32) - image) + 0.5, 0, 255).astype(np.uint8)


def _sunglasses(image: np.ndarray, landmarks: np.ndarray, width: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Dark glasses on the eyes: two lenses with a reflection, a bridge and arms to the edge of the jaw line."""
    right, left = (landmarks[eye].mean(axis=0) for eye in EYES)
    across = left - right
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    half = np.array([rng.uniform(0.36, 0.46), rng.uniform(0.27, 0.40)]) * np.linalg.norm(across)
    roundness = rng.uniform(2.0, 5.0)  # exponent of the superellipse: 2 an ellipse, 5 nearly a rectangle
    h, w = image.shape[:2]
    inside = np.zeros((h, w), np.float32)
    turned = np.zeros((h, w), np.float32)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    grid_y, grid_x = np.mgrid[:h, :w].astype(np.float32)
    for eye in (right, left):
        x, y = grid_x - eye[0], grid_y - eye[1] - 0.12 * half[1]
        u, v = (c * x + s * y) / half[0], (c * y - s * x) / half[1]
        radius = (np.abs(u) ** roundness + np.abs(v) ** roundness) ** (1 / roundness)
        inside = np.maximum(inside, np.clip((1 - radius) * half[1] + 0.5, 0, 1))
        turned = np.where(np.abs(u) <= 1.1, v, turned)
    # bridge and arms are strokes
    frame = np.zeros((h, w), np.uint8)
    thick = max(1, round(0.03 * width))
    brow = -0.35 * half[1] * np.array([-s, c])
    for a, b in ((right, left), (right, landmarks[0]), (left, landmarks[16])):
        start, end = (tuple(int(v) for v in np.rint(16 * (p + brow))) for p in (a, b))
        cv2.line(frame, start, end, 255, thick, cv2.LINE_AA, shift=4)
    frame = frame.astype(np.float32) / 255
    alpha = np.maximum(inside, frame)
    dark = rng.uniform(8, 45) + rng.uniform(-8, 8, 3)
    light = 1 + rng.uniform(0.2, 1.6) * np.clip(0.4 - 0.6 * turned, 0, 1)  # the sky is reflected in the upper half
    colour = np.float32(dark) * light[..., None]
    drop = max(1.0, 0.02 * width)
    shadow = cv2.GaussianBlur(
        cv2.warpAffine(alpha, np.float32([[1, 0, 0], [0, 1, drop]]), (w, h)), (0, 0), max(0.6, 0.02 * width)
    )
    out = image.astype(np.float32) * (1 - 0.3 * shadow[..., None])
    opacity = rng.uniform(0.85, 1.0) * alpha[..., None]
    out += opacity * (colour - out)
    return np.clip(out + 0.5, 0, 255).astype(np.uint8), alpha >= 0.5
