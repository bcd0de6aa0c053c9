"""One trial of masi2020: teacher → pseudo-labels → pre-training → fine-tuning → scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics, report
from reprolib.checkpoints import fitted_once
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.people import numbered
from reprolib.datasets.segmentation_transfer import Panels, face_contour, panels, pseudo_labels
from reprolib.losses.blob_cross_entropy import blob_cross_entropy
from reprolib.losses.blobs import blobs_from_components, blobs_from_labels, one_blob_per_pixel
from reprolib.losses.consensus import consensus_loss, consensus_loss_batch_pooled
from reprolib.losses.dice import dice_loss
from reprolib.losses.smoothing import smoothness_penalty
from reprolib.measuring import Workload
from reprolib.models import complexity, pretrained, receptive_field
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.models.fcn_mobilenet import FCNMobileNet
from reprolib.planning import Work
from reprolib.studies.masi2020 import data as faces_of
from reprolib.studies.masi2020.config import ALPHA, BETA, Config, Loss, Training
from reprolib.studies.masi2020.rows import WATCHED_EPOCHS
from reprolib.studies.masi2020.scores import FACE, OCCLUSION, occlusion_metrics, parts_metrics, superpixel_percentage
from reprolib.studies.masi2020.work import CURVE_FACES, HELD_OUT, stage_spec
from reprolib.training import Batch, Fitted, Schedule, channels_first, fabric_of, images_per_second, predict, train
from reprolib.trial import Context, Outcome

IGNORED = 255
EXAMPLES = 12  # test faces whose predictions are kept for the figures


# --- one trial ---------------------------------------------------------------------------------------


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's network and score it once on the test faces; every random number follows from `seed`."""
    watched = Watched(_faces(config, context.data_root).validation, config)
    network, fitted = _fitted(config, seed, context, watched)
    score = _score_parts if config.task == "parts" else _score_occlusion
    outcome = score(network, config, context)
    outcome.metrics["validation"] = _validation(config, context.data_root)(network)
    if fitted is not None:
        outcome.curves, outcome.stopped = fitted.curves, asdict(fitted.stopped)
    if seed == 0 and watched.predictions:
        outcome.arrays |= watched.arrays(network)
    if config.stage == "transfer" and config.loss == "cross_entropy":  # both losses learn from the same labels
        quality, steps = _pseudo_label_quality(config, seed, context)
        outcome.metrics |= quality
        outcome.arrays |= steps
    return outcome


