"""The configuration of one trial of sheng2021: typed, frozen, and all that its numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Data = Literal["synthetic", "public", "paper"]
Dataset = Literal["grid", "lipnet-ita", "facesynth", "lrw", "lrs2", "lrs3"]
Profile = Literal["smoke", "cpu", "gpu"]
Network = Literal[
    "Time",  # words: the commonest word at this moment of a clip, for a word of this length, whatever the mouth does
    "Grammar",  # sentences: the commonest word of each position, whatever the mouth does
    "Streams",  # the paper's streams, or some of them, and a back end
    "MT", "WAS", "Flow",  # rivals for words
]  # fmt: skip
Streams = Literal["global", "local", "both"]
Points = Literal["lower face", "nose and mouth"]
Graph = Literal["both", "semantic", "attention", "plain", "none"]  # A^se + A^st, one of them, self-attention, no edges
BackEnd = Literal["MS-TCN", "mean", "BLSTM", "BGRU", "seq2seq", "CTC", "TF", "WAS"]
Start = Literal[
    "random",
    "streams",  # the streams start from their own training on words, and train further
    "kept",  # the streams come from a training on words and are frozen: only the back end learns
    "nodes",  # LMFE and LCFE come from a training and are frozen: graphs and back end learn
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with Adam, stopped early on the validation score.

    Words: the learning rate drops ×0.1 on a plateau, down to `final_lr`; flat where both are equal. Sentences: it
    rises to `lr` in `warmup` steps and falls as in Eq. 7; `final_lr` is not used.
    """

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops
    batch_size: int
    lr: float
    final_lr: float
    warmup: int = 0  # steps; sentences only
    stage_epochs: int = 0  # of each stage of the curriculum, parts of 1, 2, 3 … words; sentences only


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of clips, in frames and pixels, and of networks; the paper's in brackets."""

    frames: int  # T of a word (29)
    size: int  # side of the aligned face
    crop: int  # side of the mouth's crop (112); a LipNet-ITA mouth is half as high as wide
    patch: int  # side of a landmark's patch (32)
    width: int  # channels of the first convolutions of both streams (64)
    layers: int  # of the graph network (6)
    subgraphs: int  # Q (8)
    beam: int  # hypotheses of the decoder (6)
    heads: int  # of the transformer (8)
    blocks: int  # of the transformer's encoder and decoder each (6)

    @property
    def channels(self) -> int:
        """Channels of a stream's features: 512 in the paper."""
        return 8 * self.width

    @property
    def embedding(self) -> int:
        """D_e, an eighth of the channels."""
        return self.width


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of sheng2021, without its seed."""

    data: Data
    dataset: Dataset
    profile: Profile
    task: Literal["words", "sentences"]
    network: Network
    sizes: Sizes
    clips: int = 0  # rendered or official clips for training, 0 = all that the dataset has
    vocabulary: int = 0  # words of it that are used, 0 = all
    streams: Streams = "global"
    masks: bool = False  # further channels of the crops: what yang2023's network finds in them
    points: Points = "lower face"
    motion: bool = True  # LMFE
    coordinates: bool = True  # LCFE
    encoding: bool = True  # a learned vector for each landmark
    graph: Graph = "both"
    back_end: BackEnd = "MS-TCN"
    start: Start = "random"
    before: tuple[Config, ...] = ()  # the trainings on words from which it starts
    training: Training | None = None
