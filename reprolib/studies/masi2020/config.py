"""The configuration of one trial of masi2020: typed, frozen, and all that its numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Data = Literal["synthetic", "public", "paper"]
Dataset = Literal["lfw-parts", "lfw-occluded", "cofw", "facesynth"]
Profile = Literal["smoke", "cpu", "gpu"]
Task = Literal["occlusion", "parts"]
Loss = Literal[
    "cross_entropy",
    "cross_entropy_smoothed",
    "blob_cross_entropy",  # Eq. 5
    "dice",
    "consensus",  # Eq. 8
    "consensus_batch_pooled",  # the authors' release
]
Start = Literal["random", "imagenet", "cross_entropy", "consensus"]

ALPHA, BETA = 10.0, 5.0  # Sec. 4.1; "{10.5}" in the paper's text is {10, 5}


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with Adam, stopped early on the validation score.

    The learning rate is flat where `final_lr` equals `lr`; else it drops ×0.1 on a plateau, down to `final_lr`.
    """

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops; 0 = never early
    batch_size: int
    lr: float
    final_lr: float
    drop_after: int = 2  # the learning rate drops after more than this many epochs without a better score


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The transfer (Sec. 3.1): a teacher labels many faces, and the network learns from these labels."""

    loss: Loss
    teacher_faces: int  # at most; 0 = all
    teacher: Training
    transfer_faces: int
    transfer: Training


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of masi2020, without its seed."""

    data: Data
    dataset: Dataset
    profile: Profile
    task: Task
    stage: Literal["trivial", "teacher", "transfer", "supervised"]
    size: int  # side of the network's input, pixels
    width: int = 64  # channels of the encoder-decoder's first layer; 64 in the paper
    network: Literal["EncoderDecoder", "FCN", "Unet", "AllFace", "MeanMask"] = "EncoderDecoder"
    loss: Loss = "cross_entropy"
    alpha: float = ALPHA
    beta: float = BETA
    start: Start = "random"  # initial weights: random, ImageNet's, or a transfer stage's with this loss
    regularised: bool = False  # "+reg.": dropout 0.2 and flips
    occluded_teacher: bool = False  # "+Occ.Aug.": the teacher sees pasted occluders
    train_faces: int = 0  # at most; 0 = all that the dataset has
    test_faces: int = 0
    training: Training | None = None
    pretraining: Pretraining | None = None  # for stage "teacher" and "transfer", and where `start` is a loss
