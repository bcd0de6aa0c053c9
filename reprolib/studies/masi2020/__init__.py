"""Towards Learning Structure via Consensus for Face Segmentation and Parsing (Masi, Mathai, AbdAlmageed, CVPR 2020)."""

from pathlib import Path

from reprolib.datasets import cofw, fasseg, part_labels, talkingfaces
from reprolib.studies import check_datasets
from reprolib.studies.masi2020.plan import trials
from reprolib.studies.masi2020.results import answers, claims, fidelity, questions, tables
from reprolib.studies.masi2020.settings import SYSTEMS, Parameters
from reprolib.studies.masi2020.systems import execute

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

ID = "masi2020"
TITLE = "Towards Learning Structure via Consensus for Face Segmentation and Parsing"
REFERENCE = "I. Masi, J. Mathai, W. AbdAlmageed, CVPR 2020"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    datasets = {"fasseg": fasseg, "talkingfaces": talkingfaces, "cofw": cofw, "part_labels": part_labels}
    return check_datasets(data_root, datasets)
