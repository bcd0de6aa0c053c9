"""Encoders that start from ImageNet: torchvision's own weights by name, checked by their hash."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from reprolib.errors import UserError

NAMES = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "vgg16")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]


def load_imagenet(name: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights of a network, downloaded once and checked by hash.

    `name`: one of `NAMES`. Weights in torch's cache need no network. UserError where they are neither there nor to be
    had, ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"ImageNet weights are known for {', '.join(NAMES)}, found {name!r}")
    weights = get_model_weights(name).IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=False, check_hash=True, map_location="cpu")
    except (OSError, RuntimeError) as error:  # no network (URLError is an OSError), or a file with another hash
        file, folder = Path(weights.url).name, Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"ImageNet weights of {name} could not be downloaded ({error}): "
            f"put torchvision's file {file} into {folder} and run again"
        ) from error


def normalised(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 with ImageNet's mean and deviation, on the images' device."""
    mean, deviation = (torch.tensor(v, device=images.device).mul(255).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return images.float().sub(mean).div(deviation)


def unet(name: str, *, classes: int, pretrained: bool = True) -> nn.Module:
    """SMP's U-Net with an encoder of `NAMES`, from torchvision's weights where `pretrained`.

    Input float32 (N, 3, H, W), sides divisible by 32; output logits (N, classes, H, W). Errors as in `load_imagenet`.
    """
    import segmentation_models_pytorch as smp

    network = smp.Unet(name, encoder_weights=None, classes=classes)
    if pretrained:
        network.encoder.load_state_dict(load_imagenet(name))  # SMP leaves the classifier out
    return network
