"""Word-level lip reading: the two-stream network of Sheng et al. 2021 and the other methods of their Table VI."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.models.c3d_resnet18 import C3DResNet18, he_initialise, without_padding
from reprolib.models.local_stream import LocalStream
from reprolib.models.ms_tcn import mean_of_frames
from reprolib.models.precision import in_float32
from reprolib.models.was import ReversedLSTM, WASEncoder


class TwoStream(nn.Module):
    """Global and local features side by side, read by `head`; a stream that is None is left out.

    crops float32 (N, T, h, w), frames (N, T, H, W), landmarks (N, T, 68, 2) in pixels of the frames, lengths int64 (N,)
    or None for clips without padding -> logits (N, classes). The inputs of an absent stream may be omitted. `masks` (N,
    C, T, h, w) are further channels of the crops, for a global stream with 1 + C input channels. `head` takes features
    (N, T, channels) and lengths. ValueError without any stream. Source: Sheng et al. 2021, Fig. 1.
    """

    def __init__(self, global_stream: C3DResNet18 | None, local_stream: LocalStream | None, head: nn.Module):
        super().__init__()
        if global_stream is None and local_stream is None:
            raise ValueError("a network needs a global or a local stream, found neither")
        self.global_stream, self.local_stream, self.head = global_stream, local_stream, head

    @property
    def channels(self) -> int:
        """Channels of `features`."""
        return sum(stream.channels for stream in (self.global_stream, self.local_stream) if stream is not None)

    def features(
        self,
        crops: Tensor | None = None,
        frames: Tensor | None = None,
        landmarks: Tensor | None = None,
        lengths: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Input of the back end: (N, T, channels), global channels first."""
        streams = []
        if self.global_stream is not None:
            seen = crops if masks is None else torch.cat([crops[:, None], masks], dim=1)
            streams.append(self.global_stream(seen, lengths))
        if self.local_stream is not None:
            streams.append(self.local_stream(frames, landmarks, lengths))
        return torch.cat(streams, dim=-1)

    def forward(
        self,
        crops: Tensor | None = None,
        frames: Tensor | None = None,
        landmarks: Tensor | None = None,
        lengths: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        return self.head(self.features(crops, frames, landmarks, lengths, masks), lengths)


class MultipleTowers(nn.Module):
    """MT: one convolution shared by all frames, whose maps are stacked as channels and read by VGG-M.

    crops float32 (N, frames, h, w), lengths int64 (N,) or None -> logits (N, classes). `width` scales all channels (64
    is the paper's). The number of frames is fixed: ValueError for another.
    Source: Chung and Zisserman 2016, MT with 25 frames; BatchNorm replaces their local normalisation.
    """

    def __init__(self, classes: int, *, frames: int = 25, width: int = 64):
        super().__init__()
        tower, channels = 3 * width // 4, 3 * width // 2
        self.frames = frames
        self.tower = _convolution(1, tower, 3, pool=True)  # 48 channels
        self.reduce = nn.Sequential(nn.Conv2d(frames * tower, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.rest = _vgg_m(channels, width)
        self.full = nn.Sequential(
            nn.Flatten(), nn.Linear(9 * 8 * width, 64 * width), nn.ReLU(), nn.Dropout(), nn.Linear(64 * width, classes)
        )
        he_initialise(self)

    def forward(self, crops: Tensor, lengths: Tensor | None = None) -> Tensor:
        if crops.shape[1] != self.frames:
            raise ValueError(f"MT reads clips of {self.frames} frames, found {crops.shape[1]}")
        crops = without_padding(crops, lengths)
        # (N, T, h, w) -> (N·T, 48, h', w') -> (N, T·48, h', w')
        towers = self.tower(crops.flatten(0, 1)[:, None]).unflatten(0, crops.shape[:2]).flatten(1, 2)
        return self.full(self.rest(self.reduce(towers)))


class WASWords(nn.Module):
    """WAS for words: its encoder, and a classifier of the LSTM's final state; the LSTM ends at the first frame.

    crops float32 (N, T, h, w), lengths int64 (N,) or None -> logits (N, classes). `width` scales all channels (64 is
    the paper's). Source: Chung et al. 2017, the "watch" part; the classifier in place of the spelling decoder is ours.
    """

    def __init__(self, classes: int, *, width: int = 64):
        super().__init__()
        self.encoder = WASEncoder(width=3 * width // 2, hidden=4 * width)
        self.classifier = nn.Linear(4 * width, classes)
        self.channels = self.encoder.watch.out_channels  # of `features`

    def features(self, crops: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Input of the encoder's LSTMs and of the spelling decoder of sentences: (N, T, channels)."""
        return self.encoder.watch(crops, _all_frames(crops) if lengths is None else lengths)

    def forward(self, crops: Tensor, lengths: Tensor | None = None) -> Tensor:
        _, (state, _) = self.encoder(crops, _all_frames(crops) if lengths is None else lengths)
        return self.classifier(state[-1])


class BLSTMBackEnd(nn.Module):
    """Two LSTM stacks in opposite directions, concatenated at the top, with scores for each frame.

    features float32 (N, T, in_channels), lengths int64 (N,) or None -> scores (N, classes), the mean over frames of the
    log softmax. The negative score of the right word is therefore the mean loss of the frames.
    Source: Stafylakis and Tzimiropoulos 2017.
    """

    def __init__(self, in_channels: int, classes: int, *, hidden: int = 256):
        super().__init__()
        self.project = nn.Linear(in_channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.forwards = nn.LSTM(hidden, hidden, num_layers=2, batch_first=True)
        self.backwards = ReversedLSTM(hidden, hidden, layers=2)
        self.classifier = nn.Linear(2 * hidden, classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        lengths = _all_frames(features) if lengths is None else lengths
        features = self.norm(self.project(features).transpose(1, 2)).transpose(1, 2)
        ahead, _ = in_float32(self.forwards)(features)
        both = torch.cat([ahead, self.backwards(features, lengths)[0]], dim=-1)
        return mean_of_frames(self.classifier(both).log_softmax(-1), lengths)


class BGRUBackEnd(nn.Module):
    """BatchNorm, three bidirectional GRU layers, mean of the frames' logits.

    features float32 (N, T, in_channels), lengths int64 (N,) or None -> logits (N, classes).
    Source: the public recipe of ResNet-18 with BiGRU for LRW.
    """

    def __init__(self, in_channels: int, classes: int, *, hidden: int = 1024):
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels)
        self.gru = nn.GRU(in_channels, hidden, num_layers=3, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * hidden, classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        features = self.norm(features.transpose(1, 2)).transpose(1, 2)
        return mean_of_frames(self.classifier(recurrent(self.gru, features, lengths)), lengths)


class MeanBackEnd(nn.Module):
    """No back end: the mean over valid frames and a linear layer.

    features float32 (N, T, in_channels), lengths int64 (N,) or None -> logits (N, classes).
    """

    def __init__(self, in_channels: int, classes: int):
        super().__init__()
        self.classifier = nn.Linear(in_channels, classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.classifier(mean_of_frames(features, lengths))


class FlowTwoStream(nn.Module):
    """Two inflated Inception networks, on grey crops and on their optical flow, and two bidirectional LSTM layers.

    crops float32 (N, T, h, w), flow (N, 2, T, h, w), lengths int64 (N,) or None -> logits (N, classes), the mean over
    frames. `width` scales all channels (64 is the published size, 1024 features from each stream).
    Source: Weng and Kitani 2019, with all temporal strides 1 so that each frame keeps its features.
    """

    def __init__(self, classes: int, *, width: int = 64):
        super().__init__()
        self.grey, self.flow = InflatedInception(1, width=width), InflatedInception(2, width=width)
        channels = self.grey.channels + self.flow.channels
        self.lstm = nn.LSTM(channels, 4 * width, num_layers=2, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(8 * width, classes)

    def forward(self, crops: Tensor, flow: Tensor, lengths: Tensor | None = None) -> Tensor:
        features = torch.cat([self.grey(crops[:, None], lengths), self.flow(flow, lengths)], dim=-1)
        return mean_of_frames(self.classifier(recurrent(self.lstm, features, lengths)), lengths)


class InflatedInception(nn.Module):
    """I3D at temporal stride 1: Inception-v1 with 3-D kernels, spatial average per frame.

    Input float32 (N, in_channels, T, h, w), lengths int64 (N,) or None; output (N, T, 16·width).
    Source: Carreira and Zisserman 2017, Fig. 3.
    """

    # channels of the four branches in 64ths of the width: 1×1; 1×1 and 3×3×3; 1×1 and 3×3×3; pool and 1×1
    MODULES = (
        ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        (
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ),
        ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    )

    def __init__(self, in_channels: int, *, width: int = 64):
        super().__init__()
        first, second = width, 3 * width
        layers: list[nn.Module] = [
            Convolution3d(in_channels, first, (5, 7, 7), stride=2), _SpatialPool(),
            Convolution3d(first, first, (1, 1, 1)), Convolution3d(first, second, (3, 3, 3)), _SpatialPool(),
        ]  # fmt: skip
        channels = second
        for group, modules in enumerate(self.MODULES):
            if group:
                layers.append(_SpatialPool())
            for sizes in modules:
                scaled = [max(1, size * width // 64) for size in sizes]
                layers.append(Inception3d(channels, scaled))
                channels = scaled[0] + scaled[2] + scaled[4] + scaled[5]
        self.layers = nn.ModuleList(layers)
        self.channels = channels
        he_initialise(self)

    def forward(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            clips = layer(clips, lengths)
        return clips.mean((-2, -1)).transpose(1, 2)


class Inception3d(nn.Module):
    """The four branches of Inception-v1 side by side, on clips (N, C, T, h, w)."""

    def __init__(self, inputs: int, sizes: list[int]):
        super().__init__()
        one, before_a, a, before_b, b, pooled = sizes
        self.one = Convolution3d(inputs, one, (1, 1, 1))
        self.before_a, self.a = Convolution3d(inputs, before_a, (1, 1, 1)), Convolution3d(before_a, a, (3, 3, 3))
        self.before_b, self.b = Convolution3d(inputs, before_b, (1, 1, 1)), Convolution3d(before_b, b, (3, 3, 3))
        self.pool = nn.MaxPool3d(3, stride=1, padding=1)
        self.pooled = Convolution3d(inputs, pooled, (1, 1, 1))

    def forward(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        branches = (
            self.one(clips),
            self.a(self.before_a(clips), lengths),
            self.b(self.before_b(clips), lengths),
            # zeroed padding changes no maximum: all values are at least 0
            self.pooled(self.pool(without_padding(clips, lengths, dim=2))),
        )
        return torch.cat(branches, dim=1)


class Convolution3d(nn.Module):
    """3-D convolution without bias, BatchNorm and ReLU, which does not see padding; `stride` is the spatial one."""

    def __init__(self, inputs: int, channels: int, kernel: tuple[int, int, int], *, stride: int = 1):
        super().__init__()
        padding = tuple(side // 2 for side in kernel)
        self.convolution = nn.Conv3d(inputs, channels, kernel, stride=(1, stride, stride), padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.convolution.kernel_size[0] > 1:
            clips = without_padding(clips, lengths, dim=2)
        return self.norm(self.convolution(clips)).relu()


class _SpatialPool(nn.Module):
    """3×3 max-pool of stride 2 in each frame."""

    def forward(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        return F.max_pool3d(clips, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def _convolution(inputs: int, channels: int, kernel: int, *, stride: int = 1, pool: bool = False) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, stride=2, padding=1)] if pool else []))


def _vgg_m(inputs: int, width: int) -> nn.Sequential:
    """VGG-M from its second convolution to its last pool, which gives 3×3 pixels for images of any size."""
    return nn.Sequential(
        _convolution(inputs, 4 * width, 5, stride=2, pool=True),
        _convolution(4 * width, 8 * width, 3),
        _convolution(8 * width, 8 * width, 3),
        _convolution(8 * width, 8 * width, 3),
        nn.AdaptiveMaxPool2d(3),
    )


@in_float32
def recurrent(network: nn.LSTM | nn.GRU, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Outputs (N, T, 2·hidden) of a bidirectional network (batch first) on the valid frames; zeros in the padding."""
    if lengths is None:
        return network(features)[0]
    packed = nn.utils.rnn.pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(network(packed)[0], batch_first=True, total_length=features.shape[1])
    return outputs


def _all_frames(x: Tensor) -> Tensor:
    return torch.full((len(x),), x.shape[1], device=x.device)
