# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Face masks in video
#
# *Wang, Luo, Shen and Pantic, International Journal of Computer Vision 2018* {cite:p}`wang2018`

# %% tags=["parameters", "remove-cell"]
profile: str = "smoke"  # smoke: minutes, only shows that all runs; cpu: laptop scale; gpu: near the paper's sizes
data: str = "synthetic"  # synthetic: facesynth; public: news presenters, GRID, and photos; paper: 300VW
data_root: str = ""  # folder with the real data, for public and paper
seeds: int = 0  # 0: as many as the profile has
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["5", "figure 6"]; empty: all

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("wang2018")

# %% tags=["remove-cell"]
import inspect

from IPython.display import HTML, Markdown, display

from reprolib import page, report
from reprolib.losses import segmentation_loss
from reprolib.models import conv_lstm
from reprolib.studies.wang2018 import figures
from reprolib.wording import ON

shown = page.open_study(
    "wang2018", train=train, profile=profile, data=data, data_root=data_root, seeds=seeds, device=device,
    workers=workers, tables=tables,
)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
shown.findings("system", "zoom", "linear-inner", "conv-lstm", "linear-ce")
shown.headline()

# %% [markdown]
# **Is the gain time, loss, or zoom?** The first four lines add up to the fifth, each over the row above it in Table 9.
# The last line removes only motion: the same trained network gets one frame in place of the frames before it.

# %% tags=["hide-input"]
for parameters in shown.sources:
    caption = f"Of the full system's gain in mean IoU, on {ON[parameters.data]}."
    display(HTML(report.to_html(figures.parts_of_the_gain(shown.results, parameters), caption)))

# %% [markdown]
# ## The idea
#
# A face mask marks facial skin (FS), eyes, outer mouth (OMT, the lips) and inner mouth (IMT) in every frame of a video.
# The paper starts from a fully convolutional network (FCN) for single frames. It replaces the last layer with a
# convolutional LSTM (ConvLSTM) that reads five frames, and trains that layer with a *segmentation loss*. Then all layers
# learn, with learning rates γ times as large as the ConvLSTM's (the *primary model*). Two more networks segment crops
# around the eyes and the mouth that the primary model finds.
#
# The segmentation loss comes from the derivative of the IoU, $g/f$ with the overlap $g$ and the union $f$ of a class.
# One more right pixel inside the annotation changes it by $W_p = 1/f$, one fewer wrong pixel outside by
# $W_n = g/f^2$. These two weigh the pixels of each class:
#
# $$L = \frac{1}{K \sum_t (W_{p,t} + W_{n,t})} \sum_t \Big( W_{p,t} \sum_{i: y_i = t} L_p(i)
# + W_{n,t} \sum_{i: y_i \ne t} L_n(i, t) \Big) \quad \text{(Eq. 7)}$$
#
# $L_p$ and $L_n$ are hinges (Eq. 8, margin $g = 1$), or the predictions themselves where they are on the wrong side
# (Eq. 9, margin $g = 0$ or $0.1$). These are the lines of both ideas:

# %% tags=["hide-input"]
code = "\n\n".join(
    inspect.getsource(part) for part in (segmentation_loss._hinge, segmentation_loss._linear, conv_lstm.ConvLSTM.steps)
)
display(Markdown(f"```python\n{code}\n```"))
shown.drawing(
    figures.conversion(), "figure-1", "Figure 1: from FCN to ConvLSTM-FCN, shapes read off the modules", ".svg"
)

# %% [markdown]
# *Figure 1: the top of the FCN and of the ConvLSTM-FCN made from it. With 1 × 1 kernels every one of the 20 × 20 cells
# runs an LSTM of its own: nothing moves from cell to cell.*
#
# ## The evidence
#
# ### What are the labels?
#
# Masks follow from 68 landmarks: cubic splines with corners at the corners of eyes and mouth. The brows close the skin,
# the nose counts as skin, and what covers the face is ignored.
#
# - *Stills*: 1,207 faces of photos with landmarks set by hand {cite:p}`sagonas2013`. HELEN's faces are for training, AFW's
#   are the test.
# - *Video*: news presenters {cite:p}`lrcar`, and the first speaker of GRID {cite:p}`cooke2006` in the test alone. Nobody
#   annotated them. Labels are dlib's landmarks on clean frames; two thirds of the clips are then degraded by blur, noise,
#   low resolution or an occluder. What is measured is agreement with dlib on better frames.
#
# Frames of presenters are not shown. People, and photos, are in one set only.

# %% tags=["hide-input"]
shown.figure("figure 3", "figure 3", "Figure 3: frames and their masks.")
shown.figure("figure 4", "figure 4", "Figure 4: crops of eyes and mouth, their masks, and a baseline FCN.")

