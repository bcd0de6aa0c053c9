"""The tables of yin2020 as data: which rows there are, what each one trains, and which table needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from reprolib import tries
from reprolib.parameters import StudyParameters
from reprolib.studies.yin2020.config import Config, Pretraining, Source, Training
from reprolib.study import Row, Table

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 2

# Row names: the paper's where it has the row, ours in the same manner where it does not.
MEAN_MASK = "Mean mask"
MEAN_PLACE, TRUE_PLACE = "Crops at the mean place", "Crops at the true places"
STAGE_1 = "Stage 1 alone"
ORIGINAL = "iCNN (Baseline)"  # Zhou et al. [35]
ICNN = "iCNN (Our implem.)"
STN = "STN-iCNN*"  # before training together
END_TO_END = "STN-iCNN"
STAGE_2_ONLY = "STN-iCNN, only stage 2 learns (published recipe)"
LONGER = "iCNN (Our implem.), stage 2 trained on as long"
ROI_ALIGN = "RoI-Align in place of the STN"
UNET = "U-Net (ImageNet MobileNetV2), whole face"

ORIGINAL_STAGE_1, ORIGINAL_TRUE_PLACE = "Stage 1 alone, Zhou et al.", "Crops at the true places, Zhou et al."
HARD_LABELS = "iCNN (Our implem.), crops by arg max"
ISOTROPIC = "STN-iCNN*, isotropic θ"
LIGHT = "STN-iCNN*, light localisation network"
EVEN_TRUE_PLACE = "Crops at the true places, even"

ICNN_HALF, STN_HALF, END_TO_END_HALF = (f"{name}, half the input size" for name in (ICNN, STN, END_TO_END))
ICNN_SECOND, STN_SECOND, END_TO_END_SECOND, MEAN_MASK_SECOND, MEAN_PLACE_SECOND = (
    f"{name}, CelebAMask-HQ" for name in (ICNN, STN, END_TO_END, MEAN_MASK, MEAN_PLACE)
)
UNTUNED = "STN-iCNN, trained elsewhere, not fine-tuned"
TIMED_ICNN, TIMED_STN = "iCNN against itself", "STN-iCNN against iCNN"

OTHER_RATE = 0.01  # of the pre-trained stages in joint training, beside the authors' 0.001
JOINT_AT_OTHER_RATE = f"STN-iCNN, pre-trained stages at {OTHER_RATE:g} of the learning rate"
ASKED_ABOUT_MISSING = (ICNN, STN, END_TO_END)  # rows that parse faces with erased parts (Figure 5)


def few_row(faces: int) -> str:
    """The printed name of the hybrid strategy's row that is fine-tuned on so many faces."""
    return f"STN-iCNN, trained elsewhere, fine-tuned on {faces}"


# column → metric, all in percent
_F1 = {
    "eyes": "eyes", "brows": "brows", "nose": "nose", "In-mouth": "in_mouth", "Upper-lip": "upper_lip",
    "Lower-lip": "lower_lip", "mouth": "mouth", "overall": "overall", "overall, macro": "overall_macro",
}  # fmt: skip
_PLACES = {"crop recall": "crop_recall", "centre error (px)": "centre_error"}

