"""The networks of sheng2021's rows, in the sizes of a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from reprolib.models.asst_gcn import ASSTGCN, PlainAttention
from reprolib.models.c3d_resnet18 import C3DResNet18, valid_frames
from reprolib.models.landmark_patches import LRLP25, LRLP38
from reprolib.models.lip_transformer import TransformerCTC, TransformerSeq2Seq
from reprolib.models.lip_words import (
    BGRUBackEnd,
    BLSTMBackEnd,
    FlowTwoStream,
    MeanBackEnd,
    MultipleTowers,
    TwoStream,
    WASWords,
)
from reprolib.models.local_stream import LocalStream
from reprolib.models.ms_tcn import MSTCN
from reprolib.models.tf_blocks import TFSeq2Seq
from reprolib.models.was import WASDecoder
from reprolib.studies.sheng2021.config import Config
from reprolib.studies.sheng2021.work import MASK_CHANNELS, SPELT, classes_of, italian_frames, italian_size

POINTS = {"lower face": LRLP38, "nose and mouth": LRLP25}
# The landmarks' vectors start small: a speaking mouth moves its landmarks by some hundredths of the face's size, which
# vectors of unit deviation would drown.
ENCODING_DEVIATION = 0.1
SNAPSHOTS = (1, 2, 4, 8)  # epochs after which the semantic graphs are kept (Figure 7)


class Reader(nn.Module):
    """A network that takes its tensors in the order of `names` and returns logits.

    If its local stream has semantic graphs, those of some epochs are kept beside the weights: `snapshots` (epochs,
    layers, Q, K, K). `snapshot_epochs` (epochs,) counts these epochs from 1; it is 0 where an epoch was not reached.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)
        local = getattr(network, "local_stream", None)
        if local is not None and has_semantic_graphs(local.graph):
            self.register_buffer("snapshots", local.semantic_graphs()[None].repeat(len(SNAPSHOTS), 1, 1, 1, 1))
            self.register_buffer("snapshot_epochs", torch.zeros(len(SNAPSHOTS), dtype=torch.long))

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.network(**dict(zip(self.names, tensors, strict=True)))

    def features(self, *tensors: Tensor) -> Tensor:
        """Input of the back end, (N, T, C)."""
        return self.network.features(**dict(zip(self.names, tensors, strict=True)))

    def keep_graphs(self, epoch: int) -> None:
        """Keep the semantic graphs if `epoch`, from 0, is one of those that are shown."""
        if hasattr(self, "snapshots") and epoch + 1 in SNAPSHOTS:
            place = SNAPSHOTS.index(epoch + 1)
            self.snapshots[place] = self.network.local_stream.semantic_graphs()
            self.snapshot_epochs[place] = epoch + 1


def has_semantic_graphs(graph: nn.Module) -> bool:
    """Whether a graph network has A^se."""
    return isinstance(graph, ASSTGCN) and graph.layers[0].semantic_graph is not None


