"""From a video of a speaker to landmarks and a clip of the mouth, as lip-reading networks take it.

    from reprolib import mouth_clips
    clip = mouth_clips.read("me.mp4")
    clip.mouth.shape  # (frames, 112, 112)

The preparation is that of our loaders for sheng2021 (`datasets.speech`): the whole clip is aligned by one similarity
transform, and the crop follows the mouth.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib import photo_files
from reprolib.datasets import videos
from reprolib.datasets.landmarks import save_arrays
from reprolib.datasets.speech import alignment, fill_gaps, mouth_crops, move, moved_frame
from reprolib.errors import UserError
from reprolib.face_finding import Tracker
from reprolib.video_files import frame_rate
from reprolib.video_writer import VideoWriter

SIZE = 112  # pixels, sheng2021
ALIGNED = 160 / 112  # side of the aligned face over the side of the crop
CUT = 30.0  # grey levels: a larger mean change from one frame to the next is a cut
CUT_SIDE = 32  # pixels at which frames are compared
LONGEST_GAP = 0.5  # a clip is refused if this share of its frames, or more, has no face


@dataclass(frozen=True)
class MouthClip:
    """A speaker's mouth in a video of T frames.

    mouth: uint8 (T, size, size), grey. landmarks: float32 (T, 68, 2), x and y in pixels of the video, interpolated in
    time where no face was found. in_crop: the same in pixels of `mouth`. seen: bool (T,), false where no face was
    found. fps: frames per second.
    """

    mouth: np.ndarray
    landmarks: np.ndarray
    in_crop: np.ndarray
    seen: np.ndarray
    fps: float


def read(video: Path | str, *, size: int = SIZE, aligned: bool = True, fps: float | None = None) -> MouthClip:
    """Landmarks and mouth of the largest face of a video, resampled to `fps` frames per second if given.

    aligned: the head is turned upright, by one angle for the whole clip. The video is read twice, so that memory holds
    only crops. UserError if it cannot be read, shows no face in half of its frames or more, has a cut in it, or dlib is
    not installed.
    """
    video = Path(video)
    count, rate = frame_rate(video)
    tracker, points, last, jump = Tracker(largest=True), [], None, None
    for t, frame in enumerate(tqdm(videos.frames(video), video.name, total=count, disable=None, unit="frame")):
        faces = tracker.update(frame)
        points.append(faces[0].points if faces else np.full((68, 2), np.nan, np.float32))
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (CUT_SIDE, CUT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        if jump is None and last is not None and np.abs(small - last).mean() > CUT:
            jump = t
        last = small
    found = np.stack(points)
    seen = np.isfinite(found).all(axis=(1, 2))
    if seen.mean() <= LONGEST_GAP:
        raise UserError(
            f"{video} should show one speaker, but a face is found in {seen.sum()} of {len(seen)} frames: "
            "give a clip in which the face is upright and in view"
        )
    if jump is not None:
        raise UserError(f"{video} has a cut at frame {jump} ({jump / rate:.2f} s): cut it into clips of one scene")
    landmarks = fill_gaps(found)
    times = np.arange(len(landmarks))
    if fps is not None:
        times = np.minimum(np.round(np.arange(round(len(landmarks) * fps / rate)) * rate / fps), len(landmarks) - 1)
    chosen = times.astype(int)
    side = round(size * ALIGNED)
    matrix = alignment(landmarks, side)
    if not aligned:
        scale = np.hypot(*matrix[:, 0])
        matrix = np.array([[scale, 0, 0], [0, scale, 0]])
        matrix[:, 2] = side / 2 - 0.5 - scale * landmarks[:, 48:].mean(axis=(0, 1))
    moved = move(landmarks, matrix)
    corner = np.round(moved[:, 48:].mean(1) - (size - 1) / 2)
    mouths = np.stack(
        [
            mouth_crops(moved_frame(frame, matrix, side)[None, None], moved[t][None, None], size)[0, 0]
            for t, frame in enumerate(videos.frames(video))
        ]
    )
    return MouthClip(
        mouth=mouths[chosen],
        landmarks=landmarks[chosen],
        in_crop=(moved - corner[:, None])[chosen].astype(np.float32),
        seen=seen[chosen],
        fps=rate if fps is None else fps,
    )


def write_files(
    given: Sequence[Path | str],
    *,
    out: Path,
    size: int = SIZE,
    aligned: bool = True,
    fps: float | None = None,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Write NAME.npz (the arrays of `MouthClip`), NAME.csv (a line per frame) and NAME_preview.mp4 for every video.

    Yields their paths. Videos that already have their .npz are skipped unless `overwrite`. All others are tried;
    one UserError at the end has a sentence for each that could not be used.
    """
    files = photo_files.inputs(given)
    photo_files.make_folder(out)
    failures = []
    for video in files:
        if (out / f"{video.stem}.npz").exists() and not overwrite:
            continue
        try:
            if video.suffix.lower() not in photo_files.VIDEOS:
                raise UserError(f"{video} should be a video ({', '.join(photo_files.VIDEOS)}): give another file")
            yield from write(read(video, size=size, aligned=aligned, fps=fps), out / video.stem)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n".join(failures))


def write(clip: MouthClip, stem: Path) -> list[Path]:
    """Write STEM_preview.mp4, STEM.csv and STEM.npz; returns their paths."""
    preview, table, arrays = Path(f"{stem}_preview.mp4"), Path(f"{stem}.csv"), Path(f"{stem}.npz")
    zoom = max(1, round(336 / clip.mouth.shape[-1]))
    with VideoWriter(preview, clip.fps) as writer:
        for mouth, points, seen in zip(clip.mouth, clip.in_crop, clip.seen, strict=True):
            large = cv2.resize(mouth, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
            shown = cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)
            for x, y in (points[48:] + 0.5) * zoom - 0.5:
                cv2.circle(shown, (round(float(x)), round(float(y))), 2, (98, 200, 217) if seen else (230, 60, 40), -1)
            writer.write(shown)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["frame", "seconds", "seen", *(f"{axis}{k}" for k in range(68) for axis in "xy")])
    for t, (points, seen) in enumerate(zip(clip.landmarks, clip.seen, strict=True)):
        lines.writerow([t, f"{t / clip.fps:.3f}", int(seen), *(f"{value:.2f}" for value in points.ravel())])
    photo_files.write_bytes(table, text.getvalue().encode())
    save_arrays(
        arrays,
        mouth=clip.mouth,
        landmarks=clip.landmarks,
        in_crop=clip.in_crop,
        seen=clip.seen,
        fps=np.float64(clip.fps),
    )
    return [preview, table, arrays]
