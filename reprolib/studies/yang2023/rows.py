"""The tables of yang2023 as data: which rows there are, what each one trains, and which table needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from reprolib import tries
from reprolib.parameters import StudyParameters
from reprolib.studies.yang2023.config import Config, PerScale, Training
from reprolib.study import Row, Table

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 3

# Row names: the paper's where it has the row, ours in the same manner where it does not.
MEAN_MASK = "Mean mask"
BASELINE, RULES, RECONSTRUCTION = "Baseline", "+Rules", "+Rules+Recons."
GRAPH, PROJECTION, PROPOSED = "+GR", "+GR+Proj.", "Proposed"

UNET, MANET, FPN, PSPNET, DEEPLAB = "Unet [33]", "MANet [25]", "FPN [19]", "PSPNet [23]", "DeepLabV3 [46]"
LSFCNN, GLORE, DUALSEG, SPYGR = "LSFCNN [27]", "GloRe [34]", "DualSeg [47]", "SpyGR [48]"
SEGFORMER = "SegFormer's decoder (current baseline)"
LSFCNN_PRODUCT = "LSFCNN, AND as a product"

RESNET_34, RESNET_18, MOBILENET = "ResNet-34 [49]", "ResNet-18 [49]", "MobileNetV2 [51]"
SQUEEZENET, SHUFFLENET = "SqueezeNet [52]", "ShuffleNetV2 [53]"
RANDOM = "MobileNetV2, random weights"

MEAN_DICE = "Proposed, mean Dice"
EXPECTED = "Proposed, no sampling"
PER_KERNEL = "Proposed, one draw per kernel (Eq. 6)"
SOFTER, HARDER = "Proposed, T = 1", "Proposed, T = 0.01"
SHARED = "Proposed, shared graph convolution"
NORMALISED = "Proposed, reduced features normalised"


def per_scale(finest: int) -> str:
    """ "16/32/64" for 16."""
    return "/".join(str(finest << i) for i in range(3))


def grid_row(kernels: int, nodes: int) -> str:
    """The row of Table I with these numbers of kernels and nodes at the finest scale of the paper's network."""
    return f"kernels {per_scale(kernels)}, nodes {per_scale(nodes)}"


BEST = 16  # kernels and nodes of the finest scale; 32 and 64 follow (Table I)
NEIGHBOURS = ((8, 16), (32, 16), (16, 8), (16, 32))  # the four neighbours of the best point in Table I
RIVALS = (UNET, MANET, FPN, PSPNET, DEEPLAB, LSFCNN, GLORE, DUALSEG, SPYGR)
HARD_ROWS = (PROPOSED, BASELINE, UNET)  # of Figure 11

COUNTS = {"Params (M)": "parameters_m", "FLOPs (G)": "macs_g"}
MEANS = {"mIoU": "miou", "PA": "pa", "mPA": "mpa"}
PARTS = ("bg", "lip", "teeth", "tongue", "cavity")
INSIDE = {
    "mIoU": "miou", "gain of sampling at test time": "gain_sampling", "loss without FLM": "loss_without_flm",
    "loss without FGR": "loss_without_fgr",
    **{f"within reach, stride {s} (%)": f"reach_{s}" for s in (4, 8, 16)},
    **{f"nodes used, stride {s} (%)": f"nodes_used_{s}" for s in (4, 8, 16)},
}  # fmt: skip

TABLES = (
    Table("table 1", "Table I. Kernels and nodes; ours in the paper's proportion to channels and pixels",
          {"mIoU": "miou", "PA": "pa", **COUNTS},
          {grid_row(k, n): (grid_row(k, n), "") for k, n in NEIGHBOURS} | {grid_row(BEST, BEST): (PROPOSED, "")}),
    Table("table 2", "Table II. Ablation", {**MEANS, "mIoU, open mouths": "miou_open", **COUNTS}),
    Table("table 3", "Table III. Pixel accuracy of each class",
          {name: f"pa_{name}" for name in (*PARTS, "inner")}),
    Table("table 4", "Table IV. IoU of each class", {name: f"iou_{name}" for name in (*PARTS, "inner")}),
    Table("table 5", "Table V. Comparison with other networks", {**MEANS, "mIoU, open mouths": "miou_open", **COUNTS}),
    Table("table 6", "Table VI. Encoders; ours of MobileNetV2 from ImageNet, all others from random weights",
          {"mIoU": "miou", "PA": "pa", **COUNTS, "FPS": "images_per_second"},
          {MOBILENET: (PROPOSED, ""), **{name: (name, "") for name in
                                         (RESNET_34, RESNET_18, SQUEEZENET, SHUFFLENET, RANDOM)}}),
    Table("extra A", "Extra A. Other forms of the modules and of the loss",
          {**MEANS, "IoU, inner mouth": "iou_inner", "mIoU, open mouths": "miou_open"}),
    Table("extra B", "Extra B. Inside the modules of trained networks", INSIDE),
    Table("extra C", "Extra C. Averages over sizes and mirror images at test time",
          {"mIoU": "miou", "mIoU, averaged": "miou_multiscale", "gain": "gain_multiscale"}),
    Table("extra D", "Extra D. The mouths of another dataset (Figure 9)", {"IoU, whole mouth": "iou_mouth_elsewhere"}),
)  # fmt: skip

