"""Tiny video files and stand-ins for dlib, which sees no face in them, for the tests of lipreading datasets."""

import cv2
import numpy as np

from reprolib.datasets import landmarks, speech_videos
from reprolib.datasets.facesynth.geometry import TEMPLATE

SIDE = 48
FACE = (TEMPLATE[:, :2] * 12 + (24, 20)).astype(np.float32)
FACELESS = 250  # of this grey or brighter: no face


def write_clip(path, *, frames=4, grey=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "PIM1" if path.suffix == ".mpg" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 25, (SIDE, SIDE))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.full((SIDE, SIDE, 3), grey, np.uint8))
    writer.release()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def stub_dlib(monkeypatch, cache):
    """The same face in every frame that is not FACELESS; embeddings differ by the grey of the clip in steps of 50."""

    def track(frames):
        seen = frames.mean((1, 2, 3)) < FACELESS - 5
        return np.where(seen[:, None, None], FACE, np.nan).astype(np.float32)

    def embed(frame, points):
        return np.eye(128, dtype=np.float32)[round(frame.mean() / 50)]

    monkeypatch.setattr(landmarks, "track", track)
    monkeypatch.setattr(landmarks, "embed", embed)
    monkeypatch.setattr(speech_videos, "CACHE", cache)
