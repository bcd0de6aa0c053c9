"""Records as files: written whole or not at all, and checked when they are read back."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import numbers
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from reprolib.errors import UserError
from reprolib.trial import JSON, Outcome, Record, StoreError, Trial, canonical_json
from reprolib.whole_files import write_whole


class RunStore:
    """Records as files: trials/<study>/<key>.json, artifacts/….npz beside them, failures/….json apart."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def get(self, trial: Trial) -> Record | None:
        """The finished record of a trial; None where there is none, or a corrupt one (then set aside)."""
        return self._read(self._path("trials", trial, ".json"))

    def records(self, study: str) -> list[Record]:
        """All finished records of a study, by name and seed; their arrays are checked when they are read."""
        found = (self._read(path, verify=False) for path in sorted((self.root / "trials" / study).glob("*.json")))
        return sorted((record for record in found if record), key=lambda r: (r.trial.name, r.trial.seed))

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The arrays that a trial kept for figures; empty if it kept none, or if the file was changed since."""
        path = self._path("artifacts", record.trial, ".npz")
        if not path.exists() or self.get(record.trial) is None:
            return {}
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)

    def save(
        self, trial: Trial, outcome: Outcome, *, cost: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Record:
        """Write a finished trial; whole or not at all, also when the process is killed meanwhile.

        UserError for a metric or curve that is not finite; StoreError where the folder cannot be written.
        """
        metrics = {name: _finite(name, value) for name, value in outcome.metrics.items()}
        curves = {name: [_finite(name, value) for value in curve] for name, curve in outcome.curves.items()}
        cost = {**cost, **{name: _finite(name, value) for name, value in outcome.speed.items()}}
        record = Record(
            trial, metrics, curves, cost, dict(environment), stopped=dict(outcome.stopped), units=dict(outcome.units)
        )
        artifact = None
        if outcome.arrays:
            # The arrays come first: a record that can be seen has its arrays already.
            content = _npz(outcome.arrays)
            artifact = hashlib.sha256(content).hexdigest()
            write_atomically(self._path("artifacts", trial, ".npz"), content)
        write_atomically(self._path("trials", trial, ".json"), _encode(record, artifact_sha256=artifact))
        self._path("failures", trial, ".json").unlink(missing_ok=True)
        return record

    def save_failure(
        self,
        trial: Trial,
        failure: str,
        *,
        trace: str,
        cost: Mapping[str, Any],
        environment: Mapping[str, Any],
    ) -> Record:
        """Note why a trial failed; it counts as missing and is tried again by the next run."""
        record = Record(trial, {}, {}, dict(cost), dict(environment), failure)
        write_atomically(self._path("failures", trial, ".json"), _encode(record, traceback=trace))
        return record

    def check_writable(self, study: str) -> None:
        """StoreError, before any training, if records cannot be saved; deletes files that killed writers left."""
        for folder in ("trials", "artifacts", "failures", "checkpoints"):
            probe = self.root / folder / study / f".probe.{os.getpid()}"
            write_atomically(probe, b"\0" * 65536)
            probe.unlink()
            for left in probe.parent.glob(".*.tmp"):
                if time.time() - left.stat().st_mtime > 3600:  # no living process writes for an hour
                    left.unlink(missing_ok=True)

    def claimed(self, trial: Trial) -> FileLock:
        """A lock that one process holds while it runs a trial; a killed one gives it back."""
        path = self._path("checkpoints", trial, ".trial.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _path(self, folder: str, trial: Trial, suffix: str) -> Path:
        return self.root / folder / trial.study / (trial.key + suffix)

    def _read(self, path: Path, *, verify: bool = True) -> Record | None:
        if not path.exists():
            return None
        try:
            return self._decode(path, verify=verify)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = path.with_name(path.name + ".corrupt")
            os.replace(path, aside)
            message = f"The record {path} is corrupt ({error}); it was set aside as {aside.name}."
            warnings.warn(message, RuntimeWarning, stacklevel=3)
            return None

    def _decode(self, path: Path, *, verify: bool) -> Record:
        content = json.loads(path.read_text(encoding="utf-8"))
        trial = Trial(**content["trial"])
        if trial.key != path.stem:
            raise ValueError(f"its specification has the key {trial.key}")
        metrics = {name: _finite(name, value) for name, value in content["metrics"].items()}
        if content["artifact_sha256"] is not None:
            artifact = self._path("artifacts", trial, ".npz")
            found = _sha256(artifact) if verify and artifact.exists() else None
            if found != content["artifact_sha256"] if verify else not artifact.exists():
                raise ValueError(f"{artifact} is {'not the one that was written' if found else 'missing'}")
        return Record(
            trial, metrics, content["curves"], content["cost"], content["environment"],
            stopped=content.get("stopped", {}), units=content.get("units", {}),
        )  # fmt: skip


def checkpoint_path(results: Path, study: str, spec: Mapping[str, Any]) -> Path:
    """The file of a stage that several trials share, named by a hash of everything that it depends on."""
    key = hashlib.sha256(json.dumps(dict(spec), sort_keys=True).encode()).hexdigest()[:16]
    return results / "checkpoints" / study / f"{key}.pt"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _encode(record: Record, **more: JSON) -> bytes:
    """One line per part, so that a changed record reads well in a diff."""
    parts = dataclasses.asdict(record) | more
    return (
        "{\n" + ",\n".join(f"{canonical_json(key)}: {canonical_json(part)}" for key, part in parts.items()) + "\n}\n"
    ).encode()


def _finite(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(
            f"The result {name!r} should be a finite number, but it is {value!r}; "
            "a lower learning rate may keep the training stable."
        )
    return float(value)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes them for allow_pickle
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; StoreError, and nothing left, where the disk refuses."""
    try:
        write_whole(path, content, durable=True)
    except OSError as error:
        raise StoreError(
            f"Results could not be written to {path.parent} ({error.strerror}); "
            "free some space or choose a folder that you may write to."
        ) from None
