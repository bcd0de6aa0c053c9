"""The trainings behind a trial of masi2020, their numbers of faces, and what shared stages depend on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from reprolib.planning import Network, Work
from reprolib.studies.masi2020.config import Config, Training
from reprolib.studies.masi2020.rows import CROPS, PREPARATION, RECIPE

CURVE_FACES = 100  # validation faces on which sparsity is followed during fine-tuning (Figure 4b)

# Faces for training and validation, at most: dlib does not find all.
PART_LABELS = (1500, 353)  # the official lists; validation without people of the test list
OCCLUDED = {"lfw-occluded": (372, 62), "cofw": (429, 71)}  # half of the people who are in no other list; COFW, 6 : 1
TEACHER = (380, 78)  # the other half
TRANSFER = 2600  # unlabelled faces of LFW
HELD_OUT = 10  # of the transfer: every tenth face is for validation
RENDERED_TRAIN = 400  # for training, where the configuration says 0
VALIDATION_SHARE, FEWEST_VALIDATION = 0.15, 8  # of rendered faces


def work(config: Config) -> list[Work]:
    """The trainings behind one trial, in the order in which they run; a stage that exists already is not repeated."""
    if config.stage == "trivial":
        return []
    if config.stage == "teacher":
        return [_teacher(config)]
    shared = []
    if config.pretraining:
        shared = [_teacher(replace(config, occluded_teacher=False)), _transfer(config)]
    return shared if config.stage == "transfer" else [*shared, _fine_tuning(config)]


def stage_spec(config: Config, stage: str) -> dict[str, Any]:
    """All that a shared stage ("teacher", "transfer") depends on, except its seed; trials with equal ones share it."""
    spec = {
        "stage": stage, "recipe": RECIPE, "arrays": [PREPARATION, CROPS], "dataset": source(config),
        "profile": config.profile, "size": config.size, "width": config.width,
        "occluded_teacher": config.occluded_teacher,
        **asdict(config.pretraining),
    }  # fmt: skip
    if stage == "teacher":
        spec = {key: spec[key] for key in spec if key not in ("loss", "width", "transfer", "transfer_faces")}
    return spec


def source(config: Config) -> str:
    """Where teacher and transfer faces come from: LFW for all real test faces, so that they share their stages."""
    return "facesynth" if config.dataset == "facesynth" else "lfw"


def validation_count(train: int) -> int:
    """Number of rendered faces for validation, given the number for training."""
    return max(FEWEST_VALIDATION, round(VALIDATION_SHARE * train))


def _teacher(config: Config) -> Work:
    stage = config.pretraining
    images, evaluated = _faces(config, TEACHER, stage.teacher_faces)
    name = "teacher with occluders" if config.occluded_teacher else "teacher"
    trained = replace(config, stage="teacher", network="FCN", start="imagenet")
    return _work(
        name, source(config), trained, stage.teacher, "cross_entropy", images, evaluated, classes=2,
        spec=stage_spec(config, "teacher"),
    )  # fmt: skip


def _transfer(config: Config) -> Work:
    stage = config.pretraining
    images = _faces(config, (TRANSFER, 0), stage.transfer_faces)[0]
    held_out = -(-images // HELD_OUT)
    plain = replace(config, stage="transfer", network="EncoderDecoder", start="random", regularised=False)
    return _work(
        f"transfer with {stage.loss.replace('_', '-')}", source(config), plain, stage.transfer, stage.loss,
        images - held_out, held_out, spec=stage_spec(config, "transfer"),
    )  # fmt: skip


def _fine_tuning(config: Config) -> Work:
    available = PART_LABELS if config.task == "parts" else OCCLUDED.get(config.dataset, (0, 0))
    images, validation = _faces(config, available, config.train_faces)
    evaluated = validation + min(CURVE_FACES, validation)
    return _work("fine-tuning", config.dataset, config, config.training, config.loss, images, evaluated)


def _work(stage: str, dataset: str, config: Config, training: Training, loss: str, images: int, evaluated: int, *,
          classes: int = 3, spec: dict[str, Any] | None = None) -> Work:  # fmt: skip
    width = config.width if config.network == "EncoderDecoder" else 0
    network = Network(config.network, classes, width, config.size)
    return Work(stage, dataset, network, config, loss, training.epochs, training.batch_size, images, evaluated, spec)


def _faces(config: Config, available: tuple[int, int], most: int) -> tuple[int, int]:
    """Numbers of faces for training and validation; `most` limits them unless it is 0."""
    if config.dataset == "facesynth":
        train = most or RENDERED_TRAIN
        return train, validation_count(train)
    train, validation = (min(most or count, count) for count in available)
    return train, validation
