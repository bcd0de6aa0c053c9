"""The tables of wang2018 as data: which rows there are, what each one trains, and which table needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from reprolib import tries
from reprolib.parameters import StudyParameters
from reprolib.studies.wang2018.config import STEPS, Config, Layer, Loss, Parts, Region, Source, Training
from reprolib.study import Row, Table

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 3

# Row names: the paper's where it has the row, ours in the same manner where it does not.
SIZES_OF_LAYERS = "FCN-ResNet50, layer by layer"
MEAN_MASK, TRACKER = "Mean mask", "Face tracker"
FCN, SMOOTHED, UNET = "Baseline FCN", "Baseline FCN + temporal smoothing", "U-Net (ImageNet MobileNetV2)"
STILLS_MEAN_MASK, STILLS_FCN, STILLS_UNET = (f"{name}, stills" for name in (MEAN_MASK, FCN, UNET))
CROSS_ENTROPY, RMSPROP = "Cross-entropy loss", "Cross-entropy loss, RMSprop"
IOU, HINGE = "IoU loss (Eq. 3)", "Seg loss (Eq. 8, g = 1)"
LINEAR_MARGIN, LINEAR = "Seg loss (Eq. 9, g = 0.1)", "Seg loss (Eq. 9, g = 0)"
DICE, LOVASZ = "Dice loss", "Lovász loss"
COMBINED = "Primary model + two additional models"
FCN_ZOOM = "Baseline FCN + two close-up baseline FCNs"
HINGE_BOUNDED = f"{HINGE}, bounded layer"
HINGE_SCORES, LINEAR_SCORES = f"{HINGE} of scores, bounded layer", f"{LINEAR} of scores, bounded layer"
PEEPHOLES = f"{LINEAR}, peepholes (Eq. 1)"
LINEAR_ALONE = f"{LINEAR}, frames one by one"
CE_CLASSIFIER, LINEAR_CLASSIFIER = "New 1×1 classifier, cross-entropy loss", "New 1×1 classifier, seg loss"
REGIONS: tuple[Region, ...] = ("eyes", "mouth")
GAMMAS = (0.02, 0.05)  # of the primary model
PRIMARY_GAMMA, ZOOM_GAMMA = 0.05, 0.02  # of the full system (Table 9)


def primary(gamma: float) -> str:
    """The primary model with this γ (Table 6)."""
    return f"Primary model, γ = {gamma:g}"


def zoomed(region: str, gamma: float | None) -> str:
    """A close-up model (Tables 7 and 8): its baseline FCN, or with this γ its ConvLSTM-FCN."""
    return f"{region.capitalize()}: " + ("Baseline-FCN" if gamma is None else f"ConvLSTM-FCN (γ = {gamma:g})")


def mean_mask_of(region: str) -> str:
    """The trivial prediction for a close-up model."""
    return f"{region.capitalize()}: {MEAN_MASK.lower()}"


PRIMARY = primary(PRIMARY_GAMMA)
PRIMARY_STILL, LINEAR_STILL = f"{PRIMARY}, still frames", f"{LINEAR}, still frames"


# --- the ConvLSTM's start, bound and input (extra B) --------------------------------------------------

KERAS_BOUND, BOUND = 1.0, 10.0  # of the scores with tanh: Keras's; wide enough for a trained classifier's
LAYERS = {
    f"{start} start, {activation}, input × {scale:g}": Layer(
        start=start, activation=activation, input_scale=scale,
        bound=BOUND if start == "classifier" else KERAS_BOUND,
    )
    for start, activation, scale in product(("keras", "classifier"), ("tanh", "linear"), (1.0, 0.1))
}  # fmt: skip
KERAS, BOUNDED = "keras start, tanh, input × 1", "classifier start, tanh, input × 1"
CHOSEN = "classifier start, linear, input × 1"  # of all other rows; chosen on validation people (extra B)
GRID_LOSSES: dict[Loss, str] = {"cross-entropy": CROSS_ENTROPY, "linear": LINEAR}


def grid_row(loss: Loss, layer: str) -> str:
    """The row of extra B with this loss and layer; the chosen layer's is a row of Table 5."""
    return GRID_LOSSES[loss] if layer == CHOSEN else f"{GRID_LOSSES[loss]}, {layer}"


# --- tables ------------------------------------------------------------------------------------------

