"""The one training loop, and prediction in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from reprolib import verdicts
from reprolib.errors import UserError
from reprolib.trial import Context

Batch = Mapping[str, Tensor]


class Diverged(UserError):
    """The training loss is no longer finite."""


@dataclass(frozen=True)
class RateChange:
    """Functions that change the learning rate: after each step, and after each epoch, given its validation score."""

    after_step: Callable[[], None] = lambda: None
    after_epoch: Callable[[float | None], None] = lambda score: None


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; made by `flat`, `plateau`, `cosine` or `decay`.

    `epochs` is the ceiling. With `patience` > 0 training stops when the validation score has not risen for as many
    epochs, and the network keeps the weights of its best epoch.
    `rates`: beginning of a parameter's name → multiple of `lr` (the longest match counts; 1 without a match; 0 keeps
    that part of the network as it is, its BatchNorm statistics included).
    """

    epochs: int
    batch_size: int
    lr: float
    change: Callable[[Optimizer], RateChange] = lambda optimiser: RateChange()
    optimiser: Callable[..., Optimizer] = torch.optim.Adam
    weight_decay: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    patience: int = 0
    watches_score: bool = False  # whether `change` needs the validation score

    @classmethod
    def flat(cls, epochs: int, batch_size: int, lr: float, **more: Any) -> Schedule:
        """The learning rate stays as it is."""
        return cls(epochs, batch_size, lr, **more)

    @classmethod
    def plateau(
        cls, epochs: int, batch_size: int, lr: float, *, final_lr: float, drop_after: int = 2, **more: Any
    ) -> Schedule:
        """×0.1 when the score has not risen for more than `drop_after` epochs, to `final_lr` (masi2020 Sec. 4.1)."""

        def change(optimiser: Optimizer) -> RateChange:
            floors = [group["lr"] * final_lr / lr for group in optimiser.param_groups]
            plateau = lr_scheduler.ReduceLROnPlateau(
                optimiser, mode="max", factor=0.1, patience=drop_after, min_lr=floors
            )
            return RateChange(after_epoch=plateau.step)

        return cls(epochs, batch_size, lr, change, watches_score=True, **more)

    @classmethod
    def decay(
        cls,
        epochs: int,
        batch_size: int,
        lr: float,
        factor: Callable[[int], float],
        *,
        per_step: bool = False,
        **more: Any,
    ) -> Schedule:
        """`factor(epoch)`, from epoch 0, multiplies every learning rate; with `per_step` it counts optimiser steps.

        With `per_step` the curve "lr" shows the rate of the step after each epoch.
        """

        def change(optimiser: Optimizer) -> RateChange:
            step = lr_scheduler.LambdaLR(optimiser, factor).step
            return RateChange(after_step=step) if per_step else RateChange(after_epoch=lambda score: step())

        return cls(epochs, batch_size, lr, change, **more)

    def optimiser_of(self, model: nn.Module) -> Optimizer:
        """One group of parameters per learning rate; ValueError for a name in `rates` that fits no parameter."""
        groups: dict[float, list[nn.Parameter]] = {}
        unused = set(self.rates)
        for name, parameter in model.named_parameters():
            prefix = max((p for p in self.rates if name.startswith(p)), key=len, default=None)
            unused.discard(prefix)
            rate = 1.0 if prefix is None else self.rates[prefix]
            parameter.requires_grad_(rate > 0)
            if rate > 0:
                groups.setdefault(rate, []).append(parameter)
        if unused:
            raise ValueError(f"no parameter's name begins with {', '.join(sorted(unused))}")
        groups_of_rates = [{"params": of_rate, "lr": self.lr * rate} for rate, of_rate in groups.items()]
        # one pass over the weights, five times as fast on a CPU
        more = {"fused": True} if self.optimiser in (torch.optim.Adam, torch.optim.AdamW) else {}
        return self.optimiser(groups_of_rates, lr=self.lr, weight_decay=self.weight_decay, **more)


@dataclass(frozen=True)
class Stopped:
    """Where a training ended; epochs count from 1.

    `converged`: the best epoch is further than `patience` from the ceiling, so that more epochs were not needed
    (evidence that a comparison may use). Without patience the last epoch counts as the best and nothing is known.
    """

    best_epoch: int
    epochs: int
    ceiling: int
    patience: int
    converged: bool


