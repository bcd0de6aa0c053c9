# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lip reading with graphs of landmarks (sheng2021)
#
# Sheng, Zhu, Xu, Pietikäinen and Liu {cite:p}`sheng2021` read words and sentences from lips. Beside the usual network
# that sees the mouth as a whole they put a second one that sees 38 landmarks of the lower face, each with a small patch
# of picture around it, and joins them by two graphs: a *semantic* one, which is learned once and for all, and an
# *attention* one, which every clip makes anew.
#
# The question of this page: **do contours add to appearance, and are two graphs needed?**

# %% tags=["parameters", "hide-input"]
profile: str = "smoke"  # smoke: minutes, only shows that all runs; cpu: laptop scale; gpu: the paper's networks
data: str = "synthetic"  # synthetic: facesynth; public: talking faces, Arabic sentences; paper: LRW with one below
data_root: str = ""  # folder with the real data, for public and paper
sentences: str = "lrs3"  # with data = "paper": lrs2, lrs3 or grid
seeds: int = 0  # 0: as many as the profile asks for
device: str = "auto"  # auto, cpu or cuda
workers: int = 0  # trials at a time; 0: automatic
train: bool = True  # False: show what is recorded already and train nothing
tables: list = []  # such as ["5", "figure 8"]; empty: all
jitters: list = [1.0, 2.0, 4.0]  # noise of the test's landmarks, in pixels of a crop of 112

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("sheng2021")

# %% tags=["remove-cell"]
from IPython.display import HTML, display

from reprolib import page, report, studies
from reprolib.runner import run
from reprolib.studies.sheng2021 import pictures
from reprolib.studies.sheng2021.results import homophenes

