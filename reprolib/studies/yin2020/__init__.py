"""End-to-End Face Parsing via Interlinked Convolutional Neural Networks (Yin, Yiu, Hu, Tang, 2020)."""

from pathlib import Path

from reprolib.studies import check_datasets, loaded_on_use

__getattr__ = loaded_on_use(__name__, {
    "SYSTEMS": "settings", "Parameters": "settings", "trials": "plan", "execute": "systems",
    **dict.fromkeys(["answers", "claims", "fidelity", "questions", "tables"], "results"),
})  # fmt: skip

ID = "yin2020"
TITLE = "End-to-End Face Parsing via Interlinked Convolutional Neural Networks"
REFERENCE = "Z. Yin, V. Yiu, X. Hu, L. Tang, 2020"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    from reprolib.datasets import celebamask, fasseg_parts, helen

    datasets = {"fasseg": fasseg_parts, "SmithCVPR2013_dataset_resized": helen, "CelebAMask-HQ": celebamask}
    return check_datasets(data_root, datasets)
