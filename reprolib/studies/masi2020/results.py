"""From masi2020's records to its tables, claims, questions and exactly checkable facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from reprolib import comparisons, report
from reprolib.comparisons import Comparison, Rows, claim, compare, scores, summary, told
from reprolib.losses.blobs import one_blob_per_pixel
from reprolib.losses.consensus import consensus_loss
from reprolib.models import complexity, receptive_field
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.records import Arrays, by_row
from reprolib.statistics import Interval, bootstrap
from reprolib.store import RunStore
from reprolib.studies.masi2020 import settings as s
from reprolib.studies.masi2020.plan import ALPHA, BETA, sweep_row, trials
from reprolib.studies.masi2020.scores import cofw_metrics, parts_metrics, superpixel_percentage
from reprolib.trial import Record

# The record's metric behind each printed column.
TABLE_1 = {
    "IOU_face": "iou_face", "acc.": "accuracy", "rec_face": "recall_face", "rec_all": "recall_all",
    "spars.": "sparsity", "spars. (3 classes)": "sparsity_3", "fps": "images_per_second",
}  # fmt: skip
TABLE_2 = {"acc_p": "accuracy", "acc_sp": "accuracy_sp"}
TABLE_3 = {
    "IOU_hair": "iou_hair", "IOU_bg": "iou_bg", "IOU_face": "iou_face", "IOU_mean": "iou_mean",
    "recall_all": "recall_all", "acc_p": "accuracy", "acc_sp": "accuracy_sp", "spars.": "sparsity",
}  # fmt: skip
TABLE_4 = {"F1_face": "f1_face", "F1_hair": "f1_hair", "F1_bg": "f1_bg", "acc_p": "accuracy"}
EXTRA = {name: TABLE_1[name] for name in ("IOU_face", "acc.", "rec_face", "rec_all", "spars.", "spars. (3 classes)")}


def records_of(parameters: s.Parameters, store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials that these parameters ask for."""
    return by_row(trials(parameters), store)


def tables(parameters: s.Parameters, store: RunStore) -> dict[str, pd.DataFrame]:
    """Every table of the paper with ours beside it, and the two that go beyond it ("extra A" to "extra C")."""
    records = records_of(parameters, store)
    plan = trials(parameters)

    def rows(place: str) -> dict[str, list[Record]]:
        names = dict.fromkeys(t.name for t in plan.get(place, []))
        return {name: records[name] for name in names if name in records}

    def ours_of_parts(sizes: Mapping[str, str]) -> dict[str, tuple[list[Record], str]]:
        """Rows of Tables 2 and 4: the paper's "Ours" at both sizes, and the systems that we train beside it."""
        shown = {sizes[suffix]: (records.get(s.PARTS_CONSENSUS_REG, []), suffix) for suffix in ("", "_large")}
        return shown | {name: (records.get(name, []), "") for name in (s.PARTS_FCN, s.PARTS_UNET)}

    two = {"": "Structure via Consensus (Ours), 128 px", "_large": "Structure via Consensus (Ours), 250 px"}
    four = {"": "Struct. via cons. (Ours), 128 px", "_large": "Struct. via cons. (Ours), 250 px"}
    made = {
        "table 1": lambda: _beside("1", {n: (r, "") for n, r in rows("table 1").items()}, TABLE_1),
        "table 2": lambda: _beside("2", ours_of_parts(two), TABLE_2),
        "table 3": lambda: _beside("3", {n: (r, "") for n, r in rows("table 3").items()}, TABLE_3),
        "table 4": lambda: _beside("4", ours_of_parts(four), TABLE_4),
        "extra A": lambda: summary(scores(rows("extra A"), EXTRA)),
        "extra B": lambda: summary(scores(rows("extra B"), EXTRA)),
        "extra C": lambda: summary(scores(rows("extra C"), EXTRA)),
    }
    return {place: make() for place, make in made.items() if place in plan}


def _scores(shown: Mapping[str, tuple[list[Record], str]], columns: Mapping[str, str]) -> pd.DataFrame:
    """One line per trial: the row's name and the printed columns, nan where a system has no such metric."""
    lines = [
        {"row": name} | {column: _metric(record, metric, suffix) for column, metric in columns.items()}
        for name, (records, suffix) in shown.items()
        for record in records
    ]
    return pd.DataFrame(lines, columns=["row", *columns])


def _metric(record: Record, metric: str, suffix: str) -> float:
    """A metric of the record; `suffix` "_large" asks for its value at the annotation's size, where there is one."""
    measured = record.metrics | {"images_per_second": record.cost.get("images_per_second", np.nan)}
    return measured.get(metric + suffix, measured.get(metric, np.nan))


