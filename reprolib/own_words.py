"""Train a lip reader on your own clips of words: sheng2021's global stream with its back end, MS-TCN.

    from reprolib import own_words
    own_words.fit("CLIPS", out="RUN")
    own_words.load("RUN/network.pt").read("me.mp4")  # [("bread", 0.93), …]

The folder is laid out as LRW is: WORD/{train,val,test}/CLIP.mp4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from reprolib import mouth_clips
from reprolib.checkpoints import load_network, save_network
from reprolib.datasets import folders
from reprolib.datasets.clip_augmentation import mirrored_and_shifted, normalised
from reprolib.datasets.kept import content, kept
from reprolib.errors import UserError
from reprolib.machine import resolve_device
from reprolib.models.c3d_resnet18 import C3DResNet18
from reprolib.models.lip_words import TwoStream
from reprolib.models.ms_tcn import MSTCN
from reprolib.photo_files import VIDEOS, make_folder, write_bytes
from reprolib.training import Batch, Schedule, make_fabric, train

PARTS = ("train", "val", "test")
FPS = 25.0  # as in LRW
SHIFT = 4 / 112  # of the crop's side (Sec. IV-B)
PATIENCE = 8  # epochs
AT_A_TIME = 32  # clips in prediction


@dataclass(frozen=True)
class Words:
    """Clips of one part: mouths uint8 (N, T, S, S), zero after a clip's length; lengths and labels int64 (N,)."""

    mouths: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class OwnReader:
    """A trained lip reader, its words, the side of its crops in pixels, and the number of frames that it takes."""

    network: nn.Module
    words: tuple[str, ...]
    size: int
    frames: int

    def read(self, video: Path | str) -> list[tuple[str, float]]:
        """The words with their probabilities, the likeliest first; UserError for a video without a speaker."""
        mouths, length = middle(mouth_clips.read(video, size=self.size, fps=FPS).mouth, self.frames)
        scores = _scores(self.network, Words(mouths[None], np.array([length]), np.zeros(1, np.int64)))
        chances = torch.from_numpy(scores[0]).softmax(0).tolist()
        return sorted(zip(self.words, chances, strict=True), key=lambda pair: -pair[1])


