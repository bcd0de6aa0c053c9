"""One tool behind `lips`, `parse` and `masks`: from photos of people to masks of the parts of their faces.

    from reprolib import photos
    result = photos.label(photos.read_photo("me.jpg"), "parse")
    nose = result.labels == result.classes.index("nose")

dlib finds the faces. Each is aligned to a common frame (`face_frame`) and labelled by two small networks, whose labels
are mapped back to the photo. `weights` says how the networks were trained and how good they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import cv2
import numpy as np
import torch

from reprolib import face_frame
from reprolib.datasets.pictures import read_picture
from reprolib.errors import UserError
from reprolib.face_finding import FoundFace, find_faces
from reprolib.face_frame import Frame
from reprolib.models.face_parser import FEATURES, REGIONS, FaceParser, as_input

WEIGHTS = Path(__file__).parent / "weights"
CLASSES = {
    "lips": ("background", "lip", "inner mouth"),
    "parse": (
        "background", "skin", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth",
        "lower lip", "hair", "left ear", "right ear", "neck", "cloth", "hat", "glasses",
    ),
    "masks": ("background", "skin", "eyes", "outer mouth", "inner mouth"),
}  # fmt: skip
"""The classes of each tool by number; left and right are the person's."""
OTHER_SIDE = (0, 2, 1, 4, 3, 5, 6, 7, 8)  # of each of `FEATURES`
PARTS = ("other", "brows", "eyes", "nose", "upper lip", "inner mouth", "lower lip")  # the network's, sides joined
SMALLEST = 24  # pixels: photos with a shorter side hold no face that can be labelled
COVERED = 0.7  # probability from which an occluder hides the parts behind it
LEAST_AREA = 0.002  # share of the window: with less nose, or less eyes and mouth, it is no face
LEAST_CONFIDENCE = (0.5, 0.7)  # of the network, for the largest face and the others: false detections are small
MOUTH_DOWN, MOUTH_WIDTH = 0.51, 0.445  # mean of CelebAMask-HQ's mouths, in halves of the frame's side
MOUTH_FILL = 0.6  # of a mouth crop's width, as in yang2023
Part = tuple[np.ndarray, np.ndarray]
"""A part of a photo: its corner (x, y), and labels uint8 (h, w) from there."""


@dataclass(frozen=True)
class PaperNetwork:
    """A paper's own network in place of ours: its classes, and a function from a photo and a face to a `Part`."""

    classes: tuple[str, ...]
    label: Callable[[np.ndarray, FoundFace], Part]


@dataclass(frozen=True)
class LabelledFace:
    """A face, the number of pixels of each class, and the network's confidence, 0 to 1.

    face: None for a mouth crop. confidence: NaN for a paper's own network.
    """

    face: FoundFace | None
    areas: dict[str, int]
    confidence: float


@dataclass(frozen=True)
class Labelled:
    """labels: uint8 (H, W) in the photo's frame, numbers into `classes`. faces: the largest first."""

    labels: np.ndarray
    classes: tuple[str, ...]
    faces: list[LabelledFace]


