"""The trainings behind a trial of wang2018, their numbers of frames, and what shared stages depend on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from reprolib.planning import Network, Work
from reprolib.studies.wang2018.config import FCN_FRAMES, STEPS, Config, Region
from reprolib.studies.wang2018.rows import RECIPE, REGIONS

SHARES = (0.45, 0.15, 0.4)  # of the people, for training, validation and test
STILLS = (783, 87)  # of HELEN's 870 faces, about: the split is by photo
STRIDE = 16


def fcn_spec(config: Config) -> dict[str, Any]:
    """All that the training of a network of single frames depends on, except its seed."""
    training = config.training if config.stage == "fcn" else config.baseline
    return {
        "stage": "fcn", "recipe": RECIPE, "source": asdict(config.source), "region": config.region,
        "network": config.network, "pretrained": config.pretrained, "training": asdict(training),
    }  # fmt: skip


def layer_spec(config: Config) -> dict[str, Any]:
    """All that the training of a ConvLSTM-FCN, or of a new classifier, depends on, except its seed."""
    return {
        "stage": config.stage, "recipe": RECIPE, "fcn": fcn_spec(config), "loss": config.loss, "gamma": config.gamma,
        "layer": asdict(config.layer) if config.layer else None, "training": asdict(config.training),
    }  # fmt: skip


def primary_of(config: Config) -> Config:
    """The primary network of a system, as a trial of its own."""
    return replace(config, stage="fcn" if config.layer is None else "conv_lstm", parts=None)


def part_of(config: Config, region: Region) -> Config:
    """The close-up network of a system for a region, as a trial of its own."""
    parts = config.parts
    if parts.conv_lstm is None:
        return replace(config, stage="fcn", region=region, training=parts.baseline, parts=None)
    return replace(
        config, stage="conv_lstm", region=region, baseline=parts.baseline, training=parts.conv_lstm,
        gamma=parts.gamma, parts=None,
    )  # fmt: skip


def work(config: Config) -> list[Work]:
    """The trainings behind one trial, in the order in which they run; a stage that exists already is not repeated.

    All are shared: the row of a network and the systems that it is a part of use one checkpoint.
    """
    if config.stage in ("sizes", "mean mask", "tracker"):
        return []
    if config.stage == "system":
        return work(primary_of(config)) + [one for region in REGIONS for one in work(part_of(config, region))]
    train, validation = clips_for(config)
    fcn_config = config if config.stage == "fcn" else replace(config, training=config.baseline)
    fcn_frames = train * (1 if config.source.frames == 1 else FCN_FRAMES)
    made = [
        Work("FCN", config.dataset, _fcn_network(config), fcn_config, "cross-entropy", fcn_config.training.epochs,
             fcn_config.training.batch_size, fcn_frames, validation * config.source.frames, fcn_spec(config))
    ]  # fmt: skip
    if config.stage != "fcn":
        training, classes = config.training, len(config.classes)
        if config.gamma:
            network = Network(f"ConvLSTM-FCN {config.network}", classes, 0, config.source.size)
        else:
            network = Network(f"{config.stage} on features of {config.network}", classes, 0,
                              config.source.size // STRIDE)  # fmt: skip
        made.append(
            Work("all layers" if config.gamma else "new layer", config.dataset, network, config, config.loss,
                 training.epochs, training.batch_size, train * STEPS, validation * STEPS, layer_spec(config))
        )  # fmt: skip
    return made


def clips_for(config: Config) -> tuple[int, int]:
    """Approximate numbers of clips, or stills, for training and validation: people have different numbers of them."""
    if config.source.dataset == "landmarks300w":
        return STILLS
    return round(SHARES[0] * config.source.clips), round(SHARES[1] * config.source.clips)


def _fcn_network(config: Config) -> Network:
    return Network(f"FCN {config.network}", len(config.classes), 0, config.source.size)
