"""End-to-End Face Parsing via Interlinked Convolutional Neural Networks (Yin, Yiu, Hu, Tang, 2020)."""

from reprolib.studies.yin2020 import rows
from reprolib.studies.yin2020.config import Config
from reprolib.studies.yin2020.scores import SCORES
from reprolib.studies.yin2020.work import work
from reprolib.study import Study

STUDY = Study(
    ID="yin2020",
    TITLE="End-to-End Face Parsing via Interlinked Convolutional Neural Networks",
    REFERENCE="Z. Yin, V. Yiu, X. Hu, L. Tang, 2020",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 9)),
    without_rows=("figure 2", "figure 3", "figure 4", "figure 7"),
    quoted=rows.QUOTED,
    recipe=rows.RECIPE,
    scores=SCORES,
    task_of=lambda config: config.dataset,
    work=work,
    trivial=(rows.MEAN_MASK, rows.MEAN_PLACE, rows.MEAN_MASK_SECOND, rows.MEAN_PLACE_SECOND),
    datasets={
        "celebamask": ("celebamask",),
        "celebamask-hq": ("CelebAMask-HQ",),
        "helen": ("SmithCVPR2013_dataset_resized",),
    },
    tuned=rows.TUNED,
    rates=rows.RATES,
    loaders={
        "celebamask": "reprolib.datasets.celebamask",
        "SmithCVPR2013_dataset_resized": "reprolib.datasets.helen",
        "fasseg": "reprolib.datasets.fasseg_parts",
    },
)
