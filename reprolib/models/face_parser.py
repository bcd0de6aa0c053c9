"""The network of the tools for a user's own photos: a U-Net on MobileNetV2, small enough to ship.

Encoder: Sandler et al., CVPR 2018, without its last layer of 1280 channels. Decoder: Ronneberger et al., MICCAI 2015,
with the few channels of `WIDTHS`.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
FEATURES = (
    "other", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth", "lower lip",
)  # fmt: skip
REGIONS = ("background", "face", "hair", "ear", "neck", "cloth", "hat", "glasses")
LAYERS = (  # Table 2 of MobileNetV2: expansion, channels, repeats, first stride
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
STAGES = ((0, 2), (2, 4), (4, 7), (7, 14), (14, 18))  # layers of MobileNetV2 that end at strides 2, 4, 8, 16 and 32
CHANNELS = (16, 24, 32, 96, 320)
WIDTHS = (24, 32, 48, 96)  # channels of the decoder at strides 2, 4, 8 and 16


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: float32 (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).

    Built like torchvision's, so that its weights fit. torchvision is not imported, because that takes 7 s of processor
    time, three times as long as torch, and the user who labels a photo would wait for it.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int):
        super().__init__()
        inner = inputs * expansion
        expand = [_norm_relu6(inputs, inner, kernel=1)] if expansion > 1 else []
        depthwise = _norm_relu6(inner, inner, kernel=3, stride=stride, groups=inner)
        self.conv = nn.Sequential(*expand, depthwise, nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv(features) if self.residual else self.conv(features)


class FaceParser(nn.Module):
    """Class scores of every pixel: float32 (N, 3, H, W) -> (N, classes, H, W), H and W divisible by 32.

    Images are RGB, normalised with ImageNet's mean and standard deviation.

    >>> FaceParser(classes=9).eval()(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 9, 64, 96])
    """

    def __init__(self, *, classes: int):
        super().__init__()
        layers: list[nn.Module] = [_norm_relu6(3, 32, kernel=3, stride=2)]
        inputs = 32
        for expansion, channels, repeats, stride in LAYERS:
            for i in range(repeats):
                layers.append(InvertedResidual(inputs, channels, expansion=expansion, stride=1 if i else stride))
                inputs = channels
        self.encoder = nn.ModuleList(
            [nn.Sequential(OrderedDict((str(i), layers[i]) for i in range(*ends))) for ends in STAGES]
        )
        self.decoder = nn.ModuleList()
        below = CHANNELS[-1]
        for skip, width in zip(CHANNELS[-2::-1], WIDTHS[::-1], strict=True):
            self.decoder.append(nn.Sequential(_convolution(below + skip, width), _convolution(width, width)))
            below = width
        self.head = nn.Conv2d(below, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        # encoder: features at strides 2, 4, 8, 16 and 32
        scales = [images]
        for stage in self.encoder:
            scales.append(stage(scales[-1]))
        # decoder: up to stride 2, each time joined by the encoder's features of that stride
        features = scales[-1]
        for skip, convolutions in zip(scales[-2:0:-1], self.decoder, strict=True):
            features = F.interpolate(features, skip.shape[-2:], mode="bilinear", align_corners=False)
            features = convolutions(torch.cat([features, skip], 1))
        # scores are up-sampled from stride 2 to the image's size
        return F.interpolate(self.head(features), images.shape[-2:], mode="bilinear", align_corners=False)

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Start the encoder from torchvision's weights of MobileNetV2, a state dict with keys `features.LAYER.…`."""
        for stage in self.encoder:
            stage.load_state_dict({key: state[f"features.{key}"] for key in stage.state_dict()})

    def save_half(self, path: Path) -> None:
        """Write the weights as float16 arrays in an .npz: numpy reads it without pickle, so a file cannot run code."""
        state = {key: value for key, value in self.state_dict().items() if value.is_floating_point()}
        np.savez_compressed(path, **{key: value.cpu().numpy().astype(np.float16) for key, value in state.items()})

    def load_half(self, path: Path) -> None:
        """Read what `save_half` wrote; KeyError or ValueError if the file holds something else."""
        with np.load(path, allow_pickle=False) as kept:
            for key, value in self.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.from_numpy(kept[key].astype(np.float32)))


def as_input(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) RGB -> float32 (N, 3, H, W), normalised as the network takes it."""
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def _norm_relu6(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True))