def read_photo(path: Path | str) -> np.ndarray:
    """uint8 (H, W, 3) RGB, turned as EXIF says; UserError if it is missing, unreadable or tiny."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} should be a photo, but there is no such file: check its path")
    photo = read_picture(path)
    height, width = photo.shape[:2]
    if min(height, width) < SMALLEST:
        raise UserError(
            f"{path} has {width}×{height} pixels, but a face needs {SMALLEST}×{SMALLEST}: give a larger photo"
        )
    return photo


def label(
    photo: np.ndarray,
    tool: str,
    *,
    largest: bool = False,
    mouth_crop: bool = False,
    faces: Sequence[FoundFace] | None = None,
    device: str = "cpu",
    network: PaperNetwork | None = None,
) -> Labelled:
    """Label the faces of a uint8 (H, W, 3) RGB photo with the classes of `tool`: "lips", "parse" or "masks".

    It finds all faces, or only the `largest`, unless `faces` are given. mouth_crop: the photo is a crop of a mouth, in
    which no face is searched for ("lips" only). `parse` labels what is visible; `lips` and `masks` also label what
    something covers. Without a face all labels are 0. UserError if dlib is not installed.
    """
    classes = network.classes if network else CLASSES[tool]
    if mouth_crop:
        height, width = photo.shape[:2]
        half = MOUTH_FILL * width / MOUTH_WIDTH
        frame = Frame(np.array([width / 2, height / 2 - MOUTH_DOWN * half]), np.array([half, 0.0]))
        found: list[tuple[FoundFace | None, Frame]] = [(None, frame)]
    else:
        known = find_faces(photo, largest=largest) if faces is None else faces
        found = [(face, face_frame.frame_of(face.points)) for face in known]
    labels = np.zeros(photo.shape[:2], np.uint8)
    nearest = np.full(photo.shape[:2], np.inf, np.float32) if len(found) > 1 else None
    labelled = []
    for face, frame in found:
        if network:
            (corner, part), confidence = network.label(photo, face), float("nan")
        else:
            features, confidence = _features(photo, frame, device)
            if face is not None and not _is_face(features, confidence, LEAST_CONFIDENCE[bool(labelled)]):
                continue
            corner, part = _TOOLS[tool](photo, face, frame, features, device)
        within = _at(corner, part.shape)
        if nearest is not None:  # a pixel between faces belongs to the one whose centre is nearer for its size
            distance = _distance(frame, corner, part.shape)
            owned = distance < nearest[within]
            nearest[within][owned] = distance[owned]
            np.copyto(labels[within], part, where=owned)
        else:
            labels[within] = part
        counts = np.bincount(part.ravel(), minlength=len(classes))
        areas = {name: int(count) for name, count in zip(classes, counts, strict=True) if name != "background"}
        labelled.append(LabelledFace(face, areas, confidence))
    return Labelled(labels, classes, labelled)


@once
def load_network(name: str, device: str = "cpu") -> FaceParser:
    """One of the two networks, "features" or "regions", ready to predict; UserError if its weights are missing."""
    network = FaceParser(classes=len({"features": FEATURES, "regions": REGIONS}[name]))
    path = WEIGHTS / f"{name}.npz"
    if not path.is_file():
        raise UserError(f"{path} should hold the network's weights, but is missing: install reprolib again")
    network.load_half(path)
    return network.eval().to(device, memory_format=torch.channels_last)


def probabilities(name: str, photo: np.ndarray, matrix: np.ndarray, size: int, device: str = "cpu") -> np.ndarray:
    """Class probabilities float32 (classes, size, size) in a window of a photo, given by its affine map.

    The mean of the network's output for the window and for its mirror image.
    """
    image = face_frame.cut(photo, matrix, size)
    both = np.stack([image, image[:, ::-1]])
    with torch.inference_mode():
        found = load_network(name, device)(as_input(both).to(device)).softmax(1).cpu().numpy()
    mirrored = found[1, :, :, ::-1]
    return (found[0] + (mirrored[list(OTHER_SIDE)] if name == "features" else mirrored)) / 2


def _features(photo: np.ndarray, frame: Frame, device: str) -> tuple[np.ndarray, float]:
    """Probabilities (`PARTS`, h, w) in the frame's window, and the mean highest probability where a part is."""
    matrix = face_frame.to_window(frame, face_frame.FEATURES)
    left_right = probabilities("features", photo, matrix, face_frame.FEATURES.size, device)
    # position decides between left and right, more reliably than the network
    found = np.stack([left_right[0], left_right[1:3].sum(0), left_right[3:5].sum(0), *left_right[5:]])
    parts = found.argmax(0) > 0
    return found, float(found.max(0)[parts].mean()) if parts.any() else 0.0


def _is_face(features: np.ndarray, confidence: float, least: float) -> bool:
    """Whether the network, too, sees a face: a nose, and eyes or a mouth."""
    share = np.bincount(features.argmax(0).ravel(), minlength=len(PARTS)) / features[0].size
    return confidence >= least and share[3] >= LEAST_AREA and share[[2, 4, 5, 6]].sum() >= LEAST_AREA


def _lips(photo: np.ndarray, face: FoundFace | None, frame: Frame, features: np.ndarray, device: str) -> Part:
    merged = np.stack([features[:4].sum(0), features[4] + features[6], features[5]])
    return in_photo(merged, face_frame.to_window(frame, face_frame.FEATURES), photo.shape[:2])


