# ruff: noqa: RUF005 (array + tuple is a sum)
"""Painting hair behind and in front of a face, and glasses."""

from __future__ import annotations

import cv2
import numpy as np

from . import parts
from .appearance import noise_bank
from .canvas import Canvas
from .geometry import smooth
from .head import SKULL, SKULL_RADII, Head


def _facing(canvas: Canvas, head: Head) -> np.ndarray:
    """float64 (H, W): how much the round of the head faces the light."""
    h, w = canvas.size
    cx, cy = head.view.project(np.array(SKULL))
    d = head.light.direction
    nx = np.clip((np.arange(w) - cx) / head.px(1.25), -1, 1)[None]
    ny = np.clip((np.arange(h) - cy) / head.px(1.5), -1, 0.5)[:, None]
    nz = np.sqrt(np.clip(1.05 - nx**2 - ny**2, 0.05, 1))
    return np.clip((nx * d[0] + ny * d[1] + nz * d[2] + 0.15) / 1.15, 0, 1)


def _mass(canvas: Canvas, head: Head) -> np.ndarray:
    """float32 (H, W): everything that is hair, the part hidden by the face included."""
    p, view = head.person, head.view
    grow = 1.0 + {"buzz": 0.015, "receding": 0.02, "tied": 0.02, "curly": 0.18}.get(p.style, 0.05)
    grow += 0.2 * p.volume if p.style in ("buzz", "receding", "tied") else p.volume
    outlines = [view.ellipsoid(SKULL, SKULL_RADII, grow=grow, square=0.88)]
    if p.style == "tied" and p.volume > 0.12:
        outlines.append(view.ellipsoid((p.parting * 0.5, -1.95, -0.9), (0.36, 0.32, 0.36)))
    if p.style in ("long", "curly") or (p.style == "fringe" and p.length > 1.2):
        reach = p.length if p.style != "curly" else 0.2 + 0.4 * p.length
        side = np.array(
            [(1.02 * grow, -0.7), (1.1 * grow, -0.1), (1.13 * grow, 0.5), (1.1 * grow, reach), (0.7, reach + 0.25)]
        )
        top = view.project(np.array([(s * x, y, -0.55) for s in (1, -1) for x, y in side[: 2 if reach < 0.5 else 3]]))
        count = len(top) // 2
        # lower down the hair hangs: it follows the head's position but not its tilt
        hang = side[count:] * view.scale
        foot = np.array([view.x, view.y])
        curtain = np.concatenate([top[:count], foot + hang, (foot + hang * (-1, 1))[::-1], top[count:][::-1]])
        outlines.append(smooth(curtain, closed=True, steps=4))
    return canvas.mask(*outlines)


