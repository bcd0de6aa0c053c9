# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fuzzy learning and graph reasoning for lips (yang2023)
#
# Yang, Wang and Liew {cite:p}`yang2023` divide the mouth into lip, teeth, tongue and inner cavity. Their network puts
# two modules between the encoder and the decoder of a Unet: the *fuzzy learning module* (FLM) rebuilds each feature
# from the Gaussian kernels that it matches best and least, and *fuzzy graph reasoning* (FGR) lets all pixels talk to
# each other through a few nodes.
#
# The question of this page: **do the two modules make better masks, or would another seed do as much** — and which
# part of them matters: the sampling, the temperature, the number of kernels and nodes?

# %% tags=["parameters", "hide-input"]
profile: str = "smoke"  # smoke: minutes, only shows that all runs; cpu: laptop scale; gpu: the paper's sizes and rates
data: str = "synthetic"  # synthetic: facesynth; public: talking faces with pseudo-labels; paper: FLRSeg
data_root: str = ""  # folder with the real data, for public and paper
seeds: int = 0  # 0: as many as the profile asks for
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["1", "figure 9"]; empty: all
kernels: list = [8, 16, 32]  # membership functions of the FLM at the finest scale, doubled at each coarser one
nodes: list = [8, 16, 32]  # nodes of the FGR's graph at the finest scale, doubled likewise

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("yang2023")

# %% tags=["remove-cell"]
from IPython.display import HTML, display

from reprolib import page, report, studies
from reprolib.runner import run
from reprolib.studies.yang2023 import pictures
from reprolib.studies.yang2023.results import grid_spread

study = studies.load("yang2023")
parameters = study.Parameters(
    profile=profile, data=data, data_root=data_root, seeds=seeds, device=device, workers=workers,
    tables=tables, kernels=kernels, nodes=nodes,
)  # fmt: skip
store, context = studies.store_of(parameters), studies.context_of(parameters)

# %% tags=["remove-cell"]
ran = run(studies.needed(study, parameters) if train else [], study.execute, store, context, workers=workers)
failed = [record for record in ran if record.failure]

# %% tags=["remove-cell"]
shown = page.StudyPage(study, pictures.drawn, parameters, store)

# %% [markdown]
# ## The short of it
#
# *What was run.* All six tables and eleven figures at laptop scale (`cpu`): smaller crops, networks with a quarter of
# the channels, ten epochs; on synthetic mouths, and on real ones with pseudo-labels. `gpu`, the paper's size, was not
# run. FLRSeg can be run by those who have it. *Reproduction or replication?* On substitute data we replicate: the sign
# of an effect is tested, never the paper's absolute value. Encoders start from random weights, the paper's from
# ImageNet. The verdicts below follow one rule, which [Methods](../methods.md) states.
#
# *What came out.* At this scale neither module makes better masks than the network without them. After ten epochs they
# even cost something on synthetic mouths. That was a surprise, so the ablation was trained four times as long, also at
# a quarter of the rate (synthetic mouths, section "Slow or bad?"): then the difference is small, and still not in favour
# of the modules. On real mouths the rows of the ablation can hardly be told apart. A closer look ("Do the fuzzy parts
# work?") shows that these rows say less about fuzzy logic than they seem to: in our trainings features leave their
# kernels behind, hardly any kernel matches, and a network whose fuzzy parts are levelled is as good. Where features are
# kept among their kernels, which is ours, all of them find one; the masks are not better for it. The paper's eight points
# may need its data, its size or its pretrained encoder.
#
# *What was chosen how.* The rate and batch size of `cpu` were chosen on mouths of speakers who are in neither set,
# after first trials whose test scores were on the screen had shown that smaller batches help; that SMP's decoders keep
# at least 16 channels came after a look at the Unet's. Nothing was tuned for one loss or module.