@dataclass(frozen=True)
class Fitted:
    """What a training leaves beside the weights: one value per epoch of each curve, and where it ended."""

    curves: dict[str, list[float]]
    stopped: Stopped


def warmup_rate(step: int, *, width: int, factor: float, warmup: int) -> float:
    """Learning rate of a transformer of `width` channels in optimiser step 1, 2, … (Sheng et al. 2021, Eq. 7).

    It rises in proportion to the step, peaks at step warmup/factor with (width · warmup)^−0.5, and falls with
    step^−0.5. ValueError for a step before the first.
    """
    if step < 1:
        raise ValueError(f"steps count from 1, found {step}")
    scaled = factor * step
    return width**-0.5 * min(scaled**-0.5, scaled * warmup**-1.5)


def make_fabric(device: str, devices: int = 1) -> lightning.Fabric:
    """Fabric on one device or several: the CPU in float32, CUDA in bfloat16-mixed.

    With several devices the running command is started once more for each further one (DistributedDataParallel): all
    must run the same code up to `train`.
    """
    precision = "bf16-mixed" if device == "cuda" else "32-true"
    if devices == 1:
        return lightning.Fabric(accelerator=device, devices=1, precision=precision)
    fabric = lightning.Fabric(accelerator=device, devices=devices, strategy="ddp", precision=precision)
    fabric.launch()
    return fabric


def fabric_of(context: Context) -> lightning.Fabric:
    """Fabric on the devices where a trial runs."""
    return make_fabric(context.device, context.devices)


def train(
    model: nn.Module,
    data: Batch,
    loss: Callable[[Any, Batch], Tensor],
    *,
    schedule: Schedule,
    fabric: lightning.Fabric,
    seed: int,
    inputs: Sequence[str] = ("images",),
    prepare: Callable[[Batch], Batch] | None = None,
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    each_epoch: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
    channels_last: bool = True,
) -> Fitted:
    """Train `model` in place and return one value per epoch of "loss", "lr", "validation" and of `each_epoch`.

    data: tensors of equal length, which move to the device as they are. Each batch goes through `prepare` (for
    example uint8 to normalised float32) and `augment` there. The tensors that `inputs` names are the arguments of
    `model`, in that order; its output (a tensor, or a tuple or dict of tensors) and the whole batch go to
    `loss(output, batch)`, a mean over the batch. The order of the examples and the augmentation depend on `seed` alone.
    `validate` (higher is better) and `each_epoch` get `model` itself, in evaluation mode and full precision.
    On several devices each takes its share of every batch, and BatchNorm normalises over that share.
    `channels_last` is the memory layout of 4-D inputs and weights during training.
    Raises Diverged, a UserError, after an epoch whose loss is not finite; ValueError for a schedule that needs
    `validate`.
    """
    if validate is None and (schedule.watches_score or schedule.patience):
        raise ValueError("this schedule needs `validate`: it drops the learning rate or stops by the validation score")
    generator = torch.Generator().manual_seed(seed)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    _set_layout(model, layout)
    # the same weights, in the training precision
    fast, optimiser = fabric.setup(model, schedule.optimiser_of(model))
    change = schedule.change(optimiser)
    frozen = _frozen(model)
    data = {name: value.to(fabric.device) for name, value in data.items()}
    share = slice(fabric.global_rank, None, fabric.world_size)
    curves: dict[str, list[float]] = {"loss": [], "lr": []}
    best_epoch, best_score, best_weights = 0, -math.inf, {}

    for epoch in range(1, schedule.epochs + 1):
        model.train()
        for module in frozen:
            module.eval()
        batches = _batches(len(data[inputs[0]]), schedule.batch_size, generator, fabric)
        total = torch.zeros((), dtype=torch.float64, device=fabric.device)
        for indices in batches:
            batch = {name: value[indices] for name, value in data.items()}
            batch = prepare(batch) if prepare else batch
            batch = augment(batch, generator) if augment else batch
            batch = {name: value[share] for name, value in batch.items()}
            output = fast(*(_in_layout(batch[name], layout) for name in inputs))
            # shares may differ by one example: their weighted losses average to the loss of the whole batch
            value = loss(output, batch) * (len(batch[inputs[0]]) * fabric.world_size / len(indices))
            optimiser.zero_grad()
            fabric.backward(value)
            optimiser.step()
            change.after_step()
            total += value.detach()
        mean = float(fabric.all_reduce(total, reduce_op="mean")) / len(
            batches
        )  # the device waits here, not in each step
        if not math.isfinite(mean):
            raise Diverged(
                f"expected a finite training loss, found {mean} in epoch {epoch} at learning rate {schedule.lr:g}; "
                "lower the learning rate or check the images and labels"
            )
        curves["loss"].append(mean)
        curves["lr"].append(optimiser.param_groups[0]["lr"])

        model.eval()
        score = None
        if validate:
            score = fabric.broadcast(float(validate(model)) if fabric.is_global_zero else None)
            curves.setdefault("validation", []).append(score)
        change.after_epoch(score)
        for name, measured in (each_epoch(model, epoch - 1) if each_epoch else {}).items():
            curves.setdefault(name, []).append(float(measured))
        if schedule.patience == 0 or best_epoch == 0 or score > best_score:
            best_epoch, best_score = epoch, score
            if schedule.patience:
                best_weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= schedule.patience:
            break

    if best_weights:
        model.load_state_dict(best_weights)
    _set_layout(model, torch.contiguous_format)  # as a network read from a file has it: both predict the same bits
    converged = schedule.patience > 0 and verdicts.converged(best_epoch, schedule.epochs, schedule.patience)
    return Fitted(curves, Stopped(best_epoch, epoch, schedule.epochs, schedule.patience, converged))


