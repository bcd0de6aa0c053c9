"""How yin2020's parsers are scored: whole test frames, frames without some parts, FASSEG, and milliseconds per face."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from reprolib import metrics
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES, CROPS
from reprolib.datasets.people import numbered
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.models.cropper import theta_of_hard_labels
from reprolib.models.spatial_transformer import centres_of_theta
from reprolib.models.stn_icnn import STNICNN, labels_of
from reprolib.studies.yin2020 import data as faces_of
from reprolib.studies.yin2020.checkpoint import FINE_LABELS
from reprolib.studies.yin2020.config import Config
from reprolib.studies.yin2020.networks import MeanMask, WholeFace, assembled, icnn, localiser, on_device, patches
from reprolib.studies.yin2020.scores import per_part, percentages, share
from reprolib.trial import Context, Outcome

BATCH = 16  # faces at a time in the test
ERASED = tuple(range(len(CROPS) + 1))  # numbers of erased parts (Figure 5)
SCORED = 2  # erased parts with which whole faces are scored, too
KEPT_SIDE = 192  # pixels: the longest side of images in a record
REPEATS, TIMED_BATCHES = 12, (1, 32)
ALONE = 1.5  # largest load average, this process included, at which a time is judged

# --- scores ------------------------------------------------------------------------------------------


def overall(model: nn.Module, found: FaceSet, config: Config) -> float:
    """The main score: overall F1 × 100 over whole frames, with the row's own cropper."""
    was_training = model.training
    labels = parse(model.eval(), found, config)[0]
    model.train(was_training)
    return percentages(_confusion(labels, found).sum(0))["overall"]


def _confusion(labels: np.ndarray, found: FaceSet) -> np.ndarray:
    """(N, 9, 9) pixel counts over the whole frame."""
    return metrics.confusion(labels, found.labels, len(CLASSES)).astype(np.int32)


@torch.no_grad()
def parse(model: nn.Module, found: FaceSet, config: Config) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels uint8 (N, H, W) of the whole frames, and θ float32 (N, 6, 2, 3) where the row crops."""
    examples, labels, places = faces_of.tensors(found), [], []
    for images, truth in zip(examples["images"].split(BATCH), examples["labels"].split(BATCH), strict=True):
        full = on_device(model, images).float() / 255
        frame = tuple(full.shape[-2:])
        if isinstance(model, (WholeFace, MeanMask)):
            labels.append(model(full).argmax(1).to(torch.uint8).cpu())
            continue
        if config.stage == "coarse":
            rough = getattr(model, "coarse", model)(faces_of.shrunk(full, config.small)).argmax(1)
            labels.append(faces_of.resized_labels(rough, frame).to(torch.uint8).cpu())
            continue
        fine = model.fine if isinstance(model, STNICNN) else model
        outputs = fine(full, _theta(model, full, truth.to(full.device), config))
        labels.append(labels_of(outputs, frame=frame).cpu())
        places.append(outputs["theta"].float().cpu())
    return torch.cat(labels).numpy(), torch.cat(places).numpy() if places else None


def _theta(model: nn.Module, full: Tensor, truth: Tensor, config: Config) -> Tensor:
    """Where the row's cropper finds the parts: float32 (N, 6, 2, 3)."""
    frame = tuple(full.shape[-2:])
    if config.cropper == "true":
        return faces_of.true_theta(truth, **patches(config))
    if config.cropper == "mean":
        return model.mean.expand(len(full), *model.mean.shape)
    rough = model.coarse(faces_of.shrunk(full, config.small)).softmax(1)
    if config.cropper == "hard":
        return theta_of_hard_labels(rough, frame=frame, patch=faces_of.sides(**patches(config)))
    return model.locate(rough, frame=frame)


