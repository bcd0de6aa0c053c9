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
# Five papers on face segmentation, lip segmentation and lip reading {cite:p}`masi2020,yang2023,yin2020,wang2018,sheng2021`,
# rebuilt from their text and trained again. One rule judges every claim, and [anyone can rerun](../reproduce.md) what
# is behind every number.

# %% tags=["parameters", "remove-cell"]
profile: str = "gpu"  # gpu: the best finished records of each table (gpu before cpu); smoke: a smoke run's

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("overview")

# %% tags=["remove-cell"]
from IPython.display import HTML, display
from myst_nb import glue

from reprolib import citation, status, studies, summary
from reprolib.parameters import StudyParameters
from reprolib.report import to_html
from reprolib.strip import strip

store = studies.store_of(StudyParameters(profile=profile))
counted = ("smoke",) if profile == "smoke" else status.PROFILES
claims = [row for name in studies.STUDIES for row in status.claims(studies.load(name), store, profiles=counted)]

# %% tags=["remove-input"]
display(HTML(strip(store, profiles=counted)))

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
display(HTML(summary.findings(claims)))

# %% [markdown]
# In brackets: 95 % intervals, and the effect that the paper reports.

# %% tags=["remove-input"]
display(HTML(summary.verdict_matrix(claims)))

# %% [markdown]
# ## All claims
#
# Search for a word, sort by a column, or choose papers, data and verdicts in the column heads. *Ours* and the *paper's
# effect* are differences between the two rows that a claim compares. *Detectable* is the effect that our runs would
# detect four times in five. *After Holm* corrects for the number of primary claims of one paper on one dataset.

# %% tags=["remove-input"]
display(HTML(summary.scripts()))
table = summary.claims_table(claims)
caption = "Every registered claim on each kind of data."
display(HTML(summary.interactive(table, caption, id="table-of-claims", choose=["paper", "role", "data", "verdict"])))

# %% [markdown]
# ## What is done

# %% tags=["remove-input"]
display(HTML(summary.done(status.status(store, profiles=counted))))

# %% [markdown]
# ## What the verdicts mean
#
# A published effect and ours are compared as fractions of the error that is left in the row it is measured against (7.94
# of 33.05 points are 24 %), by our 95 % interval. Where the paper claims that nothing changes, *reproduced* means that
# our whole interval is close to zero.
# [Methods](../methods.md) has the exact rules and the gates. On other data than the paper's own, a verdict is about the
# effect, not about the published value.

# %% tags=["remove-input"]
display(HTML(summary.glossary()))

# %% [markdown]
# ## How to cite
#
# Please cite this reproduction together with the paper whose results you use; [References](../references.md) lists the
# papers.

# %% tags=["remove-input"]
display(HTML(f"<pre>{citation.bibtex()}</pre>"))

# %% tags=["remove-cell"]
glue("compute", HTML(to_html(summary.compute(store, studies.STUDIES), "Compute behind the records.")))
