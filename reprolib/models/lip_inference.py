"""Lip networks in training and inference: one map of scores, several image sizes, modules ablated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.models import pretrained
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.models.fuzzy_learning import FuzzyLearningModule
from reprolib.models.lip_network import STRIDE, Heads

REACH = 0.1  # the membership above which a kernel is within reach: a distance of 1.5 σ
STRIDES = (4, 8, 16)  # of the scales with modules


class OneOutput(nn.Module):
    """Adapter from a network to the training loop: images in, one map of scores out.

    Input float32 (N, 3, H, W) in [−1, 1]; with `imagenet` the network gets ImageNet's mean and standard deviation
    instead. For a network with three heads the map holds, in training, segmentation, edge and auxiliary scores along
    the channels; in evaluation it holds segmentation alone.
    """

    def __init__(self, network: nn.Module, *, imagenet: bool = False) -> None:
        super().__init__()
        self.network, self.imagenet = network, imagenet

    def train(self, mode: bool = True) -> OneOutput:
        """As `nn.Module.train`, but the heads stay in training mode, which differs only in a faster order of steps."""
        super().train(mode)
        if hasattr(self.network, "heads"):
            self.network.heads.train()
        return self

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(as_imagenet(images) if self.imagenet else images)
        if not isinstance(output, Heads):
            return output
        return torch.cat(output, dim=1) if self.training else output.logits


def as_imagenet(images: Tensor) -> Tensor:
    """float (N, 3, H, W) in [−1, 1] -> the same with ImageNet's mean and standard deviation."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (pretrained.MEAN, pretrained.STD))
    return ((images + 1) / 2 - mean) / std


def inputs(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [−1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


class MultiScale(nn.Module):
    """Class probabilities, averaged over sizes of the image and its mirror image (yang2023 Sec. IV-A3).

    Input float32 (N, 3, H, W); output (N, classes, H, W). Sizes are rounded to multiples of the encoder's stride.
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


@contextmanager
def expecting(model: nn.Module) -> Iterator[None]:
    """Within a `with` block, fuzzy learning modules output the expectation instead of samples."""
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
def mean_ablated(model: nn.Module, *kinds: type[nn.Module]) -> Iterator[None]:
    """Within a `with` block, the output of the modules of these kinds is replaced by its mean over images and pixels.

    For a `FuzzyLearningModule` the output is Y¹ and Y², for `FuzzyGraphReasoning` what the nodes give back to the
    pixels. The score that a trained network loses is what these parts contribute; the convolutions around them stay.
    """

    def mean(x: Tensor) -> Tensor:
        return x.mean((0, 2, 3), keepdim=True).expand_as(x)

    modules = [module for module in model.modules() if isinstance(module, kinds)]
    for module in modules:
        if isinstance(module, FuzzyLearningModule):
            module.rules = lambda x, rules=module.rules: tuple(map(mean, rules(x)))
        elif isinstance(module, FuzzyGraphReasoning):
            module.reasoned = lambda x, reasoned=module.reasoned: mean(reasoned(x))
    try:
        yield
    finally:
        for module in modules:
            vars(module).pop("rules", None)
            vars(module).pop("reasoned", None)


@torch.no_grad()
def within_reach(model: nn.Module, images: Tensor) -> dict[int, float]:
    """Percentage of reduced features whose nearest kernel has a membership of `REACH` or more, by the FLM's stride.

    Far from all kernels every membership is near 0, and no rule can tell one pixel from another. Empty without an FLM.
    """
    return _measured(model, images, FuzzyLearningModule, lambda module, x: (module.best_membership(x) >= REACH).float())


@torch.no_grad()
def nodes_used(model: nn.Module, images: Tensor) -> dict[int, float]:
    """Percentage of the graph's nodes in use, by the FGR's stride: the perplexity of their shares over their number.

    100 where all nodes have equal shares of the pixels, 100/N where one has all. Empty without FGR.
    """

    def used(module: nn.Module, x: Tensor) -> Tensor:
        shares = module.node_shares(x)
        return torch.special.entr(shares).sum().exp() / len(shares)

    return _measured(model, images, FuzzyGraphReasoning, used)


def _measured(
    model: nn.Module, images: Tensor, kind: type[nn.Module], measure: Callable[[nn.Module, Tensor], Tensor]
) -> dict[int, float]:
    """Stride → 100 × the mean of `measure(module, input)` for each module of a kind, from the finest scale on."""
    found: dict[int, float] = {}

    def hook(stride: int) -> Callable:
        return lambda module, given: found.update({stride: 100 * float(measure(module, given[0]).mean())})

    modules = [module for module in model.modules() if isinstance(module, kind)]
    handles = [m.register_forward_pre_hook(hook(s)) for m, s in zip(modules, STRIDES, strict=False)]
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return found
