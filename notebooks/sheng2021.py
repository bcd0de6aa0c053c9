# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lip reading with graphs of landmarks
#
# *Sheng, Zhu, Xu, Pietikäinen and Liu, IEEE Transactions on Multimedia 2022* {cite:p}`sheng2021`

# %% tags=["parameters", "remove-cell"]
profile: str = "smoke"  # smoke: minutes, only shows that all runs; cpu: laptop scale; gpu: larger networks
data: str = "synthetic"  # synthetic: facesynth; public: GRID and LipNet-ITA; paper: LRW, LRS2 and LRS3
data_root: str = ""  # folder with the real data, for public and paper
seeds: int = 0  # 0: as many as the profile has
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["5", "figure 8"]; empty: all

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("sheng2021")

# %% tags=["remove-cell"]
import inspect

from IPython.display import HTML, Markdown, display

from reprolib import page, report
from reprolib.models.asst_gcn import ASSTLayer
from reprolib.studies.sheng2021 import figures
from reprolib.studies.sheng2021.facts import dimensions

shown = page.open_study(
    "sheng2021", train=train, profile=profile, data=data, data_root=data_root, seeds=seeds, device=device,
    workers=workers, tables=tables,
)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
shown.findings("two-local", "global-local", "semantic", "attention", "mstcn-blstm", "two-wer")
shown.headline()

# %% [markdown]
# ## The idea
#
# Lip reading networks usually see the mouth as a whole: a 3-D convolution and a ResNet per frame. The paper calls this
# the *global stream*. It adds a *local stream* that sees 38 landmarks of the lower face. Each landmark has a small patch
# of image around it, from which a small 3-D convolution takes local motion (LMFE), and coordinates relative to the tip
# of the nose, from which a 1-D convolution takes the contour's motion (LCFE). A learned vector tells landmarks apart.
#
# A graph network then relates the landmarks of each frame. Every layer has $Q$ subgraphs, and each of them has two
# graphs: $A^{se}$ is learned and the same for all clips, and $A^{st}$ is attention between the landmarks of the frame:
#
# $$f_{out} = \sum_q \left(A^{se}_q + A^{st}_q\right) f_{in} W_q, \qquad
# A^{st}_q = \mathrm{softmax}\!\left((W^\theta_q f_{in})^\top (W^\phi_q f_{in})\right)
# \quad \text{(Eq. 4, 6)}$$
#
# MS-TCN, with temporal convolutions of three kernel sizes, classifies words. A transformer spells sentences.
# These lines of the module are the graph convolution:

# %% tags=["hide-input"]
parts = (ASSTLayer.forward, ASSTLayer.convolve, ASSTLayer.graph, ASSTLayer.attention_graph)
code = "\n".join(inspect.getsource(part) for part in parts)
display(Markdown(f"```python\n{inspect.cleandoc(code)}\n```"))
shown.drawing(figures.framework(), "figure-1", "Figure 1: two streams and a back end", ".svg")
shown.drawing(figures.local_stream(), "figure-2", "Figure 2: the local stream", ".svg")
shown.drawing(figures.graph_layer(), "figure-3", "Figure 3: one layer of the graph network", ".svg")
shown.drawing(figures.back_end(), "figure-4", "Figure 4: MS-TCN", ".svg")
shown.drawing(figures.landmark_choice(), "figure-6", "Figure 6: 38 and 25 of 68 landmarks, on a rendered face")

# %% [markdown]
# *Figures 1 to 4: the paper's networks, shapes read off the modules. Figure 6: the landmarks of the local stream, and
# the 25 that the paper calls sparse.*
#
# ## The evidence
#
# LRW, LRS2 and LRS3 need a signed agreement; those who have them can run them here. We use three other sets.
#
# - **GRID** {cite:p}`cooke2006`, speaker s1: 1,000 sentences of six words with the times of the words. A word is a window
#   of fixed length, centred on it, as in LRW. Clips are split by the pair of letter and digit, so that every test
#   sentence has a pair that training never saw. With one speaker, nothing can be said about other people.
# - **LipNet-ITA**: 71 Italian words by 17 people, who are split by person. Everyone reads the same 19 sentences, so a
#   window shows the frames of the word alone. The set has mouths without faces, so only methods without landmarks apply.
# - **Rendered faces** (facesynth): 30 words, ten of them in pairs that differ only in tongue and teeth. Landmarks have an
#   error as large as a detector's, which lasts from frame to frame. Speakers of the test are not in training.

# %% tags=["hide-input"]
shown.table("table 3")

# %% [markdown]
# Clips of GRID with empty or missing frames are left out. dlib's landmarks are interpolated where it finds no face.

# %% tags=["hide-input"]
shown.sentences(figures.left_out)

