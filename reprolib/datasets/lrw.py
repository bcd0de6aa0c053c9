"""LRW (Chung and Zisserman, ACCV 2016): 500 words in clips of 29 frames, the word in the middle.

`<root>/lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4` and `.txt`, whose last line is `Duration: 0.53 seconds`.
Speakers are unknown; the official parts serve as the split.
"""

from __future__ import annotations

import re
from pathlib import Path

from reprolib.datasets import folders, speech_videos
from reprolib.datasets.folders import Skipped
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import FPS, Utterance
from reprolib.errors import UserError

PARTS = ("train", "val", "test")
FRAMES = 29
FOLDER = "lipread_mp4"


def load(
    root: Path,
    *,
    part: str,
    size: int,
    words: int | None = None,
    per_word: int | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    progress: bool = True,
) -> SpeechSet:
    """The clips of one official part: of the first `words` words of the vocabulary, `per_word` each (None: all).

    The vocabulary is in alphabetical order; the clips of each word are sampled with `seed`. The middle `frames` frames
    of each clip are kept. Speakers are unknown, so every clip counts as another one. A few damaged clips are left out
    with a warning (`folders.Skipped`). UserError if the folder, part or clips are missing or too few, or too many are
    damaged.
    """
    chosen, vocabulary = [], vocabulary_of(root)[:words]
    for number, word in enumerate(vocabulary):
        found = _clips(root, word, part)
        chosen += speech_videos.drawn(found, count=per_word, seed=seed + number)
    return speech_videos.load(chosen, corpus="lrw", size=size, frames=frames, vocabulary=vocabulary, progress=progress)


def vocabulary_of(root: Path) -> tuple[str, ...]:
    """The words that have a folder, in alphabetical order; UserError if there is none."""
    folder = _folder(root)
    words = tuple(path.name for path in folders.subfolders(folder))
    if not words:
        raise UserError(f"{folder} should hold a folder for each word, but has none: unpack the dataset there")
    return words


def word_span(path: Path, *, frames: int = FRAMES) -> tuple[float, float]:
    """The frames in which the word of a clip's .txt begins and ends: `frames` / 2 ± 12.5 × its duration in seconds."""
    found = re.findall(r"^Duration:\s*(\d+(?:\.\d*)?|\.\d+)\s*seconds", folders.read_text(path), re.MULTILINE)
    if not found:
        raise UserError(f"{path} should have a line “Duration: 0.53 seconds”, but has none: copy this file again")
    half = float(found[-1]) * FPS / 2
    return frames / 2 - half, frames / 2 + half


def check(root: Path) -> list[str]:
    """A report, one line per part; UserError if there is none, or a word has no clip in a part that others have.

    One .txt of every word and part is read; a sample of clips is decoded. The line of a part that no word has says so.
    """
    words, lines = vocabulary_of(root), []
    there = [part for part in PARTS if any((_folder(root) / word / part).is_dir() for word in words)]
    for part in PARTS:
        if part not in there and there:
            lines.append(f"lrw {part}: not unpacked; without it {', '.join(there)} can be used")
            continue
        clips, skipped = [], Skipped(f"words' .txt files of lrw {part}", len(words))
        for word in words:
            clips += _clips(root, word, part)
            with skipped.item():
                word_span(clips[-1].video.with_suffix(".txt"))
        lines.append(f"lrw {part}: {len(words)} words, {len(clips)} clips ({speech_videos.sample(clips)})")
        lines += skipped.lines()
    return lines


def _folder(root: Path) -> Path:
    """The folder of the words: `lipread_mp4` itself is taken, too."""
    root = Path(root)
    if root.name == FOLDER and root.is_dir():
        return root
    return folders.dataset_folder(root, ("lrw",), holds=FOLDER) / FOLDER


def _clips(root: Path, word: str, part: str) -> list[Utterance]:
    if part not in PARTS:
        raise UserError(f"a part of LRW is {', '.join(PARTS)}, found {part!r}: choose one of them")
    folder = _folder(root) / word / part
    videos = folders.files(folder, ".mp4")
    if not videos:
        raise UserError(f"{folder} should hold clips {word}_00001.mp4, but has none: unpack the dataset again")
    return [Utterance(video, word, f"{part}/{video.stem}", f"{part}/{video.stem}") for video in videos]