TABLES = (
    Table("table 1", "Table 1. Learning rates of stage 1 (Lr1), localisation (Lr2) and stage 2 (Lr3)", {
        "Lr1 × 10⁶": "lr1", "Lr2 × 10⁶": "lr2", "Lr3 × 10⁶": "lr3", "Batch Size": "batch_size", "Epochs": "epochs",
    }, {
        "HELEN, pre-training": (END_TO_END, "_before"), "HELEN, end-to-end": (END_TO_END, "_together"),
        "CelebAMask-HQ, pre-training": (END_TO_END_SECOND, "_before"),
        "CelebAMask-HQ, end-to-end": (END_TO_END_SECOND, "_together"),
    }),
    Table("table 2", "Table 2. F1 × 100 of two-stage parsers", _F1 | _PLACES),
    Table("table 3", "Table 3. F1 × 100 on CelebAMask-HQ", _F1 | _PLACES, {
        "iCNN (Our implem.)": (ICNN_SECOND, ""), "STN-iCNN*": (STN_SECOND, ""), "STN-iCNN": (END_TO_END_SECOND, ""),
        UNTUNED: (UNTUNED, ""), few_row(20): (few_row(20), ""), few_row(100): (few_row(100), ""),
        few_row(2000): (few_row(2000), ""), few_row(4): (few_row(4), ""),
    }),
    Table("table 4", "Table 4. F1 × 100 beside other methods", _F1, {
        "Zhou et al. [35]": (ORIGINAL, ""), ICNN: (ICNN, ""), END_TO_END: (END_TO_END, ""),
        ROI_ALIGN: (ROI_ALIGN, ""), UNET: (UNET, ""),
    }),
    Table("extra A", "Extra A. What each part of the method gives", {
        "overall": "overall", "overall, macro": "overall_macro", "eyes": "eyes", "brows": "brows", "nose": "nose",
        "mouth": "mouth",
    } | _PLACES),
    Table("extra C", "Extra C. F1 × 100 on FASSEG, by inference alone", {
        column: f"{metric}_fasseg" for column, metric in _F1.items()
    }),
    Table("extra B", "Extra B. Milliseconds per face, both methods timed in turn in one process", {
        "one face at a time": "milliseconds", "32 at a time": "milliseconds_batched",
        "% of iCNN's time": "relative_time", "% of iCNN's time, 32 at a time": "relative_time_batched",
    }),
)  # fmt: skip

EXEMPLARS = "quoted: matches the image against labelled exemplars, no network and no public code"
CRF = "quoted: a convolutional network under a random field, without public training code"
RNN = "quoted: a spatially variable recurrent network, without public training code"
ADAPTIVE = "quoted: learns its receptive fields, without public training code"
QUOTED = {
    "Smith et al. [27]": EXEMPLARS,
    "Liu et al. [19]": CRF,
    "Liu et al. [18]": RNN,
    "Wei et al. [30]": ADAPTIVE,
    "STN-iCNN, mean of ten runs": "quoted: the authors' note on ten runs of STN-iCNN; ours is the row above it",
}


# --- sizes -------------------------------------------------------------------------------------------

SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "small": 32, "half": 16, "channels": (2, 4, 6, 8), "erased_faces": 3, "whole_face": 64,
        "few": (4,), "seeds": 1, "primary_seeds": 2,
    },
    "cpu": {
        "small": 64, "half": 32, "channels": (4, 8, 12, 16), "erased_faces": 60, "whole_face": 128,
        "few": (20, 100), "seeds": 3, "primary_seeds": 5,
    },
    "gpu": {
        "small": 128, "half": 64, "channels": (8, 16, 24, 32), "erased_faces": 100, "whole_face": 256,
        "few": (20, 100), "seeds": 3, "primary_seeds": 3,
    },
}  # fmt: skip
PAPERS_FEW = 2000  # faces of CelebAMask-HQ in the paper's hybrid strategy (Sec. 3.1)

# Frame, crops of single parts and the mouth's crop, pixels. HELEN and CelebAMask-HQ at `gpu` have the paper's
# (Sec. 3.3 and the authors' code). A face of `celebamask` takes a quarter to half of its frame.
FRAMES = {
    "smoke": {"helen": (256, 21, 21), "celebamask-hq": (96, 23, 47), "celebamask": (96, 13, 21),
              "facesynth": (96, 21, 21)},
    "cpu": {"helen": (512, 41, 41), "celebamask-hq": (192, 47, 95), "celebamask": (320, 41, 49),
            "facesynth": (192, 41, 41)},
    "gpu": {"helen": (1024, 81, 81), "celebamask-hq": (512, 127, 255), "celebamask": (640, 81, 97),
            "facesynth": (384, 81, 81)},
}  # fmt: skip
# Faces for training and for the test, at most; 0 = all that the dataset has.
FACES = {
    "smoke": dict.fromkeys(("helen", "celebamask-hq", "celebamask", "facesynth"), (8, 6)),
    "cpu": {"helen": (500, 0), "celebamask-hq": (650, 120), "celebamask": (0, 0), "facesynth": (300, 120)},
    "gpu": {"helen": (0, 0), "celebamask-hq": (0, 0), "celebamask": (0, 0), "facesynth": (500, 200)},
}


