"""From wang2018's records to its tables, claims, questions and exactly checkable facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats

from reprolib import comparisons, report
from reprolib.comparisons import Comparison, Rows, claim, compare, planned, scores, summary, told
from reprolib.models import complexity
from reprolib.models.conv_lstm import ConvLSTM, ConvLSTMFCN
from reprolib.models.fcn_resnet50 import FCNResNet50, keras_parameters, output_sizes
from reprolib.models.fcn_vgg16 import FCNVGG16
from reprolib.records import Arrays, by_row
from reprolib.statistics import Interval, paired_bootstrap
from reprolib.store import RunStore
from reprolib.studies.wang2018 import settings as s
from reprolib.studies.wang2018.plan import trials
from reprolib.studies.wang2018.scores import mask_metrics
from reprolib.trial import Record

SPEED = {"frames/s": "images_per_second"}  # the paper prints none
EYES = {"Eyes": "iou_eyes", "BG": "iou_background"}
MOUTH = {name: s.PRINTED[name] for name in ("mIoU", "OMT", "IMT", "BG")}
TABLES = {
    "2": s.PRINTED | SPEED, "3": s.PRINTED, "5": s.PRINTED, "6": s.PRINTED, "7": EYES, "8": MOUTH,
    "9": s.PRINTED,
}  # fmt: skip
GROUPS = 10  # of test clips, in the paper's test (Sec. 4.2)


def records_of(parameters: s.Parameters, store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials that these parameters ask for."""
    return by_row(trials(parameters), store)


def tables(parameters: s.Parameters, store: RunStore) -> dict[str, pd.DataFrame]:
    """Every table of the paper with ours beside it, and four that go beyond it ("extra A" to "extra D")."""
    records, plan = records_of(parameters, store), trials(parameters)

    def rows(place: str) -> dict[str, list[Record]]:
        return {name: records.get(name, []) for name in dict.fromkeys(t.name for t in plan[place])}

    made: dict[str, Callable[[dict], pd.DataFrame]] = {f"table {n}": partial(_beside, n) for n in TABLES}
    made["table 4"] = partial(_beside_over_time, Arrays(store))
    made |= dict.fromkeys(("extra A", "extra B", "extra C", "extra D"), lambda shown: summary(scores(shown, s.PRINTED)))
    return {place: make(rows(place)) for place, make in made.items() if place in plan}


def _beside(table: str, rows: Mapping[str, list[Record]]) -> pd.DataFrame:
    if table == "3":
        rows = {name: of_seeds for name, of_seeds in rows.items() if name != s.FCN}
    ours = report.summarise(scores(_printed(table, rows), TABLES[table]), by="row")
    return report.beside_published(ours.reindex(list(_printed(table, rows))), report.published("wang2018", table))


