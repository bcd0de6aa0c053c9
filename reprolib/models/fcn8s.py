"""FCN-8s, the teacher of Masi et al. 2020."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.vgg import make_layers


class FCN8s(nn.Module):
    """Fully convolutional VGG-16 whose scores at stride 32, 16 and 8 are summed.

    Input float32 (N, 3, H, W), any sides ≥ 1; output logits (N, classes, H, W). The input is padded with
    zeros at the right and bottom to a multiple of 32, and the padded convolutions keep every feature map
    aligned with it, so the original's padding by 100 pixels is not needed. `width` scales the VGG channels
    (64 is VGG-16). Weights are random (He) until `load_vgg16`. Source: Long et al., CVPR 2015; teacher of
    face segmentation transfer in Masi et al. 2020, Sec. 3.1.
    """

    def __init__(self, *, classes: int = 2, width: int = 64, fc_channels: int = 4096):
        super().__init__()
        w = width
        # fmt: off
        vgg16 = [w, w, "M", 2*w, 2*w, "M", 4*w, 4*w, 4*w, "M", 8*w, 8*w, 8*w, "M", 8*w, 8*w, 8*w, "M"]
        # fmt: on
        self.features = make_layers(vgg16)  # torchvision's, so that its state dict fits
        pools = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        self._after_pool3, self._after_pool4 = pools[2] + 1, pools[3] + 1
        self.fc6 = nn.Conv2d(8 * w, fc_channels, 7, padding=3)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.dropout = nn.Dropout(0.5)
        self.score_fc7 = nn.Conv2d(fc_channels, classes, 1)
        self.score_pool4 = nn.Conv2d(8 * w, classes, 1)
        self.score_pool3 = nn.Conv2d(4 * w, classes, 1)
        self.upscore2 = _upsampling(classes, factor=2)
        self.upscore_pool4 = _upsampling(classes, factor=2)
        self.upscore8 = _upsampling(classes, factor=8)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % 32, 0, -height % 32))
        # VGG-16: strides 8, 16, 32
        pool3 = self.features[: self._after_pool3](padded)
        pool4 = self.features[self._after_pool3 : self._after_pool4](pool3)
        pool5 = self.features[self._after_pool4 :](pool4)
        # the fully connected layers as convolutions
        fc6 = self.dropout(F.relu(self.fc6(pool5)))
        fc7 = self.dropout(F.relu(self.fc7(fc6)))
        # sum of scores: stride 32 -> 16 -> 8 -> 1
        stride16 = self.upscore2(self.score_fc7(fc7)) + self.score_pool4(pool4)
        stride8 = self.upscore_pool4(stride16) + self.score_pool3(pool3)
        return self.upscore8(stride8)[..., :height, :width]

    def load_vgg16(self, state: Mapping[str, torch.Tensor]) -> None:
        """Start from torchvision's `vgg16` state dict; needs width=64 and fc_channels=4096."""
        own = self.state_dict()
        own.update({k: v for k, v in state.items() if k.startswith("features.")})
        own["fc6.weight"] = state["classifier.0.weight"].reshape(own["fc6.weight"].shape)
        own["fc6.bias"] = state["classifier.0.bias"]
        own["fc7.weight"] = state["classifier.3.weight"].reshape(own["fc7.weight"].shape)
        own["fc7.bias"] = state["classifier.3.bias"]
        self.load_state_dict(own)


def _upsampling(channels: int, *, factor: int) -> nn.ConvTranspose2d:
    """Transposed convolution that starts as bilinear interpolation of each channel (Long et al. 2015)."""
    size = 2 * factor
    layer = nn.ConvTranspose2d(channels, channels, size, stride=factor, padding=factor // 2, bias=False)
    triangle = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    kernel = triangle[:, None] * triangle[None, :]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * kernel)
    return layer
