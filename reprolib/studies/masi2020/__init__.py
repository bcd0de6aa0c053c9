"""Towards Learning Structure via Consensus for Face Segmentation and Parsing (Masi, Mathai, AbdAlmageed, CVPR 2020)."""

from reprolib.studies.masi2020.config import Config
from reprolib.studies.masi2020.rows import EVERYTHING, MEAN_MASK, QUOTED, RECIPE, TABLES, rows
from reprolib.studies.masi2020.scores import SCORES
from reprolib.study import Study

STUDY = Study(
    ID="masi2020",
    TITLE="Towards Learning Structure via Consensus for Face Segmentation and Parsing",
    REFERENCE="I. Masi, J. Mathai, W. AbdAlmageed, CVPR 2020",
    config=Config,
    rows=rows,
    declared_tables=TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 7)),
    without_rows=("figure 3",),
    quoted=QUOTED,
    recipe=RECIPE,
    scores=SCORES,
    task_of=lambda config: config.task,
    trivial=(EVERYTHING, MEAN_MASK),
    datasets={
        "lfw-parts": ("lfw", "part_labels"),
        "lfw-occluded": ("lfw", "part_labels"),
        "cofw": ("cofw",),
    },
    loaders={
        "lfw": "reprolib.datasets.part_labels",
        "celebamask": "reprolib.datasets.celebamask",
        "cofw": "reprolib.datasets.cofw",
    },
)