def _texture(canvas: Canvas, head: Head) -> np.ndarray:
    """float32 (H, W): strands that run from the crown, about N(0, 1)."""
    h, w = canvas.size
    p = head.person
    crown = head.view.project(np.array([p.parting * 0.5, -1.75, -0.35])).astype(np.float32)
    x, y = np.meshgrid(np.arange(w, dtype=np.float32) - crown[0], np.arange(h, dtype=np.float32) - crown[1])
    radius, angle = cv2.cartToPolar(x, y + np.float32(head.px(0.15)))
    radius *= np.float32(1 / max(head.px(1.0), 1e-3))
    bend = np.sin(radius * np.float32(9)) * np.float32(0.035 * p.waves)
    if p.style == "curly":
        zoom = np.float32(130 / head.view.scale)
        return cv2.remap(
            noise_bank()[1], x * zoom + 256, y * zoom + 256, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    column = (angle + bend) * np.float32(150) + np.float32(p.texture % 100)
    return cv2.remap(
        noise_bank()[3], column, radius * np.float32(90) + 40, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


class Hair:
    """The hair of one head: `behind` goes under neck and face, `before` over them."""

    def __init__(self, canvas: Canvas, head: Head):
        p = head.person
        self.canvas, self.head = canvas, head
        self.strands = _texture(canvas, head)
        ragged = {"buzz": 0.25, "curly": 0.9, "long": 0.45}.get(p.style, 0.4)
        mass = _mass(canvas, head)
        soft = head.px(0.075 if p.style == "curly" else 0.035)
        self.mass, self.region = _ragged(mass, self.strands, soft, ragged)
        h, w = canvas.size
        view, light = head.view, head.light
        cx, cy = view.project(np.array(SKULL))
        nx = np.clip((np.arange(w) - cx) / head.px(1.25), -1, 1)[None]
        ny = np.clip((np.arange(h) - cy) / head.px(1.5), -1, 0.5)[:, None]
        sheen = np.exp(-0.5 * np.square((ny + 0.62 + 0.15 * light.direction[1] + 0.2 * nx**2) / 0.13))
        value = light.ambient.mean() + light.key.mean() * _facing(canvas, head) * 0.9
        value = (value * (1 + 0.19 * self.strands)).astype(np.float32)
        gloss = (sheen * (0.10 + 0.35 * light.gloss) * np.clip(0.7 + 0.5 * self.strands, 0, 2)).astype(np.float32)
        tint = (light.key / light.key.mean()).astype(np.float32)
        hair = 0.7 * p.hair + 0.3 * p.skin if p.style == "buzz" else p.hair
        self.colour = value[..., None] * (hair * tint).astype(np.float32) + gloss[..., None] * (110 * tint)

    def behind(self) -> None:
        self._lay(self.mass, self.region)

    def before(self) -> None:
        """Fringe and side curtains over the face."""
        head, canvas, p = self.head, self.canvas, self.head.person
        if p.style in ("long", "curly") or (p.style == "fringe" and p.length > 1.2):
            shift = 0.12 * p.parting
            half = 0.97 - 0.5 * p.volume
            window = np.array(
                [
                    (0, -1.22),
                    (0.5 * half, -1.08),
                    (half, -0.55),
                    (half, 0.1),
                    (0.9 * half, 0.8),
                    (0.8, 1.4),
                    (0.75, 3.0),
                ]
            )
            ring = np.concatenate([window, window[::-1] * (-1, 1)]) + (shift, 0)
            front = np.column_stack([ring, np.where(ring[:, 1] < 0.9, -0.02, -0.3)])
            opening = canvas.mask(smooth(head.view.project(front), closed=True, steps=3))
            curtain, region = _ragged(np.minimum(self.mass, 1 - opening), self.strands, head.px(0.03), 0.5)
            canvas.darken(
                cv2.GaussianBlur(curtain, (0, 0), max(0.3, head.px(0.06))) * (canvas.labels == parts.SKIN), 0.72
            )
            self._lay(curtain, region)
        else:
            # the first hairs grow sparsely on the edge of the forehead
            turned = head.view.rotation[0, 2]  # > 0: the face looks to the right, its right temple is out of sight
            seen = head.hairline[head.hairline[:, 0] * turned < 0.25]
            line = canvas.strokes([head.view.project(smooth(seen, steps=3))], head.px(0.10), soft=head.px(0.05))
            sparse = np.clip(line * (0.75 + 0.45 * self.strands), 0, 1)
            self._lay(sparse * np.float32(0.55 if p.style in ("buzz", "receding") else 0.95), line)
        if p.style == "fringe":
            line = head.hairline
            middle = head.points[19:25, 1].mean() - 0.16 + 0.2 * abs(p.parting)
            x = np.linspace(0.97, -0.97, 11)
            low = np.stack([x, middle + 0.10 * x**2 + 0.35 * p.parting * x, 0.30 - 0.55 * x**2], 1)
            outline = head.view.project(np.concatenate([smooth(line + (0, -0.14, -0.1)), smooth(low)[::-1]]))
            fringe, region = _ragged(canvas.mask(outline), self.strands, head.px(0.05), 0.8)
            canvas.darken(cv2.GaussianBlur(fringe, (0, 0), max(0.3, head.px(0.06))) * (1 - fringe), 0.78)
            self._lay(fringe, region)

    def _lay(self, hairs: np.ndarray, region: np.ndarray) -> None:
        # annotators draw the region of hair, not every strand
        self.canvas.paint(hairs, self.colour)
        self.canvas.labels[region >= 0.5] = parts.HAIR


def _ragged(mask: np.ndarray, strands: np.ndarray, soft: float, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """A mask whose edge follows the strands within about `soft` pixels, and the same mask with a smooth edge."""
    wide = cv2.GaussianBlur(mask, (0, 0), max(0.4, soft))
    hairs = np.clip((wide - 0.5) * 2.6 + 0.5 + 0.35 * amount * strands * (wide * (1 - wide) * 4), 0, 1)
    return hairs, wide


def paint_glasses(canvas: Canvas, head: Head) -> None:
    """Frames, lenses and their reflections; the labels beneath stay as they are."""
    kind, p = head.person.glasses, head.points
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    power = 1.0 if kind == 1 else 0.6
    ring = np.stack(
        [
            np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power,
            np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power,
        ],
        1,
    )
    lenses, bends = [], []
    for first in (36, 42):
        x, y, _ = p[first : first + 6].mean(0)
        outline = np.column_stack(
            [
                x * 1.03 + 0.335 * ring[:, 0],
                y + 0.05 + 0.25 * ring[:, 1],
                0.24 - 0.35 * (np.abs(x * 1.03 + 0.335 * ring[:, 0]) - 0.4) ** 2,
            ]
        )
        lenses.append(head.view.project(outline))
        s = np.sign(x)
        if s * head.view.rotation[0, 2] < 0.12:  # the other arm is behind the face
            bends.append(
                head.view.project(np.array([(s * 0.76, y, 0.12), (s * 1.0, y - 0.01, -0.12), (s * 1.04, y, -0.6)]))
            )
    y = p[27, 1] + 0.02
    bridge = head.view.project(smooth(np.array([(-0.13, y, 0.3), (0, y - 0.05, 0.4), (0.13, y, 0.3)])))
    dark = head.person.texture % 3
    frame = np.array(((22, 20, 22), (92, 60, 40), (150, 146, 140))[dark], float) * min(
        1.0, head.light.ambient.mean() + 0.5
    )
    lens = canvas.mask(*lenses)
    if kind == 3:
        canvas.paint(lens * 0.8, (28, 26, 30))
    glare = canvas.mask(
        lenses[0] * 0.45 + lenses[0][18] * 0.55, lenses[1] * 0.45 + lenses[1][18] * 0.55, soft=head.px(0.06)
    )
    canvas.paint(glare * lens * (0.08 + 0.4 * head.light.gloss), (240, 244, 250))
    canvas.paint(lens * 0.05, (235, 240, 250))
    wide = head.px(0.02 + 0.02 * (dark == 0))
    canvas.darken(
        canvas.strokes([o + (0, head.px(0.05)) for o in lenses], wide, soft=head.px(0.03), closed=True) * 0.6, 0.7
    )
    canvas.paint(canvas.strokes(lenses, wide, closed=True), frame)
    canvas.paint(canvas.strokes([*bends, bridge], wide), frame)