PRINTED = {
    "mIoU": "miou", "FS": "iou_skin", "Eyes": "iou_eyes", "OMT": "iou_outer", "IMT": "iou_inner",
    "BG": "iou_background",
}  # fmt: skip
MOUTH = {name: PRINTED[name] for name in ("mIoU", "OMT", "IMT", "BG")}
PARTS = ("background", "skin", "eyes", "outer", "inner")
INSIDE = {
    "validation mIoU": "validation", "mIoU": "miou", "Eyes": "iou_eyes", "IMT": "iou_inner",
    **{f"flat gates, {part} (%)": f"flat_gates_{part}" for part in PARTS},
    **{f"flat candidates, {part} (%)": f"flat_candidates_{part}" for part in PARTS},
}  # fmt: skip
BLOCKS = ("Conv1", "Conv2_x", "Conv3_x", "Conv4_x", "Conv5_x", "Conv6", "UpSampling")


def _same(*names: str) -> dict[str, tuple[str, str]]:
    return {name: (name, "") for name in names}


TABLES = (
    Table("table 1", "Table 1. Side of each block's output, pixels", {"output side": "side"},
          {block: (SIZES_OF_LAYERS, f"_{block}") for block in BLOCKS}),
    Table("table 2", "Table 2. Baselines; ours on MobileNetV2 in the profile cpu", PRINTED, {
        **_same(TRACKER), "FCN-ResNet50 (baseline-FCN)": (FCN, ""),
        "FCN-ResNet50 + temporal smoothing": (SMOOTHED, ""), **_same(UNET, MEAN_MASK),
    }),
    Table("table 3", "Table 3. Optimisers of the ConvLSTM, all other layers frozen", PRINTED,
          {"Adam": (CROSS_ENTROPY, ""), "RMSprop": (RMSPROP, "")}),
    Table("table 4", "Table 4. Gain over the baseline FCN in each of the five frames of a clip",
          {f"T{t}": f"gain_t{t}" for t in range(1, STEPS + 1)},
          {"Adam": (CROSS_ENTROPY, ""), "RMSprop": (RMSPROP, "")}),
    Table("table 5", "Table 5. Losses, all layers but the ConvLSTM frozen", PRINTED,
          _same(CROSS_ENTROPY, IOU, HINGE, LINEAR_MARGIN, LINEAR, DICE, LOVASZ)),
    Table("table 6", "Table 6. The primary model, by γ", PRINTED, {f"{g:g}": (primary(g), "") for g in GAMMAS}),
    Table("table 7", "Table 7. The eye model on crops of the eyes", {"Eyes": "iou_eyes", "BG": "iou_background"}, {
        "Baseline-FCN": (zoomed("eyes", None), ""),
        f"ConvLSTM-FCN (γ = {ZOOM_GAMMA:g})": (zoomed("eyes", ZOOM_GAMMA), ""), MEAN_MASK: (mean_mask_of("eyes"), ""),
    }),
    Table("table 8", "Table 8. The mouth model on crops of the mouth", MOUTH, {
        "Baseline-FCN": (zoomed("mouth", None), ""),
        f"ConvLSTM-FCN (γ = {ZOOM_GAMMA:g})": (zoomed("mouth", ZOOM_GAMMA), ""), MEAN_MASK: (mean_mask_of("mouth"), ""),
    }),
    Table("table 9", "Table 9. One technique after the other", PRINTED, {
        "FCN-ResNet50 + cross-entropy": (FCN, ""), "FCN-ResNet50 + cross-entropy + temporal smoothing": (SMOOTHED, ""),
        "ConvLSTM-FCN (freezing other layers) + cross-entropy": (CROSS_ENTROPY, ""),
        "ConvLSTM-FCN (freezing other layers) + IoU loss": (IOU, ""),
        "ConvLSTM-FCN (freezing other layers) + segmentation loss": (LINEAR, ""),
        "Primary model + segmentation loss": (PRIMARY, ""),
        "Primary model + two additional models + segmentation loss": (COMBINED, ""),
    }),
    Table("extra A", "Extra A. Baselines on stills with hand-set landmarks: HELEN for training, AFW for the test",
          PRINTED),
    Table("extra B", "Extra B. Start, bound and input of the ConvLSTM; gates and candidates without a gradient", INSIDE,
          {grid_row(loss, layer): (grid_row(loss, layer), "") for loss in GRID_LOSSES for layer in LAYERS}),
    Table("extra C", "Extra C. The same networks without time, without memory, without a new layer, without ConvLSTMs",
          PRINTED),
    Table("extra D", "Extra D. What the text leaves open: the input of Eq. 8 and 9, and peepholes", PRINTED),
    Table("extra E", "Extra E. By category: frames as they are, with one fault, with two (rendered: as 300VW's)",
          {"mIoU": "miou", **{f"category {c}": f"miou_category_{c}" for c in (1, 2, 3)},
           "mean of the frames' own": "miou_frames"}),
)  # fmt: skip

