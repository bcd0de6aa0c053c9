"""From yang2023's records to its tables, claims, questions and exactly checkable facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import pandas as pd

from reprolib import comparisons, report
from reprolib.comparisons import Comparison, Rows, claim, compare, scores, summary, told
from reprolib.datasets.mouths import HARD_CASES
from reprolib.records import Arrays, by_row
from reprolib.statistics import Interval, paired_bootstrap
from reprolib.store import RunStore
from reprolib.studies.yang2023 import settings as s
from reprolib.studies.yang2023.data import evenly_spaced
from reprolib.studies.yang2023.networks import counted
from reprolib.studies.yang2023.plan import specification, trials
from reprolib.studies.yang2023.scores import lip_metrics
from reprolib.trial import Record

# The record's metric behind each printed column; parameters and operations follow from the network alone.
MEANS = {"mIoU": "miou", "PA": "pa", "mPA": "mpa"}
COUNTS = ("Params (M)", "FLOPs (G)")
TABLES = {
    "1": {"mIoU": "miou", "PA": "pa"},
    "2": MEANS,
    "3": {name: f"pa_{name}" for name in s.PRINTED_CLASSES},
    "4": {name: f"iou_{name}" for name in s.PRINTED_CLASSES},
    "5": MEANS,
    "6": {"mIoU": "miou", "PA": "pa", "FPS": "images_per_second"},
}
OWN = MEANS | {f"IoU {name}": f"iou_{name}" for name in s.PRINTED_CLASSES}  # the columns of tables of our own
FUZZY = {"mIoU": "miou", "mIoU, fuzzy parts levelled": "miou_levelled"} | {
    f"best membership, stride {stride}": f"membership_{stride}" for stride in (4, 8, 16)
}
# One record under the name that a table gives it.
PRINTED_AS = {"1": {s.PROPOSED: s.grid_row(s.BEST, s.BEST)}, "6": {s.PROPOSED: s.RESNET_34}}


def records_of(parameters: s.Parameters, store: RunStore) -> dict[str, list[Record]]:
    """Row → its finished records, one a seed, of exactly the trials that these parameters ask for."""
    return by_row(trials(parameters), store)


def tables(parameters: s.Parameters, store: RunStore) -> dict[str, pd.DataFrame]:
    """Every table of the paper with ours beside it, and three that go beyond it ("extra A" to "extra C")."""
    records = records_of(parameters, store)
    plan = trials(parameters)

    def rows(place: str) -> dict[str, list[Record]]:
        printed_as = PRINTED_AS.get(place.removeprefix("table "), {})
        names = dict.fromkeys(t.name for t in plan[place])
        return {printed_as.get(name, name): records.get(name, []) for name in names}

    made = {f"table {n}": partial(_beside, parameters, n) for n in TABLES}
    made |= dict.fromkeys(("extra A", "extra B"), lambda shown: summary(scores(shown, OWN)))
    made["extra C"] = lambda shown: summary(scores(shown, FUZZY))
    return {place: make(rows(place)) for place, make in made.items() if place in plan}


def _beside(parameters: s.Parameters, table: str, rows: Mapping[str, list[Record]]) -> pd.DataFrame:
    paper = report.published("yang2023", table)
    ours = report.summarise(scores(rows, TABLES[table]), by="row").reindex(list(rows))
    if COUNTS[0] in paper.columns:
        counts = [counted(**specification(row, parameters.kernels, parameters.nodes)) for row in rows]
        for column, values in zip(COUNTS, zip(*counts, strict=True), strict=True):
            ours[column, "mean"], ours[column, "sd"] = values, np.nan
    return report.beside_published(ours, paper)


# --- claims ------------------------------------------------------------------------------------------


def _rival(row: str, name: str, miou: float) -> Comparison:
    statement = f"The proposed network has a higher mIoU than {name}."
    return Comparison(f"over-{name.lower()}", statement, "Table 5", s.PROPOSED, row, "miou", 74.89 - miou)


CLAIMS = (
    Comparison("rules", "Fuzzy rules alone raise the mIoU of the baseline.",
               "Table 2", s.RULES, s.BASELINE, "miou", 70.17 - 66.95),
    Comparison("reconstruction", "Reconstruction from the rules raises it further.",
               "Table 2", s.RECONSTRUCTION, s.RULES, "miou", 72.20 - 70.17),
    Comparison("flm", "The fuzzy learning module raises the mIoU of the baseline.",
               "Table 2", s.RECONSTRUCTION, s.BASELINE, "miou", 72.20 - 66.95),
    Comparison("graph", "Graph reasoning raises the mIoU of the baseline.",
               "Table 2", s.GRAPH, s.BASELINE, "miou", 67.94 - 66.95),
    Comparison("projection", "Fuzzy projection raises it further.",
               "Table 2", s.PROJECTION, s.GRAPH, "miou", 69.34 - 67.94),
    Comparison("projection-pa", "Fuzzy projection lowers the pixel accuracy.",
               "Table 2", s.PROJECTION, s.GRAPH, "pa", 90.68 - 93.34),
    Comparison("fgr", "Fuzzy graph reasoning raises the mIoU of the baseline.",
               "Table 2", s.PROJECTION, s.BASELINE, "miou", 69.34 - 66.95),
    Comparison("both", "Both modules together raise the mIoU of the baseline.",
               "Table 2", s.PROPOSED, s.BASELINE, "miou", 74.89 - 66.95),
    Comparison("both-flm", "Both together are better than the fuzzy learning module alone.",
               "Table 2", s.PROPOSED, s.RECONSTRUCTION, "miou", 74.89 - 72.20),
    Comparison("both-fgr", "Both together are better than fuzzy graph reasoning alone.",
               "Table 2", s.PROPOSED, s.PROJECTION, "miou", 74.89 - 69.34),
    Comparison("teeth", "Both modules raise the IoU of the teeth.",
               "Table 4", s.PROPOSED, s.BASELINE, "iou_teeth", 54.09 - 51.38),
    Comparison("cavity", "Both modules raise the IoU of the inner cavity.",
               "Table 4", s.PROPOSED, s.BASELINE, "iou_cavity", 66.78 - 33.79),
    _rival(s.UNET, "Unet", 66.72),
    _rival(s.MANET, "MANet", 65.21),
    _rival(s.FPN, "FPN", 62.79),
    _rival(s.PSPNET, "PSPNet", 67.41),
    _rival(s.DEEPLAB, "DeepLabV3", 62.47),
    _rival(s.LSFCNN, "LSFCNN", 68.56),
    _rival(s.GLORE, "GloRe", 64.51),
    _rival(s.DUALSEG, "DualSeg", 64.56),
    _rival(s.SPYGR, "SpyGR", 63.87),
    Comparison("mpa", "The proposed network has a higher mPA than the best of the others, GloRe.",
               "Table 5", s.PROPOSED, s.GLORE, "mpa", 81.78 - 76.70),
    Comparison("fewest", "16/32/64 kernels and nodes beat 8/16/32 of both.",
               "Table 1", s.PROPOSED, s.grid_row(8, 8), "miou", 74.37 - 68.66),
    Comparison("most", "16/32/64 kernels and nodes beat 32/64/128 of both.",
               "Table 1", s.PROPOSED, s.grid_row(32, 32), "miou", 74.37 - 71.46),
    Comparison("resnet-18", "ResNet-34 encodes better than ResNet-18.",
               "Table 6", s.PROPOSED, s.RESNET_18, "miou", 74.9 - 66.2),
    Comparison("mobilenet", "ResNet-34 encodes better than MobileNetV2.",
               "Table 6", s.PROPOSED, s.MOBILENET, "miou", 74.9 - 71.1),
    Comparison("squeezenet", "ResNet-34 encodes better than SqueezeNet.",
               "Table 6", s.PROPOSED, s.SQUEEZENET, "miou", 74.9 - 67.5),
    Comparison("shufflenet", "ResNet-34 encodes better than ShuffleNetV2.",
               "Table 6", s.PROPOSED, s.SHUFFLENET, "miou", 74.9 - 65.2),
)  # fmt: skip

# What the paper leaves open; answered with intervals, without a verdict.
QUESTIONS = (
    Comparison("sampling", "Does drawing the features at random help over their expectation, trained and tested so?",
               "extra A", s.PROPOSED, s.EXPECTED, "miou", None),
    Comparison("inference", "One network: does drawing them also at test time help over the expectation?",
               "Table 2", s.PROPOSED, s.PROPOSED, "miou", None, of_b="confusion_expectation"),
    Comparison("per-pixel", "Is fresh noise per pixel (the authors' code) better than one draw per kernel (Eq. 6)?",
               "extra A", s.PROPOSED, s.PER_KERNEL, "miou", None),
    Comparison("softer", "Is T = 0.05 better than weights that hardly differ (T = 1)?",
               "extra A", s.PROPOSED, s.SOFTER, "miou", None),
    Comparison("harder", "Is T = 0.05 better than nearly MAX and MIN (T = 0.01)?",
               "extra A", s.PROPOSED, s.HARDER, "miou", None),
    Comparison("unshared", "Are two GCN layers better than one used twice, as the text has it?",
               "extra A", s.PROPOSED, s.SHARED, "miou", None),
    Comparison("averaging", "What do scales and flips at test time give?",
               "Table 2", s.PROPOSED, s.PROPOSED, "miou", None, of_b="confusion_single"),
    *(Comparison(f"long-{name}", f"Trained four times as long, {sentence}", "extra B",
                 s.long_row(row), s.long_row(s.BASELINE), "miou", None)
      for name, row, sentence in (("flm", s.RECONSTRUCTION, "does the fuzzy learning module help the baseline?"),
                                  ("fgr", s.PROJECTION, "does fuzzy graph reasoning?"),
                                  ("both", s.PROPOSED, "do both?"))),
    Comparison("slow-both", "…and at a quarter of the rate, do both?", "extra B",
               s.slow_row(s.PROPOSED), s.slow_row(s.BASELINE), "miou", None),
    *(Comparison(f"levelled-{row}", f"One network ({row}): what do its fuzzy parts tell it?", "extra C",
                 row, row, "miou", None, of_b="confusion_levelled")
      for row in s.NORMALISED_ROWS),
    *(Comparison(f"normalised-{row}", f"With reduced features normalised, does {row} help the baseline?", "extra C",
                 s.normalised_row(row), s.BASELINE, "miou", None)
      for row in s.NORMALISED_ROWS),
    Comparison("normalised", "…over the proposed network as it is?", "extra C",
               s.normalised_row(s.PROPOSED), s.PROPOSED, "miou", None),
    *(Comparison(f"levelled-normalised-{row}", f"…and what do the fuzzy parts tell that network ({row})?", "extra C",
                 s.normalised_row(row), s.normalised_row(row), "miou", None, of_b="confusion_levelled")
      for row in s.NORMALISED_ROWS),
    Comparison("upernet", "What does UPerNet, which a user would pick today, give over the proposed network?",
               "Table 5", s.UPERNET, s.PROPOSED, "miou", None),
)  # fmt: skip


def claims(parameters: s.Parameters, store: RunStore) -> list[report.Claim]:
    """The paper's claims with our paired effects (bootstrap over seeds and speakers) and verdicts."""
    records, arrays = records_of(parameters, store), Arrays(store)
    found = [(c, _compare(c, records, arrays)) for c in CLAIMS]
    found += [_robustness(case, records, arrays) for case in ("low light", "distortion")]
    return [claim(c, effect, records, study="yang2023", parameters=parameters) for c, effect in found]


