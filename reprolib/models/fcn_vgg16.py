"""FCN-VGG16 at stride 32 (Long et al., CVPR 2015), a baseline of Wang et al. 2018, Table 2."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from reprolib.models.fcn_resnet50 import check_sides, he_initialise, upsample_tf1

STRIDE = 32


class FCNVGG16(nn.Module):
    """VGG-16 with its fully connected layers as convolutions and its scores up-sampled bilinearly.

    Input float32 (N, 3, H, W), sides divisible by 32; output logits (N, classes, H, W). `width`
    scales the VGG channels (64 is VGG-16). Weights are random (He). The paper does not say which stride it takes;
    a dilated network of stride 16 has as many parameters.
    """

    def __init__(self, *, classes: int = 5, width: int = 64, fc_channels: int = 4096):
        super().__init__()
        self.features = vgg16_features(width=width)
        self.fully_connected = nn.Sequential(
            nn.Conv2d(8 * width, fc_channels, 7, padding=3),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(fc_channels, fc_channels, 1),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.classifier = nn.Conv2d(fc_channels, classes, 1)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        check_sides(images, STRIDE)
        return upsample_tf1(self.classifier(self.fully_connected(self.features(images))), STRIDE)


def vgg16_features(*, width: int) -> nn.Sequential:
    """Convolutions and pools of VGG-16 under torchvision's names; `width` channels in the first block, not 64."""
    w = width
    # fmt: off
    return make_layers([w, w, "M", 2*w, 2*w, "M", 4*w, 4*w, 4*w, "M", 8*w, 8*w, 8*w, "M", 8*w, 8*w, 8*w, "M"])
    # fmt: on
