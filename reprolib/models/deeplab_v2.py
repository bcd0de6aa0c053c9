"""DeepLab-v2 on VGG-16 (Chen et al., PAMI 2018), a baseline of Wang et al. 2018, Table 2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.fcn_resnet50 import he_initialise
from reprolib.models.fcn_vgg16 import vgg16_features

RATES = (6, 12, 18, 24)  # Sec. 3.2, ASPP-L
STRIDE = 8


class DeepLabV2(nn.Module):
    """VGG-16 at stride 8 with atrous convolutions and the sum of four atrous branches (spatial pyramid) as scores.

    Input float32 (N, 3, H, W) from `caffe_inputs`, any sides; output logits (N, classes, H, W). `width` scales all
    channels (64 is the paper's: 1024 in each branch). Weights are random (He). Without the fully connected CRF.
    """

    def __init__(self, *, classes: int = 5, width: int = 64):
        super().__init__()
        self.features = _atrous_vgg16(width=width)
        self.branches = nn.ModuleList(_branch(8 * width, 16 * width, classes, rate=rate) for rate in RATES)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        features = self.features(images)
        scores = sum(branch(features) for branch in self.branches)
        # score (i, j) stands at pixel (8i, 8j); the last one may lie beyond the picture
        rows, columns = scores.shape[-2:]
        size = (STRIDE * (rows - 1) + 1, STRIDE * (columns - 1) + 1)
        return F.interpolate(scores, size, mode="bilinear", align_corners=True)[..., :height, :width]


def _atrous_vgg16(*, width: int) -> nn.Sequential:
    """VGG-16 with DeepLab's pools: 3×3, three of stride 2 and two of stride 1; conv5 has dilation 2."""
    layers = vgg16_features(width=width)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for i, stride in zip(pools, (2, 2, 2, 1, 1), strict=True):
        layers[i] = nn.MaxPool2d(3, stride=stride, padding=1, ceil_mode=True)  # Caffe rounds up
    for layer in layers[pools[3] :]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation = layer.padding = (2, 2)
    return layers


def _branch(inputs: int, channels: int, classes: int, *, rate: int) -> nn.Sequential:
    """fc6, fc7 and fc8 of one branch: the 3×3 convolution of fc6 has dilation `rate`."""
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, padding=rate, dilation=rate),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(channels, classes, 1),
    )