def _training(
    epochs: int, patience: int, batch_size: int, lr: float, halve_every: int, final_lr: float = 0.0
) -> Training:
    return Training(epochs=epochs, patience=patience, batch_size=batch_size, lr=lr, final_lr=final_lr or lr / 16,
                    halve_every=halve_every)  # fmt: skip


# `gpu` has the rates of Table 1 and, where its cells are lost, those of the authors' README, unless others were better
# on validation faces (tuning.csv). So were those of `cpu`: stage 1 at 4e-4 reached 45.8 in 34 epochs (at 1e-3: 37.6),
# stage 2 at 1e-3 reached 84.2 in 14 (at 4e-4: 83.3, at 2.5e-3: 83.7). These tries had lower ceilings than the trainings
# below, so that the log does not list them. Stage 1 predicts only background in its first epochs, and its score
# fluctuates for many more: it needs patience.
COARSE = {
    "smoke": _training(2, 1, 4, 2.3e-3, 5), "cpu": _training(120, 15, 16, 4e-4, 15),
    "gpu": _training(100, 12, 32, 2.3e-3, 12),
}  # fmt: skip
LOCALISER = {
    "smoke": _training(2, 1, 4, 1.7e-3, 5), "cpu": _training(60, 6, 16, 1e-3, 5),
    "gpu": _training(60, 8, 32, 1.7e-3, 8),
}  # fmt: skip
FINE = {
    "smoke": _training(2, 1, 4, 8e-4, 5), "cpu": _training(60, 5, 16, 1e-3, 5),
    "gpu": _training(60, 8, 32, 8e-4, 8),
}  # fmt: skip
TOGETHER = {
    "smoke": _training(2, 1, 4, 2.5e-3, 5), "cpu": _training(40, 5, 16, 1e-3, 5),
    "gpu": _training(40, 6, 32, 2.5e-3, 5),
}  # fmt: skip
FEW = {  # an epoch of the hybrid strategy has few steps
    "smoke": _training(2, 1, 4, 1e-3, 5), "cpu": _training(60, 10, 10, 1e-3, 15),
    "gpu": _training(100, 15, 20, 1e-3, 25),
}  # fmt: skip
WHOLE_FACE = {
    "smoke": _training(1, 1, 4, 3e-4, 5), "cpu": _training(40, 5, 16, 1e-3, 8),
    "gpu": _training(60, 8, 32, 1e-3, 12),
}  # fmt: skip
VERSIONS = {"smoke": 2, "cpu": 3, "gpu": 5}  # 5 are the original and four more, Sec. 2.5.1

# Rows whose learning rate is tuned: stage 1 and stage 2 of both forms of the iCNN, training together with and without
# the joint gradient, and the rival. Other rows take over the learning rates of their stages.
TUNED = {
    "public": (STAGE_1, TRUE_PLACE, ORIGINAL_STAGE_1, ORIGINAL_TRUE_PLACE, END_TO_END, STAGE_2_ONLY, UNET),
}  # fmt: skip
RATES = (4e-4, 1e-3, 2.5e-3)
MAIN = {"paper": "helen", "public": "celebamask", "synthetic": "facesynth"}
SECOND = {"paper": "celebamask-hq", "public": "celebamask", "synthetic": "facesynth"}
ELSEWHERE = {"paper": "helen", "public": "facesynth", "synthetic": "facesynth"}


def source(dataset: str, profile: str) -> Source:
    """The faces of a dataset at the sizes of a profile."""
    frame, patch, mouth_patch = FRAMES[profile][dataset]
    train, test = FACES[profile][dataset]
    return Source(
        dataset=dataset, frame=frame, patch=patch, mouth_patch=mouth_patch, train_faces=train, test_faces=test
    )  # fmt: skip


def pretraining(profile: str, network: str = "ICNN") -> Pretraining:
    """The separate trainings of a parser's three networks."""
    coarse, fine = COARSE[profile], FINE[profile]
    if network == "OriginalICNN" and profile in ORIGINAL_RATES:
        of_coarse, of_fine = ORIGINAL_RATES[profile]
        coarse, fine = _at(coarse, of_coarse), _at(fine, of_fine)
    return Pretraining(coarse=coarse, localiser=LOCALISER[profile], fine=fine, versions=VERSIONS[profile])


