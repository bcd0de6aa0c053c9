"""A trained STN-iCNN as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from reprolib.checkpoints import load_network, save_network
from reprolib.datasets.parsing_faces import CLASSES
from reprolib.models.icnn import CHANNELS, ICNN
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.stn_icnn import STNICNN

FINE_LABELS = {"brow": 2, "eye": 2, "nose": 2, "mouth": 4}  # background and the part, or three lips


@dataclass(frozen=True)
class ParsingModel:
    """A trained network, the side of its coarse stage's input, and the side of its frames, in pixels."""

    network: STNICNN
    small: int
    frame: int


def build(
    *,
    patch: int = 81,  # Sec. 3.3, HELEN
    mouth_patch: int | None = None,
    channels: Sequence[int] = CHANNELS,
    cropper: Literal["stn", "baseline", "roi_align"] = "stn",
    light: bool = False,
    isotropic: bool = False,
    mean: Tensor | None = None,
) -> STNICNN:
    """An untrained STN-iCNN: nine classes in the coarse stage, one fine network for each kind of part.

    channels: those of the four rows of every iCNN. light: with `LightLocalisation` instead of ResNet-18. isotropic and
    mean, θ (6, 2, 3) at which the localiser starts: as in `reprolib.models.localisation`. The rest is as in `STNICNN`.
    """
    localisation = LightLocalisation if light else LocalisationNetwork
    return STNICNN(
        coarse=ICNN(len(CLASSES), channels=channels),
        localiser=None if cropper == "baseline" else localisation(mean=mean, isotropic=isotropic),
        fine={kind: ICNN(labels, channels=channels) for kind, labels in FINE_LABELS.items()},
        patch=patch,
        mouth_patch=mouth_patch,
        cropper=cropper,
    )


def save_model(path: Path, network: STNICNN, *, arguments: dict, small: int, frame: int) -> None:
    """Write what `load_model` reads: `arguments` are those that `build` made the network with, but for `mean`."""
    save_network(path, network, arguments=arguments, small=small, frame=frame)


def load_model(path: Path) -> ParsingModel:
    """The network of a checkpoint, ready to predict on the CPU; UserError if the file is missing or no checkpoint."""
    network, kept = load_network(path, build, study="yin2020", what="STN-iCNN")
    return ParsingModel(network, small=int(kept["small"]), frame=int(kept["frame"]))
