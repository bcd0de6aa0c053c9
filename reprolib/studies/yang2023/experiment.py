"""One trial of yang2023: mouths → network → training → scores, and a look inside the modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from reprolib import metrics, report
from reprolib.datasets.augmentation import augment
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.mouths import HARD_CASES, SEVERITIES, degrade
from reprolib.datasets.people import numbered
from reprolib.lip_checkpoints import save_model
from reprolib.losses.dice import dice_loss, dice_sum
from reprolib.losses.lip_loss import ce_dice_loss, lip_loss
from reprolib.measuring import Workload
from reprolib.models import complexity, pretrained
from reprolib.models.dgcnet import DualSegNetwork
from reprolib.models.encoders import load_imagenet
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.models.fuzzy_learning import FuzzyLearningModule
from reprolib.models.glore import GloReNetwork
from reprolib.models.lip_inference import MultiScale, OneOutput, expecting, mean_ablated, nodes_used, within_reach
from reprolib.models.lip_network import LipNetwork
from reprolib.models.lsfcnn import LSFCNN, and_by_product, and_rules
from reprolib.models.spygr import SpyGRNetwork
from reprolib.planning import Work
from reprolib.studies.yang2023 import data as of
from reprolib.studies.yang2023 import rows as r
from reprolib.studies.yang2023.config import Config, Training
from reprolib.studies.yang2023.scores import lip_metrics, mouth_iou
from reprolib.training import Batch, Fitted, Schedule, channels_first, fabric_of, images_per_second, predict, train
from reprolib.trial import Context, Outcome

PAPER_INPUT = (1, 3, 128, 256)  # on which parameters and operations are counted
EXAMPLES = 12  # test mouths whose predictions are kept for the figures
WATCHED = 32  # test mouths on which the modules are inspected
RIVALS = {"LSFCNN": LSFCNN, "GloRe": GloReNetwork, "DualSeg": DualSegNetwork, "SpyGR": SpyGRNetwork}

Find = Callable[[np.ndarray], np.ndarray]
"""From images uint8 (N, H, W, 3) to labels uint8 (N, H, W)."""


# --- one trial ---------------------------------------------------------------------------------------


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's network and score it once on the test mouths; every random number follows from `seed`."""
    mouths = of.mouths_of(config, context.data_root)
    if config.training is None:
        outcome = _score(_most_frequent(mouths.train), mouths.test, config)
        outcome.metrics["validation"] = _miou(_most_frequent(mouths.train), mouths.validation, config)
        shown = _shown(mouths.test, config)
        if shown is not None:
            outcome.arrays |= {"example_images": shown.images, "example_labels": shown.labels}
        return outcome
    model, fitted = _fitted(config, seed, context)
    torch.manual_seed(seed)  # the modules sample in inference, too: earlier evaluations must not matter
    outcome = _score(finder(model), mouths.test, config)
    outcome.curves, outcome.stopped = fitted.curves, asdict(fitted.stopped)
    outcome.metrics["validation"] = max(fitted.curves["validation"])
    _add_counts(outcome, config)
    _look_inside(outcome, model, mouths.test, config)
    if config.scales:
        averaged = _miou(finder(MultiScale(model, config.scales)), mouths.test, config)
        outcome.metrics |= {"miou_multiscale": averaged, "gain_multiscale": averaged - outcome.metrics["miou"]}
    if config.hard_mouths:
        _make_harder(outcome, model, mouths.test, config)
    if config.elsewhere:
        _look_elsewhere(outcome, model, config, context.data_root)
        _keep(model, config, seed, context)
    if context.device == "cuda":  # a small network on a CPU says nothing about the paper's frames per second
        one = prepare({"images": channels_first(mouths.test.images[:1])})["images"]
        outcome.speed["images_per_second"] = images_per_second(model, one)
    return outcome


