"""Face Mask Extraction in Video Sequence (Wang, Luo, Shen, Pantic, IJCV 2018)."""

from pathlib import Path

from reprolib.datasets import talkingfaces, three_hundred_vw
from reprolib.studies import check_datasets
from reprolib.studies.wang2018.plan import trials
from reprolib.studies.wang2018.results import answers, claims, fidelity, questions, tables
from reprolib.studies.wang2018.settings import SYSTEMS, Parameters
from reprolib.studies.wang2018.systems import execute

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

ID = "wang2018"
TITLE = "Face Mask Extraction in Video Sequence"
REFERENCE = "Y. Wang, B. Luo, J. Shen, M. Pantic, International Journal of Computer Vision 2018"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    return check_datasets(data_root, {"talkingfaces": talkingfaces, "300vw": three_hundred_vw})
