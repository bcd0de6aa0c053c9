"""Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading (Sheng et al., TMM 2022)."""

from reprolib.studies.sheng2021 import rows
from reprolib.studies.sheng2021.config import Config
from reprolib.studies.sheng2021.scores import SCORES
from reprolib.studies.sheng2021.work import work
from reprolib.study import Study

STUDY = Study(
    ID="sheng2021",
    TITLE="Adaptive Semantic-Spatio-Temporal Graph Convolutional Network for Lip Reading",
    REFERENCE="C. Sheng, X. Zhu, H. Xu, M. Pietikäinen, L. Liu, IEEE Transactions on Multimedia 2022",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 10)),
    without_rows=("table 1", "table 2", "figure 1", "figure 2", "figure 3", "figure 4", "figure 6"),
    quoted=rows.QUOTED,
    recipe=rows.RECIPE,
    scores=SCORES,
    task_of=lambda config: f"{config.task} of {config.dataset}",
    work=work,
    trivial=(rows.TIME, rows.italian(rows.TIME), rows.GRAMMAR, rows.GRAMMAR + rows.OF_LRS2),
    datasets={
        "grid": ("grid", "grid_s1"), "lipnet-ita": ("lipnet_ita", "lipnet-ita"), "lrw": ("lrw", "lipread_mp4"),
        "lrs2": ("lrs2", "mvlrs_v1"), "lrs3": ("lrs3", "lrs3_v0.4", "lrs3-ted"),
    },
    tuned=rows.TUNED,
    rates=rows.RATES,
    headline=("table 4", "table 5", "table 6"),
    loaders={
        "grid": "reprolib.datasets.grid",
        "lipnet_ita": "reprolib.datasets.lipnet_ita",
        "lrw": "reprolib.datasets.lrw",
        "lrs2": "reprolib.datasets.lrs2",
        "lrs3": "reprolib.datasets.lrs3",
    },
)  # fmt: skip