study = studies.load("sheng2021")
parameters = study.Parameters(
    profile=profile, data=data, data_root=data_root, sentences=sentences, seeds=seeds, device=device, workers=workers,
    tables=tables, jitters=jitters,
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
# *Reproduction or replication?* LRW, LRS2 and LRS3 need a signed agreement; who has them can run them here. On
# substitute data we replicate: the sign of an effect is tested, never the paper's absolute value. Synthetic words come
# from a lexicon through visemes with co-articulation; about half of them have a homophene among the others, a word that
# looks the same on the lips (*pat, bat, mat*), so that no reader of lips can get them all right. Speakers of synthetic
# test clips are unseen in every stage of training. The real clips are sentences of Arabic news; no word is timed, so
# that front ends learn from the synthetic English words there, and in the row "all layers learn" alone does one ever
# learn from a real mouth: it is a test of transfer more than of streams. Their speakers are clusters of face embeddings (LRW tells
# none); we looked at the faces of all thirty: a looser cut joins people who are not alike, but one person may still be
# in two clusters. Verdicts follow one rule, which [Methods](../methods.md) states.
#
# *What was chosen how.* Sizes and epochs of `cpu`, Eq. 7's factor, how the local stream starts, and that crops are not
# moved about there, were chosen so that global and local stream learn in about a minute, on a series of people of whom
# nobody is in the records. Rate, warm-up, the rates of joint training, and how long back ends learn, were chosen later,
# on those people and on the validation people of the records, after a first run in which the global stream had stayed
# at chance with two seeds of three: its loss does not move for some epochs, more of them at a higher rate. How the
# local stream starts has no counterpart in the global one, and nothing was tuned for any other row: that local beats
# global on synthetic clips may be tuning. Back ends' epochs, Eq. 7's factor and D20 below were chosen while the front
# ends of sentences, by a mistake since mended, had learned nothing; of factors 1, 4 and 16, compared again on validation
# people with one seed, 16 was the best. Nothing was chosen anew for the real clips.
#
# Synthetic sentences have at most three words of a grammar of few commands, and much of them can be guessed; real ones
# have up to five words of some 1,500. A claim is judged only if both its rows have learned: with every seed they beat a
# trivial one, which always says the same word or guesses a sentence from its length, by an interval over speakers. Else
# it is *not tested*, and its effect is shown all the same (a rule that we made after seeing the rows).
# Synthetic landmarks are the renderer's own, give or take 0.6 pixels of a crop of 112, so that the local stream sees
# exact contours; in extra G they err as a detector's do. Two streams go on from the training of each: rows below give
# the single ones, and all ablations, as many epochs, and all rivals, and all front ends of sentences, have as many, too.

# %% tags=["hide-input"]
shown.answers(
    "two-streams", "as-long-local", "detected", "two-wer", "two-local-wer", "plain", "no-graph", "longer-plain",
    "longer-no-graph", "longer-semantic", "longer-attention", "longer-lmfe", "word-specific", "speaker-specific", "seen", "whole-seen",
)  # fmt: skip
shown.claims()

# %% [markdown]
# ## What the paper leaves open
#
# Two controls are missing there: a plain multi-head attention in place of both graphs, and no graph at all. Landmarks
# come from a detector that errs; noise is measured on networks that were trained without it. A lip mask as a further
# input is what Yang et al. {cite:p}`yang2023` propose as future work. The network of these masks learned from many more
# drawn mouths, by the same renderer as these clips: what they add here is in part that training, and MACs do not count
# it.

# %% tags=["hide-input"]
shown.questions()
shown.table("extra A", "Graphs and points, taken apart.")
shown.table("extra B", "Noise in the landmarks of the test, pixels of a crop of 112.")
shown.table("extra C", "What can be had without seeing, and at best.")
shown.table("extra D", "Masks of lip, teeth, tongue and cavity as further channels of the global stream.")

# %% [markdown]
# Which part of the local stream matters may depend on how long it learns: at `cpu`, after the epochs of Table V, the
# full model fits the training clips less well than some rows that lack a part. In extra F all learn as long as two
# streams; the last training loss tells who is still learning. In extra G landmarks err, in training and test, by 3.4 %
# of the distance between the eyes on average, as a detector's may; crops of the mouth follow them, and move little.

# %% tags=["hide-input"]
shown.table("extra F", "The local stream without its parts, all trained longer.")
shown.table("extra G", "Landmarks that err as a detector's do, in training and test; below them exact ones.")

# %% [markdown]
# Is a sentence read at all? One network has the same transformer and the same training, but zeros for features: it
# knows grammar, language and the length of the clip. In another all layers learn from the sentences for ten epochs, not
# one at a rate of 10⁻⁶. Whoever reads the training clips far better than others has learned them by heart.

# %% tags=["hide-input"]
shown.table("extra E", "Sentences, seen and guessed.")

# %% [markdown]
# ## Is the network the paper's network? (Tables I and II, Figures 1–4)
#
# Shapes are read off the modules, for 29 frames, crops of 112 × 112 and patches of 32 × 32 pixels.

# %% tags=["hide-input"]
shown.facts()
shown.table("table 1", "Table I: the global stream.")
shown.table("table 2", "Table II: local motion features.")
shown.drawing(pictures.framework(), "figure-1", "Figure 1: two streams and a back end", ".svg")
shown.drawing(pictures.local_stream(), "figure-2", "Figure 2: the local stream", ".svg")
shown.drawing(pictures.graph_layer(), "figure-3", "Figure 3: one layer of the graph network", ".svg")
shown.drawing(pictures.back_end(), "figure-4", "Figure 4: MS-TCN", ".svg")

# %% [markdown]
# ## On what data? (Table III, Figure 6)

# %% tags=["hide-input"]
shown.table("table 3", "Table III: the sets, the paper's and ours.")
shown.drawing(pictures.landmark_choice(), "figure-6", "Figure 6: 38 and 25 of 68 landmarks, on a synthetic face")

# %% [markdown]
# ## Do contours add to appearance? (Table IV)
#
# Streams learn alone; two streams start from them and learn on together. For sentences the front ends of the words are
# frozen while a transformer learns on their features, and one epoch from end to end follows. Our one set of sentences
# stands beside both of the paper's; of real clips there are no words. Error rates are pooled over the set; their means
# over utterances stand beside them.
# With LRW's 25,000 test clips the standard error of the paper's gain of 0.4 is 0.32.

# %% tags=["hide-input"]
shown.table("table 4", "Table IV: streams.")
shown.own_table(homophenes, "homophenes", "Accuracy (%) of words that look like others, and of those that do not.")

# %% [markdown]
# ## Which parts of the local stream matter? (Table V)
#
# All rows are the local stream alone. Where one kind of feature is left out, a linear layer widens the other one, so
# that the graph network stays the same. A verdict on these rows should be read beside extra F, above, where the same
# rows have learned longer.

# %% tags=["hide-input"]
shown.table("table 5", "Table V: the local stream without its parts.")
shown.figure("extra A", "table 5", "Loss while training; bands are ranges over seeds.", ".svg")

# %% [markdown]
# ## Against other systems (Tables VI and VII)
#
# Each is built small, but after its paper, and trained as long as two streams together, with their rates; nothing was
# tuned for it. The temporal focal block of Zhang et al. and its fusion of places are *in the spirit of* theirs: sizes
# cannot be recovered, and the abstract's sentence that the method outperforms theirs, which the paper's own table
# contradicts, is a question above and no claim. At `cpu` WAS and ResNet+BLSTM learned words late, or with some seeds not
# at all: to be better than these says little. Clips per second were measured while other trials shared the machine: a
# lower bound. MACs count products of matrices and convolutions.

# %% tags=["hide-input"]
shown.table("table 6", "Table VI: words.")
shown.table("table 7", "Table VII: sentences.")

# %% [markdown]
# ## What do the graphs show? (Figures 5, 7 and 8)
#
# The paper looks at single matrices. Here the claim that attention graphs follow the word is a number: the distance
# between graphs of one viseme class of words by different speakers, against that of different classes, and against that
# of different classes by one speaker. The latter tells whether graphs follow the word more than the speaker; its answer
# stands at the top of the page. The claim of Figure 7, that semantic graphs are specific to their layer, needs four
# layers; `cpu` has two, so that it is not tested there.

# %% tags=["hide-input"]
shown.figure("figure 5", "figure 5", "Figure 5: semantic and attention graph of the last layer, subgraph 1.")
shown.figure("figure 7", "figure 7", "Figure 7: semantic graphs by epoch (rows) and layer (columns).")
shown.figure("figure 8", "figure 8", "Figure 8: attention graphs of two words (columns), two speakers each (rows).")
shown.figure("figure 8b", "figure 8", "Distances between attention graphs; bars are ranges over seeds.", ".svg")

# %% [markdown]
# ## How is a sentence decoded? (Figure 9 and the second Table VII)

# %% tags=["hide-input"]
shown.figure("figure 9", "figure 9", "Figure 9: attention of characters to frames, mean of logarithms over heads.")
shown.table("table 7b", "The best hypothesis after each step of the beam search.")

# %% [markdown]
# ## What differs, and what it does
#
# | | paper | base code or arithmetic | here |
# |---|---|---|---|
# | D1 | Eq. 4 sums the subgraphs, Fig. 3 concatenates them | a sum of 512 channels each costs eight times as much | concatenation; a row above sums |
# | D2 | Eq. 5 has no exponentials, Eq. 6 is a softmax | Eq. 5 can divide by zero | Eq. 6, not scaled |
# | D3 | Table I: H/4 after the first convolution, H/32 at the end | H/2, H/4 after the pool; 112 gives 4 × 4 | as the layers compute it |
# | D4 | 25 points "in the mouth area" | mouth and nose base are 25; so are mouth and chin | the first; a row above has the others |
# | D5 | two tables are numbered VII | – | the second is "7b" |
# | D6 | abstract: "significantly outperforms the state-of-the-art" | its Table VII: Zhang et al. 51.7 / 60.1 WER, ours 55.7 / 62.7 | a question |
# | D7 | two streams over one on LRW: +0.4, "significantly" | standard error of a difference of two binomials: 0.32 | interval over speakers and seeds |
# | D8 | Sec. IV-C: local motion "significantly" over coordinates, graphs "equally important" | 75.9 − 60.7; 79.1, 78.3 | the first is a claim, the second a question above |
# | D9 | Eq. 7's factor and warm-up not given | peaks at step warm-up / factor with $(d \cdot$ warm-up$)^{-0.5}$ | see the table of sizes below |
# | D10 | size of $W_\theta$, $W_\phi$, $W_q$, FFN, kind of norm not given | 17.39 M parameters with FFN 2048, 7.94 M with 512 | 64, 64, 2048, LayerNorm |
# | D11 | graph per frame or per clip? | $f_{in}$ is $D \times K$: one per frame; 10⁻⁶ comes from a network with one per clip | per frame |
# | D12 | dropout 0.1, label smoothing of a size not given | 0.1 in the public base code of sentences, 0.2 in that of MS-TCN | dropout 0.1, but 0.2 in MS-TCN, 0.5 in MT and none in other rivals; smoothing 0.1, at `cpu` none for words |
# | D13 | CER, WER: pooled or mean over utterances? | public codes do either | pooled; the other beside it |
# | D14 | the beam's step 12 turns WE into THEY and back | a beam may | shown as it is |
# | D15 | training of front ends on words, then sentences | talking faces have no word timings; GRID comes without LRW | front ends learn from synthetic words there |
# | D16 | curriculum of 1 to 37 words | our sentences are short: two or three words, real ones one to five | by number of words, as far as they go |
# | D17 | crops mirrored and moved, labels smoothed | at `cpu` nothing is learned with them in time | `cpu`: neither, for words |
# | D18 | coordinates and encoding start alike | a mouth moves by hundredths of a face, an embedding has deviation 1 | ×10, ×0.1 at the start |
# | D19 | Adam's rate falls, no warm-up named | front ends learned before, on ample data | `cpu`: three epochs of warm-up, without which one stream fails with some seeds |
# | D20 | features go to the back end as they are | – | less their mean, over their deviation, by channel |
# | D21 | – | the alphabet of the real clips is not given | all letters of the corpus; its test sentences add none |
# | D22 | landmarks by dlib or face-alignment | – | synthetic ones are the renderer's own; extra G lets them err |
# | D23 | ResNet+BLSTM, as in its paper | that trains it in three stages | trained at once |
# | D24 | LRW's 500 words and 29 frames; back ends learn from the pre-training parts of LRS2 and LRS3 | – | on the paper's own data `gpu` takes 80 words, 20 frames, and training parts alone |

# %% tags=["hide-input"]
import dataclasses

import pandas as pd

from reprolib.studies.sheng2021.settings import SCALES

sizes = pd.DataFrame(
    {
        name: {"seeds": scale.seeds} | dataclasses.asdict(scale.words) | dataclasses.asdict(scale.sentences)
        for name, scale in SCALES.items()
    }
).map("{:g}".format)
display(HTML(report.to_html(sizes, "What each profile is, in numbers; real data have the clips that there are.")))

# %% tags=["remove-input"]
if failed:
    print(f"{len(failed)} trials failed in this run:", *(record.trial.name for record in failed))
