"""Arabic sentences of news presenters: the clips of talkingfaces with their transcripts.

A clip has three or four words and no word timings. Transcripts are taken as they are (Unicode's composed form), also
where their authors spell as one speaks. Speakers are clusters of face embeddings.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from pathlib import Path

from reprolib.datasets import folders, speech_videos, talkingfaces
from reprolib.datasets.folders import Skipped
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError


def load(root: Path, *, size: int, count: int | None = None, seed: int = 0, progress: bool = True) -> SpeechSet:
    """All clips of `<root>/talkingfaces` (or `root` itself), or `count` drawn with `seed`, as sentences.

    Landmarks and face embeddings are kept in the project's cache, images never. A few clips that are unreadable or
    without a transcript are left out with a warning (`folders.Skipped`). UserError if folder, clips, transcripts or
    dlib are missing, or too much is damaged.
    """
    chosen = speech_videos.drawn(utterances(root), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="talkingfaces", size=size, progress=progress)


def utterances(root: Path) -> list[Utterance]:
    """Every clip with its sentence; damaged ones and UserError as in `load`."""
    found, skipped = _read(root)
    skipped.warn()
    return found


def _read(root: Path) -> tuple[list[Utterance], Skipped]:
    texts, clips = talkingfaces.folder_of(root) / "text", talkingfaces.clips_of(root)
    if not texts.is_dir():
        raise UserError(f"{texts} should hold the clips' transcripts ID.csv, but is missing: copy this folder, too")
    found, skipped = [], Skipped("clips of talkingfaces", len(clips))
    for name, video in clips.items():
        with skipped.item():
            found.append(Utterance(video, read_text(texts / f"{name}.csv"), None, name))
    return found, skipped


def read_text(path: Path) -> str:
    """The words of a transcript (a column `word`), between spaces; UserError if it is missing, malformed or empty."""
    try:
        rows = [row[0].strip() for row in csv.reader(folders.read_lines(path)) if row]
    except csv.Error as error:
        raise UserError(
            f"{path} should hold one word per line, but does not ({error}): copy this file again"
        ) from error
    if rows[:1] != ["word"]:
        raise UserError(f"{path} should begin with the line “word”, but does not: copy this file again")
    text = unicodedata.normalize("NFC", " ".join(" ".join(rows[1:]).split()))
    if not text:
        raise UserError(f"{path} should hold a transcript below “word”, but it is empty: leave this clip out")
    return text


def check(root: Path) -> list[str]:
    """What is there, and what is damaged, one line per part; UserError as in `load`. A sample of clips is decoded."""
    found, skipped = _read(root)
    texts = [one.text for one in found]
    words = Counter(word for text in texts for word in text.split())
    return [
        f"talkingfaces: {len(found)} sentences, {len(set(texts))} different ({speech_videos.sample(found)})",
        f"talkingfaces: {sum(words.values())} words, {len(words)} different, {len(set(''.join(texts)))} characters",
        *skipped.lines(),
    ]
