"""A trial and its results, which are a pure function of its specification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reprolib.errors import UserError
from reprolib.paths import RESULTS

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


@dataclass(frozen=True)
class Trial:
    """One training (or measurement), fully specified: `params` holds JSON values only."""

    study: str
    name: str
    params: Mapping[str, JSON]
    seed: int
    recipe_version: int = 1

    def __post_init__(self) -> None:
        # A private copy in JSON's own types: what is read back from a record is equal to what was written.
        object.__setattr__(self, "params", json.loads(canonical_json(dict(self.params))))

    @property
    def key(self) -> str:
        """16 hex digits of a hash of everything that decides the result; the display name does not."""
        decisive = {"study": self.study, "params": self.params, "seed": self.seed}
        decisive["recipe_version"] = self.recipe_version
        return hashlib.sha256(canonical_json(decisive).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Context:
    """Where a trial runs: never part of its key."""

    device: str = "cpu"  # "cpu", "cuda", or "auto" before `run` has resolved it
    data_root: Path | None = None
    results: Path = RESULTS
    devices: int = 1  # how many train each network together


@dataclass
class Outcome:
    """What a trial found: finite numbers, curves of such, a few arrays for figures, and its speed."""

    metrics: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)  # e.g. {"images_per_second": 812.0}
    stopped: dict[str, Any] = field(default_factory=dict)  # where training ended: best epoch, ceiling, converged
    units: dict[str, int] = field(default_factory=dict)  # independent units of the test items: {"person": 475}


@dataclass(frozen=True)
class Record:
    """A trial with its outcome, cost and environment; `failure` says in a sentence why it has no outcome."""

    trial: Trial
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    cost: dict[str, Any]  # seconds, device, device_name, peak_memory_mb, workers on it, and the outcome's speed
    environment: dict[str, Any]
    failure: str | None = None
    stopped: dict[str, Any] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)


class StoreError(UserError):
    """The results folder cannot be written: going on would train in vain."""


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
