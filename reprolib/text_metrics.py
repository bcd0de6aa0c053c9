"""Character and word error rates, (S + D + I) / N, and the counts behind them (Sheng et al. 2021, Sec. IV-B)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor
from torchmetrics.functional.text import char_error_rate, word_error_rate

from reprolib.errors import UserError


def character_edits(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Edits S + D + I and characters N of the reference, spaces among them: int64 (utterances, 2).

    ValueError where the two differ in number, UserError for an empty reference.
    """
    return _edits(hypotheses, references, char_error_rate, len)


def word_edits(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Edits S + D + I and words N of the reference: int64 (utterances, 2); errors as `character_edits`."""
    return _edits(hypotheses, references, word_error_rate, lambda text: len(text.split()))


def _edits(
    hypotheses: Sequence[str],
    references: Sequence[str],
    rate: Callable[[str, str], Tensor],
    length: Callable[[str], int],
) -> np.ndarray:
    counts = np.zeros((len(references), 2), dtype=np.int64)
    for row, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        if not reference.strip():
            raise UserError(
                f"expected a transcript to compare with, found none for utterance {row}; leave the clip out"
            )
        units = length(reference)
        counts[row] = round(float(rate(hypothesis, reference)) * units), units
    return counts
