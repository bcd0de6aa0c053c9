"""The networks of sheng2021's rows, in the sizes of a profile."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reprolib.models.asst_gcn import ASSTGCN, PlainAttention
from reprolib.models.c3d_resnet18 import C3DResNet18, valid_frames
from reprolib.models.landmark_patches import LRLP25, LRLP38, MOUTH_AND_CHIN
from reprolib.models.lip_transformer import TransformerCTC, TransformerSeq2Seq
from reprolib.models.lip_words import (
    FlowTwoStream,
    MultipleTowers,
    ResNetBGRU,
    ResNetBLSTM,
    TwoStream,
    WASWords,
)
from reprolib.models.local_stream import LocalStream
from reprolib.models.ms_tcn import MSTCN
from reprolib.models.tf_blocks import TFSeq2Seq
from reprolib.models.was import WASDecoder
from reprolib.studies.sheng2021.data import PARTS

# What each network of the word task takes, in order.
WHOLE = ("crops", "lengths")
LANDMARKS = ("frames", "landmarks", "lengths")
INPUTS = {
    "global": WHOLE, "mt": WHOLE, "was": WHOLE, "blstm": WHOLE, "bgru": WHOLE, "local": LANDMARKS,
    "plain attention": LANDMARKS, "two": ("crops", *LANDMARKS), "flow": ("crops", "flow", "lengths"),
    "masked": ("crops", "masks", "lengths"),
}  # fmt: skip
OTHERS = {"was": WASWords, "blstm": ResNetBLSTM, "bgru": ResNetBGRU, "flow": FlowTwoStream}
POINTS = {"lower face": LRLP38, "nose and mouth": LRLP25, "mouth and chin": MOUTH_AND_CHIN}
# How the local stream starts. A speaking mouth moves its landmarks by some hundredths of the face's size, which the
# embedding of their names, of unit deviation, would drown for longer than our trainings last. Chosen on
# clips of other people than those of the records.
COORDINATE_GAIN, ENCODING_DEVIATION = 10.0, 0.1
SNAPSHOTS = 4  # epochs of which the semantic graphs are kept


class Reader(nn.Module):
    """A network of the word task that takes its tensors in the order of `names`: -> logits (N, classes).

    Where its local stream has semantic graphs, those of some epochs are kept beside the weights: `snapshots`
    (epochs, layers, Q, K, K), after the epochs that `snapshot_epochs` counts from 1.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)
        local = getattr(network, "local_stream", None)
        graphs = local is not None and isinstance(local.graph, ASSTGCN) and local.graph.layers[0].theta is not None
        if graphs and local.graph.layers[0].semantic_graph is not None:
            kept = local.semantic_graphs()[None].repeat(SNAPSHOTS, 1, 1, 1, 1)
            self.register_buffer("snapshots", kept)
            self.register_buffer("snapshot_epochs", torch.zeros(SNAPSHOTS, dtype=torch.long))

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.network(**dict(zip(self.names, tensors, strict=True)))

    def features(self, *tensors: Tensor) -> Tensor:
        """What a sentence's back end gets, (N, T, C)."""
        return self.network.features(**dict(zip(self.names, tensors, strict=True)))

    def maps(self, *tensors: Tensor) -> Tensor:
        """What the global stream averages over places, (N, T, C, h, w), for a back end that does not average."""
        seen = dict(zip(self.names, tensors, strict=True))
        return self.network.global_stream.maps(seen["crops"], seen["lengths"])

    @property
    def channels(self) -> int:
        """C of `features`."""
        return self.network.channels

    def without_head(self) -> Reader:
        """The same front end, without the layers that only words need."""
        network = self.network
        for owner, name in ((network, "head"), (network, "classifier"), (getattr(network, "encoder", None), "lstm")):
            if hasattr(owner, name):
                setattr(owner, name, None)
        return self

    def keep_graphs(self, epoch: int, epochs: int) -> None:
        """Keep the semantic graphs if `epoch` (from 0) of `epochs` is one of those that are shown."""
        if not hasattr(self, "snapshots"):
            return
        shown = torch.linspace(1, epochs, SNAPSHOTS).round().long().tolist()
        for place, chosen in enumerate(shown):
            if chosen == epoch + 1:
                self.snapshots[place] = self.network.local_stream.semantic_graphs()
                self.snapshot_epochs[place] = chosen


