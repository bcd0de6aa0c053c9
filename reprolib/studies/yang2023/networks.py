"""The networks behind the rows of yang2023's tables, and how they are trained and asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.losses.lip_loss import lip_loss, segmentation_loss
from reprolib.models import complexity
from reprolib.models.dgcnet import DualSegNetwork
from reprolib.models.encoders import QUARTER
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.models.fuzzy_learning import FuzzyLearningModule
from reprolib.models.glore import GloReNetwork
from reprolib.models.lip_network import LipNetwork
from reprolib.models.lsfcnn import LSFCNN
from reprolib.models.spygr import SpyGRNetwork
from reprolib.studies.yang2023 import settings as s

CLASSES = len(s.CLASSES)
STRIDE = 32  # sides of the input must be multiples of it


class OneOutput(nn.Module):
    """A network with three heads as the training loop knows networks: pictures in, one map of logits out.

    In training the map holds segmentation, edge and auxiliary logits one after the other, else segmentation alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> OneOutput:
        """As of any module, but the heads stay in training: they have no other difference than a quicker order."""
        super().train(mode)
        self.network.heads.train()
        return self

    def forward(self, images: Tensor) -> Tensor:
        heads = self.network(images)
        if not self.training:
            return heads.logits
        return torch.cat([heads.logits, heads.edge_logits, heads.auxiliary_logits], dim=1)