def channels_first(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> uint8 (N, 3, H, W), without a copy where the images lie in one piece."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def _frozen(model: nn.Module) -> list[nn.Module]:
    """Modules that do not learn at all and stay in evaluation mode."""
    return [
        module
        for module in model.modules()
        if (own := list(module.parameters())) and not any(parameter.requires_grad for parameter in own)
    ]


def _batches(count: int, batch_size: int, generator: torch.Generator, fabric: lightning.Fabric) -> list[Tensor]:
    """Shuffled indices; a last batch of one example per device is left out, as BatchNorm would have no variance."""
    order = torch.randperm(count, generator=generator).to(fabric.device)
    least = min(2, batch_size // fabric.world_size) * fabric.world_size
    if least == 0:
        raise ValueError(f"a batch of {batch_size} cannot be shared by {fabric.world_size} devices")
    return [batch for batch in order.split(batch_size) if len(batch) >= least]


def _set_layout(model: nn.Module, layout: torch.memory_format) -> None:
    for parameter in model.parameters():
        parameter.data = _in_layout(parameter.data, layout)


def _in_layout(value: Tensor, layout: torch.memory_format) -> Tensor:
    """channels_last is defined for 4-D tensors alone."""
    return value.contiguous(memory_format=layout) if value.dim() == 4 else value


@torch.no_grad()
def run_once(
    model: nn.Module,
    images: Tensor,
    *,
    batch_size: int = 64,
    prepare: Callable[[Batch], Batch] | None = None,
    keep: Callable[[Any], Tensor] = lambda output: output,
) -> Tensor:
    """The outputs of `model` in evaluation mode for all images, on its device: for example a frozen part's features.

    images: (N, …); `prepare` gets {"images": batch} on the device, as in `train`; `keep` picks from each batch's
    output. The model's mode stays as it was.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    made = []
    for batch in images.split(batch_size):
        moved = {"images": batch.to(device)}
        moved = prepare(moved) if prepare else moved
        made.append(keep(model(_in_layout(moved["images"], torch.channels_last))))
    model.train(was_training)
    return torch.cat(made)


@torch.no_grad()
def predict(
    model: nn.Module, images: Tensor, *, batch_size: int = 64, prepare: Callable[[Batch], Batch] | None = None
) -> np.ndarray:
    """Hard labels arg max_k φ(I), uint8 (N, H, W), for images (N, 3, H, W), float32 or what `prepare` takes."""
    labels = run_once(
        model, images, batch_size=batch_size, prepare=prepare, keep=lambda logits: logits.argmax(1).to(torch.uint8)
    )
    return labels.cpu().numpy()


@torch.no_grad()
def images_per_second(model: nn.Module, images: Tensor, *, repeats: int = 20) -> float:
    """Forward passes per second, one image at a time, from the median time of `repeats`: the paper's frames per second.

    The model is left in evaluation mode.
    """
    device = next(model.parameters()).device
    model.eval()
    image = images[:1].to(device)
    times = []
    for _ in range(repeats + 2):  # the first two warm up
        start = time.perf_counter()
        model(image)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1.0 / float(np.median(times[2:]))
