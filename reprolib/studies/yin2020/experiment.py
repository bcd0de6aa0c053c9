"""One trial of yin2020: train the stages, train some of them further together, parse whole frames, score them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reprolib import metrics, report
from reprolib.checkpoints import fitted_once
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES, CROPS, vary
from reprolib.losses.parsing_loss import coarse_loss, part_loss, theta_loss
from reprolib.measuring import Workload
from reprolib.models import complexity, pretrained
from reprolib.models.icnn import ICNN, OriginalICNN
from reprolib.models.icnn import pyramid as pyramid_of
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.spatial_transformer import constrain, crop, theta_of_centres
from reprolib.models.stn_icnn import STNICNN
from reprolib.planning import Work
from reprolib.studies.yin2020 import data as faces_of
from reprolib.studies.yin2020 import rows as r
from reprolib.studies.yin2020.checkpoint import FINE_LABELS, save_model
from reprolib.studies.yin2020.config import Config, Training
from reprolib.studies.yin2020.evaluation import BATCH, centre_errors, overall, score, timed
from reprolib.studies.yin2020.networks import (
    MeanMask,
    WholeFace,
    assembled,
    fine_stage,
    icnn,
    localiser,
    network_of,
    on_device,
    patches,
)  # fmt: skip
from reprolib.studies.yin2020.scores import per_part, percentages
from reprolib.studies.yin2020.work import needs_localiser, stage_spec, trained_elsewhere, with_stage_training
from reprolib.training import Batch, Fitted, Schedule, fabric_of, train
from reprolib.trial import Context, Outcome

THETA_WEIGHT = 1000.0  # of Eq. 19 beside the part loss: a crop ten pixels off (of 192) then costs about as much as that

# --- one trial ---------------------------------------------------------------------------------------


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's networks and score them once on the test faces; every random number follows from `seed`."""
    if config.stage == "timing":
        return timed(config, seed, context)
    model, trainings = _trained(config, seed, context)
    model.to(context.device).eval()
    outcome = score(model, config, seed, context)
    outcome.metrics["validation"] = overall(model, faces_of.faces(config, context.data_root).validation, config)
    outcome.curves = {f"{name}_{curve}": values for name, f in trainings.items() for curve, values in f.curves.items()}
    if trainings:
        last = list(trainings.values())[-1].stopped
        # a row is no better than the least trained of its stages
        converged = all(fitted.stopped.converged for fitted in trainings.values())
        outcome.stopped = asdict(replace(last, converged=converged))
    outcome.metrics |= _printed_rates(config, trainings)
    if config.stage == "together" and not config.elsewhere and config.network == "ICNN" and config.cropper == "stn":
        save_model(
            checkpoint_path(config, seed, context.results), model, arguments=_arguments(config), small=config.small,
            frame=config.source.frame,
        )  # fmt: skip
    return outcome


