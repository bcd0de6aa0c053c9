"""The trainings behind a trial of yin2020, their numbers of faces, and what shared stages depend on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from reprolib.planning import Network, Work
from reprolib.studies.yin2020.config import PAPERS_RATE, Config, Training
from reprolib.studies.yin2020.rows import RECIPE

# Faces for training and validation, at most
AVAILABLE = {"celebamask": (650, 80), "celebamask-hq": (24183, 80), "helen": (2000, 80), "facesynth": (100_000, 80)}
CLASSES, THETA_ENTRIES = 9, 36


def stage_spec(config: Config, stage: str) -> dict[str, Any]:
    """All that a shared stage depends on, except its seed: trials with equal ones share it.

    stage: "coarse", "localiser", "fine" or "together".
    """
    crops = {"patch": config.source.patch, "mouth_patch": config.source.mouth_patch}
    faces = {name: value for name, value in asdict(config.source).items() if name not in crops}
    common = {"stage": stage, "recipe": RECIPE, "profile": config.profile, **faces}
    networks = {"network": config.network, "channels": list(config.channels)}
    before = config.pretraining
    if stage == "coarse":
        return {**common, **networks, "small": config.small, "training": asdict(before.coarse)}
    if stage == "localiser":
        return {
            **common, **crops, "coarse": stage_spec(config, "coarse"), "localiser": config.localiser,
            "isotropic": config.isotropic, "versions": before.versions, "training": asdict(before.localiser),
        }  # fmt: skip
    if stage == "fine":
        return {**common, **networks, **crops, "training": asdict(before.fine)}
    parts = ("coarse", "localiser", "fine") if needs_localiser(config) else ("coarse", "fine")
    return {
        **common, **crops, **{part: stage_spec(config, part) for part in parts}, "cropper": config.cropper,
        "joint": config.joint, "kept_losses": config.kept_losses, "pretrained_rate": config.pretrained_rate,
        "training": asdict(config.training),
    }  # fmt: skip


def needs_localiser(config: Config) -> bool:
    """Whether the row's crops come from a localisation network."""
    return config.cropper in ("stn", "roi_align")


def with_stage_training(config: Config) -> Config:
    """The same trial with a single stage's training copied to `pretraining`, so that its tuned rate counts."""
    if config.stage in ("coarse", "fine") and config.training and config.pretraining:
        return replace(config, pretraining=replace(config.pretraining, **{config.stage: config.training}))
    return config


def trained_elsewhere(config: Config) -> Config:
    """The joint training from which a trial of the hybrid strategy starts."""
    return replace(
        config, stage="together", dataset=config.elsewhere.dataset, source=config.elsewhere, training=config.before,
        joint=True, kept_losses=False, pretrained_rate=PAPERS_RATE, few=0, elsewhere=None, before=None,
    )  # fmt: skip


def work(config: Config) -> list[Work]:
    """The trainings behind one trial, in the order in which they run; a stage that exists already is not repeated."""
    config = with_stage_training(config)
    if config.stage in ("mean mask", "timing"):
        return []
    if config.stage == "whole face":
        return [_work(config, "whole face", config.training)]
    if config.elsewhere:
        own = [_work(config, "fine-tuning", config.training)] if config.training else []
        return [*work(trained_elsewhere(config)), *own]
    made = []
    if config.stage != "fine":
        made.append(_work(config, "coarse", config.pretraining.coarse))
    if config.stage in ("two-stage", "together") and needs_localiser(config):
        made.append(_work(config, "localiser", config.pretraining.localiser))
    if config.stage != "coarse":
        made.append(_work(config, "fine", config.pretraining.fine))
    if config.stage == "together":
        made.append(_work(config, "together", config.training))
    return made


def _work(config: Config, stage: str, training: Training) -> Work:
    train, validation = AVAILABLE[config.dataset]
    images = min(config.source.train_faces or train, train)
    if stage == "fine-tuning":
        images = min(config.few, images)
    if stage == "localiser":
        images *= config.pretraining.versions
    width, crops = config.channels[0], (config.source.patch, config.source.mouth_patch)
    network = {
        "coarse": Network(config.network, CLASSES, width, config.small),
        "localiser": Network(f"localisation {config.localiser}", THETA_ENTRIES, 0, config.small),
        "fine": Network(f"{config.network}, crops of {crops[0]} and {crops[1]}", CLASSES, width, config.source.frame),
        "whole face": Network("Unet", CLASSES, 0, config.small),
    }.get(stage) or Network(
        f"{config.cropper} {config.localiser} {config.network}, {config.small} px, crops of {crops[0]} and {crops[1]}",
        CLASSES, width, config.source.frame,
    )  # fmt: skip
    shared = stage in ("coarse", "localiser", "fine", "together")
    return Work(
        stage, config.dataset, network, config, stage, training.epochs, training.batch_size, images,
        min(validation, images), stage_spec(config, stage) if shared else None,
    )  # fmt: skip
