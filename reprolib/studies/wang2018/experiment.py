"""One trial of wang2018: train or load its networks, then score their masks on other people's frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib import metrics, report
from reprolib.checkpoints import fitted_once
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.people import numbered
from reprolib.datasets.pictures import resize_labels
from reprolib.measuring import Workload
from reprolib.models import complexity, pretrained
from reprolib.models.conv_lstm import ConvLSTM, ConvLSTMFCN, FrameClassifier, saturation, start_at_classifier
from reprolib.models.dilated_fcn import CHANNELS, DilatedFCN
from reprolib.models.fcn_resnet50 import FCNResNet50, keras_parameters, output_sizes
from reprolib.models.fcn_vgg16 import FCNVGG16
from reprolib.models.lip_inference import OneOutput
from reprolib.planning import Work
from reprolib.studies.wang2018 import data as of
from reprolib.studies.wang2018.batches import (
    LOSS_STRIDE,
    at_loss_stride,
    augment,
    cells_to_pixels,
    flat,
    loss_of,
    on_device_of,
    prepare,
    training_labels,
)
from reprolib.studies.wang2018.config import CLASSES, FCN_EVERY, PAPERS_RATE, STEPS, Config, Training
from reprolib.studies.wang2018.masks import BATCH, Find, System, features_of, finder, mean_mask, near_finder, tracked
from reprolib.studies.wang2018.rows import REGIONS
from reprolib.studies.wang2018.scores import mask_metrics, over_time, percentages
from reprolib.studies.wang2018.work import fcn_spec, layer_spec, part_of, primary_of
from reprolib.training import Batch, Fitted, Schedule, channels_first, fabric_of, train
from reprolib.trial import Context, Outcome

# --- one trial ---------------------------------------------------------------------------------------


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's networks and score them once on the test frames; every random number follows from `seed`."""
    if config.stage == "sizes":
        with torch.device("meta"):
            sizes = output_sizes(FCNResNet50(), PAPER_INPUT)
        return Outcome({f"side_{block}": float(side) for block, side in sizes.items()})
    sets = of.examples(config.source, config.region, context.data_root)
    trainings: dict[str, Fitted] = {}
    if config.stage == "mean mask":
        find = mean_mask(sets.train)
    elif config.stage == "tracker":
        find = partial(tracked, frames_of=of.sets_of(config.source, context.data_root))
    elif config.stage == "system":
        find, trainings = _system(config, seed, context)
    else:
        model, trainings = _trained(config, seed, context)
        find = finder(model, config)
    found = find(sets.test)
    outcome = _score(found, sets.test, config)
    outcome.metrics["validation"] = _miou(find(sets.validation), sets.validation)
    outcome.curves = {f"{name}_{curve}": values for name, f in trainings.items() for curve, values in f.curves.items()}
    if trainings:
        last = list(trainings.values())[-1].stopped
        # a row is no better than the least trained of its networks
        outcome.stopped = asdict(replace(last, converged=all(f.stopped.converged for f in trainings.values())))
    if config.stage == "conv_lstm" and not config.gamma:
        _look_inside(outcome, model, sets, config, seed, context)
    if seed == 0 and (shown := of.shown_clips(sets.test)):
        outcome.arrays |= _examples(found, sets.test, shown, config, find)
    return outcome


