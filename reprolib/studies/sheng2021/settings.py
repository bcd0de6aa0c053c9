"""The sizes of sheng2021's runs and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from reprolib.parameters import StudyParameters

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 1

WORDS = {"LRW Acc": "accuracy"}
SENTENCES = {"LRS2 CER": "cer", "LRS2 WER": "wer", "LRS3 CER": "cer", "LRS3 WER": "wer"}
# What the paper does not print; parameters and multiply-accumulate operations of one clip are in millions.
COST = {"parameters (M)": "parameters_m", "MACs (M)": "macs_m", "clips/s": "clips_per_second"}
HOMOPHENES = {"of viseme classes": "viseme_accuracy"}
OF_SYNTHETIC = ("sentences", "longest", "sentence_speakers")  # sizes of the sentence task that real clips do not have
ALL_LAYERS = {"fine_tuning_epochs": 10, "fine_tuning_lr": 3e-4}  # of the row whose front end learns from sentences
SPLIT = (0.65, 0.1, 0.25)  # of the speakers: training, validation, test
SHIFT = 4 / 112  # random shift of a crop as a share of its side: 4 of 112 pixels (Sec. IV-B)
LIPS_CROP = 112  # the paper's crop, the measure of the landmarks' jitter in pixels
CURRICULUM = (1, 2, 3, 5, 7, 9, 13, 17, 21, 29, 37)  # words of the longest sentence, stage by stage


class Parameters(StudyParameters):
    """What a reader may turn in the notebook and on the command line."""

    jitters: list[float] = Field(default_factory=lambda: [1.0, 2.0, 4.0])  # pixels of a crop of 112, extra B
    sentences: Literal["lrs2", "lrs3", "grid"] = "lrs3"  # with data = paper; words are LRW's


@dataclass(frozen=True)
class WordScale:
    """The word task of one profile: pictures in pixels, networks, clips, epochs, rates."""

    vocabulary: int  # words
    clips: int
    speakers: int
    frames: int  # T
    size: int  # side of the aligned face
    crop: int  # side of the mouth's crop
    patch: int  # side of a landmark's patch
    width: int  # channels of the first layer of convolutional networks; the paper's is 64
    channels: int  # of the local stream
    layers: int  # of the graph network
    subgraphs: int
    embedding: int  # D_e
    ffn: int
    tcn: int  # channels of a branch of MS-TCN
    epochs: int
    warmup: int  # epochs until the rate is `lr` (1: at once); joint training has none
    joint_epochs: int  # of both streams together, which start from their own training
    batch_size: int
    lr: float
    augment: bool  # crops mirrored and shifted (Sec. IV-B); short trainings learn nothing with it
    smoothing: float  # of the words' labels
    joint_rate: float  # the streams' rate in joint training, as a multiple of `lr`


@dataclass(frozen=True)
class SentenceScale:
    """The sentence task of one profile; its front ends are those of the word task."""

    sentences: int
    longest: int  # words of a synthetic sentence; the shortest has two
    sentence_speakers: int
    model_width: int
    heads: int
    blocks: int  # of encoder and decoder each
    sentence_ffn: int
    sentence_epochs: int
    sentence_batch: int
    factor: float  # of Eq. 7
    warmup_steps: int  # of Eq. 7
    fine_tuning_epochs: int  # from end to end
    fine_tuning_lr: float
    beam: int


@dataclass(frozen=True)
class Scale:
    """One profile in numbers."""

    seeds: int
    words: WordScale
    sentences: SentenceScale


# gpu has the paper's networks; how many words, clips and epochs is ours, for a synthetic lexicon has no 500 words.
SCALES = {
    "smoke": Scale(
        seeds=1,
        words=WordScale(
            vocabulary=4, clips=24, speakers=6, frames=8, size=48, crop=32, patch=8, width=4, channels=16, layers=2,
            subgraphs=2, embedding=8, ffn=16, tcn=8, epochs=1, warmup=1, joint_epochs=1, batch_size=8,
            lr=1e-3, augment=True, smoothing=0.1, joint_rate=0.1,
        ),
        sentences=SentenceScale(
            sentences=16, longest=2, sentence_speakers=6, model_width=16, heads=2, blocks=1, sentence_ffn=32,
            sentence_epochs=1, sentence_batch=8, factor=1.0, warmup_steps=10, fine_tuning_epochs=1,
            fine_tuning_lr=1e-6, beam=2,
        ),
    ),
    "cpu": Scale(
        seeds=3,
        words=WordScale(
            vocabulary=20, clips=960, speakers=48, frames=16, size=64, crop=48, patch=12, width=8, channels=32,
            layers=2, subgraphs=4, embedding=8, ffn=64, tcn=32, epochs=12, warmup=3, joint_epochs=5,
            batch_size=8, lr=1e-3, augment=False, smoothing=0.0, joint_rate=1.0,
        ),
        sentences=SentenceScale(
            sentences=480, longest=3, sentence_speakers=48, model_width=64, heads=4, blocks=2, sentence_ffn=128,
            sentence_epochs=60, sentence_batch=8, factor=16.0, warmup_steps=4000, fine_tuning_epochs=1,
            fine_tuning_lr=1e-6, beam=6,
        ),
    ),
    "gpu": Scale(
        seeds=3,
        words=WordScale(
            vocabulary=80, clips=12000, speakers=300, frames=20, size=160, crop=112, patch=32, width=64, channels=512,
            layers=6, subgraphs=8, embedding=64, ffn=2048, tcn=256, epochs=20, warmup=1, joint_epochs=6,
            batch_size=32, lr=3e-4, augment=True, smoothing=0.1, joint_rate=0.1,
        ),
        sentences=SentenceScale(
            sentences=6000, longest=5, sentence_speakers=300, model_width=512, heads=8, blocks=6, sentence_ffn=2048,
            sentence_epochs=60, sentence_batch=32, factor=1.0, warmup_steps=4000, fine_tuning_epochs=1,
            fine_tuning_lr=1e-6, beam=6,
        ),
    ),
}  # fmt: skip

# Row names: the paper's where it has the row, ours in the same manner where it does not. A row of words and one of
# sentences are two systems.
TWO, GLOBAL, LOCAL = "Two Stream", "Only Global", "Only Local"
NO_SEMANTIC, NO_ATTENTION = "Model w/o A^se", "Model w/o A^st"
NO_LMFE, NO_LCFE, NO_ENCODING = "Model w/o LMFE", "Model w/o LCFE", "Model w/o LRLPs SE"
SPARSE = "Model with sparse LRLPs"
MT, WAS, BLSTM, BGRU = "MT", "WAS", "ResNet+BLSTM", "ResNet+BGRU"
FLOW = "Two-Stream 3DCNN+BLSTM"
ATTENTION = "Plain multi-head attention (ours, beyond the paper)"
NO_GRAPH = "No graph (ours, beyond the paper)"
SUMMED = "Subgraphs summed, Eq. 4 (ours, beyond the paper)"
CHIN = "25 points, mouth and chin (ours, beyond the paper)"
MASKED = "Only Global with lip masks (ours, beyond the paper)"
TWO_S, GLOBAL_S, LOCAL_S = f"{TWO}, sentences", f"{GLOBAL}, sentences", f"{LOCAL}, sentences"
WAS_S, CTC, TF = f"{WAS}, sentences", "TM-CTC", "Zhang et al."
MAJORITY = "Always one word (ours, beyond the paper)"
SHUFFLED = "Only Global, labels shuffled (ours, beyond the paper)"
WHOLE = "Only Global, sentences, all layers learn (ours, beyond the paper)"
BLIND = "Sentences guessed from their length (ours, beyond the paper)"
BEYOND = " (ours, beyond the paper)"


def longer(row: str) -> str:
    """A row of one stream that learns as many epochs as two streams do."""
    return f"{row.removesuffix(BEYOND)}, as many epochs as two streams{BEYOND}"


def detected(row: str) -> str:
    """A row whose landmarks err as a detector's do, in training and test (extra G)."""
    return f"{row}, landmarks of a detector{BEYOND}"


