"""What one trial of masi2020 does: teacher → pseudo-labels → pre-training → fine-tuning → scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics
from reprolib.checkpoints import fitted_once
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.people import numbered
from reprolib.datasets.segmentation_transfer import Panels, face_contour, panels, pseudo_labels
from reprolib.losses.blob_cross_entropy import blob_cross_entropy
from reprolib.losses.blobs import blobs_from_components, blobs_from_labels
from reprolib.losses.consensus import consensus_loss, consensus_loss_batch_pooled
from reprolib.losses.dice import dice_loss
from reprolib.losses.smoothing import smoothness_penalty
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.models.fcn8s import FCN8s
from reprolib.studies.masi2020 import data as faces_of
from reprolib.studies.masi2020 import settings as s
from reprolib.studies.masi2020.plan import ALPHA, BETA
from reprolib.studies.masi2020.scores import FACE, OCCLUSION, cofw_metrics, parts_metrics, superpixel_percentage
from reprolib.training import Batch, Schedule, images_per_second, make_fabric, predict, train
from reprolib.trial import Context, Outcome, Trial

FINAL_LR = 1e-5  # Sec. 4.1
TEACHER_BATCH, FINETUNE_BATCH = 16, 32  # the paper's 128 would give one and four steps an epoch on so few faces
CURVE_FACES = 100  # the first test faces: sparsity and IoU are followed on them during training (Figure 4b)
WATCHED_EPOCHS = (0, 1, 2, 4, 8, 16, 32, 64)  # after which Figure 4a shows the predictions; 0: before fine-tuning
EXAMPLES = 12  # test faces whose predictions are kept for the pictures


def execute(trial: Trial, context: Context) -> Outcome:
    """Train the trial's system and score it on the test faces; every random number follows from `trial.seed`."""
    p = trial.params
    if p["stage"] == "constant":
        outcome = _score_cofw(_EverythingIsFace(), {}, p, context)
        outcome.arrays |= _people(p, context)
        return outcome
    if p["stage"] == "teacher":
        return _score_cofw(*_teacher(p, trial.seed, context, occluded=p["task"] == "teacher_occluded"), p, context)
    if p["stage"] == "transfer":
        model, curves = _transferred(p, trial.seed, context, loss=p["loss"])
        outcome = _score_cofw(model, curves, p, context)
        if p["loss"] == "cross_entropy":  # the pseudo-labels are the same for both losses
            outcome.arrays |= _figure_2(p, trial.seed, context)
        return outcome

    start = None if p["start"] == "random" else _transferred(p, trial.seed, context, loss=p["start"])[0]
    # Seeded here and not before: whether the start came from a checkpoint must not matter.
    torch.manual_seed(trial.seed)
    model = _network(p, dropout=0.2 if p["regularised"] else 0.0)  # "+reg." is dropout 0.2 and flips
    if start is not None:
        model.load_state_dict(start.state_dict())
    score = _supervised_parts if p["task"] == "part_labels" else _supervised_cofw
    return score(model, p, trial.seed, context)


def _network(p: Mapping, *, dropout: float = 0.0, classes: int = 3) -> nn.Module:
    if p["network"] == "FCN8s":
        return FCN8s(classes=classes, width=p["width"], fc_channels=p["fc_channels"])
    if p["network"] == "Unet":
        return smp.Unet("resnet34", encoder_weights=None, classes=classes)
    return EncoderDecoder(classes=classes, width=p["width"], dropout=dropout)


class _EverythingIsFace(nn.Module):
    """What a score is worth: the trivial baseline."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        return self.logits.view(1, 2, 1, 1).expand(n, 2, height, width)


# --- losses and batches ------------------------------------------------------------------------------


def _loss(name: str, p: Mapping) -> Callable[[Tensor, Batch], Tensor]:
    """The loss of a table's row as a function of logits (N, K, H, W) and a batch with "labels" and "blobs"."""
    weights = {"alpha": p["alpha"], "beta": p["beta"]}
    return {
        "cross_entropy": lambda x, b: F.cross_entropy(x, b["labels"], ignore_index=255),
        "cross_entropy_smoothed": lambda x, b: (
            F.cross_entropy(x, b["labels"], ignore_index=255) + smoothness_penalty(x, b["labels"])
        ),
        "blob_cross_entropy": lambda x, b: blob_cross_entropy(x, b["labels"], b["blobs"]),
        "dice": lambda x, b: dice_loss(x, b["labels"]),
        "consensus": lambda x, b: consensus_loss(x, b["labels"], b["blobs"], **weights),
        "consensus_batch_pooled": lambda x, b: consensus_loss_batch_pooled(x, b["labels"], b["blobs"], **weights),
    }[name]


