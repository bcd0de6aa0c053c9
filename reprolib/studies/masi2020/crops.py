"""Single faces of masi2020: their crops, ground truth for occlusion, and random number generators.

Real faces are cropped as the paper's: a square around the face, here around the contour f that is projected from dlib's
landmarks. Ground truth for occlusion follows Sec. 3.1 without morphology (`ground_truth`), as in the paper.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib.datasets import cofw, landmarks, occluders
from reprolib.datasets.kept import content, kept
from reprolib.datasets.pictures import IGNORED, box_of, crop_square, read_picture, resize_labels, resize_picture
from reprolib.datasets.segmentation_transfer import contour_points, face_contour
from reprolib.studies.masi2020.rows import PREPARATION

SEED = 2020
# random number streams for the frames of each set's faces, and for their pasted occluders
STREAMS = {"teacher": 1, "teacher-validation": 2, "train": 3, "validation": 4, "test": 5, "transfer": 6, "real": 7}
# LFW is funnelled: without a detector's jitter, the mean mask is nearly as good as a network that looks at the face
MOST_TURN = 30  # degrees to either side
MOST_ZOOM, MOST_SHIFT = 1.35, 0.12  # of the square's side
SLIVER = 15  # 1/15 of the height of f: a narrower gap between f and the annotated face is no occlusion
SPECK = 1 / 500  # of the image's area
ZOOM = 4  # faces are enlarged this many times, because dlib places landmarks on whole pixels


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One face: image uint8 (S, S, 3), labels uint8 (S, S), box float32 (4,) of f, landmarks float32 (68, 2)."""

    image: np.ndarray
    labels: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray


