"""LRS3-TED (Afouras, Chung and Zisserman 2018): sentences from TED talks.

`<root>/lrs3/{pretrain,trainval,test}/ID/CLIP.mp4` and `.txt`: a block `Text:  …`, `Conf:`, `Ref:`, then the faces'
boxes frame by frame and sometimes the words' times. The folder may also be `root` itself.
"""

from __future__ import annotations

from pathlib import Path

from reprolib.datasets import folders, speech_videos
from reprolib.datasets.folders import Skipped
from reprolib.datasets.lrs2 import at_most, utterance
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError

PARTS = ("pretrain", "trainval", "test")
FOLDERS = ("lrs3", "lrs3_v0.4", "lrs3-ted")


def load(
    root: Path,
    *,
    part: str,
    size: int,
    count: int | None = None,
    most_words: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> SpeechSet:
    """The clips of one official part, or `count` sampled with `seed` from those of at most `most_words` words.

    Texts are in upper case; each talk counts as a speaker. Frames as in `speech_videos.load`. A few clips that are
    unreadable or without a text are left out with a warning (`folders.Skipped`). UserError if the folder or part is
    missing, or too many clips are damaged.
    """
    chosen = speech_videos.drawn(at_most(utterances(root, part), most_words), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="lrs3", size=size, progress=progress)


def utterances(root: Path, part: str) -> list[Utterance]:
    """Every clip of an official part with its text; damaged ones and UserError as in `load`."""
    found, skipped = _read(_folder(root), part)
    skipped.warn()
    return found


def _read(root: Path, part: str) -> tuple[list[Utterance], Skipped]:
    if part not in PARTS:
        raise UserError(f"a part of LRS3 is {', '.join(PARTS)}, found {part!r}: choose one of them")
    folder = root / part
    videos = [video for talk in folders.subfolders(folder) for video in folders.files(talk, ".mp4")]
    if not videos:
        raise UserError(f"{folder} should hold ID/CLIP.mp4, but has no clip: unpack the dataset again")
    found, skipped = [], Skipped(f"clips of lrs3 {part}", len(videos))
    for video in videos:
        talk = video.parent.name
        with skipped.item():
            found.append(utterance(video.with_suffix(""), speaker=talk, name=f"{part}/{talk}/{video.stem}"))
    return found, skipped


def check(root: Path) -> list[str]:
    """A report, one line per part found; UserError as in `load`."""
    folder = _folder(root)
    lines = []
    for part in PARTS:
        if (folder / part).is_dir():
            found, skipped = _read(folder, part)
            talks = len({one.speaker for one in found})
            lines.append(f"lrs3 {part}: {len(found)} clips of {talks} talks ({speech_videos.sample(found)})")
            lines += skipped.lines()
    return lines


def _folder(root: Path) -> Path:
    return folders.dataset_folder(root, FOLDERS, holds=_is_lrs3, layout="lrs3/trainval/ID/CLIP.mp4")


def _is_lrs3(folder: Path) -> bool:
    """LRS2 has a pretrain, too, but beside a main or with lists."""
    parts = [folder / part for part in PARTS if (folder / part).is_dir()]
    clips = any(folders.files(talk, ".mp4") for part in parts for talk in folders.subfolders(part))
    return clips and not (folder / "main").is_dir() and not (folder / "pretrain.txt").is_file()
