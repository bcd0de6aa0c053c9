"""Watch, Attend and Spell (Chung et al. 2017), as Sheng et al. 2021 compare with it (Tables VI and VII)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from reprolib.models.lip_transformer import padded
from reprolib.models.precision import in_float32

WINDOW = 5  # frames of a stack


class WASEncoder(nn.Module):
    """Crops float32 (N, T, h, w), lengths (N,) -> outputs (N, T, hidden) in the order of frames, and the last state.

    VGG-M over stacks of five frames, then LSTMs from the last frame to the first. The state is that of `ReversedLSTM`;
    the h of its last layer summarises the whole clip.
    """

    def __init__(self, *, width: int = 96, hidden: int = 256, layers: int = 3):
        super().__init__()
        self.watch = VGGMFrontEnd(width=width)
        self.lstm = ReversedLSTM(self.watch.out_channels, hidden, layers=layers)

    def forward(self, crops: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.lstm(self.watch(crops, lengths), lengths)


class VGGMFrontEnd(nn.Module):
    """Crops float32 (N, T, h, w), lengths (N,) -> features (N, T, out_channels): VGG-M over stacks of five frames.

    Each stack is centred on its frame; beyond the clip's ends its first or last valid frame is repeated. `width` is the
    number of channels of the first layer; the output has 512/96 times as many.
    """

    def __init__(self, *, width: int = 96):
        super().__init__()
        self.out_channels = round(width * 512 / 96)
        self.convolutions = vgg_m(WINDOW, width=width)
        # fc6 reads a map of 4 × 4 whatever the size of the crops
        self.pool = nn.AdaptiveMaxPool2d(4)
        self.fc6 = nn.Sequential(nn.Linear(16 * self.out_channels, self.out_channels), nn.ReLU())

    def forward(self, crops: Tensor, lengths: Tensor) -> Tensor:
        stacks = stacked(crops, lengths)  # (N, T, 5, h, w)
        maps = self.pool(self.convolutions(stacks.flatten(0, 1)))
        return self.fc6(maps.flatten(1)).unflatten(0, stacks.shape[:2])


def stacked(crops: Tensor, lengths: Tensor) -> Tensor:
    """Each frame of (N, T, h, w) with two before and two after it, (N, T, 5, h, w); ends of a clip are repeated."""
    offsets = torch.arange(WINDOW, device=crops.device) - WINDOW // 2
    frames = torch.arange(crops.shape[1], device=crops.device)[:, None] + offsets  # (T, 5)
    last = lengths[:, None, None].to(crops.device) - 1
    frames = torch.minimum(frames.clamp(min=0), last)  # (N, T, 5)
    return crops[torch.arange(len(crops), device=crops.device)[:, None, None], frames]


def vgg_m(in_channels: int, *, width: int = 96) -> nn.Sequential:
    """The five convolutions of VGG-M, 3×3 with BatchNorm: (N, in_channels, h, w) -> (N, 512/96 · width, h/16, w/16)."""
    second, rest = round(width * 256 / 96), round(width * 512 / 96)
    return nn.Sequential(
        *_convolution(in_channels, width, stride=1), nn.MaxPool2d(3, 2, 1),
        *_convolution(width, second, stride=2), nn.MaxPool2d(3, 2, 1),
        *_convolution(second, rest, stride=1), *_convolution(rest, rest, stride=1), *_convolution(rest, rest, stride=1),
        nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip


def _convolution(in_channels: int, out_channels: int, *, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU()


class ReversedLSTM(nn.Module):
    """LSTMs from the last valid frame to the first.

    features (N, T, in_channels), lengths (N,) -> outputs (N, T, hidden) in the order of frames, zero after a clip's
    end, and the state after the first frame: h and c, (layers, N, hidden) each.
    """

    def __init__(self, in_channels: int, hidden: int, *, layers: int = 3):
        super().__init__()
        self.lstm = nn.LSTM(in_channels, hidden, layers, batch_first=True)

    @in_float32
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        frames = features.shape[1]
        packed = nn.utils.rnn.pack_padded_sequence(
            _reversed(features, lengths), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        outputs, state = self.lstm(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=frames)
        return _reversed(outputs, lengths), state


def _reversed(x: Tensor, lengths: Tensor) -> Tensor:
    """x (N, T, C) with the valid frames in the opposite order and the padding where it was."""
    at = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    back = lengths.to(x.device)[:, None] - 1 - at
    return x.gather(1, torch.where(back >= 0, back, at)[..., None].expand_as(x))


class Watched(NamedTuple):
    """Clips as the spelling LSTM sees them: memory (N, T, hidden), padding bool (N, T), and its initial h and c."""

    memory: Tensor
    padding: Tensor
    state: tuple[Tensor, Tensor]


class WASDecoder(nn.Module):
    """The network after the front end: a time-reversed LSTM over frames and a spelling LSTM with additive attention.

    features float32 (N, T, in_channels), lengths (N,), previous (N, L) -> logits (N, L, tokens), as in
    `lip_transformer.TransformerSeq2Seq`, so that `beam_search` works with both. In training, each character after SOS
    is replaced with probability `sampling` by the one that the network has just found most probable. A linear layer
    maps the encoder's last state to the spelling LSTM's initial state, because their widths differ.
    """

    def __init__(
        self,
        in_channels: int,
        tokens: int,
        *,
        hidden: int = 256,
        width: int = 512,
        layers: int = 3,
        dropout: float = 0.1,  # Sheng et al. 2021, Sec. IV-B
        sampling: float = 0.25,
    ):
        super().__init__()
        self.tokens, self.sampling = tokens, sampling
        self.encoder = ReversedLSTM(in_channels, hidden, layers=layers)
        self.start = nn.Linear(2 * hidden, 2 * width)
        self.embedding = nn.Embedding(tokens + 1, width)
        self.spell = nn.LSTM(width + hidden, width, layers, batch_first=True)
        self.query, self.key = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.classifier = nn.Sequential(
            nn.Linear(width + hidden, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, tokens)
        )

    def forward(self, features: Tensor, lengths: Tensor, previous: Tensor) -> Tensor:
        return self.decode(previous, self.encode(features, lengths))

    def encode(self, features: Tensor, lengths: Tensor) -> Watched:
        """The encoder's outputs and the spelling LSTM's first state, once for all steps of the decoder."""
        memory, state = self.encoder(features, lengths)
        hidden, cell = self.start(torch.cat(state, dim=-1)).tanh().chunk(2, dim=-1)  # (layers, N, width) each
        padding = padded(lengths, features.shape[1]).to(features.device)
        return Watched(memory, padding, (hidden.contiguous(), cell.contiguous()))

    def decode(self, previous: Tensor, encoded: Watched) -> Tensor:
        """Logits (N·B, L, tokens) for `previous` (N·B, L): B texts for every encoded clip, side by side."""
        return self._decode(previous, encoded)[0]

    def cross_attention(self, previous: Tensor, encoded: Watched) -> Tensor:
        """Attention of each character to the frames: (1, N·B, 1, L, T), one layer with one head; rows sum to one."""
        return self._decode(previous, encoded)[1][None, :, None]

    def _decode(self, previous: Tensor, encoded: Watched) -> tuple[Tensor, Tensor]:
        texts_of_clip = len(previous) // len(encoded.memory)
        memory = encoded.memory.repeat_interleave(texts_of_clip, 0)
        padding = encoded.padding.repeat_interleave(texts_of_clip, 0)
        state = tuple(part.repeat_interleave(texts_of_clip, 1) for part in encoded.state)
        keys, context = self.key(memory), memory.new_zeros(len(memory), memory.shape[-1])
        logits, attention = [], []
        for step, token in enumerate(previous.unbind(1)):
            if self.training and step > 0:
                own = torch.rand(len(token), device=token.device) < self.sampling
                token = torch.where(own, logits[-1].argmax(-1), token)
            # the last character and what was attended to for it
            spelt, state = in_float32(self.spell)(torch.cat([self.embedding(token), context], dim=-1)[:, None], state)
            scores = self.score((self.query(spelt) + keys).tanh())[..., 0]  # (N·B, T)
            weights = scores.masked_fill(padding, -torch.inf).softmax(-1)
            context = (weights[..., None] * memory).sum(1)
            logits.append(self.classifier(torch.cat([spelt[:, 0], context], dim=-1)))
            attention.append(weights)
        return torch.stack(logits, dim=1), torch.stack(attention, dim=1)
