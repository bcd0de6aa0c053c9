"""Things in front of a face: hands, microphones, scarves and masks, cups, and other objects."""

from __future__ import annotations

import cv2
import numpy as np

from .appearance import SKIN_TONES, noise, tone

KINDS = ("hand", "microphone", "scarf", "cup", "object")


def paste_occluder(
    image: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    label: int,
    near: tuple[float, float] | None = None,
    scale: float | None = None,
    kind: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Put one random occluder over a rendered or real face.

    image: uint8 (H, W, 3); labels: uint8 (H, W); label: the occluder's label; near: pixel (x, y) of the middle
    of the face, else the image's; scale: width of the face in pixels, else 0.55 of the image's shorter side;
    kind: one of KINDS, else a random one. Returns new arrays of the same shapes and types.
    """
    h, w = labels.shape
    scale = 0.55 * min(h, w) if scale is None else float(scale)
    near = (w / 2, h / 2) if near is None else near
    kind = KINDS[rng.choice(len(KINDS), p=(0.3, 0.15, 0.18, 0.12, 0.25))] if kind is None else kind
    draw = {"hand": _hand, "microphone": _microphone, "scarf": _scarf, "cup": _cup, "object": _object}[kind]
    # the occluder is lit like the image: as bright as the surroundings of the face are
    y0, y1, x0, x1 = (
        int(np.clip(v, 0, m))
        for v, m in (
            (near[1] - scale / 2, h - 1),
            (near[1] + scale / 2, h),
            (near[0] - scale / 2, w - 1),
            (near[0] + scale / 2, w),
        )
    )
    face = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].reshape(-1, 3).astype(np.float32)
    middle = np.median(face, axis=0)
    exposure = float(np.clip(np.percentile(face, 90) / 215, 0.15, 1.15))
    colour, mask, height = draw(h, w, near, scale, rng, middle, exposure)
    shaded = colour * _relief_light(height, scale, rng)[..., None]
    out = image.astype(np.float32)
    drop = rng.uniform(0.01, 0.05) * scale
    shift = np.float32([[1, 0, rng.uniform(-1, 1) * drop], [0, 1, drop]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(mask, shift, (w, h)), (0, 0), max(0.5, 0.03 * scale))
    out *= 1 - rng.uniform(0.2, 0.5) * shadow[..., None]
    grain = rng.uniform(0.5, 3.0) * rng.standard_normal((h, w, 1), dtype=np.float32)
    out += mask[..., None] * (shaded + grain - out)
    new = labels.copy()
    new[mask >= 0.5] = label
    return np.clip(out + 0.5, 0, 255).astype(np.uint8), new


def _relief_light(height: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """float32 (H, W): brightness of a surface of `height` pixels under a light from above."""
    turn = rng.uniform(-1.2, 1.2)
    dx, dy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
    light = np.array([np.sin(turn) * 0.6, -0.55, 0.75])
    light /= np.linalg.norm(light)
    facing = (-dx * light[0] - dy * light[1] + light[2]) / np.sqrt(1 + dx * dx + dy * dy)
    return (0.42 + 0.72 * np.clip(facing, 0, 1)).astype(np.float32)


def _frame(h, w, centre, scale, angle):
    """float32 (H, W) × 2: coordinates in face widths from `centre`, turned by `angle`."""
    x = (np.arange(w, dtype=np.float32) - centre[0])[None] / np.float32(scale)
    y = (np.arange(h, dtype=np.float32) - centre[1])[:, None] / np.float32(scale)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _capsule(x, y, a, b, ra, rb):
    """float32 (H, W): height over the plane of a rod from `a` to `b` with end radii ra, rb; negative outside."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    r = ra + (rb - ra) * t
    d2 = np.square(x - a[0] - t * dx) + np.square(y - a[1] - t * dy)
    return np.where(d2 < r * r, np.sqrt(np.maximum(r * r - d2, 0)), r - np.sqrt(d2))


def _cover(height, scale):
    """float32 (H, W): opacity of a thing whose height is negative outside (in face widths)."""
    # inside, the root rises so steeply that only the outside needs the ramp
    return np.clip(0.75 + height * scale * 0.75, 0, 1).astype(np.float32)


def _hand(h, w, near, scale, rng, middle, exposure):
    own = tone(SKIN_TONES, rng.random()) * exposure
    colour = middle * rng.uniform(0.85, 1.1) if rng.random() < 0.5 and middle.mean() > 25 else own
    angle = rng.uniform(-1.3, 1.3) + (np.pi if rng.random() < 0.25 else 0)
    out = rng.uniform(0.2, 0.5)  # how far the fingertips' middle lies from the middle of the face
    turn = rng.uniform(0, 2 * np.pi)
    centre = (near[0] + np.cos(turn) * out * scale, near[1] + (0.15 + np.sin(turn) * out * 0.9) * scale)
    x, y = _frame(h, w, centre, scale, angle)
    size = rng.uniform(0.8, 1.15)
    bend, spread = rng.uniform(0.6, 1.0), rng.uniform(0.05, 0.32)
    palm = _capsule(x, y, (0.0, 0.42 * size), (0.02, 0.60 * size), 0.235 * size, 0.22 * size)
    arm = _capsule(x, y, (0.0, 0.7 * size), (0.1 * size, 2.6), 0.16 * size, 0.24 * size)
    height = np.maximum(palm * 0.6, arm * 0.8)
    tips = []
    for k, (length, radius) in enumerate(((0.40, 0.056), (0.48, 0.060), (0.45, 0.058), (0.34, 0.050))):
        root = np.array([(-0.165 + 0.11 * k) * size, 0.28 * size])
        lean = spread * (k - 1.5) + rng.normal(0, 0.05)
        knuckle = root + np.array([np.sin(lean), -np.cos(lean)]) * length * size * 0.5
        tip = knuckle + np.array([np.sin(lean * 0.7), -np.cos(lean * 0.7)]) * length * size * 0.5 * bend
        r = radius * size
        height = np.maximum(
            height, np.maximum(_capsule(x, y, root, knuckle, r * 1.1, r), _capsule(x, y, knuckle, tip, r, r * 0.85))
        )
        tips.append((tip, r))
    thumb = (np.array([-0.2, 0.5]) * size, np.array([-0.40 - 0.08 * spread, 0.22]) * size)
    height = np.maximum(height, _capsule(x, y, *thumb, 0.075 * size, 0.055 * size))
    mask = _cover(height, scale)
    skin = (
        np.float32(colour)
        * (1 + 0.03 * noise(1, h, w, rng, zoom=scale / 150) + 0.02 * noise(2, h, w, rng, zoom=scale / 150))[..., None]
    )
    if rng.random() < 0.6:  # a sleeve
        sleeve = np.clip((y - rng.uniform(0.8, 1.1) * size) * scale, 0, 1)[..., None]
        skin += sleeve * (np.float32(rng.uniform(10, 230, 3) * exposure) - skin)
    if rng.random() < 0.6:  # nails: the back of the hand is seen
        nail = np.max(
            [np.clip(1.4 - np.hypot((x - t[0]) / (r * 0.6), (y - t[1]) / (r * 0.75)), 0, 1) for t, r in tips], 0
        )[..., None]
        skin += 0.5 * nail * (np.float32(colour) * (1.12, 1.0, 1.0) + 12 - skin)
    return skin, mask, (np.maximum(height, 0) * scale * 0.8).astype(np.float32)


def _microphone(h, w, near, scale, rng, middle, exposure):
    angle = rng.uniform(-0.9, 0.9)
    centre = (near[0] + rng.uniform(-0.2, 0.2) * scale, near[1] + rng.uniform(0.25, 0.55) * scale)
    x, y = _frame(h, w, centre, scale, angle)
    r = rng.uniform(0.10, 0.19)
    ball = _capsule(x, y, (0, 0), (0, 0.04), r, r * 0.98)
    rod = _capsule(x, y, (0, r), (0, 2.5), r * 0.62, r * 0.5)
    height = np.maximum(ball, rod * 0.9)
    foam = np.float32(rng.uniform(15, 70) if rng.random() < 0.6 else rng.uniform(90, 190)) * exposure
    grain = 1 + 0.25 * np.sin(x * 90 / r * 0.1) * np.sin(y * 90 / r * 0.1) + 0.1 * noise(2, h, w, rng)
    rod_colour = rng.uniform(15, 120) * exposure + rng.normal(0, 8, 3)
    colour = np.where(
        (ball > 0)[..., None], (foam * grain)[..., None] + np.zeros(3, np.float32), np.float32(rod_colour)
    )
    band = np.exp(-0.5 * np.square((y - r * 1.05) / (0.12 * r)))[..., None]
    colour = colour + band * 60 * exposure
    return colour.astype(np.float32), _cover(height, scale), (np.maximum(height, 0) * scale).astype(np.float32)


def _scarf(h, w, near, scale, rng, middle, exposure):
    angle = rng.normal(0, 0.12)
    x, y = _frame(h, w, near, scale, angle)
    medical = rng.random() < 0.45
    top = rng.uniform(0.0, 0.3)
    if medical:
        edge_top = top + 0.25 * np.square(x) - 0.06 * np.exp(-np.square(x / 0.12))
        inside = np.minimum(
            np.minimum(y - edge_top, 0.66 + rng.uniform(0, 0.1) - 0.5 * np.square(x) - y), 0.50 + 0.05 * y - np.abs(x)
        )
        folds = 0.012 * np.abs(np.sin((y - top) * 34)) * (np.abs(x) < 0.42)
        base = np.array(((150, 190, 210), (235, 235, 235), (30, 30, 34), (170, 205, 180))[rng.integers(4)], float)
    else:
        wave = 0.03 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6))
        inside = np.minimum(y - top - wave - 0.1 * np.square(x), 1.15 + wave - y)
        inside = np.minimum(inside, 0.62 + 0.35 * np.maximum(y - 0.5, 0) - np.abs(x))
        folds = 0.035 * np.abs(np.sin((y * 1.0 + 0.35 * x * rng.choice((-1, 1)) + wave) * rng.uniform(7, 15)))
        base = rng.uniform(10, 235, 3) if rng.random() < 0.6 else middle * rng.uniform(0.7, 1.15) / max(exposure, 0.2)
    bulge = 0.25 * np.sqrt(np.clip(0.45 - np.square(x), 0, 1)) + folds
    colour = np.float32(base * exposure) * (1 + 0.05 * noise(2, h, w, rng, zoom=scale / 120))[..., None]
    if not medical and rng.random() < 0.5:
        other = np.float32(rng.uniform(10, 235, 3) * exposure)
        stripe = (
            np.sin((x * np.cos(a := rng.uniform(0, 3)) + y * np.sin(a)) * rng.uniform(18, 50)) > rng.uniform(-0.3, 0.5)
        )[..., None]
        colour = np.where(stripe, other, colour)
    mask = np.clip(0.5 + inside * scale, 0, 1).astype(np.float32)
    return colour.astype(np.float32), mask, (bulge * scale).astype(np.float32)