def _at(training: Training, lr: float) -> Training:
    return replace(training, lr=lr, final_lr=lr / 16)


# Learning rates of stages 1 and 2 for Zhou et al.'s form, which has no batch normalisation.
ORIGINAL_RATES = {"cpu": (1e-3, 1e-3), "gpu": (1e-3, 1e-3)}


# --- rows --------------------------------------------------------------------------------------------


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row of every table and figure on one data source, with its configuration and its number of seeds."""
    profile, sizes = parameters.profile, SIZES[parameters.profile]
    many, few = (parameters.seeds or sizes[n] for n in ("primary_seeds", "seeds"))
    main = _parser(parameters, MAIN[parameters.data])
    made = _main_rows(main, many, few)
    if parameters.data != "synthetic" or profile == "smoke":  # rendered faces have the headline rows only
        made += _other_rows(main, many, few) + _second_rows(parameters, main, many, few)
    log = tries.read(Path(__file__).with_name("tuning.csv"))
    return [replace(row, config=_with_tuned_rates(row.config, log)) for row in made]


def _with_tuned_rates(config: Config, log: list[tries.Try]) -> Config:
    """A row's stages with the best rates tried; rendered faces take over those of real ones, hybrids start there."""
    data = "public" if config.data == "synthetic" else config.data

    def tuned(training: Training | None, row: str) -> Training | None:
        rate = tries.best(log, data=data, profile=config.profile, row=row)
        return training if training is None or rate is None else _at(training, rate)

    original = config.network == "OriginalICNN"
    coarse, fine = (ORIGINAL_STAGE_1, ORIGINAL_TRUE_PLACE) if original else (STAGE_1, TRUE_PLACE)
    together = END_TO_END if config.joint else STAGE_2_ONLY
    if stages := config.pretraining:
        stages = replace(stages, coarse=tuned(stages.coarse, coarse), fine=tuned(stages.fine, fine))
    own = {"coarse": coarse, "fine": fine, "together": together, "whole face": UNET}.get(config.stage)
    if config.few:
        own = None  # an epoch of few faces has few steps
    training = tuned(config.training, own) if own else config.training
    return replace(config, pretraining=stages, training=training, before=tuned(config.before, together))


def _parser(parameters: StudyParameters, dataset: str) -> Config:
    """STN-iCNN before training together."""
    sizes = SIZES[parameters.profile]
    return Config(
        data=parameters.data, dataset=dataset, profile=parameters.profile, stage="two-stage",
        source=source(dataset, parameters.profile), small=sizes["small"], channels=sizes["channels"],
        erased_faces=sizes["erased_faces"], pretraining=pretraining(parameters.profile),
    )  # fmt: skip


def _together(parser: Config, **more) -> Config:
    return replace(parser, stage="together", training=TOGETHER[parser.profile], **more)


def _stages(parser: Config) -> tuple[Config, Config]:
    """Stage 1 alone and stage 2 alone, as they are trained for the parser."""
    alone = replace(parser, erased_faces=0)
    return (
        replace(alone, stage="coarse", training=parser.pretraining.coarse),
        replace(alone, stage="fine", cropper="true", training=parser.pretraining.fine),
    )


def _mean_mask(parser: Config) -> Config:
    return replace(parser, stage="mean mask", erased_faces=0, pretraining=None)


def _main_rows(stn: Config, many: int, few: int) -> list[Row]:
    """The paper's own method and its baseline, between the worst and the best place for the crops."""
    parts = ("table 2", "extra A")
    alone, fine = _stages(stn)
    joint = _together(stn, joint=True)
    return [
        Row(MEAN_MASK, _mean_mask(stn), 1, parts),
        Row(MEAN_PLACE, replace(fine, cropper="mean"), few, parts),
        Row(STAGE_1, alone, few, ("extra A",)),
        Row(ICNN, replace(stn, cropper="baseline"), many, (*parts, "table 4", "figure 5", "figure 6", "extra C")),
        Row(STN, stn, many, (*parts, "figure 5", "figure 6", "figure 8", "extra C")),
        Row(END_TO_END, joint, many, ("table 1", *parts, "table 4", "figure 1", "figure 5", "figure 6", "extra C")),
        Row(TRUE_PLACE, fine, few, parts),
    ]