# %% [markdown]
# ### Does the baseline beat the mean mask?
#
# The mean mask ignores the image. The baseline starts from ImageNet and trains until its validation score stops rising.
# Scores are resized to the frames' size before the arg max, and counts are
# pooled over all test frames. The mean IoU leaves the background out.

# %% tags=["hide-input"]
shown.table("table 2")
shown.table("extra A")
shown.answer("mean-mask", "smoothing", "tracker", "tracker-skin", "tracker-degraded", "unet", "unet-stills")

# %% [markdown]
# ### Can a ConvLSTM be trained?
#
# Keras's ConvLSTM starts from random weights and ends in a tanh. We vary three things on the same frozen features. The
# *start* is Keras's, or the trained classifier with its gates open, so that epoch 0 is the baseline. The *bound* is a tanh
# or none; from Keras's start the tanh reaches 1, as in Keras, from the classifier's 10, since a trained classifier's scores
# do not fit into 1. The *scale* of the input is 1 or 0.1. *Flat* gates and candidates have no gradient.
#
# The start matters most: from Keras's, eyes, lips or inner mouth are hardly called under cross-entropy, with a bound or
# without one. From the classifier's start, the bound costs the inner mouth most. The choice for all other rows was made
# on validation people: the start at the classifier, without a bound. Scaling the input changed little there, so the other
# rows do without. Rows with one seed show seed 0, which scores highest where there are three.

# %% tags=["hide-input"]
shown.table("extra B")
shown.answer("keras-ce", "keras-linear", "keras-losses")

# %% [markdown]
# ### Does it help, and in which frames?
#
# All other layers are frozen. Table 4 is the mean over frames of each frame's own mean IoU. That is why the paper's five
# gains, 0.80 on average, are not the 1.03 of Table 3, which pools all pixels.
#
# Selection chooses among the epochs after the first, so a layer that training can only make worse ends a little below
# the baseline. Under cross-entropy that was so with every seed, at the smallest rate tried: read *opposite* here as *no
# gain*. RMSprop has the rate that was tuned for Adam.

# %% tags=["hide-input"]
shown.table("table 3")
shown.table("table 4")
shown.figure("table 4", "table 4", "Table 4 as curves; bands are ranges over seeds.", ".svg")
shown.answer("conv-lstm", "adam", "later-frames")

# %% [markdown]
# ### Does the loss help?
#
# Every loss trains the same layer on the same features, with the same three learning rates tried, until its validation
# score stops rising. The loss is computed on every fourth pixel in both directions. Eq. 8 and Eq. 9 get the same kind of
# input, probabilities. With unbounded scores, Eq. 9 has no minimum; Extra D compares both inputs in a layer that
# bounds its scores.

# %% tags=["hide-input"]
shown.table("table 5")
shown.figure("table 5", "table 5", "Validation mean IoU while training; bands are ranges over seeds.", ".svg")
shown.answer("iou-loss", "linear", "linear-ce", "linear-inner", "forms", "hinge", "margin", "dice", "lovasz")
shown.sentences(figures.worse_from_the_start)
shown.table("extra D")

# %% [markdown]
# ### Should the other layers be trained as well?
#
# γ multiplies the paper's own learning rate of 0.001, whatever the ConvLSTM's rate is here.

# %% tags=["hide-input"]
shown.table("table 6")
shown.answer("all-layers", "gamma")

# %% [markdown]
# ### Do the additional models help?
#
# The primary mask gives a box around the eyes and one around the mouth, fixed for five frames. The additional
# models get these crops at their input size. Their output replaces the primary model's eyes and mouth on the face; the
# background stays, as its unchanged IoU in the paper's Table 9 suggests.

# %% tags=["hide-input"]
shown.table("table 7")
shown.table("table 8")
shown.table("table 9")
shown.answer("eye-model", "mouth-model", "zoom", "zoom-eyes", "zoom-inner", "system", "system-tracker")

# %% tags=["hide-input"]
shown.figure("figure 2", "figure 2", "Figure 2: a frame through the models, one seed, boxes of median size.")
shown.figure("figure 5", "figure 5", "Figure 5: input, annotation, and three methods, one seed.")

# %% [markdown]
# ### Is it time, memory, the layer, the loss, or the zoom?
#
# - *Still frames*: the same trained network, with one frame in place of the frames before it.
# - *Frames one by one*: a ConvLSTM that is trained without a memory.
# - *New 1 × 1 classifier*: the FCN's own kind of last layer, trained as the ConvLSTM is.
# - *Close-up baseline FCNs*: the zoom without ConvLSTM and segmentation loss.

# %% tags=["hide-input"]
shown.table("extra C")
shown.answer(
    "motion", "motion-frozen", "memory", "layer", "classifier-ce", "loss-classifier", "loss-baseline", "zoom-alone",
    "zoom-rest",
)  # fmt: skip

# %% [markdown]
# ### On whom?

