"""Rendered and resized images, made once and kept as raw arrays: every worker maps the same files into its memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from reprolib.errors import UserError
from reprolib.paths import CACHE

RENDERING = 1  # raise when facesynth renders other images from the same arguments

Arrays = Mapping[str, np.ndarray]


def folder_of(kind: str, arguments: tuple) -> Path:
    """The folder in which arrays of this `kind` and these `arguments` are kept.

    `arguments`: everything that the arrays depend on; values that differ need a different `repr`.
    """
    settings = repr((kind, RENDERING, *arguments))
    return CACHE / kind / hashlib.sha256(settings.encode()).hexdigest()[:16]


def rendered(kind: str, arguments: tuple, draw: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """The arrays that `draw` makes, made once for these `arguments` (see `folder_of`) and then read from the cache."""
    return kept_once(folder_of(kind, arguments), draw)


def kept_once(folder: Path, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """The arrays in `folder`, made by `make` if it does not exist yet, in one process while others wait.

    The arrays are mapped into memory; what a caller writes into them stays in its own process. UserError if the folder
    cannot be written, as on a full disk.
    """

    def write(partial: Path) -> None:
        for name, array in make().items():
            with _file_errors(folder), (partial / f"{name}.npy").open("wb") as file:
                _write_header(file, array, array.shape)
                file.write(np.ascontiguousarray(array).data)

    return _whole(folder, write)


def made_once(
    folder: Path, count: int, make_item: Callable[[int], Arrays], *, workers: int = 0, progress: bool = True
) -> dict[str, np.ndarray]:
    """As `kept_once`, for `count` items that `make_item(index)` makes one by one: each array gets an axis (count, …).

    `workers` processes share the items (0 = one per core; one inside a worker of a run). Only some items are in memory
    at a time. ValueError for an item whose arrays differ from those of the first in name, shape or dtype.
    """
    workers = workers or (1 if multiprocessing.parent_process() else joblib.cpu_count())

    def write(partial: Path) -> None:
        items = joblib.Parallel(workers, return_as="generator")(joblib.delayed(make_item)(i) for i in range(count))
        shown = tqdm(items, folder.parent.name, total=count, mininterval=10, disable=not progress)
        files, kinds = {}, {}
        with ExitStack() as opened:
            for index, item in enumerate(shown):
                found = {name: (array.shape, array.dtype) for name, array in item.items()}
                kinds = kinds or found
                if found != kinds:
                    raise ValueError(f"item {index} should have the arrays {kinds}, but has {found}")
                for name, array in item.items():
                    with _file_errors(folder):
                        if index == 0:
                            files[name] = opened.enter_context((partial / f"{name}.npy").open("wb"))
                            _write_header(files[name], array, (count, *array.shape))
                        files[name].write(np.ascontiguousarray(array).data)
            with _file_errors(folder):
                for file in files.values():
                    file.flush()

    return _whole(folder, write)


def _whole(folder: Path, write: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """The arrays of `folder`, which appears whole or not at all."""
    with _file_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            try:
                partial.mkdir()
                write(partial)
                os.replace(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    # "c": the file stays as it is whatever a caller does, and torch takes the array without a warning
    return {path.stem: np.asarray(np.load(path, mmap_mode="c")) for path in sorted(folder.glob("*.npy"))}


def _write_header(file, array: np.ndarray, shape: tuple[int, ...]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, described)


@contextmanager
def _file_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The cache {folder.parent} should take new arrays, but cannot be written ({error.strerror}); "
            "free some space, or delete subfolders of the cache that are no longer needed."
        ) from error
