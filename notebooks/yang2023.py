# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fuzzy learning and graph reasoning for lips
#
# *Yang, Wang and Liew, IEEE Transactions on Fuzzy Systems 2024* {cite:p}`yang2023`

# %% tags=["parameters", "remove-cell"]
profile: str = "smoke"  # smoke: minutes, only shows that all runs; cpu: laptop scale; gpu: near the paper's sizes
data: str = "synthetic"  # synthetic: facesynth; public: mouths of CelebAMask-HQ; paper: FLRSeg
data_root: str = ""  # folder with the real data, for public and paper
seeds: int = 0  # 0: as many as the profile has
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["1", "figure 9"]; empty: all

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("yang2023")

# %% tags=["remove-cell"]
import inspect

from IPython.display import Markdown, display

from reprolib import page
from reprolib.models import fuzzy_learning
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.studies.yang2023 import figures

shown = page.open_study(
    "yang2023", train=train, profile=profile, data=data, data_root=data_root, seeds=seeds, device=device,
    workers=workers, tables=tables,
)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
shown.findings("both", "flm", "fgr", "inner")
shown.headline()

# %% [markdown]
# ## The idea
#
# A mouth has few pixels of teeth, tongue and cavity, and their colours overlap with those of the lips. The paper adds
# two modules between the encoder and the decoder of a U-Net, on each of the three finer scales.
#
# The *fuzzy learning module* (FLM) keeps $K$ Gaussian kernels $(\mu_k, \sigma_k)$ for each channel. Two fuzzy rules
# weigh them at every pixel: one by how well a kernel matches the feature, the other by how badly. The feature is then
# rebuilt from each weighting, with random draws $F_k \sim \mathcal{N}(\mu_k, \sigma_k^2)$:
#
# $$M_k = e^{-\left(\frac{x - \mu_k}{\sigma_k}\right)^2}, \quad
# w^{1} = \mathrm{softmax}(M / T), \quad w^{2} = \mathrm{softmax}(-M / T),$$
#
# $$Y^{i} = \sum_k w^{i}_k F_k \quad \text{(Eq. 1–8)}$$
#
# *Fuzzy graph reasoning* (FGR) projects all pixels onto $N$ nodes by their memberships (Eq. 10), exchanges information
# between the nodes by two graph convolutions (Eq. 12), and projects the result back to the pixels.
#
# These are the lines of the modules that compute both:

# %% tags=["hide-input"]
code = "\n\n".join(
    inspect.getsource(part)
    for part in (fuzzy_learning.membership, fuzzy_learning.rule_weights, fuzzy_learning.reconstruction,
                 FuzzyGraphReasoning.reasoned)
)  # fmt: skip
display(Markdown(f"```python\n{code}\n```"))
shown.drawing(figures.fuzzy_learning(), "figure-3", "Figure 3: what the fuzzy learning module does to one channel")
shown.drawing(figures.graph_reasoning(), "figure-4", "Figure 4: fuzzy graph reasoning, step by step")

# %% [markdown]
# *Figure 3: one channel with four kernels. Memberships, the weights of both rules, and the mean and spread of the draws.
# Figure 4: the colours of one mouth on their way to four nodes and back. Kernels and nodes are set by hand here; "Inside
# the modules" below measures those of trained networks.*
#
# A weighted sum of Gaussians is a Gaussian. So our module draws two numbers per pixel, with the right means, variances
# and covariance, where the authors' release draws $K$. The distribution is the same.

# %% tags=["hide-input"]
shown.drawing(figures.network(), "figure-2", "Figure 2: the network, sizes read off its modules")

# %% [markdown]
# *Figure 2: the network on the paper's input of 128 × 256 pixels.*
#
# ## The evidence
#
# ### What makes mouths hard?
#
# On public data we use mouths of CelebAMask-HQ with human labels: lip, inner mouth, background. The paper labels the
# inside of the mouth as teeth, tongue and cavity; only FLRSeg and our rendered mouths have these classes. A mouth counts
# as open if its inside is at least five per cent of it; open mouths are also scored apart.

# %% tags=["hide-input"]
shown.figure("figure 5", "figure 5", "Figure 5: mouths and their annotations.")
shown.figure("figure 1", "figure 1", "Figure 1: a mouth, its annotation, the colours of its parts, its edges.")

