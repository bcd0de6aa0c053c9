"""What one trial of yin2020 does: train the stages, train some of them on together, parse whole frames, count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics, report
from reprolib.checkpoints import fitted_once
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES, CROPS, vary
from reprolib.datasets.people import numbered
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.losses.parsing_loss import coarse_loss, part_loss, theta_loss
from reprolib.measuring import Workload
from reprolib.models import complexity, pretrained
from reprolib.models.cropper import theta_of_hard_labels
from reprolib.models.icnn import ICNN, OriginalICNN
from reprolib.models.icnn import pyramid as pyramid_of
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.spatial_transformer import centres_of_theta, constrain, crop, theta_of_centres
from reprolib.models.stn_icnn import STNICNN, FineStage, assemble, labels_of
from reprolib.planning import Work
from reprolib.studies.yin2020 import data as faces_of
from reprolib.studies.yin2020 import rows as r
from reprolib.studies.yin2020.checkpoint import FINE_LABELS, save_model
from reprolib.studies.yin2020.config import Config, Training
from reprolib.studies.yin2020.scores import per_part, percentages, share
from reprolib.studies.yin2020.work import needs_localiser, stage_spec, trained_elsewhere, with_stage_training
from reprolib.training import Batch, Fitted, Schedule, fabric_of, train
from reprolib.trial import Context, Outcome

BATCH = 16  # faces at a time in the test
ERASED = tuple(range(len(CROPS) + 1))  # numbers of erased parts (Figure 5)
SCORED = 2  # erased parts with which whole faces are scored, too
KEPT_SIDE = 192  # pixels: the longest side of images in a record
REPEATS, TIMED_BATCHES = 12, (1, 32)
ALONE = 1.5  # the most processes that may want a core, this one included, for a time to be judged
THETA_WEIGHT = 1000.0  # of Eq. 19 beside the part loss: a crop ten pixels off (of 192) then costs about as much as that

# --- one trial ---------------------------------------------------------------------------------------


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's networks and score them once on the test faces; every random number follows from `seed`."""
    if config.stage == "timing":
        return _timed(config, seed, context)
    model, trainings = _trained(config, seed, context)
    model.to(context.device).eval()
    outcome = _score(model, config, seed, context)
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
    """The best validation score of a row's last training, without a look at the test faces: what tuning compares."""
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
    """The row's parser, and how each of its trainings went, in their order."""
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
            model.register_buffer("mean", faces_of.mean_theta(train_labels, **_patches(config)))
        return model, {"fine": fitted}
    return _parser(config, seed, context)


# --- networks ----------------------------------------------------------------------------------------


def icnn(config: Config, labels: int) -> nn.Module:
    """An untrained network of one stage."""
    kind = OriginalICNN if config.network == "OriginalICNN" else ICNN
    return kind(labels, channels=config.channels)


def localiser(config: Config, *, mean: Tensor) -> nn.Module:
    """An untrained localisation network that starts at θ `mean` (6, 2, 3)."""
    kind = LightLocalisation if config.localiser == "light" else LocalisationNetwork
    return kind(mean=mean, isotropic=config.isotropic)


def fine_stage(config: Config) -> FineStage:
    """The untrained second stage."""
    networks = {kind: icnn(config, labels) for kind, labels in FINE_LABELS.items()}
    return FineStage(networks, **_patches(config), aligned=False)


def assembled(config: Config, *, coarse: nn.Module, places: nn.Module | None, fine: Mapping[str, nn.Module]) -> STNICNN:
    """The two-stage parser from its networks."""
    return STNICNN(
        coarse=coarse, localiser=places, fine=dict(fine.items()), **_patches(config),
        cropper="baseline" if places is None else "roi_align" if config.cropper == "roi_align" else "stn",
    )  # fmt: skip


