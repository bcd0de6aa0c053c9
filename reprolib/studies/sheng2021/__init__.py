"""Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading (Sheng et al., TMM 2022)."""

from pathlib import Path

from reprolib.studies import check_datasets, loaded_on_use

__getattr__ = loaded_on_use(__name__, {
    "SYSTEMS": "settings", "Parameters": "settings", "trials": "plan", "execute": "systems", "fidelity": "facts",
    **dict.fromkeys(["answers", "claims", "questions", "tables"], "results"),
})  # fmt: skip

ID = "sheng2021"
TITLE = "Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading"
REFERENCE = "C. Sheng, X. Zhu, H. Xu, M. Pietikäinen, L. Liu, IEEE Transactions on Multimedia 2022"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    from reprolib.datasets import grid, lrs2, lrs3, lrw, talking_speech

    return check_datasets(
        data_root, {"talkingfaces": talking_speech, "lrw": lrw, "lrs2": lrs2, "lrs3": lrs3, "grid": grid}
    )