def _masks(photo: np.ndarray, face: FoundFace, frame: Frame, features: np.ndarray, device: str) -> Part:
    """Skin is what the landmarks enclose, also where something covers it; the network places eyes and mouth in it."""
    from reprolib.datasets.landmark_masks import landmark_mask  # scipy loads slowly, and only this tool needs it

    merged = np.stack([features[[0, 1, 3]].sum(0), features[2], features[4] + features[6], features[5]])
    corner, inner = in_photo(merged, face_frame.to_window(frame, face_frame.FEATURES), photo.shape[:2])
    limits = np.array(photo.shape[1::-1])
    low = np.minimum(corner, np.clip(np.floor(face.points.min(0)).astype(int), 0, limits))
    high = np.maximum(corner + inner.shape[::-1], np.clip(np.ceil(face.points.max(0)).astype(int) + 1, 0, limits))
    outline = landmark_mask(face.points - low, tuple((high - low)[::-1].tolist()))
    labels = (outline > 0).astype(np.uint8)
    within = _at(corner - low, inner.shape)
    np.copyto(labels[within], inner + 1, where=inner > 0)
    return low, labels


def _parse(photo: np.ndarray, face: FoundFace | None, frame: Frame, features: np.ndarray, device: str) -> Part:
    """Regions, and features on top of face and glasses where nothing covers them."""
    shape = photo.shape[:2]
    matrix = face_frame.to_window(frame, face_frame.REGIONS)
    regions = probabilities("regions", photo, matrix, face_frame.REGIONS.size, device)
    corner, base = in_photo(regions, matrix, shape)
    labels = np.array([0, 1, 10, 11, 13, 14, 15, 16], np.uint8)[base]
    shows = regions[1] + regions[7]
    _, hidden = in_photo(np.stack([shows * COVERED, (1 - shows) * (1 - COVERED)]), matrix, shape)
    start, inner = in_photo(features, face_frame.to_window(frame, face_frame.FEATURES), shape)
    within = _at(start - corner, inner.shape)
    placed = np.array([0, 2, 4, 6, 7, 8, 9], np.uint8)[inner]
    np.copyto(labels[within], placed, where=(inner > 0) & (hidden[within] == 0))
    for left in (2, 4, 11):  # brow, eye and ear; the person's right is on the left of the frame
        y, x = np.nonzero(labels == left)
        side = (np.stack([x, y], 1) + corner + 0.5 - frame.centre) @ frame.axis
        labels[y[side < 0], x[side < 0]] = left + 1
    return corner, labels


_TOOLS: dict[str, Callable] = {"lips": _lips, "masks": _masks, "parse": _parse}


def in_photo(found: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> Part:
    """The most probable class of each pixel of a photo (height, width), from probabilities (classes, h, w) in a window.

    matrix (2, 3) maps the photo to the window; beyond the window all is class 0. Classes are warped one at a time, so
    that memory does not grow with their number.
    """
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * found.shape[:0:-1] - 0.5
    corners = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    limits = np.array(shape[::-1])
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, limits)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, low, limits)
    width, height = (high - low).tolist()
    labels = np.zeros((height, width), np.uint8)
    if not labels.size:
        return low, labels
    to_window = matrix.copy()
    to_window[:, 2] += matrix[:, :2] @ low
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    best = cv2.warpAffine(np.ascontiguousarray(found[0]), to_window, (width, height), flags=way, borderValue=1.0)
    for k, plane in enumerate(found[1:], 1):
        value = cv2.warpAffine(np.ascontiguousarray(plane), to_window, (width, height), flags=way)
        higher = value > best
        labels[higher] = k
        np.copyto(best, value, where=higher)
    return low, labels


def _at(corner: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The slices of an array that a part of this shape takes from `corner` (x, y) on."""
    x, y = corner.tolist()
    return slice(y, y + shape[0]), slice(x, x + shape[1])


def _distance(frame: Frame, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32 (H, W): how far pixels of a part of the photo are from the frame's centre, in halves of its side."""
    x = (np.arange(shape[1]) + corner[0] + 0.5 - frame.centre[0]) / frame.half
    y = (np.arange(shape[0]) + corner[1] + 0.5 - frame.centre[1]) / frame.half
    return np.hypot(x[None], y[:, None]).astype(np.float32)
