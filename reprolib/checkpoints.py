"""Stages of training that several trials share, done once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

import torch
from filelock import FileLock
from torch import nn

from reprolib.trials import Context


def fitted_once(
    study: str, spec: Mapping, build: Callable[[], nn.Module], fit: Callable[[nn.Module], dict], context: Context
) -> tuple[nn.Module, dict]:
    """A built and fitted model with its curves, fitted once for all trials whose stage has the same `spec`.

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
            return model.to(context.device), saved["curves"]
        curves = fit(model)
        partial = path.with_suffix(".part")
        torch.save({"weights": model.state_dict(), "curves": curves}, partial)
        partial.replace(path)
    return model, curves
