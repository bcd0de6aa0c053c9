"""What one trial of wang2018 does: train or load its networks, then score their masks on other people's clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics
from reprolib.checkpoints import fitted_once
from reprolib.datasets import landmarks
from reprolib.datasets.clips import ClipSet, windows
from reprolib.datasets.landmark_masks import BACKGROUND, SKIN, masks_of_track
from reprolib.datasets.people import numbered
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.losses.dice import dice_loss
from reprolib.losses.iou_loss import iou_loss
from reprolib.losses.segmentation_loss import segmentation_loss
from reprolib.models.conv_lstm import ConvLSTMFCN, FrameClassifier
from reprolib.models.deeplab_v2 import DeepLabV2
from reprolib.models.fcn_resnet50 import STRIDE, FCNResNet50, caffe_inputs, upsample_tf1
from reprolib.models.fcn_vgg16 import FCNVGG16
from reprolib.models.quarter_width import QuarterEncoder  # noqa: F401  (names "resnet34/4" for the Unet)
from reprolib.studies.wang2018 import data as clips_of
from reprolib.studies.wang2018 import settings as s
from reprolib.studies.wang2018.plan import conv_lstm, fcn, new_classifier
from reprolib.studies.wang2018.scores import NAMES, mask_metrics
from reprolib.training import Schedule, images_per_second, make_fabric, train
from reprolib.trial import Context, Outcome, Trial

SMOOTHING_SIGMA, SMOOTHING_FRAMES = 0.6, 5  # Table 2
BATCH = 20  # frames at a time in prediction, a multiple of T
# What else than a row's own choices a trained network depends on.
FCN_SPEC = ("data", "size", "width", "fc_channels", "clips", "frames", "fcn_epochs", "batch_size", "lr")
CONV_LSTM_SPEC = (*FCN_SPEC, "epochs", "batch_clips", "conv_lstm_lr")
OPTIONS = ("memory", "peepholes", "output", "input_scale")  # of the ConvLSTM
OPTIMISERS = {
    "Adam": torch.optim.Adam,
    "RMSprop, ρ = 0.9": partial(torch.optim.RMSprop, alpha=0.9, eps=1e-7),  # as Keras has it
}

Predict = Callable[[np.ndarray, int], np.ndarray]
"""Frames uint8 (T, H, W, 3) of a clip and a side -> labels uint8 (T, side, side)."""


def execute(trial: Trial, context: Context) -> Outcome:
    """Train the trial's system and score it on the test clips; every random number follows from `trial.seed`."""
    p, seed = trial.params, trial.seed
    if p["stage"] in ("tracker", "mean"):
        predict = _tracked if p["stage"] == "tracker" else _mean_mask(p, context)
        return _outcome(predict, {}, p, context, speed=_clips_per_second(predict, p, context))
    if p["stage"] == "combined":
        return _combined(p, seed, context)
    model, curves = _trained(p, seed, context)
    return _outcome(_predictor(model, p), curves, p, context, speed=_frames_per_second(model, p))


# --- networks and their training ----------------------------------------------------------------------


