"""Transformer back ends of sentence-level lip reading: encoder–decoder and CTC (Sheng et al. 2021, Sec. III-D)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.errors import UserError

BLANK = 0


class Encoded(NamedTuple):
    """Clips as a decoder sees them: memory (N, T, width), and which frames are padding, bool (N, T)."""

    memory: Tensor
    padding: Tensor


class Seq2Seq(nn.Module):
    """Base of the encoder–decoders over characters, all of which `beam_search` can search.

    A subclass defines `encode`, `embedding`, `dropout`, `classifier` and `decoder`. Each layer of `decoder` takes texts
    (N·B, L, width), the encoded clips, and a bool mask (L, L) of what each character may not see. It returns texts and,
    with `attention`, the attention to the frames.
    """

    def forward(self, features: Tensor, lengths: Tensor, previous: Tensor) -> Tensor:
        return self.decode(previous, self.encode(features, lengths))

    def decode(self, previous: Tensor, encoded: Encoded) -> Tensor:
        """Logits (N·B, L, tokens) for `previous` (N·B, L): B texts for every encoded clip, side by side."""
        return self.classifier(self._decode(previous, encoded)[0])

    def cross_attention(self, previous: Tensor, encoded: Encoded) -> Tensor:
        """Attention of each character to the frames: (layers, N·B, heads, L, T), rows sum to one in evaluation mode."""
        return torch.stack(self._decode(previous, encoded, attention=True)[1])

    def _decode(self, previous: Tensor, encoded: Encoded, *, attention: bool = False) -> tuple[Tensor, list[Tensor]]:
        texts = self.dropout(embedded(self.embedding, previous))
        future = later(previous.shape[1], previous.device)
        weights = []
        for layer in self.decoder:
            texts, of_layer = layer(texts, encoded, future, attention=attention)
            weights.append(of_layer)
        return texts, weights


class TransformerSeq2Seq(Seq2Seq):
    """Encoder over frames, decoder over characters; post-norm, sinusoidal positions.

    features float32 (N, T, in_channels), lengths int64 (N,) valid frames, previous int64 (N, L) the characters so far,
    SOS first -> logits (N, L, tokens). Tokens are those of `characters.Tokeniser`: EOS is tokens − 1; SOS is `tokens`
    and occurs only in the input. A linear layer adapts features of another width than the network's.
    Source: Sheng et al. 2021, Sec. III-D and IV-B; sizes of the public TM-seq2seq.
    """

    def __init__(
        self,
        in_channels: int,
        tokens: int,
        *,
        width: int = 512,
        heads: int = 8,
        layers: int = 6,
        ffn: int = 2048,
        dropout: float = 0.1,  # Sec. IV-B
    ):
        super().__init__()
        self.tokens = tokens
        sizes = {"nhead": heads, "dim_feedforward": ffn, "dropout": dropout, "batch_first": True}
        self.project = projection(in_channels, width)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, **sizes), layers, enable_nested_tensor=False
        )
        self.embedding = nn.Embedding(tokens + 1, width)
        self.decoder = nn.ModuleList(DecoderLayer(width, **sizes) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, tokens)
        initialise(self)

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """The encoder's output, once for all steps of the decoder."""
        padding = padded(lengths, features.shape[1])
        frames = self.dropout(with_positions(self.project(features)))
        return Encoded(self.encoder(frames, src_key_padding_mask=padding), padding)