class GraphBackEnd(nn.Module):
    """A graph network and MS-TCN on the landmark features of a trained stream (Table V).

    nodes float (N, T, K, channels), lengths int64 (N,) -> logits (N, classes).
    """

    def __init__(self, graph: nn.Module, head: nn.Module, *, points: int, channels: int, encoding: bool) -> None:
        super().__init__()
        self.encoding = nn.Parameter(ENCODING_DEVIATION * torch.randn(points, channels)) if encoding else None
        self.graph, self.head = graph, head

    def forward(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        nodes = nodes if self.encoding is None else nodes + self.encoding
        return self.head(self.graph(nodes, lengths).mean(2), lengths)


class Scaled(nn.Module):
    """A back end on features with mean 0 and standard deviation 1 over the training clips, channel by channel.

    `measure` sets both statistics. The arguments are those of `back`: features (N, T, C), lengths, and any further
    ones.
    """

    def __init__(self, back: nn.Module, channels: int) -> None:
        super().__init__()
        self.back = back
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def measure(self, features: Tensor, lengths: Tensor) -> None:
        """Mean and deviation over the valid frames of features (N, T, C)."""
        valid = features[valid_frames(lengths, features.shape[1])].float()
        self.mean, self.deviation = valid.mean(0), valid.std(0).clamp(min=1e-5)

    def scale(self, features: Tensor) -> Tensor:
        """Features less the mean, over the deviation."""
        return (features.float() - self.mean) / self.deviation

    def forward(self, features: Tensor, *further: Tensor) -> Tensor:
        return self.back(self.scale(features), *further)


def inputs_of(config: Config) -> tuple[str, ...]:
    """The views that a network on clips takes, in order."""
    names = {"global": ("crops",), "local": ("frames", "landmarks"), "both": ("crops", "frames", "landmarks")}
    further = ("flow",) if config.network == "Flow" else ("masks",) if config.masks else ()
    return (*names[config.streams], *further, "lengths")


def build_reader(config: Config) -> Reader:
    """The network of a row of the word task that sees clips, with random weights."""
    classes, width = classes_of(config), config.sizes.width
    if config.network == "MT":
        network: nn.Module = MultipleTowers(classes, frames=config.sizes.frames, width=width)
    elif config.network in ("WAS", "Flow"):
        network = {"WAS": WASWords, "Flow": FlowTwoStream}[config.network](classes, width=width)
    else:
        whole = None
        if config.streams != "local":
            whole = C3DResNet18(width=width, in_channels=1 + MASK_CHANNELS * config.masks)
        local = build_local_stream(config) if config.streams != "global" else None
        channels = sum(stream.channels for stream in (whole, local) if stream is not None)
        network = TwoStream(whole, local, build_head(config, channels))
    return Reader(network, inputs_of(config))


@torch.no_grad()
def build_local_stream(config: Config) -> LocalStream:
    stream = LocalStream(
        points=POINTS[config.points], patch=config.sizes.patch, channels=config.sizes.channels, motion=config.motion,
        coordinates=config.coordinates, semantic_encoding=config.encoding, graph=build_graph(config),
    )  # fmt: skip
    if stream.encoding is not None:
        stream.encoding *= ENCODING_DEVIATION
    return stream


def build_graph(config: Config) -> nn.Module:
    """ASST-GCN with both graphs, one or none, or self-attention between the landmarks; FFN four times as wide."""
    sizes = config.sizes
    shape = {"layers": sizes.layers, "ffn": 4 * sizes.channels}
    if config.graph == "plain":
        return PlainAttention(sizes.channels, heads=sizes.subgraphs, **shape)
    return ASSTGCN(
        len(POINTS[config.points]), sizes.channels, subgraphs=sizes.subgraphs, embedding=sizes.embedding,
        semantic=config.graph in ("both", "semantic"), attention=config.graph in ("both", "attention"), **shape,
    )  # fmt: skip


def build_head(config: Config, channels: int) -> nn.Module:
    """The back end of a row of the word task, for features with `channels` channels."""
    classes, width = classes_of(config), config.sizes.width
    makers: dict[str, Callable[[], nn.Module]] = {
        "MS-TCN": partial(MSTCN, channels, classes, channels=4 * width),
        "mean": partial(MeanBackEnd, channels, classes),
        "BLSTM": partial(BLSTMBackEnd, channels, classes, hidden=4 * width),
        "BGRU": partial(BGRUBackEnd, channels, classes, hidden=16 * width),
    }
    return makers[config.back_end]()


def build_graph_back_end(config: Config) -> GraphBackEnd:
    """Graphs and back end of a row that keeps the landmarks' features."""
    channels = config.sizes.channels
    return GraphBackEnd(
        build_graph(config), build_head(config, channels), points=len(POINTS[config.points]), channels=channels,
        encoding=config.encoding,
    )  # fmt: skip


def channels_of(config: Config) -> int:
    """Number of channels of the features of a row's streams."""
    return config.sizes.channels * (2 if config.streams == "both" else 1)


def build_speller(config: Config, outputs: int) -> nn.Module:
    """The back end of a row of the sentence task; sizes in the paper's proportion to a stream's channels."""
    sizes, channels, width = config.sizes, channels_of(config), config.sizes.channels
    options = {"width": width, "heads": sizes.heads, "ffn": 4 * width}
    makers: dict[str, Callable[[], nn.Module]] = {
        "seq2seq": partial(TransformerSeq2Seq, channels, outputs, layers=sizes.blocks, **options),
        "CTC": partial(TransformerCTC, channels, outputs, layers=2 * sizes.blocks, **options),
        "TF": partial(TFSeq2Seq, channels, outputs, layers=sizes.blocks, **options),
        "WAS": partial(WASDecoder, channels, outputs, hidden=width // 2, width=width),
    }
    return makers[config.back_end]()


class OnImages(nn.Module):
    """A row's network on clips made of one image each, for `plan` to count and time.

    images (N, C, H, W) of any kind -> the network's output for N clips of random or constant content.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, sizes = config, config.sizes
        self.kept = config.start in ("kept", "nodes")
        if config.task == "sentences":
            self.model = build_speller(config, classes_of(config))
        elif config.start == "nodes":
            self.model = build_graph_back_end(config)
        else:
            self.model = build_head(config, channels_of(config)) if self.kept else build_reader(config)
        self.frames = 75 if config.task == "sentences" else sizes.frames
        self.side: tuple[int, int] = (sizes.crop, sizes.crop)
        if config.dataset == "lipnet-ita":
            self.frames, self.side = italian_frames(sizes), italian_size(sizes)

    def forward(self, images: Tensor) -> Tensor:
        config, count, frames = self.config, len(images), self.frames
        lengths = torch.full((count,), frames, device=images.device)
        if images.is_meta and config.task == "words":
            lengths = None  # recurrent layers need the values of lengths, which the meta device lacks
        images = images.float().div(255)
        if self.kept:
            shape = (count, frames, *((len(POINTS[config.points]),) if config.start == "nodes" else ()))
            channels = config.sizes.channels if config.start == "nodes" else channels_of(config)
            features = images.flatten(1)[:, :channels].reshape(count, *(1,) * (len(shape) - 1), -1)
            features = features.expand(*shape, channels)
            if config.task == "sentences" and config.back_end != "CTC":
                return self.model(features, lengths, torch.zeros(count, SPELT, dtype=torch.long, device=images.device))
            return self.model(features, lengths)
        size = config.sizes.size
        made = {"lengths": lengths}
        made["crops"] = images[:, :1, : self.side[0], : self.side[1]].expand(count, frames, *self._fitting(images))
        made["frames"] = images[:, :1].expand(count, frames, *images.shape[2:])
        made["landmarks"] = torch.full((count, frames, 68, 2), size / 2, device=images.device)
        made["flow"] = made["crops"][:, None].expand(count, 2, *made["crops"].shape[1:])
        made["masks"] = made["crops"][:, None].expand(count, MASK_CHANNELS, *made["crops"].shape[1:])
        return self.model(*(made[name] for name in self.model.names))

    def _fitting(self, images: Tensor) -> tuple[int, int]:
        return min(self.side[0], images.shape[2]), min(self.side[1], images.shape[3])
