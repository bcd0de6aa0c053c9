"""From yin2020's records to its tables, claims, questions and exactly checkable facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from reprolib import comparisons, report
from reprolib.comparisons import Comparison, Rows, claim, compare, scores, summary, told
from reprolib.models import complexity
from reprolib.models.icnn import ICNN, OriginalICNN, pyramid
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.spatial_transformer import constrain, crop, theta_of_centres
from reprolib.records import Arrays, by_row
from reprolib.statistics import Interval, paired_bootstrap
from reprolib.store import RunStore
from reprolib.studies.yin2020 import settings as s
from reprolib.studies.yin2020.checkpoint import FINE_LABELS
from reprolib.studies.yin2020.plan import trials
from reprolib.studies.yin2020.scores import parsing_metrics, share
from reprolib.trial import Record

# The record's metric behind each printed column; ours are beside the paper's, then those that only we have.
PRINTED = {
    "eyes": "f1_eyes", "brows": "f1_brows", "nose": "f1_nose", "In-mouth": "f1_in_mouth", "Upper-lip": "f1_upper_lip",
    "Lower-lip": "f1_lower_lip", "mouth": "f1_mouth", "overall": "f1_overall", "overall, macro": "f1_overall_macro",
}  # fmt: skip
OWN = {
    "overall": "f1_overall", "overall, macro": "f1_overall_macro", "eyes": "f1_eyes", "brows": "f1_brows",
    "nose": "f1_nose", "mouth": "f1_mouth", "crop recall (%)": "crop_recall",
}  # fmt: skip
# One record under the name that a table gives it.
PRINTED_AS = {
    "3": {s.ICNN_SECOND: s.ICNN, s.STN_SECOND: s.STN, s.END_TO_END_SECOND: s.END_TO_END},
    "4": {s.ORIGINAL: "Zhou et al. [35]"},
}
MARGIN = 1.0  # points of F1 that count as no effect where the paper says "similar" or "limited"


def records_of(parameters: s.Parameters, store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials that these parameters ask for."""
    return by_row(trials(parameters), store)


def tables(parameters: s.Parameters, store: RunStore) -> dict[str, pd.DataFrame]:
    """Every table of the paper with ours beside it, and two that go beyond it ("extra A", "extra B")."""
    records, plan = records_of(parameters, store), trials(parameters)

    def rows(place: str) -> dict[str, list[Record]]:
        printed_as = PRINTED_AS.get(place.removeprefix("table "), {})
        return {
            printed_as.get(name, name): records.get(name, []) for name in dict.fromkeys(t.name for t in plan[place])
        }

    made: dict[str, Callable[[dict], pd.DataFrame]] = {f"table {n}": partial(_beside, n) for n in "234"}
    made["table 1"] = lambda _: _hyper_parameters(parameters)
    made["extra A"] = lambda shown: summary(scores(shown, OWN)).replace(report.NOT_DONE, report.ABSENT)
    made["extra B"] = _times
    return {place: made[place](rows(place)) for place in sorted(made) if place in plan}


def _beside(table: str, rows: Mapping[str, list[Record]]) -> pd.DataFrame:
    ours = report.summarise(scores(rows, PRINTED), by="row").reindex(list(rows))
    beside = report.beside_published(ours, report.published("yin2020", table))
    quoted = [row for row in beside.index if s.SYSTEMS.get(row) is not None]
    done = [row for row in beside.index if rows.get(row)]
    for column in beside.columns[beside.columns.get_level_values(1) == "ours"]:
        beside.loc[quoted, column] = "quoted"
        # "not done" is for what could be done: the paper's network has no class for skin, nor has ours
        of_column = beside.index if column[0] == "skin" else done
        beside.loc[of_column, column] = beside.loc[of_column, column].replace(report.NOT_DONE, report.ABSENT)
    return beside