def _cup(h, w, near, scale, rng, middle, exposure):
    angle = rng.normal(0, 0.3)
    centre = (near[0] + rng.uniform(-0.25, 0.25) * scale, near[1] + rng.uniform(0.35, 0.6) * scale)
    x, y = _frame(h, w, centre, scale, angle)
    r, tall, taper = rng.uniform(0.17, 0.27), rng.uniform(0.4, 0.65), rng.uniform(0.0, 0.25)
    half = r * (1 - taper * np.clip(y / tall, 0, 1))
    curve = 0.22 * np.sqrt(np.clip(1 - np.square(x / r), 0, 1)) * r
    inside = np.minimum(np.minimum(half - np.abs(x), y + curve), tall + curve - y)
    bulge = np.sqrt(np.clip(1.02 - np.square(x / half), 0.02, 1)) * r
    base = rng.uniform(20, 240, 3)
    colour = np.float32(base * exposure) + np.zeros((h, w, 3), np.float32)
    mouth = np.clip(1 - np.square(x / (r * 0.93)) - np.square(y / (0.20 * r)), 0, 1)[..., None] > 0
    colour = np.where(mouth, colour * 0.45, colour)
    if rng.random() < 0.5:
        stripe = (np.abs(y - tall * 0.55) < rng.uniform(0.04, 0.12))[..., None]
        colour = np.where(stripe, np.float32(rng.uniform(10, 240, 3) * exposure), colour)
    mask = np.clip(0.5 + inside * scale, 0, 1).astype(np.float32)
    return colour, mask, (bulge * scale).astype(np.float32)


