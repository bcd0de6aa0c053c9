"""FASSEG as a parsing dataset: its eyes, hair and mouth divided into the parts of HELEN.

FASSEG has one class for both eyes, one for hair and brows, one for the mouth. Eyes and brows are divided by the face's
middle line. Brows are the pieces of hair that `fasseg.eyebrows` finds, with its errors: a brow that touches a fringe
may stay hair, a thin lock across the forehead may become brow. `load` tags faces in which a brow was not found; the
centre of that brow is NaN. Of 215 faces, 165 have both brows, and most of the other 50 have none painted,
or a fringe in front of them. The lips are divided by dlib's landmarks (extra `landmarks`). Without landmarks
the whole mouth is lower lip, and a tag says so: for such a face only the merged mouth can be scored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask
from skimage.measure import label as connected_components

from reprolib.datasets import fasseg, landmarks
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.helen import padded
from reprolib.datasets.parsing_faces import (
    BROW_1,
    BROW_2,
    CLASSES,
    EYE_1,
    EYE_2,
    INNER_MOUTH,
    LOWER_LIP,
    NOSE,
    UPPER_LIP,
)
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.errors import UserError
from reprolib.paths import CACHE

WORKING_SIZE = 256  # pixels a side, at least, at which labels are divided
PHOTO = 0.7  # the photo's side over the frame's, so that parts are as large in the frame as those of `synthetic`
UNDIVIDED = "undivided mouth"
WIDEST_POSE = 45  # degrees to the side: farther, one eye and half the mouth are hidden, and HELEN has hardly any
SMALLEST_EYE = 1 / 4  # of the larger one: else it is a speck, or an eye behind the nose


def load(root: Path, *, frame: int = WORKING_SIZE, divide_mouth: bool = True) -> FaceSet:
    """The faces of FASSEG, turned by up to 45°, that show both eyes, a nose and a mouth, with HELEN's labels.

    images uint8 (N, frame, frame, 3), labels uint8 (N, frame, frame) into `parsing_faces.CLASSES`; names and persons as
    `fasseg.load`; landmarks, NaN where dlib finds no face. Each photo is in the middle of a frame of zeros, as in
    HELEN. tags: "no brow 1", "no brow 2" and `UNDIVIDED`, where they apply. Without `divide_mouth` dlib is not used
    and every mouth is undivided. UserError as `fasseg.load`, and if dlib is not installed.
    """
    photo = round(PHOTO * frame)
    raw = fasseg.load(root, size=max(photo, WORKING_SIZE))
    faces = zip(raw.names, raw.labels, strict=True)
    raw = raw.subset([i for i, (name, labels) in enumerate(faces) if _pose(name) <= WIDEST_POSE and shows_all(labels)])
    if not len(raw):
        raise UserError(f"{root} should hold faces of FASSEG with both eyes, but has none: copy the dataset again")
    points = np.full((len(raw), 68, 2), np.nan, np.float32)
    if divide_mouth:
        points = landmarks.detect_many(raw.images, cache=CACHE / "fasseg", progress=False)
    parts = as_parts(raw, points)
    scale, margin = np.float32(photo / raw.images.shape[1]), (frame - photo) // 2
    return replace(
        parts,
        images=np.stack([padded(resize_picture(image, photo), frame) for image in parts.images]),
        labels=np.stack([padded(resize_labels(labels, photo), frame) for labels in parts.labels]),
        boxes=parts.boxes * scale + np.float32([margin, margin, 0, 0]),
        landmarks=(points + 0.5) * scale - 0.5 + margin,
    )


def _pose(name: str) -> int:
    """Degrees to the side, from a name such as V3/Test/+30/personne08148+0+30; V2 is frontal."""
    return abs(int(name.split("/")[2])) if name.startswith("V3/") else 0


def shows_all(labels: np.ndarray) -> bool:
    """Whether raw labels uint8 (H, W) have both eyes, a nose and a mouth."""
    return len(_eyes(labels)[1]) == 2 and {fasseg.NOSE, fasseg.MOUTH} <= set(np.unique(labels).tolist())


def as_parts(faces: FaceSet, points: np.ndarray) -> FaceSet:
    """`faces` with raw classes of FASSEG that all satisfy `shows_all`, relabelled into `parsing_faces.CLASSES`.

    points: their landmarks (N, 68, 2), NaN where there are none. Skin and hair become background.
    """
    labels, tags = np.zeros_like(faces.labels), []
    for one, raw, landmarks_ in zip(labels, faces.labels, points, strict=True):
        right = right_of_middle(raw)  # in the picture
        brows = _free_of_fragments(fasseg.eyebrows(raw), right)
        one[brows & ~right], one[brows & right] = BROW_1, BROW_2
        eyes = raw == fasseg.EYES
        one[eyes & ~right], one[eyes & right] = EYE_1, EYE_2
        one[raw == fasseg.NOSE] = NOSE
        mouth = raw == fasseg.MOUTH
        divided = np.isfinite(landmarks_).all() and _fits(landmarks_, mouth)
        one[mouth] = divide_mouth_at(landmarks_, mouth)[mouth] if divided else LOWER_LIP
        missing = [f"no {CLASSES[brow]}" for brow in (BROW_1, BROW_2) if not (one == brow).any()]
        tags.append((*missing, *(() if divided else (UNDIVIDED,))))
    return replace(faces, labels=labels, classes=CLASSES, tags=tuple(tags), landmarks=points)


def both_brows(faces: FaceSet) -> int:
    """Number of faces, labelled into `parsing_faces.CLASSES`, in which both brows were found."""
    return sum(bool((labels == BROW_1).any() and (labels == BROW_2).any()) for labels in faces.labels)


def check(root: Path) -> list[str]:
    """The lines of `fasseg.check`, and how many faces are usable here; UserError as there."""
    lines = fasseg.check(root)
    faces = load(root, divide_mouth=False)
    return [
        *lines,
        f"FASSEG for parsing: {len(faces)} faces with both eyes, {both_brows(faces)} with both brows",
    ]


def right_of_middle(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): the pixels right of the line from between the eyes through nose and mouth, as seen in the image."""
    eyes, kept = _eyes(labels)
    between = np.mean([_centre(eyes == eye) for eye in kept], axis=0)
    below = np.mean([_centre(labels == part) for part in (fasseg.NOSE, fasseg.MOUTH)], axis=0)
    down = below - between
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    return (x - between[0]) * down[1] - (y - between[1]) * down[0] > 0