def _hyper_parameters(parameters: s.Parameters) -> pd.DataFrame:
    """Table 1: the paper's beside those of this profile, which do not depend on the source."""
    scale, paper = s.SCALES[parameters.profile], report.published("yin2020", "1")
    slow, batch = scale.pretrained_rate * scale.end_lr, scale.batch_size
    stages = {
        "pre-training": (scale.coarse_lr, scale.localiser_lr, scale.fine_lr, batch, scale.coarse_epochs),
        "end-to-end": (slow, slow, scale.end_lr, batch, scale.end_epochs),
    }
    columns = ("Lr1", "Lr2", "Lr3", "Batch Size", "Epochs")
    cells = {
        (column, whose): [
            _plain(stages[row.split(", ")[1]][k] if whose == "ours" else paper.get(column, {}).get(row))
            for row in paper.index
        ]
        for k, column in enumerate(columns)
        for whose in ("ours", "paper")
    }
    return pd.DataFrame(cells, index=paper.index)


def _plain(value: float | None) -> str:
    return report.ABSENT if value is None or not np.isfinite(value) else f"{value:g}"


def _times(rows: Mapping[str, list[Record]]) -> pd.DataFrame:
    """Milliseconds a face of both methods, measured in turn in one run, beside the paper's."""
    columns = {"one at a time": "ms", "16 at a time": "ms_batched"}
    lines = [
        {"row": method} | {title: record.cost[f"{kind}_{name}"] for title, name in columns.items()}
        for record in rows[s.TIMING]
        for method, kind in ((s.ICNN, "baseline"), (s.END_TO_END, "proposed"))
    ]
    ours = report.summarise(pd.DataFrame(lines, columns=["row", *columns]), by="row")
    paper = pd.DataFrame({"one at a time": {s.ICNN: 86.0, s.END_TO_END: 80.0}})  # ms, Sec. 3.1
    return report.beside_published(ours, paper).iloc[:-1]


# --- claims ------------------------------------------------------------------------------------------


def _part(column: str, score: str, effect: float) -> Comparison:
    statement = f"The STN's crops alone raise the F1 of the {column}."
    return Comparison(f"stn-{score.replace('_', '-')}", statement, "Table 2", s.STN, s.ICNN, score, effect)


CLAIMS = (
    Comparison("reimplementation", "Batch normalisation, ReLU and a second convolution improve Zhou et al.'s iCNN.",
               "Table 2", s.ICNN, s.ORIGINAL, "overall", 2.0),
    Comparison("stn", "The STN's crops alone, without end-to-end training, raise the overall F1.",
               "Table 2", s.STN, s.ICNN, "overall", 2.8),
    _part("eyes", "eyes", 2.8),
    _part("brows", "brows", 5.5),
    _part("nose", "nose", 2.0),
    _part("inner mouth", "in_mouth", 4.1),
    _part("upper lip", "upper_lip", 2.0),
    _part("lower lip", "lower_lip", 0.4),
    _part("mouth", "mouth", 1.2),
    Comparison("end-to-end", "End-to-end training raises the overall F1 further.",
               "Table 2", s.END_TO_END, s.STN, "overall", 1.7),
    Comparison("whole", "STN-iCNN, trained end to end, beats the two-stage iCNN.",
               "Table 2", s.END_TO_END, s.ICNN, "overall", 4.5),
    Comparison("joint-gradient", "It is the joint gradient: frozen pre-trained stages, trained as long, gain less.",
               "Section 4", s.END_TO_END, s.RECIPE_ONLY, "overall", None, sign=1),
    Comparison("second-stn", "The STN's crops alone raise the overall F1 on another dataset, too.",
               "Table 3", s.STN_SECOND, s.ICNN_SECOND, "overall", 3.6),
    Comparison("second-end-to-end", "End-to-end training raises it further on another dataset, too.",
               "Table 3", s.END_TO_END_SECOND, s.STN_SECOND, "overall", None, sign=1),
    Comparison("input-size", "Twice the input size helps STN-iCNN.",
               "Figure 6", s.END_TO_END, s.END_TO_END_HALF, "overall", None, sign=1),
)  # fmt: skip
MISSING = Comparison(
    "missing-parts", "Of parts that are missing from the picture, the STN's crops hold more than the baseline's.",
    "Figure 5", s.STN, s.ICNN, "recall", None, sign=1, of_a="recall_erased", of_b="recall_erased",
)  # fmt: skip
# Where the paper claims that nothing changes.
NULLS = (
    Comparison("input-size-baseline", "Twice the input size hardly helps the baseline.",
               "Figure 6", s.ICNN, s.ICNN_HALF, "overall", 0.0),
    Comparison("hybrid", "A network trained elsewhere and fine-tuned on few faces is about as good as full training.",
               "Section 3.1", s.HYBRID, s.END_TO_END_SECOND, "overall", 0.0),
)  # fmt: skip
FASTER = Comparison("faster", "The proposed method needs less time for a face than the baseline.",
                    "Section 3.1", s.TIMING, s.TIMING, "ms", 80.0 - 86.0, unit="ms")  # fmt: skip

