# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Interlinked networks for face parsing, end to end
#
# *Yin, Yiu, Hu and Tang, 2020* {cite:p}`yin2020`

# %% tags=["parameters", "remove-cell"]
profile: str = "smoke"  # smoke: a minute, only shows that all runs; cpu: laptop scale; gpu: near the paper's sizes
data: str = "synthetic"  # synthetic: facesynth; public: faces of CelebAMask-HQ in larger frames; paper: HELEN
data_root: str = ""  # folder with the real data, for public and paper
seeds: int = 0  # 0: as many as the profile has
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["2", "figure 5"]; empty: all

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("yin2020")

# %% tags=["remove-cell"]
import inspect

from IPython.display import Markdown, display

from reprolib import page
from reprolib.losses import parsing_loss
from reprolib.models import spatial_transformer
from reprolib.studies.yin2020 import figures

shown = page.open_study(
    "yin2020", train=train, profile=profile, data=data, data_root=data_root, seeds=seeds, device=device,
    workers=workers, tables=tables,
)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
shown.findings("stn-celebamask", "end-to-end", "joint-gradient", "missing-parts")
shown.headline()

# %% [markdown]
# ## The idea
#
# Brows, eyes, nose and lips are small. Zhou et al. {cite:p}`zhou2015` label them in two stages: a small network labels
# the shrunken face, and four others label a crop around each part at full size. They cut each crop around the centroid
# of the rough mask. Where the rough mask is wrong, the crop is wrong too, and the two stages are trained apart, because
# no gradient passes through a centroid.
#
# Here a *spatial transformer* {cite:p}`jaderberg2015` does the cutting. A localisation network reads the rough mask and
# predicts a transform $\theta_i$ for each of six parts (Eq. 2). The crop samples the image bilinearly on the
# transformed grid (Eq. 3), so that it is differentiable in the image and in $\theta_i$:
#
# $$\theta_i = \begin{pmatrix} s_x & 0 & t_x \\ 0 & s_y & t_y \end{pmatrix},\qquad
# p_i = \mathrm{grid\_sample}(I,\ \theta_i)$$
#
# After each stage was trained by itself, the loss of the fine labels (Eq. 16 and 22) trains all of them together.
# These are the crop and the loss:

# %% tags=["hide-input"]
code = inspect.getsource(spatial_transformer.crop) + "\n\n" + inspect.getsource(parsing_loss.part_loss)
display(Markdown(f"```python\n{code}\n```"))

# %% tags=["hide-input"]
shown.figure("figure 1", "figure 1", "Figure 1: test frames, their six crops, and the labels.")

# %% [markdown]
# The right-hand parts are mirrored for their network, and their labels are mirrored back. The crops return to the frame
# by the inverse transform (Eq. 5). Background is every pixel that no part covers (Eq. 6).

# %% tags=["hide-input"]
shown.drawing(figures.interlinked(), "figure-2", "Figure 2: the iCNN of stage 1, sizes and parameters by module")

# %% [markdown]
# *Figure 2: the interlinked network of both stages. In three steps every scale reads its neighbours.*

# %% tags=["hide-input"]
shown.drawing(figures.localisation(), "figure-3", "Figure 3: the light localisation network, drawn from its modules")

# %% [markdown]
# *Figure 3: the localisation network. The paper has nine layers whose widths it does not give. This is the light network
# of the authors' code. Its default, a ResNet-18, is the one in our tables.*

# %% tags=["hide-input"]
shown.drawing(figures.pre_training(), "figure-4", "Figure 4: the targets of the two steps of pre-training")

# %% [markdown]
# *Figure 4: a rendered face and its four augmented versions (Sec. 2.5.1), the labels that stage 1 learns, and the crops
# that the localisation network learns.*
#
# ## The evidence
#
# A face of CelebAMask-HQ {cite:p}`lee2020` fills its image, so that there is nothing to localise. We therefore put each
# face into a larger frame: at half to a quarter of the frame's side, turned by up to 15°, anywhere, before the background
# of another image. Two rows bound the possible gain. *Crops at the mean place* do not look at the image. *Crops at
# the true places* use the annotation.
#
# ### What does the STN alone give over centroids?
#
# The rows of iCNN, STN-iCNN\* and both kinds of places share the networks of both stages, seed by seed. Only the crops
# differ. *overall* is the authors' score, the Dice of all parts together against the rest, in which a nose labelled as a
# mouth is no error. *overall, macro* is an older score of theirs, the harmonic mean of precision and recall over seven
# groups of parts.

