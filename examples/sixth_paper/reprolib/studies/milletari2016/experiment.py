"""What one trial of milletari2016 does: faces → network → training → score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics, report
from reprolib.losses.dice import dice_loss
from reprolib.measuring import Workload
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.planning import Work
from reprolib.studies.milletari2016.config import Config
from reprolib.studies.milletari2016.data import mouths
from reprolib.studies.milletari2016.rows import dice
from reprolib.training import Batch, Fitted, Schedule, make_fabric, predict, train
from reprolib.trial import Context, Outcome

SHOWN = 4  # test faces whose masks are kept for Figure 6
Predictor = Callable[[np.ndarray], np.ndarray]  # images uint8 (N, H, W, 3) -> masks uint8 (N, H, W)


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's network, or find the row's fixed mask, and score it once on the test faces."""
    predictor, fitted = _trained(config, seed, context) if config.training else (_fixed_mask(config), None)
    images, labels = mouths(config, "test")
    masks = predictor(images)
    confusion = metrics.confusion(masks, labels, 2)
    found = {"dice": float(dice(confusion.sum(0))), "validation": _validation(predictor, config)}
    arrays = {"confusion": confusion, "images": images[:SHOWN], "labels": labels[:SHOWN], "masks": masks[:SHOWN]}
    outcome = Outcome(found, arrays=arrays, units={"face": len(images)})
    if fitted:
        outcome.curves, outcome.stopped = fitted.curves, asdict(fitted.stopped)
    return outcome


def weighted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in which each class of the batch weighs the same (Sec. 3, "sample re-weighting"); a scalar.

    logits: float (N, 2, H, W). labels: int64 (N, H, W).
    """
    counts = torch.bincount(labels.flatten(), minlength=2)
    return F.cross_entropy(logits, labels, weight=labels.numel() / (2 * counts.clamp(min=1)))


LOSSES = {"dice": dice_loss, "weighted_cross_entropy": weighted_cross_entropy}


def _trained(config: Config, seed: int, context: Context) -> tuple[Predictor, Fitted]:
    network, (images, labels), t = build(config), mouths(config, "train"), config.training

    def predictor(images: np.ndarray) -> np.ndarray:
        return predict(network, _channels_first(images), prepare=prepare)

    fitted = train(
        network, {"images": _channels_first(images), "labels": torch.from_numpy(labels)}, _loss(config.loss),
        schedule=Schedule.flat(t.epochs, t.batch_size, t.lr, patience=t.patience), fabric=make_fabric(context.device),
        seed=seed, prepare=prepare, validate=lambda _: _validation(predictor, config),
    )  # fmt: skip
    return predictor, fitted


def _fixed_mask(config: Config) -> Predictor:
    """The best prediction without a look: of the masks "mouth in more than this share of the faces", the best one."""
    labels = mouths(config, "train")[1]

    def score(mask: np.ndarray) -> float:
        return float(dice(metrics.confusion(np.broadcast_to(mask, labels.shape), labels, 2).sum(0)))

    best = max((labels.mean(0) > share for share in np.linspace(0.05, 0.5, 10)), key=score)
    return lambda images: np.broadcast_to(best.astype(np.uint8), images.shape[:3])


def _validation(predictor: Predictor, config: Config) -> float:
    images, labels = mouths(config, "validation")
    return float(dice(metrics.confusion(predictor(images), labels, 2).sum(0)))


def _loss(name: str) -> Callable[[Tensor, Batch], Tensor]:
    return lambda logits, batch: LOSSES[name](logits, batch["labels"])


def build(config: Config) -> nn.Module:
    """The network of both rows, before training; V-Net itself is for volumes."""
    return EncoderDecoder(classes=2, width=config.width)


def prepare(batch: Batch) -> dict[str, Tensor]:
    """uint8 images and labels of a batch as the network and its loss take them: [−1, 1] and int64."""
    labels = {"labels": batch["labels"].long()} if "labels" in batch else {}
    return {"images": batch["images"].float().div(127.5).sub(1), **labels}


def _channels_first(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


# --- for `plan` and `fidelity` -----------------------------------------------------------------------


def network_of(work: Work) -> nn.Module:
    """The network of a training."""
    return build(work.config)


def workload(work: Work, *, images: int) -> Workload:
    """What `plan --measure` times: so many images of noise with the training's loss."""
    size = work.config.size
    noise = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8)
    labels = (noise[:, 0] > 250).to(torch.uint8)
    return Workload(network_of(work), {"images": noise, "labels": labels}, _loss(work.loss), prepare, None)


def facts() -> list[report.Fact]:
    """Receptive fields of V-Net's five left stages: 5³ convolutions, and between stages 2³ ones with stride 2."""
    found, field, step = [], 1, 1
    for stage, (convolutions, printed) in enumerate([(1, "5"), (2, "22"), (3, "72"), (3, "172"), (3, "372")], start=1):
        field += 4 * step * convolutions
        found.append(report.fact("milletari2016", f"receptive field of L-Stage {stage} (Table 1)", printed, field))
        field, step = field + step, 2 * step
    return found
