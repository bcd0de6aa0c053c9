"""Encoders of Yang et al. 2023, Table VI: torchvision classifiers cut into four scales."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from reprolib.errors import UserError
from reprolib.models import pretrained, quarter_width


class Encoder(nn.Module):
    """Features at strides 4, 8, 16 and 32: float32 (N, 3, H, W) -> four maps (N, channels[i], H/s, W/s).

    Height and width must be divisible by 32. `stages[i]` leads from one scale to the next.
    """

    def __init__(self, stages: list[nn.Module], channels: tuple[int, int, int, int]):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        scales = []
        for stage in self.stages:
            images = stage(images)
            scales.append(images)
        return scales


def build_encoder(name: str = "resnet34") -> Encoder:
    """One of `ENCODERS` with random weights; "resnet34/4" and so on: a quarter as wide. UserError for another name."""
    known = ENCODERS | {narrow + QUARTER: made for narrow, made in QUARTER_WIDTH.items()}
    if name not in known:
        raise UserError(f"expected one of the encoders {', '.join(known)}, found {name!r}; choose one of them")
    cut, classifier = known[name]
    return cut(classifier())


def load_imagenet(encoder: Encoder, name: str) -> None:
    """Load ImageNet weights into an encoder of that name, in place.

    UserError if torchvision's file is missing, or has no weights of this width.
    """
    if name not in ENCODERS:
        raise UserError(f"expected an encoder with ImageNet weights, {', '.join(ENCODERS)}, found {name!r}; choose one")
    cut, _ = ENCODERS[name]
    encoder.load_state_dict(cut(pretrained.encoder(name)).state_dict())


def _resnet(net: nn.Module) -> Encoder:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    layers = (net.layer1, net.layer2, net.layer3, net.layer4)
    return Encoder([stem, *layers[1:]], tuple(layer[-1].conv2.out_channels for layer in layers))


def _mobilenet_v2(net: nn.Module) -> Encoder:
    f = net.features
    return Encoder([f[:4], f[4:7], f[7:14], f[14:]], tuple(f[i].out_channels for i in (3, 6, 13, 18)))


def _squeezenet(net: nn.Module) -> Encoder:
    # padded, so that every scale has exactly half the size of the one before
    f = net.features
    f[0].padding = (1, 1)
    pools = [_halving(layer) for layer in f if isinstance(layer, nn.MaxPool2d)]
    stages = [nn.Sequential(f[:2], pools[0]), nn.Sequential(f[3:5], pools[1]), nn.Sequential(f[6:8], pools[2])]
    channels = (f[0].out_channels, *(2 * f[i].expand1x1.out_channels for i in (4, 7, 12)))
    return Encoder([*stages, nn.Sequential(f[9:], _halving(f[2]))], channels)


def _halving(pool: nn.MaxPool2d) -> nn.MaxPool2d:
    return nn.MaxPool2d(pool.kernel_size, pool.stride, padding=1)


def _shufflenet_v2(net: nn.Module) -> Encoder:
    stem = nn.Sequential(net.conv1, net.maxpool)
    return Encoder([stem, net.stage2, net.stage3, net.stage4], (24, 48, 96, 192))


# name -> how it is cut, torchvision's classifier (with ImageNet weights in the paper); the variants are those that
# give the counts of Table VI
ENCODERS = {
    "resnet34": (_resnet, torchvision.models.resnet34),
    "resnet18": (_resnet, torchvision.models.resnet18),
    "mobilenet_v2": (_mobilenet_v2, torchvision.models.mobilenet_v2),
    "squeezenet": (_squeezenet, torchvision.models.squeezenet1_1),
    "shufflenet_v2": (_shufflenet_v2, torchvision.models.shufflenet_v2_x0_5),
}
# the same with a quarter of the channels, or half of MobileNetV2's; ShuffleNetV2 has as few already
QUARTER_WIDTH = {
    "resnet34": (_resnet, quarter_width.resnet34),
    "resnet18": (_resnet, quarter_width.resnet18),
    "mobilenet_v2": (_mobilenet_v2, quarter_width.mobilenet_v2),
    "squeezenet": (_squeezenet, quarter_width.squeezenet),
    "shufflenet_v2": (_shufflenet_v2, torchvision.models.shufflenet_v2_x0_5),
}
QUARTER = "/4"  # suffix of an encoder's name: a quarter of its width
