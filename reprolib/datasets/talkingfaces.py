"""Short clips of news presenters, `talkingfaces/video/ID.mp4`: listing and checking them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from reprolib.datasets import folders, videos
from reprolib.datasets.folders import Skipped
from reprolib.errors import UserError


def check(root: Path) -> list[str]:
    """A report on what was found and what is damaged; UserError if too much is. A sample of clips is decoded."""
    clips = clips_of(root)
    empty = Skipped("clips of talkingfaces", len(clips))
    for clip in clips.values():
        with empty.item():
            if clip.stat().st_size == 0:
                raise UserError(f"{clip} is empty: copy this clip again")
    sample = [clip for clip in clips.values() if clip.stat().st_size][:: max(1, len(clips) // 8)]
    sizes, undecodable = [], Skipped("sampled clips", len(sample))
    for clip in sample:
        with undecodable.item():
            sizes.append(videos.read_frame(clip, 0).shape[1::-1])
    (width, height), _ = Counter(sizes).most_common(1)[0]
    line = f"talkingfaces: {len(clips)} clips, {width}×{height} pixels ({len(sizes)} decoded)"
    return [line, *empty.lines(), *undecodable.lines()]


def clips_of(root: Path) -> dict[str, Path]:
    """Name → file of every clip; UserError if there is none."""
    return {path.stem: path for path in folders.files(folder_of(root) / "video", ".mp4")}


def folder_of(root: Path) -> Path:
    """The folder that holds video/; UserError if there is none with a clip."""
    return folders.dataset_folder(
        root,
        ("talkingfaces",),
        holds=lambda folder: bool(folders.files(folder / "video", ".mp4")),
        layout="talkingfaces/video/ID.mp4",
    )
