"""What one trial of yin2020 does: pre-train the stages, train some of them on together, parse whole frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reprolib import metrics
from reprolib.checkpoints import fitted_once
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.parsing_faces import CLASSES, CROPS
from reprolib.datasets.people import numbered
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.losses.parsing_loss import coarse_loss, part_loss, theta_loss
from reprolib.models.cropper import theta_of_hard_labels
from reprolib.models.spatial_transformer import centres_of_theta
from reprolib.models.stn_icnn import STNICNN, FineStage, labels_of
from reprolib.studies.yin2020 import data as faces_of
from reprolib.studies.yin2020 import settings as s
from reprolib.studies.yin2020.checkpoint import FINE_LABELS, save_model
from reprolib.studies.yin2020.networks import WholeFace, arguments, assembled, icnn, localiser, whole_face
from reprolib.studies.yin2020.plan import ALL, parser
from reprolib.studies.yin2020.scores import parsing_metrics, share
from reprolib.training import Batch, Schedule, make_fabric, train
from reprolib.trial import Context, Outcome, Trial

HALVINGS = 5  # the rate is halved after every fifth of the epochs: every 5 of 25, Sec. 2.5.2
BATCH = 16  # faces at a time in the test
ERASED = tuple(range(len(CROPS) + 1))  # numbers of erased parts (Figure 5)
SCORED = 2  # …for which whole faces are scored, too
KEPT_SIDE = 192  # pixels: the longest side of pictures that are kept
KEPT = {s.END_TO_END: "stn-icnn", s.LONGER: "icnn"}  # rows whose networks are kept for photos, and their files' names
REPEATS = 8  # faces or batches that are timed
THETA_WEIGHT = 1000.0  # of Eq. 19 beside the part loss: a crop ten pixels off (of 192) then costs about as much as that


def execute(trial: Trial, context: Context) -> Outcome:
    """Train the trial's system and score it on the test faces; every random number follows from `trial.seed`."""
    p = trial.params
    if p["pipeline"] == "timing":
        return _timed(p, trial.seed, context)
    train_ = _whole_face if p["pipeline"] == "global" else _parser
    model, curves = train_(p, trial.seed, context)
    if p["system"] in KEPT:
        save_model(
            checkpoint_path(trial, context.results), model, arguments=arguments(p), small=p["small"], frame=p["frame"]
        )
    return _score(model.to(context.device).eval(), curves, trial, context)


def checkpoint_path(trial: Trial, results: Path) -> Path:
    """Where the network of a trial of `KEPT` is kept for `python -m reprolib parse`."""
    p = trial.params
    name = f"{KEPT[p['system']]}-{p['data']}-{p['profile']}-seed{trial.seed}.pt"
    return results / "checkpoints" / "yin2020" / name


# --- training ----------------------------------------------------------------------------------------

DATA = ("source", "frame", "train", "test", "profile", "versions", "batch_size")
NETWORK = ("network", "channels")
PATCHES = ("patch", "mouth_patch")


def _picked(p: Mapping, names: tuple[str, ...]) -> dict:
    return {name: p[name] for name in names}


def _coarse_spec(p: Mapping, seed: int) -> dict:
    own = _picked(p, (*DATA, *NETWORK, "small", "coarse_epochs", "coarse_lr"))
    return {"stage": "coarse", "seed": seed, "recipe": s.RECIPE, **own}


def _localiser_spec(p: Mapping, seed: int) -> dict:
    own = _picked(p, (*PATCHES, "localiser", "isotropic", "localiser_epochs", "localiser_lr"))
    return {**_coarse_spec(p, seed), "stage": "localiser", **own}


def _fine_spec(p: Mapping, seed: int) -> dict:
    own = _picked(p, (*DATA, *NETWORK, *PATCHES, "fine_epochs", "fine_lr"))
    return {"stage": "fine", "seed": seed, "recipe": s.RECIPE, **own}


