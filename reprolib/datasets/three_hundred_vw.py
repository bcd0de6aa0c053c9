"""300VW (Shen et al. 2015): videos with 68 landmarks in every frame, in the official layout.

`<root>/300vw/ID/vid.avi` and `ID/annot/000001.pts` … (six digits from 1, one file a frame); the folder may also bear
its official name `300VW_Dataset_2015_12_14`, or be `root` itself.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from reprolib.datasets.clips import ClipSet
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask
from reprolib.datasets.pictures import crop_square, resize_picture
from reprolib.datasets.talking_clips import FACE
from reprolib.errors import UserError

FOLDERS = ("300vw", "300VW_Dataset_2015_12_14")
CATEGORIES = {
    1: "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 "
    "541 546 547 548",
    2: "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553",
    3: "410 411 516 517 526 528 529 530 531 533 557 558 559 562",
}
CATEGORY_OF = {video: category for category, videos in CATEGORIES.items() for video in videos.split()}
TRAINING = 1  # the category that videos of the official training list are given: they have none


def load(root: Path, *, size: int, frames: int, seconds: float = 1.0, every: int = 10) -> ClipSet:
    """The first `frames` frames of every `every`th clip of so many `seconds`, of every video (the paper takes 10 %).

    images uint8 (N, frames, size, size, 3). Every video is another subject. The crop stays where it is through a
    clip. UserError if the folder or a video is missing or unreadable, or a frame is annotated wrongly.
    """
    folder = _folder(root)
    made = {name: [] for name in ("images", "labels", "landmarks", "names", "subjects", "categories")}
    for video in _videos(folder):
        capture = cv2.VideoCapture(str(video / "vid.avi"))
        total, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        length = max(frames, round(seconds * (fps if fps > 0 else 30)))
        if not capture.isOpened() or total < length:
            raise UserError(
                f"{video / 'vid.avi'} should be a video of {length} frames or more, found {max(total, 0)}: "
                "copy this video again"
            )
        for start in range(0, total - length + 1, every * length):
            capture.set(cv2.CAP_PROP_POS_FRAMES, start)
            shown = _read(capture, video, start, frames)
            points = np.stack([read_points(_annotation(video, start + t)) for t in range(frames)])
            low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
            side = max(1, round(float((high - low).max() / FACE)))
            x, y = np.round((low + high) / 2 - side / 2).astype(int).tolist()
            inside = (points - (x, y) + 0.5) * (size / side) - 0.5
            made["images"].append([resize_picture(crop_square(frame, (x, y, side)), size) for frame in shown])
            made["labels"].append([landmark_mask(face, (size, size)) for face in inside])
            made["landmarks"].append(inside)
            made["names"].append(f"{video.name}-{start:05d}")
            made["subjects"].append(video.name)
            made["categories"].append(CATEGORY_OF.get(video.name, TRAINING))
        capture.release()
    return ClipSet(
        images=np.array(made["images"], np.uint8),
        labels=np.array(made["labels"], np.uint8),
        landmarks=np.array(made["landmarks"], np.float32),
        classes=CLASSES,
        names=tuple(made["names"]),
        subjects=tuple(made["subjects"]),
        categories=tuple(made["categories"]),
    )


def check(root: Path) -> list[str]:
    """What is there, one line; UserError if a video or its annotation is missing or not as long as the other."""
    folder = _folder(root)
    videos, frames = _videos(folder), 0
    for video in videos:
        capture = cv2.VideoCapture(str(video / "vid.avi"))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        annotated = len(list((video / "annot").glob("*.pts")))
        if not total:
            raise UserError(f"{video / 'vid.avi'} should be a video with frames, but has none: copy it again")
        if annotated != total:
            raise UserError(f"{video / 'annot'} should hold {total} .pts files, found {annotated}: copy it again")
        read_points(_annotation(video, 0))
        frames += total
    of_category = [sum(CATEGORY_OF.get(video.name) == category for video in videos) for category in CATEGORIES]
    counts = ", ".join(map(str, of_category))
    return [f"300vw: {len(videos)} videos, {frames} frames; test categories 1, 2, 3: {counts} videos"]


def read_points(path: Path) -> np.ndarray:
    """The landmarks float32 (68, 2) of a .pts file, pixels (x, y) from 0, where the files count from 1.

    UserError if it is missing, cut short, or has another number of landmarks.
    """
    try:
        lines = path.read_text().split("{")[1].split("}")[0].split()
        points = np.array(lines, np.float32).reshape(-1, 2) - 1
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: every frame should have its .pts file, copy the video's annotation again"
        ) from error
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} should hold lines 'x y' between braces, but does not: copy this file again") from error
    if len(points) != 68:
        raise UserError(f"{path} should hold 68 landmarks, found {len(points)}: copy this file again")
    if not np.isfinite(points).all():
        raise UserError(f"{path} should hold 68 finite landmarks, found NaN or infinite ones: copy this file again")
    return points


def _annotation(video: Path, frame: int) -> Path:
    return video / "annot" / f"{frame + 1:06d}.pts"


def _read(capture: cv2.VideoCapture, video: Path, start: int, length: int) -> np.ndarray:
    frames = []
    for t in range(length):
        good, frame = capture.read()
        if not good:
            raise UserError(f"{video / 'vid.avi'} cannot be decoded beyond frame {start + t}: copy this video again")
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return np.stack(frames)


def _folder(root: Path) -> Path:
    root = Path(root)
    for folder in (*(root / name for name in FOLDERS), root):
        if folder.is_dir() and _videos_of(folder):
            return folder
    raise UserError(
        f"{root} should hold 300vw/ID/vid.avi with ID/annot/000001.pts, but does not: "
        "unpack the dataset there in its official layout"
    )


def _videos(folder: Path) -> list[Path]:
    videos = _videos_of(folder)
    for video in videos:
        if not (video / "vid.avi").is_file():
            raise UserError(f"{video} should hold vid.avi, but does not: copy this video again")
    return videos


def _videos_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and (path / "annot").is_dir())
