# ruff: noqa: RUF005 (array + tuple is a sum)
"""Picture sheets: many faces, or their labels in colour, side by side."""

from __future__ import annotations

import numpy as np

from .scene import DEFAULT, FaceOptions, render

# One colour per part; left and right differ in lightness, so that prints and colour-blind readers tell them apart.
COLOURS = np.array(
    [(40, 40, 44), (122, 84, 52), (196, 164, 132), (238, 206, 176), (0, 90, 140), (86, 180, 233), (0, 120, 90)]
    + [(110, 220, 180), (240, 170, 60), (204, 70, 120), (240, 130, 170), (250, 250, 250), (213, 70, 20), (90, 0, 40)]
    + [(150, 150, 160)],
    np.uint8,
)


def tile(pictures, columns: int) -> np.ndarray:
    """uint8 (rows·H, columns·W, 3): pictures of one size, row by row."""
    pictures = np.stack(pictures)
    n, h, w, c = pictures.shape
    return pictures.reshape(n // columns, columns, h, w, c).swapaxes(1, 2).reshape(n // columns * h, columns * w, c)


def sheet(seed: int = 0, rows: int = 8, cols: int = 8, size: int = 128, options: FaceOptions = DEFAULT) -> np.ndarray:
    """uint8 (rows·size, cols·size, 3): the first faces of series `seed`."""
    return tile([render(seed, i, size=size, options=options).image for i in range(rows * cols)], cols)


def label_sheet(
    seed: int = 0, rows: int = 8, cols: int = 8, size: int = 128, options: FaceOptions = DEFAULT
) -> np.ndarray:
    """uint8 (rows·size, cols·size, 3): the labels of the same faces as `sheet`, in COLOURS."""
    return tile([COLOURS[render(seed, i, size=size, options=options).labels] for i in range(rows * cols)], cols)