# %% tags=["hide-input"]
shown.answers("both", "long-both", "levelled-Proposed", "normalised-Proposed", "levelled-normalised-Proposed")
shown.claims()

# %% [markdown]
# ## What makes mouths hard? (Figures 1 and 5)
#
# Lip, tongue and cavity share their colours, and an edge detector draws many lines that are no border of a part.
# Numbers on public data are the talking faces'; its pictures, here and below, are mouths of FASSEG {cite:p}`khan2015,khan2017`,
# cut and labelled in the same way.

# %% tags=["hide-input"]
shown.figure("figure 1", "figure 1", "Figure 1: a mouth, its annotation, the colours of its parts, its edges.")
shown.figure("figure 5", "figure 5", "Figure 5: mouths and their annotations.")

# %% [markdown]
# ## Is the network the paper's network? (Figures 2–4)
#
# Parameters and operations are counted as the paper counted them, with `thop`. This tool sees only layers that it
# knows and that are called: the kernels and nodes themselves, which are bare parameters, are not in the count, which
# is why Table I prints one number of parameters for every K. All counts on this page are those of the paper's sizes;
# the networks that `smoke` and `cpu` train have a quarter of the channels.

# %% tags=["hide-input"]
shown.drawing(pictures.network(), "figure-2", "Figure 2: the network, sizes read off its modules")
shown.drawing(pictures.fuzzy_learning(), "figure-3", "Figure 3: what the fuzzy learning module does to one channel")
shown.drawing(pictures.graph_reasoning(), "figure-4", "Figure 4: fuzzy graph reasoning, step by step")

# %% [markdown]
# Figure 2 is drawn from the modules of the network on an input of 128 × 256. Figure 3 shows one channel of a module
# with four kernels: memberships (Eq. 1), the weights of both rules (Eq. 4 and 5), and the mean and the spread of
# what is drawn (Eq. 7 and 8). Figure 4 follows the colours of one picture through the projection onto nodes (Eq. 10) and
# back; its nodes are found by k-means, and between them nothing is reasoned. Kernels and nodes of both figures are set
# by hand to show the mechanism: what trained modules do with theirs is measured below ("Do the fuzzy parts work?").

# %% tags=["hide-input"]
shown.facts()

# %% [markdown]
# ## Do the two modules help? (Tables II–IV, Figure 6)

# %% tags=["hide-input"]
shown.table("table 2", "Table II: ablation.")
shown.table("table 3", "Table III: pixel accuracy of each class (%).")
shown.table("table 4", "Table IV: IoU of each class (%).")

# %% tags=["hide-input"]
shown.figure("figure 6", "figure 6", "Figure 6: input, annotation, and the four networks of the ablation.")

# %% [markdown]
# ## How many kernels and nodes? (Table I)
#
# The paper's grid jumps by eight points between neighbours. If the settings did not matter at all, the means of nine
# equal networks would still differ, by what the seeds alone make of them: the table under the maps compares the two.

# %% tags=["hide-input"]
shown.table("table 1", "Table I: kernels and nodes, from the finest scale to the coarsest.")
shown.figure("table 1", "table 1", "Table I as maps: ours and the paper's.")

# %% tags=["hide-input"]
shown.own_table(grid_spread, "spread", "Spread of Table I.")

# %% [markdown]
# ## Is it better than other networks? (Table V, Figures 7 and 8)
#
# Every network starts from random weights, sees the same mouths in the same augmentation for as many epochs, and is
# tested with the same scales and flips. Those of the library `segmentation_models_pytorch` have the segmentation head
# alone; LSFCNN and the graph networks have all three, as the paper's counts ask for. At `cpu` these and the proposed
# network predict on a map of 16 × 32 cells, Unet and MANet at the full 64 × 128: thin parts such as teeth gain by that.

# %% tags=["hide-input"]
shown.table("table 5", "Table V: comparison.")

