"""End-to-End Face Parsing via Interlinked Convolutional Neural Networks (Yin, Yiu, Hu, Tang, 2020)."""

from pathlib import Path

from reprolib.datasets import celebamask, fasseg_parts, helen
from reprolib.studies import check_datasets
from reprolib.studies.yin2020.plan import trials
from reprolib.studies.yin2020.results import answers, claims, fidelity, questions, tables
from reprolib.studies.yin2020.settings import SYSTEMS, Parameters
from reprolib.studies.yin2020.systems import execute

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

ID = "yin2020"
TITLE = "End-to-End Face Parsing via Interlinked Convolutional Neural Networks"
REFERENCE = "Z. Yin, V. Yiu, X. Hu, L. Tang, 2020"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    datasets = {"fasseg": fasseg_parts, "SmithCVPR2013_dataset_resized": helen, "CelebAMask-HQ": celebamask}
    return check_datasets(data_root, datasets)
