"""The sizes of wang2018's runs and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from reprolib.datasets.landmark_masks import CLASSES as CLASSES
from reprolib.parameters import StudyParameters

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 2

# Columns of the tables: the mean over the four foreground classes, then each class.
PRINTED = {
    "mIoU": "miou", "FS": "iou_skin", "Eyes": "iou_eyes", "OMT": "iou_outer", "IMT": "iou_inner",
    "BG": "iou_background",
}  # fmt: skip
STEPS = 5  # T, frames of a clip that the ConvLSTM sees
# What the ConvLSTM's input is multiplied by. With Keras's start and the features as they are, many gates begin where
# the hard sigmoid is flat and learn too late for trainings as short as ours; chosen on people of the validation set.
INPUT_SCALE = 0.1
ZOOM = 2  # frames are kept at so many times the networks' side: what zoomed-in models see more of


class Parameters(StudyParameters):
    """What a reader may turn in the notebook and on the command line."""

    gammas: list[float] = Field(default_factory=lambda: [0.01, 0.02, 0.05, 0.1])  # rates of all but the ConvLSTM


@dataclass(frozen=True)
class Scale:
    """One profile in numbers: frames in pixels, networks, clips, epochs, rates."""

    seeds: int
    size: int  # side of every network's input; frames have twice as many pixels a side
    width: int  # channels of the first layer, the paper's is 64
    fc_channels: int  # of FCN-VGG16
    clips: int
    frames: int  # of a clip, a multiple of T
    fcn_epochs: int
    epochs: int  # of a ConvLSTM-FCN
    batch_size: int  # frames, for the FCN
    batch_clips: int  # T frames each, for the ConvLSTM-FCN
    lr: float  # of the FCN
    conv_lstm_lr: float  # of the ConvLSTM; the other layers learn at γ times it


# gpu follows Sec. 4.2 but for the number of clips and the scale of the ConvLSTM's input; smoke and cpu have smaller
# frames, narrower networks and fewer of everything.
SCALES = {
    "smoke": Scale(
        seeds=1, size=64, width=4, fc_channels=16, clips=12, frames=5, fcn_epochs=1, epochs=1,
        batch_size=8, batch_clips=2, lr=1e-3, conv_lstm_lr=3e-3,
    ),
    "cpu": Scale(
        seeds=3, size=192, width=8, fc_channels=512, clips=180, frames=5, fcn_epochs=12, epochs=6,
        batch_size=8, batch_clips=2, lr=1e-3, conv_lstm_lr=3e-3,
    ),
    "gpu": Scale(
        seeds=3, size=320, width=64, fc_channels=4096, clips=240, frames=10, fcn_epochs=80, epochs=60,
        batch_size=16, batch_clips=2, lr=1e-3, conv_lstm_lr=1e-3,
    ),
}  # fmt: skip
SPLIT = (0.65, 0.1, 0.25)  # of the people: training, validation, test

UNET_NETWORK = "Unet, decoder of 16 channels and more"

# Row names: the paper's where it has the row, ours in the same manner where it does not.
TRACKER, DEEPLAB, VGG = "Face tracker", "Deeplab-V2", "FCN-VGG16"
FCN, SMOOTHED = "FCN-ResNet50 (baseline-FCN)", "FCN-ResNet50 + temporal smoothing"
UNET, UNET_SMOOTHED = "Unet (ours, beyond the paper)", "Unet + temporal smoothing (ours, beyond the paper)"
CROSS_ENTROPY, RMSPROP = "Cross-entropy loss", "Cross-entropy loss, RMSprop"
IOU, HINGE = "IoU loss (Eq. 3)", "Seg loss (Eq. 8, g = 1)"
LINEAR_MARGIN, LINEAR = "Seg loss (Eq. 9, g = 0.1)", "Seg loss (Eq. 9, g = 0)"
DICE, LOVASZ = "Dice loss (ours, beyond the paper)", "Lovász loss (ours, beyond the paper)"
COMBINED = "Primary model + two additional models + segmentation loss"
# The same zoom without the rest of the system, in part or in whole.
PRIMARY_FCN_ZOOM = "Primary model + two baseline FCNs that look closer (ours, a control)"
FCN_ZOOM = "Baseline FCN + two baseline FCNs that look closer (ours, a control)"
MEAN_MASK = "Mean mask of the training frames (ours, a control)"
# One reading of Eq. 4–9 changed at a time; "soft" counts are sums of probabilities, "scores" the layer's output.
SOFT, SCORES = "Seg loss, soft counts", "Seg loss, of scores"
SOFT_SCORES, THROUGH = "Seg loss, of scores, soft counts", "Seg loss, soft counts, gradient through the weights"
PER_CLIP, PEEPHOLES = "Seg loss, weights of each clip", "Seg loss, peepholes (Eq. 1)"
UNSCALED = "Seg loss, the ConvLSTM's input as it is"
UNBOUNDED, CE_UNBOUNDED = "Seg loss, output without tanh", "Cross-entropy loss, output without tanh"
IOU_UNBOUNDED = "IoU loss, output without tanh"
CE_UNSCALED, IOU_UNSCALED = (f"{name} loss, the ConvLSTM's input as it is" for name in ("Cross-entropy", "IoU"))
CE_ALONE, LINEAR_ALONE = "Cross-entropy loss, frames one by one", "Seg loss, frames one by one"
PRIMARY_ALONE = "Primary model, frames one by one"
# The trained network as it is, shown a frame of the clip also in the place of those before it: all but the motion.
CE_STILL, LINEAR_STILL = "Cross-entropy loss, still frames", "Seg loss, still frames"
PRIMARY_STILL = "Primary model, still frames"
# The FCN's own kind of classifier, as new as the ConvLSTM and trained as long.
CE_CLASSIFIER = "New 1×1 classifier, cross-entropy loss"
LINEAR_CLASSIFIER = "New 1×1 classifier, seg loss"
LONGER = 4  # times as many epochs: is a loss bad, or only slow?
LONG_ROWS = (CROSS_ENTROPY, IOU, DICE, LINEAR)
REGIONS = ("eyes", "mouth")
PRIMARY_GAMMA, ZOOM_GAMMA = 0.05, 0.02  # of the full system (Table 9)


def primary(gamma: float) -> str:
    """The primary model with this γ (Table 6)."""
    return f"Primary model, γ = {gamma:g}"


def long_row(row: str) -> str:
    """The row of "extra C" that trains the ConvLSTM `LONGER` times as long."""
    return f"{row}, four times as long"


def zoomed(region: str, gamma: float | None) -> str:
    """A zoomed-in model (Tables 7 and 8): its baseline FCN, or with this γ its ConvLSTM-FCN."""
    return f"{region.capitalize()}: " + ("Baseline-FCN" if gamma is None else f"ConvLSTM-FCN (γ = {gamma:g})")


# Rows whose pictures are kept beside their records, for Figures 2 to 5.
PICTURED = (FCN, primary(PRIMARY_GAMMA), COMBINED, *(zoomed(region, None) for region in REGIONS))

# What a table calls a system, where the table has a name of its own for it.
PRINTED_AS = {
    "3": {CROSS_ENTROPY: "Adam", RMSPROP: "RMSprop"},
    "4": {CROSS_ENTROPY: "Adam", RMSPROP: "RMSprop"},
    "9": {
        FCN: "FCN-ResNet50 + cross-entropy",
        SMOOTHED: "FCN-ResNet50 + cross-entropy + temporal smoothing",
        CROSS_ENTROPY: "ConvLSTM-FCN (freezing other layers) + cross-entropy",
        IOU: "ConvLSTM-FCN (freezing other layers) + IoU loss",
        LINEAR: "ConvLSTM-FCN (freezing other layers) + segmentation loss",
        primary(PRIMARY_GAMMA): "Primary model + segmentation loss",
    },
}
_GAMMAS = (0.01, 0.02, 0.05, 0.1)
PRINTED_AS["6"] = {primary(g): f"{g:g}" for g in _GAMMAS}
for _table, _region in (("7", "eyes"), ("8", "mouth")):
    PRINTED_AS[_table] = {zoomed(_region, g): zoomed(_region, g).split(": ")[1] for g in (None, *_GAMMAS)}

SYSTEMS: dict[str, str | None] = dict.fromkeys(
    [
        TRACKER, DEEPLAB, VGG, FCN, SMOOTHED, UNET, UNET_SMOOTHED, MEAN_MASK, CROSS_ENTROPY, RMSPROP, IOU, HINGE,
        LINEAR_MARGIN, LINEAR, DICE, LOVASZ, *map(primary, _GAMMAS),
        *(zoomed(r, g) for r in REGIONS for g in (None, *_GAMMAS)), COMBINED, PRIMARY_FCN_ZOOM, FCN_ZOOM, SOFT, SCORES,
        SOFT_SCORES, THROUGH, PER_CLIP, PEEPHOLES, UNSCALED, UNBOUNDED, CE_UNBOUNDED, IOU_UNBOUNDED, CE_UNSCALED,
        IOU_UNSCALED, CE_ALONE, LINEAR_ALONE, PRIMARY_ALONE, CE_STILL, LINEAR_STILL, PRIMARY_STILL, CE_CLASSIFIER,
        LINEAR_CLASSIFIER, *map(long_row, LONG_ROWS),
    ]
)  # fmt: skip