def _inputs(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [−1, 1], as in the authors' release."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def _batch(images: np.ndarray, labels: np.ndarray, blobs: np.ndarray) -> dict[str, Tensor]:
    return {
        "images": _inputs(images),
        "labels": torch.from_numpy(labels.astype(np.int64)),
        "blobs": torch.from_numpy(blobs.astype(np.int64)),
    }


def _flip(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mirror every face with probability ½."""
    mirrored = (torch.rand(len(batch["images"]), generator=generator) < 0.5).to(batch["images"].device)

    def flip(value: Tensor) -> Tensor:
        return torch.where(mirrored.view(-1, *[1] * (value.ndim - 1)), value.flip(-1), value)

    return {name: flip(value) for name, value in batch.items()}


def _move(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Turn (±45°), scale (×0.6–1.6) and shift (±35 %) every face, and mirror what runs over the edge.

    For the teacher: from a few centred faces it would else learn where faces are, not what they look like.
    """
    n = len(batch["images"])
    turn, scale, x, y = (torch.rand(4, n, generator=generator) * 2 - 1).to(batch["images"].device)
    angle, zoom = turn * (math.pi / 4), 1.6**scale
    rows = torch.stack(
        [zoom * angle.cos(), -zoom * angle.sin(), 0.7 * x, zoom * angle.sin(), zoom * angle.cos(), 0.7 * y]
    )
    grid = F.affine_grid(rows.T.reshape(n, 2, 3), list(batch["images"].shape), align_corners=False)

    def sample(value: Tensor, mode: str) -> Tensor:
        return F.grid_sample(value, grid, mode=mode, padding_mode="reflection", align_corners=False)

    images = sample(batch["images"], "bilinear")
    labels = sample(batch["labels"][:, None].float(), "nearest").long()
    return {**batch, "images": images, "labels": labels[:, 0]}


def _elsewhere(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Put half of the faces before blotches of random colours.

    For the teacher, again: FASSEG's faces stand before pale walls, and all that is not pale would be face.
    """
    images = batch["images"]
    blotches = torch.rand(len(images), 3, 6, 6, generator=generator).to(images.device) * 2 - 1
    blotches = F.interpolate(blotches, size=images.shape[2:], mode="bilinear", align_corners=False)
    moved = (torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5).to(images.device)
    return {**batch, "images": torch.where(moved & (batch["labels"] == 0)[:, None], blotches, images)}


# --- stages that several trials share ----------------------------------------------------------------

TEACHER_SPEC = (
    "data",
    "size",
    "width",
    "fc_channels",
    "batch_size",
    "teacher_faces",
    "teacher_epochs",
    "pretrain_lr",
)
TRANSFER_SPEC = (*TEACHER_SPEC, "transfer_faces", "transfer_epochs")


def _teacher(p: Mapping, seed: int, context: Context, *, occluded: bool) -> tuple[nn.Module, dict]:
    """Binary FCN-8s on few faces: error-prone on purpose (Sec. 3.1)."""

    def fit(model: nn.Module) -> dict:
        faces = faces_of.teacher_faces(p, context.data_root, occluded=occluded)
        rate = s.FCN_RATE * p["pretrain_lr"]
        return train(
            model,
            _batch(faces.images, faces.labels, blobs_from_labels(faces.labels)),
            _loss("cross_entropy", p),
            schedule=Schedule(p["teacher_epochs"], min(p["batch_size"], TEACHER_BATCH), rate, rate),
            fabric=make_fabric(context.device),
            seed=seed,
            augment=lambda batch, g: _elsewhere(_move(_flip(batch, g), g), g),
        )

    def build() -> nn.Module:
        return _network({**p, "network": "FCN8s"}, classes=2)

    spec = {"stage": "teacher", "occluded": occluded, "seed": seed, **{k: p[k] for k in TEACHER_SPEC}}
    return _once(spec, build, fit, context)


def _transferred(p: Mapping, seed: int, context: Context, *, loss: str) -> tuple[nn.Module, dict]:
    """Pre-training on the pseudo-labels of many unlabelled faces (Sec. 3.1, 4.1)."""

    def fit(model: nn.Module) -> dict:
        teacher, _ = _teacher(p, seed, context, occluded=False)
        images, landmarks = faces_of.transfer_faces(p, context.data_root)
        labels, blobs = pseudo_labels_of(teacher, images, landmarks)
        held_out = max(1, round(len(images) * faces_of.HELD_OUT))
        held_out_inputs = _inputs(images[-held_out:])

        def mean_recall(network: nn.Module) -> float:
            found = predict(network, held_out_inputs)
            return float(metrics.mean_recall(metrics.confusion(found, labels[-held_out:], 3).sum(0)))

        return train(
            model,
            _batch(images[:-held_out], labels[:-held_out], blobs[:-held_out]),
            _loss(loss, {"alpha": ALPHA, "beta": BETA}),
            schedule=Schedule(p["transfer_epochs"], p["batch_size"], p["pretrain_lr"], FINAL_LR),
            fabric=make_fabric(context.device),
            seed=seed,
            validate=mean_recall,
        )

    def build() -> nn.Module:
        return _network({**p, "network": "EncoderDecoder"})

    spec = {"stage": "transfer", "loss": loss, "seed": seed, **{k: p[k] for k in TRANSFER_SPEC}}
    return _once(spec, build, fit, context)


def _once(
    spec: Mapping, build: Callable[[], nn.Module], fit: Callable[[nn.Module], dict], context: Context
) -> tuple[nn.Module, dict]:
    return fitted_once("masi2020", {**spec, "recipe": s.RECIPE}, build, fit, context)


def pseudo_labels_of(teacher: nn.Module, images: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1–2 for many faces: labels uint8 (N, H, W) and blobs int64 (N, H, W) from the teacher's masks."""
    size = images.shape[1:3]
    masks = predict(teacher, _inputs(images)) == FACE
    made = [pseudo_labels(face_contour(points, size), mask) for points, mask in zip(landmarks, masks, strict=True)]
    return np.stack([labels for labels, _ in made]), np.stack([blobs for _, blobs in made])


# --- fine-tuning and scores --------------------------------------------------------------------------


def _fit_supervised(
    model: nn.Module, faces: FaceSet, blobs: np.ndarray, p: Mapping, seed: int, context: Context, **more
):
    return train(
        model,
        _batch(faces.images, faces.labels, blobs),
        _loss(p["loss"], p),
        schedule=Schedule(p["epochs"], min(p["batch_size"], FINETUNE_BATCH), p["lr"], p["lr"]),
        fabric=make_fabric(context.device),
        seed=seed,
        augment=_flip if p["regularised"] else None,
        **more,
    )


def _supervised_cofw(model: nn.Module, p: Mapping, seed: int, context: Context) -> Outcome:
    faces, test = faces_of.cofw_faces(p, context.data_root)
    followed = test.subset(range(min(CURVE_FACES, len(test))))
    inputs = _inputs(followed.images)

    snapshots = []

    def test_curve(network: nn.Module, epoch: int) -> dict[str, float]:
        found = predict(network, inputs)
        if p.get("watched") and epoch + 1 in WATCHED_EPOCHS:
            snapshots.append(predict(network, _inputs(test.images[_chosen(test)])))
        merged = metrics.sparsity(found == FACE, followed.labels == FACE)
        return {
            "test_sparsity": merged.mean(),
            "test_sparsity_3": metrics.sparsity(found, followed.labels).mean(),
            "test_iou_face": 100 * metrics.iou(_face_confusion(found, followed).sum(0))[FACE],
        }

    # The face and the background are a blob each, every piece of occlusion its own (Sec. 3.1).
    blobs = blobs_from_components(faces.labels, component_classes=(OCCLUSION,))
    before = test_curve(model.to(context.device), -1)
    curves = _fit_supervised(model, faces, blobs, p, seed, context, each_epoch=test_curve)
    curves |= {name: [float(before[name]), *curves[name]] for name in before}
    outcome = _score_cofw(model, curves, p, context)
    if snapshots:
        outcome.arrays["snapshots"] = np.stack(snapshots)  # (times, faces, H, W)
    return outcome


def _face_confusion(found: np.ndarray, faces: FaceSet) -> np.ndarray:
    """Face against non-face inside the given face box: (N, 2, 2) (Sec. 4.3)."""
    inside = metrics.box_mask(faces.boxes, faces.labels.shape[1:])
    label = np.where(faces.labels == 255, 255, faces.labels == FACE)
    return metrics.confusion((found == FACE).astype(np.uint8), label, 2, where=inside)


def _score_cofw(model: nn.Module, curves: dict, p: Mapping, context: Context) -> Outcome:
    test = faces_of.cofw_faces(p, context.data_root)[1]
    inputs = _inputs(test.images)
    found = predict(model, inputs)
    confusion = _face_confusion(found, test)
    sparsity = metrics.sparsity(found == FACE, test.labels == FACE)
    scores = cofw_metrics(confusion.sum(0)) | {"sparsity": sparsity.mean()}
    arrays = {"confusion": confusion, "sparsity": sparsity, **_examples(found, test, p)}
    if p["stage"] not in ("teacher", "constant"):  # a binary teacher has no occlusion class
        arrays["sparsity_3"] = metrics.sparsity(found, test.labels)
        scores["sparsity_3"] = arrays["sparsity_3"].mean()
    speed = {} if p["stage"] == "constant" else {"images_per_second": images_per_second(model, inputs)}
    return Outcome(_floats(scores), curves, arrays, speed)


def _supervised_parts(model: nn.Module, p: Mapping, seed: int, context: Context) -> Outcome:
    large = s.SCALES[p["profile"]].large_size
    faces, test = faces_of.part_label_faces(p, context.data_root, large_size=large)
    small, small_test = faces_of.resized(faces, p["size"]), faces_of.resized(test, p["size"])
    # The classes are the blobs (Sec. 4.1).
    curves = _fit_supervised(model, small, blobs_from_labels(small.labels), p, seed, context)

    inputs = _inputs(small_test.images)
    found = predict(model, inputs)
    upsampled = faces_of.nearest(found, large)
    sparsity = metrics.sparsity(found, small_test.labels)
    arrays = {
        "confusion": metrics.confusion(found, small_test.labels, 3),
        "confusion_large": metrics.confusion(upsampled, test.labels, 3),
        "superpixels": metrics.superpixel_accuracy(found, small_test.labels, small_test.superpixels),
        "superpixels_large": metrics.superpixel_accuracy(upsampled, test.labels, test.superpixels),
        "sparsity": sparsity,
        **_examples(found, small_test, p),
    }
    scores = {"sparsity": sparsity.mean()}
    for size in ("", "_large"):
        columns = parts_metrics(arrays[f"confusion{size}"].sum(0))
        columns["accuracy_sp"] = superpixel_percentage(arrays[f"superpixels{size}"].sum(0))
        scores |= {name + size: value for name, value in columns.items()}
    return Outcome(_floats(scores), curves, arrays, {"images_per_second": images_per_second(model, inputs)})


def _floats(scores: Mapping) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}


# --- what the pictures need --------------------------------------------------------------------------


def _examples(found: np.ndarray, test: FaceSet, p: Mapping) -> dict[str, np.ndarray]:
    """Predictions on a few test faces, evenly spaced; the faces themselves beside one system of each task."""
    chosen = _chosen(test)
    arrays = {"example_predictions": found[chosen]}
    shows_faces = p["system"] in (s.TEACHER, s.PARTS_BASELINE) and p["data"] != "paper"
    if shows_faces:
        arrays |= {"example_images": test.images[chosen], "example_labels": test.labels[chosen]}
    return arrays


def _chosen(test: FaceSet) -> np.ndarray:
    return np.linspace(0, len(test) - 1, min(EXAMPLES, len(test))).astype(int)


def _people(p: Mapping, context: Context) -> dict[str, np.ndarray]:
    """Who is who on the test faces of both tasks, as numbers: faces of one person are no independent evidence."""
    large = s.SCALES[p["profile"]].large_size
    tests = {
        "people_cofw": faces_of.cofw_faces(p, context.data_root)[1],
        "people_parts": faces_of.part_label_faces(p, context.data_root, large_size=large)[1],
    }
    return {name: numbered(test.persons or test.names) for name, test in tests.items()}


def _figure_2(p: Mapping, seed: int, context: Context) -> dict[str, np.ndarray]:
    """A few faces that the teacher has not seen through §3.1, panel by panel."""
    if p["data"] == "paper":
        return {}
    teacher, _ = _teacher(p, seed, context, occluded=False)
    images, landmarks = faces_of.transfer_examples(p, context.data_root, count=4)
    masks = predict(teacher, _inputs(images)) == FACE
    steps = [panels(points, mask) for points, mask in zip(landmarks, masks, strict=True)]
    kept = {f"figure_2_{name}": np.stack([getattr(step, name) for step in steps]) for name in Panels._fields}
    return kept | {"figure_2_image": images, "figure_2_teacher": masks}