# %% [markdown]
# ### Do the two modules help?
#
# The ablation has six networks with the same ImageNet encoder, which differ only in the modules. Each is to train until
# its validation score stops rising. Cells without a number of ours were not run.

# %% tags=["hide-input"]
shown.table("table 2")
shown.answer("both", "flm", "fgr", "rules", "reconstruction", "graph", "projection", "both-flm", "both-fgr", "open")

# %% tags=["hide-input"]
shown.table("table 3")
shown.table("table 4")
shown.answer("inner", "mpa", "mpa-flm", "projection-pa")

# %% tags=["hide-input"]
shown.figure("figure 6", "figure 6", "Figure 6: input, annotation, and four networks of the ablation.")

# %% [markdown]
# ### Inside the modules
#
# A kernel is *within reach* of a feature if its membership is at least 0.1, a distance of 1.5 σ. Where no kernel is
# within reach, all memberships are near zero and the rules cannot tell pixels apart. *Nodes used* is the perplexity of
# the nodes' shares of the pixels, in per cent of their number. *Loss without* is the drop in mean IoU of a trained
# network when the module's output is replaced by its mean. The *gain of sampling* compares a network with itself, with
# random draws and with their expectation at test time.

# %% tags=["hide-input"]
shown.table("extra B")
shown.table("extra A")
shown.answer("sampling", "per-pixel", "temperature", "normalised", "shared", "dice")

# %% [markdown]
# ### Is the grid of kernels and nodes noise?
#
# The paper's grid jumps by eight points between neighbours. Our table has its best point and the four neighbours. On smaller
# crops and thinner encoders, kernels keep the paper's proportion to channels and nodes its proportion to pixels.

# %% tags=["hide-input"]
shown.table("table 1")
shown.figure(
    "table 1", "table 1",
    "Table I as a figure, both panels on one scale. The band is the range that five equal settings would be expected to "
    "cover by the scatter of their seeds alone.", ".svg",
)  # fmt: skip
shown.answer("kernels-few", "kernels-many", "nodes-few", "nodes-many")

# %% [markdown]
# ### Is it better than other networks?
#
# All methods have the same encoder, crops, schedule and tuning. Networks of `segmentation_models_pytorch` have the
# segmentation head alone; the others have the paper's three heads. The paper does not say where GloRe, DualSeg and SpyGR
# reason; we placed them so that the published parameter counts come out. Rows with one seed get no verdict.

# %% tags=["hide-input"]
shown.table("table 5")
shown.answer("over-unet", "over-pspnet", "over-lsfcnn", "over-glore", "conjunction", "current")

# %% tags=["hide-input"]
shown.figure("figure 7", "figure 7", "Figure 7: confusion matrices, in per cent of each annotated part.")
shown.figure("figure 8", "figure 8", "Figure 8: predictions of each network.")

# %% [markdown]
# ### How much of the encoder comparison is pretraining?

# %% tags=["hide-input"]
shown.table("table 6")
shown.answer("pretraining", "encoder")

# %% [markdown]
# ### Does it hold elsewhere?
#
# The network is tested on a dataset on which it was not trained. Real ones are 50 faces of FASSEG
# {cite:p}`khan2015,khan2017`, whose labels know the mouth as a whole.

# %% tags=["hide-input"]
shown.figure("figure 9", "figure 9", "Figure 9: mouths of another dataset, and the network's predictions.")
shown.table("extra D")
shown.figure("figure 10", "figure 10", "Figure 10: one mouth in seven hard cases.")
shown.figure(
    "figure 11a", "figure 11",
    "Figure 11: one mouth, harder and harder. The fuzzy learning modules draw random features in inference, too, so that "
    "two predictions for the same untouched mouth differ a little.",
)  # fmt: skip
shown.figure(
    "figure 11b", "figure 11", "Figure 11 in numbers: mean IoU against severity; bands are ranges over seeds. Occluded "
    "parts count as background.", ".svg",
)  # fmt: skip

# %% [markdown]
# ## How far it goes
#
# Every row trains until its validation score has not risen for some epochs, and the best epoch is scored. Claims are
# judged only if both rows beat the best prediction that ignores the image by ten points on validation mouths, and if both
# converged. [Methods](../methods.md) states the rules. CelebAMask-HQ's identities are not known, so each photo counts as
# one independent unit.

# %% tags=["hide-input"]
shown.gates()
shown.tuning()
shown.table("extra C")
shown.sizes("Proposed", data="public")
shown.questions()

