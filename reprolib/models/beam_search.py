"""Beam search over the characters of several clips at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Decoder(Protocol):
    """A model that can be searched. It has `tokens` outputs, the last of which is EOS; the input `tokens` is SOS."""

    tokens: int
    training: bool

    def encode(self, features: Tensor, lengths: Tensor) -> Any: ...

    def decode(self, previous: Tensor, encoded: Any) -> Tensor: ...

    def train(self, mode: bool = True) -> Any: ...


@dataclass(frozen=True)
class Decoded:
    """Clips read by beam search; tokens are without SOS and EOS.

    tokens: the best text of each clip. scores: its log-probability, float64 (N,).
    steps: for each clip the best text after each step, up to the step in which the search for it ended.
    """

    tokens: list[list[int]]
    scores: Tensor
    steps: list[list[list[int]]]


@torch.no_grad()
def beam_search(
    model: Decoder,
    features: Tensor,
    lengths: Tensor,
    *,
    max_length: int,
    width: int = 6,  # Sheng et al. 2021, Sec. IV-B
) -> Decoded:
    """The most probable text of each clip, from features (N, T, …) with `lengths` (N,) valid frames.

    `width` hypotheses are kept for each clip. Its search ends when the best hypothesis has ended, since no open one can
    then overtake it, or after `max_length` tokens, when an open hypothesis may win. The model is searched in evaluation
    mode and then left as it was. ValueError for a width or a length below one.
    """
    if width < 1 or max_length < 1:
        raise ValueError(f"width and max_length must be at least 1, found {width} and {max_length}")
    was_training = model.training
    model.train(False)
    encoded = model.encode(features, lengths)
    clips, eos, device = len(features), model.tokens - 1, features.device
    texts = torch.full((clips, width, 1), model.tokens, device=device)  # SOS
    # log-probabilities; all hypotheses are the same at first, so that only one may go on
    scores = torch.full((clips, width), -torch.inf, dtype=torch.float64, device=device)
    scores[:, 0] = 0
    ended = torch.zeros_like(scores, dtype=torch.bool)
    done = torch.zeros(clips, dtype=torch.bool, device=device)
    steps: list[list[list[int]]] = [[] for _ in range(clips)]

    for _ in range(max_length):
        logits = model.decode(texts.flatten(0, 1), encoded)[:, -1]
        gains = logits.double().log_softmax(-1).unflatten(0, (clips, width))
        # an ended hypothesis continues with EOS alone, at no cost
        gains[ended] = -torch.inf
        gains[..., eos].masked_fill_(ended, 0)
        candidates = (scores[..., None] + gains).flatten(1)  # (N, width · tokens)
        best = candidates.argsort(dim=1, descending=True, stable=True)[:, :width]
        parents, tokens = best // model.tokens, best % model.tokens
        scores, ended = candidates.gather(1, best), ended.gather(1, parents) | (tokens == eos)
        texts = torch.cat(
            [texts.gather(1, parents[..., None].expand(-1, -1, texts.shape[2])), tokens[..., None]], dim=2
        )

        for clip in (~done).nonzero()[:, 0].tolist():
            steps[clip].append(_until(texts[clip, 0, 1:].tolist(), eos))
        done |= ended[:, 0]  # log p only falls: what is open can reach no more
        if done.all():
            break

    model.train(was_training)
    return Decoded([of_clip[-1] for of_clip in steps], scores[:, 0].cpu(), steps)


def _until(tokens: list[int], eos: int) -> list[int]:
    return tokens[: tokens.index(eos)] if eos in tokens else tokens
