# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # V-Net: a Dice loss for small objects
#
# *Milletari, Navab and Ahmadi, 3DV 2016*

# %% tags=["parameters", "remove-cell"]
profile: str = "smoke"  # smoke: seconds, only shows that all runs; cpu: laptop scale; gpu: larger faces
data: str = "synthetic"  # synthetic: facesynth
data_root: str = ""  # not needed: there are rendered faces only
seeds: int = 0  # 0: as many as the profile has
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["2"]; empty: all

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("milletari2016")

# %% tags=["remove-cell"]
from reprolib import page

shown = page.open_study(
    "milletari2016", train=train, profile=profile, data=data, data_root=data_root, seeds=seeds, device=device,
    workers=workers, tables=tables,
)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["hide-input"]
shown.findings("dice")
shown.headline()

# %% [markdown]
# ## The idea
#
# Where the object is small, cross-entropy is dominated by the background. The Dice coefficient
# $D = 2\sum p_i g_i / (\sum p_i^2 + \sum g_i^2)$ of prediction $p$ and annotation $g$ does not count the background
# that both agree on, so that no class needs a weight. The paper maximises $D$ directly.
#
# ## The evidence
#
# The paper segments the prostate in MRI volumes. We segment the mouth in rendered faces, which takes 2 to 4 % of the
# pixels. Only the loss differs between the two trained rows.

# %% tags=["hide-input"]
shown.table("table 2")
shown.answer("dice")

# %% tags=["hide-input"]
shown.figure("figure 6", "figure 6", "Figure 6: test faces with the masks of each row.")

# %% [markdown]
# ## How far it goes

# %% tags=["hide-input"]
shown.gates()
shown.tuning()
shown.sizes("V-Net + Dice-based loss", data="synthetic")

# %% [markdown]
# ## Differences from the paper
#
# | | paper | here |
# |---|---|---|
# | D1 | prostate in 80 MRI volumes, 128 × 128 × 64 voxels | mouths in rendered faces, 32 × 32 pixels in the `cpu` profile |
# | D2 | V-Net, residual, five stages | the encoder-decoder of `reprolib.models`, the same for both rows |
# | D3 | squares below the fraction of $D$, foreground only | sums of probabilities, mean over both classes |
# | D4 | the weights of the re-weighted loss are not given | both classes weigh the same in each batch |
# | D5 | Dice coefficient of each volume, then the mean | pixels of all test faces pooled |

# %% tags=["hide-input"]
shown.facts()
shown.claims()
shown.quoted()
shown.failures()
