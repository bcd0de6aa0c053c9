"""A trained lip network of yang2023 as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from reprolib.checkpoints import load_network, save_network
from reprolib.models.lip_inference import OneOutput
from reprolib.models.lip_network import LipNetwork


@dataclass(frozen=True)
class LipModel:
    """A trained network and the (height, width) in pixels of the crops that it takes."""

    network: nn.Module
    size: tuple[int, int]


def save_model(
    path: Path, network: LipNetwork, *, arguments: dict, size: tuple[int, int], imagenet: bool = False
) -> None:
    """Write a file for `load_model`; `arguments` made the network; `imagenet`: it takes ImageNet-normalised input."""
    save_network(path, network, arguments=arguments, size=tuple(size), imagenet=imagenet)


def load_model(path: Path) -> LipModel:
    """The network of a checkpoint, ready to predict on the CPU; UserError if the file is missing or no checkpoint."""
    network, kept = load_network(path, LipNetwork, study="yang2023", what="lip network")
    height, width = kept["size"]
    imagenet = bool(kept.get("imagenet", False))  # older files have no such field
    return LipModel(OneOutput(network, imagenet=imagenet).eval(), (int(height), int(width)))
