"""Transcripts as tokens: one per character, and one for the end of the sentence."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reprolib.errors import UserError

ENGLISH = string.ascii_uppercase + string.digits + "' "
IGNORED = -100  # the target after a sentence's end; torch's cross entropy leaves it out


@dataclass(frozen=True)
class Tokeniser:
    """Characters to tokens 0, 1, …; then EOS, the last of the `outputs`, and SOS, which is only ever an input.

    With `ENGLISH` there are 39 outputs (Sheng et al. 2021, Sec. IV-B). ValueError for a character that occurs twice.
    """

    characters: str

    def __post_init__(self):
        if len(set(self.characters)) != len(self.characters):
            raise ValueError(f"characters must differ, found {self.characters!r}")

    @classmethod
    def fitted(cls, texts: Iterable[str]) -> Tokeniser:
        """A tokeniser for the characters of a corpus, in Unicode order."""
        return cls("".join(sorted(set().union(*texts))))

    @property
    def eos(self) -> int:
        return len(self.characters)

    @property
    def sos(self) -> int:
        return len(self.characters) + 1

    @property
    def outputs(self) -> int:
        """Number of tokens a decoder can predict: the characters and EOS."""
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, without EOS; UserError for an empty transcript and for an unknown character."""
        if not text.strip():
            raise UserError("expected a transcript with at least one character, found an empty one; leave the clip out")
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise UserError(
                f"expected only the characters {self.characters!r}, found {', '.join(map(repr, unknown))} in a "
                "transcript; write it with these characters or fit the tokeniser to the corpus"
            )
        return [self.characters.index(character) for character in text]

    def decode(self, tokens: Iterable[int]) -> str:
        """The characters up to the first EOS."""
        text = []
        for token in map(int, tokens):
            if token == self.eos:
                break
            text.append(self.characters[token])
        return "".join(text)

    def for_teacher_forcing(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The decoder's inputs and targets, int64 (N, L) each; L is the length of the longest transcript plus 1.

        Inputs: SOS and the transcript, padded with EOS. Targets: the transcript and EOS, padded with `IGNORED`.
        UserError as in `encode`.
        """
        tokens = [self.encode(text) for text in texts]
        shape = len(tokens), 1 + max(map(len, tokens), default=0)
        previous, targets = torch.full(shape, self.eos), torch.full(shape, IGNORED)
        for row, of_text in enumerate(tokens):
            previous[row, : len(of_text) + 1] = torch.tensor([self.sos, *of_text])
            targets[row, : len(of_text) + 1] = torch.tensor([*of_text, self.eos])
        return previous, targets
