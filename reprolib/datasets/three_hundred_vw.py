"""300VW (Shen et al. 2015): videos with 68 landmarks in every frame, in the official layout.

`<root>/300vw/ID/vid.avi` and `ID/annot/000001.pts` … (six digits from 1, one file per frame); the folder may also have
its official name `300VW_Dataset_2015_12_14`, or be `root` itself. The official lists of frames with doubtful
annotation (`extra.zip`) are not read, as wang2018 does not say that its authors left such frames out.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reprolib.datasets import folders, videos
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.folders import Skipped
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
    """Each video cut into clips of `seconds`: the first `frames` frames of one in `every` (the paper takes 10 %).

    images uint8 (N, frames, size, size, 3). With a `count`, at most so many clips, evenly spaced over all of them.
    Every video is a different subject. The crop is fixed through a clip. A few damaged videos and clips are left out
    with a warning (`folders.Skipped`). UserError if the folder is missing or too many are damaged.
    """
    damaged, chosen = Skipped("videos of 300vw", len(_videos(root))), []
    for video in _videos(root):
        with damaged.item():
            total, fps = _length(video)
            length = max(frames, round(seconds * (fps or 30)))
            if total < length:
                raise UserError(
                    f"{video / 'vid.avi'} should be a video of {length} frames or more, found {total}: "
                    "copy this video again"
                )
            chosen += [(video, start) for start in range(0, total - length + 1, every * length)]
    damaged.warn()
    if count is not None and count < len(chosen):
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, count).astype(int)]

    images, landmarks, kept = [], [], []
    skipped = Skipped("clips of 300vw", len(chosen))
    with tqdm(total=len(chosen), desc="clips of 300VW", disable=not progress) as bar:
        for video, of_video in groupby(chosen, key=lambda clip: clip[0]):
            starts = [start for _, start in of_video]
            read = videos.windows(video / "vid.avi", starts, frames)
            for start in starts:
                bar.update()
                with skipped.item():
                    image, points = _clip(video, start, next(read, None), frames, size)
                    images.append(image)
                    landmarks.append(points)
                    kept.append((video, start))
    skipped.warn()
    return ClipSet(
        images=np.stack(images),
        labels=np.array([[landmark_mask(points, (size, size)) for points in clip] for clip in landmarks]),
        landmarks=np.stack(landmarks),
        classes=CLASSES,
        names=tuple(f"{video.name}-{start:05d}" for video, start in kept),
        subjects=tuple(video.name for video, _ in kept),
        categories=tuple(CATEGORY_OF.get(video.name, UNKNOWN) for video, _ in kept),
    )


def _clip(video: Path, start: int, shown: np.ndarray | None, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (T, size, size, 3) and landmarks float32 (T, 68, 2) of a clip; UserError if it is damaged."""
    if shown is None:
        raise UserError(f"{video / 'vid.avi'} cannot be decoded up to frame {start + frames}: copy this video again")
    points = np.stack([read_points(_annotation(video, start + t)) for t in range(frames)])
    x, y, side = around(points)
    images = np.stack([resize_picture(crop_square(frame, (x, y, side)), size) for frame in shown])
    return images, ((points - (x, y) + 0.5) * (size / side) - 0.5).astype(np.float32)  # pixel centres


def check(root: Path) -> list[str]:
    """A report on what was found and what is damaged; UserError if too much is.

    A video is damaged if it is missing or undecodable, or its annotation is missing or has another length. One
    annotation file of each video is read.
    """
    found, frames, damaged = [], 0, Skipped("videos of 300vw", len(_videos(root)))
    for video in _videos(root):
        with damaged.item():
            total, _ = _length(video)
            read_points(_annotation(video, 0))
            frames += total
            found.append(video.name)
    there = set(found)
    of_category = ", ".join(str(len(there & set(of_one.split()))) for of_one in CATEGORIES.values())
    official = {*CATEGORY_OF, *TRAINING.split()}
    return [
        f"300vw: {len(found)} videos, {frames} frames; test categories 1, 2, 3: {of_category} videos",
        f"300vw: {len(official & there)} of the {len(official)} official videos are there",
        *damaged.lines(),
    ]


def read_points(path: Path) -> np.ndarray:
    """The landmarks float32 (68, 2) of a .pts file, pixels (x, y) from 0, where the files count from 1.

    UserError if it is missing, no text, cut short, or has another number of landmarks.
    """
    text = folders.read_text(path)
    try:
        points = np.array(text[text.index("{") + 1 : text.index("}")].split(), np.float32).reshape(-1, 2) - 1
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
    """Frames and frames per second (0: unknown); UserError if the video is damaged or annotated to another length."""
    annotated = len(folders.files(video / "annot", ".pts"))
    total, fps = videos.count(video / "vid.avi", expected=annotated)
    if annotated != total:
        raise UserError(f"{video / 'annot'} should hold {total} .pts files, found {annotated}: copy it again")
    return total, fps


def _videos(root: Path) -> list[Path]:
    """The videos' folders; UserError if there is none."""
    return _videos_in(
        folders.dataset_folder(
            root,
            FOLDERS,
            holds=lambda folder: bool(_videos_in(folder)),
            layout="300vw/ID/vid.avi with ID/annot/000001.pts",
        )
    )


def _videos_in(folder: Path) -> list[Path]:
    inner = folders.subfolders(folder)
    return [path for path in inner if (path / "annot").is_dir() or (path / "vid.avi").is_file()]
