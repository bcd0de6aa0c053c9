"""Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning (Yang, Wang, Liew, IEEE TFS 2024)."""

from reprolib.studies.yang2023 import rows
from reprolib.studies.yang2023.config import Config
from reprolib.studies.yang2023.scores import SCORES
from reprolib.studies.yang2023.work import work
from reprolib.study import Study

STUDY = Study(
    ID="yang2023",
    TITLE="Fine-Grained Lip Image Segmentation using Fuzzy Logic and Graph Reasoning",
    REFERENCE="L. Yang, S. Wang, A. W.-C. Liew, IEEE Transactions on Fuzzy Systems 2024",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=tuple(f"figure {n}" for n in range(1, 12)),
    without_rows=("figure 2", "figure 3", "figure 4"),
    quoted=rows.QUOTED,
    recipe=rows.RECIPE,
    scores=SCORES,
    task_of=lambda config: config.dataset,
    work=work,
    trivial=(rows.MEAN_MASK,),
    datasets={"celebamask": ("celebamask",), "flrseg": ("flrseg",)},
    tuned=rows.TUNED,
    rates=rows.RATES,
    loaders={
        "celebamask": "reprolib.datasets.celebamask",
        "fasseg": "reprolib.datasets.fasseg",
        "flrseg": "reprolib.datasets.flrseg",
    },
)