class DecoderLayer(nn.TransformerDecoderLayer):
    """PyTorch's post-norm decoder layer for several texts per clip, which can also return its attention to the clip."""

    def forward(
        self, texts: Tensor, encoded: Encoded, future: Tensor, *, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """texts (N·B, L, width) -> same, and the attention to frames (N·B, heads, L, T), or None."""
        seen, _ = self.self_attn(texts, texts, texts, attn_mask=future, need_weights=False)
        texts = self.norm1(texts + self.dropout1(seen))
        seen, weights = attend(self.multihead_attn, texts, encoded, attention=attention)
        texts = self.norm2(texts + self.dropout2(seen))
        hidden = self.linear2(self.dropout(self.activation(self.linear1(texts))))
        return self.norm3(texts + self.dropout3(hidden)), weights


class TransformerCTC(nn.Module):
    """Self-attention over frames and a distribution over characters for each; blank is 0, character c is c + 1.

    features float32 (N, T, in_channels), lengths int64 (N,) -> logits (N, T, tokens + 1). It has twice as many encoder
    layers as the encoder–decoder. With 39 tokens its sizes are those of the public TM-CTC, whose 40th output is EOS and
    never a target.
    """

    def __init__(
        self,
        in_channels: int,
        tokens: int,
        *,
        width: int = 512,
        heads: int = 8,
        layers: int = 12,
        ffn: int = 2048,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.project = projection(in_channels, width)
        layer = nn.TransformerEncoderLayer(width, heads, ffn, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, tokens + 1)
        initialise(self)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        frames = self.dropout(with_positions(self.project(features)))
        padding = padded(lengths, features.shape[1])
        return self.classifier(self.encoder(frames, src_key_padding_mask=padding))


# --- parts ---------------------------------------------------------------------------------------------


def projection(in_channels: int, width: int) -> nn.Module:
    """A linear layer where the features have another width than the network."""
    return nn.Identity() if in_channels == width else nn.Linear(in_channels, width)


def padded(lengths: Tensor, frames: int) -> Tensor:
    """Mask of the frames after each clip's end: bool (N, frames)."""
    return torch.arange(frames, device=lengths.device) >= lengths[:, None]


def later(length: int, device: torch.device) -> Tensor:
    """Causal mask bool (L, L): true where a character may not look, at those after it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


def with_positions(x: Tensor) -> Tensor:
    """x (N, L, width) plus sines and cosines of the position."""
    half = (x.shape[-1] + 1) // 2
    rates = torch.exp(torch.arange(half, device=x.device) * (-2 * math.log(10_000) / x.shape[-1]))
    angles = torch.arange(x.shape[1], device=x.device)[:, None] * rates
    # (L, half, 2) -> (L, width): sine and cosine of each frequency side by side
    positions = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, : x.shape[-1]]
    return x + positions.to(x.dtype)


def embedded(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
    """Embeddings (N, L, width) of tokens (N, L), scaled by √width, plus their positions."""
    return with_positions(embedding(tokens) * math.sqrt(embedding.embedding_dim))


def attend(
    layer: nn.MultiheadAttention, texts: Tensor, encoded: Encoded, *, attention: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Attention of texts (N·B, L, width) to the frames of their N clips; its weights (N·B, heads, L, T), or None."""
    memory, padding = encoded
    # the texts of a clip are joined to one sequence, so that its frames are projected once: (N, B·L, width)
    together = texts.reshape(len(memory), -1, texts.shape[-1])
    seen, weights = layer(
        together, memory, memory, key_padding_mask=padding, need_weights=attention, average_attn_weights=False
    )
    if weights is not None:
        # (N, heads, B·L, T) -> (N·B, heads, L, T)
        weights = weights.unflatten(2, (-1, texts.shape[1])).transpose(1, 2).flatten(0, 1)
    return seen.reshape(texts.shape), weights


def initialise(model: nn.Module) -> None:
    """Xavier for all matrices, as torch's Transformer; embeddings N(0, 1/width)."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)


# --- CTC -----------------------------------------------------------------------------------------------


def frames_needed(text: Sequence) -> int:
    """How many frames CTC needs for a text: its characters, and a blank between adjacent repeats."""
    return len(text) + sum(a == b for a, b in itertools.pairwise(text))


def ctc_loss(logits: Tensor, lengths: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """Mean over clips of −log p(text) / length, from logits (N, T, tokens + 1) and texts as tokens without EOS.

    UserError for a clip with fewer frames than `frames_needed` for its text: no path spells it.
    """
    for clip, (frames, text) in enumerate(zip(lengths.tolist(), texts, strict=True)):
        if frames < (needed := frames_needed(text)):
            raise UserError(
                f"expected at least {needed} frames for the {len(text)} characters of clip {clip} (repeats need a "
                f"blank between them), found {frames}; leave the clip out or raise the frame rate"
            )
    targets = torch.tensor([token + 1 for text in texts for token in text], device=logits.device)
    counts = torch.tensor([len(text) for text in texts], device=logits.device)
    log_probabilities = logits.float().log_softmax(-1).transpose(0, 1)  # (T, N, tokens + 1)
    return F.ctc_loss(log_probabilities, targets, lengths.to(logits.device), counts, blank=BLANK)


def ctc_prefix_beam(logits: Tensor, lengths: Tensor, *, width: int = 6) -> list[list[int]]:
    """Most probable text of each clip, as tokens, by prefix beam search, which adds up all paths of a text."""
    probabilities = logits.detach().double().log_softmax(-1).cpu().numpy()
    return [_prefix_beam(p[:frames], width) for p, frames in zip(probabilities, lengths.tolist(), strict=True)]


def _prefix_beam(log_p: np.ndarray, width: int) -> list[int]:
    prefixes: list[tuple[int, ...]] = [()]
    blank, letter = np.zeros(1), np.full(1, -np.inf)  # log p of the paths that end in a blank, in a letter
    for frame in log_p:
        total = np.logaddexp(blank, letter)
        last = np.array([prefix[-1] if prefix else BLANK for prefix in prefixes])
        # a new letter: after any path, but the same letter again only after a blank
        longer = total[:, None] + frame  # (prefixes, labels)
        rows = np.arange(len(prefixes))
        longer[rows, last] = blank + frame[last]
        longer[:, BLANK] = -np.inf
        # no new letter: a blank, or the last letter held
        same_blank = total + frame[BLANK]
        same_letter = np.where(last == BLANK, -np.inf, letter + frame[last])
        # a prefix that is in the beam already collects the paths that reach it from its parent
        place = {prefix: row for row, prefix in enumerate(prefixes)}
        for row, prefix in enumerate(prefixes):
            parent = place.get(prefix[:-1]) if prefix else None
            if parent is not None:
                same_letter[row] = np.logaddexp(same_letter[row], longer[parent, prefix[-1]])
                longer[parent, prefix[-1]] = -np.inf
        scores = np.concatenate([np.logaddexp(same_blank, same_letter), longer.ravel()])
        best = np.argsort(-scores, kind="stable")[:width]
        best = best[np.isfinite(scores[best])]
        kept = [divmod(int(i) - len(prefixes), len(frame)) if i >= len(prefixes) else (int(i), None) for i in best]
        blank = np.array([same_blank[row] if label is None else -np.inf for row, label in kept])
        letter = np.array([same_letter[row] if label is None else longer[row, label] for row, label in kept])
        prefixes = [prefixes[row] if label is None else (*prefixes[row], label) for row, label in kept]
    return [label - 1 for label in prefixes[int(np.argmax(np.logaddexp(blank, letter)))]]