# %% tags=["hide-input"]
shown.figure("figure 7", "figure 7", "Figure 7: confusion matrices, in percent of each annotated part.")
shown.figure("figure 8", "figure 8", "Figure 8: what each network finds.")

# %% [markdown]
# ## Is a smaller encoder enough? (Table VI)
#
# Frames per second are those of the machine named in the caption, one crop at a time, while other work shared it: their
# spread over the seeds tells more about that than about the encoders. The networks that `cpu` trains are not those whose
# parameters stand here: a quarter of the channels leaves a ResNet or SqueezeNet some 6 % of its parameters, MobileNetV2,
# whose widths are rounded, 43 %, and ShuffleNetV2 all. MobileNetV2 is larger than ResNet-34 there, and the verdicts on
# these two say nothing on smaller encoders.

# %% tags=["hide-input"]
shown.table("table 6", "Table VI: encoders.")

# %% [markdown]
# ## Does it hold elsewhere? (Figure 9)
#
# The network is trained on synthetic mouths and shown others: synthetic ones from another camera, or real ones.

# %% tags=["hide-input"]
shown.figure("figure 9", "figure 9", "Figure 9: trained on synthetic mouths, shown others.")
for source in shown.sources:
    for record in shown.records(source, "figure 9"):
        scores = {name: f"{value:.1f}" for name, value in record.metrics.items() if name in ("miou", "pa", "mpa")}
        display(HTML(f"<p>Seed {record.trial.seed}, tested on {record.trial.params['tested_on']}: "
                     f"mIoU {scores['miou']} %, PA {scores['pa']} %, mPA {scores['mpa']} %.</p>"))  # fmt: skip

# %% [markdown]
# ## What does it bear? (Figures 10 and 11)
#
# The same mouths are made harder step by step; the curves say what pictures of single cases cannot. What an occluder
# hides counts as background, so that parts get smaller with it. Of the eleven mouths on public data eight are one
# person's: verdicts there stand on three people.

# %% tags=["hide-input"]
shown.figure("figure 10", "figure 10", "Figure 10: hard cases.")
shown.figure("figure 11a", "figure 11", "Figure 11: one mouth, harder and harder.")
shown.figure("figure 11b", "figure 11", "Figure 11 in numbers: mIoU against severity.")

# %% [markdown]
# ## Beyond the paper: what in the modules matters?
#
# The authors' code draws fresh noise for every pixel, Eq. 6 one number for every kernel, and both draw in inference,
# too. At T = 0.05 one kernel weighs fifty times another when their memberships differ by 0.2; those that match nothing
# all have membership 0 and weigh alike.

# %% tags=["hide-input"]
shown.questions()

# %% tags=["hide-input"]
shown.table("extra A", "Other forms of the modules.")

# %% [markdown]
# ### Slow or bad?
#
# After few steps a module may look bad because it is slow to learn, and the rate of `cpu` was chosen with the
# baseline. The ablation again, trained four times as long, and also at a quarter of the rate:

# %% tags=["hide-input"]
shown.table("extra B", "Four times as long.")

# %% [markdown]
# ### Do the fuzzy parts work?
#
# Kernels and nodes start where features of mean 0 and deviation 1 lie. In training features may grow and leave them
# behind: then memberships are near 0 for all kernels, and no rule can tell one place from another. *Best membership* is
# that of the nearest kernel, averaged over pictures, places and channels (at the start it is above 0.9). *Levelled* is
# the same trained network with Y¹, Y² and what the nodes give back replaced by their means: what it loses is what the
# fuzzy parts tell it. The last three rows keep the reduced features at mean 0 and deviation 1, which is ours. Rows without
# a fuzzy learning module have no membership.

# %% tags=["hide-input"]
shown.table("extra C", "What the fuzzy parts of trained networks tell them.")

