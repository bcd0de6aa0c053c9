"""What one trial of milletari2016 is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with Adam, stopped early on the validation score."""

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops
    batch_size: int
    lr: float


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial, without its seed."""

    data: Literal["synthetic"]
    dataset: Literal["facesynth"]
    profile: Literal["smoke", "cpu", "gpu"]
    size: int  # side of an image, pixels
    faces: int  # for training; half as many for validation, and for the test
    width: int = 8  # channels of the network's first layer
    loss: Literal["dice", "weighted_cross_entropy"] | None = None  # None: one mask for all images
    training: Training | None = None