def validate(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row, which tuning compares; the test faces are not used."""
    fitted = _fitted(config, seed, context, Watched(_faces(config, context.data_root).validation, config))[1]
    return max(fitted.curves["validation"])


def _fitted(config: Config, seed: int, context: Context, watched: Watched) -> tuple[nn.Module, Fitted | None]:
    if config.stage == "trivial":
        return _trivial(config, context), None
    if config.stage == "teacher":
        return _teacher(config, seed, context)
    if config.stage == "transfer":
        return _transferred(config, seed, context)
    start, of_start = None, None
    if config.start in ("cross_entropy", "consensus"):
        start, of_start = _transferred(config, seed, context)
    # Seeded here and not before: whether the start came from a checkpoint must not matter.
    torch.manual_seed(seed)
    network = build(config)
    if start is not None:
        network.load_state_dict(start.state_dict())
    fitted = _fine_tune(network, config, seed, context, watched)
    if of_start is not None and not of_start.stopped.converged:  # a row is no better trained than its start
        fitted = replace(fitted, stopped=replace(fitted.stopped, converged=False))
    return network, fitted


# --- networks ----------------------------------------------------------------------------------------


def build(config: Config, *, classes: int = 3) -> nn.Module:
    """The network of a row, before training; `smoke` uses random weights where others start from ImageNet."""
    imagenet = config.start == "imagenet" and config.profile != "smoke"
    if config.network == "FCN":
        return FCNMobileNet(classes=classes, pretrained=imagenet)
    if config.network == "Unet":
        return pretrained.unet("mobilenet_v2", classes=classes, pretrained=imagenet)
    return EncoderDecoder(classes=classes, width=config.width, dropout=0.2 if config.regularised else 0.0)


def prepared(network: nn.Module) -> Callable[[Batch], dict[str, Tensor]]:
    """A function that prepares a batch: uint8 images (N, 3, H, W), labels and blobs for the network and its losses.

    Images are in [−1, 1] for the paper's network, as in the authors' release; others get ImageNet's mean and standard
    deviation. The tensors stay on the batch's device.
    """
    scaled = (lambda x: x.float().div(127.5).sub(1)) if isinstance(network, EncoderDecoder) else pretrained.normalised

    def prepare(batch: Batch) -> dict[str, Tensor]:
        maps = {name: value.long() for name, value in batch.items() if name != "images"}
        return {"images": scaled(batch["images"]), **maps}

    return prepare


class Constant(nn.Module):
    """A prediction that does not look at the image: logits (C, H, W), the same for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        return self.logits.expand(len(images), *self.logits.shape)


def _trivial(config: Config, context: Context) -> nn.Module:
    """The best prediction that ignores the image: each pixel's most frequent class in training, or face everywhere."""
    if config.network == "AllFace":
        return Constant(torch.tensor([0.0, 1.0, -1.0]).view(3, 1, 1).expand(3, config.size, config.size).clone())
    labels = _faces(config, context.data_root).train.labels
    return Constant(torch.from_numpy(np.stack([(labels == k).mean(0) for k in range(3)])).float())


# --- losses and augmentation -------------------------------------------------------------------------


def loss_of(loss: Loss, *, alpha: float, beta: float) -> Callable[[Tensor, Batch], Tensor]:
    """The loss of a row as a function of logits (N, K, H, W) and a batch with "labels" and "blobs"."""
    weights = {"alpha": alpha, "beta": beta}
    return {
        "cross_entropy": lambda x, b: F.cross_entropy(x, b["labels"], ignore_index=IGNORED),
        "cross_entropy_smoothed": lambda x, b: (
            F.cross_entropy(x, b["labels"], ignore_index=IGNORED) + smoothness_penalty(x, b["labels"])
        ),
        "blob_cross_entropy": lambda x, b: blob_cross_entropy(x, b["labels"], b["blobs"]),
        "dice": lambda x, b: dice_loss(x, b["labels"]),
        "consensus": lambda x, b: consensus_loss(x, b["labels"], b["blobs"], **weights),
        "consensus_batch_pooled": lambda x, b: consensus_loss_batch_pooled(x, b["labels"], b["blobs"], **weights),
    }[loss]


def flip(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mirror every face with probability ½: images, labels and blobs together."""
    mirrored = (torch.rand(len(batch["images"]), generator=generator) < 0.5).to(batch["images"].device)

    def mirror(value: Tensor) -> Tensor:
        return torch.where(mirrored.view(-1, *[1] * (value.ndim - 1)), value.flip(-1), value)

    return {name: mirror(value) for name, value in batch.items()}


def move(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Rotate (±30°), scale (×0.8–1.25) and shift (±10 %) every face; beyond the edge the image is mirrored.

    The blobs become the labels.
    """
    n = len(batch["images"])
    turn, scale, x, y = (torch.rand(4, n, generator=generator) * 2 - 1).to(batch["images"].device)
    angle, zoom = turn * (torch.pi / 6), 1.25**scale
    rows = torch.stack(
        [zoom * angle.cos(), -zoom * angle.sin(), 0.2 * x, zoom * angle.sin(), zoom * angle.cos(), 0.2 * y]
    )
    grid = F.affine_grid(rows.T.reshape(n, 2, 3), list(batch["images"].shape), align_corners=False)

    def sample(value: Tensor, mode: str) -> Tensor:
        return F.grid_sample(value, grid, mode=mode, padding_mode="reflection", align_corners=False)

    images = sample(batch["images"], "bilinear")
    labels = sample(batch["labels"][:, None].float(), "nearest").long()
    return {**batch, "images": images, "labels": labels[:, 0], "blobs": labels[:, 0]}


def _augment_teacher(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    return move(flip(batch, generator), generator)


def _tensors(faces: FaceSet, blobs: np.ndarray) -> dict[str, Tensor]:
    """uint8 images (N, 3, H, W), uint8 labels and int16 blobs (N, H, W): small until a batch is prepared."""
    return {
        "images": channels_first(faces.images),
        "labels": torch.from_numpy(faces.labels),
        "blobs": torch.from_numpy(blobs.astype(np.int16)),
    }


def predicted(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Hard labels uint8 (N, H, W) of uint8 images (N, H, W, 3)."""
    return predict(network, channels_first(images), prepare=prepared(network))


# --- for `plan` --------------------------------------------------------------------------------------


def network_of(work: Work) -> nn.Module:
    """The network of a training, with random weights."""
    return build(replace(work.config, start="random"), classes=work.network.classes)


def workload(work: Work, *, images: int) -> Workload:
    """The workload that `plan --measure` times: random images, labels of all classes in bands, the training's loss."""
    config, network = work.config, network_of(work)
    bands = (np.arange(config.size) * work.network.classes // config.size).astype(np.uint8)
    labels = np.tile(bands[:, None], (images, 1, config.size))
    noise = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    faces = FaceSet(noise, labels, faces_of.OCCLUSION_CLASSES, tuple(map(str, range(images))))
    augment = flip if config.regularised else None
    if config.stage == "teacher":
        augment = _augment_teacher
    return Workload(
        network, _tensors(faces, blobs_from_labels(labels)), loss_of(work.loss, alpha=config.alpha, beta=config.beta),
        prepared(network), augment,
    )  # fmt: skip


# --- the stages --------------------------------------------------------------------------------------


def _fit(
    network: nn.Module,
    faces: FaceSet,
    blobs: np.ndarray,
    loss: Callable[[Tensor, Batch], Tensor],
    training: Training,
    context: Context,
    seed: int,
    **more,
) -> Fitted:
    """Train a network in place; the epoch with the best validation score is kept."""
    sizes = (training.epochs, training.batch_size, training.lr)
    if training.final_lr < training.lr:
        schedule = Schedule.plateau(
            *sizes, final_lr=training.final_lr, drop_after=training.drop_after, patience=training.patience
        )
    else:
        schedule = Schedule.flat(*sizes, patience=training.patience)
    return train(
        network, _tensors(faces, blobs), loss, schedule=schedule, fabric=fabric_of(context),
        seed=seed, prepare=prepared(network), **more,
    )  # fmt: skip


def _once(config: Config, stage: str, seed: int, build_it, fit, context: Context) -> tuple[nn.Module, Fitted]:
    """A stage that several rows share, trained once for each seed."""
    return fitted_once("masi2020", stage_spec(config, stage) | {"seed": seed}, build_it, fit, context)


def _teacher(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """A binary FCN, deliberately error-prone where something covers a face (Sec. 3.1); +Occ.Aug. pastes occluders."""
    of_stage = replace(config, network="FCN", start="imagenet", regularised=False)

    def fit(network: nn.Module) -> Fitted:
        faces = faces_of.teacher_faces(of_stage, context.data_root)
        held_out = faces.validation

        def face_iou(model: nn.Module) -> float:
            counts = metrics.confusion(predicted(model, held_out.images), held_out.labels, 2).sum(0)
            return 100 * float(metrics.iou(counts)[FACE])

        return _fit(
            network, faces.train, blobs_from_labels(faces.train.labels),
            loss_of("cross_entropy", alpha=1, beta=0), config.pretraining.teacher, context, seed,
            augment=_augment_teacher, validate=face_iou,
        )  # fmt: skip

    return _once(config, "teacher", seed, lambda: build(of_stage, classes=2), fit, context)


def _transferred(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """Pre-training on the pseudo-labels of many unlabelled faces, with its own loss (Sec. 3.1, 4.1)."""
    stage = config.pretraining

    def fit(network: nn.Module) -> Fitted:
        teacher = _teacher(replace(config, occluded_teacher=False), seed, context)[0]
        images, landmarks = faces_of.transfer_faces(config, context.data_root)
        labels, blobs = pseudo_labels_of(teacher, images, landmarks)
        faces = FaceSet(images, labels, faces_of.OCCLUSION_CLASSES, tuple(map(str, range(len(images)))))
        held_out = np.arange(0, len(images), HELD_OUT)
        learnt = np.setdiff1d(np.arange(len(images)), held_out)

        def mean_iou(model: nn.Module) -> float:
            counts = metrics.confusion(predicted(model, images[held_out]), labels[held_out], 3).sum(0)
            return 100 * float(metrics.mean_iou(counts))

        return _fit(
            network, faces.subset(learnt), blobs[learnt], loss_of(stage.loss, alpha=ALPHA, beta=BETA),
            stage.transfer, context, seed, validate=mean_iou,
        )  # fmt: skip

    def plain() -> nn.Module:
        return EncoderDecoder(classes=3, width=config.width)

    return _once(config, "transfer", seed, plain, fit, context)


def pseudo_labels_of(teacher: nn.Module, images: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1–2 for many faces: labels uint8 (N, H, W) and blobs int64 (N, H, W) from the teacher's masks."""
    masks = predicted(teacher, images) == FACE
    size = images.shape[1:3]
    made = [pseudo_labels(face_contour(points, size), mask) for points, mask in zip(landmarks, masks, strict=True)]
    return np.stack([labels for labels, _ in made]), np.stack([blobs for _, blobs in made])


def _fine_tune(network: nn.Module, config: Config, seed: int, context: Context, watched: Watched) -> Fitted:
    """Supervised training; the classes are the blobs on Part Labels, components of occlusion on the other task."""
    faces = _faces(config, context.data_root).train
    blobs = blobs_from_labels(faces.labels)
    if config.task == "occlusion":
        # The face and the background are a blob each, every piece of occlusion its own (Sec. 3.1).
        blobs = blobs_from_components(faces.labels, component_classes=(OCCLUSION,))
    before = watched(network.to(context.device), -1)
    fitted = _fit(
        network, faces, blobs, loss_of(config.loss, alpha=config.alpha, beta=config.beta), config.training, context,
        seed, augment=flip if config.regularised else None, validate=_validation(config, context.data_root),
        each_epoch=watched,
    )  # fmt: skip
    # the curves begin before the first step
    curves = {name: [float(before[name]), *fitted.curves[name]] if name in before else curve
              for name, curve in fitted.curves.items()}  # fmt: skip
    return replace(fitted, curves=curves)


def _validation(config: Config, data_root: Path | None) -> Callable[[nn.Module], float]:
    """The task's main score on the validation faces: mean IoU of Part Labels, face IoU inside the box."""
    faces = _faces(config, data_root).validation

    def score(network: nn.Module) -> float:
        found = predicted(network, faces.images)
        if config.task == "parts":
            return float(parts_metrics(metrics.confusion(found, faces.labels, 3).sum(0))["iou_mean"])
        return float(occlusion_metrics(face_confusion(found, faces).sum(0))["iou_face"])

    return score


class Watched:
    """Sparsity and two masks on validation faces, before fine-tuning and after every epoch, for Figure 4."""

    def __init__(self, faces: FaceSet, config: Config) -> None:
        self.faces, self.config = faces.subset(range(min(CURVE_FACES, len(faces)))), config
        self.epochs: list[int] = []
        self.predictions: list[np.ndarray] = []

    def __call__(self, network: nn.Module, epoch: int) -> dict[str, float]:
        """The curves after `epoch`, counted from 0; −1 is before the first epoch."""
        found = predicted(network, self.faces.images)
        if self.config.task == "occlusion" and epoch + 1 in WATCHED_EPOCHS:
            self.epochs.append(epoch + 1)
            self.predictions.append(found[:2])
        return {"sparsity": float(_sparsity(found, self.faces.labels, self.config).mean())}

    def arrays(self, network: nn.Module) -> dict[str, np.ndarray]:
        """Two faces with their masks after some of the epochs; the last masks are those of the scored network."""
        last = predicted(network, self.faces.images[:2])
        return {
            "watched_images": self.faces.images[:2], "watched_labels": self.faces.labels[:2],
            "watched_predictions": np.stack([*self.predictions, last]), "watched_epochs": np.array([*self.epochs, -1]),
        }  # fmt: skip


# --- scores ------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _faces(config: Config, data_root: Path | None):
    return faces_of.part_labels(config, data_root) if config.task == "parts" else faces_of.occlusion(config, data_root)


def _sparsity(found: np.ndarray, labels: np.ndarray, config: Config) -> np.ndarray:
    """Surplus or missing components of each face: of all classes on Part Labels, otherwise of face and non-face."""
    if config.task == "parts":
        return metrics.sparsity(found, labels)
    return metrics.sparsity(found == FACE, np.where(labels == IGNORED, IGNORED, labels == FACE))


def face_confusion(found: np.ndarray, faces: FaceSet) -> np.ndarray:
    """Face against non-face inside the given face box: (N, 2, 2) (Sec. 4.3)."""
    inside = metrics.box_mask(faces.boxes, faces.labels.shape[1:])
    label = np.where(faces.labels == IGNORED, IGNORED, faces.labels == FACE)
    return metrics.confusion((found == FACE).astype(np.uint8), label, 2, where=inside)


def _score_occlusion(network: nn.Module, config: Config, context: Context) -> Outcome:
    test = _faces(config, context.data_root).test
    network.to(context.device)
    found = predicted(network, test.images)
    arrays = {
        "confusion": face_confusion(found, test),
        "sparsity": _sparsity(found, test.labels, config),
        "units": numbered(test.persons or test.names),
        **_examples(found, test, config),
    }
    if config.stage not in ("teacher", "trivial"):  # a binary teacher has no occlusion class
        arrays["sparsity_3"] = metrics.sparsity(found, test.labels)
    scores = occlusion_metrics(arrays["confusion"].sum(0))
    scores |= {name: arrays[name].mean() for name in ("sparsity", "sparsity_3") if name in arrays}
    real = faces_of.real_occluders(config, context.data_root)
    if real is not None:
        arrays["real_confusion"] = face_confusion(predicted(network, real.images), real)
        arrays["real_units"] = np.arange(len(real))
        scores["real_iou_face"] = occlusion_metrics(arrays["real_confusion"].sum(0))["iou_face"]
    return Outcome(_floats(scores), arrays=arrays, units={"person": len(np.unique(arrays["units"]))},
                   speed=_speed(network, test, config, context))  # fmt: skip


def _score_parts(network: nn.Module, config: Config, context: Context) -> Outcome:
    sets = _faces(config, context.data_root)
    test, large, clean = sets.test, sets.test_large, sets.clean
    network.to(context.device)
    found = predicted(network, test.images)
    enlarged = faces_of.nearest(found, large.labels.shape[1])
    arrays = {
        "confusion": metrics.confusion(found, test.labels, 3),
        "confusion_large": metrics.confusion(enlarged, large.labels, 3),
        "superpixels": metrics.superpixel_accuracy(found, test.labels, test.superpixels),
        "superpixels_large": metrics.superpixel_accuracy(enlarged, large.labels, large.superpixels),
        "sparsity": metrics.sparsity(found, test.labels),
        "units": numbered(test.persons or test.names),
        "clean": np.asarray(clean, bool),
        **_examples(found, test, config),
    }
    scores = {"sparsity": arrays["sparsity"].mean(), "sparsity_clean": arrays["sparsity"][arrays["clean"]].mean()}
    scores["official_superpixels"] = sets.superpixels == "official"
    for suffix, of_suffix, faces in (("", "", slice(None)), ("_large", "_large", slice(None)), ("_clean", "", clean)):
        columns = parts_metrics(arrays[f"confusion{of_suffix}"][faces].sum(0))
        columns["accuracy_sp"] = superpixel_percentage(arrays[f"superpixels{of_suffix}"][faces].sum(0))
        scores |= {name + suffix: value for name, value in columns.items()}
    return Outcome(_floats(scores), arrays=arrays, units={"person": len(np.unique(arrays["units"]))},
                   speed=_speed(network, test, config, context))  # fmt: skip


def _speed(network: nn.Module, test: FaceSet, config: Config, context: Context) -> dict[str, float]:
    """Images per second of the bare network on a GPU; a small network on a CPU says nothing about the paper's."""
    if config.stage == "trivial" or context.device != "cuda":
        return {}
    images = prepared(network)({"images": channels_first(test.images[:1]).to(context.device)})["images"]
    return {"images_per_second": images_per_second(network, images)}


def _floats(scores: Mapping) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}


# --- what the figures need ---------------------------------------------------------------------------


def _examples(found: np.ndarray, test: FaceSet, config: Config) -> dict[str, np.ndarray]:
    """Predictions on a few test faces, evenly spaced; trivial rows also keep the faces themselves."""
    chosen = np.linspace(0, len(test) - 1, min(EXAMPLES, len(test))).astype(int)
    arrays = {"example_predictions": found[chosen]}
    if config.stage == "trivial":
        arrays |= {"example_images": test.images[chosen], "example_labels": test.labels[chosen]}
    return arrays


def _pseudo_label_quality(config: Config, seed: int, context: Context) -> tuple[dict[str, float], dict]:
    """How good the pseudo-labels are on faces with annotation, step by step (Figure 2), and four of these faces.

    The teacher's mask, the full contour, the contour without the residual of Eq. 1, and the labels after morphology,
    each against the annotated face and the annotated occlusion (IoU in percent, pooled over all pixels).
    """
    faces = faces_of.pseudo_label_check(config, context.data_root)
    teacher = _teacher(replace(config, occluded_teacher=False), seed, context)[0]
    masks = predicted(teacher, faces.images) == FACE
    steps = [panels(points, mask) for points, mask in zip(faces.landmarks, masks, strict=True)]
    face, residual, labels = (np.stack([getattr(step, n) for step in steps]) for n in ("face", "residual", "labels"))
    of_face = {"teacher": masks, "contour": face, "residual": masks & face, "morphology": labels == FACE}
    of_occlusion = {"residual": residual, "morphology": labels == OCCLUSION}
    quality = {f"pseudo_{name}": _iou(mask, faces.labels == FACE) for name, mask in of_face.items()}
    quality |= {
        f"pseudo_occlusion_{name}": _iou(mask, faces.labels == OCCLUSION) for name, mask in of_occlusion.items()
    }
    shown = np.linspace(0, len(faces) - 1, min(6, len(faces))).astype(int)
    kept = {f"figure_2_{name}": np.stack([getattr(steps[i], name) for i in shown]) for name in Panels._fields}
    kept |= {"figure_2_image": faces.images[shown], "figure_2_teacher": masks[shown]}
    return quality, kept | {"figure_2_annotation": faces.labels[shown]}


def _iou(found: np.ndarray, truth: np.ndarray) -> float:
    return 100 * float((found & truth).sum() / max((found | truth).sum(), 1))


# --- numbers that follow from the method alone -------------------------------------------------------


def facts() -> list[report.Fact]:
    """Parameters, operations, receptive field and the loss's limit case, with the source of each published number."""
    model = EncoderDecoder().eval()
    path = receptive_field.longest_path(model)
    encoded = model.encoder(torch.zeros(1, 3, 128, 128))
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randint(0, 3, (2, 8, 8))
    pixels = torch.from_numpy(one_blob_per_pixel(labels.numpy()))
    limit = consensus_loss(logits, labels, pixels, alpha=ALPHA, beta=BETA) / F.cross_entropy(logits, labels)
    macs = complexity.macs(model, (1, 3, 128, 128)) / 1e9

    def fact(quantity: str, published: str, ours: float, source: str) -> report.Fact:
        return report.fact("masi2020", quantity, published, ours, source=source)

    return [
        fact("parameters of the encoder-decoder", "4,524,323", complexity.parameters(model), "release"),
        fact("multiply-accumulates at 128 px, in units of 10⁹", "7.0", macs, "release"),
        fact("receptive field of a classified pixel, px (Sec. 3.2)", "121",
             max(receptive_field.by_arithmetic(path)), "paper"),
        fact("loss with every pixel a blob, over α × cross-entropy (Sec. 3.3)", "1.000000", float(limit) / ALPHA,
             "paper"),
        fact("channels of the encoded image (Sec. 3.2)", "256", encoded.shape[1], "paper"),
        fact("side of the encoded image at 128 px (Sec. 3.2)", "32", encoded.shape[2], "paper"),
    ]  # fmt: skip