def _beside(table: str, shown: Mapping[str, tuple[list[Record], str]], columns: Mapping[str, str]) -> pd.DataFrame:
    ours = report.summarise(_scores(shown, columns), by="row")
    beside = report.beside_published(ours, report.published("masi2020", table))
    # "not done" is for what could be done: not for rows that are quoted, nor for scores that a finished system has not.
    for column in beside.columns[beside.columns.get_level_values(1) == "ours"]:
        done = [row in ours.index or s.SYSTEMS.get(row) is not None for row in beside.index]
        beside.loc[done, column] = beside.loc[done, column].replace(report.NOT_DONE, report.ABSENT)
    return beside


# --- claims ------------------------------------------------------------------------------------------


SCORES = {
    "iou_face": "face IoU", "recall_all": "mean recall", "sparsity": "sparsity", "iou_hair": "hair IoU",
    "iou_mean": "mean IoU", "accuracy_sp": "superpixel accuracy",
}  # fmt: skip


def _cofw(id, statement, a, b, score, effect, **more) -> Comparison:
    return Comparison(id, statement, "Table 1", a, b, score, effect, **more)


def _parts(id, statement, a, b, score, effect, **more) -> Comparison:
    return Comparison(id, statement, "Table 3", a, b, score, effect, **more)


COMPONENTS = {"unit": "components"}
CLAIMS = (
    _cofw("cofw-iou", "Fine-tuning by consensus gives a higher face IoU than by cross-entropy.",
          s.CONSENSUS_FINETUNED, s.CE_FINETUNED, "iou_face", 85.7 - 84.1),
    _cofw("cofw-recall", "Fine-tuning by consensus gives a higher mean recall than by cross-entropy.",
          s.CONSENSUS_FINETUNED, s.CE_FINETUNED, "recall_all", 89.7 - 89.1),
    _cofw("cofw-sparsity", "Fine-tuning by consensus gives less sparse masks than by cross-entropy.",
          s.CONSENSUS_FINETUNED, s.CE_FINETUNED, "sparsity", 1.6 - 3.8, **COMPONENTS),
    _cofw("ce-hurts-iou", "Fine-tuning by cross-entropy lowers the face IoU of the transferred network.",
          s.CE_FINETUNED, s.CE_TRANSFER, "iou_face", 84.1 - 84.5),
    _cofw("ce-hurts-sparsity", "Fine-tuning by cross-entropy makes the transferred network's masks sparser.",
          s.CE_FINETUNED, s.CE_TRANSFER, "sparsity", 3.8 - 1.0, **COMPONENTS),
    _cofw("regularisation", "Dropout and flips raise the face IoU of the consensus network further.",
          s.CONSENSUS_REGULARISED, s.CONSENSUS_FINETUNED, "iou_face", 87.0 - 85.7),
    _cofw("transfer", "Training on transferred pseudo-labels beats training from scratch on COFW.",
          s.CE_TRANSFER, s.CE_SCRATCH, "iou_face", 84.5 - 76.8),
    _cofw("student-teacher", "The student beats its teacher.",
          s.CE_TRANSFER, s.TEACHER, "iou_face", 84.5 - 81.6),
    _cofw("student-augmented", "The student beats even the teacher trained with occlusion augmentation.",
          s.CE_TRANSFER, s.TEACHER_AUGMENTED, "iou_face", 84.5 - 83.7),
    _parts("parts-hair", "Consensus raises the IoU of hair.",
           s.PARTS_CONSENSUS, s.PARTS_BASELINE, "iou_hair", 72.48 - 68.95),
    _parts("parts-mean", "Consensus raises the mean IoU.",
           s.PARTS_CONSENSUS, s.PARTS_BASELINE, "iou_mean", 85.74 - 83.65),
    _parts("parts-superpixels", "Consensus raises the superpixel accuracy.",
           s.PARTS_CONSENSUS, s.PARTS_BASELINE, "accuracy_sp", 96.61 - 96.15),
    _parts("parts-sparsity", "Consensus gives less sparse masks.",
           s.PARTS_CONSENSUS, s.PARTS_BASELINE, "sparsity", 13.66 - 15.86, **COMPONENTS),
    _parts("parts-superpixels-reg", "Consensus raises the superpixel accuracy also with regularisation.",
           s.PARTS_CONSENSUS_REG, s.PARTS_BASELINE_REG, "accuracy_sp", 96.80 - 96.62),
    # The sentence is Sec. 4.4's, "in all these ablations less sparse"; Table 3 prints a tie, 3.3 and 3.3.
    _parts("parts-sparsity-reg", "Consensus gives less sparse masks also with regularisation (a tie is printed).",
           s.PARTS_CONSENSUS_REG, s.PARTS_BASELINE_REG, "sparsity", 0.0, sign=-1, **COMPONENTS),
)  # fmt: skip

