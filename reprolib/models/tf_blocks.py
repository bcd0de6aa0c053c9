"""An encoder–decoder of temporal focal blocks, in the spirit of Zhang et al. 2019 (Table VII of Sheng et al. 2021).

The sizes of kernels and windows are ours: the paper's are not recoverable.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.models.lip_transformer import (
    Encoded,
    Seq2Seq,
    attend,
    initialise,
    later,
    padded,
    projection,
    with_positions,
)


class SpatioTemporalFusion(nn.Module):
    """Maps float32 (N, T, C, h, w) -> features (N, T, C): positions weighted by what is seen around them.

    A depthwise 3×3×3 convolution reads the neighbours in space and time; a softmax over the h·w positions of a frame
    gives their weights. The module replaces the front end's global average, which it equals at first. Frames after a
    clip's end, given by `lengths` (N,), have no effect.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.neighbours = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.score = nn.Conv3d(channels, 1, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        outside = padded(lengths, maps.shape[1])[:, None, :, None, None].to(maps.device)
        volume = maps.transpose(1, 2).masked_fill(outside, 0)  # (N, C, T, h, w)
        scores = self.score(self.neighbours(volume).relu())
        weights = scores.flatten(3).softmax(-1)  # (N, 1, T, h·w)
        return (volume.flatten(3) * weights).sum(-1).transpose(1, 2)


class TFBlock(nn.Module):
    """Convolution over time, then self-attention to the near frames, then a feed-forward layer; each with a residual.

    x float32 (N, L, width), padding bool (N, L) -> (N, L, width). Attention reaches `window` steps to each side. A
    causal block sees no later step, neither in its convolution nor in its attention. ValueError for an even
    `kernel_size`.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 8,
        ffn: int = 2048,
        kernel_size: int = 3,
        window: int = 7,
        causal: bool = False,
        dropout: float = 0.1,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {kernel_size}")
        self.heads, self.window, self.causal = heads, window, causal
        # steps before and after that the convolution needs
        self.around = (kernel_size - 1, 0) if causal else (kernel_size // 2, kernel_size // 2)
        self.convolution = nn.Conv1d(width, width, kernel_size)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, ffn), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        # short patterns; padding must not reach the valid frames
        steps = F.pad(x.masked_fill(padding[..., None], 0).transpose(1, 2), self.around)
        x = self.norms[0](x + self.dropout(self.convolution(steps).relu().transpose(1, 2)))
        # the near past and future
        blocked = self._blocked(padding).repeat_interleave(self.heads, 0)
        seen, _ = self.attention(x, x, x, attn_mask=blocked, need_weights=False)
        x = self.norms[1](x + self.dropout(seen))
        return self.norms[2](x + self.dropout(self.feed_forward(x)))

    def _blocked(self, padding: Tensor) -> Tensor:
        """Mask of what may not be attended to, bool (N, L, L); every step sees itself, a padded one too."""
        at = torch.arange(padding.shape[1], device=padding.device)
        distance = at - at[:, None]
        far = (distance.abs() > self.window) | (later(len(at), at.device) if self.causal else False)
        return (far | padding[:, None]) & (distance != 0)


class TFDecoderLayer(nn.Module):
    """A causal TF block over the characters, then attention to the frames."""

    def __init__(self, width: int, *, heads: int, dropout: float, **options):
        super().__init__()
        self.block = TFBlock(width, heads=heads, dropout=dropout, causal=True, **options)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(
        self, texts: Tensor, encoded: Encoded, future: Tensor, *, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """texts (N·B, L, width) -> same, and the attention to frames (N·B, heads, L, T), or None.

        The block is causal by itself and has no use for `future`.
        """
        texts = self.block(texts, torch.zeros(texts.shape[:2], dtype=torch.bool, device=texts.device))
        seen, weights = attend(self.attention, texts, encoded, attention=attention)
        return self.norm(texts + self.dropout(seen)), weights


class TFSeq2Seq(Seq2Seq):
    """TF blocks over frames, causal TF blocks with attention to the frames over characters.

    Input, output and tokens as in `lip_transformer.TransformerSeq2Seq`; `beam_search` works with both. `kernel_size`
    and `window` are those of `TFBlock`. With `fusion` the input is maps (N, T, in_channels, h, w), which
    `SpatioTemporalFusion` turns into features.
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
        dropout: float = 0.1,
        kernel_size: int = 3,
        window: int = 7,
        fusion: bool = False,
    ):
        super().__init__()
        self.tokens = tokens
        options = {"heads": heads, "ffn": ffn, "dropout": dropout, "kernel_size": kernel_size, "window": window}
        self.project = projection(in_channels, width)
        self.encoder = nn.ModuleList(TFBlock(width, **options) for _ in range(layers))
        self.embedding = nn.Embedding(tokens + 1, width)
        self.decoder = nn.ModuleList(TFDecoderLayer(width, **options) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, tokens)
        initialise(self)
        self.fusion = SpatioTemporalFusion(in_channels) if fusion else None  # starts as the average

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """The encoder's output, once for all steps of the decoder."""
        padding = padded(lengths, features.shape[1]).to(features.device)
        if self.fusion is not None:
            features = self.fusion(features, lengths)
        frames = self.dropout(with_positions(self.project(features)))
        for block in self.encoder:
            frames = block(frames, padding)
        return Encoded(frames, padding)
