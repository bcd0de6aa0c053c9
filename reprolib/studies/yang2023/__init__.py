"""Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning (Yang, Wang, Liew, IEEE TFS 2024)."""

from pathlib import Path

from reprolib.datasets import fasseg, flrseg, talkingfaces
from reprolib.studies import check_datasets
from reprolib.studies.yang2023.plan import trials
from reprolib.studies.yang2023.results import answers, claims, fidelity, questions, tables
from reprolib.studies.yang2023.settings import SYSTEMS, Parameters
from reprolib.studies.yang2023.systems import execute

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

ID = "yang2023"
TITLE = "Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning"
REFERENCE = "L. Yang, S. Wang, A. W.-C. Liew, IEEE Transactions on Fuzzy Systems 2024"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    datasets = {"talkingfaces": talkingfaces, "fasseg": fasseg, "flrseg": flrseg}
    return check_datasets(data_root, datasets)
