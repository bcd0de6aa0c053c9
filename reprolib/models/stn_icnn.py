"""STN-iCNN: rough labels of the whole face, six crops around its parts, fine labels of each, reassembled into one face.

Parts in order: brow 1, brow 2, eye 1, eye 2, nose, mouth. Classes: background, brow 1, brow 2, eye 1, eye 2, nose,
upper lip, inner mouth, lower lip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from reprolib.models import cropper as baseline
from reprolib.models.spatial_transformer import centres_of_theta, crop, place, roi_align, theta_of_centres

SINGLE = 5  # parts of one class: brows, eyes, nose
Outputs = dict[str, Tensor]


class FineStage(nn.ModuleDict):
    """The second stage: crops at θ and the four networks that label them, Eq. 3 and 4.

    networks: "brow", "eye", "nose" (2 labels) and "mouth" (4 labels), each float32 (N, 3, h, w) → logits.
    full: float32 (N, 3, H, W); theta: (N, 6, 2, 3) → "theta" as it was used, "parts" logits (N, 5, 2, patch, patch) and
    "mouth" logits (N, 4, mouth_patch, mouth_patch). Brow 2 and eye 2 are mirrored for their networks, and their logits
    are mirrored back. `aligned`: crops by RoI-Align, of fixed size.
    """

    def __init__(self, networks: Mapping[str, nn.Module], *, patch: int, mouth_patch: int, aligned: bool) -> None:
        super().__init__({kind: networks[kind] for kind in ("brow", "eye", "nose", "mouth")})
        self.patch, self.mouth_patch, self.aligned = patch, mouth_patch, aligned

    def forward(self, full: Tensor, theta: Tensor) -> Outputs:
        sample = roi_align if self.aligned else crop
        if self.aligned:
            sides = (self.patch,) * SINGLE + (self.mouth_patch,)
            frame = full.shape[-2:]
            centres = centres_of_theta(theta.detach(), frame=frame)
            theta = theta_of_centres(centres, frame=frame, patch=sides).to(full.dtype)
        # six crops of the full-size image, Eq. 3
        singles = sample(full, theta[:, :SINGLE], patch=self.patch)
        mouth = sample(full, theta[:, SINGLE:], patch=self.mouth_patch)[:, 0]
        # fine labels, Eq. 4
        brows = _labelled_pair(self["brow"], singles[:, 0], singles[:, 1])
        eyes = _labelled_pair(self["eye"], singles[:, 2], singles[:, 3])
        parts = torch.stack([*brows, *eyes, self["nose"](singles[:, 4])], dim=1)
        return {"theta": theta, "parts": parts, "mouth": self["mouth"](mouth)}


def _labelled_pair(network: nn.Module, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of a part and of its mirror image on the other side of the face, by one network."""
    logits_one, logits_two = network(torch.cat([one, two.flip(-1)])).chunk(2)
    return logits_one, logits_two.flip(-1)


class STNICNN(nn.Module):
    """The two-stage face parser, from pixels to labels.

    coarse: (N, 3, s, s) → logits (N, 9, s, s). localiser: softmax of those → θ (N, 6, 2, 3); the baseline has none.
    fine: the networks "brow", "eye", "nose" and "mouth" (see `FineStage`).
    patch: side of the crops, pixels, also of the mouth's unless `mouth_patch` is given. Crops are exact at odd sides.
    cropper: "stn" is the grid transformer at the localiser's θ; through it the part loss trains the first stage, too.
    "baseline" crops at centroids of the rough mask, "roi_align" by RoI-Align at the centres of the localiser's θ;
    through these no gradient reaches the first stage. ValueError for another cropper, or where its localiser is
    missing.
    Source: yin2020 Sec. 2.1, Figure 1.
    """

    def __init__(
        self,
        *,
        coarse: nn.Module,
        localiser: nn.Module | None,
        fine: Mapping[str, nn.Module],
        patch: int = 81,  # Sec. 3.3, HELEN
        mouth_patch: int | None = None,
        cropper: Literal["stn", "baseline", "roi_align"] = "stn",
    ) -> None:
        super().__init__()
        if cropper not in ("stn", "baseline", "roi_align"):
            raise ValueError(f"cropper must be 'stn', 'baseline' or 'roi_align', not {cropper!r}")
        if localiser is None and cropper != "baseline":
            raise ValueError(f"cropper {cropper!r} needs a localiser")
        self.cropper = cropper
        self.coarse = coarse
        self.localiser = None if cropper == "baseline" else localiser
        mouth_patch = patch if mouth_patch is None else mouth_patch
        self.fine = FineStage(fine, patch=patch, mouth_patch=mouth_patch, aligned=cropper == "roi_align")

    def forward(self, small: Tensor, full: Tensor) -> Outputs:
        """Logits of both stages and θ.

        small: float32 (N, 3, s, s), the frame scaled down; full: float32 (N, 3, H, W), the frame itself.
        Returns "coarse" (N, 9, s, s) beside what `FineStage` gives: "theta", "parts", "mouth".
        """
        # rough labels of the whole face, Eq. 1
        coarse = self.coarse(small)
        # where its parts are, Eq. 2
        theta = self.locate(coarse.softmax(1), frame=tuple(full.shape[-2:]))
        # fine labels of each part, Eq. 3 and 4
        return {"coarse": coarse, **self.fine(full, theta)}

    def locate(self, probabilities: Tensor, *, frame: tuple[int, int]) -> Tensor:
        """θ (N, 6, 2, 3) of a rough mask (N, 9, s, s), Eq. 2."""
        if self.localiser is None:
            sides = (self.fine.patch,) * SINGLE + (self.fine.mouth_patch,)
            return baseline.theta_of_probabilities(probabilities, frame=frame, patch=sides)
        return self.localiser(probabilities)

    @torch.no_grad()
    def parse(self, small: Tensor, full: Tensor) -> Tensor:
        """Labels of the whole frame, uint8 (N, H, W), in evaluation mode; arguments as in `forward`."""
        was_training = self.training
        self.eval()
        labels = labels_of(self(small, full), frame=tuple(full.shape[-2:]))
        self.train(was_training)
        return labels


def assemble(outputs: Outputs, *, frame: tuple[int, int]) -> Tensor:
    """Scores (N, 9, H, W) of the whole frame: the parts' probabilities put back to their places, Eq. 5.

    outputs: "theta", "parts" and "mouth" as of `FineStage`. The background's score is the product, over the six parts,
    of the probability that a pixel is not of that part; outside a part's crop that is 1.
    """
    theta = outputs["theta"]
    singles = outputs["parts"].float().softmax(2)[:, :, 1:]  # (N, 5, 1, h, w)
    mouth = outputs["mouth"].float().softmax(1)[:, None, 1:]  # (N, 1, 3, h, w)
    singles = place(singles, theta[:, :SINGLE], frame=frame)[:, :, 0]  # (N, 5, H, W)
    mouth = place(mouth, theta[:, SINGLE:], frame=frame)[:, 0]  # (N, 3, H, W)
    background = (1 - singles).prod(1, keepdim=True) * (1 - mouth.sum(1, keepdim=True))
    return torch.cat([background, singles, mouth], dim=1)


def labels_of(outputs: Outputs, *, frame: tuple[int, int]) -> Tensor:
    """Labels uint8 (N, H, W) of the whole frame, Eq. 6; also of `FineStage` at any θ, such as the true one."""
    return assemble(outputs, frame=frame).argmax(1).to(torch.uint8)