LARGER = "quoted: a larger network without a part in the paper's questions; no ImageNet weights of it fit the budgets"
OTHER_GAMMA = "quoted: two values of γ show whether it matters"
QUOTED = {
    "Deeplab-V2": LARGER,
    "FCN-VGG16": LARGER,
    **dict.fromkeys(("0.01", "0.1"), OTHER_GAMMA),
    **{f"ConvLSTM-FCN (γ = {gamma})": OTHER_GAMMA for gamma in ("0.01", "0.05", "0.1")},
}


# --- sizes -------------------------------------------------------------------------------------------

VIDEO = {"paper": "300vw", "public": "talkingfaces", "synthetic": "facesynth"}
SOURCES: dict[str, dict[str, Source]] = {
    "smoke": {
        "300vw": Source(dataset="300vw", frame=96, size=64, clips=15),
        "talkingfaces": Source(dataset="talkingfaces", frame=96, size=64, clips=15, grid_clips=2),
        "facesynth": Source(dataset="facesynth", frame=96, size=64, clips=15),
        "landmarks300w": Source(dataset="landmarks300w", frame=96, size=64, clips=0),
    },
    "cpu": {
        "300vw": Source(dataset="300vw", frame=256, size=224, clips=240),
        "talkingfaces": Source(dataset="talkingfaces", frame=256, size=224, clips=240, grid_clips=30),
        "facesynth": Source(dataset="facesynth", frame=192, size=160, clips=150),
        "landmarks300w": Source(dataset="landmarks300w", frame=256, size=320, clips=0),
    },
    "gpu": {
        "300vw": Source(dataset="300vw", frame=448, size=320, clips=757),
        "talkingfaces": Source(dataset="talkingfaces", frame=320, size=320, clips=440, grid_clips=60),
        "facesynth": Source(dataset="facesynth", frame=448, size=320, clips=240),
        "landmarks300w": Source(dataset="landmarks300w", frame=256, size=320, clips=0),
    },
}  # fmt: skip
SEEDS = {"smoke": (2, 1, 1), "cpu": (5, 3, 1), "gpu": (3, 3, 1)}  # of the loss comparison, of others, of the grid
ENCODER = {"smoke": "mobilenet_v2", "cpu": "mobilenet_v2", "gpu": "resnet50"}


def _training(epochs: int, patience: int, batch_size: int, lr: float, final_lr: float) -> Training:
    return Training(epochs=epochs, patience=patience, batch_size=batch_size, lr=lr, final_lr=final_lr)


# The paper's learning rate falls linearly to zero in 80 and 60 epochs, which cannot show convergence; ours drops on
# plateaus. Scores of a few validation people fluctuate: at a patience of 5 the learning rate fell before the network
# had learned the inner mouth.
FCN_TRAINING = {
    "smoke": _training(1, 1, 8, 1e-3, 1e-4), "cpu": _training(40, 12, 8, 1e-3, 1e-5),
    "gpu": _training(27, 6, 16, 1e-3, 1e-5),
}  # fmt: skip
# A close-up network's validation score still rises after 30 epochs.
ZOOM_TRAINING = FCN_TRAINING | {"cpu": _training(80, 12, 8, 1e-3, 1e-5)}
STILLS_TRAINING = FCN_TRAINING | {"cpu": _training(18, 6, 8, 1e-3, 1e-5)}
FROZEN_TRAINING = {  # on cached features
    "smoke": _training(1, 1, 10, 1e-3, 1e-4), "cpu": _training(100, 12, 40, 1e-4, 1e-6),
    "gpu": _training(60, 10, 80, 1e-4, 1e-6),
}  # fmt: skip
PRIMARY_TRAINING = {
    "smoke": _training(1, 1, 10, 1e-3, 1e-4), "cpu": _training(18, 6, 20, 1e-4, 1e-6),
    "gpu": _training(24, 6, 40, 1e-4, 1e-6),
}  # fmt: skip

# Rows whose learning rate is tuned on validation people (tuning.csv): every loss alike, and one row of each other kind.
TUNED = {
    "public": (
        FCN, UNET, CROSS_ENTROPY, RMSPROP, IOU, HINGE, LINEAR_MARGIN, LINEAR, DICE, LOVASZ, CE_CLASSIFIER,
        LINEAR_CLASSIFIER, PRIMARY, grid_row("cross-entropy", KERAS), grid_row("linear", KERAS),
    ),
}  # fmt: skip
RATES = (1e-5, 1e-4, 1e-3)


# --- rows --------------------------------------------------------------------------------------------