# %% [markdown]
# ### Do contours add to appearance on words?
#
# Both streams learn alone until their validation score stops rising. Two streams start from them, with a new back end,
# and learn on by the same rules. *Letters* are the slot of GRID's grammar with 25 words; *other slots* have 4 to 10.
# *Slot known* counts a word as read if it scores highest among the words of its slot. The trivial row guesses the word
# from the moment and the length of the window.
#
# Read the comparison of single streams with care: GRID has one speaker, dlib's landmarks tell the local stream where the
# mouth is, and at the sizes of the profile `cpu` it takes more arithmetic than the global stream does.

# %% tags=["hide-input"]
shown.table("table 4")
shown.answer("two-local", "global-local", "contours", "contours-letters", "again")

# %% tags=["hide-input"]
shown.table("extra E")
shown.answer("contours-inside")

# %% [markdown]
# ### Which parts of the local stream matter?
#
# Rows without LMFE or LCFE learn as a whole and are compared with the full local stream. For the graphs, LMFE and LCFE are
# trained once per seed with no graph and no encoding, and then kept. Every graph learns on the same kept features. So
# the comparison favours none of them, and the full model on kept features is the reference.
#
# Without LMFE, which leaves the coordinates alone, the validation score jumps from epoch to epoch at the first learning
# rate, and the schedule that all rows share lowers the rate early. So that row may be able to do better than it does here.

# %% tags=["hide-input"]
shown.table("table 5")
shown.answer("lmfe", "lcfe", "motion-coordinates", "semantic", "attention", "encoding", "equally")

# %% [markdown]
# ### Which graph is needed?
#
# Two controls are missing in the paper: plain multi-head attention in place of both graphs, and no graph at all.

# %% tags=["hide-input"]
shown.table("extra A")
shown.answer("graphs", "plain", "graphs-whole")

# %% [markdown]
# ### Is MS-TCN better than recurrent back ends?
#
# One global stream is trained with no back end but a mean over frames. Three back ends then learn on its kept features,
# so that the features favour none of them. MT, WAS and the network with optical flow learn as a whole, with one seed, and
# get no verdict.

# %% tags=["hide-input"]
shown.table("table 6")
shown.answer("mstcn-blstm", "mstcn-bgru", "back-end")

# %% tags=["hide-input"]
shown.table("extra B")
shown.answer("mstcn-blstm-people", "mstcn-bgru-people")

# %% [markdown]
# ### Do contours add to appearance on sentences?
#
# The streams come from the words and stay as they are. A back end learns to spell whole sentences from their features. It
# begins with parts of one word, then two, three and five, in one training. *Grammar alone* says the commonest word of
# each position. Letters and digits are scored apart, because grammar gives little of them away and all test pairs are
# new.

# %% tags=["hide-input"]
shown.table("table 4b")
shown.answer("two-wer", "two-local-wer", "global-local-wer", "two-cer", "two-local-cer", "contours-pair")

# %% tags=["hide-input"]
shown.table("table 7")
shown.answer("ctc-wer", "zhang")

# %% [markdown]
# ### What do the graphs encode?
#
# The paper looks at single matrices. We measure instead how much of the variance of the attention graphs lies between
# words, after what a clip adds to all its words is taken out. Labels are shuffled for comparison. The shares of clip and
# speaker are shown beside it.

# %% tags=["hide-input"]
shown.figure("figure 5", "figure 5", "Figure 5: semantic and attention graph of the last layer.")
shown.figure("figure 7", "figure 7", "Figure 7: semantic graphs of one subgraph by epoch (rows) and layer (columns).")
shown.figure("figure 8", "figure 8", "Figure 8: attention graphs of two words (columns), two clips of each (rows).")
shown.figure("figure 8b", "figure 8", "What the last layer's attention graphs depend on, all seeds.", ".svg")
shown.table("extra D")
shown.sentences(figures.followed)

# %% [markdown]
# ### How is a sentence spelt?

# %% tags=["hide-input"]
shown.figure("figure 9", "figure 9", "Figure 9: attention of characters to frames, mean of logarithms over heads.")
shown.figure("figure 9b", "figure 9", "The paper's second Table VII: the best hypothesis after each step of the beam.")

# %% [markdown]
# ### Beyond the paper: masks of the mouth
#
# Yang et al. {cite:p}`yang2023` propose masks of lip, teeth, tongue and cavity as an input for lip reading. Here they are
# further channels of the global stream. Their network learned from rendered mouths.

# %% tags=["hide-input"]
shown.table("extra C")
shown.answer("masks")

# %% [markdown]
# ## How far it goes
#
# Every row trains until its validation score has not risen for some epochs, and the best epoch is scored. Claims are
# judged only if both rows beat the trivial one by ten points on validation items and converged. The validation score of
# sentences is 100 − WER. [Methods](../methods.md) states the rules. Clips are the independent units of GRID, people
# those of the other sets.

# %% tags=["hide-input"]
shown.gates()
shown.tuning()
shown.sizes("Only Local", data="public")
shown.questions()

