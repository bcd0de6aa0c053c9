"""What facesynth has drawn, kept on disk: rendering takes minutes, and every worker needs the same pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from reprolib.datasets.landmarks import save_arrays
from reprolib.paths import CACHE

RENDERING = 1  # raise when facesynth draws other pictures from the same arguments


def rendered(kind: str, arguments: tuple, draw: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that `draw` makes, drawn once for these `arguments` and then read from the project's cache.

    `arguments`: all that the pictures depend on, with a `repr` of its own for each value. Of several processes that
    want the same pictures one draws them.
    """
    settings = repr((kind, RENDERING, *arguments))
    return made_once(CACHE / kind / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.npz", draw)


def made_once(stored: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of the file `stored`, which `make` gives if it is not there yet; one process makes, others wait."""
    stored.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(stored.with_suffix(".lock")):
        if not stored.is_file():
            save_arrays(stored, **make())
    with np.load(stored) as kept:
        return dict(kept)
