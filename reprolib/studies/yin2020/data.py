"""yin2020's faces, from each source, at the sizes that a trial asks for, and how they become a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.datasets import celebamask, fasseg_parts, helen, parsing_faces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.mouths import split_by_speaker
from reprolib.datasets.parsing_faces import CROPS, vary
from reprolib.models.spatial_transformer import theta_of_centres
from reprolib.studies.yin2020 import settings as s
from reprolib.training import Batch

SEED = 2020
TEST = 100_000  # the first synthetic test face
ANNOTATOR_NOISE = 1.0  # pixels, in a picture of 128, by which borders in synthetic training labels are off
# CelebAMask-HQ beside HELEN: faces turned further, softer pictures, more of them covered.
FAR_AWAY = replace(
    parsing_faces.PORTRAIT, yaw=(-45.0, 45.0), pitch=(-20.0, 20.0), roll=(-20.0, 20.0), blur=0.4, jpeg=0.8, occluder=0.2
)
FACES_AT_A_TIME = 16  # whose parts are counted: HELEN's at 1024² take 70 MB each
SHOWN = 6  # test faces whose pictures are kept
SINGLE = len(CROPS) - 1  # crops that hold one class; the last is the mouth
# By how much of a crop's side the fine networks' crops are off in pre-training, as in the authors' code.
JITTER = (0.3, 0.3, 0.3, 0.3, 0.1, 0.1)


def training_faces(p: Mapping, data_root: Path | None) -> FaceSet:
    """What the trial's stages learn from; `p["source"]` says where it comes from."""
    return _faces(p["source"], data_root, p["frame"], p["train"], p["test"], p["profile"] == "gpu")[0]


def few_faces(p: Mapping, data_root: Path | None) -> FaceSet:
    """The few of them on which the hybrid strategy fine-tunes."""
    faces = training_faces(p, data_root)
    return faces.subset(evenly_spaced(len(faces), p["few"]))


def test_faces(p: Mapping, data_root: Path | None) -> FaceSet:
    """What the trial is tested on, other people always."""
    return _faces(p["source"], data_root, p["frame"], p["train"], p["test"], p["profile"] == "gpu")[1]


def shown_faces(p: Mapping, data_root: Path | None) -> FaceSet | None:
    """Test faces whose pictures may be printed."""
    if p["source"] not in s.PRINTABLE:
        return None
    test = test_faces(p, data_root)
    return test.subset(evenly_spaced(len(test), SHOWN))