def fit(
    clips: Path | str,
    *,
    out: Path | str,
    size: int = 56,
    frames: int = 29,
    width: int = 16,
    epochs: int = 60,
    batch_size: int = 16,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> dict:
    """Train on the clips in WORD/train, stop early by those in WORD/val, and return scores on those in WORD/test.

    size: side of the mouth crop in pixels (paper: 112). frames: number taken from the middle of each clip, at 25 per
    second (LRW: 29); shorter clips are taken whole. width: channels of the first convolution (paper: 64).
    Writes to the folder `out`: network.pt and scores.json, the returned dict: accuracy in % on the test clips, beside
    that of always predicting the commonest word, recall of each word, numbers of clips. Mouths are found with dlib and
    kept in the project's cache. UserError for a folder that cannot be used, or if more than a few clips lack a speaker.
    """
    out = Path(out)
    device = resolve_device(device)
    listed = read_folder(Path(clips))
    words = tuple(listed)
    make_folder(out)
    learn, choose, test = (read_part(listed, part, size=size, frames=frames) for part in PARTS)
    torch.manual_seed(seed)
    arguments = {"classes": len(words), "width": width}
    model = build(**arguments)

    with tqdm(total=epochs, desc="epochs", disable=None) as bar:

        def validate(trained: nn.Module) -> float:
            bar.update()
            return 100 * float((_scores(trained, choose).argmax(1) == choose.labels).mean())

        data = {"crops": learn.mouths, "lengths": learn.lengths, "labels": learn.labels}
        fitted = train(
            model, {name: torch.from_numpy(value) for name, value in data.items()},
            lambda scores, batch: F.cross_entropy(scores, batch["labels"]),
            schedule=Schedule.plateau(
                epochs, batch_size, lr, final_lr=lr / 100, drop_after=3, patience=PATIENCE
            ),
            fabric=make_fabric(device), seed=seed, inputs=("crops", "lengths"), prepare=_prepare,
            augment=partial(mirrored_and_shifted, shift=round(SHIFT * size)), validate=validate,
        )  # fmt: skip
    right = _scores(model, test).argmax(1) == test.labels
    commonest = np.bincount(learn.labels).argmax()
    scores = {
        "accuracy": _percent(right),
        "accuracy of the commonest word": _percent(test.labels == commonest),
        "words": {word: _percent(right[test.labels == label]) for label, word in enumerate(words)},
        "clips": {part: len(of.labels) for part, of in zip(PARTS, (learn, choose, test), strict=True)},
        "best epoch": fitted.stopped.best_epoch,
        "converged": fitted.stopped.converged,
    }
    save_network(out / "network.pt", model, arguments=arguments, words=list(words), size=size, frames=frames)
    write_bytes(out / "scores.json", json.dumps(scores, indent=1).encode())
    return scores


def load(path: Path | str) -> OwnReader:
    """The lip reader that `fit` wrote, ready to read on the CPU; UserError if the file is missing or no lip reader."""
    network, about = load_network(Path(path), build, study="your lip reader", what="lip reader of `train-words`")
    return OwnReader(network, tuple(about["words"]), int(about["size"]), int(about["frames"]))


def build(*, classes: int, width: int) -> TwoStream:
    """The global stream with MS-TCN before training, in the paper's proportions (its width is 64)."""
    stream = C3DResNet18(width=width)
    return TwoStream(stream, None, MSTCN(stream.channels, classes, channels=4 * width))


def read_folder(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Word → part → its videos, words in alphabetical order; UserError for fewer than two words or an empty part."""
    words = folders.subfolders(root) if root.is_dir() else []
    if len(words) < 2:
        raise UserError(f"{root} should hold a folder for each of two words or more, found {len(words)}: add folders")
    found = {word.name: {part: folders.files(word / part, *VIDEOS) for part in PARTS} for word in words}
    for word, parts in found.items():
        for part, videos in parts.items():
            if not videos:
                raise UserError(
                    f"{root / word / part} should hold videos ({', '.join(VIDEOS)}), but has none: add some"
                )
    return found


def read_part(listed: dict[str, dict[str, list[Path]]], part: str, *, size: int, frames: int) -> Words:
    """The mouths of one part; a few clips that show no speaker are left out with a warning."""
    files = [(video, label) for label, parts in enumerate(listed.values()) for video in parts[part]]
    made, skipped = [], folders.Skipped(f"clips of {part}", len(files))
    for video, label in tqdm(files, f"{part} clips", disable=None):
        with skipped.item():
            shown = kept("own_words", (content([video]), size, FPS), partial(_mouth, video, size))["mouth"]
            made.append((*middle(shown, frames), label))
    skipped.warn()
    mouths, lengths, labels = zip(*made, strict=True)
    return Words(np.stack(mouths), np.array(lengths), np.array(labels))


def _mouth(video: Path, size: int) -> dict[str, np.ndarray]:
    return {"mouth": mouth_clips.read(video, size=size, fps=FPS).mouth}


def middle(mouths: np.ndarray, frames: int) -> tuple[np.ndarray, int]:
    """The middle `frames` of a clip (T, S, S), and how many of them it has; a shorter clip is padded with zeros."""
    first = max(0, (len(mouths) - frames) // 2)
    shown = mouths[first : first + frames]
    made = np.zeros((frames, *mouths.shape[1:]), mouths.dtype)
    made[: len(shown)] = shown
    return made, len(shown)


@torch.no_grad()
def _scores(network: nn.Module, clips: Words) -> np.ndarray:
    """Logits float32 (N, words)."""
    device = next(network.parameters()).device
    network.eval()
    made = []
    for start in range(0, len(clips.labels), AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        batch = {"crops": torch.from_numpy(clips.mouths[part]), "lengths": torch.from_numpy(clips.lengths[part])}
        seen = _prepare({name: value.to(device) for name, value in batch.items()})
        made.append(network(seen["crops"], lengths=seen["lengths"]).float().cpu())
    return torch.cat(made).numpy()


def _prepare(batch: Batch) -> dict[str, Tensor]:
    return batch | {"crops": normalised(batch["crops"], batch["lengths"])}


def _percent(right: np.ndarray) -> float | None:
    return round(100 * float(right.mean()), 1) if len(right) else None