# %% tags=["remove-input"]
shown.report_card(
    easy=(
        "The networks of the ablation. The authors' inference code is public, and the printed parameter and operation "
        "counts can be checked without data."
    ),
    difficult=(
        "FLRSeg, its split and the training code are not public. Paper and release differ in how the fuzzy learning "
        "module samples, and in whether the graph convolutions share parameters. The paper does not say where GloRe, "
        "DualSeg and SpyGR reason."
    ),
)

# %% [markdown]
# ## Differences from the paper
#
# | | paper | authors' release or arithmetic | here |
# |---|---|---|---|
# | D1 | FLRSeg, 630 mouths of 58 speakers, five classes | not public | public: 848 mouths of CelebAMask-HQ, three classes; FLRSeg can be read by those who have it, split by speaker |
# | D2 | ResNet-34 from ImageNet | – | MobileNetV2 from ImageNet, a row of Table VI; `cpu` at 64 × 128, `gpu` at 128 × 256. ResNet-34 is a row from random weights |
# | D3 | 16/32/64 kernels and nodes | a quarter of the channels, 1/128 to 1/2 of the pixels | the same proportions at every size |
# | D4 | cosine over 100 epochs | – | plateau and early stopping: a cosine is at its lowest at its end and cannot show convergence |
# | D5 | two graph convolutions share their parameters (Sec. III-C2) | only unshared ones give the printed counts | unshared; shared ones are a row |
# | D6 | Eq. 3 has arg max for the least matching kernel | arg min is meant | softmax of −M |
# | D7 | FGR has D × N × 2 parameters | that would depend on the image's size; the release has N × C/4 + N | N × C/4 + N |
# | D8 | T = 0.05 "approximates" MAX and MIN | Figure 3: MAX nearly, but MIN becomes the mean of all kernels that do not match | T = 1 and T = 0.01 are rows |
# | D9 | Eq. 6: one draw per channel and kernel | one per pixel, in inference too, shared by Y¹ and Y² | per pixel; one per kernel and none are rows |
# | D10 | Dice is summed over the classes (Eq. 16), cross-entropy over pixels | sums depend on the image's size | Dice as a sum over the classes that a batch shows, cross-entropy as a mean; mean Dice is a row |
# | D11 | LSFCNN's AND not defined | – | the minimum; the product is a row |
# | D12 | "+GR" without fuzzy projection | not described; 27.88M and 3.122G | a learned 1×1 projection, which misses the printed operations |
# | D13 | GloRe, DualSeg, SpyGR not described | – | placed so that the counts come out; left out of the count of equal numbers |
# | D14 | PSPNet with 1.52M parameters | its unused deep stages are not counted; with them 21.46M | the paper's rule |
# | D15 | MobileNetV2, SqueezeNet, ShuffleNetV2 with 9.19M, 8.93M, 1.35M (Table VI) | `thop` counts layers under two names twice | counted once; the other reading is listed and not counted as equal |
# | D16 | Proposed: PA 94.53 % and mIoU 74.37 % in Table I | PA 94.36 % and mIoU 74.89 % in Table II, for the same setting | one set of trials is in both tables |
# | D17 | Proposed "improves" on both modules alone | Table II: mPA of +Rules+Recons., 83.03 %, is above Proposed's 81.78 % | tested as a claim |
# | D18 | FLM's bottleneck is 1 × 1 | 3 × 3 | 3 × 3 |
# | D19 | Eq. 10–12 | memberships at length 1, minus the identity, residuals, a final ReLU | as the release; memberships that are 0 in float32 keep their proportions |
# | D20 | averages over scales 0.5–2.0 and flips at test time | 0.4–1.6, logits | one scale for every row; averages over 0.5–2.0 are measured apart |
# | D21 | width of edges and strengths of augmentation not given | – | edges two pixels wide; see `reprolib/datasets/augmentation.py` |

# %% tags=["hide-input"]
shown.facts()
shown.claims()
shown.quoted()
shown.failures()

# %% [markdown]
# ## Change this and rerun
#
# - Other kernels and nodes: add a point to `NEIGHBOURS` in `reprolib/studies/yang2023/rows.py`, then
#   `python -m reprolib run yang2023 --profile cpu --data public --data-root DATA --tables 1`.
# - Another temperature: add a row with `temperature` to `rows.py`.
# - The paper's size: `python -m reprolib plan yang2023 --profile gpu --data public` estimates the cost.
