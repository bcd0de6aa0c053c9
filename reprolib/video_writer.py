"""Writing videos that other programs play."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from reprolib.errors import UserError


class VideoWriter:
    """An MP4 file that appears at `path` when the `with` block ends without an error.

    Frames are uint8 (H, W, 3) RGB, all of the first one's size. rate: frames per second. sound: a video whose sound is
    copied. Where ffmpeg is installed the file is H.264, which browsers play; else MPEG-4 without sound. UserError if it
    cannot be written.
    """

    def __init__(self, path: Path, rate: float, *, sound: Path | None = None):
        self.path, self.rate, self.sound = path, rate, sound

    def __enter__(self) -> VideoWriter:
        self._folder = tempfile.TemporaryDirectory(prefix=".writing-", dir=self.path.parent)
        self._raw = Path(self._folder.name) / "frames.mp4"
        self._writer: cv2.VideoWriter | None = None
        self._count = 0
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add a frame."""
        if self._writer is None:
            size = frame.shape[1::-1]
            self._writer = cv2.VideoWriter(str(self._raw), cv2.VideoWriter.fourcc(*"mp4v"), self.rate, size)
            if not self._writer.isOpened():
                raise UserError(f"{self.path} cannot be written as a video: give another folder")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._count += 1

    def __exit__(self, kind, *_) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if kind is None:
                self._finish()
        finally:
            self._folder.cleanup()

    def _finish(self) -> None:
        # OpenCV says nothing when the disk is full
        if not self._raw.is_file() or cv2.VideoCapture(str(self._raw)).get(cv2.CAP_PROP_FRAME_COUNT) < self._count:
            raise UserError(f"{self.path} cannot be written whole: free some space, or give another folder")
        whole = self._raw
        if program := shutil.which("ffmpeg"):
            better = self._raw.with_name("whole.mp4")
            source = ["-i", str(self.sound), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"] if self.sound else []
            even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # H.264 in the usual pixel format
            command = [program, "-nostdin", "-loglevel", "error", "-y", "-i", str(self._raw), *source]
            command += ["-vf", even, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", str(better)]
            if not subprocess.run(command, capture_output=True).returncode:
                whole = better
        whole.replace(self.path)