# %% tags=["hide-input"]
shown.table("table 2")
shown.answer("stn", "stn-brows", "stn-centre", "stn-recall", "left-to-gain", "mean-place", "reimplementation")

# %% tags=["hide-input"]
shown.figure(
    "extra A", "extra A", "Overall F1 from the worst place for the crops to the best; one dot per seed.", ".svg"
)

# %% [markdown]
# ### What does joint training add, and at which learning rate?
#
# The authors' published recipe sets the learning rate of stage 1 and of the localisation network to zero in the last
# phase: only stage 2 learns. Equation 22 trains all three. An older branch of the authors' code gives the pre-trained
# stages 0.001 of the learning rate of stage 2. That is the row STN-iCNN here, and 0.01 is a row of its own. All of these
# rows start from the same networks and may take as many epochs.

# %% tags=["hide-input"]
shown.answer(
    "end-to-end", "whole", "joint-gradient", "recipe", "rate", "rate-recipe", "whole-as-long", "stn-alone-long"
)
shown.answer("joint-macro", "joint-recall", "joint-centre")

# %% [markdown]
# The loss of Eq. 22 looks at labels *inside the crops*. A crop that shows only background has no loss, so no gradient
# moves the crop onto its part. The low learning rate is meant to keep the crops in place; crop recall and centre error
# measure whether they stay.

# %% tags=["hide-input"]
shown.table("extra A")
shown.answer("second-stage", "roi-align", "hard", "isotropic", "light")

# %% [markdown]
# ### Does it hold on CelebAMask-HQ, and with few of its faces?
#
# On public data Tables 2 and 3 have the same rows, because both come from CelebAMask-HQ. The hybrid strategy starts from
# the end-to-end parser of rendered faces. Its predicted scales are shifted to those of the new frame, and all stages
# learn on from few faces with the losses of Eq. 16, 18 and 19.

# %% tags=["hide-input"]
shown.table("table 3")
shown.answer("stn-celebamask", "hybrid", "hybrid-gain", "hybrid-20")

# %% [markdown]
# FASSEG {cite:p}`khan2015,khan2017` is scored by the same parsers without any training on it. It has one class for both
# eyes and paints brows as hair, so that left and right are divided by the face's middle line and lips by landmarks. Only
# faces in which all parts were found are used.

# %% tags=["hide-input"]
shown.table("extra C")

# %% [markdown]
# ### What if parts are missing?
#
# Parts are painted over, one after the other. The centroid of a missing part moves towards the middle of the frame; the
# localisation network can infer the place from the other parts. The F1 counts erased parts as if they were there.

# %% tags=["hide-input"]
shown.figure(
    "figure 5a",
    "figure 5",
    "Figure 5: frames without two parts, rough masks, crops of both methods (the mouth's in the upper lip's colour).",
)
shown.figure("figure 5b", "figure 5", "Figure 5 in numbers: crop recall; bands are ranges over seeds.", ".svg")
shown.answer("missing-parts", "missing-joint", "missing-left", "missing-f1")

# %% [markdown]
# ### What does the input size do?

# %% tags=["hide-input"]
shown.figure("figure 6", "figure 6", "Figure 6: F1 at the whole and at half the input size of stage 1.", ".svg")
shown.answer("input-size", "input-size-baseline", "size-stn")

# %% [markdown]
# ### Why odd patches?
#
# A crop of odd side samples on pixels and equals a slice of the image. One of even side samples between pixels. Both
# rows of the claim are trained and tested with their own sides.

# %% tags=["hide-input"]
shown.drawing(figures.sampling_grids(), "figure-7", "Figure 7: where crops of odd and even side sample the image")
shown.figure("figure 8", "figure 8", "Figure 8: crops by slicing and by the STN, odd and even.")
shown.answer("odd")

# %% [markdown]
# ### Is it better than other methods, and faster?
#
# Both methods are timed in turn in one process, from frame to labels. The ratio counts only where no other process wanted
# the cores. At `cpu` the iCNNs have half the channels and sides while the ResNet-18 is whole, so that the STN weighs
# more than at the paper's sizes.

# %% tags=["hide-input"]
shown.table("table 4")
shown.answer("over-unet")
shown.table("extra B")
shown.answer("faster", "faster-batched")

