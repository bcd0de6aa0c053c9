"""The lip segmentation network of Yang et al. 2023, Sec. III-A, Fig. 2."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from reprolib.models.encoders import build_encoder
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.models.fuzzy_learning import FuzzyLearningModule, Sampling

STRIDE = 32


class Heads(NamedTuple):
    """Logits at the size of the image.

    logits (N, classes, H, W), edge_logits (N, 1, H, W), auxiliary_logits (N, classes, H, W).
    """

    logits: Tensor
    edge_logits: Tensor
    auxiliary_logits: Tensor


class LipNetwork(nn.Module):
    """Encoder, fuzzy learning and fuzzy graph reasoning on three scales, decoder, three heads.

    Input float32 (N, 3, H, W), sides divisible by 32 (ValueError for others); output `Heads`.
    The rows of Table II: `flm` "none", "rules" (without reconstruction) or "reconstruction"; `fgr` "none",
    "linear" (learned 1×1 projection) or "fuzzy". `kernels`, `nodes`, `temperature`, `sampling`, `shared_gcn` and
    `normalised` are passed to the modules; the first two have one value per scale, finest first.
    Source: Yang et al. 2023, Sec. III.
    """

    def __init__(
        self,
        *,
        classes: int = 5,  # background, lip, teeth, tongue, inner cavity
        encoder: str = "resnet34",
        flm: Literal["none", "rules", "reconstruction"] = "reconstruction",
        fgr: Literal["none", "linear", "fuzzy"] = "fuzzy",
        kernels: tuple[int, int, int] = (16, 32, 64),  # Table I
        nodes: tuple[int, int, int] = (16, 32, 64),  # Table I
        temperature: float = 0.05,  # Sec. III-B, Eq. 4–5
        sampling: Sampling = "pixel",
        shared_gcn: bool = False,
        normalised: bool = False,
    ):
        super().__init__()
        self.encoder = build_encoder(encoder)
        *enhanced, _ = self.encoder.channels
        self.fuzzy_learning = nn.ModuleList(
            FuzzyLearningModule(
                c,
                kernels=k,
                temperature=temperature,
                sampling=sampling,
                reconstruct=flm == "reconstruction",
                normalised=normalised,
            )
            for c, k in zip(enhanced, kernels, strict=True)
            if flm != "none"
        )
        self.graph_reasoning = nn.ModuleList(
            FuzzyGraphReasoning(c, nodes=n, fuzzy=fgr == "fuzzy", shared=shared_gcn, normalised=normalised)
            for c, n in zip(enhanced, nodes, strict=True)
            if fgr != "none"
        )
        copies = 1 + (flm != "none") + (fgr != "none")
        self.fusion = nn.ModuleList(SqueezeExcitationFusion(copies * c, c) for c in enhanced)
        self.decoder = Decoder(self.encoder.channels)
        self.heads = PredictionHeads(self.encoder.channels, classes=classes)

    def forward(self, images: Tensor) -> Heads:
        check_sides(images)
        # features at strides 4, 8, 16, 32
        *scales, deepest = encoded = self.encoder(images)
        # feature enhancement: SE fusion of x, FLM(x) and FGR(x) at each of the first three
        skips = []
        for i, x in enumerate(scales):
            enhanced = [x, *(module[i](x) for module in (self.fuzzy_learning, self.graph_reasoning) if module)]
            skips.append(self.fusion[i](torch.cat(enhanced, dim=1)))
        # decoder: up to stride 4
        decoded = self.decoder([*skips, deepest])
        # segmentation, edge and auxiliary head
        return self.heads(decoded, encoded, images.shape[-2:])


class SqueezeExcitationFusion(nn.Module):
    """Weigh concatenated channels by squeeze and excitation, then bring them to `outputs` channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weigh = SqueezeExcitation(inputs, max(1, inputs // 16))
        self.merge = conv_norm_relu(inputs, outputs, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.merge(self.weigh(features))


class Decoder(nn.Module):
    """From the deepest scale up: widen, pixel shuffle ×2, add the finer scale, merge; ends at stride 4."""

    def __init__(self, channels: tuple[int, int, int, int]):
        super().__init__()
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (coarse, fine)
        self.widen = nn.ModuleList(conv_norm_relu(coarse, 4 * fine, kernel=3) for coarse, fine in pairs)
        self.merge = nn.ModuleList(conv_norm_relu(fine, fine, kernel=1) for _, fine in pairs)

    def forward(self, scales: list[Tensor]) -> Tensor:
        """Four maps, finest first -> (N, channels[0], H/4, W/4)."""
        *finer, x = scales
        for widen, merge, skip in zip(self.widen, self.merge, reversed(finer), strict=True):
            x = merge(F.pixel_shuffle(widen(x), 2) + skip)
        return x


class PredictionHeads(nn.Module):
    """Segmentation and edges from the decoder's features, auxiliary segmentation from all encoder features."""

    def __init__(self, channels: tuple[int, int, int, int], *, classes: int, decoded: int | None = None):
        super().__init__()
        decoded = channels[0] if decoded is None else decoded
        self.segmentation = nn.Conv2d(decoded, classes, 1)
        self.edge = nn.Conv2d(decoded, 1, 1)
        self.auxiliary = nn.Conv2d(sum(channels), classes, 1)

    def forward(self, decoded: Tensor, encoded: list[Tensor], size: tuple[int, int]) -> Heads:
        auxiliary = self._auxiliary_first if self.training else self._auxiliary_last
        return Heads(
            upsampled(self.segmentation(decoded), size),
            upsampled(self.edge(decoded), size),
            auxiliary(encoded, size),
        )

    def _auxiliary_last(self, encoded: list[Tensor], size: tuple[int, int]) -> Tensor:
        """As in Fig. 2, and as thop counts it: 960 channels at full size, then the 1×1 convolution."""
        return self.auxiliary(torch.cat([upsampled(x, size) for x in encoded], dim=1))

    def _auxiliary_first(self, encoded: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The same logits, faster: a 1×1 convolution and a bilinear up-sampling can change places."""
        weights = self.auxiliary.weight.split([x.shape[1] for x in encoded], dim=1)
        parts = [upsampled(F.conv2d(x, weight), size) for x, weight in zip(encoded, weights, strict=True)]
        return sum(parts) + self.auxiliary.bias[:, None, None]


def check_sides(images: Tensor) -> None:
    """ValueError unless both sides of the images are divisible by 32."""
    height, width = images.shape[-2:]
    if height % STRIDE or width % STRIDE:
        raise ValueError(f"Sides must be divisible by {STRIDE}, found {height}×{width}: resize or pad the images.")


def conv_norm_relu(inputs: int, outputs: int, *, kernel: int) -> nn.Sequential:
    """Size-preserving convolution, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU())


def upsampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear with aligned corners."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)
