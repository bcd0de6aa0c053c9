"""A fully convolutional network on MobileNetV2, in place of the papers' FCN-8s on VGG-16."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2

from reprolib.models.pretrained import load_imagenet

# The last of MobileNetV2's blocks at strides 8, 16 and 32, and their channels.
SKIPS = {6: 32, 13: 96, 17: 320}


class FCNMobileNet(nn.Module):
    """Scores of the features at strides 8, 16 and 32, added from coarse to fine, as in FCN-8s.

    Input float32 (N, 3, H, W), normalised as for ImageNet; output logits float32 (N, classes, H, W). The encoder omits
    the layer of 1280 channels, which only classification needs. With `pretrained` it starts from torchvision's ImageNet
    weights (UserError if they are not available).
    Source: Long, Shelhamer, Darrell, CVPR 2015, Fig. 3; Sandler et al., CVPR 2018.

    >>> import torch
    >>> FCNMobileNet(classes=2, pretrained=False)(torch.zeros(2, 3, 64, 48)).shape
    torch.Size([2, 2, 64, 48])
    """

    def __init__(self, *, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        network = mobilenet_v2()
        if pretrained:
            network.load_state_dict(load_imagenet("mobilenet_v2"))
        self.features = network.features[:-1]
        self.scores = nn.ModuleDict({str(i): nn.Conv2d(channels, classes, 1) for i, channels in SKIPS.items()})

    def forward(self, images: Tensor) -> Tensor:
        found, x = [], images
        for i, block in enumerate(self.features):
            x = block(x)
            if i in SKIPS:
                found.append(self.scores[str(i)](x))  # (N, classes, H / 8, W / 8), then / 16, / 32
        logits = found.pop()
        while found:
            finer = found.pop()
            logits = finer + F.interpolate(logits, finer.shape[2:], mode="bilinear", align_corners=False)
        return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