QUOTED = {
    grid_row(k, n): "quoted: the best point and its four neighbours answer whether the grid is noise"
    for k in (8, 32) for n in (8, 32)
}  # fmt: skip


# --- sizes -------------------------------------------------------------------------------------------

DATASETS = {"paper": "flrseg", "public": "celebamask", "synthetic": "facesynth"}
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"height": 32, "width": 64, "encoder": "mobilenet_v2", "mouths": (8, 12), "hard": 2,
              "seeds": 1, "primary_seeds": 2},
    "cpu": {"height": 64, "width": 128, "encoder": "mobilenet_v2", "mouths": (0, 0), "hard": 30,
            "seeds": 3, "primary_seeds": 5},
    # the paper's crops; MobileNetV2 is one of its encoders (Table VI), ResNet-34 its own
    "gpu": {"height": 128, "width": 256, "encoder": "mobilenet_v2", "mouths": (0, 0), "hard": 30,
            "seeds": 3, "primary_seeds": 3},
}  # fmt: skip
# The paper's cosine schedule is lowest at its end and cannot show whether a training converged: a plateau instead.
TRAINING = {
    "smoke": Training(epochs=1, patience=1, batch_size=4, lr=1e-3, final_lr=1e-5),
    "cpu": Training(epochs=80, patience=7, batch_size=16, lr=1e-3, final_lr=1e-5),
    "gpu": Training(epochs=60, patience=9, batch_size=32, lr=1e-3, final_lr=1e-5),
}
RANDOM_EPOCHS = 2  # times as many epochs, at most, for encoders with random weights; no claim is about those rows
# Rows whose learning rate is tuned on validation items (tuning.csv); the others have the paper's, 1e-3.
TUNED = {"public": (BASELINE, PROPOSED, UNET, PSPNET, LSFCNN, GLORE)}
RATES = (3e-4, 1e-3, 3e-3)
# Rows that are not tuned take the learning rate of the row that they vary.
RATE_OF = {
    LSFCNN_PRODUCT: LSFCNN, MANET: UNET, FPN: UNET, SEGFORMER: UNET, DEEPLAB: PSPNET, DUALSEG: GLORE, SPYGR: GLORE,
}  # fmt: skip

SCALES = (0.5, 1.0, 1.5, 2.0)  # Sec. IV-A3
PAPER_PIXELS = 128 * 256
CHANNELS: dict[str, PerScale] = {  # of the encoders at strides 4, 8 and 16
    "resnet34": (64, 128, 256), "resnet18": (64, 128, 256), "mobilenet_v2": (24, 32, 96),
    "squeezenet": (64, 128, 256), "shufflenet_v2": (24, 48, 96),
}  # fmt: skip


