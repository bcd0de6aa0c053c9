"""The cropper of the original two-stage method: a crop around the centroid of each part in the rough mask.

It is not differentiable. For a part that the rough mask lacks, the crop is near the middle of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.models.spatial_transformer import ROUNDING, theta_of_centres

MOUTH = slice(6, 9)  # upper lip, inner mouth, lower lip
FAINT = 1e-10  # weight added to every pixel, so that an empty plane has a centroid


@torch.no_grad()
def theta_of_probabilities(probabilities: Tensor, *, frame: tuple[int, int], patch: int | Sequence[int]) -> Tensor:
    """θ float32 (N, 6, 2, 3) around probability-weighted centroids, as in the authors' test of the baseline.

    probabilities: float32 (N, 9, h, w) of the whole frame. frame: (height, width), pixels. patch: side of the crops, or
    one per part. Probabilities are truncated to 8 bits and scaled to the frame by nearest neighbour. The mouth's
    centroid is the mean of three; all centroids are rounded down.
    """
    return _theta((probabilities * 255).floor() / 255, frame=frame, patch=patch)


@torch.no_grad()
def theta_of_hard_labels(probabilities: Tensor, *, frame: tuple[int, int], patch: int | Sequence[int]) -> Tensor:
    """As `theta_of_probabilities`, from the most probable class of every pixel, as in the authors' earlier cropper."""
    planes = F.one_hot(probabilities.argmax(1), probabilities.shape[1]).movedim(-1, 1)
    return _theta(planes, frame=frame, patch=patch)


def _theta(planes: Tensor, *, frame: tuple[int, int], patch: int | Sequence[int]) -> Tensor:
    centroids = _centroids(planes[:, 1:].double(), frame)  # (N, 8, 2)
    mouth = centroids[:, MOUTH.start - 1 : MOUTH.stop - 1].mean(dim=1, keepdim=True)
    # a centroid on a pixel comes out a little below it, since every pixel has some weight
    centres = (torch.cat([centroids[:, : MOUTH.start - 1], mouth], dim=1) + ROUNDING).floor()
    return theta_of_centres(centres.float(), frame=frame, patch=patch)


def _centroids(planes: Tensor, frame: tuple[int, int]) -> Tensor:
    """Centroids (x, y) of planes (N, C, h, w) as if scaled to the frame by nearest neighbour, without scaling them."""
    (count_y, sum_y), (count_x, sum_x) = (
        _of_nearest(small, large, planes.device) for small, large in zip(planes.shape[-2:], frame, strict=True)
    )
    weights = planes + FAINT
    mass = torch.einsum("nchw,h,w->nc", weights, count_y, count_x)
    x = torch.einsum("nchw,h,w->nc", weights, count_y, sum_x)
    y = torch.einsum("nchw,h,w->nc", weights, sum_y, count_x)
    return torch.stack([x, y], dim=-1) / mass[..., None]


def _of_nearest(small: int, large: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of `small` pixels: how many of `large` pixels take its value, and the sum of their positions."""
    places = torch.arange(large)
    source = places * small // large
    count = torch.bincount(source, minlength=small)
    total = torch.bincount(source, weights=places.double(), minlength=small)
    return count.double().to(device), total.to(device)
