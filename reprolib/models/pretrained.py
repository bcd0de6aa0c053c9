"""Networks that start from torchvision's ImageNet weights, by themselves or as the encoder of an SMP decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from reprolib.errors import UserError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1], as all weights below expect
NAMES = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "vgg16")


def normalised(images: Tensor) -> Tensor:
    """uint8 RGB (N, 3, H, W) -> float32 as torchvision's ImageNet weights expect it, on the same device."""
    mean, std = (images.new_tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def load_imagenet(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights as a state dict, from its cache folder or downloaded there; the hash is checked.

    UserError if the file is damaged or can be neither found nor downloaded; ValueError for a name outside `NAMES`.
    """
    weights = _weights(name)
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # no network, or one of the many that torch has for damaged files
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        found = "is damaged" if path.is_file() else "could not be downloaded"
        raise UserError(
            f"The ImageNet weights {path.name} should be in {path.parent}, but the file {found} ({error}); "
            f"download it from {weights.url} and put it there."
        ) from error


def encoder(name: str, *, pretrained: bool = True) -> nn.Module:
    """torchvision's whole classification network, with ImageNet or random weights."""
    _weights(name)
    network = torchvision.models.get_model(name, weights=None)
    if pretrained:
        network.load_state_dict(load_imagenet(name))
    return network


def unet(name: str, classes: int, *, pretrained: bool = True, **options: Any) -> smp.Unet:
    """SMP's U-Net with ImageNet or random weights in its encoder; `options` go to `smp.Unet`.

    (N, 3, H, W) from `normalised`, sides multiples of 32 -> scores (N, classes, H, W).
    """
    _weights(name)
    network = smp.Unet(name, encoder_weights=None, classes=classes, **options)
    if pretrained:
        load_into_smp(network.encoder, name)
    return network


def load_into_smp(smp_encoder: nn.Module, name: str) -> None:
    """Load ImageNet weights into an SMP encoder of that name, in place.

    SMP's own `encoder_weights="imagenet"` downloads from another hub and does not use torchvision's cache folder.
    """
    smp_encoder.load_state_dict(load_imagenet(name))


def _weights(name: str) -> WeightsEnum:
    if name not in NAMES:
        raise ValueError(f"pretrained encoders are {', '.join(NAMES)}, found {name!r}")
    return torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