class WholeFace(nn.Module):
    """A network that labels the frame at once: the frame shrunk to `side`, its logits enlarged again.

    full: float32 (N, 3, H, W) in [0, 1] → logits float32 (N, 9, H, W).
    """

    def __init__(self, network: nn.Module, *, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, full: Tensor) -> Tensor:
        logits = self.network(pretrained.normalised(255 * faces_of.shrunk(full, self.side)))
        return F.interpolate(logits, full.shape[-2:], mode="bilinear", align_corners=False)


class MeanMask(nn.Module):
    """A prediction that does not look at the image: labels uint8 (H, W), the same for every face."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.labels = nn.Parameter(labels.float(), requires_grad=False)

    def forward(self, full: Tensor) -> Tensor:
        """Frames (N, 3, H, W) -> scores (N, 9, H, W)."""
        scores = F.one_hot(self.labels.long(), len(CLASSES)).permute(2, 0, 1).float()
        return scores.expand(len(full), *scores.shape)


def _mean_mask(found: FaceSet) -> MeanMask:
    """The constant mask with the highest overall F1 on the training faces: parts wherever some are often enough."""
    counts = np.stack([(found.labels == k).sum(0) for k in range(1, len(CLASSES))])
    part, often = counts.argmax(0) + 1, counts.sum(0) / len(found)
    parts_of_face = often.sum()
    ordered = np.sort(often.ravel())[::-1]
    dice = 2 * ordered.cumsum() / (np.arange(1, ordered.size + 1) + parts_of_face)
    best = ordered[dice.argmax()]
    return MeanMask(torch.from_numpy(np.where((often >= best) & (often > 0), part, 0)))


# --- the stages --------------------------------------------------------------------------------------


def _patches(config: Config) -> dict[str, int]:
    return {"patch": config.source.patch, "mouth_patch": config.source.mouth_patch}


def _schedule(training: Training, rates: Mapping[str, float] | None = None) -> Schedule:
    """Adam; the learning rate is halved every few epochs (Sec. 2.5.2); the best validation epoch stays."""
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


def _coarse(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """Stage 1 alone, Eq. 18; it learns from frames that are reduced to twice its input."""

    def fit(model: nn.Module) -> Fitted:
        sets, side = faces_of.faces(config, context.data_root), config.small
        held_out = _small_frames(sets.validation, side)
        truth = faces_of.resized_labels(torch.from_numpy(sets.validation.labels), (side, side)).numpy()

        def make(frames: Tensor, labels: Tensor, _) -> Batch:
            return {"images": faces_of.shrunk(frames, side), "labels": faces_of.resized_labels(labels, (side, side))}

        def score(network: nn.Module) -> float:
            found = [network(_on(network, some)).argmax(1).cpu() for some in held_out.split(BATCH)]
            confusion = metrics.confusion(torch.cat(found), truth, len(CLASSES))
            return percentages(confusion.sum(0))["overall"]

        return _fit(
            model, faces_of.tensors(faces_of.reduced(sets.train, 2 * side)),
            lambda logits, batch: coarse_loss(logits, batch["labels"]), config.pretraining.coarse, seed, context,
            augment=_on_varied(make, config), validate=torch.no_grad()(score),
        )  # fmt: skip

    return fitted_once("yin2020", _spec(config, "coarse", seed), lambda: icnn(config, len(CLASSES)), fit, context)


def _localiser(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """The localisation network on rough masks of a stage 1 that stays as it is, Eq. 19–21; the masks are made once."""

    def build() -> nn.Module:
        labels = faces_of.faces(config, context.data_root).train.labels
        return localiser(config, mean=faces_of.mean_theta(labels, **_patches(config)))

    def fit(model: nn.Module) -> Fitted:
        coarse = _coarse(config, seed, context)[0]
        sets, versions = faces_of.faces(config, context.data_root), config.pretraining.versions
        learnt = rough_masks(coarse, sets.train, config, versions=versions, seed=seed)
        held_out = rough_masks(coarse, sets.validation, config, versions=1, seed=seed)
        frame = (config.source.frame,) * 2

        def score(network: nn.Module) -> float:
            masks = held_out["images"].split(BATCH)
            found = torch.cat([network(_probabilities({"images": _on(network, some)})["images"]) for some in masks])
            return -float(per_part(centre_errors(found.cpu(), held_out["theta"], frame=frame).sum(0)))

        return _fit(
            model, learnt, lambda theta, batch: theta_loss(theta, batch["theta"]), config.pretraining.localiser, seed,
            context, prepare=_probabilities, validate=torch.no_grad()(score),
        )  # fmt: skip

    return fitted_once("yin2020", _spec(config, "localiser", seed), build, fit, context)


@torch.no_grad()
def rough_masks(coarse: nn.Module, found: FaceSet, config: Config, *, versions: int, seed: int) -> dict[str, Tensor]:
    """Stage 1's probabilities of every face in so many versions, with 0, 1, … changes each, and the true θ.

    "images": uint8 (versions · N, 9, s, s), probabilities × 255; "theta": float32 (versions · N, 6, 2, 3), NaN for an
    absent part.
    """
    generator, examples = torch.Generator().manual_seed(seed), faces_of.tensors(found)
    masks, theta = [], []
    for number in range(versions):
        for images, labels in zip(examples["images"].split(BATCH), examples["labels"].split(BATCH), strict=True):
            frames, varied = _on(coarse, images).float() / 255, _on(coarse, labels).long()
            if number:
                frames, varied = vary(frames, varied, generator, operations=torch.full((len(frames),), number))
            rough = coarse(faces_of.shrunk(frames, config.small)).softmax(1)
            masks.append((255 * rough).round().to(torch.uint8).cpu())
            theta.append(faces_of.true_theta(varied, **_patches(config)).cpu())
    return {"images": torch.cat(masks), "theta": torch.cat(theta)}


def _probabilities(batch: Batch) -> dict[str, Tensor]:
    return {**batch, "images": batch["images"].float() / 255}


def _fine(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """Stage 2 alone, on crops around the true places, Eq. 16."""

    def fit(model: nn.Module) -> Fitted:
        sets = faces_of.faces(config, context.data_root)
        at_truth = replace(config, stage="fine", cropper="true")

        def make(frames: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
            theta = faces_of.jittered_theta(labels, generator, **_patches(config))
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
    """Both stages, each trained by itself; "together": trained on by the part loss."""
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
            batch["theta"] = faces_of.true_theta(labels, **_patches(config))
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
    images = _small_frames(found, config.small)
    rough = torch.cat([model.coarse(_on(model, some)).softmax(1) for some in images.split(BATCH)])
    predicted = model.localiser(rough).mean(0)  # (6, 2, 3)
    wanted = torch.tensor(faces_of.sides(**_patches(config))).to(predicted) - 1
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


def _on(network: nn.Module, values: Tensor) -> Tensor:
    return values.to(next(network.parameters()).device)


def _small_frames(found: FaceSet, side: int) -> Tensor:
    """The frames as stage 1 sees them, float32 (N, 3, side, side)."""
    images = faces_of.tensors(found)["images"]
    return torch.cat([faces_of.shrunk(some.float() / 255, side) for some in images.split(BATCH)])


# --- scores ------------------------------------------------------------------------------------------


def overall(model: nn.Module, found: FaceSet, config: Config) -> float:
    """The main score: overall F1 × 100 over whole frames, with the row's own cropper."""
    was_training = model.training
    labels = parse(model.eval(), found, config)[0]
    model.train(was_training)
    return percentages(_confusion(labels, found).sum(0))["overall"]


