"""The tables of masi2020 as data: which rows there are, what each one trains, and which table needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reprolib import tries
from reprolib.parameters import StudyParameters
from reprolib.studies.masi2020.config import Config, Pretraining, Training
from reprolib.study import Row, Table

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 5
PREPARATION, CROPS = 1, 5  # raise when the same arguments give other arrays, or other crops and occluders

# Row names: the paper's where it has the row, ours in the same manner where it does not.
EVERYTHING, MEAN_MASK = "Everything is face", "Mean mask"
TEACHER = "Nirkin et al. [54]"
TEACHER_AUGMENTED = "Nirkin et al. [54] +Occ.Aug."
CE_SCRATCH = "Softmax+CE +Scratch"
CE_TRANSFER = "Softmax+CE +Transf."
CE_FINETUNED = "Softmax+CE +Transf.+f.t."
CE_REGULARISED = "Softmax+CE +Transf.+f.t.+reg."
CONSENSUS_TRANSFER = "Struct. via con. +Transf."
CONSENSUS_FINETUNED = "Struct. via con. +Transf.+f.t."
CONSENSUS_REGULARISED = "Struct. via con. +Transf.+f.t.+reg."
SAME_START = "Struct. via con., same start"
RELEASED = "Struct. via con., same start, released form"
PER_BLOB = "Softmax+CE per blob (Eq. 5)"
DICE = "Dice"
SMOOTHED = "Softmax+CE +smoothing"
UNET = "U-Net (ImageNet MobileNetV2)"

PARTS_MEAN_MASK = "Mean mask, Part Labels"
PARTS_UNET = f"{UNET}, Part Labels"
PARTS_BASELINE = "Baseline"
PARTS_CONSENSUS = "Struct. via cons."
PARTS_BASELINE_REG = "Baseline +reg."
PARTS_CONSENSUS_REG = "Struct. via cons. +reg."
PARTS_SAME_START = "Struct. via cons., same start"
PARTS_RELEASED = "Struct. via cons., same start, released form"
PARTS_FCN = "Long et al. [47]"


def beta_row(beta: float, start: str) -> str:
    """The printed name of one point of the β sweep; β = 5 is a row of the tables, too."""
    if beta == 5:
        return {"cross_entropy": SAME_START, "consensus": CONSENSUS_FINETUNED}[start]
    return f"consensus, β = {beta:g}, from {start.replace('_', '-')}"


BETAS = (0.0, 5.0, 20.0)
WATCHED_EPOCHS = (0, 1, 2, 4, 8, 16, 32)  # of fine-tuning, after which Figure 4a shows the masks; 0: before it

TABLES = (
    Table("table 1", "Table 1. Segmentation of occluded faces", {
        "IOU_face": "iou_face", "acc.": "accuracy", "rec_face": "recall_face", "rec_all": "recall_all",
        "spars.": "sparsity", "spars. (3 classes)": "sparsity_3", "IOU_face, real occluders": "real_iou_face",
    }),
    Table("table 2", "Table 2. Part Labels: pixel and superpixel accuracy", {
        "acc_p": "accuracy", "acc_sp": "accuracy_sp",
    }, {
        "Structure via Consensus (Ours), 128 px": (PARTS_CONSENSUS_REG, ""),
        "Structure via Consensus (Ours), 250 px": (PARTS_CONSENSUS_REG, "_large"),
        UNET: (PARTS_UNET, ""),
    }),
    Table("table 3", "Table 3. Part Labels: ablation", {
        "IOU_hair": "iou_hair", "IOU_bg": "iou_bg", "IOU_face": "iou_face", "IOU_mean": "iou_mean",
        "recall_all": "recall_all", "acc_p": "accuracy", "acc_sp": "accuracy_sp", "spars.": "sparsity",
        "IOU_mean, unseen people": "iou_mean_clean",
    }),
    Table("table 4", "Table 4. Part Labels: F1", {
        "F1_face": "f1_face", "F1_hair": "f1_hair", "F1_bg": "f1_bg", "acc_p": "accuracy",
    }, {
        "Struct. via cons. (Ours), 128 px": (PARTS_CONSENSUS_REG, ""),
        "Struct. via cons. (Ours), 250 px": (PARTS_CONSENSUS_REG, "_large"),
        PARTS_FCN: (PARTS_FCN, ""),
        UNET: (PARTS_UNET, ""),
    }),
    Table("extra A", "Extra A. The weight β, from two starts", {"IOU_face": "iou_face", "spars.": "sparsity"}),
    Table("extra B", "Extra B. Other losses at equal cost, from one start", {
        "IOU_face": "iou_face", "rec_all": "recall_all", "spars.": "sparsity", "spars. (3 classes)": "sparsity_3",
    }),
    Table("extra C", "Extra C. Pseudo-labels against annotation, step by step (Figure 2)", {
        "IOU_face, teacher": "pseudo_teacher", "IOU_face, contour": "pseudo_contour",
        "IOU_face, residual": "pseudo_residual", "IOU_face, morphology": "pseudo_morphology",
        "IOU_occlusion, residual": "pseudo_occlusion_residual",
        "IOU_occlusion, morphology": "pseudo_occlusion_morphology",
    }),
)  # fmt: skip

NO_CODE = "quoted: no public training code, and its training data are not public"
CRF = "quoted: a random field on top of another network, which the method under test does without"
GAN = "quoted: an adversarial baseline from another paper's study, without public training code"
QUOTED = {
    **dict.fromkeys(
        ["Struct. Forest [30]", "RPP [73]", "SAPM [20]", "Saito et al. [63] +GraphCut", "Liu et al. [45] — RNN",
         "Saxena et al. (sparse) [65]", "Saxena et al. (dense) [65]", "Zheng et al. [79] — CNN-VAE",
         "Tsogkas et al. [70] — CNN", "Lin et al. [42] — FCN+Mask-R-CNN", "Gygli et al. [24] — DVN",
         "Chen et al. [9]", "Lin et al. [42]", "Liu et al. [45]"],
        NO_CODE,
    ),
    **dict.fromkeys(
        ["Liu et al. [46]", "Kae et al. [31] — CRF", "Kae et al. [31] — Glog", "Liu et al. [45, 10] — CNN-CRF",
         "Tsogkas et al. [70] — RBM+CRF", "Chen et al. [11]", "Zhou et al. [81]"],
        CRF,
    ),
    **dict.fromkeys(
        ["FCN — GAN [21]", "GAN [21]", "FCN — LSGAN [49]", "LSGAN [49]", "FCN — WGAN,GP [22]", "WGAN,GP [22]",
         "FCN — EBGAN [78]", "EBGAN [78]", "FCN — LDRSP [56]", "LDRSP [56]"],
        GAN,
    ),
    "Gygli et al. [24] — FCN baseline": "quoted: a 32 px network; our FCN is trained as the row of Long et al.",
}  # fmt: skip


# --- sizes -------------------------------------------------------------------------------------------


def _training(
    epochs: int, patience: int, batch_size: int, lr: float, final_lr: float | None = None, drop_after: int = 2
) -> Training:
    return Training(
        epochs=epochs, patience=patience, batch_size=batch_size, lr=lr, final_lr=final_lr or lr, drop_after=drop_after
    )


SIZES = {
    "smoke": {"size": 32, "width": 8, "faces": 12, "transfer_faces": 24, "seeds": 2, "primary_seeds": 2},
    "cpu": {"size": 96, "width": 16, "faces": 0, "transfer_faces": 0, "seeds": 3, "primary_seeds": 5},
    "gpu": {"size": 128, "width": 64, "faces": 0, "transfer_faces": 0, "seeds": 3, "primary_seeds": 3},
}
# Batches of 32 where the paper has 128 (Sec. 4.1), which would give eleven steps per epoch on Part Labels.
TEACHER_TRAINING = {
    "smoke": _training(1, 1, 8, 3e-4), "cpu": _training(40, 6, 16, 3e-4), "gpu": _training(100, 10, 32, 3e-4),
}  # fmt: skip
TRANSFER_TRAINING = {  # 1e-3 to 1e-5 on plateaus, Sec. 4.1; patience outlasts both drops
    "smoke": _training(1, 1, 8, 1e-3, 1e-5), "cpu": _training(40, 6, 32, 1e-3, 1e-5, drop_after=1),
    "gpu": _training(60, 6, 32, 1e-3, 1e-5, drop_after=1),
}  # fmt: skip
SCRATCH_TRAINING = {  # as many steps as transfer and fine-tuning may take together; the same rates, dropped later
    "smoke": _training(2, 1, 8, 1e-3, 1e-5), "cpu": _training(300, 30, 32, 1e-3, 1e-5, drop_after=9),
    "gpu": _training(450, 30, 32, 1e-3, 1e-5, drop_after=9),
}  # fmt: skip
# Each compared loss gets the best of three learning rates, once they are tried; these are for all other rows.
OCCLUSION_FINE_TUNING = {
    "smoke": _training(2, 1, 8, 1e-4), "cpu": _training(45, 8, 32, 3e-4), "gpu": _training(80, 8, 32, 1e-4),
}  # fmt: skip
PARTS_FINE_TUNING = {
    "smoke": _training(2, 1, 8, 1e-3), "cpu": _training(60, 5, 32, 3e-4), "gpu": _training(60, 5, 32, 3e-4),
}  # fmt: skip
PRETRAINED_FINE_TUNING = {  # networks that start from ImageNet
    "smoke": _training(1, 1, 8, 3e-4), "cpu": _training(50, 5, 16, 3e-4), "gpu": _training(60, 5, 32, 3e-4),
}  # fmt: skip
# Rows whose learning rate is tuned. Rows with the same task and loss take over that learning rate; other forms of
# consensus take over that of consensus.
TUNED = {
    "paper": (PARTS_BASELINE, PARTS_CONSENSUS), "public": (CE_FINETUNED, CONSENSUS_FINETUNED, PER_BLOB, DICE),
}  # fmt: skip
TUNED_AS = {
    "parts": {"cross_entropy": PARTS_BASELINE, "consensus": PARTS_CONSENSUS, "consensus_batch_pooled": PARTS_CONSENSUS},
    "occlusion": {
        "cross_entropy": CE_FINETUNED, "cross_entropy_smoothed": CE_FINETUNED, "consensus": CONSENSUS_FINETUNED,
        "consensus_batch_pooled": CONSENSUS_FINETUNED, "blob_cross_entropy": PER_BLOB, "dice": DICE,
    },
}  # fmt: skip
RATES = (1e-4, 3e-4, 1e-3)
DATASETS = {"paper": ("lfw-parts", "cofw"), "public": (None, "lfw-occluded"), "synthetic": ("facesynth", "facesynth")}


# --- rows --------------------------------------------------------------------------------------------


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row of every table and figure on one data source, with its configuration and its number of seeds."""
    parts, occlusion = DATASETS[parameters.data]
    made = []
    if parts:
        made += _parts_rows(parameters, parts)
    if occlusion:
        made += _occlusion_rows(parameters, occlusion)
    log = tries.read(Path(__file__).with_name("tuning.csv"))
    return [_with_tuned_rate(row, log) for row in made]