def questions(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Our own questions: effect with its 95 % interval, one row each."""
    records, arrays = records_of(parameters, store), Arrays(store)
    of_grid = [
        Comparison("grid", f"Is 16/32/64 of both better than {row}?", "Table 1", s.PROPOSED, row, "miou", None)
        for kernels in parameters.kernels
        for nodes in parameters.nodes
        if (row := s.grid_row(kernels, nodes)) not in s.SAME_AS
    ]
    asked = (*QUESTIONS, *of_grid)
    return comparisons.answers(asked, [_compare(c, records, arrays) for c in asked], "mIoU, 95 % interval")


def grid_spread(parameters: s.Parameters, store: RunStore) -> pd.DataFrame:
    """Is Table I's optimum more than noise: the spread of its nine means beside the spread of the seeds alone.

    The means of k seeds of nine equal networks would scatter by (spread of the seeds) / √k.
    """
    records = records_of(parameters, store)
    names = dict.fromkeys(t.name for t in trials(parameters).get("table 1", []))
    scores = [[r.metrics["miou"] for r in records[name]] for name in names if len(records.get(name, [])) > 1]
    if len(scores) < 2 or len({len(of_seeds) for of_seeds in scores}) != 1:
        return pd.DataFrame()
    values = np.array(scores)  # (settings, seeds)
    paper = report.published("yang2023", "1")["mIoU"].to_numpy()
    of_seeds = np.sqrt(values.var(1, ddof=1).mean())
    lines = {
        "range of the means": (np.ptp(values.mean(1)), np.ptp(paper)),
        "standard deviation of the means": (values.mean(1).std(ddof=1), paper.std(ddof=1)),
        "…expected from the seeds alone": (of_seeds / np.sqrt(values.shape[1]), np.nan),
    }
    return pd.DataFrame(lines, index=["ours (points of mIoU)", "paper"]).T.map(
        lambda v: f"{v:.2f}" if np.isfinite(v) else report.ABSENT
    )


def answers(parameters: s.Parameters, store: RunStore, ids: Collection[str]) -> list[str]:
    """What the named claims and questions came to, one line each, in words (HTML) and numbers from the records."""
    records, arrays = records_of(parameters, store), Arrays(store)
    return told(ids, (*CLAIMS, *QUESTIONS), lambda c: _compare(c, records, arrays), lambda _: "mIoU")


def _compare(c: Comparison, records: Rows, arrays: Arrays) -> Interval | None:
    return compare(c, records, arrays, score_of(c.score), groups="speakers")


def score_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """From the mean confusion matrix over mouths to a score in percent."""
    return lambda confusion: lip_metrics(confusion)[name]


def _robustness(case: str, records: Rows, arrays: Arrays) -> tuple[Comparison, Interval | None]:
    """Figure 11: a hard case costs less than occlusion does. It prints no number, so the sign alone is tested."""
    c = Comparison(
        f"robust-{case.replace(' ', '-')}",
        f"The proposed network bears {case} better than occlusion (both at the highest severity).",
        "Figure 11", s.PROPOSED, s.PROPOSED, "miou", None, sign=1,
    )  # fmt: skip
    if not records.get(s.PROPOSED):
        return c, None
    hard = arrays(records[s.PROPOSED], "confusion_hard")  # (seeds, cases, severities, mouths, 5, 5)
    here, occluded = (hard[:, HARD_CASES.index(name), -1] for name in (case, "occlusion"))
    speakers = arrays(records[s.PROPOSED][:1], "speakers")[0]
    speakers = speakers[evenly_spaced(len(speakers), hard.shape[3])]
    return c, paired_bootstrap(here, occluded, score_of("miou"), groups=speakers)


# --- facts -------------------------------------------------------------------------------------------

# Cells of Tables I, II, V and VI that the paper's text prints; the two columns are counted by thop.
_FACTS = ("1", "2", "5", "6")


def fidelity() -> list[report.Fact]:
    """Every printed parameter and operation count beside that of our network, by the paper's tool and its rule.

    Encoders whose count is another one also as thop counts them if their layers are registered under two names.
    """
    facts = []
    for table in _FACTS:
        paper = report.published("yang2023", table)
        for row in paper.index:
            if (table != "2" and row == s.PROPOSED) or (table == "6" and row == s.RESNET_34):
                continue  # Table II has it
            facts += _counts(f"Table {table}, {row}", table, paper.loc[row], counted(**specification(row)))
            if table == "6" and row != s.RESNET_18:
                twice = counted(encoder_twice=True, **specification(row))
                facts += _counts(f"Table {table}, {row} with the encoder counted twice", table, paper.loc[row], twice)
    return facts


def _counts(where: str, table: str, paper: pd.Series, counts: tuple[float, float]) -> list[report.Fact]:
    return [
        report.fact("yang2023", f"{where}, {column}", f"{paper[column]:.{places}f}", ours)
        for column, ours, places in zip(COUNTS, counts, _decimals(table), strict=True)
    ]


def _decimals(table: str) -> tuple[int, int]:
    """With how many decimals the paper prints parameters and operations."""
    return (3, 3) if table == "1" else (2, 3)