def _confusion(labels: np.ndarray, found: FaceSet) -> np.ndarray:
    """(N, 9, 9) pixel counts over the whole frame."""
    return metrics.confusion(labels, found.labels, len(CLASSES)).astype(np.int32)


@torch.no_grad()
def parse(model: nn.Module, found: FaceSet, config: Config) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels uint8 (N, H, W) of the whole frames, and θ float32 (N, 6, 2, 3) where the row crops."""
    examples, labels, places = faces_of.tensors(found), [], []
    for images, truth in zip(examples["images"].split(BATCH), examples["labels"].split(BATCH), strict=True):
        full = _on(model, images).float() / 255
        frame = tuple(full.shape[-2:])
        if isinstance(model, (WholeFace, MeanMask)):
            labels.append(model(full).argmax(1).to(torch.uint8).cpu())
            continue
        if config.stage == "coarse":
            rough = getattr(model, "coarse", model)(faces_of.shrunk(full, config.small)).argmax(1)
            labels.append(faces_of.resized_labels(rough, frame).to(torch.uint8).cpu())
            continue
        fine = model.fine if isinstance(model, STNICNN) else model
        outputs = fine(full, _theta(model, full, truth.to(full.device), config))
        labels.append(labels_of(outputs, frame=frame).cpu())
        places.append(outputs["theta"].float().cpu())
    return torch.cat(labels).numpy(), torch.cat(places).numpy() if places else None


def _theta(model: nn.Module, full: Tensor, truth: Tensor, config: Config) -> Tensor:
    """Where the row's cropper finds the parts: float32 (N, 6, 2, 3)."""
    frame = tuple(full.shape[-2:])
    if config.cropper == "true":
        return faces_of.true_theta(truth, **_patches(config))
    if config.cropper == "mean":
        return model.mean.expand(len(full), *model.mean.shape)
    rough = model.coarse(faces_of.shrunk(full, config.small)).softmax(1)
    if config.cropper == "hard":
        return theta_of_hard_labels(rough, frame=frame, patch=faces_of.sides(**_patches(config)))
    return model.locate(rough, frame=frame)