# %% tags=["remove-input"]
shown.report_card(
    easy=("The global stream and MS-TCN, whose base code is public with exact parameter counts."),
    difficult=(
        "The graph layer. Eq. 4 sums the subgraphs where Fig. 3 concatenates them, and its widths and normalisation are "
        "not given. LRW, LRS2 and LRS3 need a signed agreement. The factor and the warm-up of Eq. 7 are not given, and "
        "several rival methods were published with other data and trainings."
    ),
)

# %% [markdown]
# ## Differences from the paper
#
# | | paper | base code or arithmetic | here |
# |---|---|---|---|
# | D1 | LRW, LRS2, LRS3 | need a signed agreement | public: GRID (one speaker) and LipNet-ITA; the three can be read by those who have them |
# | D2 | Eq. 4 sums the subgraphs, Fig. 3 concatenates them | a sum of 512 channels each costs eight times as much | concatenation |
# | D3 | Eq. 5 has no exponentials, Eq. 6 is a softmax | Eq. 5 can divide by zero | Eq. 6, not scaled |
# | D4 | Table I ends at H/32 | 112 gives 4 × 4 | as the layers compute it |
# | D5 | 25 points "in the mouth area" | mouth and nose base are 25; so are mouth and chin | mouth and nose base |
# | D6 | two tables are numbered VII | – | the second is shown with Figure 9 |
# | D7 | abstract: "significantly outperforms the state-of-the-art" | Table VII: Zhang et al. 51.7 / 60.1 WER, ours 55.7 / 62.7 | a question |
# | D8 | two streams over one on LRW: +0.4, "significantly" | standard error of a difference of two binomials: 0.32 | too small for our test sets: a question, no claim |
# | D9 | widths 64 and 512, patch 32, crop 112, six layers | – | `cpu` and `gpu` scale channels, patches and crops together; layers as in the table of sizes |
# | D10 | size of $W_\theta$, $W_\phi$, $W_q$, FFN, kind of norm not given | 17.39 M parameters with FFN 2048, 7.94 M with 512 | an eighth of the channels, FFN four times as wide, LayerNorm |
# | D11 | graph per frame or per clip? | $f_{in}$ is $D \times K$: one per frame; 10⁻⁶ comes from a network with one per clip | per frame |
# | D12 | dropout 0.1, label smoothing of a size not given | 0.1 in the public base code of sentences, 0.2 in that of MS-TCN | the same; no label smoothing for words |
# | D13 | CER, WER: pooled or mean over utterances? | public codes do either | pooled; the other beside it |
# | D14 | streams learn words, then a back end learns on their features, then one epoch at 10⁻⁶ | – | streams stay as they are for sentences |
# | D15 | curriculum of 1 to 37 words | GRID's sentences have six | parts of 1, 2, 3, 5 and 6 words, cut at the words' times; none where a set has no times |
# | D16 | Adam; Eq. 7's factor and warm-up not given | peaks at step warm-up / factor | Eq. 7's shape with a tuned peak; words: a drop on a plateau; early stopping everywhere |
# | D17 | grey levels normalised, how is not said | – | each clip to mean 0 and deviation 1, so that dark recordings look like others |
# | D18 | features go to the back end as they are | – | less their mean, over their deviation, by channel |
# | D19 | encoding of landmarks: start not given | unit deviation would drown coordinates, which move by hundredths of a face | deviation 0.1 |
# | D20 | MT, WAS, BLSTM, BGRU and flow as published elsewhere | other data, three-stage trainings | back ends on the same features; others whole, one seed; Zhang et al. in the spirit of theirs |
# | D21 | the local stream is not augmented | – | the same; crops are mirrored and moved by up to 4 of 112 pixels and a frame |
# | D22 | LRW's 500 words, all clips | – | paper data: 50 clips of each word for training; the pre-training parts of LRS2 and LRS3 are not used |
#
# Not done: visemes of the Arabic clips of LRC-AR. They have no word times, and an alignment of their sound, which could
# give them, is not built.

# %% tags=["hide-input"]
for place, name in (("table 1", "Table I: the global stream"), ("table 2", "Table II: local motion features")):
    display(HTML(report.to_html(dimensions(place), f"{name}, 29 frames, crops of 112 and patches of 32 pixels.")))
shown.facts()
shown.claims()
shown.failures()

# %% [markdown]
# ## Change this and rerun
#
# - More context around a word: raise `frames` in `SIZES` of `reprolib/studies/sheng2021/rows.py`, then
#   `python -m reprolib run sheng2021 --profile cpu --data public --data-root DATA --tables 4`.
# - Another graph: add a row with `graph` to `rows.py`; it learns on the kept features in minutes.
# - The larger networks: `python -m reprolib plan sheng2021 --profile gpu --data public` estimates their cost.
