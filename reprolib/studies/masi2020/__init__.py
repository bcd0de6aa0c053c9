"""Towards Learning Structure via Consensus for Face Segmentation and Parsing (Masi, Mathai, AbdAlmageed, CVPR 2020)."""

from reprolib.studies.masi2020 import rows
from reprolib.studies.masi2020.config import Config
from reprolib.studies.masi2020.scores import SCORES
from reprolib.studies.masi2020.work import work
from reprolib.study import Study

STUDY = Study(
    ID="masi2020",
    TITLE="Towards Learning Structure via Consensus for Face Segmentation and Parsing",
    REFERENCE="I. Masi, J. Mathai, W. AbdAlmageed, CVPR 2020",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 7)),
    without_rows=("figure 3",),
    quoted=rows.QUOTED,
    recipe=rows.RECIPE,
    scores=SCORES,
    task_of=lambda config: config.task,
    work=work,
    trivial=(rows.EVERYTHING, rows.MEAN_MASK, rows.PARTS_MEAN_MASK),
    datasets={
        "lfw-parts": ("lfw", "part_labels"),
        "lfw-occluded": ("lfw", "part_labels"),
        "cofw": ("cofw",),
    },
    tuned=rows.TUNED,
    rates=rows.RATES,
    loaders={
        "lfw": "reprolib.datasets.part_labels",
        "celebamask": "reprolib.datasets.celebamask",
        "cofw": "reprolib.datasets.cofw",
    },
)
