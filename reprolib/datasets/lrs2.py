"""LRS2 (Afouras et al. 2018): sentences from BBC programmes.

`<root>/lrs2/{pretrain,main}/ID/CLIP.mp4` and `.txt`, whose first line is `Text:  …`; `pretrain.txt`, `train.txt`,
`val.txt` and `test.txt` list the clips: each line begins with `ID/CLIP`. The folder may also have its official name
`mvlrs_v1`, or be `root` itself.
"""

from __future__ import annotations

from pathlib import Path

from reprolib.datasets import folders, speech_videos
from reprolib.datasets.folders import Skipped
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
    """The clips of one official part, or `count` sampled with `seed` from those of at most `most_words` words.

    Texts are in upper case; speakers are programme numbers, the finest division that the dataset gives. Frames
    as in `speech_videos.load`. A few clips that are missing, unreadable or without a text are left out with a warning
    (`folders.Skipped`). UserError if the folder, the list or the part's clips are missing, or too many are damaged.
    """
    chosen = speech_videos.drawn(at_most(utterances(root, part), most_words), count=count, seed=seed)
    return speech_videos.load(chosen, corpus="lrs2", size=size, progress=progress)


def at_most(found: list[Utterance], words: int | None) -> list[Utterance]:
    """The utterances of at most `words` words; None: all."""
    return [one for one in found if words is None or len(one.text.split()) <= words]


def utterances(root: Path, part: str) -> list[Utterance]:
    """Every clip of an official part with its text; damaged ones and UserError as in `load`."""
    folder = _folder(root)
    names, clips = _listed(folder, part)
    if not clips.is_dir():
        raise UserError(
            f"{folder / part}.txt lists {len(names)} clips in {clips}, which is not there: unpack {clips.name} of the "
            "dataset, too"
        )
    found, skipped = _read(folder, part)
    skipped.warn()
    return found


def _listed(folder: Path, part: str) -> tuple[list[str], Path]:
    """The names ID/CLIP of a part's list, and the folder in which these clips are."""
    if part not in PARTS:
        raise UserError(f"a part of LRS2 is {', '.join(PARTS)}, found {part!r}: choose one of them")
    names = [line.split()[0] for line in folders.read_lines(folder / f"{part}.txt")]
    if not names:
        raise UserError(f"{folder / part}.txt should list the clips of this part, but is empty: copy it again")
    return names, folder / ("pretrain" if part == "pretrain" else "main")


def _read(folder: Path, part: str) -> tuple[list[Utterance], Skipped]:
    names, clips = _listed(folder, part)
    paths = [folders.inside(clips, name, of=folder / f"{part}.txt") for name in names]
    found, skipped = [], Skipped(f"clips of lrs2 {part}", len(names))
    for name, path in zip(names, paths, strict=True):
        with skipped.item():
            found.append(utterance(path, speaker=name.split("/")[0], name=f"{part}/{name}"))
    return found, skipped


def utterance(clip: Path, *, speaker: str, name: str) -> Utterance:
    """The clip with path `clip` + .mp4 and the text of its .txt; UserError if one of them is missing or empty."""
    video = clip.with_name(clip.name + ".mp4")
    if not video.is_file():
        raise UserError(f"{video} is missing though it belongs to the dataset: unpack the dataset again")
    return Utterance(video, read_text(clip.with_name(clip.name + ".txt")), speaker, name)


def read_text(path: Path) -> str:
    """The text after `Text:` in the first line of a clip's .txt, upper case; UserError if it is missing or empty."""
    first = folders.read_text(path).partition("\n")[0]
    if not first.startswith("Text:"):
        raise UserError(f"{path} should begin with “Text:”, found {first[:20]!r}: copy this file again")
    text = " ".join(first[5:].split()).upper()
    if not text:
        raise UserError(f"{path} should hold a transcript behind “Text:”, but it is empty: leave this clip out")
    return text


def check(root: Path) -> list[str]:
    """A report, one line per part whose list exists; UserError if none does, or as in `load`.

    The line of a part that is listed but not unpacked says so.
    """
    folder = _folder(root)
    parts = [part for part in PARTS if (folder / f"{part}.txt").is_file()]
    if not parts:
        raise UserError(f"{folder} should hold lists train.txt, val.txt, test.txt, but has none: copy them there")
    there = [part for part in parts if _listed(folder, part)[1].is_dir()]
    lines = []
    for part in parts:
        if part not in there:
            names, clips = _listed(folder, part)
            lines.append(
                f"lrs2 {part}: {len(names)} clips are listed, but {clips.name} is not unpacked; without it "
                f"{', '.join(there) or 'nothing'} can be used"
            )
            continue
        found, skipped = _read(folder, part)
        lines += [f"lrs2 {part}: {len(found)} clips ({speech_videos.sample(found)})", *skipped.lines()]
    return lines


def _folder(root: Path) -> Path:
    return folders.dataset_folder(root, FOLDERS, holds=_is_lrs2, layout="lrs2/main/ID/CLIP.mp4 with lrs2/train.txt")


def _is_lrs2(folder: Path) -> bool:
    lists = any((folder / f"{part}.txt").is_file() for part in PARTS)
    return (folder / "main").is_dir() or (lists and (folder / "pretrain").is_dir())