def validate(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row, which tuning compares; the test mouths are not used."""
    return max(_fitted(config, seed, context)[1].curves["validation"])


def _fitted(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    mouths = of.mouths_of(config, context.data_root)
    torch.manual_seed(seed)
    model = build(config)
    fitted = train(
        model, {"images": channels_first(mouths.train.images), "labels": torch.from_numpy(mouths.train.labels)},
        loss_of(config), schedule=_schedule(config.training), fabric=fabric_of(context), seed=seed,
        prepare=prepare, augment=augment, validate=lambda network: _miou(finder(network), mouths.validation, config),
    )  # fmt: skip
    return model, fitted


def _schedule(training: Training) -> Schedule:
    sizes = (training.epochs, training.batch_size, training.lr)
    more = {"optimiser": torch.optim.AdamW, "weight_decay": training.weight_decay, "patience": training.patience}
    if training.final_lr < training.lr:
        return Schedule.plateau(*sizes, final_lr=training.final_lr, drop_after=training.drop_after, **more)
    return Schedule.flat(*sizes, **more)


# --- networks and losses -----------------------------------------------------------------------------


def build(config: Config) -> OneOutput:
    """The network of a row, before training: images float32 (N, 3, H, W) in [−1, 1] to scores as of `OneOutput`."""
    classes = len(config.classes)
    if hasattr(smp, config.network):
        network = getattr(smp, config.network)(config.encoder, encoder_weights=None, classes=classes)
        if config.pretrained:
            pretrained.load_into_smp(network.encoder, config.encoder)
        return OneOutput(network, imagenet=True)
    if config.network == "LipNetwork":
        network = LipNetwork(**lip_arguments(config))
    else:
        options = {}
        if config.network == "LSFCNN":
            options["conjunction"] = and_by_product if config.conjunction == "product" else and_rules
        if config.network == "GloRe":
            options["nodes"] = config.nodes
        network = RIVALS[config.network](classes=classes, encoder=config.encoder, **options)
    if config.pretrained:
        load_imagenet(network.encoder, config.encoder)
    return OneOutput(network, imagenet=True)


def lip_arguments(config: Config) -> dict:
    """The arguments of `LipNetwork` for a row, as a checkpoint keeps them."""
    counts = {name: list(of) for name, of in (("kernels", config.kernels), ("nodes", config.nodes)) if of}
    return {
        "classes": len(config.classes), "encoder": config.encoder, "flm": config.flm, "fgr": config.fgr,
        "temperature": config.temperature, "sampling": config.sampling, "shared_gcn": config.shared_gcn,
        "normalised": config.normalised, **counts,
    }  # fmt: skip


def loss_of(config: Config) -> Callable[[Tensor, Batch], Tensor]:
    """Eq. 13 for a network with three heads, Eq. 14 for one that has the segmentation head alone."""
    classes, dice = len(config.classes), dice_sum if config.dice == "sum" else dice_loss

    def loss(scores: Tensor, batch: Batch) -> Tensor:
        if scores.shape[1] == classes:
            return ce_dice_loss(scores, batch["labels"], dice=dice)
        return lip_loss(*scores.split([classes, 1, classes], dim=1), batch["labels"], dice=dice)

    return loss


def prepare(batch: Batch) -> dict[str, Tensor]:
    """uint8 images (N, 3, H, W) in [−1, 1], labels as int64, on the device of the batch."""
    made = {"images": batch["images"].float().div(127.5).sub(1)}
    return made | {"labels": batch["labels"].long()} if "labels" in batch else made


def finder(model: nn.Module) -> Find:
    """The `Find` of a network: its hard labels."""
    return lambda images: predict(model, channels_first(images), prepare=prepare)


def _most_frequent(train: FaceSet) -> Find:
    """Each pixel's most frequent class in training, whatever the image."""
    counts = np.stack([(train.labels == k).sum(0) for k in range(len(train.classes))])
    mask = counts.argmax(0).astype(np.uint8)
    return lambda images: np.broadcast_to(mask, images.shape[:3]).copy()


# --- for `plan` --------------------------------------------------------------------------------------


def network_of(work: Work) -> nn.Module:
    """The network of a training, with random weights."""
    return build(replace(work.config, pretrained=False))


def workload(work: Work, *, images: int) -> Workload:
    """The workload that `plan --measure` times: random images, labels of all classes in bands, the training's loss."""
    config = work.config
    bands = (np.arange(config.height) * len(config.classes) // config.height).astype(np.uint8)
    labels = np.tile(bands[:, None], (images, 1, config.width))
    noise = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    data = {"images": channels_first(noise), "labels": torch.from_numpy(labels)}
    return Workload(network_of(work), data, loss_of(config), prepare, augment)


# --- scores ------------------------------------------------------------------------------------------


def _confusion(find: Find, faces: FaceSet, config: Config) -> np.ndarray:
    """Pixel counts int32 (N, K, K)."""
    return metrics.confusion(find(faces.images), faces.labels, len(config.classes)).astype(np.int32)


def _miou(find: Find, faces: FaceSet, config: Config) -> float:
    return float(lip_metrics(_confusion(find, faces, config).sum(0))["miou"])


def _score(find: Find, test: FaceSet, config: Config) -> Outcome:
    """The row's scores on the test mouths, open ones apart, and its predictions on a few of them."""
    confusion = _confusion(find, test, config)
    opened = np.array([of.OPEN in tags for tags in test.tags or ()])
    arrays = {
        "confusion": confusion,
        "confusion_open": confusion * opened[:, None, None],
        "units": numbered(test.persons or test.names),
    }
    if (shown := _shown(test, config)) is not None:
        arrays["example_predictions"] = find(shown.images)
    scores = {name: float(value) for name, value in lip_metrics(confusion.sum(0)).items()}
    scores["miou_open"] = float(lip_metrics(arrays["confusion_open"].sum(0))["miou"])
    finite = {name: value for name, value in scores.items() if np.isfinite(value)}  # nan: a class that no mouth shows
    unit = "person" if test.persons else "photo"
    return Outcome(finite, arrays=arrays, units={unit: len(np.unique(arrays["units"]))})


def _shown(test: FaceSet, config: Config) -> FaceSet | None:
    """Test mouths that may be printed, open and closed ones; none of FLRSeg's."""
    return None if config.dataset == "flrseg" else of.stratified(test, EXAMPLES)


def _add_counts(outcome: Outcome, config: Config) -> None:
    with torch.device("meta"):  # counts without computing
        network = build(replace(config, pretrained=False)).network
    known, operations = _counted(network)
    outcome.metrics |= {"parameters_m": known, "macs_g": operations}


def _look_inside(outcome: Outcome, model: nn.Module, test: FaceSet, config: Config) -> None:
    """Measures of a trained network's modules: kernels within reach, nodes in use, and the mIoU lost without them."""
    some = prepare({"images": channels_first(test.images[:WATCHED])})["images"].to(next(model.parameters()).device)
    found = {f"reach_{stride}": value for stride, value in within_reach(model, some).items()}
    found |= {f"nodes_used_{stride}": value for stride, value in nodes_used(model, some).items()}
    whole = outcome.metrics["miou"]
    if config.flm == "reconstruction" and config.sampling == "pixel":
        with expecting(model):
            found["gain_sampling"] = whole - _miou(finder(model), test, config)
    for part, present, kind in (("flm", config.flm, FuzzyLearningModule), ("fgr", config.fgr, FuzzyGraphReasoning)):
        if present != "none":
            with mean_ablated(model, kind):
                found[f"loss_without_{part}"] = whole - _miou(finder(model), test, config)
    outcome.metrics |= found


def _make_harder(outcome: Outcome, model: nn.Module, test: FaceSet, config: Config) -> None:
    """Pixel counts in every hard case at every severity: (cases, severities, N, K, K) (Figures 10 and 11)."""
    faces = of.stratified(test, config.hard_mouths)
    find = finder(model)
    outcome.arrays["confusion_hard"] = np.array([
        [_confusion(find, degrade(faces, case, severity, seed=of.SEED), config) for severity in SEVERITIES]
        for case in HARD_CASES
    ])  # fmt: skip
    shown = _shown(test, config)
    if shown is None or not config.elsewhere:
        return
    one = shown.subset([of.most_open(shown.images, shown.labels)])
    harder = [[degrade(one, case, s, seed=of.SEED) for s in of.SHOWN_SEVERITIES] for case in HARD_CASES]
    outcome.arrays |= {
        "hard_images": np.array([[faces.images[0] for faces in of_case] for of_case in harder]),
        "hard_labels": np.array([[faces.labels[0] for faces in of_case] for of_case in harder]),
        "hard_predictions": np.array([[find(faces.images)[0] for faces in of_case] for of_case in harder]),
    }


def _look_elsewhere(outcome: Outcome, model: nn.Module, config: Config, data_root: Path | None) -> None:
    """The whole mouth's IoU on another dataset, and eight of its mouths (Figure 9)."""
    faces = of.elsewhere(config, data_root)
    if faces is None:
        return
    found = finder(model)(faces.images)
    confusion = metrics.confusion((found > 0).astype(np.uint8), faces.labels, 2)
    some = of.evenly_spaced(len(faces), 8)
    outcome.metrics["iou_mouth_elsewhere"] = float(mouth_iou(confusion.sum(0)))
    outcome.arrays |= {
        "elsewhere_images": faces.images[some], "elsewhere_labels": faces.labels[some],
        "elsewhere_predictions": found[some],
    }  # fmt: skip


def checkpoint_path(config: Config, seed: int, results: Path) -> Path:
    """Where the proposed network is kept for `python -m reprolib lips --network fuzzy`."""
    return results / "checkpoints" / "yang2023" / f"{config.dataset}-{config.profile}-seed{seed}.pt"


def _keep(model: OneOutput, config: Config, seed: int, context: Context) -> None:
    save_model(
        checkpoint_path(config, seed, context.results), model.network, arguments=lip_arguments(config),
        size=(config.height, config.width), imagenet=model.imagenet,
    )  # fmt: skip


# --- numbers that follow from the method alone -------------------------------------------------------


def _counted(network: nn.Module) -> tuple[float, float]:
    """Parameters (millions) and multiply-accumulates (10⁹) on the paper's input, by thop's rule as in the paper."""
    known, operations = complexity.counted(network, PAPER_INPUT)
    return known / 1e6, operations / 1e9


def _lip(flm: str = "reconstruction", fgr: str = "fuzzy", encoder: str = "resnet34", kernels: int = r.BEST,
         nodes: int = r.BEST) -> nn.Module:  # fmt: skip
    k, n = ([finest << i for i in range(3)] for finest in (kernels, nodes))
    return LipNetwork(encoder=encoder, flm=flm, fgr=fgr, kernels=k, nodes=n)


def paper_networks() -> dict[tuple[str, str], Callable[[], nn.Module]]:
    """(table, printed row) → the paper's network of that row. Table V's GloRe, DualSeg and SpyGR are left out.

    Yang et al. do not say where those three reason; ours were placed to match the published counts, which are therefore
    no evidence.
    """
    made: dict[tuple[str, str], Callable[[], nn.Module]] = {
        ("1", r.grid_row(k, n)): partial(_lip, kernels=k, nodes=n) for k in (8, 16, 32) for n in (8, 16, 32)
    }
    made |= {
        ("2", r.BASELINE): partial(_lip, "none", "none"), ("2", r.RULES): partial(_lip, "rules", "none"),
        ("2", r.RECONSTRUCTION): partial(_lip, fgr="none"), ("2", r.GRAPH): partial(_lip, "none", "linear"),
        ("2", r.PROJECTION): partial(_lip, "none"), ("2", r.PROPOSED): _lip,
    }  # fmt: skip
    libraries = ((r.UNET, smp.Unet), (r.MANET, smp.MAnet), (r.FPN, smp.FPN), (r.PSPNET, smp.PSPNet),
                 (r.DEEPLAB, smp.DeepLabV3))  # fmt: skip
    for name, network in libraries:
        made["5", name] = partial(network, "resnet34", encoder_weights=None, classes=5)
    made["5", r.LSFCNN] = LSFCNN
    names = {r.RESNET_18: "resnet18", r.MOBILENET: "mobilenet_v2", r.SQUEEZENET: "squeezenet",
             r.SHUFFLENET: "shufflenet_v2"}  # fmt: skip
    return made | {("6", name): partial(_lip, encoder=encoder) for name, encoder in names.items()}


def facts() -> list[report.Fact]:
    """Every printed parameter and operation count beside that of our network, by the paper's tool and its rule.

    Encoders whose counts differ are counted again with their layers registered under two names, as thop would count
    them. That reading is ours ("arithmetic") and no evidence.
    """
    cells = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})
    printed = {(c.table, c.row, c.column): c.value for c in cells.itertuples()}
    found = []
    for (table, row), make in paper_networks().items():
        with torch.device("meta"):
            network = make()
        counts = dict(zip(r.COUNTS, _counted(network), strict=True))
        found += _facts(f"Table {table}, {row}", table, printed, row, counts, "paper")
        if table == "6" and row != r.RESNET_18:
            network.encoder.whole = nn.ModuleList(list(network.encoder.stages))
            twice = dict(zip(r.COUNTS, _counted(network), strict=True))
            found += _facts(f"Table 6, {row}, encoder counted twice", table, printed, row, twice, "arithmetic")
    return found


def _facts(
    where: str, table: str, printed: Mapping, row: str, counts: Mapping[str, float], source: str
) -> list[report.Fact]:
    """Parameters have three decimals in Table I, else two; operations three."""
    decimals = dict(zip(r.COUNTS, (3 if table == "1" else 2, 3), strict=True))
    return [
        report.fact("yang2023", f"{where}, {column}", f"{printed[table, row, column]:.{decimals[column]}f}", ours,
                    source=source)
        for column, ours in counts.items()
    ]  # fmt: skip