def inputs(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [−1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def loss(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Eq. 13 for a network with three heads, Eq. 14 for one that has the segmentation head alone."""
    if logits.shape[1] == CLASSES:
        return segmentation_loss(logits, batch["labels"])
    return lip_loss(*logits.split([CLASSES, 1, CLASSES], dim=1), batch["labels"])


class MultiScale(nn.Module):
    """Class probabilities, averaged over sizes of the picture and its mirror image (Sec. IV-A3).

    Input float32 (N, 3, H, W); output (N, classes, H, W). Sizes are rounded to what the encoder takes.
    """

    def __init__(self, network: nn.Module, scales: Sequence[float]) -> None:
        super().__init__()
        self.network, self.scales = network, tuple(scales)

    def forward(self, images: Tensor) -> Tensor:
        size = images.shape[2:]
        total = 0.0
        for scale in self.scales:
            scaled = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in size]
            resized = F.interpolate(images, scaled, mode="bilinear", align_corners=False)
            p = self.network(resized).softmax(1) + self.network(resized.flip(-1)).softmax(1).flip(-1)
            total = total + F.interpolate(p, list(size), mode="bilinear", align_corners=False)
        return total / (2 * len(self.scales))


# segmentation_models_pytorch's networks, with its own widths of the decoder
SMP = {
    "Unet": {"decoder_channels": (256, 128, 64, 32, 16)},
    "MAnet": {"decoder_channels": (256, 128, 64, 32, 16), "decoder_pab_channels": 64},
    "FPN": {"decoder_pyramid_channels": 256, "decoder_segmentation_channels": 128},
    "PSPNet": {"psp_out_channels": 512},
    "DeepLabV3": {"decoder_channels": 256},
    "UPerNet": {"decoder_channels": 256},
}
NETWORKS = {"GloRe": GloReNetwork, "DualSeg": DualSegNetwork, "LSFCNN": LSFCNN}


def build(p: Mapping) -> nn.Module:
    """The network of a row, with random weights: pictures float32 (N, 3, H, W) to logits as of `OneOutput`.

    With `p["quarter_width"]`, encoder and decoder have a quarter of their channels; the modules' kernels and nodes
    keep their numbers.
    """
    divisor = 4 if p.get("quarter_width") else 1
    encoder = p["encoder"] + QUARTER * (divisor > 1)
    if p["network"] in SMP:
        widths = {name: _narrowed(width, divisor) for name, width in SMP[p["network"]].items()}
        return getattr(smp, p["network"])(encoder, encoder_weights=None, classes=CLASSES, **widths)
    if p["network"] == "SpyGR":
        return OneOutput(SpyGRNetwork(encoder=encoder, width=64 // divisor))
    if p["network"] in NETWORKS:
        return OneOutput(NETWORKS[p["network"]](encoder=encoder))
    return OneOutput(LipNetwork(**lip_arguments(p)))


def lip_arguments(p: Mapping) -> dict:
    """The arguments of `LipNetwork` for a row of the paper's own network, as a checkpoint keeps them."""
    options = {
        name: p[name] for name in ("flm", "fgr", "temperature", "sampling", "shared_gcn", "normalised") if name in p
    }
    kernels, nodes = ([finest << i for i in range(3)] for finest in (p["kernels"], p["nodes"]))
    encoder = p["encoder"] + QUARTER * bool(p.get("quarter_width"))
    return {"encoder": encoder, "kernels": kernels, "nodes": nodes, **options}


def _narrowed(channels: int | tuple[int, ...], divisor: int) -> int | tuple[int, ...]:
    """A part of the channels, but no fewer than the 16 with which the lip network's narrow decoder ends."""
    if isinstance(channels, tuple):
        return tuple(_narrowed(c, divisor) for c in channels)
    return max(min(16, channels), channels // divisor)


@contextmanager
def expecting(model: nn.Module) -> Iterator[None]:
    """Within a `with` block, fuzzy learning modules take the expectation instead of drawing numbers."""
    modules = [module for module in model.modules() if isinstance(module, FuzzyLearningModule)]
    before = [module.sampling for module in modules]
    for module in modules:
        module.sampling = "expectation"
    try:
        yield
    finally:
        for module, sampling in zip(modules, before, strict=True):
            module.sampling = sampling


@contextmanager
def levelled(model: nn.Module) -> Iterator[None]:
    """Within a `with` block Y¹, Y² and what FGR's nodes give back are their means over pictures and places.

    What a trained network loses by it is what its fuzzy parts tell it; the convolutions around them stay.
    """

    def mean(x: Tensor) -> Tensor:
        return x.mean((0, 2, 3), keepdim=True).expand_as(x)

    learning = [module for module in model.modules() if isinstance(module, FuzzyLearningModule)]
    reasoning = [module for module in model.modules() if isinstance(module, FuzzyGraphReasoning)]
    for module in learning:
        module.rules = lambda x, rules=module.rules: tuple(map(mean, rules(x)))
    for module in reasoning:
        module.reasoned = lambda x, reasoned=module.reasoned: mean(reasoned(x))
    try:
        yield
    finally:
        for module in learning:
            del module.rules
        for module in reasoning:
            del module.reasoned


@torch.no_grad()
def best_membership(model: nn.Module, images: Tensor) -> dict[int, float]:
    """Mean over pictures, places and channels of the best kernel's membership, by the stride of the FLM.

    Near 1 features lie among their kernels; near 0 all kernels are far and tell nothing apart. Empty without an FLM.
    """
    learning = [module for module in model.modules() if isinstance(module, FuzzyLearningModule)]
    found: dict[int, float] = {}
    handles = [
        module.register_forward_pre_hook(
            lambda module, inputs, stride=stride: found.update(
                {stride: float(module.best_membership(inputs[0]).mean())}
            )
        )
        for module, stride in zip(learning, (4, 8, 16), strict=False)
    ]
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


@lru_cache
def counted(*, encoder_twice: bool = False, **specification) -> tuple[float, float]:
    """Parameters (millions) and multiply-accumulates (10⁹) of a network at 128 × 256, by thop 0.1.1 as in the paper.

    Nothing is computed: the network is on the meta device. `encoder_twice`: what thop says of the lip network if its
    encoder keeps the same layers under two names, whole and cut into scales.
    """
    with torch.device("meta"):
        model = build(specification)
    network = model.network if isinstance(model, OneOutput) else model
    if encoder_twice:
        network.encoder.whole = nn.ModuleList(list(network.encoder.stages))
    known, operations = complexity.counted(network, s.PAPER_INPUT)
    return known / 1e6, operations / 1e9