def _printed(table: str, rows: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    names = s.PRINTED_AS.get(table, {})
    return {names.get(name, name): of_seeds for name, of_seeds in rows.items()}


def _beside_over_time(arrays: Arrays, rows: Mapping[str, list[Record]]) -> pd.DataFrame:
    """Table 4: how much better than the baseline each of the five frames is, mean over the frames' own mIoU."""
    lines = []
    for name, of_seeds in rows.items():
        for record in of_seeds if name != s.FCN else []:
            of_seed = [r for r in rows[s.FCN] if r.trial.seed == record.trial.seed]
            if of_seed:
                gains = gain_over_time(arrays([record], "confusion")[0], arrays(of_seed, "confusion")[0],
                                       arrays([record], "times")[0])  # fmt: skip
                lines.append({"row": s.PRINTED_AS["4"][name]} | {f"T{t + 1}": g for t, g in enumerate(gains)})
    columns = ["row", *(f"T{t + 1}" for t in range(s.STEPS))]
    ours = report.summarise(pd.DataFrame(lines, columns=columns), by="row")
    return report.beside_published(ours.reindex(s.PRINTED_AS["4"].values()), report.published("wang2018", "4"))


def missed(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Systems that call no pixel of the test frames by some class: in how many of the trained networks each is missed.

    Their mIoU says which of the other classes they are better at, and nothing on what was missed.
    """
    records, arrays = records_of(parameters, store), Arrays(store)
    lines = {}
    for name, of_seeds in records.items():
        if of_seeds[0].trial.params["region"] == "face":
            called = _called(of_seeds, arrays)
            if (called == 0).any():
                lines[name] = {
                    column: f"{(called[:, k] == 0).sum()} of {len(called)}"
                    for k, column in enumerate(("skin", "eyes", "lips", "inner mouth"))
                }
    return pd.DataFrame(lines).T


def _called(of_seeds: Sequence[Record], arrays: Arrays) -> np.ndarray:
    """How many test pixels each network calls by each class but the background: int (seeds, classes)."""
    return arrays(of_seeds, "confusion").sum((1, 2))[:, 1:]


def gain_over_time(ours: np.ndarray, baseline: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean over frames of the gain in a frame's mIoU, for each place in a clip: (T,), percent.

    ours, baseline: (frames, 5, 5); times: int (frames,), the place of each frame in its clip.
    """
    gain = mask_metrics(ours)["miou"] - mask_metrics(baseline)["miou"]
    return np.array([gain[(times == t) & np.isfinite(gain)].mean() for t in range(s.STEPS)])


# --- claims ------------------------------------------------------------------------------------------

_PRIMARY = s.primary(s.PRIMARY_GAMMA)


def _ours(id: str, statement: str, place: str, a: str, b: str, effect: float | None, score: str = "miou") -> Comparison:
    return Comparison(id, statement, place, a, b, score, effect)


CLAIMS = (
    _ours("smoothing", "Smoothing the baseline's masks over time lowers the mIoU a little.",
          "Table 2", s.SMOOTHED, s.FCN, 54.21 - 54.50),
    _ours("tracker", "The face tracker is better than the baseline FCN.",
          "Table 2", s.TRACKER, s.FCN, 60.09 - 54.50),
    _ours("deeplab", "DeepLab-V2 is better than the baseline FCN.", "Table 2", s.DEEPLAB, s.FCN, 58.66 - 54.50),
    _ours("conv-lstm", "A ConvLSTM for the classifier, all else frozen, raises the mIoU.",
          "Table 3", s.CROSS_ENTROPY, s.FCN, 55.53 - 54.50),
    _ours("adam", "Adam trains it better than RMSprop.", "Table 3", s.CROSS_ENTROPY, s.RMSPROP, 55.53 - 54.93),
    _ours("iou-loss", "IoU loss is better than cross-entropy.", "Table 5", s.IOU, s.CROSS_ENTROPY, 57.22 - 55.53),
    _ours("hinge", "Segmentation loss (Eq. 8) is better than IoU loss.", "Table 5", s.HINGE, s.IOU, 58.10 - 57.22),
    _ours("linear", "Segmentation loss (Eq. 9, g = 0) is better than IoU loss.",
          "Table 5", s.LINEAR, s.IOU, 59.04 - 57.22),
    _ours("linear-ce", "Segmentation loss (Eq. 9, g = 0) is better than cross-entropy.",
          "Table 5", s.LINEAR, s.CROSS_ENTROPY, 59.04 - 55.53),
    _ours("forms", "Eq. 9 is a better form than Eq. 8.", "Table 5", s.LINEAR, s.HINGE, 59.04 - 58.10),
    _ours("margin", "g = 0 is better than g = 0.1.", "Table 5", s.LINEAR, s.LINEAR_MARGIN, 59.04 - 58.39),
    _ours("linear-inner", "Segmentation loss helps the inner mouth over cross-entropy.",
          "Table 5", s.LINEAR, s.CROSS_ENTROPY, 36.46 - 27.78, "iou_inner"),
    _ours("all-layers", "Training all layers (γ = 0.05) is better than freezing them.",
          "Table 6", _PRIMARY, s.LINEAR, 60.04 - 59.04),
    _ours("eye-model", "A ConvLSTM-FCN is better than a baseline FCN on crops of the eyes (γ = 0.02).",
          "Table 7", s.zoomed("eyes", 0.02), s.zoomed("eyes", None), 59.01 - 54.29, "iou_eyes"),
    _ours("eye-model-fast", "…but not at γ = 0.1.",
          "Table 7", s.zoomed("eyes", 0.1), s.zoomed("eyes", None), 51.82 - 54.29, "iou_eyes"),
    _ours("mouth-model", "A ConvLSTM-FCN is better than a baseline FCN on crops of the mouth (γ = 0.02).",
          "Table 8", s.zoomed("mouth", 0.02), s.zoomed("mouth", None), 52.17 - 49.77),
    _ours("zoom", "Zooming in on eyes and mouth raises the mIoU of the primary model.",
          "Table 9", s.COMBINED, _PRIMARY, 63.76 - 60.04),
    _ours("zoom-eyes", "…of the eyes.", "Table 9", s.COMBINED, _PRIMARY, 57.89 - 54.89, "iou_eyes"),
    _ours("zoom-inner", "…of the inner mouth.", "Table 9", s.COMBINED, _PRIMARY, 43.79 - 35.86, "iou_inner"),
    _ours("system", "The full system is better than the baseline FCN.", "Table 9", s.COMBINED, s.FCN, 63.76 - 54.50),
    _ours("system-tracker", "The full system is better than the face tracker.",
          "Table 9", s.COMBINED, s.TRACKER, 63.76 - 60.09),
)  # fmt: skip

# What the paper leaves open; answered with intervals, without a verdict.
QUESTIONS = (
    _ours("motion-primary", "Is it time? The primary model on clips against the same network on still frames.",
          "extra B", _PRIMARY, s.PRIMARY_STILL, None),
    _ours("motion-linear", "…with all other layers frozen.", "extra B", s.LINEAR, s.LINEAR_STILL, None),
    _ours("motion-ce", "…and cross-entropy.", "extra B", s.CROSS_ENTROPY, s.CE_STILL, None),
    _ours("time-primary", "Is it training with a memory? The primary model against one that saw frames one by one.",
          "extra B", _PRIMARY, s.PRIMARY_ALONE, None),
    _ours("time-linear", "…with all other layers frozen.", "extra B", s.LINEAR, s.LINEAR_ALONE, None),
    _ours("time-ce", "…and cross-entropy.", "extra B", s.CROSS_ENTROPY, s.CE_ALONE, None),
    _ours("loss-classifier", "Is it the loss? Segmentation loss against cross-entropy, both in a new 1×1 classifier.",
          "extra B", s.LINEAR_CLASSIFIER, s.CE_CLASSIFIER, None),
    _ours("loss-baseline", "Segmentation loss in a ConvLSTM, all else frozen, against the baseline FCN.",
          "extra B", s.LINEAR, s.FCN, None),
    _ours("loss", "…against cross-entropy, both in a ConvLSTM on frames one by one.",
          "extra B", s.LINEAR_ALONE, s.CE_ALONE, None),
    _ours("layer", "Is it the new layer? A ConvLSTM on frames one by one against a new 1×1 classifier, seg loss.",
          "extra B", s.LINEAR_ALONE, s.LINEAR_CLASSIFIER, None),
    _ours("layer-ce", "…cross-entropy.", "extra B", s.CE_ALONE, s.CE_CLASSIFIER, None),
    _ours("zoom-alone", "Is it the zoom? Baseline FCNs that look closer against the baseline FCN alone.",
          "extra D", s.FCN_ZOOM, s.FCN, None),
    _ours("zoom-rest", "What does the rest of the system give? It against the baseline FCNs that look closer.",
          "extra D", s.COMBINED, s.FCN_ZOOM, None),
    _ours("zoom-parts", "Primary model: who should look closer, ConvLSTM-FCNs rather than baseline FCNs?",
          "extra D", s.COMBINED, s.PRIMARY_FCN_ZOOM, None),
    _ours("mean-mask", "What does looking give at all? The baseline FCN against the mean mask.",
          "Table 2", s.FCN, s.MEAN_MASK, None),
    _ours("dice", "Does segmentation loss beat the Dice loss?", "Table 5", s.LINEAR, s.DICE, None),
    _ours("lovasz", "Does segmentation loss beat the Lovász loss?", "Table 5", s.LINEAR, s.LOVASZ, None),
    _ours("tanh", "What does the ConvLSTM's tanh, which bounds the scores, cost cross-entropy?",
          "extra A", s.CROSS_ENTROPY, s.CE_UNBOUNDED, None),
    _ours("tanh-linear", "…and segmentation loss?", "extra A", s.LINEAR, s.UNBOUNDED, None),
    _ours("tanh-losses", "…segmentation loss over IoU loss without it?", "extra A", s.UNBOUNDED, s.IOU_UNBOUNDED, None),
    _ours("hard", "Weights from hard counts against soft ones?", "extra A", s.LINEAR, s.SOFT, None),
    _ours("probabilities", "Eq. 9 of probabilities against Eq. 9 of scores?", "extra A", s.LINEAR, s.SCORES, None),
    _ours("hard-scores", "Of scores: weights from hard counts against soft ones?",
          "extra A", s.SCORES, s.SOFT_SCORES, None),
    _ours("through", "Of soft counts: constant weights (Eq. 5) against weights with a gradient?",
          "extra A", s.SOFT, s.THROUGH, None),
    _ours("per-clip", "Weights of the whole batch against those of each clip?", "extra A", s.LINEAR, s.PER_CLIP, None),
    _ours("peepholes", "What do the peepholes of Eq. 1 give?", "extra A", s.PEEPHOLES, s.LINEAR, None),
    _ours("input", "What does it give to scale the ConvLSTM's input by 0.1?", "extra A", s.LINEAR, s.UNSCALED, None),
    _ours("input-ce", "…to cross-entropy?", "extra A", s.CROSS_ENTROPY, s.CE_UNSCALED, None),
    _ours("input-iou", "…to IoU loss?", "extra A", s.IOU, s.IOU_UNSCALED, None),
    *(_ours(f"long {row}", f"{row}: what do four times as many epochs give?", "extra C", s.long_row(row), row, None)
      for row in s.LONG_ROWS),
    *(_ours(f"long-linear {name}", f"Four times as long, does segmentation loss beat {name}?",
            "extra C", s.long_row(s.LINEAR), s.long_row(row), None)
      for name, row in {"cross-entropy": s.CROSS_ENTROPY, "IoU loss": s.IOU, "Dice loss": s.DICE}.items()),
    _ours("unet", "What does a Unet of today, trained on frames as long as the baseline, give over the full system?",
          "Table 2", s.UNET, s.COMBINED, None),
    _ours("unet-smoothing", "Does smoothing over time help the Unet?", "Table 2", s.UNET_SMOOTHED, s.UNET, None),
)  # fmt: skip


def claims(parameters: s.Parameters, store: RunStore) -> list[report.Claim]:
    """The paper's claims with our paired effects (bootstrap over seeds and people) and verdicts.

    A claim is not judged where one of its systems has not learned: with no seed does it call a pixel by some class.
    """
    records, arrays = records_of(parameters, store), Arrays(store)
    asked = CLAIMS
    if parameters.data == "public":  # there dlib's landmarks are the annotation, and no rival
        asked = tuple(c for c in CLAIMS if s.TRACKER not in (c.a, c.b))
    found = [(c, _compare(c, records, arrays)) for c in asked]
    found.append(_later_frames(records, arrays))
    unlearned = {name for name, of_seeds in records.items() if (_called(of_seeds, arrays) == 0).all(0).any()}
    return [
        claim(c, effect, records, study="wang2018", parameters=parameters, comparable=not unlearned & {c.a, c.b})
        for c, effect in found
    ]


def questions(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Our own questions: effect with its 95 % interval, one row each."""
    records, arrays = records_of(parameters, store), Arrays(store)
    of_gammas = [
        _ours(f"gamma {gamma:g}", f"Does γ matter? {gamma:g} against {s.PRIMARY_GAMMA:g}.",
              "Table 6", s.primary(gamma), _PRIMARY, None)
        for gamma in parameters.gammas
        if gamma != s.PRIMARY_GAMMA
    ]  # fmt: skip
    asked = planned((*QUESTIONS, *of_gammas), trials, parameters)
    return comparisons.answers(asked, [_compare(c, records, arrays) for c in asked], "mIoU, 95 % interval")


def answers(parameters: s.Parameters, store: RunStore, ids: Collection[str]) -> list[str]:
    """What the named claims and questions came to, one line each, in words (HTML) and numbers from the records."""
    records, arrays = records_of(parameters, store), Arrays(store)
    return told(ids, (*CLAIMS, *QUESTIONS), lambda c: _compare(c, records, arrays), lambda _: "mIoU")


def _compare(c: Comparison, records: Rows, arrays: Arrays) -> Interval | None:
    return compare(c, records, arrays, score_of(c.score), groups="subjects")


def score_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """From the mean confusion matrix over frames to a score in percent."""
    return lambda confusion: mask_metrics(confusion)[name]


def _later_frames(records: Rows, arrays: Arrays) -> tuple[Comparison, Interval | None]:
    """Table 4: frames 2–5 of a clip gain more from the ConvLSTM than frame 1 does."""
    c = _ours("later-frames", "Frames 2 to 5 gain more from the ConvLSTM than the first does.",
              "Table 4", s.CROSS_ENTROPY, s.FCN, np.mean([0.964, 0.995, 0.950, 0.981]) - 0.113)  # fmt: skip
    seeds = comparisons.common_seeds(c, records)
    if not seeds:
        return c, None
    a, b = ([r for r in records[name] if r.trial.seed in seeds] for name in (c.a, c.b))
    frames = mask_metrics(arrays(a, "confusion"))["miou"] - mask_metrics(arrays(b, "confusion"))["miou"]
    gains = np.nan_to_num(frames).reshape(len(a), -1, s.STEPS)  # (seeds, windows, T)
    subjects = arrays(a[:1], "subjects")[0].reshape(-1, s.STEPS)[:, 0]
    return c, paired_bootstrap(gains[..., 1:].mean(-1), gains[..., 0], groups=subjects)


# --- significance, people, difficulty -----------------------------------------------------------------


def significance(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """The paper's test against the baseline beside a better one, one row a system.

    The paper's (Sec. 4.2): ten groups of test clips, p < 0.05; it names no test, we show the two-sided paired t-test
    and the unpaired one on groups' mIoU, averaged over the seeds. The better one: effect with its 95 % interval by a
    paired bootstrap over people and seeds. Some marks of the paper mean "different", not "better".
    """
    records, arrays = records_of(parameters, store), Arrays(store)
    if s.FCN not in records:
        return pd.DataFrame()
    lines = {}
    for name, of_seeds in records.items():
        if name == s.FCN or of_seeds[0].trial.params["region"] != "face":
            continue
        clips = arrays(of_seeds[:1], "clips")[0]
        ours, baseline = (_group_scores(arrays(r, "confusion"), clips) for r in (of_seeds, records[s.FCN]))
        effect = _compare(_ours("", "", "", name, s.FCN, None), records, arrays)
        lines[name] = {
            "paired t-test, p": f"{stats.ttest_rel(ours, baseline).pvalue:.3f}",
            "unpaired t-test, p": f"{stats.ttest_ind(ours, baseline).pvalue:.3f}",
            "mIoU over the baseline, 95 % interval": comparisons.effect(effect, "points"),
        }
    return pd.DataFrame(lines).T


def _group_scores(confusion: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """mIoU of each of ten groups of clips (fewer if there are fewer clips), mean over the seeds.

    confusion: (seeds, frames, K, K); clips: int (frames,).
    """
    groups = np.array_split(np.unique(clips), min(GROUPS, len(np.unique(clips))))
    pooled = np.stack([confusion[:, np.isin(clips, group)].sum(1) for group in groups], axis=1)
    return mask_metrics(pooled)["miou"].mean(0)


def by_person(of_seeds: Sequence[Record], arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the mIoU of each person's frames, over all seeds (Fig. 6)."""
    frames = mask_metrics(arrays(of_seeds, "confusion"))["miou"]
    subjects = arrays(of_seeds[:1], "subjects")[0]
    people = [frames[:, subjects == person] for person in np.unique(subjects)]
    return np.array([np.nanmean(one) for one in people]), np.array([np.nanstd(one) for one in people])


def better_people(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """On how many test people a system is better than the baseline (the paper: on all), and the most it loses on one.

    From the means of Figure 6; one row a system.
    """
    records, arrays = records_of(parameters, store), Arrays(store)
    if s.FCN not in records:
        return pd.DataFrame()
    baseline, _ = by_person(records[s.FCN], arrays)
    lines = {}
    for name in (s.LINEAR, _PRIMARY, s.COMBINED):
        if name in records:
            gain = by_person(records[name], arrays)[0] - baseline
            lines[name] = {"better on": f"{(gain > 0).sum()} of {len(gain)}", "least gain": f"{gain.min():+.1f}"}
    return pd.DataFrame(lines).T.replace("-", "−", regex=True)


def by_category(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """mIoU in each of the three categories of difficulty, mean over the seeds, one row a system."""
    records, arrays = records_of(parameters, store), Arrays(store)
    lines = {}
    for name, of_seeds in records.items():
        if of_seeds[0].trial.params["region"] == "face":
            confusion, category = arrays(of_seeds, "confusion"), arrays(of_seeds[:1], "categories")[0]
            of_category = {c: confusion[:, category == c].sum(1) for c in np.unique(category)}
            lines[name] = {
                f"category {c}": f"{mask_metrics(pooled)['miou'].mean():.2f}" for c, pooled in of_category.items()
            }
    return pd.DataFrame(lines).T


# --- facts -------------------------------------------------------------------------------------------


def fidelity() -> list[report.Fact]:
    """Sizes (Table 1) and parameters (the public base code, five classes) of the networks at the paper's width."""
    with torch.device("meta"):
        network, vgg = FCNResNet50(), FCNVGG16()
        layer, converted = ConvLSTM(2048, 5), ConvLSTMFCN(network)
    sizes = output_sizes(network, 320)
    rows = (("Conv1", "160"), ("Conv2_x", "79"), ("Conv3_x", "40"), ("Conv4_x", "20"), ("Conv5_x", "20"),
            ("Conv6", "20"), ("UpSampling", "320"))  # fmt: skip
    published = {
        "trainable parameters of FCN-ResNet50": ("23,544,837", complexity.parameters(network)),
        "…and BatchNorm statistics": ("23,597,957", keras_parameters(network)),
        "parameters of its classifier": ("10,245", complexity.parameters(network.classifier)),
        "parameters of the ConvLSTM layer": ("41,080", complexity.parameters(layer)),
        "parameters of ConvLSTM-FCN, by Keras's count": ("23,628,792", keras_parameters(converted)),
        "parameters of FCN-VGG16": ("134,281,029", complexity.parameters(vgg)),
    }
    return [
        *(report.fact("wang2018", f"Table 1, side of the output of {name}", side, sizes[name]) for name, side in rows),
        *(report.fact("wang2018", quantity, stated, ours) for quantity, (stated, ours) in published.items()),
    ]
