"""The configuration of one trial of yang2023: typed, frozen, and all that its numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Data = Literal["synthetic", "public", "paper"]
Dataset = Literal["flrseg", "celebamask", "facesynth"]
Profile = Literal["smoke", "cpu", "gpu"]
Network = Literal[
    "MeanMask",  # the most frequent class of each pixel, whatever the image
    "LipNetwork",  # the paper's, with or without its modules
    "LSFCNN", "GloRe", "DualSeg", "SpyGR",  # on the paper's encoder, decoder and heads
    "Unet", "MAnet", "FPN", "PSPNet", "DeepLabV3", "Segformer",  # segmentation_models_pytorch
]  # fmt: skip
Encoder = Literal["resnet34", "resnet18", "mobilenet_v2", "squeezenet", "shufflenet_v2"]
PerScale = tuple[int, int, int]  # at strides 4, 8 and 16

CLASSES = {  # of the labels, by dataset
    "flrseg": ("background", "lip", "teeth", "tongue", "cavity"),
    "facesynth": ("background", "lip", "teeth", "tongue", "cavity"),
    "celebamask": ("background", "lip", "inner mouth"),
}


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with AdamW, stopped early on the validation score.

    The learning rate is flat where `final_lr` equals `lr`; else it drops ×0.1 on a plateau, down to `final_lr`.
    """

    epochs: int  # the ceiling
    patience: int  # epochs without a better validation score before it stops
    batch_size: int
    lr: float
    final_lr: float
    drop_after: int = 2  # epochs without a better score after which the learning rate drops
    weight_decay: float = 1e-5  # Sec. IV-A3


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of yang2023, without its seed."""

    data: Data
    dataset: Dataset
    profile: Profile
    height: int  # of the crops, pixels
    width: int
    network: Network
    encoder: Encoder = "mobilenet_v2"
    pretrained: bool = False  # whether the encoder starts from ImageNet
    flm: Literal["none", "rules", "reconstruction"] = "none"  # "rules": without reconstruction, Eq. 7–8
    fgr: Literal["none", "linear", "fuzzy"] = "none"  # "linear": a learned 1×1 projection in place of Eq. 10
    kernels: PerScale | None = None  # K of the FLM; None where a network has none
    nodes: PerScale | None = None  # N of the FGR, or of GloRe
    temperature: float = 0.05  # T, Sec. III-B, Eq. 4–5
    sampling: Literal["pixel", "kernel", "expectation"] = "pixel"  # the release, Eq. 6 as printed, none
    shared_gcn: bool = False  # one graph convolution used twice (Sec. III-C2)
    normalised: bool = False  # ours: the modules' reduced features at mean 0 and deviation 1
    conjunction: Literal["minimum", "product"] = "minimum"  # AND of LSFCNN
    dice: Literal["sum", "mean"] = "sum"  # over the classes; Eq. 16 has the sum
    train_mouths: int = 0  # at most; 0 = all that the dataset has
    test_mouths: int = 0  # for testing, and for validation at most
    training: Training | None = None
    hard_mouths: int = 0  # test mouths that are made harder (Figures 10 and 11); 0: none
    scales: tuple[float, ...] = ()  # of a second test with averages over sizes and mirror images; (): no such test
    elsewhere: bool = False  # whether it is also tested on mouths of another dataset (Figure 9)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, background first."""
        return CLASSES[self.dataset]
