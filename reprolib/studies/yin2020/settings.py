"""The sizes of yin2020's runs, where its faces come from, and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from reprolib.parameters import StudyParameters

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 1

PARTS = ("brow 1", "brow 2", "eye 1", "eye 2", "nose", "mouth")  # the six crops, Sec. 2.1
PAPER_FRAME, PAPER_PATCH, PAPER_SMALL = 1024, 81, 128  # HELEN, Sec. 2.5.1 and 3.3


class Parameters(StudyParameters):
    """What a reader may turn in the notebook and on the command line."""


@dataclass(frozen=True)
class Scale:
    """One profile in numbers: networks, faces, epochs, rates."""

    seeds: int
    end_to_end_seeds: int  # of the row whose spread over runs the authors mention
    channels: tuple[int, ...]  # of the four rows of every iCNN
    small: int  # side of the pictures for the coarse stage
    half: int  # …and at half the size (Figure 6)
    train: int
    test: int
    few: int  # faces of another source on which a trained network is fine-tuned
    erased: int  # test faces from which parts are erased (Figure 5)
    versions: int  # of each face in an epoch, Sec. 2.5.1
    batch_size: int
    coarse_epochs: int
    localiser_epochs: int
    fine_epochs: int
    end_epochs: int
    coarse_lr: float
    localiser_lr: float
    fine_lr: float
    end_lr: float
    pretrained_rate: float  # in end-to-end training: rate of what was pre-trained, as a part of `end_lr`
    global_side: int  # side of the pictures for networks that label the whole face at once
    global_epochs: int
    global_lr: float
    fcn_width: int  # channels of the FCN-8s' first layer, and of its fully connected ones
    fcn_channels: int
    unet_encoder: str
    unet_channels: tuple[int, ...]  # of the Unet's decoder


# gpu follows Table 1 and Sec. 3.3, and the authors' code where the table's cells are lost; smoke and cpu have smaller
# pictures, fewer of them, and iCNNs of half or a quarter of the channels.
SCALES = {
    "smoke": Scale(
        seeds=1, end_to_end_seeds=1, channels=(2, 4, 6, 8), small=32, half=16, train=8, test=6, few=4, erased=3,
        versions=1, batch_size=4, coarse_epochs=1, localiser_epochs=1, fine_epochs=1, end_epochs=1,
        coarse_lr=2.3e-3, localiser_lr=1.7e-3, fine_lr=8e-4, end_lr=2.5e-3, pretrained_rate=0.01,
        global_side=48, global_epochs=1, global_lr=1e-3, fcn_width=8, fcn_channels=32,
        unet_encoder="resnet34/4", unet_channels=(32, 32, 16, 16, 16),
    ),
    "cpu": Scale(
        seeds=3, end_to_end_seeds=5, channels=(4, 8, 12, 16), small=64, half=32, train=160, test=60, few=32, erased=24,
        versions=1, batch_size=4, coarse_epochs=25, localiser_epochs=15, fine_epochs=12, end_epochs=5,
        coarse_lr=1e-3, localiser_lr=1e-3, fine_lr=1e-3, end_lr=1e-3, pretrained_rate=0.01,
        global_side=96, global_epochs=10, global_lr=1e-3, fcn_width=16, fcn_channels=256,
        unet_encoder="resnet34/4", unet_channels=(64, 32, 16, 16, 16),
    ),
    "gpu": Scale(
        seeds=3, end_to_end_seeds=5, channels=(8, 16, 24, 32), small=128, half=64, train=500, test=100, few=100,
        erased=100, versions=5, batch_size=32, coarse_epochs=25, localiser_epochs=25, fine_epochs=25, end_epochs=25,
        coarse_lr=2.3e-3, localiser_lr=1.7e-3, fine_lr=8e-4, end_lr=2.5e-3, pretrained_rate=0.01,
        global_side=256, global_epochs=25, global_lr=1e-3, fcn_width=64, fcn_channels=4096,
        unet_encoder="resnet34", unet_channels=(256, 128, 64, 32, 16),
    ),
}  # fmt: skip

# On the laptop the networks that label the whole face need more than the scale's epochs, and the FCN-8s, which has no
# batch normalisation, a lower rate: with less both call everything background.
WHOLE_FACE = {"cpu": {"FCN8s": {"global_epochs": 40, "global_lr": 3e-4}, "Unet": {"global_epochs": 40}}}

# --- where faces come from ---------------------------------------------------------------------------

SYNTHETIC, ELSEWHERE = "synthetic", "synthetic, another camera"
FASSEG, HELEN, CELEBAMASK = "FASSEG", "HELEN", "CelebAMask-HQ"
# Of each `data`: the source in HELEN's place (Tables 2 and 4), that in CelebAMask-HQ's place (Table 3), and the one
# on which the hybrid strategy starts before it sees a few faces of the second.
SOURCES = {
    "synthetic": (SYNTHETIC, ELSEWHERE, SYNTHETIC),
    "public": (FASSEG, FASSEG, SYNTHETIC),
    "paper": (HELEN, CELEBAMASK, HELEN),
}
PRINTABLE = (SYNTHETIC, ELSEWHERE, FASSEG)

# Frame, crops of single parts and the mouth's crop, in pixels. A face of HELEN takes about a quarter of its frame of
# 1024², one of the other sources most of it: their frames are smaller so that parts and crops keep their relation.
_SIZES = {
    "smoke": {HELEN: (256, 21, 21), CELEBAMASK: (96, 23, 47), None: (96, 21, 21)},
    "cpu": {HELEN: (512, 41, 41), CELEBAMASK: (192, 47, 95), None: (192, 41, 41)},
    "gpu": {HELEN: (1024, 81, 81), CELEBAMASK: (512, 127, 255), None: (384, 81, 81)},
}


def sizes(source: str, profile: str) -> dict[str, int]:
    """Frame and crops of a source's faces in one profile, pixels."""
    of_profile = _SIZES[profile]
    frame, patch, mouth_patch = of_profile.get(source, of_profile[None])
    return {"frame": frame, "patch": patch, "mouth_patch": mouth_patch}


