"""A trained lip network as a file."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from reprolib.errors import UserError
from reprolib.models.lip_network import LipNetwork
from reprolib.studies.yang2023.networks import OneOutput


@dataclass(frozen=True)
class LipModel:
    """A trained network and the (height, width) of the crops that it knows."""

    network: nn.Module
    size: tuple[int, int]


def save_model(path: Path, network: LipNetwork, *, arguments: dict, size: tuple[int, int]) -> None:
    """Write what `load_model` reads, in half precision; `arguments` are those that the network was made with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    partial = path.with_suffix(".part")
    torch.save({"model": arguments, "state": state, "size": tuple(size)}, partial)
    partial.replace(path)


def load_model(path: Path) -> LipModel:
    """The network of a checkpoint, ready to predict on the CPU; UserError if the file is missing or no checkpoint."""
    if not path.is_file():
        raise UserError(f"the checkpoint {path} should be a file, but is missing: train yang2023 or give another path")
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        network = LipNetwork(**kept["model"])
        network.load_state_dict(kept["state"])
        height, width = kept["size"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path} should be a checkpoint of the lip network, but cannot be used as one ({reason}): "
            "train yang2023 again or give another file"
        ) from error
    return LipModel(OneOutput(network).eval(), (int(height), int(width)))
