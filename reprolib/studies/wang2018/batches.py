"""Batches of wang2018: frames as the networks take them, and the losses of clips."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.datasets.augmentation import jitter, mirror, resize_and_crop
from reprolib.datasets.clips import ClipSet
from reprolib.losses.dice import dice_loss
from reprolib.losses.iou_loss import iou_loss
from reprolib.losses.segmentation_loss import segmentation_loss
from reprolib.models.fcn_resnet50 import STRIDE, upsample_tf1
from reprolib.studies.wang2018.config import Config
from reprolib.training import Batch

LOSS_STRIDE = 4  # the losses of clips use every fourth pixel in both directions


def prepare(batch: Batch) -> dict[str, Tensor]:
    """uint8 images in [−1, 1], labels as int64, on the device of the batch."""
    made = {"images": batch["images"].float().div(127.5).sub(1)}
    return made | {"labels": batch["labels"].long()} if "labels" in batch else made


def augment(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Colours, mirroring, and sizes with crops, as in `reprolib.datasets.augmentation`; the paper gives none."""
    return resize_and_crop(mirror(jitter(batch, generator), generator), generator)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "iou": iou_loss,
    "hinge": partial(segmentation_loss, form="hinge", margin=1.0, probabilities=True, hard_counts=True),
    "hinge-scores": partial(segmentation_loss, form="hinge", margin=1.0, hard_counts=True),
    "linear": partial(segmentation_loss, probabilities=True, hard_counts=True),
    "linear-margin": partial(segmentation_loss, margin=0.1, probabilities=True, hard_counts=True),
    "linear-scores": partial(segmentation_loss, hard_counts=True),
    "dice": dice_loss,
    "lovasz": smp.losses.LovaszLoss("multiclass"),
}


def loss_of(config: Config) -> Callable[[Tensor, Batch], Tensor]:
    """The loss of clips: scores (N, T, classes, h, w) of cells or pixels, labels (N, T, H, W) at `LOSS_STRIDE`.

    At every fourth pixel, bilinear up-sampling by 16 has the values of up-sampling by 4, so that this is the loss of
    these pixels at full resolution.
    """
    loss = LOSSES[config.loss]

    def of_clips(scores: Tensor, batch: Batch) -> Tensor:
        labels = batch["labels"].flatten(0, 1)
        scores = scores.flatten(0, 1)
        cells = scores.shape[-1] * STRIDE == labels.shape[-1] * LOSS_STRIDE
        at_stride = cells_to_pixels(scores) if cells else at_loss_stride(scores)
        return loss(at_stride, labels)

    return of_clips


def cells_to_pixels(scores: Tensor) -> Tensor:
    """Scores of cells (N, K, h, w) at the pixels of `LOSS_STRIDE`."""
    return upsample_tf1(scores, STRIDE // LOSS_STRIDE)


def at_loss_stride(pixels):
    """The rows and columns of a tensor or array at `LOSS_STRIDE`."""
    return pixels[..., ::LOSS_STRIDE, ::LOSS_STRIDE]


def training_labels(train_set: ClipSet) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(at_loss_stride(train_set.labels)))


def on_device_of(model: nn.Module, value: Tensor) -> Tensor:
    return value.to(next(model.parameters()).device)


def flat(clips: np.ndarray) -> np.ndarray:
    """(N, T, …) -> (N · T, …)."""
    return np.ascontiguousarray(clips).reshape(-1, *clips.shape[2:])
