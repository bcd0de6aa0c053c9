"""Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading (Sheng et al., TMM 2022)."""

from pathlib import Path

from reprolib.datasets import grid, lrs2, lrs3, lrw, talking_speech
from reprolib.studies import check_datasets
from reprolib.studies.sheng2021.facts import fidelity
from reprolib.studies.sheng2021.plan import trials
from reprolib.studies.sheng2021.results import answers, claims, questions, tables
from reprolib.studies.sheng2021.settings import SYSTEMS, Parameters
from reprolib.studies.sheng2021.systems import execute

__all__ = [
    "SYSTEMS",
    "Parameters",
    "answers",
    "check_data",
    "claims",
    "execute",
    "fidelity",
    "questions",
    "tables",
    "trials",
]

ID = "sheng2021"
TITLE = "Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading"
REFERENCE = "C. Sheng, X. Zhu, H. Xu, M. Pietikäinen, L. Liu, IEEE Transactions on Multimedia 2022"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    return check_datasets(
        data_root, {"talkingfaces": talking_speech, "lrw": lrw, "lrs2": lrs2, "lrs3": lrs3, "grid": grid}
    )