class SentenceReader(nn.Module):
    """A front end of the word task and a back end of the sentence task: -> logits of characters.

    The back end gets features of mean 0 and deviation 1 on the training clips, channel by channel, once `measure` has
    seen them; one that is `blind` gets zeros, and knows a clip by its length alone. In training the front end stays in
    evaluation mode: its normalisation keeps the statistics that it has.
    """

    def __init__(self, front: Reader, back: nn.Module, *, blind: bool = False) -> None:
        super().__init__()
        self.blind = blind
        self.front, self.back = front.without_head(), back
        self.reads_maps = getattr(back, "fusion", None) is not None
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("deviation", torch.ones(1))

    def forward(self, *tensors: Tensor) -> Tensor:
        """The front end's tensors, lengths last, then what else the back end takes."""
        count = len(self.front.names)
        seen, further = tensors[:count], tensors[count:]
        return self.back(self.features(*seen), seen[-1], *further)

    def features(self, *tensors: Tensor) -> Tensor:
        """What the back end reads, (N, T, C) or maps (N, T, C, h, w), from the front end's tensors."""
        return self.scaled((self.front.maps if self.reads_maps else self.front.features)(*tensors))

    def scaled(self, features: Tensor) -> Tensor:
        """Features or maps less the mean, over the deviation; zeros for the blind."""
        if self.blind:
            return torch.zeros_like(features)
        shape = (-1, *(1 for _ in features.shape[3:]))
        return (features - self.mean.view(shape)) / self.deviation.view(shape)

    def measure(self, features: Tensor, lengths: Tensor) -> None:
        """Set mean and deviation of the channels to those of `features` (or maps) in the clips' valid frames."""
        valid = features[valid_frames(lengths, features.shape[1])].movedim(1, -1).flatten(0, -2)  # (frames, C)
        self.mean, self.deviation = valid.mean(0), valid.std(0).clamp(min=1e-5)

    def train(self, mode: bool = True) -> SentenceReader:
        super().train(mode)
        self.front.eval()
        return self


def build_reader(p: Mapping, classes: int) -> Reader:
    """The network of a row of the word task with random weights."""
    name, width = p["network"], p["width"]
    if name == "mt":
        network = MultipleTowers(classes, frames=p["frames"], width=width)
    elif name == "masked":
        whole = C3DResNet18(width=width, in_channels=1 + PARTS)
        network = TwoStream(whole, None, MSTCN(whole.channels, classes, channels=p["tcn"]))
    elif name in OTHERS:
        network = OTHERS[name](classes, width=width)
    else:
        whole = C3DResNet18(width=width) if name in ("global", "two") else None
        local = _local_stream(p) if "landmarks" in INPUTS[name] else None
        channels = sum(stream.channels for stream in (whole, local) if stream is not None)
        network = TwoStream(whole, local, MSTCN(channels, classes, channels=p["tcn"]))
    return Reader(network, INPUTS[name])


@torch.no_grad()
def _local_stream(p: Mapping) -> LocalStream:
    parts = {
        "points": POINTS[p["points"]], "patch": p["patch"], "channels": p["channels"], "motion": p["motion"],
        "coordinates": p["coordinates"], "semantic_encoding": p["encoding"],
    }  # fmt: skip
    if p["network"] == "plain attention":
        plain = PlainAttention(p["channels"], layers=p["layers"], heads=p["subgraphs"], ffn=p["ffn"])
        stream = LocalStream(**parts, graph=plain)
    else:
        stream = LocalStream(
            **parts, layers=p["layers"], subgraphs=p["subgraphs"], semantic=p["semantic"], attention=p["attention"],
            combine=p["combine"], embedding=p["embedding"], ffn=p["ffn"],
        )  # fmt: skip
    if stream.coordinates is not None:
        stream.coordinates.convolution.weight *= COORDINATE_GAIN
    if stream.encoding is not None:
        stream.encoding *= ENCODING_DEVIATION
    return stream


def build_back_end(p: Mapping, channels: int, outputs: int) -> nn.Module:
    """The back end of a row of the sentence task with random weights, for features of so many channels."""
    if p["network"] == "was":
        return WASDecoder(channels, outputs, hidden=p["model_width"] // 2, width=p["model_width"])
    sizes = {"width": p["model_width"], "heads": p["heads"], "ffn": p["sentence_ffn"]}
    if p["network"] == "ctc":
        return TransformerCTC(channels, outputs, layers=2 * p["blocks"], **sizes)
    if p["network"] == "tf":
        return TFSeq2Seq(channels, outputs, layers=p["blocks"], fusion=True, **sizes)
    return TransformerSeq2Seq(channels, outputs, layers=p["blocks"], **sizes)


@torch.no_grad()
def operations(model: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Multiply-accumulate operations of one forward pass in evaluation mode: products of matrices and convolutions."""
    # fused recurrent layers, of cuDNN too, fused attention and the encoder's fast path would hide their products
    model, inputs = copy.deepcopy(model).cpu(), [tensor.cpu() for tensor in inputs]
    quiet, unfused = warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with quiet, unfused, FlopCounterMode(display=False) as counter:
            model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2
