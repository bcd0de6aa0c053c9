"""Convolutional LSTM, and the FCN of Wang et al. 2018 whose classifier is one (Sec. 2.4 and 3.1, Fig. 1)."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from reprolib.models.fcn_resnet50 import STRIDE, FCNResNet50, upsample_tf1
from reprolib.models.precision import in_float32


class ConvLSTM(nn.Module):
    """LSTM whose products with the input and with the hidden state are convolutions, as Keras's ConvLSTM2D.

    Input float32 (N, T, in_channels, H, W); output (N, T, out_channels, H, W), the hidden state after every step.
    Each clip starts from a zero state. With 1×1 kernels every position runs an LSTM of its own.

    `peepholes` adds the terms W ∘ C of Eq. 1, one weight for each channel and gate, which start at zero; Keras's layer
    has none. `output` "linear" leaves out the last tanh, so that the scores have no bound. `input_scale` multiplies the
    input: below 1 the gates start further from where the hard sigmoid is flat. Without `memory` every frame starts from
    a zero state, as if it were a clip. The gates are Keras's hard sigmoid, also with peepholes. ValueError for an even
    kernel or another output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        peepholes: bool = False,
        output: Literal["tanh", "linear"] = "tanh",
        input_scale: float = 1.0,
        memory: bool = True,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {kernel_size}")
        if output not in ("tanh", "linear"):
            raise ValueError(f"output must be 'tanh' or 'linear', found {output!r}")
        self.out_channels, self.input_scale, self.memory = out_channels, input_scale, memory
        # four maps each: input gate i, forget gate f, candidate c, output gate o
        same = {"kernel_size": kernel_size, "padding": kernel_size // 2}
        self.input = nn.Conv2d(in_channels, 4 * out_channels, **same)
        self.recurrent = nn.Conv2d(out_channels, 4 * out_channels, bias=False, **same)
        self.peepholes = nn.Parameter(torch.zeros(3, out_channels, 1, 1)) if peepholes else None
        self.activation = torch.tanh if output == "tanh" else nn.Identity()
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.zeros_(self.input.bias)
        with torch.no_grad():
            self.input.bias[out_channels : 2 * out_channels] = 1  # forget nothing at first

    @in_float32
    def forward(self, clips: Tensor) -> Tensor:
        if not self.memory and clips.shape[1] > 1:
            return self(clips.flatten(0, 1)[:, None])[:, 0].unflatten(0, clips.shape[:2])
        batch, _, _, height, width = clips.shape
        # (N, T, 4·out_channels, H, W)
        inputs = self.input(self.input_scale * clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        hidden = cell = inputs.new_zeros(batch, self.out_channels, height, width)
        to_i, to_f, to_o = (0, 0, 0) if self.peepholes is None else self.peepholes
        steps = []
        for step in inputs.unbind(1):
            i, f, c, o = (step + self.recurrent(hidden)).chunk(4, dim=1)
            i, f = hard_sigmoid(i + to_i * cell), hard_sigmoid(f + to_f * cell)
            cell = f * cell + i * c.tanh()
            hidden = hard_sigmoid(o + to_o * cell) * self.activation(cell)
            steps.append(hidden)
        return torch.stack(steps, dim=1)


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(0.2x + 0.5, 0, 1), Keras's (torch's has slope 1/6).

    >>> hard_sigmoid(torch.tensor([-9.0, 0.0, 1.0, 9.0]))
    tensor([0.0000, 0.5000, 0.7000, 1.0000])
    """
    return (0.2 * x + 0.5).clamp(0, 1)


class FrameClassifier(nn.Conv2d):
    """A new 1×1 convolution on every frame, the FCN's own classifier in the ConvLSTM's place: a control.

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
    `ConvLSTM`. The kept weights are named "network.…", the new ones "conv_lstm.…". Source: Wang et al. 2018, Fig. 1.
    """

    def __init__(self, network: FCNResNet50, **options):
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.classifier = nn.Identity()
        classifier = network.classifier
        self.conv_lstm = ConvLSTM(classifier.in_channels, classifier.out_channels, **options).to(classifier.weight)

    def forward(self, clips: Tensor) -> Tensor:
        # (N, T, 3, H, W) -> (N, T, 32·width, H/16, W/16)
        features = self.network.features(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return self.from_features(features)

    def from_features(self, features: Tensor) -> Tensor:
        """Scores (N, T, classes, 16h, 16w) from the FCN's features (N, T, C, h, w) of the clips' frames."""
        scores = self.conv_lstm(features)
        return upsample_tf1(scores.flatten(0, 1), STRIDE).unflatten(0, scores.shape[:2])