# What the paper leaves open; answered with intervals, without a verdict.
QUESTIONS = (
    Comparison("control", "Does consensus still help when cross-entropy gets the same dropout and flips?",
               "Table 1", s.CONSENSUS_REGULARISED, s.CE_REGULARISED, "iou_face", None),
    Comparison("control-sparsity", "…and are its masks still less sparse?",
               "Table 1", s.CONSENSUS_REGULARISED, s.CE_REGULARISED, "sparsity", None, **COMPONENTS),
    Comparison("pretraining", "Does consensus help in the transfer itself?",
               "Table 1", s.CONSENSUS_TRANSFER, s.CE_TRANSFER, "iou_face", None),
    Comparison("same-start", "From one and the same start, does consensus fine-tune better than cross-entropy?",
               "extra B", s.SAME_START, s.CE_FINETUNED, "iou_face", None),
    Comparison("same-start-sparsity", "…and less sparsely?",
               "extra B", s.SAME_START, s.CE_FINETUNED, "sparsity", None, **COMPONENTS),
    Comparison("balance", "Is it consensus, or only that every blob weighs the same (Eq. 5)?",
               "extra B", s.SAME_START, "Softmax+CE per blob (Eq. 5)", "iou_face", None),
    Comparison("balance-sparsity", "…and for sparsity?",
               "extra B", s.SAME_START, "Softmax+CE per blob (Eq. 5)", "sparsity", None, **COMPONENTS),
    Comparison("smoothing", "Does consensus beat plain smoothing of neighbouring pixels?",
               "extra B", s.SAME_START, "Softmax+CE +smoothing", "iou_face", None),
    Comparison("dice", "Does consensus beat the Dice loss?",
               "extra B", s.SAME_START, "Dice", "iou_face", None),
    Comparison("parts-same-start", "From the same start, does consensus help on Part Labels?",
               "Table 3", s.PARTS_SAME_START, s.PARTS_BASELINE, "iou_mean", None),
    Comparison("parts-same-start-sparsity", "…and for sparsity?",
               "Table 3", s.PARTS_SAME_START, s.PARTS_BASELINE, "sparsity", None, **COMPONENTS),
    Comparison("parts-control", "And with the same dropout and flips?",
               "Table 3", s.PARTS_CONSENSUS_REG, s.PARTS_BASELINE_REG, "iou_mean", None),
    Comparison("long", "Trained four times as long, does consensus fine-tune better than cross-entropy?",
               "extra C", s.long_row(BETA), s.CE_LONG, "iou_face", None),
    Comparison("long-sparsity", "…and less sparsely?",
               "extra C", s.long_row(BETA), s.CE_LONG, "sparsity", None, **COMPONENTS),
    Comparison("long-beta", "Trained four times as long, does a larger β give less sparse masks (20 against 0)?",
               "extra C", s.long_row(s.LONG_BETAS[-1]), s.long_row(s.LONG_BETAS[0]), "sparsity", None, **COMPONENTS),
    Comparison("released", "Eq. 8 as printed against the authors' released form?",
               "extra B", s.SAME_START, "Struct. via con., same start, released form", "iou_face", None),
    Comparison("released-sparsity", "…and for sparsity?",
               "extra B", s.SAME_START, "Struct. via con., same start, released form", "sparsity", None, **COMPONENTS),
    Comparison("scratch-rate", "How much does scratch gain at the pre-training rate, which the paper denies it?",
               "Table 1", s.CE_SCRATCH_FAST, s.CE_SCRATCH, "iou_face", None),
    Comparison("unet", "What does a Unet give over the paper's network, both from scratch at the pre-training rate?",
               "Table 1", s.COFW_UNET, s.CE_SCRATCH_FAST, "iou_face", None),
)  # fmt: skip


def claims(parameters: s.Parameters, store: RunStore) -> list[report.Claim]:
    """The paper's claims with our paired effects (bootstrap over seeds and test faces) and verdicts."""
    records = records_of(parameters, store)
    arrays = Arrays(store)
    # On public data teachers learn from the test's own kind of pictures, the student from others: nothing to compare.
    asked = [c for c in CLAIMS if parameters.data != "public" or not {c.a, c.b} & {s.TEACHER, s.TEACHER_AUGMENTED}]
    made = [
        claim(c, _compare(c, records, arrays), records, study="masi2020", parameters=parameters)
        for c in (*asked, _beta_comparison(parameters))
    ]
    return [*made, _speed_claim(parameters, records)]