def faces_without(p: Mapping, data_root: Path | None, *, number: int) -> FaceSet:
    """The test faces that Figure 5 is about, with `number` of their six parts painted over."""
    key = (p["source"], data_root, p["frame"], p["train"], p["test"], p["profile"] == "gpu")
    return _faces_without(key, p["erased"], number)


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` indices, the first and the last among them; all where there are fewer."""
    return np.linspace(0, count - 1, min(wanted, count)).astype(int)


@lru_cache(maxsize=4)
def _faces(
    source: str, data_root: Path | None, frame: int, train: int, test: int, complete: bool
) -> tuple[FaceSet, FaceSet]:
    """(training, test); of the papers' datasets `complete` takes the whole lists."""
    if source in (s.SYNTHETIC, s.ELSEWHERE):
        seed, options = (SEED, parsing_faces.PORTRAIT) if source == s.SYNTHETIC else (SEED + 1, FAR_AWAY)
        of_source = {"size": frame, "options": options}
        return (
            parsing_faces.synthetic(seed, train, annotator_noise=ANNOTATOR_NOISE, **of_source),
            parsing_faces.synthetic(seed, test, first=TEST, **of_source),
        )
    if source == s.FASSEG:
        faces = fasseg_parts.load(data_root, frame=frame)
        whole = faces.subset([i for i, tags in enumerate(faces.tags) if not tags])  # all parts found and divided
        return split_by_speaker(whole, test=test, seed=SEED)
    dataset = helen if source == s.HELEN else celebamask
    counts = (None, None) if complete else (train, test)
    return tuple(
        dataset.load(data_root, split, frame=frame, count=count)
        for split, count in zip(("train", "test"), counts, strict=True)
    )


@lru_cache(maxsize=16)
def _faces_without(key: tuple, count: int, number: int) -> FaceSet:
    test = _faces(*key)[1]
    return parsing_faces.erase_some(test.subset(evenly_spaced(len(test), count)), number, seed=SEED)


# --- from faces to batches ---------------------------------------------------------------------------


def tensors(faces: FaceSet) -> dict[str, Tensor]:
    """What the training loop draws batches from: "images" uint8 (N, 3, H, W), "labels" uint8 (N, H, W)."""
    images = torch.from_numpy(faces.images).permute(0, 3, 1, 2).contiguous()
    return {"images": images, "labels": torch.from_numpy(faces.labels)}


def varied(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frames float32 (N, 3, H, W) in [0, 1] and their labels int64, each with 0 to 4 changes (Sec. 2.5.1)."""
    operations = torch.randint(0, 5, (len(batch["images"]),), generator=generator)
    return vary(batch["images"].float() / 255, batch["labels"].long(), generator, operations=operations)


def shrunk(full: Tensor, side: int) -> Tensor:
    """The frames (N, 3, H, W) as pictures of side × side for the coarse stage."""
    return F.interpolate(full, (side, side), mode="bilinear", align_corners=False, antialias=True)


def resized_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (N, H, W) at another (height, width), int64, each pixel that of the nearest."""
    return F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()


def true_theta(labels: Tensor, *, patch: int, mouth_patch: int) -> Tensor:
    """θ float32 (N, 6, 2, 3) of crops at the centres of the labels' parts, Eq. 21; NaN for a part that is not there."""
    return _theta(centres(labels), labels.shape[1:], patch, mouth_patch)


def mean_theta(labels: Tensor, *, patch: int, mouth_patch: int) -> Tensor:
    """The mean of `true_theta` over the faces, (6, 2, 3): where a localisation network starts."""
    few = labels.split(FACES_AT_A_TIME)
    return torch.cat([true_theta(some, patch=patch, mouth_patch=mouth_patch) for some in few]).nanmean(0)


def jittered_theta(labels: Tensor, generator: torch.Generator, *, patch: int, mouth_patch: int) -> Tensor:
    """As `true_theta`, each crop off its place by whole pixels: the fine networks shall bear a cropper's errors."""
    off = 2 * torch.rand(len(labels), len(CROPS), 2, generator=generator) - 1
    off *= (torch.tensor(JITTER) * torch.tensor(sides(patch, mouth_patch)))[:, None]
    return _theta(centres(labels) + off.round().to(labels.device), labels.shape[1:], patch, mouth_patch)


def _theta(middles: Tensor, frame: torch.Size, patch: int, mouth_patch: int) -> Tensor:
    return theta_of_centres(middles, frame=tuple(frame), patch=sides(patch, mouth_patch))


def sides(patch: int, mouth_patch: int) -> tuple[int, ...]:
    """Side of each of the six crops, pixels."""
    return (patch,) * SINGLE + (mouth_patch,)


def centres(labels: Tensor) -> Tensor:
    """`parsing_faces.centres` on any device: labels integer (N, H, W) -> float32 (N, 6, 2), pixels (x, y)."""
    classes = torch.arange(1, len(parsing_faces.CLASSES), device=labels.device)
    planes = labels[:, None] == classes[:, None, None]  # (N, 8, H, W)
    rows, columns = planes.sum(3).double(), planes.sum(2).double()
    mass = rows.sum(2)
    x, y = ((counts * torch.arange(counts.shape[2], device=labels.device)).sum(2) / mass for counts in (columns, rows))
    middles = torch.stack([x, y], dim=2)  # (N, 8, 2), NaN for an absent class
    mouth = middles[:, SINGLE:].nanmean(1, keepdim=True)
    return torch.cat([middles[:, :SINGLE], mouth], dim=1).floor().float()
