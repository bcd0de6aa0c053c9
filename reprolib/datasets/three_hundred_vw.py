"""300VW (Shen et al. 2015): videos with 68 landmarks in every frame, in the official layout.

`<root>/300vw/ID/vid.avi` and `ID/annot/000001.pts` … (six digits from 1, one file a frame); the folder may also bear
its official name `300VW_Dataset_2015_12_14`, or be `root` itself. The official lists of frames with doubtful
annotation (`extra.zip`) are not read, as wang2018 does not say that its authors left such frames out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib.datasets.clips import ClipSet
from reprolib.datasets.landmark_masks import CLASSES, landmark_mask
from reprolib.datasets.pictures import crop_square, resize_picture
from reprolib.datasets.talking_clips import around
from reprolib.errors import UserError

FOLDERS = ("300vw", "300VW_Dataset_2015_12_14")
CATEGORIES = {
    1: "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 "
    "541 546 547 548",
    2: "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553",
    3: "410 411 516 517 526 528 529 530 531 533 557 558 559 562",
}
CATEGORY_OF = {video: category for category, videos in CATEGORIES.items() for video in videos.split()}
TRAINING = (
    "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039 041 043 "
    "044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225"
)
UNKNOWN = 0  # the category of videos of the official training list: they have none


def load(
    root: Path, *, size: int, frames: int, seconds: float = 1.0, every: int = 10, count: int | None = None,
    progress: bool = True,
) -> ClipSet:  # fmt: skip
    """The first `frames` frames of every `every`th clip of so many `seconds`, of every video (the paper draws 10 %).

    images uint8 (N, frames, size, size, 3). With a `count`, at most so many clips, evenly spaced over all of them.
    Every video is another subject. The crop stays where it is through a clip. UserError if the folder or a video is
    missing or unreadable, or a frame is annotated wrongly.
    """
    chosen = []
    for video in _videos(_folder(root)):
        total, fps = _length(video)
        length = max(frames, round(seconds * (fps if fps > 0 else 30)))
        if total < length:
            raise UserError(
                f"{video / 'vid.avi'} should be a video of {length} frames or more, found {total}: "
                "copy this video again"
            )
        chosen += [(video, start) for start in range(0, total - length + 1, every * length)]
    if count is not None and count < len(chosen):
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, count).astype(int)]

    images = np.empty((len(chosen), frames, size, size, 3), np.uint8)
    labels = np.empty((len(chosen), frames, size, size), np.uint8)
    landmarks = np.empty((len(chosen), frames, 68, 2), np.float32)
    read = _read(tqdm(chosen, "clips of 300VW", disable=not progress), frames)
    for i, ((video, start), shown) in enumerate(zip(chosen, read, strict=True)):
        points = np.stack([read_points(_annotation(video, start + t)) for t in range(frames)])
        x, y, side = around(points)
        landmarks[i] = (points - (x, y) + 0.5) * (size / side) - 0.5  # pixel centres
        for t, frame in enumerate(shown):
            images[i, t] = resize_picture(crop_square(frame, (x, y, side)), size)
            labels[i, t] = landmark_mask(landmarks[i, t], (size, size))
    return ClipSet(
        images=images,
        labels=labels,
        landmarks=landmarks,
        classes=CLASSES,
        names=tuple(f"{video.name}-{start:05d}" for video, start in chosen),
        subjects=tuple(video.name for video, _ in chosen),
        categories=tuple(CATEGORY_OF.get(video.name, UNKNOWN) for video, _ in chosen),
    )


def check(root: Path) -> list[str]:
    """What is there, one line per part; UserError if a video or its annotation is missing or not as long as the other.

    Of the annotation, one file of each video is read.
    """
    folder = _folder(root)
    videos, frames = _videos(folder), 0
    for video in videos:
        total, _ = _length(video)
        annotated = len(list((video / "annot").glob("*.pts")))
        if not total:
            raise UserError(f"{video / 'vid.avi'} should be a video with frames, but has none: copy it again")
        if annotated != total:
            raise UserError(f"{video / 'annot'} should hold {total} .pts files, found {annotated}: copy it again")
        read_points(_annotation(video, 0))
        frames += total
    there = {video.name for video in videos}
    of_category = ", ".join(str(len(there & set(of_one.split()))) for of_one in CATEGORIES.values())
    official = {*CATEGORY_OF, *TRAINING.split()}
    return [
        f"300vw: {len(videos)} videos, {frames} frames; test categories 1, 2, 3: {of_category} videos",
        f"300vw: {len(official & there)} of the {len(official)} official videos are there",
    ]


def read_points(path: Path) -> np.ndarray:
    """The landmarks float32 (68, 2) of a .pts file, pixels (x, y) from 0, where the files count from 1.

    UserError if it is missing, cut short, or has another number of landmarks.
    """
    try:
        text = path.read_text()
        points = np.array(text[text.index("{") + 1 : text.index("}")].split(), np.float32).reshape(-1, 2) - 1
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: every frame should have its .pts file, copy the video's annotation again"
        ) from error
    except ValueError as error:
        raise UserError(f"{path} should hold lines 'x y' between braces, but does not: copy this file again") from error
    if len(points) != 68:
        raise UserError(f"{path} should hold 68 landmarks, found {len(points)}: copy this file again")
    if not np.isfinite(points).all():
        raise UserError(f"{path} should hold 68 finite landmarks, found NaN or infinite ones: copy this file again")
    return points


def _annotation(video: Path, frame: int) -> Path:
    return video / "annot" / f"{frame + 1:06d}.pts"


def _length(video: Path) -> tuple[int, float]:
    """Frames and frames per second; 0 frames if the video cannot be opened."""
    capture = cv2.VideoCapture(str(video / "vid.avi"))
    total, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return max(total, 0), fps


def _read(chosen: Iterable[tuple[Path, int]], length: int) -> Iterator[list[np.ndarray]]:
    """`length` RGB frames from each (video, start); the starts of a video follow one another.

    Frames between are decoded, too: jumps in a video are not exact to the frame in every codec.
    """
    video, capture, at = None, None, 0
    for wanted, start in chosen:
        if wanted != video:
            video, capture, at = wanted, cv2.VideoCapture(str(wanted / "vid.avi")), 0
        good = all(capture.grab() for _ in range(start - at))
        frames = []
        for _ in range(length):
            good, frame = capture.read() if good else (False, None)
            if not good:
                raise UserError(
                    f"{video / 'vid.avi'} cannot be decoded up to frame {start + length}: copy this video again"
                )
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        at = start + length
        yield frames


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
    return sorted(path for path in folder.iterdir() if (path / "annot").is_dir() or (path / "vid.avi").is_file())
