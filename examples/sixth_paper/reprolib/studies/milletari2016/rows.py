"""The table of milletari2016 as data: its rows, its sizes, and the score that its claim is judged on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reprolib import metrics
from reprolib.parameters import StudyParameters
from reprolib.planning import Network, Work
from reprolib.studies.milletari2016.config import Config, Training
from reprolib.study import Row, Score, Table

FIXED_MASK = "Best fixed mask"
DICE, CROSS_ENTROPY = "V-Net + Dice-based loss", "V-Net + mult. logistic loss"
QUOTED = dict.fromkeys(
    ["Imorphics [18]", "ScrAutoProstate", "SBIA", "Grislies"], "quoted: an entry of the PROMISE 2012 challenge"
)
TABLES = (Table("table 2", "Table 2. Dice coefficient (%)", {"Avg. Dice": "dice"}),)


def dice(confusion: np.ndarray) -> np.ndarray:
    """Dice coefficient of the mouth in percent: confusion matrices (…, 2, 2) -> (…)."""
    return 100 * metrics.f1(confusion)[..., 1]


SCORES = {"dice": Score("Dice coefficient", "confusion", dice, units=None)}

SIZES = {
    "smoke": {"size": 32, "faces": 16, "width": 4},
    "cpu": {"size": 32, "faces": 160, "width": 8},
    "gpu": {"size": 128, "faces": 4000, "width": 64},
}
TRAINING = {
    "smoke": Training(epochs=2, patience=1, batch_size=8, lr=3e-3),
    "cpu": Training(epochs=40, patience=8, batch_size=16, lr=3e-3),
    "gpu": Training(epochs=100, patience=10, batch_size=32, lr=1e-3),
}
SEEDS = {"smoke": 2, "cpu": 3, "gpu": 3}


def rows(parameters: StudyParameters) -> list[Row]:
    """Every row with its configuration and its seeds; there are rendered faces only."""
    if parameters.data != "synthetic":
        return []
    profile, places = parameters.profile, ("table 2", "figure 6")
    seeds = parameters.seeds or SEEDS[profile]
    fixed = Config(data="synthetic", dataset="facesynth", profile=profile, **SIZES[profile])
    trained = replace(fixed, training=TRAINING[profile])
    return [
        Row(FIXED_MASK, fixed, 1, places),
        Row(DICE, replace(trained, loss="dice"), seeds, places),
        Row(CROSS_ENTROPY, replace(trained, loss="weighted_cross_entropy"), seeds, places),
    ]


def work(config: Config) -> list[Work]:
    """The trainings behind one trial, for `plan`."""
    if config.training is None:
        return []
    training, network = config.training, Network("EncoderDecoder", 2, config.width, config.size)
    return [
        Work("training", config.dataset, network, config, config.loss, training.epochs, training.batch_size,
             images=config.faces, evaluated=config.faces // 2)
    ]  # fmt: skip
