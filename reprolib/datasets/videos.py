"""Frames of video files, the same for every dataset: counted as they are decoded, never as the header says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from reprolib.errors import UserError

SUFFIXES = (".mp4", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm")
# The first bytes of the usual container formats, by offset. A playlist is not one: it would lead to other files.
CONTAINERS = {
    0: (b"RIFF", b"\0\0\1\xba", b"\0\0\1\xb3", b"\x1aE\xdf\xa3", b"G", b"OggS", b"FLV", b"0&\xb2u"),
    4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),
}
LARGEST = 4 * 2**30  # bytes of decoded frames, held at once


def frames(video: Path) -> Iterator[np.ndarray]:
    """The frames of a video one after another, uint8 (H, W, 3) RGB, until one cannot be decoded.

    UserError if the file is missing or no frame of it can be decoded.
    """
    capture = _capture(video)
    try:
        some = False
        while (frame := _next(capture)) is not None:
            some = True
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if not some:
        raise UserError(f"{video} should be a video, but no frame of it can be decoded: copy this file again")


def read(video: Path, *, first: int | None = None) -> np.ndarray:
    """All frames of a video, or the first `first` of them: uint8 (T, H, W, 3) RGB.

    UserError as in `frames`, if there are fewer, or if they take more than `LARGEST` bytes.
    """
    found = []
    for frame in frames(video):
        found.append(frame)
        if len(found) == first:
            break
        if len(found) * frame.nbytes > LARGEST:
            raise UserError(
                f"{video} should be a short clip, but its frames take more than {LARGEST / 2**30:.0f} GB: "
                "cut it into shorter clips"
            )
    if first is not None and len(found) < first:
        raise UserError(f"{video} should have {first} frames or more, found {len(found)}: copy this clip again")
    return np.stack(found)


def read_frame(video: Path, index: int) -> np.ndarray:
    """Frame `index` of a video, uint8 (H, W, 3) RGB; UserError if it cannot be decoded that far."""
    capture = _capture(video)
    try:
        good = all(_grab(capture) for _ in range(index))
        frame = _next(capture) if good else None
    finally:
        capture.release()
    if frame is None:
        raise UserError(f"{video} cannot be decoded up to frame {index}: copy this clip again")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def windows(video: Path, starts: Iterable[int], length: int) -> Iterator[np.ndarray]:
    """`length` frames from each of `starts`, which rise by at least `length`: uint8 (length, H, W, 3) RGB.

    Frames in between are decoded, too, since seeking is not exact to the frame in every codec. Ends where the video
    cannot be decoded further. UserError if the file is missing or no video.
    """
    capture, at = _capture(video), 0
    try:
        for start in starts:
            good = all(_grab(capture) for _ in range(start - at))
            shown = [_next(capture) if good else None for _ in range(length)]
            if any(frame is None for frame in shown):
                return
            at = start + length
            yield np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in shown])
    finally:
        capture.release()


def count(video: Path, *, expected: int | None = None) -> tuple[int, float]:
    """How many frames a video has, and how many per second (0 where it does not say); UserError as in `frames`.

    Where the header says that there are as many as `expected`, it is believed; else all frames are decoded.
    """
    capture = _capture(video)
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if expected is None or total != expected or not _grab(capture):
            capture.release()
            capture, total = _capture(video), 0
            while _grab(capture):
                total += 1
    finally:
        capture.release()
    if not total:
        raise UserError(f"{video} should be a video, but no frame of it can be decoded: copy this file again")
    return total, rate if np.isfinite(rate) and rate > 0 else 0.0


def _capture(video: Path) -> cv2.VideoCapture:
    try:
        with video.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise UserError(f"{video} {what}: copy this file again from the original dataset") from error
    if not start:
        raise UserError(f"{video} should be a video, but is empty: no frame of it can be decoded, copy it again")
    if not any(start[at:].startswith(begins) for at, begins in CONTAINERS.items()):
        raise UserError(
            f"{video} should be a video, but no frame of it can be decoded: its first bytes are not those of a video, "
            "copy it again"
        )
    # this backend alone: others take a % in a name for a series of images
    return cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)


def _grab(capture: cv2.VideoCapture) -> bool:
    try:
        return capture.grab()
    except cv2.error:
        return False


def _next(capture: cv2.VideoCapture) -> np.ndarray | None:
    try:
        good, frame = capture.read()
    except cv2.error:
        return None
    return frame if good else None