def validate(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row's last training, which tuning compares; the test faces are not used."""
    trainings = _trained(config, seed, context)[1]
    return max(list(trainings.values())[-1].curves["validation"])


def checkpoint_path(config: Config, seed: int, results: Path) -> Path:
    """Where the parser of a row that was trained together is kept for `python -m reprolib parse`."""
    kind = f"joint{config.pretrained_rate:g}" if config.joint else "stage2"
    name = f"stn-icnn-{kind}-{config.small}-{config.dataset}-{config.profile}-seed{seed}.pt"
    return results / "checkpoints" / "yin2020" / name


def _arguments(config: Config) -> dict:
    """The arguments of `checkpoint.build` for the parser of a row."""
    return {
        "cropper": config.cropper, "patch": config.source.patch, "mouth_patch": config.source.mouth_patch,
        "channels": list(config.channels), "light": config.localiser == "light", "isotropic": config.isotropic,
    }  # fmt: skip


def _trained(config: Config, seed: int, context: Context) -> tuple[nn.Module, dict[str, Fitted]]:
    """The row's parser and its trainings, in their order."""
    config = with_stage_training(config)
    if config.stage == "mean mask":
        return _mean_mask(faces_of.faces(config, context.data_root).train), {}
    if config.stage == "whole face":
        return _whole_face(config, seed, context)
    if config.elsewhere:
        return _from_elsewhere(config, seed, context)
    if config.stage == "coarse":
        model, fitted = _coarse(config, seed, context)
        return model, {"coarse": fitted}
    if config.stage == "fine":
        model, fitted = _fine(config, seed, context)
        if config.cropper == "mean":
            train_labels = faces_of.faces(config, context.data_root).train.labels
            model.register_buffer("mean", faces_of.mean_theta(train_labels, **patches(config)))
        return model, {"fine": fitted}
    return _parser(config, seed, context)


# --- the stages --------------------------------------------------------------------------------------


def _schedule(training: Training, rates: Mapping[str, float] | None = None) -> Schedule:
    """Adam; the learning rate is halved every few epochs (Sec. 2.5.2); the best validation epoch is kept."""
    least = training.final_lr / training.lr
    return Schedule.decay(
        training.epochs, training.batch_size, training.lr, lambda i: max(0.5 ** (i // training.halve_every), least),
        rates=rates or {}, patience=training.patience,
    )  # fmt: skip


def _fit(
    model: nn.Module,
    examples: Mapping[str, Tensor],
    loss: Callable,
    training: Training,
    seed: int,
    context: Context,
    *,
    rates: Mapping[str, float] | None = None,
    **more,
) -> Fitted:
    return train(
        model,
        examples,
        loss,
        schedule=_schedule(training, rates),
        fabric=fabric_of(context),
        seed=seed,
        **more,
    )


def _on_varied(
    make: Callable[[Tensor, Tensor, torch.Generator], Batch], config: Config
) -> Callable[[Batch, torch.Generator], Batch]:
    """The augmentation of a stage: `make(frames, labels, generator)` turns varied frames into what it learns from."""
    return lambda batch, generator: make(*faces_of.varied(batch, generator, frame=config.source.frame), generator)


def _mean_mask(found: FaceSet) -> MeanMask:
    """The constant mask with the highest overall F1 on the training faces; the background wins where parts are rare."""
    counts = np.stack([(found.labels == k).sum(0) for k in range(1, len(CLASSES))])
    part, often = counts.argmax(0) + 1, counts.sum(0) / len(found)
    parts_of_face = often.sum()
    ordered = np.sort(often.ravel())[::-1]
    dice = 2 * ordered.cumsum() / (np.arange(1, ordered.size + 1) + parts_of_face)
    best = ordered[dice.argmax()]
    return MeanMask(torch.from_numpy(np.where((often >= best) & (often > 0), part, 0)))


def _coarse(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """Stage 1 alone, Eq. 18; it learns from frames that are reduced to twice its input."""

    def fit(model: nn.Module) -> Fitted:
        sets, side = faces_of.faces(config, context.data_root), config.small
        held_out = faces_of.small_frames(sets.validation, side)
        truth = faces_of.resized_labels(torch.from_numpy(sets.validation.labels), (side, side)).numpy()

        def make(frames: Tensor, labels: Tensor, _) -> Batch:
            return {"images": faces_of.shrunk(frames, side), "labels": faces_of.resized_labels(labels, (side, side))}

        def held_out_score(network: nn.Module) -> float:
            found = [network(on_device(network, some)).argmax(1).cpu() for some in held_out.split(BATCH)]
            confusion = metrics.confusion(torch.cat(found), truth, len(CLASSES))
            return percentages(confusion.sum(0))["overall"]

        return _fit(
            model, faces_of.tensors(faces_of.reduced(sets.train, 2 * side)),
            lambda logits, batch: coarse_loss(logits, batch["labels"]), config.pretraining.coarse, seed, context,
            augment=_on_varied(make, config), validate=torch.no_grad()(held_out_score),
        )  # fmt: skip

    return fitted_once("yin2020", _spec(config, "coarse", seed), lambda: icnn(config, len(CLASSES)), fit, context)


def _localiser(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """The localisation network on rough masks of a frozen stage 1, Eq. 19–21; the masks are made once."""

    def build() -> nn.Module:
        labels = faces_of.faces(config, context.data_root).train.labels
        return localiser(config, mean=faces_of.mean_theta(labels, **patches(config)))

    def fit(model: nn.Module) -> Fitted:
        coarse = _coarse(config, seed, context)[0]
        sets, versions = faces_of.faces(config, context.data_root), config.pretraining.versions
        learnt = rough_masks(coarse, sets.train, config, versions=versions, seed=seed)
        held_out = rough_masks(coarse, sets.validation, config, versions=1, seed=seed)
        frame = (config.source.frame,) * 2

        def held_out_score(network: nn.Module) -> float:
            masks = held_out["images"].split(BATCH)
            found = torch.cat(
                [network(_probabilities({"images": on_device(network, some)})["images"]) for some in masks]
            )
            return -float(per_part(centre_errors(found.cpu(), held_out["theta"], frame=frame).sum(0)))

        return _fit(
            model, learnt, lambda theta, batch: theta_loss(theta, batch["theta"]), config.pretraining.localiser, seed,
            context, prepare=_probabilities, validate=torch.no_grad()(held_out_score),
        )  # fmt: skip

    return fitted_once("yin2020", _spec(config, "localiser", seed), build, fit, context)


@torch.no_grad()
def rough_masks(coarse: nn.Module, found: FaceSet, config: Config, *, versions: int, seed: int) -> dict[str, Tensor]:
    """Stage 1's probabilities for `versions` versions of every face, with 0, 1, … changes, and the true θ.

    "images": uint8 (versions · N, 9, s, s), probabilities × 255; "theta": float32 (versions · N, 6, 2, 3), NaN for an
    absent part.
    """
    generator, examples = torch.Generator().manual_seed(seed), faces_of.tensors(found)
    masks, theta = [], []
    for number in range(versions):
        for images, labels in zip(examples["images"].split(BATCH), examples["labels"].split(BATCH), strict=True):
            frames, varied = on_device(coarse, images).float() / 255, on_device(coarse, labels).long()
            if number:
                frames, varied = vary(frames, varied, generator, operations=torch.full((len(frames),), number))
            rough = coarse(faces_of.shrunk(frames, config.small)).softmax(1)
            masks.append((255 * rough).round().to(torch.uint8).cpu())
            theta.append(faces_of.true_theta(varied, **patches(config)).cpu())
    return {"images": torch.cat(masks), "theta": torch.cat(theta)}


def _probabilities(batch: Batch) -> dict[str, Tensor]:
    return {**batch, "images": batch["images"].float() / 255}


def _fine(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """Stage 2 alone, on crops around the true places, Eq. 16."""

    def fit(model: nn.Module) -> Fitted:
        sets = faces_of.faces(config, context.data_root)
        at_truth = replace(config, stage="fine", cropper="true")

        def make(frames: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
            theta = faces_of.jittered_theta(labels, generator, **patches(config))
            return {"images": frames, "theta": theta, "labels": labels}

        return _fit(
            model, faces_of.tensors(sets.train), _part_loss, config.pretraining.fine, seed, context,
            inputs=("images", "theta"), augment=_on_varied(make, config),
            validate=lambda network: overall(network, sets.validation, at_truth),
        )  # fmt: skip

    return fitted_once("yin2020", _spec(config, "fine", seed), lambda: fine_stage(config), fit, context)


def _part_loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
    return part_loss(outputs, batch["labels"])


def _parser(config: Config, seed: int, context: Context) -> tuple[STNICNN, dict[str, Fitted]]:
    """Both stages, each trained by itself; for "together", then trained further by the part loss."""
    coarse, of_coarse = _coarse(config, seed, context)
    fine, of_fine = _fine(config, seed, context)
    trainings, places = {"coarse": of_coarse, "fine": of_fine}, None
    if needs_localiser(config):
        places, trainings["localiser"] = _localiser(config, seed, context)

    def build() -> STNICNN:
        return assembled(config, coarse=coarse, places=places, fine=fine)

    if config.stage == "two-stage":
        return build(), trainings

    def fit(model: STNICNN) -> Fitted:
        return _learn_together(model, config, seed, context)

    model, trainings["together"] = fitted_once("yin2020", _spec(config, "together", seed), build, fit, context)
    return model, trainings


def _learn_together(model: STNICNN, config: Config, seed: int, context: Context) -> Fitted:
    """Training by the part loss, Eq. 22. Without `joint` only stage 2 learns, as in the published recipe."""
    sets, side = faces_of.faces(config, context.data_root), config.small
    before = [name for name, _ in model.named_children() if name != "fine"]
    rates = {f"{name}.": config.pretrained_rate if config.joint else 0.0 for name in before}

    def make(frames: Tensor, labels: Tensor, _) -> Batch:
        batch = {"images": faces_of.shrunk(frames, side), "full": frames, "labels": labels}
        if config.kept_losses:
            batch["rough_labels"] = faces_of.resized_labels(labels, (side, side))
            batch["theta"] = faces_of.true_theta(labels, **patches(config))
        return batch

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        value = part_loss(outputs, batch["labels"])
        if config.kept_losses:
            value = value + coarse_loss(outputs["coarse"], batch["rough_labels"])
            value = value + THETA_WEIGHT * theta_loss(outputs["theta"], batch["theta"])
        return value

    return _fit(
        model, faces_of.tensors(sets.train), loss, config.training, seed, context, rates=rates,
        inputs=("images", "full"), augment=_on_varied(make, config),
        validate=lambda network: overall(network, sets.validation, config),
    )  # fmt: skip


def _from_elsewhere(config: Config, seed: int, context: Context) -> tuple[STNICNN, dict[str, Fitted]]:
    """The hybrid strategy (Sec. 3.1): a parser that was trained on another dataset, fine-tuned on few faces of this."""
    there = trained_elsewhere(config)
    model, trainings = _parser(there, seed, context)
    model.fine.patch, model.fine.mouth_patch = config.source.patch, config.source.mouth_patch
    found = faces_of.faces(config, context.data_root).train
    few = found.subset(faces_of.evenly_spaced(len(found), config.few or max(r.SIZES[config.profile]["few"])))
    _set_scale(model, few, config)
    trainings = {f"elsewhere_{name}": fitted for name, fitted in trainings.items()}
    if config.training:
        torch.manual_seed(seed)
        trainings["together"] = _learn_together(model, config, seed, context)
    return model, trainings


@torch.no_grad()
def _set_scale(model: STNICNN, found: FaceSet, config: Config) -> None:
    """Shift the localisation network's scales to those of this frame, which follow from the crops' sides alone.

    The labels are not used: the mean scale that it predicts for these faces becomes (patch − 1) / (frame − 1).
    """
    images = faces_of.small_frames(found, config.small)
    rough = torch.cat([model.coarse(on_device(model, some)).softmax(1) for some in images.split(BATCH)])
    predicted = model.localiser(rough).mean(0)  # (6, 2, 3)
    wanted = torch.tensor(faces_of.sides(**patches(config))).to(predicted) - 1
    wanted = wanted / (config.source.frame - 1)
    bias = model.localiser.head.bias.view(len(CROPS), 2, 3)
    for axis in (0, 1):
        bias[:, axis, axis] += wanted - predicted[:, axis, axis]


def _whole_face(config: Config, seed: int, context: Context) -> tuple[WholeFace, dict[str, Fitted]]:
    """A U-Net with a pretrained encoder that labels the whole frame at once; `smoke` starts at random weights."""
    sets, side = faces_of.faces(config, context.data_root), config.small
    torch.manual_seed(seed)
    encoder_is_pretrained = config.profile != "smoke"
    model = WholeFace(pretrained.unet("mobilenet_v2", len(CLASSES), pretrained=encoder_is_pretrained), side=side)

    def make(frames: Tensor, labels: Tensor, _) -> Batch:
        images = pretrained.normalised(255 * faces_of.shrunk(frames, side))
        return {"images": images, "labels": faces_of.resized_labels(labels, (side, side))}

    fitted = _fit(
        model.network, faces_of.tensors(faces_of.reduced(sets.train, 2 * side)),
        lambda logits, batch: coarse_loss(logits, batch["labels"]), config.training, seed, context,
        augment=_on_varied(make, config), validate=lambda _: overall(model, sets.validation, config),
    )  # fmt: skip
    return model, {"whole_face": fitted}


def _spec(config: Config, stage: str, seed: int) -> dict:
    return {**stage_spec(config, stage), "seed": seed}


def _printed_rates(config: Config, trainings: Mapping[str, Fitted]) -> dict[str, float]:
    """Table 1 in the paper's columns: learning rates × 10⁶, batch size, and the epochs that the longest stage took."""
    if config.stage != "together" or config.elsewhere:
        return {}
    before, together = config.pretraining, config.training
    epochs = {name: fitted.stopped.epochs for name, fitted in trainings.items()}
    slow = together.lr * config.pretrained_rate if config.joint else 0.0
    rates = {
        "lr1_before": before.coarse.lr, "lr2_before": before.localiser.lr, "lr3_before": before.fine.lr,
        "lr1_together": slow, "lr2_together": slow, "lr3_together": together.lr,
    }  # fmt: skip
    return {name: 1e6 * lr for name, lr in rates.items()} | {
        "batch_size_before": float(before.coarse.batch_size), "batch_size_together": float(together.batch_size),
        "epochs_before": float(max(count for name, count in epochs.items() if name != "together")),
        "epochs_together": float(epochs["together"]),
    }  # fmt: skip


# --- for `plan` --------------------------------------------------------------------------------------


def workload(work: Work, *, images: int) -> Workload:
    """The workload that `plan --measure` times: random frames, and the loss and augmentation of the training."""
    side, generator = work.network.size, torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (images, 3, side, side), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, len(CLASSES), (images, side, side), generator=generator, dtype=torch.uint8)
    theta = torch.zeros(images, len(CROPS), 2, 3)

    def prepare(batch: Batch) -> dict[str, Tensor]:
        return {**batch, "images": batch["images"].float() / 255}

    def augment(batch: Batch, own: torch.Generator) -> dict[str, Tensor]:
        frames, labels = faces_of.varied({**batch, "images": 255 * batch["images"]}, own, frame=side)
        return {**batch, "images": frames, "labels": labels}

    losses = {
        "coarse": lambda x, b: coarse_loss(x, b["labels"]), "whole face": lambda x, b: coarse_loss(x, b["labels"]),
        "localiser": lambda x, b: theta_loss(x, b["theta"]),
    }  # fmt: skip
    return Workload(
        network_of(work), {"images": frames, "labels": labels, "theta": theta}, losses.get(work.stage, _part_loss),
        prepare, None if work.stage == "localiser" else augment,
    )  # fmt: skip


# --- numbers that follow from the method alone -------------------------------------------------------


def facts() -> list[report.Fact]:
    """Parameters of every network, free entries of θ, and the arithmetic of patches, with the source of each number."""
    count, fine = complexity.parameters, {kind: ICNN(labels) for kind, labels in FINE_LABELS.items()}
    coarsest = pyramid_of(torch.zeros(1, 3, PAPER_PATCH, PAPER_PATCH), 4)[-1].shape[-1]

    def fact(quantity: str, printed: str, ours: float, source: str) -> report.Fact:
        return report.fact("yin2020", quantity, printed, float(ours), source=source)

    return [
        fact("parameters, stage 1", "559,931", count(ICNN(9)), "release"),
        fact("parameters, stage 2, brow, eye or nose", "545,588", count(fine["nose"]), "release"),
        fact("parameters, stage 2, mouth", "548,376", count(fine["mouth"]), "release"),
        fact("parameters, stage 2, all four networks", "2,185,140", sum(map(count, fine.values())), "release"),
        fact("parameters, ResNet-18 for localisation", "11,213,796", count(LocalisationNetwork()), "release"),
        fact("parameters, light localisation network", "5,172", count(LightLocalisation()), "release"),
        fact("parameters, iCNN of Zhou et al., 8 labels", "447,729", count(OriginalICNN(9)), "release"),
        fact("parameters, iCNN of Zhou et al., 1 label", "422,732", count(OriginalICNN(2)), "release"),
        fact("parameters, iCNN of Zhou et al., 3 labels", "428,254", count(OriginalICNN(4)), "release"),
        fact("free entries of a part's θ, authors' code", "4", free_entries(isotropic=False), "release"),
        fact("free entries of a part's θ, Eq. 15 in words", "3", free_entries(isotropic=True), "paper"),
        fact("coarsest row of an 81-pixel patch (pixels)", "11", coarsest, "release"),
        fact("largest difference of an odd crop from a plain slice, Sec. 3.3 (grey levels of 255)", "0.00",
             difference(PAPER_PATCH), "paper"),
        fact("first pixel of an 81-pixel patch, left of its middle (pixels)", "40.0", offset(81), "arithmetic"),
        fact("first pixel of an 80-pixel patch, left of its middle (pixels)", "39.5", offset(80), "arithmetic"),
    ]  # fmt: skip


PAPER_FRAME, PAPER_PATCH = 1024, 81  # HELEN, Sec. 2.5.1 and 3.3


def free_entries(*, isotropic: bool) -> int:
    """How many numbers of a part's θ can change independently: the rank of `constrain`."""
    jacobian = torch.autograd.functional.jacobian(
        lambda theta: constrain(theta, isotropic=isotropic), torch.rand(2, 3, dtype=torch.float64)
    )
    return int(torch.linalg.matrix_rank(jacobian.reshape(6, 6)))


def offset(patch: int) -> float:
    """How far the first pixel of a patch is left of its centre, in pixels of the paper's frame (Eq. 21)."""
    frame = (PAPER_FRAME, PAPER_FRAME)
    centre = torch.full((1, 1, 2), 512.0, dtype=torch.float64)
    theta = theta_of_centres(centre, frame=frame, patch=patch)[0, 0]
    return 512 - float((theta[0, 2] - theta[0, 0] + 1) / 2 * (PAPER_FRAME - 1))


def difference(patch: int) -> float:
    """Largest difference between the grid transformer's crop and the same slice of a random image, of 255."""
    size, middle = (4 * patch, 4 * patch), 2 * patch
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    theta = theta_of_centres(torch.full((1, 1, 2), float(middle)), frame=size, patch=patch)
    first = middle - patch // 2
    plain = image[0, 0, first : first + patch, first : first + patch]
    return 255 * float((crop(image, theta, patch=patch)[0, 0, 0] - plain).abs().max())
