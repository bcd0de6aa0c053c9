"""The configuration of one trial of yin2020: typed, frozen, and all that its numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAPERS_RATE = 0.001  # the authors' code, an older branch

Data = Literal["synthetic", "public", "paper"]
Dataset = Literal["celebamask", "celebamask-hq", "helen", "facesynth"]
Profile = Literal["smoke", "cpu", "gpu"]
Stage = Literal[
    "mean mask",  # no network: one mask for every face
    "coarse",  # stage 1 alone
    "fine",  # stage 2 alone, at places that need no stage 1
    "two-stage",  # both stages and a cropper, each trained by itself
    "together",  # the same, then trained further by the part loss of Eq. 22
    "whole face",  # a network that labels the frame at once
    "timing",  # milliseconds per face
]
Cropper = Literal[
    "baseline",  # probability-weighted centroids of the rough mask
    "hard",  # centroids of its arg max
    "stn",  # the grid transformer at the localisation network's θ
    "roi_align",  # RoI-Align at the centres of the localisation network's θ
    "true",  # the centres of the labels' parts
    "mean",  # the mean place of each part over the training faces, whatever the image
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with Adam, stopped early on a validation score.

    The learning rate is multiplied by ½ after every `halve_every` epochs, as in Sec. 2.5.2, but not below `final_lr`.
    """

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops
    batch_size: int
    lr: float
    final_lr: float
    halve_every: int


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The separate trainings of the three networks: stage 1 (Eq. 18), localisation (Eq. 19), stage 2 (Eq. 16)."""

    coarse: Training
    localiser: Training
    fine: Training
    versions: int  # augmented versions of each face whose rough masks the localisation network learns from


@dataclass(frozen=True, kw_only=True)
class Source:
    """Faces of one dataset at one size, and the crops that fit them."""

    dataset: Dataset
    frame: int  # side of the frame, pixels
    patch: int  # side of the crops of brows, eyes and nose, pixels
    mouth_patch: int  # side of the mouth's crop, pixels
    train_faces: int  # at most; 0 = all that the dataset has
    test_faces: int  # at most; 0 = all that the dataset has


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of yin2020, without its seed."""

    data: Data
    dataset: Dataset
    profile: Profile
    stage: Stage
    source: Source  # of the faces that it learns from and is scored on
    small: int  # side of the input of stage 1, pixels; in "whole face", of the network's input
    channels: tuple[int, ...] = (8, 16, 24, 32)  # of the four rows of every iCNN; the paper's
    network: Literal["ICNN", "OriginalICNN", "Unet"] = "ICNN"  # of both stages, or of the whole face
    cropper: Cropper = "stn"
    localiser: Literal["resnet18", "light"] = "resnet18"
    isotropic: bool = False  # one scale for both axes of θ, as Sec. 2.3 has it in words; the authors' code has two
    joint: bool = False  # in "together": stage 1 and localisation learn, too; else only stage 2 (published recipe)
    pretrained_rate: float = PAPERS_RATE  # their learning rate in joint training, as a share of stage 2's
    kept_losses: bool = False  # in joint training: Eq. 18 and 19 are added to the part loss
    erased_faces: int = 0  # test faces from which parts are erased (Figure 5); 0 = none
    few: int = 0  # of the hybrid strategy: number of faces of `source` to learn from; 0 = all
    elsewhere: Source | None = None  # of the hybrid strategy: where the parser was trained before
    pretraining: Pretraining | None = None
    # Of "together" and "whole face" the training itself; of "coarse" and "fine" that of the same stage in
    # `pretraining`, so that it can be tuned like any other.
    training: Training | None = None
    before: Training | None = None  # of the hybrid strategy: the joint training elsewhere