# %% tags=["hide-input"]
shown.figure(
    "figure 6", "figure 6", "Figure 6: mean and standard deviation of a frame's mean IoU for each test person.", ".svg"
)
shown.sentences(figures.better_people)
shown.table("extra E")

# %% [markdown]
# ## How far it goes
#
# Every row trains until its validation score has not risen for some epochs, and the best epoch is scored. A row on top of
# others counts as converged only if all of them have. Claims are judged only if both rows beat the mean mask by ten
# points on validation people, and if both converged. [Methods](../methods.md) states the rules. Intervals are over seeds
# and test people; with fewer than ten people they are for these alone.

# %% tags=["hide-input"]
shown.table("table 1")
shown.gates()
shown.tuning()
shown.sizes("Primary model + two additional models", data="public")
shown.questions()

# %% tags=["remove-input"]
shown.report_card(
    easy=("The segmentation loss, which follows from its equations, and the base network, whose code is public."),
    difficult=(
        "The ConvLSTM. Its start is not described, and Keras's version ends in a tanh, which bounds the scores. 300VW "
        "needs a registration, its split is random and not published, and the tracker is not public. The paper does not "
        "give the size of the crops or name its significance test."
    ),
)

# %% [markdown]
# ## Differences from the paper
#
# | | paper | base code or arithmetic | here |
# |---|---|---|---|
# | D1 | 300VW, 757 clips of a second | needs a registration | its loader is here; public: presenters, GRID, and photos |
# | D2 | FCN-ResNet50 from ImageNet | Keras: strides on the first 1 × 1 convolutions | `cpu`: MobileNetV2 from ImageNet at the same stride of 16, last stage dilated; `gpu`: torchvision's ResNet-50, strides on the 3 × 3; the Keras geometry is checked layer by layer |
# | D3 | 320 × 320 pixels | – | `cpu`: 224 × 224 for video, 320 × 320 for stills (the U-Net, at stride 2, 224); `gpu`: as the paper |
# | D4 | 80 and 60 epochs, linear decay | zero at its end, which cannot show convergence | plateau and early stopping |
# | D5 | batches of 2 clips; BatchNorm not mentioned | – | larger batches of clips; BatchNorm keeps the FCN's statistics when clips are trained on |
# | D6 | Eq. 1 has peepholes, one weight per cell, and σ | Keras's ConvLSTM2D has none, and a hard sigmoid | as Keras; a row of Extra D has one peephole weight per channel |
# | D7 | the ConvLSTM's start is not described | Keras: random; tanh on candidate and output | a start at the trained classifier, without a bound; Keras's is a row with its own tuned rate |
# | D8 | counts behind $W_p$, $W_n$ not described | – | hard, over the batch, no gradient through them (Eq. 5) |
# | D9 | Eq. 9: predictions "from 0 to 1" or scores? Eq. 8's example shows scores beyond 1 | – | both of probabilities; scores are rows of Extra D |
# | D10 | losses at full resolution | up-sampling by 16 equals up-sampling by 4 at every fourth pixel | every fourth pixel in both directions for losses of clips; all pixels for single frames |
# | D11 | other layers learn at γ times the ConvLSTM's rate | 0.001 γ | 0.001 γ, also where the ConvLSTM's tuned rate is another |
# | D12 | size of crops and their random noise not given | – | 1.6 and 2.3 times the region's box; ±10 % |
# | D13 | no crop of the frames is described | its IoUs suggest faces of a third of the frame | cropped around the landmarks, off by some 4 % as a detector's box would be, so that places tell less |
# | D14 | one tracker after Asthana et al. (2014) | not public | dlib's 68 points on the degraded frames, the face searched anew every 8 frames |
# | D15 | significance by ten groups of clips, test not named | groups share people; some marks mean *different*, not better | intervals over seeds and people |
# | D16 | Table 4's mean gain is 0.80, Table 3's 1.03 | frames' own mean IoU against pooled counts | both, each in its table |
# | D17 | RMSprop, no more said | Keras's ρ is 0.9, torch's 0.99 | 0.9 |
# | D18 | L2 not mentioned | 5e-5 in the base code | none |
# | D19 | augmentation not described | – | colours, mirroring and sizes for single frames; none for clips |
# | D20 | temporal smoothing over five frames | the clips here have five | at the ends of a clip the weights of the frames that are there are scaled up to one |

# %% tags=["hide-input"]
shown.facts()
shown.claims()
shown.quoted()
shown.failures()

# %% [markdown]
# ## Change this and rerun
#
# - Another γ: add it to `GAMMAS` in `reprolib/studies/wang2018/rows.py`, then
#   `python -m reprolib run wang2018 --profile cpu --data public --data-root DATA --tables 6`.
# - Another loss: add it to `_OF_FRAMES` in `experiment.py` and a row to `rows.py`; on cached features it trains in a few
#   minutes per seed.
# - The paper's size: `python -m reprolib plan wang2018 --profile gpu --data public` estimates the cost.
