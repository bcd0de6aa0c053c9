"""The lightweight encoder-decoder of Masi et al. 2020, Sec. 3.2."""

from __future__ import annotations

import torch
from torch import nn


class EncoderDecoder(nn.Module):
    """Encoder, dilated context branch, and sub-pixel decoder.

    Input float32 (N, 3, H, W) in [−1, 1], H and W divisible by 4 and at least 20; output logits
    (N, classes, H, W). ValueError for other sizes and for an odd `width`, which scales all channels (64 is the
    paper's).
    Source: Masi et al. 2020, Sec. 3.2; the layer list is that of the authors' release, since the paper gives none.
    """

    def __init__(
        self,
        *,
        classes: int = 3,  # background, face, occlusion (or hair)
        width: int = 64,
        dropout: float = 0.0,  # 0.2 in the regularised variant, "+reg." of Table 1
    ):
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"width must be even and at least 2, found {width}.")
        w = width
        self.encoder = nn.Sequential(
            *_conv_elu(3, w),
            *_conv_elu_norm(w, 2 * w, stride=2),
            *_conv_elu_norm(2 * w, 2 * w),
            *_conv_elu_norm(2 * w, 2 * w),
            *_conv_elu_norm(2 * w, 4 * w, stride=2),
        )
        self.context = nn.Sequential(
            *_conv_elu_norm(4 * w, 4 * w, dilation=4),
            *_conv_elu_norm(4 * w, 4 * w, dilation=3),
        )
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Sequential(
            *_conv_elu_norm(8 * w, 8 * w),
            nn.PixelShuffle(2),
            *_conv_elu_norm(2 * w, 2 * w),
            *_conv_elu_norm(2 * w, 2 * w),
            nn.PixelShuffle(2),
            *_conv_elu(w // 2, w // 2),
            *_conv_elu(w // 2, w // 2),
        )
        # the release pads this one with zeros, all others by reflection
        self.classifier = nn.Conv2d(w // 2, classes, 3, padding=1)
        self.apply(_initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        if height % 4 or width % 4 or min(height, width) < 20:
            raise ValueError(
                f"Sides must be divisible by 4 and at least 20, found {height}×{width}: resize the images."
            )
        # first branch: more channels, less space, (N, 3, H, W) -> (N, 4w, H/4, W/4)
        encoded = self.encoder(images)
        # second branch: a wider part of the face, at the same size
        context = self.context(encoded)
        # concatenate the branches: (N, 8w, H/4, W/4)
        joined = self.dropout(torch.cat([encoded, context], dim=1))
        # two sub-pixel convolutions back to the input size: (N, w/2, H, W)
        decoded = self.decoder(joined)
        return self.classifier(decoded)


def _conv_elu(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, padding_mode="reflect"
    )
    return [convolution, nn.ELU()]


def _conv_elu_norm(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    return [*_conv_elu(inputs, outputs, stride=stride, dilation=dilation), nn.BatchNorm2d(outputs)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_normal_(module.weight, gain=2**0.5)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
        nn.init.zeros_(module.bias)
