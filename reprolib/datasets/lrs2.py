"""LRS2 (Afouras et al. 2018): sentences from BBC programmes.

`<root>/lrs2/{pretrain,main}/ID/CLIP.mp4` and `.txt`, whose first line is `Text:  …`; `pretrain.txt`, `train.txt`,
`val.txt` and `test.txt` list `ID/CLIP`, the first word of each line. The folder may also bear its official name
`mvlrs_v1`, or be `root` itself.
"""

from __future__ import annotations

from pathlib import Path

from reprolib.datasets import speech_videos
from reprolib.datasets.speech import SpeechSet
from reprolib.datasets.speech_videos import Utterance
from reprolib.errors import UserError

PARTS = ("pretrain", "train", "val", "test")
FOLDERS = ("lrs2", "mvlrs_v1")


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

    Texts are in upper case; speakers are the programmes' numbers, the finest that the dataset tells. UserError if
    folder, list, clip or text are missing, a text is empty or a clip unreadable.
    """
    chosen = speech_videos.drawn(at_most(utterances(root, part), most_words), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="lrs2", size=size, progress=progress)


def at_most(found: list[Utterance], words: int | None) -> list[Utterance]:
    """The utterances of at most `words` words; None: all."""
    return [one for one in found if words is None or len(one.text.split()) <= words]


def utterances(root: Path, part: str) -> list[Utterance]:
    """Every clip of an official part with its text; UserError as in `load`."""
    if part not in PARTS:
        raise UserError(f"a part of LRS2 is {', '.join(PARTS)}, found {part!r}: choose one of them")
    folder = _folder(root)
    listed = folder / f"{part}.txt"
    if not listed.is_file():
        raise UserError(f"{listed} should list the clips of this part, but is missing: copy it from the dataset's site")
    names = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
    clips = folder / ("pretrain" if part == "pretrain" else "main")
    return [utterance(clips / name, speaker=name.split("/")[0], name=f"{part}/{name}") for name in names]


def utterance(clip: Path, *, speaker: str, name: str) -> Utterance:
    """The clip with path `clip` + .mp4 and the text of its .txt; UserError if one of them is missing or empty."""
    video = clip.with_name(clip.name + ".mp4")
    if not video.is_file():
        raise UserError(f"{video} is missing though it belongs to the dataset: unpack the dataset again")
    return Utterance(video, read_text(clip.with_name(clip.name + ".txt")), speaker, name)


def read_text(path: Path) -> str:
    """What the first line `Text:  …` of a clip's .txt says, upper case; UserError if it is missing or empty."""
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: every clip should have its .txt, copy it again") from error
    if not first.startswith("Text:"):
        raise UserError(f"{path} should begin with “Text:”, found {first[:20]!r}: copy this file again")
    text = " ".join(first[5:].split()).upper()
    if not text:
        raise UserError(f"{path} should hold a transcript behind “Text:”, but it is empty: leave this clip out")
    return text


def check(root: Path) -> list[str]:
    """What is there, one line per part whose list is there; UserError if none is, or as in `load`."""
    folder = _folder(root)
    parts = [part for part in PARTS if (folder / f"{part}.txt").is_file()]
    if not parts:
        raise UserError(f"{folder} should hold lists train.txt, val.txt, test.txt, but has none: copy them there")
    lines = []
    for part in parts:
        found = utterances(root, part)
        lines.append(f"lrs2 {part}: {len(found)} clips ({speech_videos.sample(found)})")
    return lines


def _folder(root: Path) -> Path:
    root = Path(root)
    for folder in (*(root / name for name in FOLDERS), root):
        if (folder / "main").is_dir() or ((folder / "pretrain").is_dir() and any(folder.glob("*.txt"))):
            return folder
    raise UserError(
        f"{root} should hold lrs2/main/ID/CLIP.mp4 with lrs2/train.txt, but does not: "
        "unpack the dataset there in its official layout"
    )
