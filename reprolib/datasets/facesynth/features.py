# ruff: noqa: RUF005 (array + tuple is a sum)
"""Painting eyes, brows and mouth, from landmarks in head coordinates."""

from __future__ import annotations

import cv2
import numpy as np

from . import parts
from .appearance import noise_bank
from .canvas import Canvas
from .geometry import smooth
from .head import Head


def paint_brows(canvas: Canvas, head: Head) -> None:
    p = head.points
    weight = head.person.brow_weight
    hairs = cv2.resize(noise_bank()[1][:256, :256], canvas.size[::-1], interpolation=cv2.INTER_LINEAR)
    for index, label in ((range(17, 22), parts.BROW_L), (range(26, 21, -1), parts.BROW_R)):
        line = p[list(index)]  # from the temple to the nose
        thick = np.array([0.012, 0.035, 0.05, 0.062, 0.048])[:, None] * (0.65 + 0.6 * weight)
        up, down = line + thick * (0, -0.75, 0), line + thick * (0, 1.0, 0)
        outline = head.view.project(np.concatenate([smooth(up), smooth(down[::-1])]))
        mask = canvas.mask(outline, soft=head.px(0.014))
        density = np.clip(0.30 + 0.62 * weight + 0.16 * hairs, 0, 1)
        canvas.paint(mask * density, head.person.brow)
        canvas.labels[mask >= 0.5] = label


def paint_eyes(canvas: Canvas, head: Head) -> None:
    p, e, person = head.points, head.expression, head.person
    for corners, label in ((range(36, 42), parts.EYE_L), (range(42, 48), parts.EYE_R)):
        a, b, c, d, f, g = (p[i] for i in corners)
        upper, lower = smooth(np.array([a, b, c, d])), smooth(np.array([d, f, g, a]))
        outline = head.view.project(np.concatenate([upper, lower]))
        mask = canvas.mask(outline)
        if e.blink < 0.85:
            white = np.array((238, 231, 226)) * 0.93
            canvas.paint(mask, white, label)
            centre = (a + d) / 2 + (e.gaze_x * 0.13, e.gaze_y * 0.06 - 0.01, 0.1)
            x, y = head.view.project(centre)
            turn = np.abs(head.view.rotation[2, 2])
            for radius, colour, soft in (
                (0.118, person.iris * 0.5, 0.008),
                (0.098, person.iris, 0.014),
                (0.05, (14, 12, 12), 0.006),
            ):
                disc = _disc(x, y, head.px(radius) * turn, head.px(radius))
                canvas.paint(canvas.mask(disc, soft=head.px(soft)) * mask, colour)
            lid = canvas.strokes([head.view.project(upper + (0, 0.02, 0))], head.px(0.05), soft=head.px(0.02))
            canvas.darken(lid * mask, 0.6)
            pink = _disc(
                *head.view.project(a * 0.05 + d * 0.95 if label == parts.EYE_L else a * 0.95 + d * 0.05),
                *[head.px(0.035)] * 2,
            )
            canvas.paint(canvas.mask(pink, soft=head.px(0.012)) * mask * 0.7, person.skin * (0.92, 0.66, 0.62))
        else:
            canvas.labels[mask >= 0.5] = label
        lash = head.px(0.028 + 0.03 * person.makeup)
        canvas.paint(canvas.strokes([head.view.project(upper)], lash, soft=head.px(0.012)) * 0.85, person.brow * 0.3)
        canvas.darken(
            canvas.strokes([head.view.project(lower)], head.px(0.018), soft=head.px(0.012)), 0.66 - 0.2 * person.makeup
        )
        crease = upper + (0, -0.05, 0.01) + np.array([0, -0.03, 0]) * np.sin(np.linspace(0, np.pi, len(upper)))[:, None]
        canvas.darken(canvas.strokes([head.view.project(crease)], head.px(0.02), soft=head.px(0.016)), 0.70)


def glint_eyes(canvas: Canvas, head: Head) -> None:
    """The reflection of the key light on both eyes, after everything else is lit."""
    e, d = head.expression, head.light.direction
    for first, label in ((36, parts.EYE_L), (42, parts.EYE_R)):
        centre = (head.points[first] + head.points[first + 3]) / 2 + (e.gaze_x * 0.13, e.gaze_y * 0.06 - 0.01, 0.1)
        x, y = head.view.project(centre)
        spot = _disc(x + head.px(0.045) * d[0], y + head.px(0.045) * d[1], head.px(0.018), head.px(0.018))
        mask = canvas.mask(spot, soft=head.px(0.006)) * (canvas.labels == label)
        canvas.paint(mask * 0.75, np.array((255, 255, 255)) * min(1.0, head.light.key.mean() + 0.2))


