# ruff: noqa: RUF005 (array + tuple is a sum)
"""Painting a head: neck and ears, lit skin, nose, beard, and the order of everything on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from . import parts, relief
from .appearance import Person, noise_bank
from .canvas import Canvas
from .geometry import JAW, Expression, View, express, forehead, identify, smooth
from .relief import Light

SKULL, SKULL_RADII = (0.0, -0.62, -0.72), (1.02, 1.27, 1.14)  # an ellipsoid: middle and half axes


@dataclass(frozen=True)
class Head:
    """One person's head in one picture; `detail` = cells of the depth field across the head."""

    person: Person
    expression: Expression
    view: View
    light: Light
    detail: int = 64

    @cached_property
    def points(self) -> np.ndarray:
        """float64 (68, 3): landmarks in head coordinates."""
        p = identify(self.person.modes)
        p[:, :2] += self.person.asymmetry
        p = express(p, self.expression)
        return p

    @cached_property
    def landmarks(self) -> np.ndarray:
        """float64 (68, 2): landmarks in pixels."""
        return self.view.project(self.points)

    @cached_property
    def hairline(self) -> np.ndarray:
        return forehead(self.points, self.person.hairline, self.person.peak)

    @cached_property
    def outline(self) -> list[np.ndarray]:
        """Polygons in pixels whose union is the skin of the face."""
        rim = np.concatenate([smooth(self.points[JAW], steps=3), smooth(self.hairline, steps=3)])
        p = self.points
        cheeks = [
            (s * a, y, z) for s in (-1, 1) for a, y, z in ((0.86, -0.2, -0.1), (0.82, 0.15, -0.08), (0.66, 0.5, 0.0))
        ]
        brows = [(s * 0.72, -0.85, 0.0) for s in (-1, 1)]
        top = [(s * 0.5, p[0, 1] - 0.8 * self.person.hairline, 0.08) for s in (-1, 1)]
        chin = [(s * 0.22, p[8, 1] - 0.08, 0.2) for s in (-1, 1)]
        bulge = self.view.project(np.array(cheeks + brows + top + chin))
        hull = cv2.convexHull(bulge.astype(np.float32))[:, 0]
        polygons = [self.view.project(rim), hull]
        if self.person.style == "bald":
            polygons.append(self.view.ellipsoid(SKULL, SKULL_RADII, grow=0.98, square=0.88))
        return polygons

    @cached_property
    def field(self) -> np.ndarray:
        top = self.hairline[len(self.hairline) // 2, 1]
        rows = int(self.detail * (relief.Y1 - relief.Y0) / (relief.X1 - relief.X0))
        return relief.depth(self.points, top, self.person.folds, columns=self.detail, rows=rows)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x (1, columns) and y (rows, 1) of the cells of the depth field."""
        rows, columns = self.field.shape
        return np.linspace(relief.X0, relief.X1, columns)[None], np.linspace(relief.Y0, relief.Y1, rows)[:, None]

    def px(self, units: float) -> float:
        """A length in head units as pixels."""
        return units * self.view.scale


def _spot(x, y, cx, cy, wx, wy):
    return np.exp(-0.5 * np.square((x - cx) / wx)) * np.exp(-0.5 * np.square((y - cy) / wy))


def paint_neck_and_clothes(canvas: Canvas, head: Head, cloth: np.ndarray, lean: float) -> None:
    """Shoulders (background) and the neck under the head; `lean` = shift of the body in head units."""
    v, light = head.view, head.light
    chin = head.landmarks[8]
    foot = np.array([v.x + lean * v.scale, v.y])
    left, right = (v.project(np.array([s * 0.7, 0.45, -0.75])) for s in (-1, 1))
    body = np.array(
        [(-3.2, 3.4), (-2.5, 2.6), (-1.7, 2.15), (-0.75, 1.72), (0.75, 1.72), (1.7, 2.15), (2.5, 2.6), (3.2, 3.4)]
    )
    trunk = smooth(foot + body * v.scale, steps=4)
    trunk = np.concatenate([trunk, [(trunk[-1, 0], 9999), (trunk[0, 0], 9999)]])
    canvas.paint(canvas.mask(trunk), cloth)
    drop = 1.85 + 0.5 * (head.person.texture % 7 / 6) ** 2
    rim = [(0.62, 1.3), (0.66, 1.6), (0.76, 1.74), (0.4, drop), (0, drop + 0.07)]
    side = np.array(rim + [(-x, y) for x, y in rim[-2::-1]])
    neck = smooth(np.concatenate([[left, right], foot + side * v.scale]), closed=True, steps=4)
    mask = canvas.mask(neck)
    width = max(1.0, head.px(0.75))
    x = np.clip((np.arange(canvas.size[1]) - (left[0] + right[0]) / 2) / width, -1, 1)
    facing = np.clip(np.sqrt(1 - x**2) * light.direction[2] + x * light.direction[0], 0, 1)
    tone = head.person.skin * 0.95 * (light.ambient + light.key * facing[:, None] * 0.85)
    canvas.paint(mask, np.broadcast_to(tone, (*canvas.size, 3)), parts.NECK)
    shadow = head.outline[0] + (-light.direction[0] * head.px(0.15), head.px(0.24))
    canvas.darken(canvas.mask(shadow, soft=head.px(0.08)) * mask, 0.62)
    notch = np.array([chin + (0, head.px(0.5)), foot + (0, v.scale * 2.2)])
    canvas.darken(canvas.strokes([notch], head.px(0.1), soft=head.px(0.06)) * mask, 0.9)


def paint_ear(canvas: Canvas, head: Head, side: int) -> None:
    """The ear on the picture's left (side −1) or right (+1)."""
    centre = (side * 1.03, -0.12, -0.64)
    lit = head.light.ambient + head.light.key * np.clip(0.62 + 0.28 * side * head.light.direction[0], 0, 1)
    ear = canvas.mask(head.view.ellipsoid(centre, (0.11, 0.27, 0.16)), soft=head.px(0.01))
    canvas.paint(ear, head.person.skin * lit * 0.95, parts.SKIN)
    canvas.darken(canvas.mask(head.view.ellipsoid(centre, (0.05, 0.17, 0.09)), soft=head.px(0.03)), 0.8)


def paint_skin(canvas: Canvas, head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bare face, unlit; returns its mask and the column and row of the depth field at each pixel."""
    h, w = canvas.size
    p = head.person
    step = 2 if head.view.scale < 80 else 4
    u, v = relief.surface(head.field, head.view, h, w, step=step)
    zoom = np.float32(512 / head.detail * 0.8)
    offset = np.array([p.texture % 97, p.texture % 89], np.float32)
    coarse, fine = (
        cv2.remap(
            noise_bank()[k],
            u * zoom + offset[0],
            v * zoom + offset[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for k in (1, 2)
    )
    mottle = 1 + 0.022 * p.blotches * coarse + 0.02 * fine
    if p.freckles > 0.05:
        mottle -= 0.16 * p.freckles * np.clip(fine - 1.1, 0, 1)
    mask = canvas.mask(*head.outline, soft=head.px(0.012))
    canvas.paint(mask, mottle[..., None] * p.skin.astype(np.float32), parts.SKIN)
    return mask, u, v


def light_skin(canvas: Canvas, head: Head, mask: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """Multiply the painted face by its light, blush and hollows, and add the gloss."""
    p, pts = head.person, head.points
    cells = relief.shade(head.field, head.view.rotation, head.light)
    x, y = head.grid()
    red = sum(_spot(x, y, s * 0.58, 0.02, 0.2, 0.16) for s in (-1, 1)) * p.blush * 1.2
    red = red + 0.10 * _spot(x, y, 0, pts[30, 1], 0.13, 0.11)
    eyes = [pts[36:42, :2].mean(0), pts[42:48, :2].mean(0)]
    rings = sum(_spot(x, y, ex, ey + 0.13, 0.2, 0.06) for ex, ey in eyes) * 0.13
    cells[..., :3] *= 1 - rings[..., None] * (0.8, 1.0, 0.9) - red[..., None] * (0.05, 0.55, 0.45)
    if p.makeup:
        lids = sum(_spot(x, y, ex, ey - 0.10, 0.2, 0.06) for ex, ey in eyes)[..., None] * p.makeup
        cells[..., :3] *= 1 - lids * (1 - p.shadow / 190)
    lit = cv2.remap(cells, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    m = mask[..., None]
    canvas.image *= 1 + m * (lit[..., :3] - 1)
    canvas.image += m * lit[..., 3:] * np.float32(150)
    _cast_nose(canvas, head, mask)


def _cast_nose(canvas: Canvas, head: Head, mask: np.ndarray) -> None:
    d = head.light.direction
    tip = head.points[30] + np.array([-d[0], -d[1], 0]) / max(d[2], 0.35) * 0.3
    tip = np.clip(tip, (-0.6, -0.1, 0.2), (0.6, head.points[51, 1] + 0.05, 0.4))
    shadow = np.concatenate([head.landmarks[[27, 31, 33, 35]], head.view.project(tip)[None]])
    hull = cv2.convexHull(shadow.astype(np.float32))[:, 0]
    nose = canvas.mask(nose_outline(head), soft=head.px(0.03))
    strength = 0.42 * np.clip(head.light.key.mean() - 0.2, 0, 1)
    canvas.darken(canvas.mask(hull, soft=head.px(0.045)) * (1 - nose) * mask, 1 - strength)


def nose_outline(head: Head) -> np.ndarray:
    p = head.points
    wing = abs(p[31, 0])
    left = np.array([
        (-0.065, p[27, 1], 0.26), (-0.085, p[28, 1], 0.30), (-0.12, p[29, 1] + 0.02, 0.32),
        (-wing - 0.035, p[31, 1] - 0.13, 0.33), (-wing - 0.055, p[31, 1] - 0.04, 0.33),
        (-wing + 0.01, p[31, 1] + 0.015, 0.38),
    ])  # fmt: skip
    right = left[::-1] * (-1, 1, 1)
    return head.view.project(smooth(np.concatenate([left, p[32:35], right]), closed=True, steps=3))


def paint_nose(canvas: Canvas, head: Head) -> None:
    """The nose's label, nostrils and the creases of its wings."""
    canvas.labels[canvas.mask(nose_outline(head)) >= 0.5] = parts.NOSE
    p = head.points
    for s, wing, base in ((-1, 31, 32), (1, 35, 34)):
        centre = (p[wing] * 0.42 + p[base] * 0.58) + (0, -0.012, 0.02)
        hole = head.view.ellipsoid(centre, (0.052, 0.027, 0.03), points=14)
        canvas.darken(canvas.mask(hole, soft=head.px(0.012)), 0.38)
        crease = np.array([(s * 0.035, -0.13, -0.04), (s * 0.062, -0.05, -0.05), (s * 0.03, 0.01, -0.02)]) + p[wing]
        canvas.darken(canvas.strokes([head.view.project(smooth(crease))], head.px(0.03), soft=head.px(0.018)), 0.74)
    base = head.view.project(smooth(p[31:36] + (0, 0.012, 0)))
    canvas.darken(canvas.strokes([base], head.px(0.03), soft=head.px(0.02)), 0.84)


def paint_beard(canvas: Canvas, head: Head, mask: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """Stubble, full beard, moustache or goatee: hair over skin, which keeps the label skin."""
    p, pts = head.person, head.points
    x, y = head.grid()
    mouth, chin = pts[48:60].mean(0), pts[8, 1]
    half = np.interp(y, pts[8:17][::-1, 1], pts[8:17][::-1, 0])
    sides = np.clip((np.abs(x) / half - 0.80 + 0.10 * (y > 0.5)) / 0.2 + 0.5, 0, 1) * (y > pts[0, 1] + 0.2)
    lower = np.clip((y - mouth[1] - 0.12 + 0.35 * (np.abs(x) - 0.45)) / 0.25 + 0.5, 0, 1)
    moustache = _spot(x, y, 0, mouth[1] - 0.16, 0.24, 0.05) * 1.3
    goatee = _spot(x, y, 0, chin - 0.1, 0.24, 0.17) * 1.5 + 0.9 * sum(
        _spot(x, y, s * 0.42, 0.62, 0.06, 0.2) for s in (-1, 1)
    )
    shape = {
        "stubble": 0.45 * np.maximum(np.maximum(sides, lower), moustache),
        "full": np.maximum(np.maximum(sides, lower), moustache),
        "moustache": moustache,
        "goatee": np.maximum(goatee, moustache),
    }[p.beard]
    # none under the nose, on the red of the lips (painted later) or up on the cheeks
    amount = cv2.remap((np.clip(shape, 0, 1) * p.beard_weight).astype(np.float32), u, v, cv2.INTER_LINEAR)
    zoom = np.float32(512 / head.detail * 0.9)
    hairs = cv2.remap(noise_bank()[3], u * zoom * 1.6, v * zoom, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    canvas.paint(np.clip(amount * (0.85 + 0.3 * hairs), 0, 0.96) * mask, p.hair * 0.85)
