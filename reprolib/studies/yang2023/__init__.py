"""Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning (Yang, Wang, Liew, IEEE TFS 2024)."""

from pathlib import Path

from reprolib.studies import check_datasets, loaded_on_use

__getattr__ = loaded_on_use(__name__, {
    "SYSTEMS": "settings", "Parameters": "settings", "trials": "plan", "execute": "systems",
    **dict.fromkeys(["answers", "claims", "fidelity", "questions", "tables"], "results"),
})  # fmt: skip

ID = "yang2023"
TITLE = "Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning"
REFERENCE = "L. Yang, S. Wang, A. W.-C. Liew, IEEE Transactions on Fuzzy Systems 2024"


def check_data(data_root: Path) -> list[str]:
    """What of this study's datasets lies under `data_root`; UserError where a dataset is there but incomplete."""
    from reprolib.datasets import fasseg, flrseg, talkingfaces

    datasets = {"talkingfaces": talkingfaces, "fasseg": fasseg, "flrseg": flrseg}
    return check_datasets(data_root, datasets)
