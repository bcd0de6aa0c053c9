"""How steady masks are on video: how much of a mask changes between frames in which nobody moves.

    python benchmarks/video_steadiness.py --data-root DATA

The frames: the silence before the first word of GRID's speaker s1, where the face is nearly still. The change of a part
from one frame to the next is 1 − IoU of its two masks, in percent, averaged over frames and clips; what little the face
moves is in it for every method. MediaPipe is left out where it is not installed (it is not a dependency).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from photo_tools import as_masks, dlib_masks, mediapipe_polygons, table

from reprolib import photos
from reprolib.datasets import grid, videos
from reprolib.face_finding import Tracker

MOST, FEWEST = 12, 5  # frames of a clip
PARTS = {"skin": 1, "eyes": 2, "outer mouth": 3}  # the inner mouth is closed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20, help="clips, evenly spaced in the list of all")
    parser.add_argument("--write", type=Path, default=None, help="also write the table to this Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clips = silences(options.data_root, options.count)
    methods: dict[str, Callable[[], Callable]] = {
        "masks": tracked_masks,
        "masks, each frame alone": lambda: lambda frame: photos.label(frame, "masks", largest=True).labels,
        "dlib polygons": lambda: dlib_masks,
    }
    if find_spec("mediapipe"):
        methods["MediaPipe polygons"] = lambda: as_masks(mediapipe_polygons(video=True))
        methods["MediaPipe polygons, each frame alone"] = lambda: as_masks(mediapipe_polygons())
    results = []
    for name, start in methods.items():
        found = []
        for clip in clips:
            method = start()  # a tracker belongs to one clip
            found.append([method(frame) for frame in clip])
        results.append((name, changes(found)))
    text = f"Change from frame to frame, percent, {len(clips)} clips of GRID before the first word:\n\n{table(results)}"
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")


def silences(root: Path, count: int) -> list[np.ndarray]:
    """The frames before the first word of evenly spaced clips, each uint8 (T, H, W, 3)."""
    utterances, times, found = grid.utterances(root), grid.alignments(root), []
    for index in np.linspace(0, len(utterances) - 1, min(count, len(utterances))).astype(int):
        _, word, _ = grid.read_times(times[utterances[index].name])[0]  # its start, in frames
        if word >= FEWEST:
            found.append(videos.read(utterances[index].video, first=min(MOST, int(word))))
    return found


def tracked_masks() -> Callable[[np.ndarray], np.ndarray]:
    """`masks` as it labels a video: the face is followed, and steadied."""
    tracker = Tracker(largest=True, steady=True)
    return lambda frame: photos.label(frame, "masks", faces=tracker.update(frame)).labels


def changes(found: list[list[np.ndarray]]) -> dict[str, float]:
    """Percent of each part that changes from one frame to the next; parts that a method does not label are left out."""
    scores = {}
    for part, number in PARTS.items():
        values = []
        for clip in found:
            for before, after in pairwise(labels == number for labels in clip):
                if before.any() or after.any():
                    values.append(100 * (1 - (before & after).sum() / (before | after).sum()))
        if values:
            scores[part] = float(np.mean(values))
    return scores


if __name__ == "__main__":
    main()
