"""Splits in which no person is in two parts, and indices for names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reprolib.errors import UserError


def split_people(owners: Sequence[str], *, parts: tuple[float, ...], seed: int, called: str) -> list[np.ndarray]:
    """Indices of the examples in each part; no person's examples are in two parts.

    `owners`: the person of each example. `parts`: shares of the people, sampled with `seed`; every part gets at least
    one person. UserError for fewer people than parts, which uses the word `called` for them.
    """
    people = np.random.default_rng(seed).permutation(sorted(set(owners)))
    if len(people) < len(parts):
        raise UserError(
            f"a split into {len(parts)} sets needs as many {called}, found {len(people)}: give clips of more people"
        )
    ends = np.round(np.cumsum(parts) / sum(parts) * len(people)).astype(int)
    at_least = np.arange(1, len(parts) + 1)  # one person each, and as many left for those behind
    ends = np.clip(ends, at_least, len(people) - at_least[::-1] + 1)
    ends = np.maximum.accumulate(ends - at_least) + at_least
    return [np.flatnonzero(np.isin(owners, of_part)) for of_part in np.split(people, ends[:-1])]


def numbered(names: Sequence[str]) -> np.ndarray:
    """int64 (N,): an index from 0 for each name, the same for the same name."""
    return np.unique(np.asarray(names), return_inverse=True)[1]
