# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Faces and lips: five papers, reproduced
#
# This book rebuilds five papers on the segmentation of faces and lips, and on lip reading, from their text.
# It runs their tables and figures again and says which of their claims hold. Every number of ours is
# computed from the records of trainings, which you can [repeat yourself](../reproduce.md).
#
# - **Five papers.** Structure via consensus {cite:p}`masi2020`, lip segmentation by fuzzy logic and graph
#   reasoning {cite:p}`yang2023`, interlinked networks for face parsing {cite:p}`yin2020`, face masks in
#   video {cite:p}`wang2018`, graph networks for lip reading {cite:p}`sheng2021`.
# - **A second round has begun**: fewer rows, trained until they converge, on real data, judged by one stricter rule. The
#   first four papers are built for it and are being run; the last one still shows the first round.
# - **One page per paper.** It begins with what we found. Then come the idea, the evidence, how far it goes, and what
#   differs from the paper and its released code. Every number of ours is beside the published one.
# - **Real faces first**: LFW Part Labels, CelebAMask-HQ, and other sets that anyone can get. Rendered faces,
#   [facesynth](facesynth.ipynb), are there for exact labels. No dataset is part of the repository.
#
# ## How to read it
#
# Look at two labels before you believe a number. *Data* says on which faces it was measured: the paper's own data, other
# real faces (`public`), or rendered ones (`synthetic`). On other data than the paper's we can test whether an effect is
# there, not whether an absolute value is right.
# *Profile* says at which scale: `gpu` has the paper's sizes and rates, `cpu` is smaller, and `smoke` only
# shows that the code runs. [Methods](../methods.md) explains the verdicts.

# %% tags=["parameters", "remove-cell"]
profile: str = "gpu"  # gpu: the best finished records of each table (gpu before cpu); smoke: a smoke run's

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("overview")

# %% tags=["remove-cell"]
from IPython.display import HTML, display
from myst_nb import glue

from reprolib import status, studies, summary
from reprolib.parameters import StudyParameters
from reprolib.report import to_html

store = studies.store_of(StudyParameters(profile=profile))
counted = ("smoke",) if profile == "smoke" else status.PROFILES
claims = [row for name in studies.STUDIES for row in status.claims(studies.load(name), store, profiles=counted)]

# %% [markdown]
# ## What is done

# %% tags=["hide-input"]
found = status.status(store, profiles=counted)
tables, figures, systems = (found["totals"][kind] for kind in ("tables", "figures", "systems"))
display(
    HTML(
        to_html(
            summary.coverage(found),
            f"Done, of all five papers: {tables[0]} of {tables[1]} tables, {figures[0]} of {figures[1]} figures. "
            "A table is done when all its trials are recorded. Systems are the rows that can be trained.",
        )
    )
)

# %% [markdown]
# ## What the papers claim, and what we find
#
# A claim is a sentence of the paper that can fail. Beside the published effect stand the verdict, our
# effect and its 95 % interval on each kind of data.

# %% tags=["hide-input"]
display(HTML(to_html(summary.verdict_counts(claims), "How many claims have which verdict.")))
display(HTML(to_html(summary.verdicts(claims), "Claims one by one.")))

# %% tags=["remove-cell"]
glue("compute", HTML(to_html(summary.compute(store, studies.STUDIES), "Compute behind the records.")))