def inside_crops(theta: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each part's pixels, how many are inside its crop, and how many there are: int32 (N, 6, 2).

    theta: float32 (N, 6, 2, 3); labels: uint8 (N, H, W). A crop reaches half a pixel beyond the centres of its
    outermost pixels.
    """
    height, width = labels.shape[1:]
    last = np.array([width - 1, height - 1])
    middle = centres_of_theta(torch.from_numpy(theta), frame=(height, width)).numpy()  # (N, 6, 2)
    reach = np.abs(theta[..., (0, 1), (0, 1)]) * last / 2 + 0.5
    counts = np.zeros((*theta.shape[:2], 2), np.int32)
    for face, one in enumerate(labels):
        for part, classes in enumerate(CROPS.values()):
            places = np.argwhere(np.isin(one, classes))[:, ::-1]  # (x, y)
            inside = (np.abs(places - middle[face, part]) <= reach[face, part]).all(axis=1)
            counts[face, part] = inside.sum(), len(places)
    return counts


def centre_errors(theta: Tensor, truth: Tensor, *, frame: tuple[int, int]) -> np.ndarray:
    """Distances of the crops' centres from the true ones: float32 (N, 2), their sum in pixels and their number.

    theta, truth: (N, 6, 2, 3). Parts that a face lacks are not counted.
    """
    distance = (centres_of_theta(theta, frame=frame) - centres_of_theta(truth, frame=frame)).norm(dim=-1)
    known = distance.isfinite()
    return torch.stack([distance.nan_to_num(0).sum(1), known.sum(1)], dim=1).float().numpy()


def score(model: nn.Module, config: Config, seed: int, context: Context) -> Outcome:
    """All that a record holds of a parser's test: metrics, arrays by face, and examples for the figures."""
    test = faces_of.faces(config, context.data_root).test
    labels, theta = parse(model, test, config)
    arrays = {"confusion": _confusion(labels, test), "units": numbered(test.persons or test.names)}
    scores = percentages(arrays["confusion"].sum(0))
    if theta is not None:
        truth = faces_of.true_theta(torch.from_numpy(np.ascontiguousarray(test.labels)), **patches(config))
        arrays["crop_recall"] = inside_crops(theta, test.labels)
        arrays["centre_error"] = centre_errors(torch.from_numpy(theta), truth, frame=test.labels.shape[1:])
        scores["crop_recall"] = float(share(arrays["crop_recall"].sum((0, 1))))
        scores["centre_error"] = float(per_part(arrays["centre_error"].sum(0)))
    if config.erased_faces and config.stage in ("two-stage", "together"):
        arrays |= _missing_parts(model, config, seed, context)
        scores["recall_erased"] = float(share(arrays["recall_erased"].sum((0, 1))))
        scores["recall_left"] = float(share(arrays["recall_left"].sum((0, 1))))
        scores["overall_erased"] = percentages(arrays["confusion_erased"].sum(0))["overall"]
        scores |= _on_fasseg(model, config, context)
    if seed == 0 and (shown := faces_of.shown_faces(config, context.data_root)) is not None:
        arrays |= _examples(model, shown, config)
    people = len(np.unique(arrays["units"]))
    return Outcome(scores, arrays=arrays, units={"face": people})


def _missing_parts(model: STNICNN, config: Config, seed: int, context: Context) -> dict[str, np.ndarray]:
    """Faces whose parts are painted over, one more at a time: which of the parts' pixels the crops still hold.

    "recall_erased", "recall_left": int32 (faces, numbers of erased parts, 2) over the parts that are erased and over
    the others; "confusion_erased": the whole faces with `SCORED` parts erased.
    """
    erased, left, arrays = [], [], {}
    for number in ERASED:
        found = faces_of.faces_without(config, context.data_root, number=number)
        labels, theta = parse(model, found, config)
        counts = inside_crops(theta, found.labels)
        lost = np.array([[f"no {part}" in tags for part in CROPS] for tags in found.tags])[..., None]
        erased.append((counts * lost).sum(1))
        left.append((counts * ~lost).sum(1))
        if number == SCORED:
            arrays["confusion_erased"] = _confusion(labels, found)
            arrays["units_erased"] = numbered(found.persons or found.names)
            if seed == 0 and config.dataset != "helen":
                some = found.subset(faces_of.evenly_spaced(len(found), faces_of.SHOWN))
                arrays |= {f"missing_{name}": value for name, value in _examples(model, some, config).items()}
    return {"recall_erased": np.stack(erased, 1), "recall_left": np.stack(left, 1), **arrays}


def _on_fasseg(model: STNICNN, config: Config, context: Context) -> dict[str, float]:
    """The columns of Table 2 on FASSEG, where it is at hand; the parser has not seen it."""
    found = faces_of.fasseg_faces(config.source, context.data_root)
    if found is None:
        return {}
    labels = parse(model, found, config)[0]
    return {f"{name}_fasseg": value for name, value in percentages(_confusion(labels, found).sum(0)).items()}


# --- what the figures need ---------------------------------------------------------------------------


def _examples(model: nn.Module, found: FaceSet, config: Config) -> dict[str, np.ndarray]:
    """Predictions on a few faces, rough masks and θ, and the faces themselves.

    "example_…": images uint8 (N, h, w, 3), labels and predictions uint8 (N, h, w), no side longer than `KEPT_SIDE`;
    coarse uint8 (N, s, s); theta float32 (N, 6, 2, 3).
    """
    labels, theta = parse(model, found, config)
    side = min(KEPT_SIDE, config.source.frame)
    arrays = {"example_predictions": np.stack([resize_labels(one, side) for one in labels])}
    if isinstance(model, STNICNN):
        arrays["example_images"] = np.stack([resize_picture(one, side) for one in found.images])
        arrays["example_labels"] = np.stack([resize_labels(one, side) for one in found.labels])
        arrays["example_theta"] = theta
        rough = parse(model, found, replace(config, stage="coarse"))[0]
        arrays["example_coarse"] = np.stack([resize_labels(one, config.small) for one in rough])
    return arrays


# --- speed -------------------------------------------------------------------------------------------


def timed(config: Config, seed: int, context: Context) -> Outcome:
    """Milliseconds per face, from frame to labels, and percent of the baseline that is timed in turn with the row.

    The networks are untrained, since their weights do not matter here. The arrays that claims use are left out where
    other processes need the cores, too.
    """
    torch.manual_seed(seed)
    found = faces_of.faces(config, context.data_root)
    mean = faces_of.mean_theta(found.train.labels, **patches(config))
    models = []
    for cropper in ("baseline", config.cropper):
        place = localiser(config, mean=mean) if cropper == "stn" else None
        parser = replace(config, cropper=cropper)
        networks = {kind: icnn(config, count) for kind, count in FINE_LABELS.items()}
        models.append(assembled(parser, coarse=icnn(config, len(CLASSES)), places=place, fine=networks))
    models = [model.to(context.device).eval() for model in models]
    images = faces_of.tensors(found.test)["images"]
    most = max(TIMED_BATCHES)
    full = images[torch.arange(most) % len(images)].to(context.device).float() / 255
    took = np.zeros((REPEATS, len(models), len(TIMED_BATCHES)))
    for repeat in range(-2, REPEATS):  # the first two warm up
        for which, model in enumerate(models):
            for kind, count in enumerate(TIMED_BATCHES):
                start = time.perf_counter()
                model.parse(faces_of.shrunk(full[:count], config.small), full[:count])
                if full.is_cuda:
                    torch.cuda.synchronize()
                took[max(repeat, 0), which, kind] = 1000 * (time.perf_counter() - start) / count
    relative = 100 * took[:, 1] / took[:, 0]
    own, share_of_baseline = np.median(took[:, 1], axis=0), np.median(relative, axis=0)
    scores = {
        "milliseconds": float(own[0]), "milliseconds_batched": float(own[1]),
        "relative_time": float(share_of_baseline[0]), "relative_time_batched": float(share_of_baseline[1]),
    }  # fmt: skip
    load = os.getloadavg()[0]
    arrays: dict[str, np.ndarray] = {"repeats": np.arange(REPEATS)}
    if load <= ALONE:
        arrays |= {"relative_time": relative[:, 0], "relative_time_batched": relative[:, 1]}
    return Outcome(scores | {"load": float(load)}, arrays=arrays)
