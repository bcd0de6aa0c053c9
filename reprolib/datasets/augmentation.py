"""Augmentation of mouth images during training: yang2023 Sec. IV-A3.

The paper names jitter, mirroring, noise, and resizing with cropping, and gives no strengths: the defaults are ours.
All take and return a batch with "images" float32 (N, 3, H, W) in [−1, 1] and "labels" int64 (N, H, W). Each image is
changed independently. All randomness comes from the CPU `generator`, whatever the batch's device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Batch = Mapping[str, Tensor]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
BLACK, BACKGROUND = -1.0, 0


def augment(batch: Batch, generator: Generator) -> dict[str, Tensor]:
    """The paper's four changes in its order; for the argument `augment` of `training.train`."""
    return resize_and_crop(add_noise(mirror(jitter(batch, generator), generator), generator), generator)


def jitter(
    batch: Batch,
    generator: Generator,
    *,
    brightness: float = 0.3,
    contrast: float = 0.3,
    saturation: float = 0.3,
    hue: float = 0.05,
) -> dict[str, Tensor]:
    """Brightness, contrast and saturation scaled within 1 ± the argument, hue rotated within ± `hue` of a circle.

    The arguments mean the same as in torchvision's `ColorJitter`.
    """
    images = (batch["images"] + 1) / 2
    b, c, s, h = _draw(4, images, generator) * 2 - 1  # each (N, 1, 1, 1)
    images = images * (1 + brightness * b)
    middle = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = middle + (1 + contrast * c) * (images - middle)
    grey = _grey(images)
    images = grey + (1 + saturation * s) * (_turn_hue(images, 2 * math.pi * hue * h) - grey)
    return {**batch, "images": images.clamp(0, 1) * 2 - 1}


def mirror(batch: Batch, generator: Generator, *, probability: float = 0.5) -> dict[str, Tensor]:
    """Each image and its labels flipped left to right with `probability`."""
    chosen = _draw(1, batch["images"], generator)[0] < probability  # (N, 1, 1, 1)
    images = torch.where(chosen, batch["images"].flip(-1), batch["images"])
    return {**batch, "images": images, "labels": torch.where(chosen[:, 0], batch["labels"].flip(-1), batch["labels"])}


def add_noise(batch: Batch, generator: Generator, *, probability: float = 0.5, most: float = 0.08) -> dict[str, Tensor]:
    """Gaussian noise, independent in every pixel and channel, added to each image with `probability`.

    Its standard deviation is at most `most` of the range from black to white.
    """
    images = batch["images"]
    chosen, strength = _draw(2, images, generator)
    noise = noise_like(images, generator)
    noisy = (images + 2 * most * strength * noise).clamp(-1, 1)
    return {**batch, "images": torch.where(chosen < probability, noisy, images)}


def noise_like(images: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise in the shape and dtype of `images`, drawn on their device; seeded by the CPU `generator`.

    A batch of noise drawn on the CPU would cost a GPU more than the rest of the augmentation.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    there = Generator(images.device).manual_seed(seed)
    return torch.randn(images.shape, generator=there, device=images.device, dtype=images.dtype)


def resize_and_crop(
    batch: Batch, generator: Generator, *, smallest: float = 0.75, largest: float = 1.5
) -> dict[str, Tensor]:
    """Each image scaled by a factor from `smallest` to `largest`, then cropped at random to its old size.

    Around an image that got smaller, pixels are black and labels background: the paper pads with zeros.
    """
    images, labels = batch["images"], batch["labels"]
    scale, x, y = _draw(3, images, generator)[..., 0, 0]  # each (N, 1)
    scale = smallest * (largest / smallest) ** scale
    # affine_grid maps the output to the input, both from −1 to 1; the crop stays inside, or the image in the frame
    room = (1 - 1 / scale).abs()
    zero = torch.zeros_like(scale)
    matrix = torch.cat([1 / scale, zero, (2 * x - 1) * room, zero, 1 / scale, (2 * y - 1) * room], dim=1)
    grid = F.affine_grid(matrix.view(-1, 2, 3), list(images.shape), align_corners=False)
    # grid_sample pads with 0: shifted so that 0 is black, or background
    images = F.grid_sample(images - BLACK, grid, align_corners=False) + BLACK
    labels = F.grid_sample((labels[:, None] - BACKGROUND).float(), grid, mode="nearest", align_corners=False)
    return {**batch, "images": images, "labels": labels[:, 0].long() + BACKGROUND}


def _draw(numbers: int, images: Tensor, generator: Generator) -> Tensor:
    """Uniform in [0, 1): (numbers, N, 1, 1, 1), on the images' device."""
    return torch.rand(numbers, len(images), 1, 1, 1, generator=generator).to(images)


def _grey(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W)"""
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """(N, 3, H, W), rotated around the grey axis by `angle` (N, 1, 1, 1) in radians, at the same luma."""
    cos, sin = angle.cos(), angle.sin()
    around = (images.roll(2, 1) - images.roll(1, 1)) / math.sqrt(3)  # Rodrigues: the axis (1, 1, 1)/√3 × colour
    turned = cos * images + sin * around + (1 - cos) * images.mean(dim=1, keepdim=True)
    return turned + _grey(images) - _grey(turned)