def _with_tuned_rate(row: Row, log: list[tries.Try]) -> Row:
    """A fine-tuned row with the best learning rate of its loss on its task, if that was tuned."""
    config = row.config
    if config.start not in ("cross_entropy", "consensus") or config.training is None:
        return row
    tuned = TUNED_AS[config.task][config.loss]
    rate = tries.best(log, data=config.data, profile=config.profile, row=tuned)
    if rate is None:
        return row
    return replace(row, config=replace(config, training=replace(config.training, lr=rate, final_lr=rate)))


def _common(parameters: StudyParameters, dataset: str, task: str) -> Config:
    sizes = SIZES[parameters.profile]
    return Config(
        data=parameters.data, dataset=dataset, profile=parameters.profile, task=task, stage="supervised",
        size=sizes["size"], width=sizes["width"], train_faces=sizes["faces"], test_faces=sizes["faces"],
    )  # fmt: skip


def pretraining(profile: str, loss: str) -> Pretraining:
    """The transfer stage of a profile with one of the two losses."""
    sizes = SIZES[profile]
    return Pretraining(
        loss=loss, teacher_faces=sizes["faces"], teacher=TEACHER_TRAINING[profile],
        transfer_faces=sizes["transfer_faces"], transfer=TRANSFER_TRAINING[profile],
    )  # fmt: skip


