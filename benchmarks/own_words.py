"""How well `train-words` reads a few words of GRID, cut into a folder as a user would have it.

    python benchmarks/own_words.py --data-root DATA --out FOLDER

Cuts the first word of each clip (bin, lay, place, set) with what is said around it, as LRW's clips are: 29 frames. The
parts are those of sheng2021 (no pair of letter and digit is in two). Prints the scores as Markdown.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reprolib import own_words, studies
from reprolib.datasets import grid, videos
from reprolib.photo_files import make_folder
from reprolib.video_writer import VideoWriter

FRAMES = 29
PARTS = {"train": "train", "validation": "val", "test": "test"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="for the clips and the trained network")
    parser.add_argument("--clips", type=int, nargs=3, default=(40, 10, 20), help="of each word, for the three parts")
    parser.add_argument("--write", type=Path, default=None, help="also write the scores to this Markdown file")
    options = parser.parse_args()
    words = cut(options.data_root, options.out / "words", dict(zip(PARTS, options.clips, strict=True)))
    text = table(own_words.fit(words, out=options.out / "run", frames=FRAMES))
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


def cut(data_root: Path, out: Path, most: dict[str, int]) -> Path:
    """Write WORD/PART/CLIP.mp4 for at most so many clips of each word and part; what is there already stays."""
    part_of_pair = studies.load("sheng2021").module("data").listed_parts("grid_split.csv")
    aligned, counts = grid.alignments(data_root), Counter()
    for one in tqdm(grid.utterances(data_root), "clips of GRID", disable=None):
        part = part_of_pair[grid.pair_of(one.name)]
        word, start, end = grid.read_times(aligned[one.name])[0]
        path = out / word.lower() / PARTS[part] / f"{Path(one.name).name}.mp4"
        if counts[word, part] >= most[part]:
            continue
        counts[word, part] += 1
        if path.exists():
            continue
        frames = videos.read(one.video)
        if grid.is_damaged(frames):
            continue
        make_folder(path.parent)
        first = round((start + end) / 2 - FRAMES / 2)
        with VideoWriter(path, 25.0) as writer:
            for frame in frames[np.clip(np.arange(first, first + FRAMES), 0, len(frames) - 1)]:
                writer.write(frame)
    return out


def table(scores: dict) -> str:
    """The scores as a Markdown table and a sentence."""
    counts = scores["clips"]
    lines = ["| word | test clips read (%) |", "|---|---|"]
    lines += [f"| {word} | {recall} |" for word, recall in scores["words"].items()]
    lines += [f"| all | {scores['accuracy']} |", f"| commonest word | {scores['accuracy of the commonest word']} |"]
    return "\n".join(lines) + (
        f"\n\n{counts['train']} clips of GRID for training, {counts['val']} for choosing the epoch "
        f"({scores['best epoch']}), {counts['test']} for the test; one speaker, so that the score says nothing about "
        f"others.\n"
    )


if __name__ == "__main__":
    main()