def _eyes(labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Components of the eyes and the numbers of the one or two that are eyes, the largest first."""
    components = connected_components(labels == fasseg.EYES, connectivity=2)
    areas = np.bincount(components.ravel())
    areas[0] = 0
    largest = np.argsort(areas)[::-1][:2]
    return components, [int(c) for c in largest if areas[c] > SMALLEST_EYE * areas.max()]


def _centre(mask: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])


def _free_of_fragments(brows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The largest piece on each side and those at least a third as large; the rest are locks and specks."""
    kept = np.zeros_like(brows)
    for side in (brows & ~right, brows & right):
        pieces = connected_components(side, connectivity=2)
        areas = np.bincount(pieces.ravel())
        areas[0] = 0
        kept |= (areas >= areas.max() / 3)[pieces] & side
    return kept


def _fits(points: np.ndarray, mouth: np.ndarray) -> bool:
    """Whether the centre of the lips in landmarks (68, 2) is within a fifth of the mouth's width of its centre."""
    lips = points[48:60]
    width = np.ptp(np.nonzero(mouth)[1]) + 1
    return bool(np.linalg.norm((lips.min(axis=0) + lips.max(axis=0)) / 2 - _box_centre(mouth)) < width / 5)


def _box_centre(mask: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(mask)
    return np.array([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2])


def divide_mouth_at(points: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """Upper lip, inner mouth or lower lip at every pixel of a bool (H, W) mouth: uint8 (H, W).

    points: landmarks (68, 2), moved and scaled so that lips and painted mouth have the same box. The area within
    landmarks 60–67 is inner mouth if it opens by a fifth of the lips' height. Of the rest, what is above its middle
    line is upper lip, what is below is lower lip.
    """
    y, x = np.nonzero(mouth)
    lips, low = points[48:68], points[48:60].min(axis=0)
    drawn = np.array([np.ptp(x) + 1, np.ptp(y) + 1]) / np.maximum(1, np.ptp(points[48:60], axis=0))
    lips = (lips - low) * drawn + (x.min() - 0.5, y.min() - 0.5)
    inner = lips[12:]
    middle = np.stack([lips[0], inner[0], *(inner[1:4] + inner[[7, 6, 5]]) / 2, inner[4], lips[6]])
    middle = middle[np.argsort(middle[:, 0])]
    rows, columns = np.mgrid[: mouth.shape[0], : mouth.shape[1]]
    above = rows < np.interp(columns, middle[:, 0], middle[:, 1])
    divided = np.where(above, UPPER_LIP, LOWER_LIP).astype(np.uint8)
    # dlib never quite closes a mouth
    if np.abs(inner[1:4, 1] - inner[[7, 6, 5], 1]).max() >= max(2, 0.2 * np.ptp(lips[:12, 1])):
        inside = polygon2mask(mouth.shape, inner[:, ::-1])
        divided[inside] = INNER_MOUTH
    return divided