def inside_crops(theta: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each part's pixels, how many are inside its crop, and how many there are: int32 (N, 6, 2).

    theta: float32 (N, 6, 2, 3); labels: uint8 (N, H, W). A crop reaches half a pixel beyond the middles of its
    outermost pixels.
    """
    height, width = labels.shape[1:]
    last = np.array([width - 1, height - 1])
    middle = centres_of_theta(torch.from_numpy(theta), frame=(height, width)).numpy()  # (N, 6, 2)
    reach = np.abs(theta[..., (0, 1), (0, 1)]) * last / 2 + 0.5
    counts = np.zeros((*theta.shape[:2], 2), np.int32)
    for face, one in enumerate(labels):
        for part, classes in enumerate(CROPS.values()):
            places = np.argwhere(np.isin(one, classes))[:, ::-1]  # (x, y)
            inside = (np.abs(places - middle[face, part]) <= reach[face, part]).all(axis=1)
            counts[face, part] = inside.sum(), len(places)
    return counts


def centre_errors(theta: Tensor, truth: Tensor, *, frame: tuple[int, int]) -> np.ndarray:
    """How far the middles of the crops are from the true ones: float32 (N, 2), the sum in pixels and the number.

    theta, truth: (N, 6, 2, 3). Parts that a face lacks are not counted.
    """
    distance = (centres_of_theta(theta, frame=frame) - centres_of_theta(truth, frame=frame)).norm(dim=-1)
    known = distance.isfinite()
    return torch.stack([distance.nan_to_num(0).sum(1), known.sum(1)], dim=1).float().numpy()


def _score(model: nn.Module, config: Config, seed: int, context: Context) -> Outcome:
    test = faces_of.faces(config, context.data_root).test
    labels, theta = parse(model, test, config)
    arrays = {"confusion": _confusion(labels, test), "units": numbered(test.persons or test.names)}
    scores = percentages(arrays["confusion"].sum(0))
    if theta is not None:
        truth = faces_of.true_theta(torch.from_numpy(np.ascontiguousarray(test.labels)), **_patches(config))
        arrays["crop_recall"] = inside_crops(theta, test.labels)
        arrays["centre_error"] = centre_errors(torch.from_numpy(theta), truth, frame=test.labels.shape[1:])
        scores["crop_recall"] = float(share(arrays["crop_recall"].sum((0, 1))))
        scores["centre_error"] = float(per_part(arrays["centre_error"].sum(0)))
    if config.erased_faces and config.stage in ("two-stage", "together"):
        arrays |= _missing_parts(model, config, seed, context)
        scores["recall_erased"] = float(share(arrays["recall_erased"].sum((0, 1))))
        scores["recall_left"] = float(share(arrays["recall_left"].sum((0, 1))))
        scores["overall_erased"] = percentages(arrays["confusion_erased"].sum(0))["overall"]
        scores |= _on_fasseg(model, config, context)
    if seed == 0 and (shown := faces_of.shown_faces(config, context.data_root)) is not None:
        arrays |= _examples(model, shown, config)
    people = len(np.unique(arrays["units"]))
    return Outcome(scores, arrays=arrays, units={"face": people})


def _missing_parts(model: STNICNN, config: Config, seed: int, context: Context) -> dict[str, np.ndarray]:
    """Faces whose parts are painted over, one more at a time: which of the parts' pixels the crops still hold.

    "recall_erased", "recall_left": int32 (faces, numbers of erased parts, 2) over the parts that are erased and over
    the others; "confusion_erased": the whole faces with `SCORED` parts erased.
    """
    erased, left, arrays = [], [], {}
    for number in ERASED:
        found = faces_of.faces_without(config, context.data_root, number=number)
        labels, theta = parse(model, found, config)
        counts = inside_crops(theta, found.labels)
        lost = np.array([[f"no {part}" in tags for part in CROPS] for tags in found.tags])[..., None]
        erased.append((counts * lost).sum(1))
        left.append((counts * ~lost).sum(1))
        if number == SCORED:
            arrays["confusion_erased"] = _confusion(labels, found)
            arrays["units_erased"] = numbered(found.persons or found.names)
            if seed == 0 and config.dataset != "helen":
                some = found.subset(faces_of.evenly_spaced(len(found), faces_of.SHOWN))
                arrays |= {f"missing_{name}": value for name, value in _examples(model, some, config).items()}
    return {"recall_erased": np.stack(erased, 1), "recall_left": np.stack(left, 1), **arrays}


def _on_fasseg(model: STNICNN, config: Config, context: Context) -> dict[str, float]:
    """The columns of Table 2 on FASSEG, where it is at hand; the parser has not seen it."""
    found = faces_of.fasseg_faces(config.source, context.data_root)
    if found is None:
        return {}
    labels = parse(model, found, config)[0]
    return {f"{name}_fasseg": value for name, value in percentages(_confusion(labels, found).sum(0)).items()}


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


# --- what the figures need ---------------------------------------------------------------------------


def _examples(model: nn.Module, found: FaceSet, config: Config) -> dict[str, np.ndarray]:
    """Predictions on a few faces, rough masks and θ, and the faces themselves.

    "example_…": images uint8 (N, h, w, 3), labels and predictions uint8 (N, h, w), no side longer than `KEPT_SIDE`;
    coarse uint8 (N, s, s); theta float32 (N, 6, 2, 3).
    """
    labels, theta = parse(model, found, config)
    side = min(KEPT_SIDE, config.source.frame)
    arrays = {"example_predictions": np.stack([resize_labels(one, side) for one in labels])}
    if isinstance(model, STNICNN):
        arrays["example_images"] = np.stack([resize_picture(one, side) for one in found.images])
        arrays["example_labels"] = np.stack([resize_labels(one, side) for one in found.labels])
        arrays["example_theta"] = theta
        rough = parse(model, found, replace(config, stage="coarse"))[0]
        arrays["example_coarse"] = np.stack([resize_labels(one, config.small) for one in rough])
    return arrays


# --- speed -------------------------------------------------------------------------------------------


def _timed(config: Config, seed: int, context: Context) -> Outcome:
    """How long a row takes per face, from frame to labels, in percent of the baseline that is timed in turn with it.

    Untrained networks: their values do not matter here. The arrays that are judged are left out where other processes
    want the cores, too.
    """
    torch.manual_seed(seed)
    found = faces_of.faces(config, context.data_root)
    mean = faces_of.mean_theta(found.train.labels, **_patches(config))
    models = []
    for cropper in ("baseline", config.cropper):
        place = localiser(config, mean=mean) if cropper == "stn" else None
        parser = replace(config, cropper=cropper)
        networks = {kind: icnn(config, count) for kind, count in FINE_LABELS.items()}
        models.append(assembled(parser, coarse=icnn(config, len(CLASSES)), places=place, fine=networks))
    models = [model.to(context.device).eval() for model in models]
    images = faces_of.tensors(found.test)["images"]
    most = max(TIMED_BATCHES)
    full = images[torch.arange(most) % len(images)].to(context.device).float() / 255
    took = np.zeros((REPEATS, len(models), len(TIMED_BATCHES)))
    for repeat in range(-2, REPEATS):  # the first two warm up
        for which, model in enumerate(models):
            for kind, count in enumerate(TIMED_BATCHES):
                start = time.perf_counter()
                model.parse(faces_of.shrunk(full[:count], config.small), full[:count])
                if full.is_cuda:
                    torch.cuda.synchronize()
                took[max(repeat, 0), which, kind] = 1000 * (time.perf_counter() - start) / count
    relative = 100 * took[:, 1] / took[:, 0]
    own, share_of_baseline = np.median(took[:, 1], axis=0), np.median(relative, axis=0)
    scores = {
        "milliseconds": float(own[0]), "milliseconds_batched": float(own[1]),
        "relative_time": float(share_of_baseline[0]), "relative_time_batched": float(share_of_baseline[1]),
    }  # fmt: skip
    load = os.getloadavg()[0]
    arrays: dict[str, np.ndarray] = {"repeats": np.arange(REPEATS)}
    if load <= ALONE:
        arrays |= {"relative_time": relative[:, 0], "relative_time_batched": relative[:, 1]}
    return Outcome(scores | {"load": float(load)}, arrays=arrays)


# --- for `plan` --------------------------------------------------------------------------------------


class OfFrames(nn.Module):
    """A two-stage parser, or a part of it, as a network of whole frames: what `plan` counts and times.

    In training it returns what the loss takes, else scores (N, 9, H, W).
    """

    def __init__(self, network: nn.Module, config: Config) -> None:
        super().__init__()
        self.network, self.small = network, config.small
        frame = (config.source.frame,) * 2
        middle = torch.full((1, len(CROPS), 2), float(frame[0] // 2))
        self.theta = nn.Parameter(
            theta_of_centres(middle, frame=frame, patch=faces_of.sides(**_patches(config))), requires_grad=False
        )

    def forward(self, full: Tensor) -> Tensor | dict[str, Tensor]:
        if isinstance(self.network, STNICNN):
            outputs = self.network(faces_of.shrunk(full, self.small), full)
        else:
            outputs = self.network(full, self.theta.expand(len(full), -1, -1, -1))
        return outputs if self.training else assemble(outputs, frame=tuple(full.shape[-2:]))


class OfMasks(nn.Module):
    """A localisation network fed with images in place of rough masks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.repeat(1, len(CLASSES) // images.shape[1], 1, 1))


def network_of(work: Work) -> nn.Module:
    """The network of a training, from random weights."""
    config = work.config
    if work.stage == "coarse":
        return icnn(config, len(CLASSES))
    if work.stage == "whole face":
        return pretrained.unet("mobilenet_v2", len(CLASSES), pretrained=False)
    place = localiser(config, mean=torch.zeros(len(CROPS), 2, 3)) if needs_localiser(config) else None
    if work.stage == "localiser":
        return OfMasks(place)
    if work.stage == "fine":
        return OfFrames(fine_stage(config), config)
    return OfFrames(assembled(config, coarse=icnn(config, len(CLASSES)), places=place, fine=fine_stage(config)), config)


def workload(work: Work, *, images: int) -> Workload:
    """What `plan --measure` times: so many random frames, and the loss and augmentation of the training."""
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
    """Parameters of every network, free entries of θ, and the arithmetic of patches, each with whose number it is."""
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
    """How far left of its middle the first pixel of a patch is, pixels of the paper's frame (Eq. 21)."""
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
