"""V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation (Milletari et al., 3DV 2016)."""

from reprolib.studies.milletari2016 import rows
from reprolib.studies.milletari2016.config import Config
from reprolib.study import Study

STUDY = Study(
    ID="milletari2016",
    TITLE="V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
    REFERENCE="F. Milletari, N. Navab, S.-A. Ahmadi, 3DV 2016",
    config=Config,
    rows=rows.rows,
    declared_tables=rows.TABLES,
    figures=("figure 6",),
    quoted=rows.QUOTED,
    scores=rows.SCORES,
    work=rows.work,
    trivial=(rows.FIXED_MASK,),
)
