"""GRID (Cooke et al. 2006): sentences of six words by fixed grammar, one speaker a folder.

`<root>/grid/sN/…/NAME.mpg` (or `root` itself), with `NAME.align` beside it, in `sN/align` or in `alignments/sN`:
lines `start end word` in units of 1/25000 s. A file's name is its sentence: `bbaf2n`, bin blue at F two now.
"""

from __future__ import annotations

import re
from pathlib import Path

from reprolib.datasets import speech_videos
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError

SLOTS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(
        zip("z123456789", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], strict=True)
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
PAUSES = ("sil", "sp")
FOLDERS = ("grid", "GRID")


def load(root: Path, *, size: int, count: int | None = None, seed: int = 0, progress: bool = True) -> SpeechSet:
    """All clips, or `count` drawn with `seed`, as sentences in upper case.

    Without any .align file in the folder, sentences are read from the names. Where no folder sN tells the speaker,
    speakers are clusters of face embeddings. UserError if the folder is missing, an .align file is missing where
    others are there, or a file is unreadable.
    """
    chosen = speech_videos.drawn(utterances(root), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="grid", size=size, progress=progress)


def utterances(root: Path) -> list[Utterance]:
    """Every clip with its sentence; UserError as in `load`."""
    folder = _folder(root)
    alignments = {(_speaker(path, folder), path.stem): path for path in sorted(folder.rglob("*.align"))}
    found = []
    for video in sorted(folder.rglob("*.mpg")):
        speaker = _speaker(video, folder)
        if not alignments:
            text = sentence_of(video)
        elif (speaker, video.stem) in alignments:
            text = read_align(alignments[speaker, video.stem])
        else:
            raise UserError(f"{video} should have its {video.stem}.align, but it is missing: copy the alignments again")
        name = f"{speaker}/{video.stem}" if speaker else video.stem
        found.append(Utterance(video, text, speaker, name))
    return found


def check(root: Path) -> list[str]:
    """What is there, one line per part; UserError as in `load`, or if a clip of a sample cannot be decoded."""
    found = utterances(root)
    speakers = {one.speaker for one in found if one.speaker}
    told = f"{len(speakers)} speakers" if speakers else "speakers not told"
    texts = len({one.text for one in found})
    return [f"grid: {len(found)} clips, {told}, {texts} different sentences ({speech_videos.sample(found)})"]


def sentence_of(video: Path) -> str:
    """The sentence in a file's name, upper case; UserError if it is none of the grammar."""
    name = video.stem.lower()
    if len(name) != len(SLOTS) or any(letter not in slot for letter, slot in zip(name, SLOTS, strict=True)):
        raise UserError(
            f"{video} should be named after its sentence, as bbaf2n.mpg, but is not: give it its official name"
        )
    return " ".join(slot[letter] for letter, slot in zip(name, SLOTS, strict=True)).upper()


def read_align(path: Path) -> str:
    """The words of an .align file without its pauses, upper case; UserError if it is malformed or holds no word."""
    words = []
    for line in path.read_text().splitlines():
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            raise UserError(f"{path} should hold lines “start end word”, found {line!r}: copy this file again")
        if parts[2].lower() not in PAUSES:
            words.append(parts[2].upper())
    if not words:
        raise UserError(f"{path} should hold the words of its clip, but holds none: copy this file again")
    return " ".join(words)


def _speaker(path: Path, folder: Path) -> str | None:
    parts = path.relative_to(folder).parts[:-1]
    return next((part for part in parts if re.fullmatch(r"s\d+", part)), None)


def _folder(root: Path) -> Path:
    root = Path(root)
    for folder in (*(root / name for name in FOLDERS), root):
        if folder.is_dir() and next(folder.rglob("*.mpg"), None):
            return folder
    raise UserError(
        f"{root} should hold grid/sN/NAME.mpg, but does not: unpack the dataset there in its official layout"
    )
