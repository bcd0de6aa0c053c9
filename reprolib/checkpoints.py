"""Trained networks on disk: stages that several trials share, and files that the commands for photos use."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from torch import nn

from reprolib import together
from reprolib.errors import UserError
from reprolib.store import checkpoint_path, write_atomically
from reprolib.training import Fitted, Stopped
from reprolib.trial import Context

Left = TypeVar("Left", Fitted, dict)


def fitted_once(
    study: str, spec: Mapping, build: Callable[[], nn.Module], fit: Callable[[nn.Module], Left], context: Context
) -> tuple[nn.Module, Left]:
    """A built and fitted model with what `fit` returned, fitted once for all trials whose stage has the same `spec`.

    The model is in evaluation mode. `spec` is JSON-able and holds everything that the stage depends on, "seed" among
    it, from which all random numbers of `build` and `fit` follow. `fit` returns `Fitted`, or a dict of curves.
    A lost checkpoint costs time and changes nothing; one that cannot be read is set aside with a warning. StoreError
    where the checkpoint cannot be written. Of several processes that train together only the first writes.
    """
    path = checkpoint_path(context.results, study, spec)
    path.parent.mkdir(parents=True, exist_ok=True)

    def seeded() -> nn.Module:
        torch.manual_seed(spec["seed"])
        return build()

    first = together.first()
    with FileLock(path.with_suffix(".lock")) if first else nullcontext():
        model = seeded()
        known = together.agreed(_read_into(model, path) if first and path.exists() else None)
        if known is not None:
            if not first:
                _read_into(model, path)
            return model.to(context.device).eval(), known
        model = seeded()
        fitted = fit(model)
        if first:
            _save({"weights": model.state_dict(), "fitted": fitted}, path)
    return model.eval(), fitted


def _read_into(model: nn.Module, path: Path) -> Fitted | dict | None:
    """Load the weights into `model` and return what `fit` returned; None for an unreadable file, which is set aside."""
    try:
        with torch.serialization.safe_globals([Fitted, Stopped]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["weights"])
        return saved["fitted"]
    except Exception as error:  # torch has many for damaged files, and the answer to each is the same
        aside = path.replace(path.with_name(path.name + ".corrupt"))
        message = f"The checkpoint {path} cannot be read ({_reason(error)}); it was set aside as {aside.name}."
        warnings.warn(message, RuntimeWarning, stacklevel=4)
        return None


def save_network(path: Path, network: nn.Module, *, arguments: Mapping, **described) -> None:
    """Write a file for `load_network`: the weights in float16, the `arguments` that made the network, its description.

    Arguments and description hold only numbers, strings, lists and tuples.
    """
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    _save({"model": dict(arguments), "state": state, **described}, path)


def load_network(path: Path, build: Callable[..., nn.Module], *, study: str, what: str) -> tuple[nn.Module, dict]:
    """A saved network, ready to predict on the CPU, with its description.

    UserError if the file is missing or no such checkpoint; it names the network by `what` and its training by `study`.
    """
    if not path.is_file():
        raise UserError(f"the checkpoint {path} should be a file, but is missing: train {study} or give another path")
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        network = build(**kept.pop("model"))
        network.load_state_dict(kept.pop("state"))
    except Exception as error:  # torch has many for damaged files, and the answer to each is the same
        raise UserError(
            f"{path} should be a checkpoint of the {what}, but cannot be used as one ({_reason(error)}): "
            f"train {study} again or give another file"
        ) from error
    return network.eval(), kept


def _save(content: Mapping, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
