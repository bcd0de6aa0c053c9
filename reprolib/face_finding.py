"""Find the faces of a photo and their 68 landmarks: of any size, tilted by up to about 30°, in rotated photos too.

dlib's detector (extra `landmarks`) finds faces of 80 pixels or more that are upright to some 15°. Here it runs on the
photo at several sizes and, if it finds nothing, on rotated copies. Of the detectors that need no download it misses the
fewest faces and is the fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from reprolib.datasets import landmarks
from reprolib.face_frame import Window, cut, frame_of, to_window

SEEN = 80  # pixels: the smallest face that dlib finds
SIDE = 640  # pixels: the longer side of the first, smallest copy of a photo
TURNED_SIDE = 1280  # pixels: the longer side up to which copies are turned, too
LARGEST_COPY = 50_000_000  # pixels: no copy is enlarged beyond
TILTS = (-30, 30)  # degrees
QUARTERS = (90, -90, 180)  # degrees: for photos that are not stored upright
RATIO = 3  # faces down to a third of the largest are searched for
WEAK = -0.3  # the lowest dlib score of a face that is kept in case no better one is found; dlib's own threshold is 0
PREDICTED_WIDTH = 200  # pixels: the width at which dlib places landmarks
BOX = np.array([-0.595, -0.395, 0.595, 0.79])  # dlib's box of a face on average, in halves of its frame's side
AGAIN = 12  # frames after which faces are looked for again
STILL = 0.015  # of a face's size: landmarks that move less are smoothed


@dataclass(frozen=True)
class FoundFace:
    """points: float32 (68, 2), x and y in pixels, integers at pixel centres; score: dlib's, > 0 for a clear face."""

    points: np.ndarray
    score: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the box around the landmarks: brows to chin."""
        low, high = np.floor(self.points.min(0)), np.ceil(self.points.max(0)) + 1
        return (*low.astype(int).tolist(), *(high - low).astype(int).tolist())

    @property
    def width(self) -> float:
        """The longer side of the box."""
        return float(np.ptp(self.points, axis=0).max())


def find_faces(photo: np.ndarray, *, largest: bool = False) -> list[FoundFace]:
    """The faces of a uint8 (H, W, 3) RGB photo, the largest first; only that one with `largest`.

    Faces smaller than a third of the largest are not searched for. If no face is clear, the unclear ones (score of at
    most 0) are returned. UserError if dlib is not installed.
    """
    clear: list[FoundFace] = []
    unclear: list[FoundFace] = []
    turned, searched = False, 0.0
    for scale in _scales(photo):
        if not turned and not clear and max(photo.shape[:2]) * scale > TURNED_SIDE:
            turned = True
            _search_turned(photo, clear, unclear)
        if clear and (largest or SEEN / searched <= max(face.width for face in clear) / RATIO):
            break
        _search(
            _scaled(photo, scale),
            np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]]),
            photo,
            clear,
            unclear,
        )
        searched = scale
    if not turned and not clear:
        _search_turned(photo, clear, unclear)
    found = sorted(clear or unclear, key=lambda face: -face.width)
    return found[:1] if largest else found


def _scales(photo: np.ndarray) -> Iterator[float]:
    """Sizes of copies, from small to large: doubled each time up to the photo's own, then twice that."""
    height, width = photo.shape[:2]
    scale = min(2.0, SIDE / max(height, width))
    if scale > 1:
        scale = 2.0 if max(height, width) <= SIDE / 2 else 1.0
    while scale < 1:
        yield scale
        scale *= 2
    yield 1.0 if scale < 2 else scale
    if 4 * height * width <= LARGEST_COPY:
        yield 2.0 if scale < 2 else 2 * scale


def _scaled(photo: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return photo
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=way)


def _search_turned(photo: np.ndarray, clear: list[FoundFace], unclear: list[FoundFace]) -> None:
    """Search small copies of the photo tilted to both sides; then, for clear faces only, on a side or upside down."""
    for angles, weak in ((TILTS, unclear), (QUARTERS, [])):
        for scale in _scales(photo):
            if max(photo.shape[:2]) * scale > TURNED_SIDE or clear:
                break
            copy = _scaled(photo, scale)
            for angle in angles:
                turned, turn = _turned(copy, angle)
                to_turned = turn @ np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
                _search(turned, to_turned, photo, clear, weak)


