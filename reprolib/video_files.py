"""From a video to a mask for each frame and a video with the masks over it; memory does not grow with its length."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reprolib import photos
from reprolib.datasets import videos
from reprolib.errors import UserError
from reprolib.face_finding import Tracker
from reprolib.photo_files import Options, blended, make_folder, palette, with_palette, write_png
from reprolib.photos import PaperNetwork
from reprolib.video_writer import VideoWriter

DEFAULT_RATE = 25.0  # frames per second where a video does not say


def label_video(path: Path, tool: str, options: Options, *, network: PaperNetwork | None = None) -> list[Path]:
    """Label every frame of a video; returns the folder of masks and the overlay's path.

    Writes NAME_masks/00000.png, … (class numbers, with a palette; all background where no face is seen) and
    NAME_overlay.mp4 with the video's frame rate, upright as it plays, with its sound if ffmpeg is installed. UserError
    if it cannot be read, or no frame shows a face.
    """
    count, rate = frame_rate(path)
    masks, overlay = options.out / f"{path.stem}_masks", options.out / f"{path.stem}_overlay.mp4"
    make_folder(masks)
    colours: np.ndarray | None = None
    tracker, seen = Tracker(largest=options.largest, steady=True), 0
    with VideoWriter(overlay, rate, sound=path) as writer:
        for t, frame in enumerate(tqdm(videos.frames(path), path.name, total=count, disable=None, unit="frame")):
            faces = tracker.update(frame)
            found = photos.label(frame, tool, faces=faces, device=options.device, network=network)
            for face in faces[:]:
                if not any(labelled.face is face for labelled in found.faces):
                    tracker.drop(face)
            seen += bool(found.faces)
            colours = palette(found.classes) if colours is None else colours
            write_png(masks / f"{t:05d}.png", with_palette(found.labels, colours), level=1)
            writer.write(blended(frame, found.labels, colours))
        if not seen:
            raise UserError(f"{path} shows no face in any of its frames: give a video of a face, upright and in view")
    return [masks, overlay]


def frame_rate(path: Path) -> tuple[int | None, float]:
    """How many frames a video's header says that it has (None: it does not), and how many per second."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    return int(count) if count > 0 else None, rate if np.isfinite(rate) and 0 < rate < 1000 else DEFAULT_RATE