def _disc(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def paint_mouth(canvas: Canvas, head: Head) -> None:
    """Cavity, tongue and teeth, then the lips around them."""
    p, person = head.points, head.person
    outer_up, outer_low = smooth(p[48:55]), smooth(np.concatenate([p[54:60], p[48:49]]))
    inner_up, inner_low = smooth(p[60:65]), smooth(np.concatenate([p[64:68], p[60:61]]))
    project = head.view.project
    gap = head.px(float((p[66] - p[62])[1]))
    whole = canvas.mask(project(np.concatenate([outer_up, outer_low])), soft=head.px(0.012))
    hole = canvas.mask(project(np.concatenate([inner_up, inner_low])))
    if gap > 0.8:
        _paint_inside(canvas, head, hole, inner_up, inner_low)
    upper = canvas.mask(project(np.concatenate([outer_up, inner_up[::-1]])), soft=head.px(0.010))
    lower = canvas.mask(project(np.concatenate([outer_low, inner_low[::-1]])), soft=head.px(0.010))
    wrinkles = _lip_wrinkles(canvas, head)
    lip = person.lip.astype(np.float32)
    free = 1 - hole if gap > 0.8 else np.float32(1)
    canvas.paint(np.minimum(upper * free, whole), wrinkles * (lip * np.float32(0.86)), parts.UPPER_LIP)
    canvas.paint(np.minimum(lower * free, whole), wrinkles * lip, parts.LOWER_LIP)
    # the upper lip turns away from the light at its edge to the mouth, the lower one at its foot
    body = head.px(0.03)
    canvas.darken(canvas.strokes([project(inner_up - (0, 0.02, 0))], body, soft=body) * upper * free, 0.78)
    canvas.darken(canvas.strokes([project(outer_low - (0, 0.015, 0))], body, soft=body) * lower * free, 0.80)
    ridge = smooth((p[[56, 57, 58]] + p[[65, 66, 67]]) / 2)
    shine = canvas.strokes([project(ridge)], head.px(0.035), soft=head.px(0.025)) * lower * free
    canvas.paint(shine * min(0.75, 0.16 + 0.5 * head.light.gloss + 0.3 * person.makeup), (255, 238, 232))
    bow = canvas.strokes([project(outer_up[4:-4] + (0, -0.012, 0))], head.px(0.012), soft=head.px(0.012))
    canvas.paint(bow * (1 - whole) * 0.25, person.skin * 1.12)
    # the line between closed lips, and the shadowed corners
    line = canvas.strokes([project(inner_up)], max(0.6, head.px(0.018)), soft=head.px(0.01))
    if gap <= 0.8:
        canvas.darken(line, 0.42)
    for corner in project(p[[60, 64]]):
        canvas.darken(canvas.mask(_disc(*corner, head.px(0.03), head.px(0.02)), soft=head.px(0.018)), 0.6)


def _lip_wrinkles(canvas: Canvas, head: Head) -> np.ndarray:
    """float32 (H, W, 1): fine furrows across the lips, plain where they would be smaller than a pixel."""
    h, w = canvas.size
    if head.view.scale < 60:
        return np.ones((h, w, 1), np.float32)
    centre = head.landmarks[48:60].mean(0)
    zoom = 230 / head.view.scale
    r = head.view.rotation[:2, :2] * zoom
    matrix = np.array([[r[0, 0], r[1, 0], 256], [r[0, 1] * 0.3, r[1, 1] * 0.3, 256]])
    matrix[:, 2] -= matrix[:, :2] @ centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    furrows = cv2.warpAffine(noise_bank()[3], matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return (1 + 0.04 * furrows)[..., None]


def _paint_inside(canvas: Canvas, head: Head, hole: np.ndarray, inner_up: np.ndarray, inner_low: np.ndarray) -> None:
    p, e, person = head.points, head.expression, head.person
    project = head.view.project
    height = float((p[66] - p[62])[1])
    dark = person.lip * 0.22 + (22, 4, 4)
    canvas.paint(hole, dark, parts.CAVITY)
    if e.tongue > 0.05:
        tip = np.clip(e.tongue, 0, 1.2) * height
        half = 0.72 * abs(p[64, 0] - p[60, 0]) / 2
        angle = np.linspace(0, np.pi, 16)
        low = p[66] - (0, 0.01, 0.05)
        arch = low + np.stack([half * np.cos(angle), -tip * np.sin(angle) ** 0.7, np.zeros(16)], 1)
        foot = low + np.array([(-half, 0.12, 0), (half, 0.12, 0)])
        tongue = canvas.mask(project(np.concatenate([arch, foot])), soft=head.px(0.012)) * hole
        colour = person.lip * 0.45 + np.array((196, 100, 100)) * 0.45
        canvas.paint(tongue, colour, parts.TONGUE)
        groove = np.array([low + (0, -tip * 0.85, 0), low])
        canvas.darken(canvas.strokes([project(groove)], head.px(0.025), soft=head.px(0.02)) * tongue, 0.82)
        rim = canvas.strokes([project(arch)], head.px(0.03), soft=head.px(0.025)) * tongue
        canvas.darken(rim, 0.72)
    _paint_teeth(canvas, head, hole, inner_up, e.teeth * 0.13, 1)
    if height > 0.12:
        _paint_teeth(canvas, head, hole, inner_low[::-1], max(0.0, e.teeth - 0.45) * 0.12, -1)
    # everything in the mouth lies in the shadow of the lips
    canvas.darken(canvas.strokes([project(inner_up)], head.px(0.05), soft=head.px(0.035)) * hole, 0.66)
    edge = canvas.strokes([project(np.concatenate([inner_up, inner_low]))], head.px(0.02), soft=head.px(0.015))
    canvas.darken(edge * hole, 0.7)


def _paint_teeth(canvas: Canvas, head: Head, hole: np.ndarray, edge: np.ndarray, length: float, down: int) -> None:
    if head.px(length) < 0.7:
        return
    row = edge[2:-2] + (0, 0, -0.04)
    bend = np.sin(np.linspace(0.25, np.pi - 0.25, len(row)))[:, None]
    tips = row + np.array([0, down * length, 0]) * bend
    mask = (
        canvas.mask(head.view.project(np.concatenate([row - (0, down * 0.05, 0), tips[::-1]])), soft=head.px(0.006))
        * hole
    )
    shade = 1.0 if down > 0 else 0.82
    canvas.paint(mask, head.person.teeth * shade, parts.TEETH)
    if head.view.scale < 50:
        return
    gaps = np.linspace(0, len(row) - 1, 9).round().astype(int)[1:-1]
    lines = [head.view.project(np.array([row[k] - (0, down * 0.05, 0), tips[k]])) for k in gaps]
    canvas.darken(canvas.strokes(lines, 1.0, soft=0.7) * mask, 0.72)