def _turned(photo: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo rotated by `angle` degrees on a canvas that holds all of it, and the affine map (2, 3) to that canvas."""
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle, 1.0)
    size = np.ceil(np.abs(turn[:, :2]).round(6) @ (width, height)).astype(int)
    turn[:, 2] += (size - (width, height)) / 2
    return cv2.warpAffine(photo, turn, size.tolist()), turn


def _search(
    copy: np.ndarray, to_copy: np.ndarray, photo: np.ndarray, clear: list[FoundFace], unclear: list[FoundFace]
) -> None:
    """Add the faces in a copy of the photo that are not listed yet; `to_copy` (2, 3) maps the photo to the copy."""
    detector, _ = landmarks._dlib_models()
    boxes, scores, _ = detector.run(np.ascontiguousarray(copy), 0, WEAK)
    for box, score in sorted(zip(boxes, scores, strict=True), key=lambda found: -found[1]):
        corners = np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1], np.float64) - 0.5
        face = FoundFace(place_landmarks(photo, corners, to_copy), float(score))
        others = clear if score > 0 else unclear
        if not any(_same(face, other) for other in others):
            others.append(face)


def _same(one: FoundFace, other: FoundFace) -> bool:
    """Whether two detections are one face: their centres are closer than a third of the larger width."""
    distance = np.hypot(*(one.points.mean(0) - other.points.mean(0)))
    return bool(distance < max(one.width, other.width) / 3)


def place_landmarks(photo: np.ndarray, corners: np.ndarray, to_copy: np.ndarray) -> np.ndarray:
    """The 68 landmarks of the face in a box, float32 (68, 2) in pixels of the photo.

    corners: left, top, right, bottom of the box in a copy of the photo; to_copy (2, 3) maps the photo to the copy. dlib
    places points on whole pixels, so every face is scaled to one width: small ones are then not coarse, large ones not
    slow. UserError if dlib is not installed.
    """
    _, predictor = landmarks._dlib_models()
    import dlib

    # a patch of the copy with half a box on every side
    scale = PREDICTED_WIDTH / (corners[2] - corners[0])
    margin = PREDICTED_WIDTH // 2
    to_patch = np.vstack([to_copy, (0, 0, 1)])
    shift = margin - 0.5 - scale * corners[:2]
    to_patch = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]) @ to_patch
    height = round((corners[3] - corners[1]) * scale)
    patch = cut(photo, to_patch, (height + 2 * margin, PREDICTED_WIDTH + 2 * margin))
    shape = predictor(patch, dlib.rectangle(margin, margin, margin + PREDICTED_WIDTH - 1, margin + height - 1))
    points = np.array([(p.x, p.y) for p in shape.parts()], np.float64)
    return ((points - to_patch[:, 2]) @ np.linalg.inv(to_patch[:, :2]).T).astype(np.float32)


def follow(frame: np.ndarray, face: FoundFace) -> FoundFace:
    """The face in a video's next frame, its landmarks placed anew where it was; UserError if dlib is not installed."""
    size = 256
    corners = (BOX + 1) * size / 2 - 0.5
    to_copy = to_window(frame_of(face.points), Window(down=0.0, half=1.0, size=size))
    return FoundFace(place_landmarks(frame, corners, to_copy), face.score)


class Tracker:
    """The faces of a video, frame by frame, in a fixed order: searched for every `AGAIN` frames, followed in between.

    steady: landmarks that hardly move are averaged over time. A face that one search misses is followed until the next
    search, and dropped if that misses it too.
    """

    def __init__(self, *, largest: bool = False, steady: bool = False):
        self.largest = largest
        self.steady = steady
        self.faces: list[FoundFace] = []
        self._missed: list[int] = []
        self._count = 0

    def update(self, frame: np.ndarray) -> list[FoundFace]:
        """The faces of the next frame, uint8 (H, W, 3) RGB."""
        before = self.faces
        self.faces = [follow(frame, face) for face in before]
        if not self.faces or self._count % AGAIN == 0:
            self._search(frame)
        if self.steady:
            self.faces = [self._steadied(face, before) for face in self.faces]
        self._count += 1
        return self.faces

    def drop(self, face: FoundFace) -> None:
        """Drop a false detection, and search for faces again in the next frame."""
        index = next(i for i, other in enumerate(self.faces) if other is face)
        del self.faces[index], self._missed[index]
        self._count = 0

    def _search(self, frame: np.ndarray) -> None:
        found = [face for face in find_faces(frame, largest=self.largest) if face.score > 0]
        kept, missed = [], []
        for face, failures in zip(self.faces, self._missed, strict=True):
            seen = any(_same(face, other) for other in found)
            if seen or failures == 0:
                kept.append(face)
                missed.append(0 if seen else failures + 1)
            found = [other for other in found if not _same(face, other)]
        if self.largest:
            found = found if not kept else []
        self.faces, self._missed = kept + found, missed + [0] * len(found)

    @staticmethod
    def _steadied(face: FoundFace, before: list[FoundFace]) -> FoundFace:
        last = next((other for other in before if _same(face, other)), None)
        if last is None:
            return face
        moved = float(np.hypot(*(face.points - last.points).T).mean()) / face.width
        share = min(1.0, max(0.25, moved / STILL))
        return FoundFace(last.points + np.float32(share) * (face.points - last.points), face.score)