def validate(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row's own training, which tuning compares; the test frames are not used."""
    return max(list(_trained(config, seed, context)[1].values())[-1].curves["validation"])


def _trained(config: Config, seed: int, context: Context) -> tuple[nn.Module, dict[str, Fitted]]:
    """A row's network and its trainings, in their order; trained once for all trials that need it."""
    network, fitted = _fcn(config, seed, context)
    trainings = {"fcn": fitted}
    if config.stage == "fcn":
        return network, trainings
    model, trainings["layer"] = _converted(config, network, seed, context)
    return model, trainings


# --- networks ----------------------------------------------------------------------------------------


def build(config: Config) -> nn.Module:
    """The network of single frames of a row: float32 (N, 3, H, W) in [−1, 1] to scores (N, classes, H, W)."""
    classes = len(config.classes)
    if config.network == "unet":
        return OneOutput(pretrained.unet("mobilenet_v2", classes, pretrained=config.pretrained), imagenet=True)
    return DilatedFCN(config.network, classes=classes, pretrained=config.pretrained)


def convert(config: Config, network: nn.Module) -> ConvLSTMFCN:
    """The row's ConvLSTM-FCN, or the control with a new 1×1 classifier, before its training (Sec. 3.1)."""
    classifier = network.classifier
    if config.stage == "classifier":
        model = ConvLSTMFCN(network)
        model.conv_lstm = FrameClassifier(classifier.in_channels, classifier.out_channels)
        return model
    layer = config.layer
    model = ConvLSTMFCN(
        network, activation=layer.activation, bound=layer.bound, input_scale=layer.input_scale, memory=layer.memory,
        peepholes=layer.peepholes,
    )  # fmt: skip
    if layer.start == "classifier":
        start_at_classifier(model.conv_lstm, classifier)
    return model


def _schedule(training: Training, *, frames: int = 1, rates: Mapping[str, float] | None = None) -> Schedule:
    """`frames`: frames per example; the batch size counts frames."""
    sizes = (training.epochs, training.batch_size // frames, training.lr)
    more = {"optimiser": OPTIMISERS[training.optimiser], "patience": training.patience, "rates": rates or {}}
    if training.final_lr < training.lr:
        return Schedule.plateau(*sizes, final_lr=training.final_lr, drop_after=training.patience // 3, **more)
    return Schedule.flat(*sizes, **more)


OPTIMISERS = {
    "Adam": torch.optim.Adam,
    "RMSprop": partial(torch.optim.RMSprop, alpha=0.9, eps=1e-7),  # as Keras has it
}


def _fcn(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """A network that sees frames one by one, trained with cross-entropy (Sec. 4.2)."""
    spec = fcn_spec(config)

    def fit(model: nn.Module) -> Fitted:
        sets = of.examples(config.source, config.region, context.data_root)
        chosen = slice(None, None, FCN_EVERY)
        data = {
            "images": channels_first(flat(sets.train.images[:, chosen])),
            "labels": torch.from_numpy(flat(sets.train.labels[:, chosen])),
        }
        of_frames = replace(config, stage="fcn", smoothed=False, still=False)
        return train(
            model, data, lambda scores, batch: F.cross_entropy(scores, batch["labels"]),
            schedule=_schedule(Training(**spec["training"])), fabric=fabric_of(context), seed=seed,
            prepare=prepare, augment=augment,
            validate=lambda network: _miou(finder(network, of_frames)(sets.validation), sets.validation),
        )  # fmt: skip

    return fitted_once("wang2018", spec | {"seed": seed}, lambda: build(config), fit, context)


def _converted(config: Config, network: nn.Module, seed: int, context: Context) -> tuple[ConvLSTMFCN, Fitted]:
    """The FCN with the row's layer as its classifier, trained on clips; the features of frozen layers are kept."""
    made: list[ConvLSTMFCN] = []

    def learning() -> nn.Module:
        made.append(convert(config, network.cpu()).to(context.device).eval())
        return made[-1] if config.gamma else made[-1].conv_lstm

    def fit(_: nn.Module) -> Fitted:
        return (_fit_all if config.gamma else _fit_layer)(made[-1], config, seed, context)

    _, fitted = fitted_once("wang2018", layer_spec(config) | {"seed": seed}, learning, fit, context)
    return made[-1].eval(), fitted


def _fit_layer(model: ConvLSTMFCN, config: Config, seed: int, context: Context) -> Fitted:
    """The new layer alone, on features and with the loss at low resolution."""
    sets = of.examples(config.source, config.region, context.data_root)
    features, held_out = (features_of(model.network, clips) for clips in (sets.train, sets.validation))
    truth = at_loss_stride(_scored_like_images(sets.validation, config))

    @torch.no_grad()
    def score(layer: nn.Module) -> float:
        found = [cells_to_pixels(layer(on_device_of(layer, some).float()).flatten(0, 1)).argmax(1).cpu()
                 for some in torch.from_numpy(held_out).split(BATCH // STEPS)]  # fmt: skip
        confusion = metrics.confusion(torch.cat(found), flat(truth), len(config.classes))
        return percentages(confusion.sum(0))["miou"]

    data = {"images": torch.from_numpy(np.asarray(features)), "labels": training_labels(sets.train)}
    return train(
        model.conv_lstm, data, loss_of(config), schedule=_schedule(config.training, frames=STEPS),
        fabric=fabric_of(context), seed=seed, validate=score,
        prepare=lambda batch: {"images": batch["images"].float(), "labels": batch["labels"].long()},
    )  # fmt: skip


def _fit_all(model: ConvLSTMFCN, config: Config, seed: int, context: Context) -> Fitted:
    """All layers: γ times the paper's learning rate for those that were trained before (Sec. 3.1)."""
    sets = of.examples(config.source, config.region, context.data_root)
    find = finder(model, replace(config, still=False))
    images = torch.from_numpy(np.ascontiguousarray(sets.train.images.transpose(0, 1, 4, 2, 3)))
    return train(
        model, {"images": images, "labels": training_labels(sets.train)}, loss_of(config),
        schedule=_schedule(config.training, frames=STEPS, rates={"network.": _share(config)}),
        fabric=fabric_of(context), seed=seed, prepare=prepare,
        validate=lambda _: _miou(find(sets.validation), sets.validation),
    )  # fmt: skip


def _scored_like_images(clips: ClipSet, config: Config) -> np.ndarray:
    """The labels of held-out clips at the side of the networks' input."""
    size = config.source.size
    return np.array([[resize_labels(one, size) for one in clip] for clip in clips.labels])


def _share(config: Config) -> float:
    """The learning rate of the layers trained before, γ times the paper's, as a multiple of the new layer's."""
    return config.gamma * PAPERS_RATE / config.training.lr


def _system(config: Config, seed: int, context: Context) -> tuple[System, dict[str, Fitted]]:
    primary_config = primary_of(config)
    primary, trainings = _trained(primary_config, seed, context)
    zoomed = {}
    for region in REGIONS:
        part = part_of(config, region)
        model, fitted = _trained(part, seed, context)
        zoomed[region] = near_finder(model, part)
        trainings |= {f"{region}_{name}": one for name, one in fitted.items()}
    frames_of = of.sets_of(config.source, context.data_root)
    return System(finder(primary, primary_config), zoomed, frames_of), trainings


# --- scores ------------------------------------------------------------------------------------------


def _confusion(found: np.ndarray, clips: ClipSet) -> np.ndarray:
    """Pixel counts of every frame, int32 (N · T, K, K)."""
    return metrics.confusion(flat(found), flat(clips.labels), len(clips.classes)).astype(np.int32)


def _miou(found: np.ndarray, clips: ClipSet) -> float:
    return percentages(_confusion(found, clips).sum(0))["miou"]


def _score(found: np.ndarray, test: ClipSet, config: Config) -> Outcome:
    """Scores on the test frames, pooled, and the mean over frames, as Table 4 has it; per category where known."""
    confusion, frames = _confusion(found, test), test.images.shape[1]
    units = numbered(test.subjects)
    arrays = {"confusion": confusion, "units": np.repeat(units, frames)}
    scores = percentages(confusion.sum(0))
    scores["miou_frames"] = float(np.nanmean(mask_metrics(confusion)["miou"]))
    if config.region == "face" and frames == STEPS:
        arrays |= {"over_time": over_time(confusion), "units_of_clips": units}
        categories = np.repeat(test.categories, frames)
        for category in sorted(set(test.categories) - {0}):
            scores[f"miou_category_{category}"] = percentages(confusion[categories == category].sum(0))["miou"]
    unit = "photo" if config.source.frames == 1 else "person"
    return Outcome(scores, arrays=arrays, units={unit: len(np.unique(units))})


def _look_inside(
    outcome: Outcome, model: ConvLSTMFCN, sets: of.Sets, config: Config, seed: int, context: Context
) -> None:
    """Gains over the baseline FCN at each frame of a clip (Table 4), and the saturation of the layer (extra B)."""
    baseline = ConvLSTMFCN(network := _fcn(config, seed, context)[0])
    baseline.conv_lstm = FrameClassifier(network.classifier.in_channels, network.classifier.out_channels)
    baseline.conv_lstm.load_state_dict(network.classifier.state_dict())
    before = finder(baseline.to(context.device).eval(), config)(sets.test)
    gains = outcome.arrays["over_time"] - over_time(_confusion(before, sets.test))
    outcome.metrics |= {f"gain_t{t}": float(gain) for t, gain in enumerate(gains.mean(0), start=1)}
    features = on_device_of(model, torch.from_numpy(np.array(features_of(model.network, sets.validation)))).float()
    flat = zip(("flat_gates", "flat_candidates"), saturation(model.conv_lstm, features), strict=True)
    for name, of_classes in flat:
        outcome.metrics |= {f"{name}_{part}": 100 * float(share)
                            for part, share in zip(config.classes, of_classes, strict=True)}  # fmt: skip


def _examples(found: np.ndarray, test: ClipSet, shown: list[int], config: Config, find: Find) -> dict[str, np.ndarray]:
    """The last frame of a few clips that may be printed, at the networks' size: masks, and what figures need."""
    size = config.source.size
    arrays = {"example_predictions": np.stack([resize_labels(found[i, -1], size) for i in shown])}
    if config.stage == "mean mask":
        arrays["example_images"] = test.images[shown, -1]
        arrays["example_labels"] = np.stack([resize_labels(test.labels[i, -1], size) for i in shown])
    if isinstance(find, System):
        first = find.primary(test.subset(shown))
        boxes = [[of.region_box(clip, region) or (0, 0, 0) for region in REGIONS] for clip in first]
        arrays |= {"example_primary": first[:, -1], "example_boxes": np.array(boxes)}
    return arrays


# --- for `plan` --------------------------------------------------------------------------------------


class OfFrames(nn.Module):
    """A ConvLSTM-FCN, or its new layer, as a network of frames, for `plan` to count and time.

    Frames come in clips of T, or alone where their number is no multiple of T. The layer alone gets cells with three
    channels, which stand for features. Output scores (N, classes, h, w).
    """

    def __init__(self, network: nn.Module, channels: int | None) -> None:
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, images: Tensor) -> Tensor:
        if self.channels:
            images = images[:, :1].expand(-1, self.channels, -1, -1)
        steps = STEPS if len(images) % STEPS == 0 else 1
        return self.network(images.unflatten(0, (-1, steps))).flatten(0, 1)


def network_of(work: Work) -> nn.Module:
    """The network of a training, with random weights."""
    config = replace(work.config, pretrained=False)
    network = build(config)
    if work.stage == "FCN":
        return network
    model = convert(config, network)
    return OfFrames(model, None) if config.gamma else OfFrames(model.conv_lstm, CHANNELS[config.network])


def workload(work: Work, *, images: int) -> Workload:
    """The workload that `plan --measure` times: random frames, and the loss and augmentation of the training."""
    config, side = work.config, work.network.size
    generator, classes = torch.Generator().manual_seed(0), len(config.classes)
    frames = torch.randint(0, 256, (images, 3, side, side), generator=generator, dtype=torch.uint8)
    if work.stage == "FCN":
        labels = torch.randint(0, classes, (images, side, side), generator=generator, dtype=torch.uint8)
        return Workload(network_of(work), {"images": frames, "labels": labels},
                        lambda scores, batch: F.cross_entropy(scores, batch["labels"]), prepare, augment)  # fmt: skip
    side = config.source.size // LOSS_STRIDE
    labels = torch.randint(0, classes, (images, side, side), generator=generator, dtype=torch.uint8)
    of_clips = loss_of(config)

    def loss(scores: Tensor, batch: Batch) -> Tensor:
        return of_clips(scores[None], {"labels": batch["labels"][None]})

    return Workload(network_of(work), {"images": frames, "labels": labels}, loss, prepare, None)


# --- numbers that follow from the method alone -------------------------------------------------------

PAPER_INPUT = 320


def facts() -> list[report.Fact]:
    """Sizes (Table 1) and parameters (the public base code, five classes) of the networks at the paper's width."""
    with torch.device("meta"):
        network, vgg = FCNResNet50(), FCNVGG16()
        layer, converted = ConvLSTM(2048, len(CLASSES["face"])), ConvLSTMFCN(network)
    sizes = output_sizes(network, PAPER_INPUT)
    printed = {"Conv1": "160", "Conv2_x": "79", "Conv3_x": "40", "Conv4_x": "20", "Conv5_x": "20", "Conv6": "20",
               "UpSampling": "320"}  # fmt: skip
    counts = {
        "trainable parameters of FCN-ResNet50": ("23,544,837", complexity.parameters(network), "release"),
        "…and BatchNorm statistics": ("23,597,957", keras_parameters(network), "release"),
        "parameters of its classifier": ("10,245", complexity.parameters(network.classifier), "release"),
        "parameters of the ConvLSTM layer": ("41,080", complexity.parameters(layer), "arithmetic"),
        "parameters of ConvLSTM-FCN, by Keras's count": ("23,628,792", keras_parameters(converted), "arithmetic"),
        "parameters of FCN-VGG16": ("134,281,029", complexity.parameters(vgg), "release"),
    }
    return [
        *(report.fact("wang2018", f"Table 1, side of the output of {block}", side, sizes[block], source="paper")
          for block, side in printed.items()),
        *(report.fact("wang2018", quantity, stated, ours, source=source)
          for quantity, (stated, ours, source) in counts.items()),
    ]  # fmt: skip
