"""The grid transformer of yin2020 and its inverse: crop parts out of an image, and put them back.

θ (N, P, 2, 3) maps pixels of a patch to positions in the image, both in units in which the centre of the first pixel is
−1 and that of the last is 1. Crops are exact where the pixels of a patch fall on pixels of the image: at odd patch
sizes with whole-numbered centres. Positions are computed in float64, since half a unit in the last place of a float32 θ
is a hundred-thousandth of a pixel in a frame of 1024.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

FREE = ((1, 0, 1), (0, 1, 1))  # the entries of θ that may differ from zero, Eq. 15
ROUNDING = 1e-4  # pixels: above the rounding error of float32 θ in a frame of 4096, too small to see
FAR = -1e6  # pixels: outside every image
OUTSIDE = 3.0  # in θ's units, where an image reaches from −1 to 1


def constrain(theta: Tensor, *, isotropic: bool = False) -> Tensor:
    """θ (…, 2, 3) without rotation and shear: Eq. 15.

    Four entries stay free, as in the authors' code. With `isotropic`, as the paper says, three do: both scales become
    their mean.
    """
    free = torch.tensor(FREE, dtype=theta.dtype, device=theta.device)
    if not isotropic:
        return theta * free
    scale = (theta[..., 0, 0] + theta[..., 1, 1]) / 2
    diagonal = torch.eye(2, 3, dtype=theta.dtype, device=theta.device)
    return theta * (free - diagonal) + scale[..., None, None] * diagonal


def theta_of_centres(centres: Tensor, *, frame: tuple[int, int], patch: int | Sequence[int]) -> Tensor:
    """θ (N, P, 2, 3) of crops that keep the scale, Eq. 21.

    centres: float (N, P, 2), pixels (x, y); NaN gives a θ of NaN. frame: (height, width). patch: side of the crop, or
    one for each of the P parts.
    """
    last = torch.tensor([frame[1] - 1, frame[0] - 1], dtype=torch.float64, device=centres.device)
    side = torch.as_tensor(patch, dtype=torch.float64, device=centres.device).expand(centres.shape[1])
    translation = 2 * centres.double() / last - 1
    scale = (side[:, None] - 1) / last + 0 * translation
    return torch.cat([torch.diag_embed(scale), translation[..., None]], dim=-1).to(centres.dtype)


def centres_of_theta(theta: Tensor, *, frame: tuple[int, int]) -> Tensor:
    """Centres of the crops, pixels (x, y), float64 (N, P, 2): the inverse of `theta_of_centres`."""
    last = torch.tensor([frame[1] - 1, frame[0] - 1], dtype=torch.float64, device=theta.device)
    return _onto_pixels((theta[..., 2].double() + 1) / 2 * last)


def crop(image: Tensor, theta: Tensor, *, patch: int, mode: str = "bilinear") -> Tensor:
    """Grid transformer, Eq. 3 and 14: the parts of `image` (N, C, H, W) at θ, (N, P, C, patch, patch).

    mode: "bilinear" for images, "nearest" for labels (of two pixels equally near, the left and the upper one). Zeros
    outside the image, and throughout where θ is not finite. Differentiable in `image` and, if bilinear, in θ.
    """
    parts = theta.shape[1]
    grid = _grid(theta, size=(patch, patch), source=image.shape[-2:], mode=mode, half=-1)
    # the parts' grids stacked vertically: all sample the same image
    grid = grid.flatten(1, 2)  # (N, P, h, w, 2) -> (N, P h, w, 2)
    sampled = F.grid_sample(image.double(), grid, mode=mode, padding_mode="zeros", align_corners=True)
    return sampled.unflatten(2, (parts, patch)).transpose(1, 2).to(image.dtype)  # (N, C, P, h, w) -> (N, P, C, h, w)


def place(patches: Tensor, theta: Tensor, *, frame: tuple[int, int], mode: str = "nearest") -> Tensor:
    """Inverse grid transformer, Eq. 5: `patches` (N, P, C, h, w) at their places in the frame, (N, P, C, H, W).

    Zeros outside a patch, and throughout where θ is not finite or has no inverse. What `crop` takes with the same θ
    returns to its original position.
    """
    batch, parts = theta.shape[:2]
    bottom = torch.tensor([[[[0.0, 0.0, 1.0]]]], dtype=torch.float64, device=theta.device)
    square = torch.cat([theta.double(), bottom.expand(batch, parts, 1, 3)], dim=2)
    inverse = torch.linalg.inv_ex(square).inverse[:, :, :2]
    grid = _grid(inverse, size=frame, source=patches.shape[-2:], mode=mode, half=1)
    placed = F.grid_sample(
        patches.double().flatten(0, 1), grid.flatten(0, 1), mode=mode, padding_mode="zeros", align_corners=True
    )
    return placed.unflatten(0, (batch, parts)).to(patches.dtype)


def roi_align(image: Tensor, theta: Tensor, *, patch: int) -> Tensor:
    """RoI-Align in place of the grid transformer: one sample per bin, boxes of patch × patch pixels around θ's centres.

    Shapes as in `crop`. The scales of θ are not used, and no gradient reaches θ. The first pixel outside the image
    repeats the border's.
    """
    batch, parts = theta.shape[:2]
    first = centres_of_theta(theta.detach(), frame=image.shape[-2:]) - (patch - 1) / 2
    number = torch.arange(batch, device=theta.device).repeat_interleave(parts)[:, None]
    corners = first.flatten(0, 1).nan_to_num(nan=FAR)  # torchvision's kernel does not check for NaN
    boxes = torch.cat([number, corners, corners + patch], dim=1).to(image.dtype)
    patches = torchvision.ops.roi_align(image, boxes, output_size=patch, sampling_ratio=1, aligned=True)
    return patches.unflatten(0, (batch, parts))


def _grid(theta: Tensor, *, size: Sequence[int], source: Sequence[int], mode: str, half: float) -> Tensor:
    """Where the pixels of an image of `size` lie in one of size `source`: float64 (N, P, h, w, 2) for grid_sample.

    half: −1 or 1, the direction in which "nearest" rounds positions half-way between two pixels.
    """
    batch, parts = theta.shape[:2]
    theta = theta.double()  # which mixed precision leaves alone too
    last = torch.tensor([source[1] - 1, source[0] - 1], dtype=torch.float64, device=theta.device)
    nothing = torch.tensor([[0, 0, OUTSIDE], [0, 0, OUTSIDE]], dtype=torch.float64, device=theta.device)
    theta = torch.where(theta.isfinite().flatten(2).all(2)[..., None, None], theta, nothing)
    if mode == "nearest":
        shift = half * ROUNDING * 2 / last
        theta = torch.cat([theta[..., :2], theta[..., 2:] + shift[:, None]], dim=-1)
    grid = F.affine_grid(theta.flatten(0, 1), [batch * parts, 1, *size], align_corners=True)
    if mode == "bilinear":
        grid = 2 * _onto_pixels((grid + 1) / 2 * last) / last - 1
    return grid.unflatten(0, (batch, parts))


def _onto_pixels(places: Tensor) -> Tensor:
    """Move positions within a rounding error of a pixel onto it; the gradient passes unchanged."""
    error = places.detach().round() - places.detach()
    return places + torch.where(error.abs() < ROUNDING, error, 0)