def questions(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Our own questions: effect with its 95 % interval, one row each."""
    records, arrays = records_of(parameters, store), Arrays(store)
    table = comparisons.answers(QUESTIONS, [_compare(c, records, arrays) for c in QUESTIONS], "effect, 95 % interval")
    table.insert(0, "score", [c.score for c in QUESTIONS])
    return table


def answers(parameters: s.Parameters, store: RunStore, ids: Collection[str]) -> list[str]:
    """What the named claims and questions came to, one line each, in words (HTML) and numbers from the records."""
    records, arrays = records_of(parameters, store), Arrays(store)
    known = (*CLAIMS, *QUESTIONS, _beta_comparison(parameters))
    return told(ids, known, lambda c: _compare(c, records, arrays), SCORES.__getitem__)


def _compare(c: Comparison, records: Mapping[str, list[Record]], arrays: Arrays) -> Interval | None:
    """The paired effect a − b over the seeds that both have; None where one of them was not run."""
    name, statistic = _statistic(c)
    people = people_of("people_parts" if c.place == "Table 3" else "people_cofw", records, arrays)
    return compare(replace(c, of_a=name, of_b=name), records, arrays, statistic, groups=people)


def people_of(array: str, records: Rows, arrays: Arrays) -> np.ndarray | None:
    """Who is on each test face ("people_cofw") or picture ("people_parts"), int (N,); None where it is not recorded."""
    return arrays(records[s.EVERYTHING][:1], array)[0] if records.get(s.EVERYTHING) else None


def _statistic(c: Comparison) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Which per-face array a score comes from, and how its mean over faces becomes the score."""
    if c.score == "sparsity":
        return "sparsity", lambda mean: mean
    if c.place != "Table 3":
        return "confusion", lambda mean: cofw_metrics(mean)[c.score]
    if c.score == "accuracy_sp":
        return "superpixels", superpixel_percentage
    return "confusion", lambda mean: parts_metrics(mean)[c.score]


def _beta_comparison(parameters: s.Parameters) -> Comparison:
    """Figure 4b: a larger β lowers the sparsity. It prints no number, so the sign alone is tested."""
    betas = sorted(parameters.betas)
    largest, smallest = (sweep_row(ALPHA, beta) for beta in (betas[-1], betas[0]))
    statement = f"A larger β gives less sparse masks (β = {betas[-1]:g} against β = {betas[0]:g})."
    return Comparison(
        "beta-sparsity", statement, "Figure 4", largest, smallest, "sparsity", None, sign=-1, **COMPONENTS
    )


def _speed_claim(parameters: s.Parameters, records: Mapping[str, list[Record]]) -> report.Claim:
    """More than 300 masks a second: tested on a GPU that no other trial shared, with the paper's network and size."""
    speeds = [
        r.cost["images_per_second"]
        for r in records.get(s.CONSENSUS_FINETUNED, [])
        if r.cost["device"] == "cuda" and r.cost.get("workers", 1) == 1  # old records do not say
        if r.trial.params["width"] == 64 and r.trial.params["size"] == 128
    ]
    above = bootstrap(np.array(speeds)[None] - 300.0) if speeds else None
    return report.Claim(
        study="masi2020", id="speed", statement="The network predicts more than 300 masks a second.", place="Table 1",
        published_effect=None, unit="masks a second above 300", data=parameters.data, profile=parameters.profile,
        effect=above.point if above else None, low=above.low if above else None, high=above.high if above else None,
        seeds=len(speeds), verdict=report.verdict(None, above, data=parameters.data, sign=1),
    )  # fmt: skip


# --- facts -------------------------------------------------------------------------------------------


def fidelity() -> list[report.Fact]:
    """Numbers that follow from the method alone: parameters, operations, receptive field, the loss's limit case."""
    model = EncoderDecoder().eval()
    path = receptive_field.longest_path(model)
    encoded = model.encoder(torch.zeros(1, 3, 128, 128))
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randint(0, 3, (2, 8, 8))
    pixels = torch.from_numpy(one_blob_per_pixel(labels.numpy()))
    limit = consensus_loss(logits, labels, pixels, alpha=ALPHA, beta=BETA) / F.cross_entropy(logits, labels)

    def fact(quantity: str, published: str, ours: float) -> report.Fact:
        return report.fact("masi2020", quantity, published, ours)

    return [
        fact("parameters of the encoder-decoder (released model)", "4,524,323", complexity.parameters(model)),
        fact("multiply-accumulates at 128 px, in units of 10⁹ (released model)", "7.0",
             complexity.macs(model, (1, 3, 128, 128)) / 1e9),
        fact("receptive field of a classified pixel, px (Sec. 3.2)", "121", max(receptive_field.by_arithmetic(path))),
        fact("loss with every pixel a blob, over α × cross-entropy (Sec. 3.3)", "1.000000", float(limit) / ALPHA),
        fact("channels of the encoded image (Sec. 3.2)", "256", encoded.shape[1]),
        fact("side of the encoded image at 128 px (Sec. 3.2)", "32", encoded.shape[2]),
    ]  # fmt: skip
