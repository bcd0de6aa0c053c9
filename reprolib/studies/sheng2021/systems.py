"""What one trial of sheng2021 does: train or load its networks, then let them read other people's lips."""

from __future__ import annotations

from reprolib.studies.sheng2021.sentences import read_sentences
from reprolib.studies.sheng2021.words import read_words
from reprolib.trial import Context, Outcome, Trial


def execute(trial: Trial, context: Context) -> Outcome:
    """Train the trial's system and score it on the test clips; every random number follows from `trial.seed`."""
    read = read_sentences if trial.params["task"] == "sentences" else read_words
    return read(trial.params, trial.seed, context)