# %% [markdown]
# ## What differs, and what it does
#
# | | paper | authors' code or arithmetic | here |
# |---|---|---|---|
# | D1 | the two GCN layers share their parameters (Sec. III-C2) | only unshared layers give the printed counts | unshared; shared ones are a row of the table above |
# | D2 | Eq. 3 has arg max for the least matching kernel | arg min is meant | softmax of −M, Eq. 4 |
# | D3 | FGR has D × N × 2 parameters | that would depend on the size of the picture; the code has N × C/4 + N | N × C/4 + N |
# | D4 | T = 0.05 "approximates" MAX and MIN | Figure 3: MAX nearly, but MIN becomes the mean of all kernels that do not match | T is swept above |
# | D5 | Eq. 6: one number per channel and kernel | one per pixel, in inference too, shared by Y¹ and Y² | per pixel; the other and none are rows above |
# | D6 | PSPNet with 1.52M parameters | its unused deep stages are not counted; with them 21.46M | the paper's rule |
# | D7 | test-time scales 0.5, 1.0, 1.5, 2.0 | 0.4, 0.8, 1.2, 1.6 in the public script | the text's |
# | D8 | Table I: 74.37 % for 16/32/64 of both | Table II: 74.89 % for the same | one set of trials stands in both |
# | D9 | "+GR" without fuzzy projection | projection not described; 27.88M and 3.122G | a learned 1×1 projection, counted above: a guess that misses the printed operations, and an unstable one; three claims stand on it |
# | D10 | losses are sums over pixels and classes (Eq. 15–18) | the weights 1 and 0.1 then depend on the size | means |
# | D11 | width of the edges not given | – | two pixels, one on each side of a border |
# | D12 | strengths of the augmentation not given | – | see `reprolib/datasets/augmentation.py` |
# | D13 | split of FLRSeg not published | – | by speaker |
# | D14 | ImageNet weights | none could be downloaded | random weights |
# | D15 | MobileNetV2, SqueezeNet and ShuffleNetV2 with 9.19M, 8.93M and 1.35M parameters (Table VI) | `thop` counts layers that are registered under two names twice, and their operations four times: this gives the printed numbers, all but SqueezeNet's operations | counted once; as printed above |
# | D16 | FLM's bottleneck is 1 × 1 | 3 × 3 in the code | 3 × 3 |
# | D17 | Eq. 10–12 | the code normalises memberships to length 1, subtracts the identity, adds nodes to their reasoning and the input to the result, and ends in a ReLU | as the code, but for memberships that are 0 in float32: there the code leaves 0, ours goes on as if they were not |
# | D18 | Dice over all classes (Eq. 16) | – | over the classes that a batch shows |
# | D19 | 16/32/64 nodes for 32 × 64, 16 × 32, 8 × 16 pixels | – | the same numbers at `cpu`, whose crops have a quarter of the pixels and whose features a quarter of the channels: 64 nodes for 32 pixels at the coarsest scale. Table I is of this geometry |
# | D20 | test-time averaging not described further | logits, inputs in [0, 1] | probabilities, inputs in [−1, 1] |
#
# **On pseudo-labels.** Nobody has annotated the talking faces: lips lie between dlib's outer and inner contour, and
# what is inside is divided by colour and brightness. Every table on public data is measured against these labels. So
# few of their pixels are called tongue, and half of those wrongly, that no network learns it: the tongue's zero takes
# a fifth of the class mean from every row alike.

# %% tags=["hide-input"]
import dataclasses

import pandas as pd

from reprolib.studies.yang2023.settings import SCALES

sizes = pd.DataFrame({name: dataclasses.asdict(scale) for name, scale in SCALES.items()}).map(
    lambda v: ", ".join(map("{:g}".format, v)) if isinstance(v, tuple) else f"{v:g}"
)
display(HTML(report.to_html(sizes, "What each profile is, in numbers; real data may have fewer mouths than asked.")))

# %% tags=["remove-input"]
if failed:
    print(f"{len(failed)} trials failed in this run:", *(record.trial.name for record in failed))
