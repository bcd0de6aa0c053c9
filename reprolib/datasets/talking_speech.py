"""Arabic sentences of news presenters: the clips of talkingfaces with their transcripts.

A clip has three or four words and no word timings. Transcripts are taken as they are (Unicode's composed form), also
where their authors spell as one speaks. Speakers are clusters of face embeddings.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from pathlib import Path

from reprolib.datasets import speech_videos, talkingfaces
from reprolib.datasets.pictures import subfolder
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError


def load(root: Path, *, size: int, count: int | None = None, seed: int = 0, progress: bool = True) -> SpeechSet:
    """All clips of `<root>/talkingfaces` (or `root` itself), or `count` drawn with `seed`, as sentences.

    Landmarks and face embeddings are kept in the project's cache, pictures never. UserError if folder, clips,
    transcripts or dlib are missing, a transcript is empty or a clip unreadable.
    """
    chosen = speech_videos.drawn(utterances(root), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="talkingfaces", size=size, progress=progress)


def utterances(root: Path) -> list[Utterance]:
    """Every clip with its sentence; UserError as in `load`."""
    folder = subfolder(root, "talkingfaces", holds="video") / "text"
    clips = talkingfaces.clips_of(root)
    return [Utterance(video, read_text(folder / f"{name}.csv"), None, name) for name, video in clips.items()]


def read_text(path: Path) -> str:
    """The words of a transcript (a column `word`), between spaces; UserError if it is missing, malformed or empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row[0].strip() for row in csv.reader(file) if row]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: every clip should have its transcript, copy it again") from error
    if rows[:1] != ["word"]:
        raise UserError(f"{path} should begin with the line “word”, but does not: copy this file again")
    text = unicodedata.normalize("NFC", " ".join(" ".join(rows[1:]).split()))
    if not text:
        raise UserError(f"{path} should hold a transcript below “word”, but it is empty: leave this clip out")
    return text


def check(root: Path) -> list[str]:
    """What is there, one line per part; UserError as in `load`, or if a clip of a sample cannot be decoded."""
    found = utterances(root)
    texts = [one.text for one in found]
    words = Counter(word for text in texts for word in text.split())
    return [
        f"talkingfaces: {len(found)} sentences, {len(set(texts))} different ({speech_videos.sample(found)})",
        f"talkingfaces: {sum(words.values())} words, {len(words)} different, {len(set(''.join(texts)))} characters",
    ]