# What the paper leaves open; answered with intervals, without a verdict.
QUESTIONS = (
    Comparison("stn-alone", "What does the STN alone give, with the same networks in both stages?",
               "extra A", s.STN, s.ICNN, "overall", None),
    Comparison("stn-alone-long", "…and if stage 2 then learns on with the crops of its own cropper?",
               "extra A", s.RECIPE_ONLY, s.LONGER, "overall", None),
    Comparison("recipe", "What does the authors' published recipe give (only stage 2 learns on)?",
               "extra A", s.RECIPE_ONLY, s.STN, "overall", None),
    Comparison("joint", "What does true joint training add to that recipe, at equal steps?",
               "extra A", s.END_TO_END, s.RECIPE_ONLY, "overall", None),
    Comparison("whole-as-long", "Does STN-iCNN, trained end to end, beat the two-stage iCNN trained as long?",
               "extra A", s.END_TO_END, s.LONGER, "overall", None),
    Comparison("joint-macro", "…counted by the macro F1, in which confused parts are errors?",
               "extra A", s.END_TO_END, s.RECIPE_ONLY, "overall_macro", None),
    Comparison("joint-recall", "…and in how much of the parts the crops hold?",
               "extra A", s.END_TO_END, s.RECIPE_ONLY, "recall", None, of_a="crop_recall", of_b="crop_recall"),
    Comparison("kept", "What if joint training keeps the losses of pre-training, against Eq. 22 alone?",
               "extra A", s.KEPT, s.END_TO_END, "overall", None),
    Comparison("kept-recipe", "…against the published recipe?",
               "extra A", s.KEPT, s.RECIPE_ONLY, "overall", None),
    *(
        Comparison(f"rate-{rate:g}", f"Joint training: pre-trained stages at {rate:g} of the rate, against 0.01?",
                   "extra A", s.rate_row(rate), s.END_TO_END, "overall", None)
        for rate in s.OTHER_RATES
    ),
    Comparison("left-to-gain", "What would perfect crops add to the STN's?",
               "extra A", s.TRUE_CROPS, s.STN, "overall", None),
    Comparison("second-stage", "What does the second stage give over the rough mask?",
               "extra A", s.STN, s.STAGE_1, "overall", None),
    Comparison("roi-align", "Is the STN better than RoI-Align at the same places, with stage 2 trained as long?",
               "extra A", s.RECIPE_ONLY, s.ROI_ALIGN, "overall", None),
    Comparison("hard", "Baseline cropper: are weighted centroids better than those of the arg max?",
               "extra A", s.ICNN, s.HARD_LABELS, "overall", None),
    Comparison("isotropic", "Are four free entries of θ (the code) better than three (the text)?",
               "extra A", s.STN, s.ISOTROPIC, "overall", None),
    Comparison("light", "Is ResNet-18 a better localisation network than the light one of 5,172 parameters?",
               "extra A", s.STN, s.LIGHT, "overall", None),
    Comparison("odd", "True places: are odd crops better than even ones?",
               "extra A", s.TRUE_CROPS, s.EVEN_TRUE, "overall", None),
    Comparison("odd-stn", "The STN's places: are odd crops better than even ones?",
               "extra A", s.STN, s.EVEN_STN, "overall", None),
    Comparison("missing-joint", "Missing parts: do the crops hold more of them after joint training than before?",
               "Figure 5", s.END_TO_END, s.STN, "recall", None, of_a="recall_erased", of_b="recall_erased"),
    Comparison("missing-left", "…and of the parts that are left, does the STN hold more than the baseline?",
               "Figure 5", s.STN, s.ICNN, "recall", None, of_a="recall_left", of_b="recall_left"),
    Comparison("missing-f1", "With two parts erased, what does the STN give over the baseline in F1?",
               "Figure 5", s.STN, s.ICNN, "overall", None, of_a="confusion_erased", of_b="confusion_erased"),
    Comparison("missing-f1-joint", "…and joint training over the STN alone?",
               "Figure 5", s.END_TO_END, s.STN, "overall", None, of_a="confusion_erased", of_b="confusion_erased"),
    Comparison("size-icnn", "What does twice the input size give the baseline?",
               "Figure 6", s.ICNN, s.ICNN_HALF, "overall", None),
    Comparison("size-stn", "…the STN before end-to-end training?",
               "Figure 6", s.STN, s.STN_HALF, "overall", None),
    Comparison("size-end", "…the STN after it?",
               "Figure 6", s.END_TO_END, s.END_TO_END_HALF, "overall", None),
    Comparison("hybrid-gain", "Hybrid strategy: what do the few faces give a network trained elsewhere?",
               "Table 3", s.HYBRID, s.UNTUNED, "overall", None),
    Comparison("over-unet", "Is the end-to-end network better than a Unet on the whole face?",
               "Table 4", s.END_TO_END, s.UNET, "overall", None),
    Comparison("over-fcn", "…than an FCN-8s?",
               "Table 4", s.END_TO_END, s.FCN, "overall", None),
)  # fmt: skip


