"""How good and how fast `parse`, `lips` and `masks` are, beside polygons of dlib's and MediaPipe's landmarks.

    python benchmarks/photo_tools.py --data-root DATA

Scores: the 120 test faces of CelebAMask-HQ (`datasets/celebamask_split.csv`) and the second half of AFW's photos, whose
points were set by hand. No weights saw either; dlib's landmarks were trained on AFW. MediaPipe is left out where
it is not installed (it is not a dependency). Every method sees whole photos and finds the faces itself; where it finds
none, all is background. F1 and IoU are pooled over faces. Seconds are those of one processor, after the first photo.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from reprolib import photos
from reprolib.datasets.landmark_masks import inside, landmark_mask
from reprolib.datasets.three_hundred_vw import read_points
from reprolib.face_finding import find_faces
from reprolib.photo_files import blended, palette
from reprolib.weights.train import SPLIT, sides_by_place

# CelebAMask-HQ's numbers of each part, ours in `parse`
PARTS = {
    "brows": ((6, 7), (2, 3)), "eyes": ((4, 5), (4, 5)), "nose": ((2,), (6,)), "mouth": ((10, 11, 12), (7, 8, 9)),
    "lips": ((11, 12), (7, 9)), "inner mouth": ((10,), (8,)), "skin": ((1,), (1,)), "hair": ((13,), (10,)),
    "ears": ((8, 9), (11, 12)), "neck": ((17,), (13,)), "cloth": ((18,), (14,)), "hat": ((14,), (15,)),
    "glasses": ((3,), (16,)),
}  # fmt: skip
SHOWN, SHOWN_SIDE = 6, 150  # faces of the strip, pixels
MOST_FACES = 10  # of a photo of AFW, for MediaPipe
OPEN = 0.004  # of the picture: inner mouths from this area on are open


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--part", default="test", choices=("validation", "test"), help="of CelebAMask-HQ; AFW's half")
    parser.add_argument("--count", type=int, default=None, help="faces of each set; all when left out")
    parser.add_argument("--write", type=Path, default=None, help="also write the tables to this Markdown file")
    parser.add_argument("--picture", type=Path, default=None, help="write a strip of a few faces with their masks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with SPLIT.open(encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["part"] == options.part][: options.count]
    root = options.data_root / "celebamask"
    pictures = [np.array(Image.open(root / "images" / f"{name}.jpg").convert("RGB")) for name in names]
    truths = [sides_by_place(np.array(Image.open(root / "masks" / f"{name}.png"))) for name in names]
    methods: dict[str, Callable] = {"parse": ours, "dlib polygons": dlib_polygons}
    if find_spec("mediapipe"):
        methods["MediaPipe polygons"] = mediapipe_polygons()
    if options.picture:
        Image.fromarray(strip(pictures[:: max(1, len(pictures) // SHOWN)][:SHOWN])).save(options.picture, quality=85)
    tables = [f"CelebAMask-HQ, {len(names)} {options.part} faces:"]
    results = []
    for name, method in methods.items():
        found, seconds = timed(method, pictures)
        missed = sum(not labels.any() for labels in found)
        results.append((name, celebamask_scores(found, truths) | {"faces missed": missed, "s per photo": seconds}))
    tables.append(table(results))

    paths = afw(options.data_root, second=options.part == "test")[: options.count]
    pictures = [np.array(Image.open(path).convert("RGB")) for path in paths]
    points = [read_points(path.with_suffix(".pts")) for path in paths]
    truths = [landmark_mask(p, picture.shape[:2]) for p, picture in zip(points, pictures, strict=True)]
    methods = {"masks": masks, "dlib polygons": dlib_masks}
    if find_spec("mediapipe"):
        methods["MediaPipe polygons"] = as_masks(mediapipe_polygons(faces=MOST_FACES))
    tables.append(f"AFW, {len(paths)} faces with points set by hand, IoU:")
    results = []
    for name, method in methods.items():
        found, seconds = timed(method, pictures)
        known = [k for k in range(1, 5) if any((labels == k).any() for labels in found)]
        scores = {photos.CLASSES["masks"][k]: iou(found, truths, (k,), (k,)) for k in known}
        missed = sum(not labels.any() for labels in found)
        results.append((name, scores | {"faces missed": missed, "s per photo": seconds}))
    tables.append(table(results))
    text = "\n\n".join(tables)
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")


def strip(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures over what `parse`, `masks` and `lips` find in them: uint8 (4 · side, pictures · side, 3)."""
    columns = []
    for picture in pictures:
        column = [picture]
        for tool in ("parse", "masks", "lips"):
            found = photos.label(picture, tool)
            column.append(blended(picture, found.labels, palette(found.classes)))
        small = [cv2.resize(image, (SHOWN_SIDE, SHOWN_SIDE), interpolation=cv2.INTER_AREA) for image in column]
        columns.append(np.concatenate(small, 0))
    return np.concatenate(columns, 1)