def _together_spec(p: Mapping, seed: int) -> dict:
    own = _picked(p, ("cropper", "learns", "kept", "end_epochs", "end_lr", "pretrained_rate"))
    stages = {"coarse": _coarse_spec(p, seed), "localiser": _localiser_spec(p, seed), "fine": _fine_spec(p, seed)}
    return {"stage": "together", "seed": seed, **stages, **own}


def _once(spec: Mapping, build: Callable[[], nn.Module], fit: Callable[[nn.Module], dict], context: Context):
    return fitted_once("yin2020", spec, build, fit, context)


def _schedule(p: Mapping, stage: str, rates: Mapping[str, float] | None = None) -> Schedule:
    """Adam at half the rate after every fifth of the run; an epoch has `versions` passes over the faces."""
    passes = p[f"{stage}_epochs"] * p["versions"]
    return Schedule.decay(
        passes, p["batch_size"], p[f"{stage}_lr"], lambda i: 0.5 ** (i * HALVINGS // passes), rates=rates or {}
    )


def _fit(
    model: nn.Module,
    faces: FaceSet,
    loss: Callable,
    prepare: Callable[[Tensor, Tensor, torch.Generator], Batch],
    *,
    schedule: Schedule,
    seed: int,
    context: Context,
    inputs: tuple[str, ...] = ("images",),
) -> dict:
    """Train on batches that `prepare(frames, labels, generator)` makes of varied frames."""

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        return prepare(*faces_of.varied(batch, generator), generator)

    fabric = make_fabric(context.device)
    return train(
        model, faces_of.tensors(faces), loss, schedule=schedule, fabric=fabric, seed=seed, inputs=inputs,
        augment=augment,
    ).curves  # fmt: skip


def _coarse(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """Stage 1 alone, Eq. 18."""

    def fit(model: nn.Module) -> dict:
        def prepare(full: Tensor, labels: Tensor, _) -> Batch:
            images = faces_of.shrunk(full, p["small"])
            return {"images": images, "labels": faces_of.resized_labels(labels, (p["small"],) * 2)}

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            return coarse_loss(logits, batch["labels"])

        faces = faces_of.training_faces(p, context.data_root)
        return _fit(model, faces, loss, prepare, schedule=_schedule(p, "coarse"), seed=seed, context=context)

    return _once(_coarse_spec(p, seed), lambda: icnn(p, len(CLASSES)), fit, context)


def _localiser(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """The localisation network on the rough masks of a stage 1 that stays as it is, Eq. 19–21."""

    def build() -> nn.Module:
        labels = torch.from_numpy(faces_of.training_faces(p, context.data_root).labels)
        return localiser(p, mean=faces_of.mean_theta(labels, **_picked(p, PATCHES)))

    def fit(model: nn.Module) -> dict:
        coarse, _ = _coarse(p, seed, context)

        @torch.no_grad()
        def prepare(full: Tensor, labels: Tensor, _) -> Batch:
            rough = coarse(faces_of.shrunk(full, p["small"])).softmax(1)
            return {"images": rough, "theta": faces_of.true_theta(labels, **_picked(p, PATCHES))}

        def loss(theta: Tensor, batch: Batch) -> Tensor:
            return theta_loss(theta, batch["theta"])

        faces = faces_of.training_faces(p, context.data_root)
        return _fit(model, faces, loss, prepare, schedule=_schedule(p, "localiser"), seed=seed, context=context)

    return _once(_localiser_spec(p, seed), build, fit, context)


def _fine(p: Mapping, seed: int, context: Context) -> tuple[nn.Module, dict]:
    """Stage 2 alone, on crops about the true places, Eq. 16."""

    def build() -> nn.Module:
        networks = {kind: icnn(p, labels) for kind, labels in FINE_LABELS.items()}
        return FineStage(networks, **_picked(p, PATCHES), aligned=False)

    def fit(model: nn.Module) -> dict:
        def prepare(full: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
            theta = faces_of.jittered_theta(labels, generator, **_picked(p, PATCHES))
            return {"images": full, "theta": theta, "labels": labels}

        return _fit(
            model, faces_of.training_faces(p, context.data_root), _part_loss, prepare, inputs=("images", "theta"),
            schedule=_schedule(p, "fine"), seed=seed, context=context,
        )  # fmt: skip

    return _once(_fine_spec(p, seed), build, fit, context)


def _part_loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
    return part_loss(outputs, batch["labels"])


def _parser(p: Mapping, seed: int, context: Context) -> tuple[STNICNN, dict]:
    """Both stages: pre-trained, or trained on together; the hybrid strategy starts from a parser trained elsewhere."""
    if "start" not in p:
        return _parser_here(p, seed, context)
    elsewhere = {name: value for name, value in p.items() if name != "start"} | p["start"] | parser(learns=ALL)
    model, curves = _parser_here(elsewhere, seed, context)
    model.fine.patch, model.fine.mouth_patch = p["patch"], p["mouth_patch"]
    if p["learns"]:
        curves = _learn_together(model, faces_of.few_faces(p, context.data_root), p, seed, context)
    return model, curves


def _parser_here(p: Mapping, seed: int, context: Context) -> tuple[STNICNN, dict]:
    coarse, curves = _coarse(p, seed, context)
    fine, fine_curves = _fine(p, seed, context)
    curves = {f"coarse_{name}": curve for name, curve in curves.items()}
    curves |= {f"fine_{name}": curve for name, curve in fine_curves.items()}
    located = None
    if p["cropper"] in ("stn", "roi_align"):
        located, located_curves = _localiser(p, seed, context)
        curves |= {f"localiser_{name}": curve for name, curve in located_curves.items()}

    def build() -> STNICNN:
        return assembled(p, coarse=coarse, localiser=located, fine=fine)

    if not p["learns"]:
        return build(), curves

    def fit(model: STNICNN) -> dict:
        return _learn_together(model, faces_of.training_faces(p, context.data_root), p, seed, context)

    model, own = _once(_together_spec(p, seed), build, fit, context)
    return model, curves | own


def _learn_together(model: STNICNN, faces: FaceSet, p: Mapping, seed: int, context: Context) -> dict:
    """Training by the part loss, Eq. 22: stages that `p["learns"]` does not name stay as they are.

    With `p["kept"]`, Eq. 18 and 19 are added, so that rough mask and crops cannot drift away from the parts.
    """
    stages = [name for name, _ in model.named_children() if name != "fine"]
    rates = {f"{name}.": p["pretrained_rate"] if name in p["learns"] else 0.0 for name in stages}

    def prepare(full: Tensor, labels: Tensor, _) -> Batch:
        batch = {"images": faces_of.shrunk(full, p["small"]), "full": full, "labels": labels}
        if p["kept"]:
            batch["rough_labels"] = faces_of.resized_labels(labels, (p["small"],) * 2)
            batch["theta"] = faces_of.true_theta(labels, **_picked(p, PATCHES))
        return batch

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        value = part_loss(outputs, batch["labels"])
        if p["kept"]:
            value = value + coarse_loss(outputs["coarse"], batch["rough_labels"])
            value = value + THETA_WEIGHT * theta_loss(outputs["theta"], batch["theta"])
        return value

    return _fit(
        model, faces, loss, prepare, inputs=("images", "full"), schedule=_schedule(p, "end", rates), seed=seed,
        context=context,
    )  # fmt: skip


def _whole_face(p: Mapping, seed: int, context: Context) -> tuple[WholeFace, dict]:
    """A network that labels the whole face at once, at its own size."""
    torch.manual_seed(seed)
    model = whole_face(p)

    def prepare(full: Tensor, labels: Tensor, _) -> Batch:
        images = faces_of.shrunk(full, p["global_side"])
        return {"images": images, "labels": faces_of.resized_labels(labels, (p["global_side"],) * 2)}

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return coarse_loss(logits, batch["labels"])

    faces = faces_of.training_faces(p, context.data_root)
    curves = _fit(model.network, faces, loss, prepare, schedule=_schedule(p, "global"), seed=seed, context=context)
    return model, curves


# --- scores ------------------------------------------------------------------------------------------


def _score(model: nn.Module, curves: dict, trial: Trial, context: Context) -> Outcome:
    p = trial.params
    test = faces_of.test_faces(p, context.data_root)
    found, theta = parse(model, test, p)
    arrays = {
        "confusion": _confusion(found, test),
        # Who is who, as numbers: faces of one person are no independent evidence.
        "people": numbered(test.persons or test.names),
    }
    scores = {f"f1_{name}": float(value) for name, value in parsing_metrics(arrays["confusion"].sum(0)).items()}
    if theta is not None:
        arrays["crop_recall"] = inside_crops(theta, test.labels)
        scores["crop_recall"] = float(share(arrays["crop_recall"].sum((0, 1))))
    if p["system"] in s.ASKED_ABOUT_MISSING:
        arrays |= _missing_parts(model, p, context, pictures=trial.seed == 0)
    if trial.seed == 0 and (shown := faces_of.shown_faces(p, context.data_root)) is not None:
        arrays |= _examples(model, shown, p)
    return Outcome({name: value for name, value in scores.items() if np.isfinite(value)}, curves, arrays)


def _confusion(found: np.ndarray, faces: FaceSet) -> np.ndarray:
    """(N, 9, 9) pixel counts over the whole frame."""
    return metrics.confusion(found, faces.labels, len(CLASSES)).astype(np.int32)


@torch.no_grad()
def parse(model: nn.Module, faces: FaceSet, p: Mapping) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels uint8 (N, H, W) of the whole frames, and θ float32 (N, 6, 2, 3) where the system crops."""
    device = next(model.parameters()).device
    data = faces_of.tensors(faces)
    labels, places = [], []
    for images, truth in zip(data["images"].split(BATCH), data["labels"].split(BATCH), strict=True):
        full = images.to(device).float() / 255
        if isinstance(model, WholeFace):
            labels.append(model(full).argmax(1).to(torch.uint8).cpu())
            continue
        frame = tuple(full.shape[-2:])
        rough = model.coarse(faces_of.shrunk(full, p["small"])).softmax(1)
        if p["cropper"] == "none":
            labels.append(faces_of.resized_labels(rough.argmax(1), frame).to(torch.uint8).cpu())
            continue
        outputs = _tested_fine(model, p)(full, _theta(model, rough, truth.to(device), p))
        labels.append(labels_of(outputs, frame=frame).cpu())
        places.append(outputs["theta"].float().cpu())
    return torch.cat(labels).numpy(), torch.cat(places).numpy() if places else None


def _theta(model: STNICNN, rough: Tensor, truth: Tensor, p: Mapping) -> Tensor:
    """Where the row's cropper finds the parts."""
    frame, patches = tuple(truth.shape[-2:]), _tested_patches(p)
    if p["cropper"] == "truth":
        return faces_of.true_theta(truth, **patches)
    if p["cropper"] == "hard":
        return theta_of_hard_labels(rough, frame=frame, patch=faces_of.sides(**patches))
    return model.locate(rough, frame=frame)


def _tested_patches(p: Mapping) -> dict[str, int]:
    return {name: p.get(f"tested_{name}", p[name]) for name in PATCHES}


def _tested_fine(model: STNICNN, p: Mapping) -> FineStage:
    """Stage 2 with crops of the size that the test asks for: its networks take any."""
    return FineStage(dict(model.fine.items()), **_tested_patches(p), aligned=model.fine.aligned).eval()


def inside_crops(theta: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each part's pixels, how many lie inside its crop, and how many there are: int32 (N, 6, 2).

    theta: float32 (N, 6, 2, 3); labels: uint8 (N, H, W). A crop reaches half a pixel beyond the middles of its
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


def _missing_parts(model: STNICNN, p: Mapping, context: Context, *, pictures: bool) -> dict[str, np.ndarray]:
    """Faces whose parts are painted over, one more at a time: which of the parts' pixels the crops still hold.

    "recall_erased", "recall_left": int32 (faces, numbers of erased parts, 2) over the parts that are erased and over
    the others; "confusion_erased": the whole faces with `SCORED` parts erased.
    """
    erased, left, arrays = [], [], {}
    for number in ERASED:
        faces = faces_of.faces_without(p, context.data_root, number=number)
        found, theta = parse(model, faces, p)
        counts = inside_crops(theta, faces.labels)
        lost = np.array([[f"no {part}" in tags for part in CROPS] for tags in faces.tags])[..., None]
        erased.append((counts * lost).sum(1))
        left.append((counts * ~lost).sum(1))
        if number == SCORED:
            arrays["confusion_erased"] = _confusion(found, faces)
            arrays["people_erased"] = numbered(faces.persons or faces.names)
            if pictures and p["source"] in s.PRINTABLE:
                some = faces.subset(faces_of.evenly_spaced(len(faces), faces_of.SHOWN))
                arrays |= {f"missing_{name}": value for name, value in _examples(model, some, p).items()}
    return {"recall_erased": np.stack(erased, 1), "recall_left": np.stack(left, 1), **arrays}


# --- what the pictures need --------------------------------------------------------------------------


def _examples(model: nn.Module, faces: FaceSet, p: Mapping) -> dict[str, np.ndarray]:
    """Predictions on a few faces, rough masks and θ; beside two systems the faces themselves.

    "example_…": pictures uint8 (N, h, w, 3), labels and predictions uint8 (N, h, w), no side longer than `KEPT_SIDE`;
    coarse uint8 (N, s, s); theta float32 (N, 6, 2, 3).
    """
    found, theta = parse(model, faces, p)
    side = min(KEPT_SIDE, p["frame"])
    arrays = {"example_predictions": np.stack([resize_labels(one, side) for one in found])}
    if p["system"] in (s.ICNN, s.STN, s.END_TO_END, s.END_TO_END_SECOND):
        arrays["example_images"] = np.stack([resize_picture(one, side) for one in faces.images])
        arrays["example_labels"] = np.stack([resize_labels(one, side) for one in faces.labels])
    if theta is not None:
        stage_1 = {**p, "cropper": "none"}
        arrays |= {
            "example_theta": theta,
            "example_coarse": np.stack([resize_labels(one, p["small"]) for one in parse(model, faces, stage_1)[0]]),
        }
    return arrays


def _timed(p: Mapping, seed: int, context: Context) -> Outcome:
    """Milliseconds a face from frame to labels, of baseline and proposed method in turn: (repeats, 2 methods, 2).

    The last axis: one face at a time, and `BATCH` at a time. Untrained networks: their values do not matter here.
    """
    torch.manual_seed(seed)
    rows = [parser(cropper="baseline"), parser()]
    labels = torch.from_numpy(faces_of.training_faces(p, context.data_root).labels)
    mean = faces_of.mean_theta(labels, **_picked(p, PATCHES))
    models = []
    for row in rows:
        options = {**p, **row}
        fine = {kind: icnn(options, count) for kind, count in FINE_LABELS.items()}
        place = localiser(options, mean=mean) if row["cropper"] == "stn" else None
        models.append(assembled(options, coarse=icnn(options, len(CLASSES)), localiser=place, fine=fine))
    models = [model.to(context.device).eval() for model in models]
    images = faces_of.tensors(faces_of.test_faces(p, context.data_root))["images"]
    full = images[torch.arange(BATCH) % len(images)].to(context.device).float() / 255
    took = np.zeros((REPEATS, len(models), 2))
    for repeat in range(-2, REPEATS):  # the first two warm up
        for which, model in enumerate(models):
            for kind, faces in enumerate((full[:1], full)):
                start = time.perf_counter()
                model.parse(faces_of.shrunk(faces, p["small"]), faces)
                if full.is_cuda:
                    torch.cuda.synchronize()
                took[max(repeat, 0), which, kind] = 1000 * (time.perf_counter() - start) / len(faces)
    baseline, proposed = np.median(took, axis=0)
    names = ("ms", "ms_batched")
    speed = {f"baseline_{name}": float(value) for name, value in zip(names, baseline, strict=True)}
    speed |= {f"proposed_{name}": float(value) for name, value in zip(names, proposed, strict=True)}
    return Outcome({}, arrays={"milliseconds": took}, speed=speed)