def _parts_rows(parameters: StudyParameters, dataset: str) -> list[Row]:
    """Tables 2 to 4 and Figure 6: the occlusion output becomes hair, the classes are the blobs."""
    profile, common = parameters.profile, _common(parameters, dataset, "parts")
    many, few = (parameters.seeds or SIZES[profile][n] for n in ("primary_seeds", "seeds"))
    tuned = replace(common, training=PARTS_FINE_TUNING[profile])

    def from_transfer(with_loss: str, **more) -> Config:
        return replace(tuned, start=with_loss, pretraining=pretraining(profile, with_loss), **more)

    ce, con, released = "cross_entropy", "consensus", "consensus_batch_pooled"
    ablation, all_tables = ("table 3",), ("table 2", "table 3", "table 4")
    imagenet = replace(common, start="imagenet", training=PRETRAINED_FINE_TUNING[profile])
    return [
        Row(PARTS_MEAN_MASK, replace(common, stage="trivial", network="MeanMask"), 1, (*ablation, "figure 6")),
        Row(PARTS_BASELINE, from_transfer(ce), many, (*ablation, "figure 6")),
        Row(PARTS_CONSENSUS, from_transfer(con, loss=con), many, (*ablation, "figure 6")),
        Row(PARTS_BASELINE_REG, from_transfer(ce, regularised=True), many, ablation),
        Row(PARTS_CONSENSUS_REG, from_transfer(con, loss=con, regularised=True), many, all_tables),
        Row(PARTS_SAME_START, from_transfer(ce, loss=con), many, ablation),
        Row(PARTS_RELEASED, from_transfer(ce, loss=released), few, ablation),
        Row(PARTS_FCN, replace(imagenet, network="FCN"), few, ("table 4",)),
        Row(PARTS_UNET, replace(imagenet, network="Unet"), few, all_tables),
    ]


