"""Face Mask Extraction in Video Sequence (Wang, Luo, Shen, Pantic, IJCV 2018)."""

from reprolib.studies.wang2018 import rows
from reprolib.studies.wang2018.config import Config
from reprolib.studies.wang2018.scores import SCORES
from reprolib.studies.wang2018.work import work
from reprolib.study import Study

STUDY = Study(
    ID="wang2018",
    TITLE="Face Mask Extraction in Video Sequence",
    REFERENCE="Y. Wang, B. Luo, J. Shen, M. Pantic, International Journal of Computer Vision 2018",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 7)),
    without_rows=("figure 1",),
    quoted=rows.QUOTED,
    recipe=rows.RECIPE,
    scores=SCORES,
    task_of=lambda config: f"{config.dataset}, {config.source.frames} frames, {config.region}",
    work=work,
    trivial=(rows.MEAN_MASK, rows.STILLS_MEAN_MASK, *map(rows.mean_mask_of, rows.REGIONS)),
    datasets={
        "talkingfaces": ("talkingfaces",),
        "landmarks300w": ("landmarks300w",),
        "300vw": ("300vw", "300VW_Dataset_2015_12_14"),
    },
    tuned=rows.TUNED,
    rates=rows.RATES,
    headline=("table 2", "table 5", "table 9"),
    loaders={
        "landmarks300w": "reprolib.datasets.landmarks300w",
        "talkingfaces": "reprolib.datasets.talkingfaces",
        "grid_s1": "reprolib.datasets.grid",
        "300vw": "reprolib.datasets.three_hundred_vw",
    },
)
