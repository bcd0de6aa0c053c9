"""Prepared arrays on disk: made once, under a lock, and read by every worker process through a memory map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from reprolib.datasets.rendered import kept_once
from reprolib.paths import CACHE


def kept(kind: str, settings: tuple, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `make`, made once for these `settings` and then read from the project's cache.

    settings: everything that the arrays depend on; for files, their `content`. Values that differ need another `repr`.
    If several processes want the same arrays, one makes them and the others wait. Arrays are memory maps; a write to
    one changes neither the file nor another process's array.
    """
    return kept_once(CACHE / kind / hashlib.sha256(repr(settings).encode()).hexdigest()[:16], make)


def content(files: Iterable[Path]) -> str:
    """A hash of the names and bytes of files, in the given order; files that have not changed are read once."""
    return _content(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=64)
def _content(files: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, size, _ in files:
        found.update(f"{path.parent.name}/{path.name}:{size}:".encode() + path.read_bytes())
    return found.hexdigest()[:16]
