"""Localisation networks of yin2020: from the rough mask to θ, one transform for each of the six parts (Eq. 2).

Both start near a given θ, the training set's mean: it is added in the last layer, whose initial weights are small. From
random values the crops would miss the parts, and the gradient of the part loss would say nothing about where they are.
The weights are not zero, so that a gradient reaches the earlier layers from the first step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet, resnet18

from reprolib.models.precision import in_float32
from reprolib.models.spatial_transformer import constrain

PARTS = 6
CLASSES = 9


class LocalisationNetwork(nn.Module):
    """ResNet-18 on the rough mask, the default of the authors' code.

    probabilities: float32 (N, 9, h, w) of any size from 32 → θ float32 (N, 6, 2, 3), constrained.
    mean: the initial θ (6, 2, 3), zeros if None. isotropic: one scale for both axes (Sec. 2.3).
    backbone: a torchvision ResNet of basic blocks, from random weights.
    The paper has nine layers "simplified from VGG16" whose widths it does not give.
    """

    def __init__(
        self,
        *,
        mean: Tensor | None = None,
        isotropic: bool = False,
        backbone: Callable[[], ResNet] = resnet18,
    ) -> None:
        super().__init__()
        self.isotropic = isotropic
        self.features = backbone()
        stem = self.features.conv1
        self.features.conv1 = nn.Conv2d(CLASSES, stem.out_channels, kernel_size=7, stride=2, padding=3, bias=False)
        width = self.features.layer4[-1].conv2.out_channels
        self.features.fc = nn.Identity()
        self.head = nn.Linear(width, PARTS * 6)
        nn.init.normal_(self.head.weight, std=1e-3)
        with torch.no_grad():
            self.head.bias.copy_(torch.zeros(PARTS * 6) if mean is None else mean.flatten())

    def forward(self, probabilities: Tensor) -> Tensor:
        features = self.features(probabilities)
        # bfloat16 would round θ to several pixels
        theta = in_float32(self.head)(features)
        return constrain(theta.view(-1, PARTS, 2, 3), isotropic=self.isotropic)


class LightLocalisation(nn.Module):
    """The light network of the authors' code: 15 convolutions of six channels, whose last map 2×3 is θ.

    probabilities: float32 (N, 9, h, w) → θ float32 (N, 6, 2, 3), constrained, entries within ±1 by tanh. A mask of
    another size is first scaled to 128², the size that ends at 2×3. `mean` and `isotropic` as in `LocalisationNetwork`;
    the mean is a buffer added before the tanh, since a convolution has one bias for all six entries of a part.
    """

    SIZE = 128

    def __init__(self, *, mean: Tensor | None = None, isotropic: bool = False) -> None:
        super().__init__()
        self.isotropic = isotropic
        layers: list[nn.Module] = []
        for i in range(5):  # 128 -> 64 -> 32 -> 16 -> 8 -> 4
            layers += _layer(CLASSES if i == 0 else PARTS, stride=2)
            layers += _layer(PARTS)
        layers.pop()  # no ReLU before the 3×2 convolution
        layers += _layer(PARTS, kernel=(3, 2), stride=2)  # (4, 4) -> (2, 3)
        for _ in range(3):
            layers += _layer(PARTS)
        last = nn.Conv2d(PARTS, PARTS, kernel_size=3, padding=1)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.features = nn.Sequential(*layers)
        self.last = last
        mean = torch.zeros(PARTS, 2, 3) if mean is None else mean
        self.register_buffer("offset", mean.clamp(-0.99, 0.99).atanh())

    def forward(self, probabilities: Tensor) -> Tensor:
        if probabilities.shape[-2:] != (self.SIZE, self.SIZE):
            probabilities = F.interpolate(probabilities, size=(self.SIZE, self.SIZE), mode="bilinear")
        features = self.features(probabilities)
        # bfloat16 would round θ to several pixels
        theta = in_float32(self.last)(features)
        return constrain((theta + self.offset).tanh(), isotropic=self.isotropic)


def _layer(before: int, *, kernel: tuple[int, int] = (3, 3), stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, PARTS, kernel_size=kernel, stride=stride, padding=1)
    return [convolution, nn.BatchNorm2d(PARTS), nn.ReLU()]