def table(results: list[tuple[str, dict[str, float]]]) -> str:
    """A Markdown table: a line per score, a column per method; "–" where a method does not know a part."""
    rows = list(dict.fromkeys(row for _, scores in results for row in scores))
    lines = ["| | " + " | ".join(name for name, _ in results) + " |", "|---" * (1 + len(results)) + "|"]
    for row in rows:
        cells = [scores.get(row) for _, scores in results]
        shown = ["–" if c is None else str(c) if isinstance(c, int) else f"{c:.3f}" for c in cells]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def afw(root: Path, *, second: bool) -> list[Path]:
    """The faces of one half of AFW's photos: faces of one photo are in one half."""
    paths = sorted((root / "landmarks300w" / "afw").glob("*.jpg"))
    shown = sorted({path.stem.rsplit("_", 1)[0] for path in paths})
    half = set(shown[1::2] if second else shown[::2])
    return [path for path in paths if path.stem.rsplit("_", 1)[0] in half]


def timed(method: Callable, pictures: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """What a method finds, and its processor seconds per picture without the first."""
    found = [method(pictures[0])]
    start = time.process_time()
    found += [method(picture) for picture in pictures[1:]]
    return found, (time.process_time() - start) / max(1, len(pictures) - 1)


def ours(picture: np.ndarray) -> np.ndarray:
    """`parse` of the largest face."""
    return photos.label(picture, "parse", largest=True).labels


def masks(picture: np.ndarray) -> np.ndarray:
    """`masks` of the face nearest to the middle, which is the annotated one."""
    faces = find_faces(picture)
    middle = np.divide(picture.shape[1::-1], 2)
    faces = sorted(faces, key=lambda face: np.hypot(*(face.points.mean(0) - middle)))[:1]
    return photos.label(picture, "masks", faces=faces).labels


def dlib_masks(picture: np.ndarray) -> np.ndarray:
    """Polygons of dlib's points of the face nearest to the middle."""
    middle = np.divide(picture.shape[1::-1], 2)
    faces = sorted(find_faces(picture), key=lambda face: np.hypot(*(face.points.mean(0) - middle)))
    return landmark_mask(faces[0].points, picture.shape[:2]) if faces else np.zeros(picture.shape[:2], np.uint8)


def dlib_polygons(picture: np.ndarray) -> np.ndarray:
    """Eyes, lips and inner mouth as `parse` numbers them, from polygons of dlib's points."""
    faces = find_faces(picture, largest=True)
    labels = np.zeros(picture.shape[:2], np.uint8)
    if faces:
        outline = landmark_mask(faces[0].points, picture.shape[:2])
        labels = np.array([0, 1, 4, 7, 8], np.uint8)[outline]
    return labels


def mediapipe_polygons(faces: int = 1, *, video: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """The same from MediaPipe's face mesh with refined lips and eyes, of the face nearest to the middle.

    video: the pictures are frames of one video, in their order.
    """
    import mediapipe as mp

    mesh = mp.solutions.face_mesh
    finder = mesh.FaceMesh(static_image_mode=not video, refine_landmarks=True, max_num_faces=faces)
    outer = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146]
    inner = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]
    right = [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7]
    left = [263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249]

    def label(picture: np.ndarray) -> np.ndarray:
        labels = np.zeros(picture.shape[:2], np.uint8)
        height, width = labels.shape
        found = [
            np.array([(p.x * width - 0.5, p.y * height - 0.5) for p in face.landmark])
            for face in finder.process(picture).multi_face_landmarks or ()
        ]
        if found:
            points = min(found, key=lambda points: np.hypot(*(points.mean(0) - (width / 2, height / 2))))
            for number, outline in ((4, left), (5, right), (7, outer), (8, inner)):
                labels[inside(points[outline], labels.shape)] = number
        return labels

    return label


def as_masks(polygons: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Polygons that are numbered as `parse` numbers its classes, in the classes of `masks`."""
    numbers = np.zeros(9, np.uint8)
    numbers[[4, 5, 7, 8]] = 2, 2, 3, 4
    return lambda frame: numbers[polygons(frame)]


def celebamask_scores(found: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float]:
    """F1 of every part that the method knows, IoU of the lips, and of inner mouths that are open."""
    scores = {}
    for part, (theirs, ours_) in PARTS.items():
        if any(np.isin(labels, ours_).any() for labels in found):
            score = iou(found, truths, ours_, theirs)
            scores[f"F1 {part}"] = 2 * score / (1 + score)
    scores["IoU lips"] = iou(found, truths, *PARTS["lips"][::-1])
    opened = [i for i, labels in enumerate(truths) if (labels == 10).mean() >= OPEN]
    pairs = [found[i] for i in opened], [truths[i] for i in opened]
    scores[f"IoU inner mouth ({len(opened)} open)"] = iou(*pairs, *PARTS["inner mouth"][::-1])
    return scores


def iou(found: list[np.ndarray], truths: list[np.ndarray], ours_: tuple, theirs: tuple) -> float:
    """Intersection over union of the numbers `ours_` in found and `theirs` in truths, pooled; NaN if there are none."""
    both = either = 0
    for labels, truth in zip(found, truths, strict=True):
        one, other = np.isin(labels, ours_), np.isin(truth, theirs)
        both += (one & other).sum()
        either += (one | other).sum()
    return float(both / either) if either else float("nan")


if __name__ == "__main__":
    main()
