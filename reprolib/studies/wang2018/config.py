"""The configuration of one trial of wang2018: typed, frozen, and all that its numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Data = Literal["synthetic", "public", "paper"]
Dataset = Literal["300vw", "talkingfaces", "landmarks300w", "facesynth"]
Profile = Literal["smoke", "cpu", "gpu"]
Region = Literal["face", "eyes", "mouth"]
Stage = Literal[
    "sizes",  # no data: the sizes of the paper's network, layer by layer
    "mean mask",  # no network: one mask for every frame
    "tracker",  # no network: dlib's landmarks on the frames that the networks see
    "fcn",  # a network that sees frames one by one
    "classifier",  # the baseline FCN with a new 1×1 classifier, a control for the ConvLSTM
    "conv_lstm",  # the baseline FCN with a ConvLSTM as classifier
    "system",  # a primary network and two close-up networks, of eyes and mouth
]
Network = Literal["mobilenet_v2", "resnet50", "unet"]  # a DilatedFCN on one of the two, or U-Net on MobileNetV2
Loss = Literal[
    "cross-entropy",
    "iou",  # Eq. 3
    "hinge",  # segmentation loss with Eq. 8, g = 1
    "linear",  # segmentation loss with Eq. 9, g = 0
    "linear-margin",  # the same, g = 0.1
    "hinge-scores", "linear-scores",  # of the layer's scores instead of their softmax
    "dice", "lovasz",
]  # fmt: skip

STEPS = 5  # T, frames of a clip that the ConvLSTM sees together
FCN_EVERY = 2  # an FCN learns from every second frame of a clip: neighbours are nearly the same
FCN_FRAMES = -(-STEPS // FCN_EVERY)
PAPERS_RATE = 1e-3  # learning rate of the ConvLSTM, Sec. 4.2; γ multiplies it, whatever the ConvLSTM's here

CLASSES = {  # of the labels, by region, background first
    "face": ("background", "skin", "eyes", "outer", "inner"),
    "eyes": ("background", "eyes"),
    "mouth": ("background", "outer", "inner"),
}


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, stopped early; the learning rate drops ×0.1 on validation plateaus, down to `final_lr`."""

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops
    batch_size: int  # frames; for clips a multiple of T
    lr: float
    final_lr: float
    optimiser: Literal["Adam", "RMSprop"] = "Adam"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Frames of one dataset at two sizes."""

    dataset: Dataset
    frame: int  # side of the frames as they are kept and scored, pixels
    size: int  # side of every network's input, pixels
    clips: int  # in all three sets together, at most; 0 = all
    frames: int = STEPS  # of a clip; 1: stills
    grid_clips: int = 0  # of GRID's speaker, all for the test


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The ConvLSTM in the classifier's place."""

    start: Literal["keras", "classifier"]  # Keras's random start, or the baseline's trained classifier
    activation: Literal["tanh", "linear"]  # of candidate and output, as in Keras
    bound: float  # of the scores with "tanh"; Keras's is 1
    input_scale: float  # multiplies the layer's input
    memory: bool = True  # without it every frame starts from a zero state
    peepholes: bool = False  # Eq. 1 has them, Keras's layer has none


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Training of the two close-up networks of a system."""

    baseline: Training
    conv_lstm: Training | None  # None: they stay baseline FCNs
    gamma: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of wang2018, without its seed."""

    data: Data
    dataset: Dataset
    profile: Profile
    source: Source
    stage: Stage
    region: Region = "face"
    network: Network = "mobilenet_v2"
    pretrained: bool = False  # whether the encoder starts from ImageNet
    smoothed: bool = False  # probabilities averaged over neighbouring frames (Table 2)
    still: bool = False  # in the test, each frame also replaces all frames before it in its clip
    layer: Layer | None = None
    loss: Loss = "cross-entropy"
    gamma: float = 0.0  # learning rate of all but the new layer as a multiple of the paper's; 0 freezes them
    baseline: Training | None = None  # of the FCN that the ConvLSTM or the new classifier starts from
    training: Training | None = None  # of the row itself; of a "system", of its primary network
    parts: Parts | None = None  # of a "system"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, background first."""
        return CLASSES[self.region]
