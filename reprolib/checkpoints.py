"""Trained networks on disk: stages that several trials share, and files that the commands for photos use."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

from reprolib.errors import UserError
from reprolib.trials import Context


def fitted_once(
    study: str, spec: Mapping, build: Callable[[], nn.Module], fit: Callable[[nn.Module], dict], context: Context
) -> tuple[nn.Module, dict]:
    """A built and fitted model with its curves, fitted once for all trials whose stage has the same `spec`.

    The model is in evaluation mode.

    `spec` is JSON-able and holds everything that the stage depends on, "seed" among it, from which all random
    numbers of `build` and `fit` follow. A lost checkpoint costs time and changes nothing.
    """
    key = hashlib.sha256(json.dumps(dict(spec), sort_keys=True).encode()).hexdigest()[:16]
    path = context.results / "checkpoints" / study / f"{key}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        torch.manual_seed(spec["seed"])
        model = build()
        if path.exists():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            model.load_state_dict(saved["weights"])
            return model.to(context.device).eval(), saved["curves"]
        curves = fit(model)
        partial = path.with_suffix(".part")
        torch.save({"weights": model.state_dict(), "curves": curves}, partial)
        partial.replace(path)
    return model.eval(), curves


def save_network(path: Path, network: nn.Module, *, arguments: Mapping, **described) -> None:
    """Write what `load_network` reads, in half precision: the `arguments` that made the network, and its description.

    All but the network's weights is plain numbers, strings, lists and tuples.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    partial = path.with_suffix(".part")
    torch.save({"model": dict(arguments), "state": state, **described}, partial)
    partial.replace(path)


def load_network(path: Path, build: Callable[..., nn.Module], *, study: str, what: str) -> tuple[nn.Module, dict]:
    """A saved network, ready to predict on the CPU, with its description.

    `what` names the network and `study` who trains it, in the UserError if the file is missing or no such checkpoint.
    """
    if not path.is_file():
        raise UserError(f"the checkpoint {path} should be a file, but is missing: train {study} or give another path")
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        network = build(**kept.pop("model"))
        network.load_state_dict(kept.pop("state"))
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path} should be a checkpoint of the {what}, but cannot be used as one ({reason}): "
            f"train {study} again or give another file"
        ) from error
    return network.eval(), kept