def kernels_of(encoder: str, finest: int = BEST) -> PerScale:
    """K at each scale in the paper's proportion to the channels of its ResNet-34: 16/32/64 for 64/128/256.

    `finest`: K of the paper's network at its finest scale.
    """
    a, b, c = (max(1, channels * finest // (4 * BEST)) for channels in CHANNELS[encoder])
    return a, b, c


def nodes_of(height: int, width: int, finest: int = BEST) -> PerScale:
    """N at each scale in the paper's proportion to the pixels of its input: 16/32/64 for 128 × 256."""
    a, b, c = (max(1, (finest << i) * height * width // PAPER_PIXELS) for i in range(3))
    return a, b, c


# --- rows --------------------------------------------------------------------------------------------


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row of every table and figure on one data source, with its configuration and its number of seeds.

    Rendered mouths are for the four main rows of the ablation, except in smoke runs, which have no other data.
    """
    sizes, training = SIZES[parameters.profile], TRAINING[parameters.profile]
    headline_only = parameters.data == "synthetic" and parameters.profile != "smoke"
    many, few, one = (parameters.seeds or n for n in (sizes["primary_seeds"], sizes["seeds"], 1))
    if headline_only:
        many = few
    train, test = sizes["mouths"]
    common = Config(
        data=parameters.data, dataset=DATASETS[parameters.data], profile=parameters.profile, height=sizes["height"],
        width=sizes["width"], network="MeanMask", train_mouths=train, test_mouths=test,
    )  # fmt: skip
    learning = replace(
        common, encoder=sizes["encoder"], pretrained=parameters.profile != "smoke", training=training
    )  # fmt: skip
    lip = replace(
        learning, network="LipNetwork", kernels=kernels_of(sizes["encoder"]),
        nodes=nodes_of(sizes["height"], sizes["width"]),
    )  # fmt: skip
    hard = sizes["hard"]

    plain = replace(lip, kernels=None, nodes=None)
    flm, fgr = replace(lip, flm="reconstruction", nodes=None), replace(lip, fgr="fuzzy", kernels=None)
    proposed = replace(lip, flm="reconstruction", fgr="fuzzy")
    ablation = ("table 2", "table 3", "table 4")
    compared = ("table 5", "figure 7", "figure 8")
    of_proposed = (
        *ablation, "table 1", *compared, "figure 6", "figure 9", "figure 10", "figure 11", "extra A", "extra B",
        "extra C", "extra D", *(("table 6",) if sizes["encoder"] == "mobilenet_v2" else ()),
    )  # fmt: skip
    asked = {"hard_mouths": hard, "scales": SCALES}
    made = [
        Row(MEAN_MASK, common, 1, ("table 2", "figure 1", "figure 5")),
        Row(BASELINE, replace(plain, **asked), many, (*ablation, "figure 6", "figure 11", "extra C")),
        Row(RECONSTRUCTION, flm, many, (*ablation, "figure 6", "extra B")),
        Row(PROJECTION, fgr, many, (*ablation, "figure 6", "extra B")),
        Row(PROPOSED, replace(proposed, **asked, elsewhere=True), many, of_proposed),
    ]
    if headline_only:
        return _with_rates(made)
    made += [
        Row(RULES, replace(flm, flm="rules"), many, (*ablation, "extra B")),
        Row(GRAPH, replace(fgr, fgr="linear"), many, (*ablation, "extra B")),
    ]
    for kernels, nodes in NEIGHBOURS:
        point = replace(
            proposed, kernels=kernels_of(sizes["encoder"], kernels),
            nodes=nodes_of(sizes["height"], sizes["width"], nodes),
        )  # fmt: skip
        made.append(Row(grid_row(kernels, nodes), point, few, ("table 1",)))
    made += [
        Row(UNET, replace(learning, network="Unet", hard_mouths=hard), few, (*compared, "figure 11")),
        Row(PSPNET, replace(learning, network="PSPNet"), few, compared),
        Row(LSFCNN, replace(learning, network="LSFCNN"), few, compared),
        Row(GLORE, replace(learning, network="GloRe", nodes=lip.nodes), few, compared),
        Row(SEGFORMER, replace(learning, network="Segformer"), few, compared),
        Row(MANET, replace(learning, network="MAnet"), one, compared),
        Row(FPN, replace(learning, network="FPN"), one, compared),
        Row(DEEPLAB, replace(learning, network="DeepLabV3"), one, compared),
        Row(DUALSEG, replace(learning, network="DualSeg"), one, compared),
        Row(SPYGR, replace(learning, network="SpyGR"), one, compared),
        Row(MEAN_DICE, replace(proposed, dice="mean"), few, ("extra A",)),
        Row(EXPECTED, replace(proposed, sampling="expectation"), few, ("extra A",)),
        Row(LSFCNN_PRODUCT, replace(learning, network="LSFCNN", conjunction="product"), few, ("extra A",)),
        Row(NORMALISED, replace(proposed, normalised=True), few, ("extra A", "extra B")),
        Row(PER_KERNEL, replace(proposed, sampling="kernel"), one, ("extra A",)),
        Row(SOFTER, replace(proposed, temperature=1.0), one, ("extra A",)),
        Row(HARDER, replace(proposed, temperature=0.01), one, ("extra A",)),
        Row(SHARED, replace(proposed, shared_gcn=True), one, ("extra A",)),
    ]
    if sizes["encoder"] == "mobilenet_v2":
        longer = replace(training, epochs=RANDOM_EPOCHS * training.epochs)
        random = replace(proposed, pretrained=False, training=longer)
        encoders = ((SHUFFLENET, "shufflenet_v2", few), (SQUEEZENET, "squeezenet", one), (RESNET_18, "resnet18", one),
                    (RESNET_34, "resnet34", one))  # fmt: skip
        made.append(Row(RANDOM, random, few, ("table 6",)))
        for name, encoder, seeds in encoders:
            made.append(Row(name, replace(random, encoder=encoder, kernels=kernels_of(encoder)), seeds, ("table 6",)))
    return _with_rates(made)


def _with_rates(made: list[Row]) -> list[Row]:
    """The rows with their tuned learning rates; rows with a module of the paper's follow PROPOSED."""
    config = made[0].config
    rates = tries.rates(Path(__file__).with_name("tuning.csv"), data=config.data, profile=config.profile)
    return [_with_rate(row, rates) for row in made]


def _with_rate(row: Row, rates: dict[str, float]) -> Row:
    config, rate = row.config, rates.get(_tuned_as(row.name))
    if rate is None or config.training is None:
        return row
    return replace(row, config=replace(config, training=replace(config.training, lr=rate)))


def _tuned_as(name: str) -> str:
    return name if name in TUNED["public"] else RATE_OF.get(name, PROPOSED)