def _trained(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """A network with its curves, trained once for all trials that need it."""
    return _fcn(p, seed, context) if p["stage"] == "fcn" else _conv_lstm(p, seed, context)


def _fcn(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """A network that sees frames one by one, trained with cross-entropy (Sec. 4.2)."""
    p = {**p, **fcn(p["network"], region=p["region"])}  # smoothing comes after training

    def fit(model: nn.Module) -> dict:
        training, validation, _ = clips_of.region_sets(p, context.data_root)
        frames = {"images": inputs(_flat(training.images)), "labels": _labels(_flat(training.labels))}
        schedule = Schedule.decay(p["fcn_epochs"], p["batch_size"], p["lr"], _linear(p["fcn_epochs"]))
        return _train_best(model, frames, LOSSES["cross_entropy"], schedule, seed, context, validation, p)

    spec = {name: p[name] for name in FCN_SPEC}
    spec |= {"stage": "fcn", "network": p["network"], "region": p["region"], "seed": seed, "recipe": s.RECIPE}
    return fitted_once("wang2018", spec, lambda: build(p), fit, context)


def _conv_lstm(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """The baseline FCN with a ConvLSTM for its classifier, trained on clips; frozen layers are run once (Sec. 3.1).

    Or, as a control, with a new classifier of the same kind as the one that it had.
    """
    baseline = {**p, **fcn(region=p["region"])}

    def build_from_baseline() -> nn.Module:
        network, _ = _fcn(baseline, seed, context)
        torch.manual_seed(seed)  # whether the baseline came from a checkpoint must not matter
        if p["stage"] == "classifier":
            model = ConvLSTMFCN(network.cpu())
            model.conv_lstm = FrameClassifier(network.classifier.in_channels, network.classifier.out_channels)
            return model
        return ConvLSTMFCN(network.cpu(), **{name: p[name] for name in OPTIONS})

    def fit(model: nn.Module) -> dict:
        training, validation, _ = clips_of.region_sets(p, context.data_root)
        rates = {"network.": p["gamma"]}
        method = OPTIMISERS[p["optimiser"]]
        loss, batch = LOSSES[p["loss"]], p["batch_clips"]
        if p["gamma"]:
            schedule = Schedule.decay(
                p["epochs"], batch, p["conv_lstm_lr"], _linear(p["epochs"]), rates=rates, optimiser=method
            )
            data = {"images": inputs(training.images), "labels": _labels(training.labels)}
            return _train_best(model, data, loss, schedule, seed, context, validation, p)
        schedule = Schedule.decay(p["epochs"], batch, p["conv_lstm_lr"], _linear(p["epochs"]), optimiser=method)
        data = {"images": _features(model, training, context), "labels": _labels(training.labels)}
        return _train_best(model, data, loss, schedule, seed, context, validation, p, part=model.conv_lstm)

    own = conv_lstm() if p["stage"] == "conv_lstm" else new_classifier(p["loss"])  # "still" comes after training
    spec = {name: p[name] for name in (*CONV_LSTM_SPEC, *own)}
    return fitted_once("wang2018", spec | {"seed": seed, "recipe": s.RECIPE}, build_from_baseline, fit, context)


def build(p: Mapping) -> nn.Module:
    """The network of an "fcn" row with random weights: frames float32 (N, 3, H, W) to scores (N, classes, H, W)."""
    classes, width = len(NAMES[p["region"]]), p["width"]
    if p["network"] == "FCNVGG16":
        return FCNVGG16(classes=classes, width=width, fc_channels=p["fc_channels"])
    if p["network"] == "DeepLabV2":
        return DeepLabV2(classes=classes, width=width)
    if p["network"] == s.UNET_NETWORK:
        if width == 64:
            return smp.Unet("resnet50", encoder_weights=None, classes=classes)
        decoder = (64, 32, 16, 16, 16)  # a quarter, too, but enough for the classes
        return smp.Unet("resnet34/4", encoder_weights=None, decoder_channels=decoder, classes=classes)
    return FCNResNet50(classes=classes, width=width)


def _train_best(
    model: nn.Module,
    data: Mapping[str, Tensor],
    loss: Loss,
    schedule: Schedule,
    seed: int,
    context: Context,
    validation: ClipSet,
    p: Mapping,
    *,
    part: nn.Module | None = None,
) -> dict:
    """Train `model`, or a `part` of it on its features, and keep the epoch with the best validation mIoU (Sec. 4.2)."""
    best = {"miou": -np.inf, "state": None}
    model.to(context.device)

    def validate(_: nn.Module, epoch: int) -> dict[str, float]:
        model.eval()
        found = np.stack([_predictor(model, p)(clip, validation.labels.shape[-1]) for clip in validation.images])
        counts = metrics.confusion(_flat(found), _flat(validation.labels), len(validation.classes))
        miou = float(mask_metrics(counts.sum(0))["miou"])
        if miou > best["miou"] or best["state"] is None:
            best.update(miou=miou, state={name: value.detach().clone() for name, value in model.state_dict().items()})
        return {"validation_miou": miou}

    def of_output(scores: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if part is not None:  # scores of cells, (N, T, classes, h, w)
            scores = upsample_tf1(scores.flatten(0, 1), STRIDE).unflatten(0, scores.shape[:2])
        return loss(scores, batch["labels"])

    trained = model if part is None else part
    curves = train(
        trained, data, of_output, schedule=schedule, fabric=make_fabric(context.device), seed=seed, each_epoch=validate
    ).curves
    model.load_state_dict(best["state"])
    model.eval()
    return curves


def _linear(epochs: int) -> Callable[[int], float]:
    """The rate falls linearly and would be zero after the last epoch."""
    return lambda epoch: 1 - epoch / epochs


@torch.no_grad()
def _features(model: ConvLSTMFCN, clips: ClipSet, context: Context) -> Tensor:
    """What the frozen layers make of every frame, float32 (N, T, C, h, w)."""
    model.to(context.device).eval()
    made = [model.network.features(inputs(clip).to(context.device)).cpu() for clip in clips.images]
    return torch.stack(made)


# --- losses ------------------------------------------------------------------------------------------


Loss = Callable[[Tensor, Tensor], Tensor]
"""Scores (N, classes, H, W) and labels (N, H, W) of frames, or (N, T, classes, H, W) and (N, T, H, W) of clips."""


def _of_frames(loss: Loss) -> Loss:
    """A loss of frames, also for clips: their frames are taken one by one."""

    def of_any(scores: Tensor, labels: Tensor) -> Tensor:
        clips = labels.ndim == 4
        return loss(scores.flatten(0, 1), labels.flatten(0, 1)) if clips else loss(scores, labels)

    return of_any


def _per_clip(scores: Tensor, labels: Tensor) -> Tensor:
    """Eq. 7 with the weights of each clip."""
    return segmentation_loss(scores.transpose(1, 2), labels, probabilities=True, hard_counts=True, per_image=True)


# Eq. 4 is the IoU of masks: counts are hard. g′ and f′ of Eq. 5 move predictions between 0 and 1: Eq. 9 is of
# probabilities. The hinge of Eq. 8 is of scores, as the paper's example shows.
_eq_9 = partial(segmentation_loss, form="linear", probabilities=True)
LOSSES: dict[str, Loss] = {
    "cross_entropy": _of_frames(F.cross_entropy),
    "iou": _of_frames(iou_loss),
    "hinge": _of_frames(partial(segmentation_loss, form="hinge", margin=1.0, hard_counts=True)),
    "linear_margin": _of_frames(partial(_eq_9, margin=0.1, hard_counts=True)),
    "linear": _of_frames(partial(_eq_9, hard_counts=True)),
    "linear_soft": _of_frames(_eq_9),
    "linear_scores": _of_frames(partial(segmentation_loss, hard_counts=True)),
    "linear_soft_scores": _of_frames(segmentation_loss),
    "linear_through": _of_frames(partial(_eq_9, through_weights=True)),
    "linear_per_clip": _per_clip,
    "dice": _of_frames(dice_loss),
    "lovasz": _of_frames(smp.losses.LovaszLoss("multiclass")),
}


# --- masks -------------------------------------------------------------------------------------------


def inputs(images: np.ndarray) -> Tensor:
    """uint8 (…, H, W, 3) RGB -> float32 (…, 3, H, W) as the baseline was trained on: BGR less ImageNet's means."""
    return caffe_inputs(images)


def _predictor(model: nn.Module, p: Mapping) -> Predict:
    """Labels at any side: scores are resized before the greatest is taken (Sec. 4.2)."""

    def predict(frames: np.ndarray, side: int) -> np.ndarray:
        of_clip = _scores_of_still if p.get("still") else partial(_scores, steps=_steps(p))
        scores = of_clip(model, _at(frames, p["size"]))
        if p["stage"] == "fcn" and p["smoothed"]:
            scores = smoothed(scores.softmax(1))
        return F.interpolate(scores, (side, side), mode="bilinear").argmax(1).to(torch.uint8).cpu().numpy()

    return predict


@torch.no_grad()
def _scores(model: nn.Module, frames: np.ndarray, *, steps: int | None) -> Tensor:
    """Scores (T, classes, H, W) of the frames uint8 (T, H, W, 3) of a clip, `steps` at a time if given."""
    device = next(model.parameters()).device
    made = inputs(frames).to(device)
    if steps is None:
        return torch.cat([model(batch) for batch in made.split(BATCH)])
    return torch.cat([model(window[None])[0] for window in made.split(steps)])


@torch.no_grad()
def _scores_of_still(model: nn.Module, frames: np.ndarray) -> Tensor:
    """As `_scores`, but a frame stands in the place of all before it in its window: as many steps, and no motion."""
    made = inputs(frames).to(next(model.parameters()).device)
    windowed = made.split(s.STEPS)
    return torch.cat([model(window[t].expand(1, t + 1, *window[t].shape))[0, -1:]
                      for window in windowed for t in range(len(window))])  # fmt: skip


def smoothed(probabilities: Tensor) -> Tensor:
    """Class probabilities (T, classes, H, W) averaged over five frames with Gaussian weights, σ = 0.6 (Table 2).

    At the ends of a clip the weights of the frames that are there are scaled up to one.
    """
    offsets = torch.arange(SMOOTHING_FRAMES, device=probabilities.device) - SMOOTHING_FRAMES // 2
    weights = torch.exp(-(offsets**2) / (2 * SMOOTHING_SIGMA**2))
    at = torch.arange(len(probabilities), device=probabilities.device)
    distance = at[None] - at[:, None] + SMOOTHING_FRAMES // 2  # (T, T)
    inside = (distance >= 0) & (distance < SMOOTHING_FRAMES)
    mixing = torch.where(inside, weights[distance.clamp(0, SMOOTHING_FRAMES - 1)], 0.0)
    return torch.einsum("ts,schw->tchw", mixing / mixing.sum(1, keepdim=True), probabilities)


def _tracked(frames: np.ndarray, side: int) -> np.ndarray:
    """The face tracker of Table 2: dlib's landmarks on what the networks see, as masks."""
    return masks_of_track((landmarks.track(frames) + 0.5) * side / frames.shape[1] - 0.5, (side, side))


def _mean_mask(p: Mapping, context: Context) -> Predict:
    """At every pixel the class that most training frames have there: who does not look at all."""
    training = clips_of.sets_of(p, context.data_root)[0]
    frames = _flat(training.labels)
    votes = np.stack([(frames == k).sum(0) for k in range(len(training.classes))])
    mean = votes.argmax(0).astype(np.uint8)
    return lambda shown, side: np.repeat(resize_labels(mean, side)[None], len(shown), axis=0)


def _combined(p: Mapping, seed: int, context: Context) -> Outcome:
    """The full system (Sec. 3.3): the primary model finds eyes and mouth, the zoomed-in models label them anew."""

    def part(gamma: float | None, region: str) -> dict:
        return {**p, **(fcn(region=region) if gamma is None else conv_lstm(gamma=gamma, region=region))}

    face = part(p["gamma"], "face")
    primary, curves = _trained(face, seed, context)
    near = {region: part(p["zoom_gamma"], region) for region in s.REGIONS}
    models = {region: _trained(spec, seed, context)[0] for region, spec in near.items()}
    zoomed = {region: _predictor(model, near[region]) for region, model in models.items()}

    def predict(frames: np.ndarray, side: int) -> np.ndarray:
        first = _predictor(primary, face)(frames, side)
        steps = range(0, len(frames), s.STEPS)
        return np.concatenate([zoom_in(frames[t : t + s.STEPS], first[t : t + s.STEPS], zoomed) for t in steps])

    each = [_frames_per_second(primary, face)] + [_frames_per_second(models[r], near[r]) for r in s.REGIONS]
    outcome = _outcome(predict, curves, p, context, speed=1 / sum(1 / speed for speed in each))
    if "example_images" in outcome.arrays:
        test = windows(clips_of.sets_of(p, context.data_root)[2], length=s.STEPS)
        chosen = test.subset(clips_of.shown_frames(test))
        side = chosen.labels.shape[-1]
        found = np.stack([_predictor(primary, face)(clip, side) for clip in chosen.images])
        boxes = [[clips_of.region_box(clip, region) or (0, 0, 0) for region in s.REGIONS] for clip in found]
        outcome.arrays |= {"example_primary": found[:, -1], "example_boxes": np.array(boxes)}
    return outcome


def zoom_in(frames: np.ndarray, first: np.ndarray, zoomed: Mapping[str, Predict]) -> np.ndarray:
    """Primary labels (T, H, W) of frames (T, H, W, 3) with eyes and mouth replaced by what zoomed-in models find.

    A region's box is fixed for all frames. What the primary model calls eyes or mouth becomes skin first. A region
    that it finds in no frame stays as it is, and so does the background, whose IoU in Table 9 does not change.
    """
    combined = first.copy()
    for region, predict in zoomed.items():
        box = clips_of.region_box(first, region)
        if box is None:
            continue
        combined[np.isin(combined, clips_of.PARTS[region])] = SKIN
        x, y, side = box
        found = predict(clips_of.crops(frames, box, side), side)
        top, left = max(0, y), max(0, x)
        bottom, right = min(y + side, first.shape[1]), min(x + side, first.shape[2])
        inside = found[:, top - y : bottom - y, left - x : right - x]
        part = np.array([0, *clips_of.PARTS[region]], np.uint8)[inside]
        target = combined[:, top:bottom, left:right]
        new = (part > 0) & (target != BACKGROUND)
        target[new] = part[new]
    return combined


# --- scores ------------------------------------------------------------------------------------------


def _outcome(predict: Predict, curves: dict, p: Mapping, context: Context, *, speed: float) -> Outcome:
    """Scores on the test clips at the frames' own size, and what is needed to take them apart."""
    if p["region"] == "face":
        test = clips_of.sets_of(p, context.data_root)[2]
    else:
        test = clips_of.region_sets(p, context.data_root)[2]
    found = np.stack([predict(clip, test.labels.shape[-1]) for clip in test.images])
    confusion = metrics.confusion(_flat(found), _flat(test.labels), len(NAMES[p["region"]])).astype(np.int32)
    frames = test.images.shape[1]
    arrays = {
        "confusion": confusion,
        "subjects": np.repeat(numbered(test.subjects), frames),
        "categories": np.repeat(np.array(test.categories), frames),
        "clips": np.repeat(numbered(test.names), frames),
        "times": np.tile(np.arange(frames) % s.STEPS, len(test)),
    }
    if p["data"] == "synthetic" and p["system"] in s.PICTURED:  # nobody's face
        arrays |= _examples(test, found, p)
    scores = {name: float(value) for name, value in mask_metrics(confusion.sum(0)).items()}
    # the mean over frames, as Table 4 has it, beside the pooled counts of the other tables
    scores["miou_frames"] = float(np.nanmean(mask_metrics(confusion)["miou"]))
    finite = {name: value for name, value in scores.items() if np.isfinite(value)}
    return Outcome(finite, curves, arrays, {"images_per_second": speed})


def _examples(test: ClipSet, found: np.ndarray, p: Mapping) -> dict[str, np.ndarray]:
    """The fifth frame of a few clips at the network's size: what it saw, its annotation, its mask."""
    size = p["size"]
    windowed = windows(test, length=s.STEPS)
    chosen = clips_of.shown_frames(windowed)
    labels = windows_of(found)[chosen, -1]
    return {
        "example_images": np.stack([resize_picture(image, size) for image in windowed.images[chosen, -1]]),
        "example_labels": np.stack([resize_labels(label, size) for label in windowed.labels[chosen, -1]]),
        "example_predictions": np.stack([resize_labels(label, size) for label in labels]),
    }


def windows_of(frames: np.ndarray) -> np.ndarray:
    """(N, frames, …) -> (N · windows, T, …), as `clips.windows` cuts clips."""
    count = frames.shape[1] // s.STEPS
    return frames[:, : count * s.STEPS].reshape(-1, s.STEPS, *frames.shape[2:])


def _frames_per_second(model: nn.Module, p: Mapping) -> float:
    """Frames a second in one clip at a time (a single frame at a time for networks that see one)."""
    steps = _steps(p)
    picture = (3, p["size"], p["size"])
    shape = (1, *picture) if steps is None else (1, steps, *picture)
    return (steps or 1) * images_per_second(model, torch.zeros(shape), repeats=5)


def _steps(p: Mapping) -> int | None:
    """Frames that the network of a row sees together; None: one by one."""
    return None if p["stage"] == "fcn" else s.STEPS


def _clips_per_second(predict: Predict, p: Mapping, context: Context) -> float:
    """Frames a second of something that is no network, on the first test clip."""
    clip = clips_of.sets_of(p, context.data_root)[2].images[0]
    start = time.perf_counter()
    predict(clip, clip.shape[1])
    return len(clip) / (time.perf_counter() - start)


def _at(frames: np.ndarray, size: int) -> np.ndarray:
    return np.stack([resize_picture(frame, size) for frame in frames]) if frames.shape[1] != size else frames


def _flat(clips: np.ndarray) -> np.ndarray:
    """(N, T, …) -> (N · T, …)."""
    return clips.reshape(-1, *clips.shape[2:])


def _labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))
