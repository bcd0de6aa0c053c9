"""Which trials make which table and figure of wang2018."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reprolib.parameters import select
from reprolib.studies.wang2018 import settings as s
from reprolib.trial import Trial


def trials(parameters: s.Parameters) -> dict[str, list[Trial]]:
    """Table or figure → the trials it needs; those that `parameters.tables` leaves out are absent."""
    scale = s.SCALES[parameters.profile]
    common = {"profile": parameters.profile, "data": parameters.data, **asdict(scale)}
    del common["seeds"]
    rows = rows_of(parameters.gammas)
    rows |= {s.long_row(row): rows[row] | {"epochs": s.LONGER * scale.epochs} for row in s.LONG_ROWS}

    def of(*names: str) -> list[Trial]:
        return [
            Trial("wang2018", name, {**common, "system": name, **rows[name]}, seed, s.RECIPE)
            for name in names
            for seed in range(parameters.seeds or scale.seeds)  # neighbours share no stage: workers do not wait for one
        ]

    def gammas_of(region: str) -> list[Trial]:
        return of(*(s.zoomed(region, gamma) for gamma in (None, *parameters.gammas)))

    primary = s.primary(s.PRIMARY_GAMMA)
    losses = (s.CROSS_ENTROPY, s.IOU, s.HINGE, s.LINEAR_MARGIN, s.LINEAR)
    readings = (s.LINEAR, s.SOFT, s.SCORES, s.SOFT_SCORES, s.THROUGH, s.PER_CLIP, s.PEEPHOLES, s.UNSCALED)
    readings += (s.CE_UNSCALED, s.IOU_UNSCALED, s.UNBOUNDED, s.CE_UNBOUNDED, s.IOU_UNBOUNDED)
    techniques = of(s.FCN, s.SMOOTHED, s.CROSS_ENTROPY, s.IOU, s.LINEAR, primary, s.COMBINED)
    plan = {
        "table 2": of(s.TRACKER, s.DEEPLAB, s.VGG, s.FCN, s.SMOOTHED, s.UNET, s.UNET_SMOOTHED, s.MEAN_MASK),
        "table 3": of(s.CROSS_ENTROPY, s.RMSPROP, s.FCN),
        "table 4": of(s.CROSS_ENTROPY, s.RMSPROP, s.FCN),
        "table 5": of(*losses, s.DICE, s.LOVASZ),
        "table 6": of(*map(s.primary, parameters.gammas)),
        "table 7": gammas_of("eyes"),
        "table 8": gammas_of("mouth"),
        "table 9": techniques,
        "figure 1": [],  # drawn from the modules
        "figure 2": of(s.COMBINED),
        "figure 3": of(s.FCN),
        "figure 4": of(*(s.zoomed(region, None) for region in s.REGIONS)),
        "figure 5": of(s.FCN, primary, s.COMBINED),
        "figure 6": of(s.FCN, primary, s.COMBINED),
        "extra A": of(*readings),
        "extra B": of(
            *(s.CROSS_ENTROPY, s.CE_STILL, s.CE_ALONE, s.CE_CLASSIFIER),
            *(s.LINEAR, s.LINEAR_STILL, s.LINEAR_ALONE, s.LINEAR_CLASSIFIER),
            *(primary, s.PRIMARY_STILL, s.PRIMARY_ALONE, s.FCN),
        ),
        "extra C": of(s.FCN, *s.LONG_ROWS, *map(s.long_row, s.LONG_ROWS)),
        "extra D": of(s.FCN, s.FCN_ZOOM, primary, s.PRIMARY_FCN_ZOOM, s.COMBINED),
    }
    if parameters.data == "public":  # what the text leaves open, and for how long, is asked on synthetic clips
        del plan["extra A"], plan["extra C"]
    return select(plan, parameters.tables)


def fcn(network: str = "FCNResNet50", *, region: str = "face", smoothed: bool = False) -> dict:
    """A network that sees frames one by one; `smoothed`: its probabilities averaged over neighbouring frames."""
    return {"stage": "fcn", "network": network, "region": region, "smoothed": smoothed}


def conv_lstm(
    loss: str = "linear",
    *,
    gamma: float = 0.0,
    region: str = "face",
    optimiser: str = "Adam",
    memory: bool = True,
    output: str = "tanh",
    peepholes: bool = False,
    input_scale: float = s.INPUT_SCALE,
) -> dict:
    """A ConvLSTM-FCN made from the baseline FCN of its region and seed.

    `gamma`: rate of all other layers as a multiple of the ConvLSTM's, 0 freezes them. Without `memory` every frame
    starts anew, in batches of the same clips.
    """
    return {
        "stage": "conv_lstm", "region": region, "loss": loss, "gamma": gamma, "optimiser": optimiser, "memory": memory,
        "output": output, "peepholes": peepholes, "input_scale": input_scale,
    }  # fmt: skip


def new_classifier(loss: str) -> dict:
    """The baseline FCN with a new classifier of its own kind, trained as the ConvLSTM is, all other layers frozen."""
    return {"stage": "classifier", "region": "face", "loss": loss, "gamma": 0.0, "optimiser": "Adam"}


def combined(*, gamma: float | None, zoom_gamma: float | None) -> dict:
    """A primary model and two that look closer; the rates γ of their ConvLSTM-FCNs, or None for baseline FCNs."""
    return {"stage": "combined", "region": "face", "gamma": gamma, "zoom_gamma": zoom_gamma}


def rows_of(gammas: Sequence[float]) -> dict[str, dict]:
    """What each system is, whatever profile and data."""
    return {
        s.TRACKER: {"stage": "tracker", "region": "face"},
        s.MEAN_MASK: {"stage": "mean", "region": "face"},
        s.DEEPLAB: fcn("DeepLabV2"),
        s.VGG: fcn("FCNVGG16"),
        s.FCN: fcn(),
        s.SMOOTHED: fcn(smoothed=True),
        s.UNET: fcn(s.UNET_NETWORK),
        s.UNET_SMOOTHED: fcn(s.UNET_NETWORK, smoothed=True),
        s.CROSS_ENTROPY: conv_lstm("cross_entropy"),
        s.RMSPROP: conv_lstm("cross_entropy", optimiser="RMSprop, ρ = 0.9"),
        s.IOU: conv_lstm("iou"),
        s.HINGE: conv_lstm("hinge"),
        s.LINEAR_MARGIN: conv_lstm("linear_margin"),
        s.LINEAR: conv_lstm("linear"),
        s.DICE: conv_lstm("dice"),
        s.LOVASZ: conv_lstm("lovasz"),
        **{s.primary(gamma): conv_lstm(gamma=gamma) for gamma in (*gammas, s.PRIMARY_GAMMA)},
        **{s.zoomed(region, None): fcn(region=region) for region in s.REGIONS},
        **{s.zoomed(r, gamma): conv_lstm(gamma=gamma, region=r) for r in s.REGIONS for gamma in gammas},
        s.COMBINED: combined(gamma=s.PRIMARY_GAMMA, zoom_gamma=s.ZOOM_GAMMA),
        s.PRIMARY_FCN_ZOOM: combined(gamma=s.PRIMARY_GAMMA, zoom_gamma=None),
        s.FCN_ZOOM: combined(gamma=None, zoom_gamma=None),
        s.SOFT: conv_lstm("linear_soft"),
        s.SCORES: conv_lstm("linear_scores"),
        s.SOFT_SCORES: conv_lstm("linear_soft_scores"),
        s.THROUGH: conv_lstm("linear_through"),
        s.PER_CLIP: conv_lstm("linear_per_clip"),
        s.PEEPHOLES: conv_lstm(peepholes=True),
        s.UNSCALED: conv_lstm(input_scale=1.0),
        s.UNBOUNDED: conv_lstm(output="linear"),
        s.CE_UNBOUNDED: conv_lstm("cross_entropy", output="linear"),
        s.IOU_UNBOUNDED: conv_lstm("iou", output="linear"),
        s.CE_UNSCALED: conv_lstm("cross_entropy", input_scale=1.0),
        s.IOU_UNSCALED: conv_lstm("iou", input_scale=1.0),
        s.CE_ALONE: conv_lstm("cross_entropy", memory=False),
        s.LINEAR_ALONE: conv_lstm(memory=False),
        s.PRIMARY_ALONE: conv_lstm(gamma=s.PRIMARY_GAMMA, memory=False),
        s.CE_STILL: conv_lstm("cross_entropy") | {"still": True},
        s.LINEAR_STILL: conv_lstm() | {"still": True},
        s.PRIMARY_STILL: conv_lstm(gamma=s.PRIMARY_GAMMA) | {"still": True},
        s.CE_CLASSIFIER: new_classifier("cross_entropy"),
        s.LINEAR_CLASSIFIER: new_classifier("linear"),
    }