Rate = Callable[[Training, str], Training]  # a training with the tuned learning rate of the row named


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row of every table and figure on one data source, with its configuration and its number of seeds.

    Rendered clips are for the headline rows, except in smoke runs, which have no other data.
    """
    profile, data = parameters.profile, parameters.data
    many, few, one = (parameters.seeds or seeds for seeds in SEEDS[profile])
    source = SOURCES[profile][VIDEO[data]]
    common = Config(data=data, dataset=source.dataset, profile=profile, source=source, stage="mean mask")
    learning: dict[str, Any] = {"network": ENCODER[profile], "pretrained": profile != "smoke"}
    headline_only = data == "synthetic" and profile != "smoke"
    if headline_only:
        many = few
    rate = _tuned_rates(parameters)

    baseline = rate(FCN_TRAINING[profile], FCN)
    fcn = replace(common, stage="fcn", training=baseline, **learning)
    unet = replace(fcn, network="unet", training=rate(FCN_TRAINING[profile], UNET))

    def frozen(name: str, loss: Loss, layer: str = CHOSEN, tuned_as: str = "", **more: Any) -> Config:
        training = rate(FROZEN_TRAINING[profile], tuned_as or name)
        made_from = {"baseline": baseline, "training": training}
        return replace(fcn, stage="conv_lstm", layer=LAYERS[layer], loss=loss, **made_from, **more)

    def whole(gamma: float, region: Region = "face") -> Config:
        config = frozen(PRIMARY, "linear", gamma=gamma, region=region)
        return replace(config, training=rate(PRIMARY_TRAINING[profile], PRIMARY))

    close_up = rate(ZOOM_TRAINING[profile], FCN)
    looking_closer = Parts(baseline=close_up, conv_lstm=whole(ZOOM_GAMMA).training, gamma=ZOOM_GAMMA)
    combined = replace(whole(PRIMARY_GAMMA), stage="system", parts=looking_closer)
    made = [
        Row(SIZES_OF_LAYERS, replace(common, stage="sizes"), 1, ("table 1",)),
        Row(MEAN_MASK, common, 1, ("table 2", "figure 3", "figure 5", "extra E")),
        Row(TRACKER, replace(common, stage="tracker"), 1, ("table 2", "extra E")),
        Row(FCN, fcn, many, ("table 2", "table 9", "figure 5", "figure 6", "extra C", "extra E")),
        Row(CROSS_ENTROPY, frozen(CROSS_ENTROPY, "cross-entropy"), many,
            ("table 3", "table 4", "table 5", "table 9", "extra B")),
        Row(IOU, frozen(IOU, "iou"), many, ("table 5", "table 9")),
        Row(LINEAR, frozen(LINEAR, "linear"), many, ("table 5", "table 9", "extra B", "extra C", "extra D")),
        Row(PRIMARY, whole(PRIMARY_GAMMA), few, ("table 6", "table 9", "figure 5", "figure 6", "extra C", "extra E")),
        Row(COMBINED, combined, few, ("table 9", "figure 2", "figure 5", "figure 6", "extra C", "extra E")),
    ]  # fmt: skip
    if headline_only:
        return made
    # until RMSprop's own rates are tried it has Adam's, as in the paper
    rmsprop = replace(rate(rate(FROZEN_TRAINING[profile], CROSS_ENTROPY), RMSPROP), optimiser="RMSprop")
    made += [
        Row(SMOOTHED, replace(fcn, smoothed=True), many, ("table 2", "table 9")),
        Row(UNET, unet, one, ("table 2", "extra E")),
        Row(RMSPROP, replace(frozen(RMSPROP, "cross-entropy"), training=rmsprop), few, ("table 3", "table 4")),
        Row(HINGE, frozen(HINGE, "hinge"), many, ("table 5", "extra D")),
        Row(DICE, frozen(DICE, "dice"), many, ("table 5",)),
        Row(LINEAR_MARGIN, frozen(LINEAR_MARGIN, "linear-margin"), few, ("table 5",)),
        Row(LOVASZ, frozen(LOVASZ, "lovasz"), few, ("table 5",)),
        *(Row(primary(g), whole(g), few, ("table 6",)) for g in GAMMAS if g != PRIMARY_GAMMA),
    ]  # fmt: skip
    for region, table in zip(REGIONS, ("table 7", "table 8"), strict=True):
        made += [
            Row(mean_mask_of(region), replace(common, region=region), 1, (table, "figure 4")),
            Row(zoomed(region, None), replace(fcn, region=region, training=close_up), few, (table, "figure 4")),
            Row(zoomed(region, ZOOM_GAMMA), replace(whole(ZOOM_GAMMA, region), baseline=close_up), few, (table,)),
        ]
    plain_zoom = replace(fcn, stage="system", parts=replace(looking_closer, conv_lstm=None, gamma=0.0))
    made += _controls(frozen, whole(PRIMARY_GAMMA), plain_zoom, few) + _open_questions(frozen, one)
    return made + _grid(frozen, few, one) + _stills(parameters, common, learning, few, rate)


def _controls(frozen: Callable[..., Config], primary_config: Config, plain_zoom: Config, few: int) -> list[Row]:
    """The same networks with one ingredient less (extra C)."""
    alone = replace(LAYERS[CHOSEN], memory=False)
    classifier: dict[str, Any] = {"stage": "classifier", "layer": None}
    return [
        Row(PRIMARY_STILL, replace(primary_config, still=True), few, ("extra C",)),
        Row(LINEAR_STILL, frozen(LINEAR_STILL, "linear", tuned_as=LINEAR, still=True), few, ("extra C",)),
        Row(LINEAR_ALONE, replace(frozen(LINEAR_ALONE, "linear", tuned_as=LINEAR), layer=alone), few, ("extra C",)),
        Row(LINEAR_CLASSIFIER, replace(frozen(LINEAR_CLASSIFIER, "linear"), **classifier), few, ("extra C",)),
        Row(CE_CLASSIFIER, replace(frozen(CE_CLASSIFIER, "cross-entropy"), **classifier), few, ("extra C",)),
        Row(FCN_ZOOM, plain_zoom, few, ("extra C",)),
    ]


def _open_questions(frozen: Callable[..., Config], one: int) -> list[Row]:
    """Eq. 8 and 9 of scores and of probabilities, in a layer that bounds its scores; Eq. 1's peepholes (extra D)."""
    with_peepholes = replace(LAYERS[CHOSEN], peepholes=True)
    peepholes = replace(frozen(PEEPHOLES, "linear", tuned_as=LINEAR), layer=with_peepholes)
    bounded = [
        Row(name, frozen(name, loss, BOUNDED, tuned_as=like), one, ("extra D",))
        for name, loss, like in ((HINGE_BOUNDED, "hinge", HINGE), (HINGE_SCORES, "hinge-scores", HINGE),
                                 (LINEAR_SCORES, "linear-scores", LINEAR))
    ]  # fmt: skip
    return [*bounded, Row(PEEPHOLES, peepholes, one, ("extra D",))]