# --- rows ----------------------------------------------------------------------------------------------

# Row names: the paper's where it has the row, ours in the same manner where it does not.
ORIGINAL = "iCNN (Baseline)"  # Zhou et al. [35]
ICNN = "iCNN (Our implem.)"
STN = "STN-iCNN*"
END_TO_END = "STN-iCNN"
RECIPE_ONLY = "STN-iCNN, only stage 2 learns (published recipe)"
STAGE_1 = "Stage 1 alone"
TRUE_CROPS = "Crops at the true places"
LONGER = "iCNN (Our implem.), stage 2 trained on as long"
KEPT = "STN-iCNN, losses of pre-training kept"
ROI_ALIGN = "RoI-Align in place of the STN"
FCN, UNET = "FCN-8s, whole face", "Unet, whole face"

HARD_LABELS = "iCNN (Our implem.), crops by arg max"
ISOTROPIC = "STN-iCNN*, isotropic θ"
LIGHT = "STN-iCNN*, light localisation network"
EVEN_STN, EVEN_TRUE = "STN-iCNN*, even crops", "Crops at the true places, even"

ICNN_HALF, STN_HALF, END_TO_END_HALF = (f"{name}, half the input size" for name in (ICNN, STN, END_TO_END))
ICNN_SECOND, STN_SECOND, END_TO_END_SECOND = (f"{name}, second source" for name in (ICNN, STN, END_TO_END))
HYBRID, UNTUNED = "STN-iCNN, trained elsewhere, fine-tuned on few", "STN-iCNN, trained elsewhere, not fine-tuned"
TIMING = "Time of a face"

OTHER_RATES = (0.1, 0.001)  # of the pre-trained stages in joint training, as parts of `end_lr`


def rate_row(rate: float) -> str:
    """The row of joint training at another rate of the pre-trained stages."""
    return f"STN-iCNN, pre-trained stages at {rate:g} of the rate"


# Systems that are asked about faces with erased parts.
ASKED_ABOUT_MISSING = (ICNN, STN, END_TO_END)

EXEMPLARS = "quoted: matches the picture against labelled exemplars, no network and no public code"
CRF = "quoted: a convolutional network under a random field, without public training code"
RNN = "quoted: a spatially variable recurrent network, without public training code"
ADAPTIVE = "quoted: learns its receptive fields, without public training code"

SYSTEMS: dict[str, str | None] = {
    **dict.fromkeys(
        [
            ORIGINAL, ICNN, STN, END_TO_END, RECIPE_ONLY, KEPT, *map(rate_row, OTHER_RATES),
            STAGE_1, TRUE_CROPS, LONGER, ROI_ALIGN, FCN, UNET,
            HARD_LABELS, ISOTROPIC, LIGHT, EVEN_STN, EVEN_TRUE, ICNN_HALF, STN_HALF, END_TO_END_HALF,
            ICNN_SECOND, STN_SECOND, END_TO_END_SECOND, HYBRID, UNTUNED, TIMING,
        ]
    ),
    "Smith et al. [27]": EXEMPLARS,
    "Liu et al. [19]": CRF,
    "Liu et al. [18]": RNN,
    "Wei et al. [30]": ADAPTIVE,
}  # fmt: skip