# %% [markdown]
# ## How far it goes
#
# Every training stops when its validation score has not risen for some epochs, and the best epoch stays. A row counts as
# converged only if all its stages are. Claims are judged only if both rows beat the mean mask and the crops at the mean
# place by ten points on validation faces. [Methods](../methods.md) states the rules.

# %% tags=["hide-input"]
shown.gates()
shown.tuning()
shown.table("table 1")
shown.sizes("STN-iCNN", data="public")
shown.questions()

# %% tags=["remove-input"]
shown.report_card(
    easy=(
        "The networks and the crops. The authors' code gives every layer, and a crop of odd side can be checked pixel "
        "by pixel."
    ),
    difficult=(
        "The training. The paper describes end-to-end training, but the published recipe sets two of its three learning "
        "rates to zero. The paper does not give the widths of the localisation network or define the overall F1. "
        "The augmentation ranges and cells of Tables 2 to 4 are lost in our copy of the text."
    ),
)

# %% [markdown]
# ## Differences from the paper
#
# | | paper | authors' release or arithmetic | here |
# |---|---|---|---|
# | D1 | end-to-end training of all stages (Eq. 22) | learning rates of stage 1 and STN are zero in the published recipe, their batch normalisation follows | both are rows; normalisation of frozen stages rests; STN-iCNN is Eq. 22 |
# | D2 | "learning rates of the pre-trained networks are lower" | 0.001 of stage 2's in an older branch | 0.001; 0.01 is a row |
# | D3 | θ with isotropic scale (Eq. 15) | four free entries | four; three is a row |
# | D4 | iCNN "without changing the structure" | two convolutions a step, 5 × 5 stem, batch normalisation, ReLU | the code's; Zhou's form is a row, with learning rates of its own |
# | D5 | localisation network of nine layers, widths not given | ResNet-18; a light one of 5,172 parameters | ResNet-18; the light one is a row |
# | D6 | binary cross-entropy (Eq. 16) | softmax cross-entropy for each part, summed | the code's |
# | D7 | *overall* F1 not defined | Dice of all parts against the rest | that, and the macro F1 beside it |
# | D8 | overall 0.91 is the README's best run | mean of ten runs 0.90; 0.893 before end-to-end training | claims use 0.90; every seed is shown |
# | D9 | cells of Tables 2–4 are lost in our copy of the text | eyes and nose of STN-iCNN from a later paper that quotes them | others are left out: in Table 2 0.778 and 0.808 of Zhou et al., in Table 3 0.937, 0.906 and 0.877 cannot be assigned to a column; 0.866 and 0.834 are eyes and brows by their order |
# | D10 | augmentation: five fixed versions of each face | – | new versions in each epoch; the localisation network learns from fixed ones; stage 1 learns from frames reduced beforehand, and the noise is reduced alike |
# | D11 | ranges of shift and scale lost; crops of stage 2 in pre-training not described | shift ±10 %, scale 0.9–1.2; crops off by up to 0.3 (brows, eyes) and 0.1 (nose, mouth) of their side | the code's shifts, not its scales of crops |
# | D12 | 25 epochs, the learning rate halved every five | – | early stopping; halved at the same relative pace, not below a sixteenth |
# | D13 | a HELEN face takes a quarter of its frame of 1024² | – | public: faces of CelebAMask-HQ take a quarter to half of their frames |
# | D14 | start of the localisation network not given | – | the mean θ of the training set |
# | D15 | hybrid strategy: HELEN, then 2,000 faces; losses not described | – | rendered faces, then 20 or 100; all three losses |
# | D16 | 80 against 86 ms on a GTX 1080 Ti | – | the baseline's centroids are one product of matrices here, without scaling the rough mask to the frame |

# %% tags=["hide-input"]
shown.facts()
shown.claims()
shown.quoted()
shown.failures()

# %% [markdown]
# ## Change this and rerun
#
# - Another learning rate of the pre-trained stages: change `OTHER_RATE` in `reprolib/studies/yin2020/rows.py`, then
#   `python -m reprolib run yin2020 --profile cpu --data public --data-root DATA --rows "STN-iCNN, pre-trained stages at …"`.
# - Faces that are easier or harder to localise: change `LARGEST` and `SMALLEST` in `data.py` and raise `PREPARATION`.
# - The paper's size: `python -m reprolib plan yin2020 --profile gpu --data public` estimates the cost.
