"""One trial of sheng2021, the networks that `plan` counts and times, and numbers that follow from the method alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from reprolib.measuring import Workload
from reprolib.planning import Work
from reprolib.studies.sheng2021 import sentences, words
from reprolib.studies.sheng2021.config import Config
from reprolib.studies.sheng2021.facts import facts as facts  # of the module's interface
from reprolib.studies.sheng2021.networks import OnImages
from reprolib.studies.sheng2021.work import SPELT, classes_of
from reprolib.training import Batch
from reprolib.trial import Context, Outcome

RECURRENT = ("BLSTM", "WAS")  # layers that the meta device cannot run


def run(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's network and score it once on the test items; every random number follows from `seed`."""
    read = sentences.read_sentences if config.task == "sentences" else words.read_words
    return read(config, seed, context)


def validate(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row, which tuning compares; the test items are not used."""
    score = sentences.validate_sentences if config.task == "sentences" else words.validate_words
    return score(config, seed, context)


# --- for `plan` --------------------------------------------------------------------------------------


def network_of(work: Work) -> nn.Module:
    """The network of a training, with random weights, on clips made of one image each."""
    if work.config.back_end in RECURRENT or work.config.network in RECURRENT:
        with torch.device("cpu"):
            return OnImages(work.config)
    return OnImages(work.config)


def workload(work: Work, *, images: int) -> Workload:
    """The workload that `plan --measure` times: clips of random content, and the training's loss."""
    config, size, rng = work.config, work.config.sizes.size, np.random.default_rng(0)
    data = {"images": torch.from_numpy(rng.integers(0, 256, (images, 3, size, size), np.uint8))}
    if config.task == "sentences":
        texts = ["BIN BLUE AT A ONE AGAIN"] * images
        data["targets"] = sentences.TOKENS.for_teacher_forcing(texts)[1]
        data["targets"] = nn.functional.pad(data["targets"], (0, SPELT - data["targets"].shape[1]), value=-100)
        data["lengths"] = torch.full((images,), 75)
        return Workload(OnImages(config), data, sentences.loss_of(config), _as_it_is, None)
    data["labels"] = torch.from_numpy(rng.integers(0, classes_of(config), images))
    return Workload(OnImages(config), data, words.loss_of(config), _as_it_is, None)


def _as_it_is(batch: Batch) -> Batch:
    return batch
