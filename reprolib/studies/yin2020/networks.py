"""The networks behind the rows of yin2020's tables."""

from __future__ import annotations

from collections.abc import Mapping

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.datasets.parsing_faces import CLASSES
from reprolib.models import quarter_width  # noqa: F401, its encoder "resnet34/4"
from reprolib.models.fcn8s import FCN8s
from reprolib.models.icnn import ICNN, OriginalICNN
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.stn_icnn import STNICNN
from reprolib.studies.yin2020.data import shrunk


def icnn(p: Mapping, labels: int) -> nn.Module:
    """An untrained network of one stage; Zhou et al.'s has the paper's channels in every profile or a part of them."""
    kind = OriginalICNN if p["network"] == "OriginalICNN" else ICNN
    return kind(labels, channels=tuple(p["channels"]))


def localiser(p: Mapping, *, mean: Tensor) -> nn.Module:
    """An untrained localisation network that starts at θ `mean` (6, 2, 3)."""
    kind = LightLocalisation if p["localiser"] == "light" else LocalisationNetwork
    return kind(mean=mean, isotropic=p["isotropic"])


def assembled(p: Mapping, *, coarse: nn.Module, localiser: nn.Module | None, fine: Mapping[str, nn.Module]) -> STNICNN:
    """The two-stage parser from its networks; at the true places, too, its second stage crops as the STN does."""
    learnt = "roi_align" if p["cropper"] == "roi_align" else "stn"
    return STNICNN(
        coarse=coarse, localiser=localiser, fine=dict(fine.items()), patch=p["patch"], mouth_patch=p["mouth_patch"],
        cropper="baseline" if localiser is None else learnt,
    )  # fmt: skip


def arguments(p: Mapping) -> dict:
    """The arguments of `checkpoint.build` for the parser of a row, as a checkpoint keeps them."""
    return {
        "cropper": p["cropper"],
        "patch": p["patch"], "mouth_patch": p["mouth_patch"], "channels": list(p["channels"]),
        "light": p["localiser"] == "light", "isotropic": p["isotropic"],
    }  # fmt: skip


class WholeFace(nn.Module):
    """A network that labels the frame at once: shrunk to `side`, its logits enlarged to the frame.

    full: float32 (N, 3, H, W) in [0, 1] → logits float32 (N, 9, H, W).
    """

    def __init__(self, network: nn.Module, *, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, full: Tensor) -> Tensor:
        logits = self.network(shrunk(full, self.side))
        return F.interpolate(logits, full.shape[-2:], mode="bilinear", align_corners=False)


def whole_face(p: Mapping) -> WholeFace:
    """The row's global network, untrained."""
    if p["network"] == "FCN8s":
        network = FCN8s(classes=len(CLASSES), width=p["fcn_width"], fc_channels=p["fcn_channels"])
    else:
        channels = tuple(p["unet_channels"])
        network = smp.Unet(p["unet_encoder"], encoder_weights=None, decoder_channels=channels, classes=len(CLASSES))
    return WholeFace(network, side=p["global_side"])