def _object(h, w, near, scale, rng, middle, exposure):
    turn, out = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.55)
    centre = (near[0] + np.cos(turn) * out * scale, near[1] + np.sin(turn) * out * 1.2 * scale)
    x, y = _frame(h, w, centre, scale, rng.uniform(0, np.pi))
    a, b = rng.uniform(0.10, 0.36, 2)
    if rng.random() < 0.35:  # a book, a telephone, a sheet of paper
        inside = np.minimum(a - np.abs(x), 1.3 * b - np.abs(y))
        bulge = np.zeros_like(inside) + 0.05 * x
    else:
        angle = np.arctan2(y / b, x / a)
        rim = 1 + sum(rng.normal(0, 0.16 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 5))
        radius = np.sqrt(np.square(x / a) + np.square(y / b))
        inside = (rim - radius) * min(a, b)
        bulge = 0.5 * min(a, b) * np.sqrt(np.clip(1.05 - np.square(radius / rim), 0.02, 1))
    likeness = rng.random()
    chroma = rng.random() ** 2.5
    other_base = np.clip(rng.uniform(10, 235) + chroma * rng.uniform(-100, 100, 3), 5, 245) * exposure
    base = middle * rng.uniform(0.75, 1.15) if likeness < 0.4 else other_base
    other = base + rng.normal(0, 1, 3) * rng.uniform(5, 60)
    pattern = np.clip(0.5 + rng.uniform(0.3, 2.0) * noise(int(rng.integers(0, 4)), h, w, rng, zoom=scale / 90), 0, 1)[
        ..., None
    ]
    colour = np.float32(base) + pattern * np.float32(other - base)
    mask = np.clip(0.5 + inside * scale, 0, 1).astype(np.float32)
    return colour.astype(np.float32), mask, (bulge * scale).astype(np.float32)
