# ruff: noqa: RUF005 (array + tuple is a sum)
"""What a person and a place look like: colours, textures, hair and make-up, backgrounds, light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .geometry import IDENTITY_MODES
from .relief import Light

SKIN_TONES = np.array(
    [(242, 206, 184), (232, 190, 162), (217, 168, 132), (184, 133, 98), (146, 100, 72), (105, 70, 52), (70, 47, 38)],
    float,
)
HAIR_TONES = np.array(
    [(24, 20, 20), (44, 32, 26), (74, 50, 34), (112, 76, 46), (150, 110, 66), (196, 160, 104), (126, 52, 28)]
    + [(150, 148, 146), (206, 204, 200)],
    float,
)
IRIS_TONES = np.array([(62, 40, 24), (92, 62, 34), (104, 116, 70), (92, 124, 150), (120, 132, 140)], float)
HAIR_STYLES = ("short", "buzz", "long", "fringe", "curly", "receding", "tied")
BEARDS = ("none", "stubble", "full", "moustache", "goatee")


@dataclass(frozen=True)
class Person:
    """Everything about a face that does not change from picture to picture."""

    modes: np.ndarray  # standard normal numbers, one per IDENTITY_MODES
    asymmetry: np.ndarray  # (68, 2) small displacements
    skin: np.ndarray
    lip: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    style: str  # one of HAIR_STYLES or "bald"
    hairline: float  # height of the forehead above the temples
    peak: float
    volume: float
    length: float
    waves: float
    parting: float
    brow_weight: float
    beard: str
    beard_weight: float
    glasses: int  # 0 none, 1 round, 2 square, 3 dark
    makeup: float
    shadow: np.ndarray  # eye shadow colour
    blush: float
    folds: float
    freckles: float
    blotches: float
    teeth: np.ndarray
    texture: int  # which patch of the noise bank the skin shows


def tone(anchors: np.ndarray, t: float) -> np.ndarray:
    """float64 (3,): the colour at `t` in [0, 1] along `anchors` (n, 3)."""
    position = np.clip(t, 0, 1) * (len(anchors) - 1)
    return np.array([np.interp(position, np.arange(len(anchors)), anchors[:, c]) for c in range(3)])


def draw_person(rng: np.random.Generator, *, hair: float, beard: float, glasses: float, makeup: float) -> Person:
    """A person; the arguments are the probabilities of having hair, a beard, glasses and make-up."""
    skin = np.clip(tone(SKIN_TONES, rng.random()) * (1 + rng.normal(0, 0.04, 3)), 30, 252)
    made_up = rng.random() < makeup
    bearded = rng.random() < beard and not made_up
    # natural lips are the skin with less green and blue, often hardly so
    lip = skin * (0.91, 0.67, 0.69) + rng.uniform(-0.04, 0.15) * skin * (0.2, 1, 1) + rng.normal(0, 5, 3)
    if made_up:
        paint = tone(
            np.array([(176, 30, 44), (206, 84, 92), (150, 46, 84), (120, 40, 40), (214, 120, 110)]), rng.random()
        )
        lip += rng.uniform(0.3, 0.95) * (paint - lip)
    hair_tone = HAIR_TONES[rng.integers(len(HAIR_TONES))] * rng.uniform(0.75, 1.2) + rng.normal(0, 4, 3)
    if rng.random() < 0.18:
        hair_tone = skin * rng.uniform(0.6, 0.95)  # hair close to the skin's colour
    style = "bald" if rng.random() >= hair else HAIR_STYLES[rng.choice(7, p=(0.24, 0.09, 0.24, 0.16, 0.09, 0.08, 0.10))]
    return Person(
        modes=rng.normal(0, 0.85, len(IDENTITY_MODES)),
        asymmetry=rng.normal(0, 0.007, (68, 2)),
        skin=skin,
        lip=np.clip(lip, 20, 250),
        hair=np.clip(hair_tone, 10, 240),
        brow=np.clip(0.75 * hair_tone + 0.12 * skin, 8, 200) if style != "bald" else skin * rng.uniform(0.25, 0.7),
        iris=IRIS_TONES[rng.integers(len(IRIS_TONES))] * rng.uniform(0.7, 1.2),
        style=style,
        hairline={"receding": rng.uniform(1.1, 1.25), "bald": rng.uniform(1.2, 1.35)}.get(
            style, rng.uniform(0.86, 1.06)
        ),
        peak=rng.normal(0.0, 0.35) if style != "receding" else rng.uniform(0.4, 1.0),
        volume=rng.uniform(0.04, 0.22),
        length=rng.uniform(0.7, 2.2),
        waves=rng.random() ** 2,
        parting=rng.uniform(-0.5, 0.5),
        brow_weight=rng.uniform(0.35, 1.0),
        beard=BEARDS[rng.integers(1, 5)] if bearded else "none",
        beard_weight=rng.uniform(0.45, 0.95),
        glasses=int(rng.choice((1, 2, 3), p=(0.42, 0.46, 0.12))) if rng.random() < glasses else 0,
        makeup=rng.uniform(0.25, 0.8) if made_up else 0.0,
        shadow=rng.uniform(20, 150, 3),
        blush=rng.uniform(0, 0.22) + 0.12 * made_up,
        folds=rng.random() ** 1.5 * 0.05,
        freckles=max(0.0, rng.normal(-0.3, 0.5)),
        blotches=rng.uniform(0.2, 1.0),
        teeth=np.array((246, 232, 216)) * rng.uniform(0.8, 1.02) - (0, 0, rng.uniform(0, 22)),
        texture=int(rng.integers(1 << 30)),
    )


@lru_cache(maxsize=1)
def noise_bank() -> np.ndarray:
    """float32 (4, 512, 512), read-only: coarse, medium and fine fractal noise and hair strands, about N(0, 1)."""
    rng = np.random.Generator(np.random.PCG64(20260))
    bank = np.zeros((4, 512, 512), np.float32)
    for layer, octaves in ((0, (4, 8, 16)), (1, (16, 32, 64)), (2, (96, 192, 512))):
        for k, cells in enumerate(octaves):
            grid = rng.normal(0, 1, (cells, cells)).astype(np.float32)
            bank[layer] += cv2.resize(grid, (512, 512), interpolation=cv2.INTER_CUBIC) * 0.6**k
    for cells, weight in ((48, 0.7), (128, 1.0), (320, 0.8)):
        grid = rng.normal(0, 1, (7, cells)).astype(np.float32)
        bank[3] += weight * cv2.resize(grid, (512, 512), interpolation=cv2.INTER_CUBIC)
    bank -= bank.mean((1, 2), keepdims=True)
    bank /= bank.std((1, 2), keepdims=True)
    bank.flags.writeable = False
    return bank


def noise(layer: int, height: int, width: int, rng: np.random.Generator, *, zoom: float = 1.0) -> np.ndarray:
    """float32 (height, width): a patch of noise_bank()[layer], turned and enlarged `zoom` times."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle) / zoom, np.sin(angle) / zoom
    x, y = rng.uniform(100, 412, 2)
    matrix = np.array([[c, -s, x - c * width / 2 + s * height / 2], [s, c, y - s * width / 2 - c * height / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(noise_bank()[layer], matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def background(height: int, width: int, rng: np.random.Generator, *, skin: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """float32 (height, width, 3) in 0…255: a room, a pattern or foliage, at times in the colour of the skin or hair."""
    chroma = rng.random() ** 2
    base = rng.uniform(15, 235) + chroma * rng.uniform(-75, 75, 3)
    likeness = rng.random()
    if likeness < 0.22:
        base = skin * rng.uniform(0.7, 1.1)
    elif likeness < 0.42:
        base = hair * rng.uniform(0.8, 1.25) + rng.uniform(0, 15)
    cells = int(rng.integers(2, 9))
    spread = rng.uniform(5, 75)
    grid = (
        base
        + rng.normal(0, spread, (cells, cells, 1))
        + rng.normal(0, spread * (0.08 + 0.4 * chroma), (cells, cells, 3))
    )
    kind = rng.random()
    mode = cv2.INTER_CUBIC if kind < 0.7 else cv2.INTER_NEAREST
    out = cv2.resize(grid.astype(np.float32), (width, height), interpolation=mode)
    if kind >= 0.7:  # shelves, windows, bricks: hard edges, more or less out of focus
        out = cv2.blur(out, (1 + 2 * int(rng.integers(0, 1 + width // 24)),) * 2)
    shapes = int(rng.integers(0, 7)) if rng.random() < 0.6 else 0
    for _ in range(shapes):
        colour = (skin if rng.random() < 0.3 else rng.uniform(10, 245) + chroma * rng.uniform(-90, 90, 3)).tolist()
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        a, b = (int(v) for v in rng.uniform(0.05, 0.35, 2) * width)
        if rng.random() < 0.5:
            cv2.rectangle(out, (x, y), (x + a, y + b), colour, -1)
        else:
            cv2.ellipse(out, (x, y), (a, b), rng.uniform(0, 180), 0, 360, colour, -1)
    if shapes:
        out = cv2.blur(out, (1 + 2 * int(rng.integers(0, 1 + width // 16)),) * 2)
    layer = int(rng.integers(0, 4))
    strength = rng.uniform(0, 16) if rng.random() < 0.7 else rng.uniform(16, 40)
    out += strength * noise(layer, height, width, rng, zoom=width / 128 * rng.uniform(0.5, 2.0))[..., None]
    return np.clip(out, 0, 255, out=out)


def draw_light(rng: np.random.Generator, *, side: bool, low: bool, glossy: bool) -> Light:
    """A light from the front or from the side, full or low, matt or glossy."""
    turn = rng.choice((-1, 1)) * rng.uniform(0.85, 1.45) if side else rng.normal(0, 0.38)
    lift = rng.uniform(-0.15, 0.75)
    direction = np.array([np.sin(turn) * np.cos(lift), -np.sin(lift), np.cos(turn) * np.cos(lift)])
    warmth = rng.normal(0, 0.05)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    key = rng.uniform(0.7, 1.0) if side else rng.uniform(0.5, 0.75)
    ambient = rng.uniform(0.14, 0.32) if side else rng.uniform(0.28, 0.46)
    return Light(
        direction=direction,
        key=key * tint,
        ambient=ambient * (2 - tint) * (1 + rng.normal(0, 0.03, 3)),
        gloss=rng.uniform(0.3, 0.75) if glossy else rng.uniform(0.02, 0.16),
        exposure=rng.uniform(0.3, 0.55) if low else rng.uniform(0.88, 1.15),
    )
