"""LRS3-TED (Afouras, Chung and Zisserman 2018): sentences from TED talks.

`<root>/lrs3/{pretrain,trainval,test}/ID/CLIP.mp4` and `.txt`: a block `Text:  …`, `Conf:`, `Ref:`, then the faces'
boxes frame by frame and sometimes the words' times. The folder may also be `root` itself.
"""

from __future__ import annotations

from pathlib import Path

from reprolib.datasets import speech_videos
from reprolib.datasets.lrs2 import at_most, utterance
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError

PARTS = ("pretrain", "trainval", "test")
FOLDERS = ("lrs3", "LRS3", "lrs3_v0.4")


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
    """The clips of one official part, or `count` drawn with `seed` among those of at most `most_words` words.

    Texts are in upper case; a talk is a speaker. UserError if folder, part or text are missing, a text is empty or a
    clip unreadable.
    """
    chosen = speech_videos.drawn(at_most(utterances(root, part), most_words), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="lrs3", size=size, progress=progress)


def utterances(root: Path, part: str) -> list[Utterance]:
    """Every clip of an official part with its text; UserError as in `load`."""
    if part not in PARTS:
        raise UserError(f"a part of LRS3 is {', '.join(PARTS)}, found {part!r}: choose one of them")
    folder = _folder(root) / part
    videos = sorted(folder.glob("*/*.mp4"))
    if not videos:
        raise UserError(f"{folder} should hold ID/CLIP.mp4, but has no clip: unpack the dataset again")
    return [
        utterance(video.with_suffix(""), speaker=video.parent.name, name=f"{part}/{video.parent.name}/{video.stem}")
        for video in videos
    ]


def check(root: Path) -> list[str]:
    """What is there, one line per part that is there; UserError as in `load`."""
    folder = _folder(root)
    lines = []
    for part in PARTS:
        if (folder / part).is_dir():
            found = utterances(root, part)
            talks = len({one.speaker for one in found})
            lines.append(f"lrs3 {part}: {len(found)} clips of {talks} talks ({speech_videos.sample(found)})")
    return lines


def _folder(root: Path) -> Path:
    root = Path(root)
    for folder in (*(root / name for name in FOLDERS), root):
        if any((folder / part).is_dir() for part in PARTS):
            return folder
    raise UserError(
        f"{root} should hold lrs3/trainval/ID/CLIP.mp4, but does not: unpack the dataset there in its official layout"
    )