def _other_rows(stn: Config, many: int, few: int) -> list[Row]:
    """Zhou et al.'s network, controls at equal training, rivals, and options of the method."""
    parts = ("extra A",)
    sizes, profile = SIZES[stn.profile], stn.profile
    plain = replace(stn, erased_faces=0)
    original = replace(plain, network="OriginalICNN", pretraining=pretraining(profile, "OriginalICNN"))
    original_stages = _stages(original)
    even = replace(stn.source, patch=stn.source.patch - 1, mouth_patch=stn.source.mouth_patch - 1)
    half = replace(plain, small=sizes["half"])
    whole = replace(
        plain, stage="whole face", network="Unet", small=sizes["whole_face"], pretraining=None,
        training=WHOLE_FACE[profile],
    )  # fmt: skip
    timing = replace(plain, stage="timing", pretraining=None)
    return [
        Row(ORIGINAL, replace(original, cropper="baseline"), few, ("table 2", "table 4", *parts)),
        Row(ORIGINAL_STAGE_1, original_stages[0], few, parts),
        Row(ORIGINAL_TRUE_PLACE, original_stages[1], few, parts),
        Row(STAGE_2_ONLY, _together(plain), many, ("table 2", *parts)),
        Row(JOINT_AT_OTHER_RATE, _together(plain, joint=True, pretrained_rate=OTHER_RATE), few, parts),
        Row(LONGER, _together(plain, cropper="baseline"), few, parts),
        Row(ROI_ALIGN, _together(plain, cropper="roi_align"), few, ("table 4", *parts)),
        Row(UNET, whole, few, ("table 4",)),
        Row(HARD_LABELS, replace(plain, cropper="hard"), few, parts),
        Row(ISOTROPIC, replace(plain, isotropic=True), few, parts),
        Row(LIGHT, replace(plain, localiser="light"), few, parts),
        Row(EVEN_TRUE_PLACE, replace(_stages(plain)[1], source=even), few, parts),
        Row(ICNN_HALF, replace(half, cropper="baseline"), few, ("figure 6",)),
        Row(STN_HALF, half, few, ("figure 6",)),
        Row(END_TO_END_HALF, _together(half, joint=True), few, ("figure 6",)),
        Row(TIMED_ICNN, replace(timing, cropper="baseline"), few, ("extra B",)),
        Row(TIMED_STN, timing, few, ("extra B",)),
    ]


def _second_rows(parameters: StudyParameters, main: Config, many: int, few: int) -> list[Row]:
    """Table 3: CelebAMask-HQ, and the hybrid strategy, which starts from another dataset.

    Where the main dataset is CelebAMask already its trials serve here, too: a trial's key does not depend on its name.
    """
    place, profile = ("table 3",), parameters.profile
    dataset = SECOND[parameters.data]
    stn = main if dataset == main.dataset else _parser(parameters, dataset)
    joint = _together(stn, joint=True)
    first = source(ELSEWHERE[parameters.data], profile)
    hybrid = replace(
        joint, erased_faces=0, elsewhere=first, before=joint.training, training=FEW[profile], pretrained_rate=1.0,
        kept_losses=True,
    )  # fmt: skip
    counts = SIZES[profile]["few"] if parameters.data != "paper" or profile == "smoke" else (PAPERS_FEW,)
    return [
        Row(MEAN_MASK_SECOND, _mean_mask(stn), 1, place),
        Row(MEAN_PLACE_SECOND, replace(_stages(stn)[1], cropper="mean"), few, place),
        Row(ICNN_SECOND, replace(stn, cropper="baseline"), many, place),
        Row(STN_SECOND, stn, many, place),
        Row(END_TO_END_SECOND, joint, many, ("table 1", *place)),
        Row(UNTUNED, replace(hybrid, stage="two-stage", training=None), few, place),
        *(Row(few_row(count), replace(hybrid, few=count), few, place) for count in counts),
    ]
