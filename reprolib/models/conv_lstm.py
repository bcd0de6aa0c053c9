"""Convolutional LSTM, and the FCN of Wang et al. 2018 whose classifier is one (Sec. 2.4 and 3.1, Fig. 1)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from reprolib.models.dilated_fcn import DilatedFCN
from reprolib.models.fcn_resnet50 import STRIDE, FCNResNet50, upsample_tf1
from reprolib.models.precision import in_float32

CORNER = 2.5  # where the hard sigmoid reaches 0 and 1


class ConvLSTM(nn.Module):
    """LSTM whose products with the input and with the hidden state are convolutions, as Keras's ConvLSTM2D.

    Input float32 (N, T, in_channels, H, W); output (N, T, out_channels, H, W), the hidden state after every step. Each
    clip starts from a zero state. With 1×1 kernels every position runs an LSTM of its own.

    `peepholes` adds the terms W ∘ C of Eq. 1, one weight for each channel and gate, which start at zero; Keras's layer
    has none. `activation` is that of the candidate and of the output, as in Keras; "linear" leaves the scores
    unbounded, "tanh" keeps them within ±`bound` (bound · tanh(x / bound); Keras's is 1). `input_scale` multiplies the
    input: below 1 the gates start further from where the hard sigmoid is flat. Without `memory` every frame starts from
    a zero state, as if it were a clip of its own. The gates are Keras's hard sigmoid, also with peepholes. ValueError
    for an even kernel or another activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        peepholes: bool = False,
        activation: Literal["tanh", "linear"] = "tanh",
        bound: float = 1.0,
        input_scale: float = 1.0,
        memory: bool = True,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {kernel_size}")
        if activation not in ("tanh", "linear"):
            raise ValueError(f"activation must be 'tanh' or 'linear', found {activation!r}")
        self.out_channels, self.input_scale, self.memory = out_channels, input_scale, memory
        self.bound = bound if activation == "tanh" else None
        # four maps each: input gate i, forget gate f, candidate c, output gate o
        same = {"kernel_size": kernel_size, "padding": kernel_size // 2}
        self.input = nn.Conv2d(in_channels, 4 * out_channels, **same)
        self.recurrent = nn.Conv2d(out_channels, 4 * out_channels, bias=False, **same)
        self.peepholes = nn.Parameter(torch.zeros(3, out_channels, 1, 1)) if peepholes else None
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.zeros_(self.input.bias)
        with torch.no_grad():
            self.input.bias[out_channels : 2 * out_channels] = 1  # forget nothing at first

    @in_float32
    def forward(self, clips: Tensor) -> Tensor:
        if not self.memory and clips.shape[1] > 1:
            return self(clips.flatten(0, 1)[:, None])[:, 0].unflatten(0, clips.shape[:2])
        return torch.stack([hidden for *_, hidden in self.steps(clips)], dim=1)

    def steps(self, clips: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Step by step: i, f and o before the hard sigmoid, c before its activation, and the hidden state.

        Each (N, out_channels, H, W).
        """
        batch, _, _, height, width = clips.shape
        # (N, T, 4·out_channels, H, W)
        inputs = self.input(self.input_scale * clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        hidden = cell = inputs.new_zeros(batch, self.out_channels, height, width)
        to_i, to_f, to_o = (0, 0, 0) if self.peepholes is None else self.peepholes
        for step in inputs.unbind(1):
            i, f, c, o = (step + self.recurrent(hidden)).chunk(4, dim=1)
            i, f = i + to_i * cell, f + to_f * cell
            cell = hard_sigmoid(f) * cell + hard_sigmoid(i) * self._activation(c)
            o = o + to_o * cell
            hidden = hard_sigmoid(o) * self._activation(cell)
            yield i, f, o, c, hidden

    def _activation(self, x: Tensor) -> Tensor:
        return x if self.bound is None else self.bound * torch.tanh(x / self.bound)


def start_at_classifier(layer: ConvLSTM, classifier: nn.Conv2d) -> None:
    """Initialise a layer, in place, so that it scores every frame as a trained 1×1 `classifier` does.

    The candidate is the classifier; input and output gates are open and the forget gate is shut, each just
    inside a corner of the hard sigmoid, where it still has a gradient; nothing is recurrent. With the activation
    "linear" the scores equal the classifier's to five digits; with "tanh" each is bounded and their order is the same.
    """
    n, inside = layer.out_channels, CORNER - 1e-6
    with torch.no_grad():
        layer.input.weight.zero_()
        layer.recurrent.weight.zero_()
        layer.input.bias.copy_(torch.tensor([inside, -inside, 0.0, inside]).repeat_interleave(n))
        layer.input.weight[2 * n : 3 * n] = classifier.weight / layer.input_scale
        layer.input.bias[2 * n : 3 * n] = classifier.bias


@torch.no_grad()
def saturation(layer: ConvLSTM, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Per class, the share of gates and of candidates without a gradient: two float (out_channels,) in [0, 1].

    A gate has none beyond the corners of the hard sigmoid; a candidate counts where its tanh has a slope below 0.05.
    clips: as for the layer.
    """
    gates, candidates = [], []
    for i, f, o, c, _ in layer.steps(clips):
        flat = torch.stack([gate.abs() > CORNER for gate in (i, f, o)])  # (3, N, out_channels, H, W)
        gates.append(flat.float().mean((0, 1, 3, 4)))
        slope = torch.ones_like(c) if layer.bound is None else 1 - torch.tanh(c / layer.bound) ** 2
        candidates.append((slope < 0.05).float().mean((0, 2, 3)))
    return torch.stack(gates).mean(0), torch.stack(candidates).mean(0)


def hard_sigmoid(x: Tensor) -> Tensor:
    """Keras's hard sigmoid, clip(0.2x + 0.5, 0, 1); torch's has slope 1/6.

    >>> hard_sigmoid(torch.tensor([-9.0, 0.0, 1.0, 9.0]))
    tensor([0.0000, 0.5000, 0.7000, 1.0000])
    """
    return ((x + CORNER) / (2 * CORNER)).clamp(0, 1)  # exact at the corners


class FrameClassifier(nn.Conv2d):
    """A new 1×1 convolution on every frame, like the FCN's classifier: a control that replaces the ConvLSTM.

    Input float32 (N, T, in_channels, H, W); output (N, T, out_channels, H, W).

    >>> FrameClassifier(32, 6)(torch.zeros(2, 5, 32, 7, 7)).shape  # two clips of five frames
    torch.Size([2, 5, 6, 7, 7])
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, clips: Tensor) -> Tensor:
        return super().forward(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


class ConvLSTMFCN(nn.Module):
    """A trained FCN whose classifier becomes a ConvLSTM; all other weights are kept, in a copy.

    Input float32 clips (N, T, 3, H, W) as for the FCN; output scores (N, T, classes, H, W). The options are those of
    `ConvLSTM`. The kept weights are named "network.…", the new ones "conv_lstm.…". BatchNorm keeps the FCN's
    statistics, because a batch of clips shows few people. Source: Wang et al. 2018, Fig. 1.
    """

    def __init__(self, network: FCNResNet50 | DilatedFCN, **options):
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.classifier = nn.Identity()
        classifier = network.classifier
        self.conv_lstm = ConvLSTM(classifier.in_channels, classifier.out_channels, **options).to(classifier.weight)

    def train(self, mode: bool = True) -> ConvLSTMFCN:
        """As `nn.Module.train`, but BatchNorm stays in evaluation mode."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        # (N, T, 3, H, W) -> (N, T, 32·width, H/16, W/16)
        features = self.network.features(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return self.from_features(features)

    def from_features(self, features: Tensor) -> Tensor:
        """Scores (N, T, classes, 16h, 16w) from the FCN's features (N, T, C, h, w) of the clips' frames."""
        scores = self.conv_lstm(features)
        return upsample_tf1(scores.flatten(0, 1), STRIDE).unflatten(0, scores.shape[:2])