def ground_truth(face: np.ndarray, contour: np.ndarray, occluder: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 0 background, 1 face, 2 occlusion; Sec. 3.1 without morphology, as the paper does for COFW.

    face: bool (H, W), annotated face. contour: bool (H, W), the whole face f. occluder: bool (H, W), what was pasted.
    Face is the annotated face inside f, less the occluder; occlusion is the rest of f. So hair, beards that are
    annotated as hair, hats and hands inside f are occlusion; neck, ears, hair and occluders outside f are background.
    Parts of this rest that an opening by a fifteenth of f's height removes are background, too: f and the annotation
    never agree to the pixel, and a loss over blobs would weigh each sliver between them like a whole face.
    """
    width = max(3, 2 * round(contour.any(axis=1).sum() / SLIVER / 2) + 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    rest = cv2.morphologyEx((contour & ~face).astype(np.uint8), cv2.MORPH_OPEN, disc) > 0
    labels = (contour & face).astype(np.uint8)
    labels[contour & (rest | occluder)] = 2
    return labels


def crop(
    image: np.ndarray,
    face: np.ndarray | None,
    points: np.ndarray | None,
    size: int,
    *,
    frame: np.random.Generator | None = None,
    occluder: np.random.Generator | None = None,
) -> Crop:
    """The square around one face, with an occluder pasted at the image's own resolution, resized to `size`.

    image: uint8 (H, W, 3). face: bool (H, W), annotated face, or None without labels (all are 0 then). points: (68, 2)
    landmarks, or None: then f is the convex hull of `face`. The square is `cofw.BOX_MARGIN` times the longer side of
    f's box; beyond the image it repeats the edge, and labels are 255. frame: random generator that rotates the face and
    enlarges and shifts its square, as a detector's boxes vary, or None. occluder: random generator for the occluder, or
    None.
    """
    if frame is not None:
        image, face, points = turned(image, face, points, frame)
    if points is None:
        hull = _hull(face)
        x, y, side = square = _shifted(cofw.box_square(box_of(hull)), frame)
        contour, inside = crop_square(hull.astype(np.uint8), square, fill=0) > 0, np.full((68, 2), np.nan, np.float32)
    else:
        outline = contour_points(points, image.shape[:2])  # a mask would end at the image's border
        box = np.concatenate([outline.min(axis=0), np.ptp(outline, axis=0)])
        x, y, side = square = _shifted(cofw.box_square(box), frame)
        inside = points - np.array((x, y))
        contour = face_contour(inside, (side, side))
    image = crop_square(image, square)
    covered = np.zeros(contour.shape, bool)
    if occluder is not None:
        image, covered = occluders.paste(image, inside, contour, occluder)
    labels = np.zeros(contour.shape, np.uint8)
    if face is not None:
        labels = ground_truth(crop_square(face.astype(np.uint8), square, fill=0) > 0, contour, covered)
        labels[crop_square(np.zeros(face.shape, np.uint8), square, fill=IGNORED) == IGNORED] = IGNORED
    scale = size / side
    return Crop(
        image=resize_picture(image, size),
        labels=without_specks(resize_labels(labels, size)),
        box=box_of(contour) * np.float32(scale),
        landmarks=((inside + 0.5) * scale - 0.5).astype(np.float32),
    )


def without_specks(labels: np.ndarray) -> np.ndarray:
    """Labels uint8 (S, S) in which components of occlusion smaller than `SPECK` of the image are ignored (255)."""
    _, components, found, _ = cv2.connectedComponentsWithStats((labels == 2).astype(np.uint8), connectivity=8)
    small = found[:, cv2.CC_STAT_AREA] < SPECK * labels.size
    small[0] = False  # all that is no occlusion
    return np.where(small[components], IGNORED, labels).astype(np.uint8)


def turned(
    image: np.ndarray, face: np.ndarray | None, points: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Image, annotated face and landmarks rotated by up to `MOST_TURN` degrees; arguments as in `crop`."""
    middle = np.argwhere(face).mean(axis=0)[::-1] if points is None else points.mean(axis=0)
    matrix = cv2.getRotationMatrix2D([float(v) for v in middle], float(rng.uniform(-MOST_TURN, MOST_TURN)), 1.0)
    size = image.shape[1::-1]
    image = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if face is not None:
        face = cv2.warpAffine(face.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    if points is not None:
        points = (points @ matrix[:, :2].T + matrix[:, 2]).astype(points.dtype)
    return image, face, points


def _shifted(square: tuple[int, int, int], rng: np.random.Generator | None) -> tuple[int, int, int]:
    """A square (x, y, side) enlarged and shifted at random; unchanged if `rng` is None."""
    if rng is None:
        return square
    x, y, side = square
    larger = side * rng.uniform(1, MOST_ZOOM)
    across, down = rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2) * larger
    return round(x + (side - larger) / 2 + across), round(y + (side - larger) / 2 + down), round(larger)


def _hull(mask: np.ndarray) -> np.ndarray:
    """bool (H, W): the filled convex hull of the true pixels of a bool (H, W) mask, which has some."""
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return filled.astype(bool)


def occluder_rng(part: str, name: str, share: float) -> np.random.Generator | None:
    """Random numbers for one face's occluder, from a stream that no other set has; None for 1 − `share` of faces."""
    rng = np.random.default_rng([SEED, STREAMS[part], zlib.crc32(name.encode())])
    return rng if rng.random() < share else None


def frame_rng(part: str, name: str) -> np.random.Generator:
    """Random numbers for the frame of one face, from a stream that no other set has."""
    return np.random.default_rng([SEED, len(STREAMS) + STREAMS[part], zlib.crc32(name.encode())])


def central_face(image: np.ndarray) -> np.ndarray | None:
    """Landmarks (68, 2) of the face nearest to the middle of the image, whose nose is in its middle half; else None."""
    found = landmarks.detect_all(image, zoom=ZOOM)
    if not len(found):
        return None
    middle = np.array(image.shape[1::-1]) / 2
    distances = np.abs(found[:, 30] - middle).max(axis=1)
    nearest_one = int(distances.argmin())
    return found[nearest_one] if distances[nearest_one] <= middle.min() / 2 else None


def landmarks_of(paths: Sequence[Path]) -> np.ndarray:
    """Landmarks of the central face of each image, float32 (N, 68, 2), pixels; NaN where dlib finds none."""

    def make() -> dict[str, np.ndarray]:
        found = np.full((len(paths), 68, 2), np.nan, np.float32)
        for row, path in zip(found, tqdm(paths, "landmarks", delay=5), strict=True):
            points = central_face(read_picture(path))
            if points is not None:
                row[:] = points
        return {"landmarks": found}

    return kept("masi2020", (PREPARATION, "landmarks", content(paths), ZOOM), make)["landmarks"]