def _occlusion_rows(parameters: StudyParameters, dataset: str) -> list[Row]:
    """Table 1, Figures 1, 2, 4 and 5, and what the paper leaves open."""
    profile, common = parameters.profile, _common(parameters, dataset, "occlusion")
    many, few = (parameters.seeds or SIZES[profile][n] for n in ("primary_seeds", "seeds"))
    tuning = OCCLUSION_FINE_TUNING[profile]
    ce, con = "cross_entropy", "consensus"
    of_ce, of_con = pretraining(profile, ce), pretraining(profile, con)
    from_ce = replace(common, training=tuning, start=ce, pretraining=of_ce)
    from_con = replace(common, training=tuning, start=con, pretraining=of_con, loss=con)
    trivial = replace(common, stage="trivial")
    teacher = replace(common, stage="teacher", network="FCN", start="imagenet", pretraining=of_ce)
    transferred = replace(common, stage="transfer", pretraining=of_ce)
    shown = ("table 1", "figure 1", "figure 5")
    made = [
        Row(EVERYTHING, replace(trivial, network="AllFace"), 1, (*shown, "figure 4")),
        Row(MEAN_MASK, replace(trivial, network="MeanMask"), 1, ("table 1",)),
        Row(TEACHER, teacher, many, (*shown, "figure 4")),
        Row(TEACHER_AUGMENTED, replace(teacher, occluded_teacher=True), many, ("table 1",)),
        Row(CE_SCRATCH, replace(common, training=SCRATCH_TRAINING[profile]), many, ("table 1",), step_matched=True),
        Row(CE_TRANSFER, transferred, many, ("table 1", "figure 2", "extra B", "extra C")),
        Row(CONSENSUS_TRANSFER, replace(transferred, loss=con, pretraining=of_con), many, ("table 1",)),
        Row(CE_FINETUNED, from_ce, many, (*shown, "figure 4", "extra A", "extra B")),
        Row(CE_REGULARISED, replace(from_ce, regularised=True), many, ("table 1",)),
        Row(CONSENSUS_FINETUNED, from_con, many, (*shown, "figure 4", "extra A")),
        Row(CONSENSUS_REGULARISED, replace(from_con, regularised=True), many, ("table 1",)),
        Row(SAME_START, replace(from_ce, loss=con), many, ("table 1", "figure 4", "extra A", "extra B")),
        Row(RELEASED, replace(from_ce, loss="consensus_batch_pooled"), few, ("extra B",)),
        Row(PER_BLOB, replace(from_ce, loss="blob_cross_entropy"), few, ("extra B",)),
        Row(DICE, replace(from_ce, loss="dice"), few, ("extra B",)),
        Row(SMOOTHED, replace(from_ce, loss="cross_entropy_smoothed"), few, ("extra B",)),
        Row(UNET, replace(common, network="Unet", start="imagenet", training=PRETRAINED_FINE_TUNING[profile]), few,
            ("table 1",)),
    ]  # fmt: skip
    for beta in BETAS:
        for start, base in ((ce, replace(from_ce, loss=con)), (con, from_con)):
            if beta != 5:
                seeds = many if start == con else few  # the primary claim on β is about the consensus start
                made.append(Row(beta_row(beta, start), replace(base, beta=beta), seeds, ("figure 4", "extra A")))
    return made
