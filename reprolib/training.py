"""The one training loop, and prediction in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from reprolib.errors import UserError

Batch = Mapping[str, Tensor]
Score = Callable[[], float]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train with Adam.

    With `final_lr` below `lr`, the rate drops ×0.1 whenever the validation score has not risen for `patience`
    epochs, down to `final_lr` (masi2020 Sec. 4.1); with `final_lr` = `lr` it is flat.
    """

    epochs: int
    batch_size: int
    lr: float
    final_lr: float
    patience: int = 2

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def after_epoch(self, optimiser: torch.optim.Optimizer, score: Score | None) -> Callable[[], None]:
        """What to call after each epoch; ValueError for a rate that should drop without a score to watch."""
        if self.final_lr == self.lr:
            return lambda: None
        if score is None:
            raise ValueError("final_lr below lr needs `validate`: the rate drops when its score no longer rises")
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, mode="max", factor=0.1, patience=self.patience, min_lr=self.final_lr
        )
        return lambda: plateau.step(score())


@dataclass(frozen=True)
class CosineSchedule:
    """How long and how fast to train with AdamW: `lr` falls along a cosine to `final_lr` (yang2023 Sec. IV-A3)."""

    epochs: int
    batch_size: int
    lr: float
    final_lr: float
    weight_decay: float

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW over all parameters."""
        return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def after_epoch(self, optimiser: torch.optim.Optimizer, score: Score | None) -> Callable[[], None]:
        """What to call after each epoch; the score is not asked for."""
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=self.epochs, eta_min=self.final_lr).step


@dataclass(frozen=True)
class DecaySchedule:
    """How long and how fast to train when the rate falls by a fixed rule and parts of the network learn slower.

    `factor(epoch)`, from epoch 0, multiplies every rate. `rates`: beginning of a parameter's name → multiple of `lr`
    (the longest that fits counts; 1 where none does; 0 keeps the part as it is, its BatchNorm statistics included).
    With `per_step` the rule counts optimiser steps, from step 0, instead of epochs; the curve "lr" then shows the rate
    of the step after each epoch.
    """

    epochs: int
    batch_size: int
    lr: float
    factor: Callable[[int], float]
    rates: Mapping[str, float] = field(default_factory=dict)
    method: type[torch.optim.Optimizer] = torch.optim.Adam
    per_step: bool = False

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """One group of parameters for each rate; ValueError for a name in `rates` that fits no parameter."""
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
        return self.method([{"params": of_rate, "lr": self.lr * rate} for rate, of_rate in groups.items()], lr=self.lr)

    def after_epoch(self, optimiser: torch.optim.Optimizer, score: Score | None) -> Callable[[], None]:
        """What to call after each epoch, or after each step with `per_step`; the score is not asked for."""
        return torch.optim.lr_scheduler.LambdaLR(optimiser, self.factor).step

    def frozen(self, model: nn.Module) -> list[nn.Module]:
        """Modules that do not learn at all and stay in evaluation mode."""
        return [
            module
            for module in model.modules()
            if (own := list(module.parameters())) and not any(parameter.requires_grad for parameter in own)
        ]


def warmup_rate(step: int, *, width: int, factor: float, warmup: int) -> float:
    """Learning rate of a transformer of `width` channels in optimiser step 1, 2, … (Sheng et al. 2021, Eq. 7).

    It rises in proportion to the step, peaks at step warmup/factor with (width · warmup)^−0.5, and falls with
    step^−0.5. ValueError for a step before the first.
    """
    if step < 1:
        raise ValueError(f"steps count from 1, found {step}")
    scaled = factor * step
    return width**-0.5 * min(scaled**-0.5, scaled * warmup**-1.5)


def make_fabric(device: str) -> lightning.Fabric:
    """Fabric on one device: the CPU in float32, CUDA in bfloat16-mixed."""
    precision = "bf16-mixed" if device == "cuda" else "32-true"
    return lightning.Fabric(accelerator=device, devices=1, precision=precision)


def train(
    model: nn.Module,
    data: Batch,
    loss: Callable[[Any, Batch], Tensor],
    *,
    schedule: Schedule | CosineSchedule | DecaySchedule,
    fabric: lightning.Fabric,
    seed: int,
    inputs: Sequence[str] = ("images",),
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    each_epoch: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place and return one value an epoch of "loss", "lr" and whatever `each_epoch` measures.

    data: tensors of equal length. Those that `inputs` names are the arguments of `model`, in that order; its output
    (a tensor, or a tuple or dict of tensors) and the whole batch go to `loss(output, batch)`.
    The order of the examples and the augmentation depend on `seed` alone.
    `validate` and `each_epoch` get `model` itself, in evaluation mode and full precision. Raises UserError as soon as
    the loss is not finite, ValueError for a rate that should drop without a score to watch.
    """
    generator = torch.Generator().manual_seed(seed)
    # the same weights, in the training precision
    fast, optimiser = fabric.setup(model, schedule.optimiser(model))
    after_epoch = schedule.after_epoch(optimiser, partial(validate, model) if validate else None)
    decays = isinstance(schedule, DecaySchedule)
    frozen, per_step = (schedule.frozen(model), schedule.per_step) if decays else ([], False)
    data = {name: value.to(fabric.device) for name, value in data.items()}
    curves: dict[str, list[float]] = {"loss": [], "lr": []}

    for epoch in range(schedule.epochs):
        model.train()
        for module in frozen:
            module.eval()
        total, steps = 0.0, 0
        for indices in _batches(len(data[inputs[0]]), schedule.batch_size, generator):
            batch = {name: value[indices.to(fabric.device)] for name, value in data.items()}
            if augment is not None:
                batch = augment(batch, generator)
            value = loss(fast(*(batch[name] for name in inputs)), batch)
            if not math.isfinite(value.item()):
                raise UserError(
                    f"expected a finite training loss, found {value.item()} in epoch {epoch + 1}, step {steps + 1} "
                    f"at learning rate {schedule.lr:g}; lower the learning rate or check the images and labels"
                )
            optimiser.zero_grad()
            fabric.backward(value)
            optimiser.step()
            if per_step:
                after_epoch()
            total, steps = total + value.item(), steps + 1
        curves["loss"].append(total / steps)
        curves["lr"].append(optimiser.param_groups[0]["lr"])

        model.eval()
        if not per_step:
            after_epoch()
        for name, measured in (each_epoch(model, epoch) if each_epoch else {}).items():
            curves.setdefault(name, []).append(float(measured))
    return curves


def _batches(count: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled indices; a last batch of one is left out, it would leave BatchNorm without a variance."""
    batches = torch.randperm(count, generator=generator).split(batch_size)
    return [batch for batch in batches if len(batch) > 1 or batch_size == 1]


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int = 64) -> np.ndarray:
    """Hard labels arg max_k φ(I), uint8 (N, H, W), for images float32 (N, 3, H, W)."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    labels = [model(b.to(device)).argmax(1).to(torch.uint8).cpu() for b in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(labels).numpy()


@torch.no_grad()
def images_per_second(model: nn.Module, images: Tensor, *, repeats: int = 20) -> float:
    """Forward passes a second, one image at a time, as the paper counts frames per second (median of `repeats`)."""
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
