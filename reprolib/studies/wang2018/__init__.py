"""Face Mask Extraction in Video Sequence (Wang, Luo, Shen, Pantic, IJCV 2018)."""

from pathlib import Path

from reprolib.studies import check_datasets, loaded_on_use

__getattr__ = loaded_on_use(__name__, {
    "SYSTEMS": "settings", "Parameters": "settings", "trials": "plan", "execute": "systems",
    **dict.fromkeys(["answers", "claims", "fidelity", "questions", "tables"], "results"),
})  # fmt: skip

ID = "wang2018"
TITLE = "Face Mask Extraction in Video Sequence"
REFERENCE = "Y. Wang, B. Luo, J. Shen, M. Pantic, International Journal of Computer Vision 2018"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    from reprolib.datasets import talkingfaces, three_hundred_vw

    return check_datasets(data_root, {"talkingfaces": talkingfaces, "300vw": three_hundred_vw})
