"""What every study reads back: the records of its plan, row by row, and the arrays beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reprolib.store import RunStore
from reprolib.trial import Record, Trial


def by_row(plan: Mapping[str, Sequence[Trial]], store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials in `plan` (place → trials)."""
    everything = {t.key: t for needed in plan.values() for t in needed}
    found: dict[str, list[Record]] = {}
    for trial in sorted(everything.values(), key=lambda t: t.seed):
        if (record := store.get(trial)) is not None:
            found.setdefault(trial.name, []).append(record)
    return found


class Arrays:
    """The arrays of records, read once: `arrays(records, name)` is (seeds, test items, …)."""

    def __init__(self, store: RunStore) -> None:
        self._store, self._read = store, {}

    def hold(self, records: Sequence[Record], name: str) -> bool:
        """Whether every one of the records kept an array of that name."""
        return all(name in self._of(record) for record in records)

    def __call__(self, records: Sequence[Record], name: str) -> np.ndarray:
        return np.stack([self._of(record)[name] for record in records])

    def _of(self, record: Record) -> dict[str, np.ndarray]:
        if record.trial.key not in self._read:
            self._read[record.trial.key] = self._store.arrays(record)
        return self._read[record.trial.key]