def jittered(row: str, jitter: float) -> str:
    """A row whose landmarks are disturbed in the test by so many pixels of a crop of 112 (extra B)."""
    return f"{row}, landmarks ± {jitter:g} px{BEYOND}"


GLOBAL_LONGER, LOCAL_LONGER = longer(GLOBAL), longer(LOCAL)
LONGER = (NO_SEMANTIC, NO_ATTENTION, NO_LMFE, NO_LCFE, NO_ENCODING, SPARSE, ATTENTION, NO_GRAPH)  # extra F
DETECTED = (TWO, GLOBAL, LOCAL)  # extra G
# Standard deviation of the landmarks' error in x and y in extra G, as a share of the aligned picture's side, of which
# 0.44 lie between the middles of the eyes: a mean error of 3.4 % of this distance, 1.8 pixels of a crop of 112. Dlib's
# regression trees err by 4.9 % on HELEN's photos (Kazemi and Sullivan, 2014), by less where a face looks at the camera.
# Frames and points err by themselves, while a detector's errors last for some frames: motion suffers more from ours.
DETECTOR = 0.012
JITTERED = (LOCAL, TWO, GLOBAL)
_JITTERS = (1.0, 2.0, 4.0)

# What a table calls a system, where the table has a name of its own for it.
PRINTED_AS = {
    "4": {TWO_S: TWO, GLOBAL_S: GLOBAL, LOCAL_S: LOCAL},
    "5": {LOCAL: "Full model"},
    "6": {GLOBAL_LONGER: "ResNet+MSTCN", TWO: "Ours (ASST-GCN+MSTCN)"},
    "7": {WAS_S: "WAS", GLOBAL_S: "TM-seq2seq (Baseline)", TWO_S: "Ours"},
}

SYSTEMS: dict[str, str | None] = dict.fromkeys(
    [
        TWO, GLOBAL, LOCAL, NO_SEMANTIC, NO_ATTENTION, NO_LMFE, NO_LCFE, NO_ENCODING, SPARSE, MT, WAS, BLSTM, BGRU,
        FLOW, TWO_S, GLOBAL_S, LOCAL_S, WAS_S, CTC, TF, ATTENTION, NO_GRAPH, SUMMED, CHIN, MAJORITY, SHUFFLED, MASKED,
        GLOBAL_LONGER, LOCAL_LONGER, WHOLE, BLIND,
        *map(longer, LONGER), *map(detected, DETECTED),
        *(jittered(row, jitter) for row in JITTERED for jitter in _JITTERS),
    ]
)  # fmt: skip
