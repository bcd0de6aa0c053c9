"""The networks of yin2020's rows, untrained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.datasets.parsing_faces import CLASSES, CROPS
from reprolib.models import pretrained
from reprolib.models.icnn import ICNN, OriginalICNN
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.spatial_transformer import theta_of_centres
from reprolib.models.stn_icnn import STNICNN, FineStage, assemble
from reprolib.planning import Work
from reprolib.studies.yin2020 import data as faces_of
from reprolib.studies.yin2020.checkpoint import FINE_LABELS
from reprolib.studies.yin2020.config import Config
from reprolib.studies.yin2020.work import needs_localiser


def patches(config: Config) -> dict[str, int]:
    """The sides of the row's crops, by the names under which they are arguments."""
    return {"patch": config.source.patch, "mouth_patch": config.source.mouth_patch}


def on_device(network: nn.Module, values: Tensor) -> Tensor:
    """The values on the network's device."""
    return values.to(next(network.parameters()).device)


def icnn(config: Config, labels: int) -> nn.Module:
    """An untrained network of one stage."""
    kind = OriginalICNN if config.network == "OriginalICNN" else ICNN
    return kind(labels, channels=config.channels)


def localiser(config: Config, *, mean: Tensor) -> nn.Module:
    """An untrained localisation network that starts at θ `mean` (6, 2, 3)."""
    kind = LightLocalisation if config.localiser == "light" else LocalisationNetwork
    return kind(mean=mean, isotropic=config.isotropic)


def fine_stage(config: Config) -> FineStage:
    """The untrained second stage."""
    networks = {kind: icnn(config, labels) for kind, labels in FINE_LABELS.items()}
    return FineStage(networks, **patches(config), aligned=False)


def assembled(config: Config, *, coarse: nn.Module, places: nn.Module | None, fine: Mapping[str, nn.Module]) -> STNICNN:
    """The two-stage parser from its networks."""
    return STNICNN(
        coarse=coarse, localiser=places, fine=dict(fine.items()), **patches(config),
        cropper="baseline" if places is None else "roi_align" if config.cropper == "roi_align" else "stn",
    )  # fmt: skip


class WholeFace(nn.Module):
    """A network that labels the frame at once: the frame shrunk to `side`, its logits enlarged again.

    full: float32 (N, 3, H, W) in [0, 1] → logits float32 (N, 9, H, W).
    """

    def __init__(self, network: nn.Module, *, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, full: Tensor) -> Tensor:
        logits = self.network(pretrained.normalised(255 * faces_of.shrunk(full, self.side)))
        return F.interpolate(logits, full.shape[-2:], mode="bilinear", align_corners=False)


class MeanMask(nn.Module):
    """A prediction that does not look at the image: labels uint8 (H, W), the same for every face."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.labels = nn.Parameter(labels.float(), requires_grad=False)

    def forward(self, full: Tensor) -> Tensor:
        """Frames (N, 3, H, W) -> scores (N, 9, H, W)."""
        scores = F.one_hot(self.labels.long(), len(CLASSES)).permute(2, 0, 1).float()
        return scores.expand(len(full), *scores.shape)


# --- for `plan` --------------------------------------------------------------------------------------


class OfFrames(nn.Module):
    """A two-stage parser, or a part of it, as a network of whole frames, for `plan` to count and time.

    In training it returns what the loss takes, else scores (N, 9, H, W).
    """

    def __init__(self, network: nn.Module, config: Config) -> None:
        super().__init__()
        self.network, self.small = network, config.small
        frame = (config.source.frame,) * 2
        middle = torch.full((1, len(CROPS), 2), float(frame[0] // 2))
        self.theta = nn.Parameter(
            theta_of_centres(middle, frame=frame, patch=faces_of.sides(**patches(config))), requires_grad=False
        )

    def forward(self, full: Tensor) -> Tensor | dict[str, Tensor]:
        if isinstance(self.network, STNICNN):
            outputs = self.network(faces_of.shrunk(full, self.small), full)
        else:
            outputs = self.network(full, self.theta.expand(len(full), -1, -1, -1))
        return outputs if self.training else assemble(outputs, frame=tuple(full.shape[-2:]))


class OfMasks(nn.Module):
    """A localisation network fed with images in place of rough masks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.repeat(1, len(CLASSES) // images.shape[1], 1, 1))


def network_of(work: Work) -> nn.Module:
    """The network of a training, with random weights."""
    config = work.config
    if work.stage == "coarse":
        return icnn(config, len(CLASSES))
    if work.stage == "whole face":
        return pretrained.unet("mobilenet_v2", len(CLASSES), pretrained=False)
    place = localiser(config, mean=torch.zeros(len(CROPS), 2, 3)) if needs_localiser(config) else None
    if work.stage == "localiser":
        return OfMasks(place)
    if work.stage == "fine":
        return OfFrames(fine_stage(config), config)
    return OfFrames(assembled(config, coarse=icnn(config, len(CLASSES)), places=place, fine=fine_stage(config)), config)
