"""LRW (Chung and Zisserman, ACCV 2016): 500 words in clips of 29 frames, the word in the middle.

`<root>/lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4` and `.txt`, whose last line is `Duration: 0.53 seconds`.
Speakers are not told; the official parts stand for a split.
"""

from __future__ import annotations

import re
from pathlib import Path

from reprolib.datasets import speech_videos
from reprolib.datasets.pictures import subfolder
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import FPS, Utterance
from reprolib.errors import UserError

PARTS = ("train", "val", "test")
FRAMES = 29
FOLDER = "lipread_mp4"
FOLDERS = ("lrw", FOLDER)


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
    """The clips of one official part: of the first `words` of the vocabulary, and `per_word` of each drawn with `seed`.

    The vocabulary are the words in alphabetical order; `frames` in the middle of each clip are kept. Speakers are not
    told: every clip counts as another. UserError if folder, part or clips are missing or too few, or unreadable.
    """
    chosen, vocabulary = [], vocabulary_of(root)[:words]
    for number, word in enumerate(vocabulary):
        found = _clips(root, word, part)
        chosen += speech_videos.drawn(found, count=per_word, seed=seed + number)
    return speech_videos.load(chosen, corpus="lrw", size=size, frames=frames, vocabulary=vocabulary, progress=progress)


def vocabulary_of(root: Path) -> tuple[str, ...]:
    """The words that have a folder, in alphabetical order; UserError if there is none."""
    folder = subfolder(root, "lrw", holds=FOLDER) / FOLDER
    words = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if not words:
        raise UserError(f"{folder} should hold a folder for each word, but has none: unpack the dataset there")
    return words


def word_span(path: Path, *, frames: int = FRAMES) -> tuple[float, float]:
    """The frames in which the word of a clip's .txt begins and ends: `frames` / 2 ± 12.5 × its duration in seconds."""
    try:
        found = re.findall(r"^Duration:\s*([\d.]+)\s*seconds", path.read_text(), re.MULTILINE)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: every clip should have its .txt, copy it again") from error
    if not found:
        raise UserError(f"{path} should have a line “Duration: 0.53 seconds”, but has none: copy this file again")
    half = float(found[-1]) * FPS / 2
    return frames / 2 - half, frames / 2 + half


def check(root: Path) -> list[str]:
    """What is there, one line per part; UserError if a word has no clip in a part, or one of a sample is unreadable.

    Of every word and part, one .txt is read.
    """
    words, lines = vocabulary_of(root), []
    for part in PARTS:
        clips = []
        for word in words:
            of_word = _clips(root, word, part)
            word_span(of_word[0].video.with_suffix(".txt"))
            clips += of_word
        lines.append(f"lrw {part}: {len(words)} words, {len(clips)} clips ({speech_videos.sample(clips)})")
    return lines


def _clips(root: Path, word: str, part: str) -> list[Utterance]:
    if part not in PARTS:
        raise UserError(f"a part of LRW is {', '.join(PARTS)}, found {part!r}: choose one of them")
    folder = subfolder(root, "lrw", holds=FOLDER) / FOLDER / word / part
    videos = sorted(folder.glob("*.mp4"))
    if not videos:
        raise UserError(f"{folder} should hold clips {word}_00001.mp4, but has none: unpack the dataset again")
    return [Utterance(video, word, f"{part}/{video.stem}", f"{part}/{video.stem}") for video in videos]
