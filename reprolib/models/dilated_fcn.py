"""The baseline FCN of Wang et al. 2018 on an encoder for which torchvision has ImageNet weights."""

from __future__ import annotations

from typing import Literal

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.models.fcn_resnet50 import STRIDE, check_sides, upsample_tf1
from reprolib.models.lip_inference import as_imagenet
from reprolib.models.pretrained import load_imagenet

CHANNELS = {"mobilenet_v2": 320, "resnet50": 2048}
LAST_STAGE = 14  # MobileNetV2's first block at stride 32


class DilatedFCN(nn.Module):
    """An ImageNet network at stride 16, its last stage dilated, whose 1×1 classifier is up-sampled bilinearly.

    Input float32 (N, 3, H, W) in [−1, 1], sides divisible by 16; output logits (N, classes, H, W). With `pretrained`
    the encoder starts from torchvision's ImageNet weights (UserError if they are not available). ResNet-50 is
    torchvision's, with the stride on the 3×3 convolutions; `FCNResNet50` has the Keras network's geometry.
    Source: Wang et al. 2018, Table 1; Sandler et al., CVPR 2018.

    >>> import torch
    >>> network = DilatedFCN("mobilenet_v2", classes=5, pretrained=False)
    >>> network.features(torch.zeros(1, 3, 64, 64)).shape, network(torch.zeros(1, 3, 64, 64)).shape
    (torch.Size([1, 320, 4, 4]), torch.Size([1, 5, 64, 64]))
    """

    def __init__(self, encoder: Literal["mobilenet_v2", "resnet50"], *, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        network = torchvision.models.get_model(encoder, weights=None)
        if pretrained:
            network.load_state_dict(load_imagenet(encoder))
        self.encoder = _at_stride_16(network, encoder)
        self.classifier = nn.Conv2d(CHANNELS[encoder], classes, 1)

    def features(self, images: Tensor) -> Tensor:
        """float32 (N, 3, H, W) -> (N, channels, H/16, W/16); ValueError for sides not divisible by 16."""
        check_sides(images, STRIDE)
        return self.encoder(as_imagenet(images))

    def forward(self, images: Tensor) -> Tensor:
        return upsample_tf1(self.classifier(self.features(images)), STRIDE)


class InterleavedConv2d(nn.Conv2d):
    """A convolution of dilation 2, computed as one of dilation 1 on the four interleaved quarters of the map.

    The same function of the same parameters, up to rounding. PyTorch's gradient of a dilated depthwise convolution is
    several times as slow on a CPU as that of a plain one (`benchmarks/rewritten_convolutions.py`). A map with an odd
    side is left to PyTorch. For 3×3 kernels of stride 1 and padding 2.
    """

    def forward(self, maps: Tensor) -> Tensor:
        count, _, height, width = maps.shape
        if height % 2 or width % 2:
            return super().forward(maps)
        # (N, h, 2, w, 2, C) -> (2, 2, N, h, w, C): channels stay innermost, as `channels_last` has them
        quarters = maps.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(2, 4, 0, 1, 3, 5)
        near = quarters.flatten(0, 2).permute(0, 3, 1, 2)
        found = F.conv2d(near, self.weight, self.bias, padding=1, groups=self.groups)
        found = found.permute(0, 2, 3, 1).unflatten(0, (2, 2, count)).permute(2, 3, 0, 4, 1, 5)
        return found.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _at_stride_16(network: nn.Module, encoder: str) -> nn.Sequential:
    """The convolutional part of a classification network, its last stage dilated instead of strided."""
    if encoder == "mobilenet_v2":
        blocks = network.features[:-1]  # the last one has 1280 channels for classification
        last = blocks[LAST_STAGE:]
    else:
        blocks = nn.Sequential(
            *(network.get_submodule(name) for name in ("conv1", "bn1", "relu", "maxpool")),
            *(network.get_submodule(f"layer{stage}") for stage in range(1, 5)),
        )
        last = blocks[-1]
    for parent in list(last.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                if child.stride == (2, 2):
                    child.stride = (1, 1)
                elif child.kernel_size == (3, 3):
                    setattr(parent, name, _dilated(child))
    return blocks


def _dilated(plain: nn.Conv2d) -> InterleavedConv2d:
    """A 3×3 convolution with the same weights, dilated; no random number is drawn."""
    channels = plain.in_channels, plain.out_channels
    made = nn.utils.skip_init(
        InterleavedConv2d, *channels, 3, padding=2, dilation=2, groups=plain.groups, bias=False,
        device=plain.weight.device,
    )  # fmt: skip
    made.weight = plain.weight
    return made