def _grid(frozen: Callable[..., Config], few: int, one: int) -> list[Row]:
    """Extra B: start × activation × input scale, under two losses; Keras's own layer with more seeds."""
    made = []
    for loss, layer in product(GRID_LOSSES, LAYERS):
        if layer == CHOSEN:
            continue
        like = KERAS if LAYERS[layer].start == "keras" else CHOSEN
        config = frozen(grid_row(loss, layer), loss, layer, tuned_as=grid_row(loss, like))
        places = ("extra B", "extra D") if (loss, layer) == ("linear", BOUNDED) else ("extra B",)
        made.append(Row(grid_row(loss, layer), config, few if layer == KERAS else one, places))
    return made


def _stills(parameters: StudyParameters, common: Config, learning: dict[str, Any], few: int, rate: Rate) -> list[Row]:
    """Extra A: faces of photos with hand-set landmarks; rendered stills in smoke runs, none of 300VW."""
    profile = parameters.profile
    if parameters.data == "paper":
        return []
    name = "landmarks300w" if parameters.data == "public" else "facesynth"
    source = replace(SOURCES[profile][name], frames=1)
    mean = replace(common, dataset=source.dataset, source=source)
    fcn = replace(mean, stage="fcn", training=rate(STILLS_TRAINING[profile], FCN), **learning)
    # a U-Net has no stride to make up for: it sees stills at the size at which it sees video
    smaller = replace(source, size=SOURCES[profile][VIDEO[parameters.data]].size)
    unet = replace(fcn, network="unet", source=smaller, training=rate(STILLS_TRAINING[profile], UNET))
    return [
        Row(STILLS_MEAN_MASK, mean, 1, ("extra A", "figure 3")),
        Row(STILLS_FCN, fcn, few, ("extra A",)),
        Row(STILLS_UNET, unet, 1, ("extra A",)),
    ]


def _tuned_rates(parameters: StudyParameters) -> Rate:
    """A function that gives a training the tuned learning rate of a row."""
    rates = tries.rates(Path(__file__).with_name("tuning.csv"), data=parameters.data, profile=parameters.profile)
    return lambda training, tuned_as: replace(training, lr=rates.get(tuned_as, training.lr))
