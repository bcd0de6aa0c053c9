"""GRID (Cooke et al. 2006): sentences of six words with a fixed grammar, one folder per speaker.

`<root>/grid/sN/…/NAME.mpg` or `.mp4` (or `root` itself), with `NAME.align` beside it, in `sN/align` or in
`alignments/sN`: lines `start end word` in units of 1/25000 s. A file's name encodes its sentence: `bbaf2n` is bin
blue at F two now.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from reprolib.datasets import folders, speech_videos
from reprolib.datasets.folders import Skipped
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
UNITS = 1000  # of time in an .align file, per frame
FRAMES = 75  # of a clip
FLAT = 8  # grey levels: the standard deviation below which a frame shows nothing; a face has about 40
FOLDERS = ("grid", "grid_s1")
CLIPS = (".mpg", ".mp4", ".avi")
SPEAKER = re.compile(r"s(peaker)?[ _-]?\d+", re.IGNORECASE)
BESIDE = frozenset(
    ("align", "alignment", "alignments", "video", "videos", "mpg", "mpg_6000", "mpg_vcd", "hq", "normal")
)


def load(root: Path, *, size: int, count: int | None = None, seed: int = 0, progress: bool = True) -> SpeechSet:
    """All clips, or `count` sampled with `seed`, with sentences in upper case; frames as in `speech_videos.load`.

    Without any .align file in the folder, sentences are read from the names. Without folders sN, speakers are clusters
    of face embeddings. A few damaged clips (the release has some) are left out with a warning (`folders.Skipped`):
    undecodable ones, and those whose .align file is damaged, or missing although others exist. UserError if the folder
    is missing or too many clips are damaged.
    """
    chosen = speech_videos.drawn(utterances(root), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="grid", size=size, progress=progress)


def utterances(root: Path) -> list[Utterance]:
    """Every clip with its sentence; damaged ones and UserError as in `load`."""
    found, skipped = _read(root)
    skipped.warn()
    return found


def _read(root: Path) -> tuple[list[Utterance], Skipped]:
    folder = _folder(root)
    alignments = {
        (_owner(path, folder), path.stem.lower()): path for path in folders.files(folder, ".align", deep=True)
    }
    clips = {}
    for video in folders.files(folder, *CLIPS, deep=True):
        owner = _owner(video, folder)
        # one clip in two resolutions counts once
        clips.setdefault(f"{owner}/{video.stem}" if owner else video.stem, (video, owner))
    found, skipped = [], Skipped("clips of grid", len(clips))
    for name, (video, owner) in clips.items():
        with skipped.item():
            if not alignments:
                text = sentence_of(video)
            elif (owner, video.stem.lower()) in alignments:
                text = read_align(alignments[owner, video.stem.lower()])
            else:
                raise UserError(f"{video} should have its {video.stem}.align, but it is missing: copy it again")
            found.append(Utterance(video, text, owner if SPEAKER.fullmatch(owner) else None, name))
    return found, skipped


def check(root: Path) -> list[str]:
    """A report on what was found and what is damaged; UserError as in `load`. A sample of clips is decoded."""
    found, skipped = _read(root)
    speakers = {one.speaker for one in found if one.speaker}
    told = f"{len(speakers)} speakers" if speakers else "speakers not told"
    texts = len({one.text for one in found})
    line = f"grid: {len(found)} clips, {told}, {texts} different sentences ({speech_videos.sample(found)})"
    return [line, *skipped.lines()]


def sentence_of(video: Path) -> str:
    """The sentence in a file's name, upper case; UserError if it does not follow the grammar."""
    name = video.stem.lower()
    if len(name) != len(SLOTS) or any(letter not in slot for letter, slot in zip(name, SLOTS, strict=True)):
        raise UserError(
            f"{video} should be named after its sentence, as bbaf2n.mpg, but is not: give it its official name"
        )
    return " ".join(slot[letter] for letter, slot in zip(name, SLOTS, strict=True)).upper()


def read_align(path: Path) -> str:
    """The words of an .align file without its pauses, upper case; UserError if it is malformed or holds no word."""
    return " ".join(word for word, _, _ in read_times(path))


def read_times(path: Path) -> list[tuple[str, float, float]]:
    """The words of an .align file, upper case, with start and end in frames; UserError as in `read_align`."""
    words = []
    for line in folders.read_lines(path):
        parts = line.split()
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            raise UserError(f"{path} should hold lines “start end word”, found {line!r}: copy this file again")
        if parts[2].lower() not in PAUSES:
            words.append((parts[2].upper(), int(parts[0]) / UNITS, int(parts[1]) / UNITS))
    if not words:
        raise UserError(f"{path} should hold the words of its clip, but holds none: copy this file again")
    return words


def alignments(root: Path) -> dict[str, Path]:
    """Name of a clip, as in `utterances`, → its .align file."""
    folder = _folder(root)
    found = {}
    for path in folders.files(folder, ".align", deep=True):
        owner = _owner(path, folder)
        found[f"{owner}/{path.stem}" if owner else path.stem] = path
    return found


def pair_of(name: str) -> str:
    """The letter and digit in a clip's name: "f2" of "s1/bbaf2n"."""
    return name.rpartition("/")[2].lower()[3:5]


def is_damaged(frames: np.ndarray) -> bool:
    """Whether a clip, uint8 (T, H, W, 3), is shorter than 75 frames or has a nearly uniform frame."""
    return len(frames) < FRAMES or bool((frames.mean(-1).std((1, 2)) < FLAT).any())


def _owner(path: Path, folder: Path) -> str:
    """The owner of a clip or alignment: its folder sN, else the folders that it is in, without those of `BESIDE`."""
    parts = path.relative_to(folder).parts[:-1]
    speaker = next((part for part in parts if SPEAKER.fullmatch(part)), None)
    return speaker or "/".join(part for part in parts if part.lower() not in BESIDE)


def _folder(root: Path) -> Path:
    return folders.dataset_folder(root, FOLDERS, holds=_is_grid, layout="grid/sN/NAME.mpg")


def _is_grid(folder: Path) -> bool:
    """Whether there is an .mpg anywhere in a folder, or an .mp4 in a speaker's folder."""
    for inner in (folder, *folders.below(folder, depth=4)):
        if folders.files(inner, ".mpg"):
            return True
        speaker = any(SPEAKER.fullmatch(part) for part in inner.relative_to(folder).parts)
        if speaker and folders.files(inner, *CLIPS):
            return True
    return False