def claims(parameters: s.Parameters, store: RunStore) -> list[report.Claim]:
    """The paper's claims with our paired effects (bootstrap over seeds and people) and verdicts."""
    records, arrays = records_of(parameters, store), Arrays(store)
    found = [(c, _compare(c, records, arrays)) for c in (*CLAIMS, MISSING)] + [(FASTER, _faster(records, arrays))]
    first, second, _ = s.SOURCES[parameters.data]
    alone = first == second  # then full training on the second source is that on the first
    nulls = [replace(c, b=s.END_TO_END) if alone and c.b == s.END_TO_END_SECOND else c for c in NULLS]
    nulls = [_null(c, _compare(c, records, arrays), records, parameters) for c in nulls]
    return [claim(c, effect, records, study="yin2020", parameters=parameters) for c, effect in found] + nulls


def questions(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Our own questions: effect with its 95 % interval, one row each."""
    records, arrays = records_of(parameters, store), Arrays(store)
    return comparisons.answers(
        QUESTIONS, [_compare(c, records, arrays) for c in QUESTIONS], "points of F1 or of crop recall, 95 % interval"
    )


def answers(parameters: s.Parameters, store: RunStore, ids: Collection[str]) -> list[str]:
    """What the named claims and questions came to, one line each, in words (HTML) and numbers from the records."""
    records, arrays = records_of(parameters, store), Arrays(store)
    known = (*CLAIMS, MISSING, *QUESTIONS)
    names = {"recall": "crop recall"}
    return told(ids, known, lambda c: _compare(c, records, arrays), lambda score: names.get(score, "F1 × 100"))


def spread(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Overall F1 of the end-to-end row seed by seed: its authors could not repeat their 0.91 (mean of ten: 0.90)."""
    records = records_of(parameters, store)
    if s.END_TO_END not in records:
        return pd.DataFrame()
    rows = {name: records[name] for name in (s.STN, s.RECIPE_ONLY, s.END_TO_END) if name in records}
    seeds = sorted({r.trial.seed for of_row in rows.values() for r in of_row})
    values = {name: {r.trial.seed: r.metrics["f1_overall"] for r in of_row} for name, of_row in rows.items()}
    table = pd.DataFrame(values).T.reindex(columns=seeds)
    table = table.assign(mean=table.mean(axis=1), sd=table[seeds].std(axis=1, ddof=1))
    table.columns = [*(f"seed {seed}" for seed in seeds), "mean", "standard deviation"]
    return table.map(lambda v: f"{v:.4f}" if np.isfinite(v) else report.ABSENT)


def score_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """From the mean array over faces to a score in percent: "recall" of counted pixels, or a column's F1."""
    if name == "recall":
        return lambda counts: share(counts.sum(-2))  # over parts, or over numbers of erased parts
    return lambda confusion: 100 * parsing_metrics(confusion)[name]


def _compare(c: Comparison, records: Rows, arrays: Arrays) -> Interval | None:
    groups = "people_erased" if c.of_a in ("recall_erased", "recall_left", "confusion_erased") else "people"
    return compare(c, records, arrays, score_of(c.score), groups=groups)


def _null(c: Comparison, found: Interval | None, records: Rows, parameters: s.Parameters) -> report.Claim:
    """A claim that two rows are alike, within ±`MARGIN`."""
    made = claim(replace(c, sign=1), found, records, study="yin2020", parameters=parameters)
    return replace(made, verdict=report.verdict(0.0, found, data=parameters.data, margin=MARGIN))


def _faster(records: Rows, arrays: Arrays) -> Interval | None:
    """Proposed minus baseline, milliseconds a face, one at a time."""
    if s.TIMING not in records:
        return None
    took = arrays(records[s.TIMING], "milliseconds")[..., 0]  # (seeds, repeats, methods)
    return paired_bootstrap(took[..., 1], took[..., 0])


# --- facts -------------------------------------------------------------------------------------------


def fidelity() -> list[report.Fact]:
    """Parameters by the authors' code, free entries of θ, and the arithmetic of patches."""
    count, fine = complexity.parameters, {kind: ICNN(labels) for kind, labels in FINE_LABELS.items()}
    sides = [rung.shape[-1] for rung in pyramid(torch.zeros(1, 3, s.PAPER_PATCH, s.PAPER_PATCH), 4)]
    checked = {
        "parameters, stage 1": ("559,931", count(ICNN(9))),
        "parameters, stage 2, brow, eye or nose": ("545,588", count(fine["nose"])),
        "parameters, stage 2, mouth": ("548,376", count(fine["mouth"])),
        "parameters, stage 2, all four networks": ("2,185,140", sum(map(count, fine.values()))),
        "parameters, ResNet-18 for localisation": ("11,213,796", count(LocalisationNetwork())),
        "parameters, light localisation network": ("5,172", count(LightLocalisation())),
        "parameters, iCNN of Zhou et al., 8 labels": ("447,729", count(OriginalICNN(9))),
        "parameters, iCNN of Zhou et al., 1 label": ("422,732", count(OriginalICNN(2))),
        "parameters, iCNN of Zhou et al., 3 labels": ("428,254", count(OriginalICNN(4))),
        "free entries of a part's θ, authors' code": ("4", free_entries(isotropic=False)),
        "free entries of a part's θ, Eq. 15 in words": ("3", free_entries(isotropic=True)),
        "coarsest row of an 81-pixel patch (pixels)": ("11", sides[-1]),
        "first pixel of an 81-pixel patch, left of its middle (pixels)": ("40.0", offset(81)),
        "first pixel of an 80-pixel patch, left of its middle (pixels)": ("39.5", offset(80)),
        "largest difference of an odd crop from a plain slice (grey levels of 255)": ("0.00", difference(81)),
    }
    return [report.fact("yin2020", quantity, printed, float(ours)) for quantity, (printed, ours) in checked.items()]


def free_entries(*, isotropic: bool) -> int:
    """How many numbers of a part's θ can change independently: the rank of `constrain`."""
    jacobian = torch.autograd.functional.jacobian(
        lambda theta: constrain(theta, isotropic=isotropic), torch.rand(2, 3, dtype=torch.float64)
    )
    return int(torch.linalg.matrix_rank(jacobian.reshape(6, 6)))


def offset(patch: int) -> float:
    """How far left of its middle the first pixel of a patch lies, pixels of the paper's frame (Eq. 21)."""
    frame = (s.PAPER_FRAME, s.PAPER_FRAME)
    centre = torch.full((1, 1, 2), 512.0, dtype=torch.float64)
    theta = theta_of_centres(centre, frame=frame, patch=patch)[0, 0]
    return 512 - float((theta[0, 2] - theta[0, 0] + 1) / 2 * (s.PAPER_FRAME - 1))


def difference(patch: int) -> float:
    """Largest difference between the grid transformer's crop and the same slice of a random picture, of 255."""
    size, middle = (4 * patch, 4 * patch), 2 * patch
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    theta = theta_of_centres(torch.full((1, 1, 2), float(middle)), frame=size, patch=patch)
    first = middle - patch // 2
    plain = image[0, 0, first : first + patch, first : first + patch]
    return 255 * float((crop(image, theta, patch=patch)[0, 0, 0] - plain).abs().max())
