"""torchvision's classifiers at a quarter of their width, which a CPU can train on images of a quarter of the area.

Their features are those of `reprolib.models.encoders` with a quarter of the channels.
"""

from __future__ import annotations

import torchvision
from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.squeezenet import Fire, SqueezeNet

LAYERS = {"resnet34": [3, 4, 6, 3], "resnet18": [2, 2, 2, 2]}


class QuarterStages:
    """Mixin before a ResNet of basic blocks: stages of 16, 32, 64 and 128 channels behind the usual stem of 64."""

    def _make_layer(self, block, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        return super()._make_layer(block, planes // 4, blocks, stride, dilate)


class QuarterResNet(QuarterStages, ResNet):
    """torchvision's ResNet with narrow stages."""


def resnet34() -> ResNet:
    """ResNet-34 with narrow stages."""
    return QuarterResNet(BasicBlock, LAYERS["resnet34"])


def resnet18() -> ResNet:
    """ResNet-18 with narrow stages."""
    return QuarterResNet(BasicBlock, LAYERS["resnet18"])


def mobilenet_v2() -> MobileNetV2:
    """MobileNetV2 at width 0.5, so that its finest scale keeps 16 channels, as the narrow ResNets' does.

    Its last layer keeps 1280 channels, as Sandler et al. have it.
    """
    return torchvision.models.mobilenet_v2(width_mult=0.5)


def squeezenet() -> SqueezeNet:
    """SqueezeNet 1.1 with a quarter of all channels."""
    net = torchvision.models.squeezenet1_1()
    net.features[0] = nn.Conv2d(3, net.features[0].out_channels // 4, kernel_size=3, stride=2)
    for i, fire in enumerate(net.features):
        if isinstance(fire, Fire):
            layers = (fire.squeeze, fire.expand1x1, fire.expand3x3)
            net.features[i] = Fire(fire.inplanes // 4, *(layer.out_channels // 4 for layer in layers))
    return net
