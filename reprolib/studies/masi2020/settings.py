"""The sizes of masi2020's runs and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from reprolib.parameters import StudyParameters

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 1


class Parameters(StudyParameters):
    """What a reader may turn in the notebook and on the command line."""

    betas: list[float] = Field(default_factory=lambda: [0.0, 1.0, 5.0, 20.0])
    alphas: list[float] = Field(default_factory=lambda: [1.0, 10.0])


@dataclass(frozen=True)
class Scale:
    """One profile in numbers: picture side in pixels, network width, faces, epochs, rates."""

    seeds: int
    size: int  # side of the network's input
    width: int  # channels of the first layer; 64 in the paper
    fc_channels: int  # of the FCN-8s; 4096 in the paper
    batch_size: int
    teacher_faces: int
    teacher_epochs: int
    transfer_faces: int
    transfer_epochs: int
    cofw_train: int
    cofw_test: int
    parts_train: int
    parts_test: int
    finetune_epochs: int
    scratch_epochs: int
    pretrain_lr: float
    cofw_lr: float
    parts_lr: float

    @property
    def large_size(self) -> int:
        """Side at which Part Labels are annotated: 250 for an input of 128."""
        return round(self.size * 250 / 128)


# gpu has the sizes and rates of Sec. 4.1; its numbers of epochs are ours, since the paper trains until convergence.
# cpu is smaller and takes fewer steps: its fine-tuning rates are 30 (COFW) and 10 times (Part Labels) the paper's.
SCALES = {
    "smoke": Scale(
        seeds=2, size=32, width=8, fc_channels=32, batch_size=8, teacher_faces=12, teacher_epochs=2,
        transfer_faces=24, transfer_epochs=1, cofw_train=12, cofw_test=8, parts_train=12, parts_test=8,
        finetune_epochs=2, scratch_epochs=2, pretrain_lr=1e-3, cofw_lr=1e-4, parts_lr=1e-3,
    ),
    "cpu": Scale(
        seeds=3, size=64, width=16, fc_channels=256, batch_size=16, teacher_faces=150, teacher_epochs=40,
        transfer_faces=800, transfer_epochs=8, cofw_train=200, cofw_test=200, parts_train=200, parts_test=200,
        finetune_epochs=15, scratch_epochs=25, pretrain_lr=1e-3, cofw_lr=3e-4, parts_lr=1e-3,
    ),
    "gpu": Scale(
        seeds=3, size=128, width=64, fc_channels=4096, batch_size=128, teacher_faces=150, teacher_epochs=120,
        transfer_faces=4000, transfer_epochs=30, cofw_train=500, cofw_test=507, parts_train=2000, parts_test=927,
        finetune_epochs=100, scratch_epochs=100, pretrain_lr=1e-3, cofw_lr=1e-5, parts_lr=1e-4,
    ),
}  # fmt: skip

FCN_RATE = 0.3  # of the pre-training rate: VGG-16 has no normalisation, and more would kill its rectifiers

# Row names: the paper's where it has the row, ours in the same manner where it does not.
EVERYTHING = "Everything is face"  # the trivial baseline
TEACHER = "Nirkin et al. [54]"
TEACHER_AUGMENTED = "Nirkin et al. [54] +Occ.Aug."
CE_SCRATCH = "Softmax+CE +Scratch"
CE_SCRATCH_FAST = "Softmax+CE +Scratch, pre-training rate"
CE_TRANSFER = "Softmax+CE +Transf."
CE_FINETUNED = "Softmax+CE +Transf.+f.t."
CE_REGULARISED = "Softmax+CE +Transf.+f.t.+reg."
CONSENSUS_TRANSFER = "Struct. via con. +Transf."
CONSENSUS_FINETUNED = "Struct. via con. +Transf.+f.t."
CONSENSUS_REGULARISED = "Struct. via con. +Transf.+f.t.+reg."
COFW_FCN = "FCN-8s, supervised"
COFW_UNET = "Unet (ResNet-34), supervised"

PARTS_BASELINE = "Baseline"
PARTS_CONSENSUS = "Struct. via cons."
PARTS_BASELINE_REG = "Baseline +reg."
PARTS_CONSENSUS_REG = "Struct. via cons. +reg."
PARTS_SAME_START = "Struct. via cons., same start"
PARTS_RELEASED = "Struct. via cons., same start, released form"
PARTS_FCN = "Long et al. [47]"  # FCN-8s
PARTS_UNET = "Unet (ResNet-34)"

SAME_START = "Struct. via con., same start"

# Which loss, from one and the same start (Softmax+CE +Transf.), at the same number of steps.
LOSS_ROWS = {
    "Dice": "dice",
    "Softmax+CE +smoothing": "cross_entropy_smoothed",
    "Softmax+CE per blob (Eq. 5)": "blob_cross_entropy",
    SAME_START: "consensus",
    "Struct. via con., same start, released form": "consensus_batch_pooled",
}

# The same start again, fine-tuned four times as long.
LONG_BETAS = (0.0, 5.0, 20.0)
CE_LONG = "Softmax+CE, four times as long"


def long_row(beta: float) -> str:
    return f"consensus, β = {beta:g}, four times as long"


NO_CODE = "quoted: no public training code, and its training data are not public"
CRF = "quoted: a random field on top of another network, which the method under test does without"
GAN = "quoted: an adversarial baseline from another paper's study, without public training code"

SYSTEMS: dict[str, str | None] = {
    **dict.fromkeys(
        [
            EVERYTHING, TEACHER, TEACHER_AUGMENTED, CE_SCRATCH, CE_SCRATCH_FAST,
            CE_TRANSFER, CE_FINETUNED, CE_REGULARISED,
            CONSENSUS_TRANSFER, CONSENSUS_FINETUNED, CONSENSUS_REGULARISED, COFW_FCN, COFW_UNET,
            PARTS_BASELINE, PARTS_CONSENSUS, PARTS_BASELINE_REG, PARTS_CONSENSUS_REG, PARTS_SAME_START, PARTS_RELEASED,
            PARTS_FCN, PARTS_UNET, *LOSS_ROWS, CE_LONG, *map(long_row, LONG_BETAS),
        ]
    ),
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
    "Gygli et al. [24] — FCN baseline": "quoted: a 32 px network; FCN-8s stands for its kind",
}  # fmt: skip
