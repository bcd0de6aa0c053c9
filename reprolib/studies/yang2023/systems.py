"""What one trial of yang2023 does: train one network on mouths, then score it on other speakers' mouths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from reprolib import metrics
from reprolib.datasets.augmentation import augment
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.mouths import HARD_CASES, SEVERITIES, degrade
from reprolib.datasets.people import numbered
from reprolib.studies.yang2023 import data as mouths_of
from reprolib.studies.yang2023 import settings as s
from reprolib.studies.yang2023.checkpoint import save_model
from reprolib.studies.yang2023.networks import (
    MultiScale,
    best_membership,
    build,
    expecting,
    inputs,
    levelled,
    lip_arguments,
    loss,
)
from reprolib.studies.yang2023.scores import lip_metrics
from reprolib.training import Schedule, images_per_second, make_fabric, predict, train
from reprolib.trial import Context, Outcome, Trial

SHOWN_SEVERITIES = (0, 2, 4)  # of the mouth that is kept in every hard case
WATCHED = (*s.NORMALISED_ROWS, *map(s.normalised_row, s.NORMALISED_ROWS))  # what do their fuzzy parts tell?
WATCHED_MOUTHS = 32
MADE_HARDER = (s.PROPOSED, s.BASELINE, s.UNET)  # systems that are asked about hard cases


def execute(trial: Trial, context: Context) -> Outcome:
    """Train the trial's system and score it on the test mouths; every random number follows from `trial.seed`."""
    p = trial.params
    mouths = mouths_of.training_mouths(p, context.data_root)
    torch.manual_seed(trial.seed)
    model = build(p)
    curves = train(
        model,
        {"images": inputs(mouths.images), "labels": torch.from_numpy(mouths.labels.astype(np.int64))},
        loss,
        schedule=Schedule.cosine(
            p["epochs"],
            p["batch_size"],
            p["lr"],
            final_lr=p["final_lr"],
            optimiser=torch.optim.AdamW,
            weight_decay=p["weight_decay"],
        ),
        fabric=make_fabric(context.device),
        seed=trial.seed,
        augment=augment,
    ).curves
    if p["system"] in (s.PROPOSED, s.long_row(s.PROPOSED)):
        path = checkpoint_path(trial, context.results)
        save_model(path, model.network, arguments=lip_arguments(p), size=(p["height"], p["width"]))
    return _score(model, curves, p, context)


def checkpoint_path(trial: Trial, results: Path) -> Path:
    """Where the proposed network of a trial is kept for `python -m reprolib lips`."""
    p = trial.params
    length = "" if p["system"] == s.PROPOSED else "-long"
    return results / "checkpoints" / "yang2023" / f"{p['trained_on']}-{p['profile']}{length}-seed{trial.seed}.pt"


def _score(model: nn.Module, curves: dict, p: Mapping, context: Context) -> Outcome:
    test, shown = (mouths(p, context.data_root) for mouths in (mouths_of.test_mouths, mouths_of.shown_mouths))
    averaged = MultiScale(model, p["scales"])
    arrays = {"confusion": _confusion(averaged, test), "confusion_single": _confusion(model, test)}
    # Who speaks, as numbers: mouths of one speaker are no independent evidence.
    arrays["speakers"] = numbered(test.persons or test.names)
    if p["system"] == s.PROPOSED:
        with expecting(model):
            arrays["confusion_expectation"] = _confusion(averaged, test)
    if p["system"] in MADE_HARDER:
        arrays["confusion_hard"] = _confusion_hard(averaged, mouths_of.hard_mouths(test, p))
    if shown is not None:
        arrays |= _examples(averaged, shown, p)
    fuzzy = {}  # measured last: drawing changes what is drawn next
    if p["system"] in WATCHED:
        with levelled(model):
            arrays["confusion_levelled"] = _confusion(averaged, test)
        fuzzy["miou_levelled"] = float(lip_metrics(arrays["confusion_levelled"].sum(0))["miou"])
        some = inputs(test.images[:WATCHED_MOUTHS]).to(next(model.parameters()).device)
        fuzzy |= {f"membership_{stride}": value for stride, value in best_membership(model, some).items()}
    scores = {name: float(value) for name, value in lip_metrics(arrays["confusion"].sum(0)).items()}
    scores |= fuzzy
    scores["miou_single"] = float(lip_metrics(arrays["confusion_single"].sum(0))["miou"])
    finite = {name: value for name, value in scores.items() if np.isfinite(value)}  # nan: a class that no mouth shows
    return Outcome(finite, curves, arrays, {"images_per_second": images_per_second(model, inputs(test.images[:1]))})


def _confusion(model: nn.Module, faces: FaceSet) -> np.ndarray:
    """(N, 5, 5) pixel counts."""
    found = predict(model, inputs(faces.images))
    return metrics.confusion(found, faces.labels, len(s.CLASSES)).astype(np.int32)


def _confusion_hard(model: nn.Module, faces: FaceSet) -> np.ndarray:
    """Pixel counts in every hard case at every severity: (cases, severities, N, 5, 5)."""
    return np.array(
        [[_confusion(model, _harder(faces, case, severity)) for severity in SEVERITIES] for case in HARD_CASES]
    )


def _harder(faces: FaceSet, case: str, severity: int) -> FaceSet:
    return degrade(faces, case, severity, seed=mouths_of.SEED)


# --- what the pictures need --------------------------------------------------------------------------


def _examples(model: nn.Module, shown: FaceSet, p: Mapping) -> dict[str, np.ndarray]:
    """Predictions on the mouths that may be printed; beside two systems the mouths themselves."""
    arrays = {"example_predictions": predict(model, inputs(shown.images))}
    if p["system"] in (s.PROPOSED, s.CROSS):
        arrays |= {"example_images": shown.images, "example_labels": shown.labels}
    if p["system"] == s.PROPOSED:
        arrays |= _hard_examples(model, shown.subset([mouths_of.most_open(shown.images, shown.labels)]))
    return arrays


def _hard_examples(model: nn.Module, one: FaceSet) -> dict[str, np.ndarray]:
    """One mouth in every hard case, untouched, harder and hardest: arrays (cases, severities shown, H, W, …)."""
    harder = [[_harder(one, case, severity) for severity in SHOWN_SEVERITIES] for case in HARD_CASES]
    return {
        "hard_images": np.array([[faces.images[0] for faces in of_case] for of_case in harder]),
        "hard_labels": np.array([[faces.labels[0] for faces in of_case] for of_case in harder]),
        "hard_predictions": np.array([[predict(model, inputs(f.images))[0] for f in of_case] for of_case in harder]),
    }
