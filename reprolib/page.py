"""What a notebook shows of a study: tables and figures, saved under results/ and embedded small enough for a page."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

from reprolib import figures, report, status, studies, tuning, verdicts
from reprolib.parameters import DATA, PROFILES, StudyParameters
from reprolib.results import Results
from reprolib.runner import run
from reprolib.statistics import Effect
from reprolib.store import RunStore
from reprolib.study import Judged, Study
from reprolib.trial import Record

EMBEDDED_WIDTH = 640  # pixels, about what a page shows; a page may have 2 MB in all
WIDE = 6.0  # inches, more than a phone shows at a readable size


def show_figure(figure: Figure, *, path: Path, watermark: bool, alt: str) -> None:
    """Save a figure (`path` ends in .svg or .png) and display it with `alt`, which says what it shows.

    On a phone a wide figure scrolls sideways in a frame of its own, so that its text can be read.
    Images become JPEG to keep the page light. They are part of the HTML, because MyST-NB drops the description of an
    image that is an output by itself.
    """
    figures.save_figure(figure, path, watermark=watermark)
    kind, content = ("svg+xml", path.read_bytes()) if path.suffix == ".svg" else ("jpeg", _as_jpeg(path))
    data = base64.b64encode(content).decode()
    image = f'<img src="data:image/{kind};base64,{data}" alt="{escape(alt)}">'
    if figure.get_figwidth() >= WIDE:
        image = f'<div class="frame wide" tabindex="0" role="region" aria-label="{escape(alt)}">{image}</div>'
    display(HTML(image))


def _as_jpeg(path: Path) -> bytes:
    image = Image.open(path).convert("RGB")
    image.thumbnail((EMBEDDED_WIDTH, 4 * EMBEDDED_WIDTH))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=60, optimize=True)
    return buffer.getvalue()


def made_from(records: list[Record]) -> str:
    """The sentence that names the data, profile, seeds and device of a table or figure."""
    if not records:
        return "Not run: no trial is recorded."

    def all_of(values) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    return report.provenance(
        data=all_of(record.trial.params["data"] for record in records),
        profile=all_of(record.trial.params["profile"] for record in records),
        seeds=len({record.trial.seed for record in records}),
        device=all_of(record.cost["device_name"] for record in records),
        records=len(records),
    )


FOUND = {  # what became of a claim, in words
    verdicts.REPRODUCED: "reproduced",
    verdicts.SMALLER: "found, but less than half as large",
    verdicts.NOT_REPRODUCED: "not reproduced, not even half the effect",
    verdicts.OPPOSITE: "the opposite is found",
    verdicts.INCONCLUSIVE: "inconclusive",
    verdicts.NOT_TESTED: "not tested",
}
OURS = "Question of ours: "  # opens the statement of a claim that no paper makes
MOST_FINDINGS = 3  # claims in the opening paragraph, which shares the first screen with the headline figure
FEW_UNITS = 10  # with fewer, an interval says nothing about other people
ON = {"paper": "the paper's own data", "public": "other real data", "synthetic": "rendered data"}


def open_study(study_id: str, *, train: bool = True, **parameters: Any) -> Page:
    """The page that a notebook shows of a study; missing trials are run first, unless `train` is False.

    `parameters`: those of the notebook. UserError for one that the study does not have, as from the command line.
    """
    study = studies.load(study_id)
    chosen = study.Parameters(**parameters)
    store = studies.store_of(chosen)
    trials = studies.needed(study, chosen) if train else []
    ran = run(trials, study.execute, store, studies.context_of(chosen), workers=chosen.workers)
    return Page(study, chosen, store, failed=[record for record in ran if record.failure])


class Page:
    """A page of one study: every source of data that has records, most trusted first; each record is read once."""

    def __init__(
        self, study: Study, parameters: StudyParameters, store: RunStore, *, failed: Sequence[Record] = ()
    ) -> None:
        self.study, self.parameters, self.store, self.failed = study, parameters, store, failed
        self.results = Results(study, store)
        self.profiles = ("smoke",) if parameters.profile == "smoke" else status.PROFILES
        self.sources = self.results.sources(self.profiles) or [parameters]
        self._judged = {p.data: self.results.judged(p, self.profiles) for p in self.sources}
        self._drawn: dict[tuple[str, str], Mapping[str, Figure]] = {}  # by data and profile

    # --- what we found -------------------------------------------------------------------------------

    def findings(self, *ids: str) -> None:
        """The opening paragraph: the verdicts on the named claims, each on the most trusted data that could test it.

        At most three claims are described; if none of the named ones could be tested, the first primary one that could.
        """
        best = self._tested()
        primary = [claim.id for claim in self.study.registered_claims if claim.primary]
        tested = [id for id in primary if id in best]
        if tested:
            described = [id for id in ids if id in best] or tested[:1]
            sentences = [in_words(self.study, best[id]) for id in described[:MOST_FINDINGS]]
            counts = Counter(best[id].verdict for id in tested)
            told = ", ".join(f"{counts[v]} {v}" for v in verdicts.VERDICTS if counts[v])
            sentences.append(f"{len(tested)} of {len(primary)} primary claims could be tested: {told}.")
            if len(tested) < len(primary):
                sentences.append("For the others, rows were not run or do not pass the gates below.")
        else:
            sentences = [
                f"None of the {len(primary)} primary claims can be tested yet: "
                "the rows that they compare were not run, or do not pass the gates below."
            ]
        display(HTML(f'<p class="findings">{" ".join(sentences)}</p>'))

    def headline(self) -> None:
        """One figure: the primary claims, published effects beside ours with their intervals."""
        judged = [j for of_source in self._judged.values() for j in of_source if j.claim.primary]
        figure = figures.headline(self.study, judged, self.results)
        alt = f"Primary claims of {self.study.ID}: published effects beside ours with 95 % intervals"
        path = self._figures / f"headline-{self.parameters.profile}.svg"
        show_figure(figure, path=path, watermark=self._smoke, alt=alt)
        display(HTML(
            "<p><em>Primary claims. Open diamonds: the paper. Filled circles: ours, with 95 % intervals over seeds and "
            "people; hollow circles are not judged. The axis is the share of the reference row's error that the claim "
            "removes, so that easier and harder data can be compared; the claimed direction is to the right.</em></p>"
        ))  # fmt: skip

    def answer(self, *ids: str) -> None:
        """The findings on the named claims and questions, one sentence per data source."""
        lines = [line for id in ids for line in self._lines(id)]
        display(HTML("<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"))

    def _tested(self) -> dict[str, Judged]:
        """Claim → what became of it on the most trusted data that could test it."""
        judged = [j for of_source in self._judged.values() for j in of_source]
        return {j.claim.id: j for j in reversed(judged) if j.verdict != verdicts.NOT_TESTED}

    def _lines(self, id: str) -> list[str]:
        claim = next(c for c in self.study.registered_claims if c.id == id)
        if claim.kind != "question":
            return [in_words(self.study, j) for judged in self._judged.values() for j in judged if j.claim.id == id]
        asked, lines = claim.statement.removeprefix(OURS), []
        asked = asked[0].upper() + asked[1:]
        for p in self.sources:
            effect = self.results.effect(p, claim)
            if effect is not None:
                unit = self.study.scores[claim.score].unit
                lines.append(f"{asked} {ON[p.data].capitalize()}: {effect_in_words(effect, unit)}.")
        return lines or [f"{asked} Not run."]

    # --- tables and figures --------------------------------------------------------------------------

    def table(self, place: str) -> None:
        """One of the study's tables, ours beside the paper's; the most trusted data open, the others folded."""
        [table] = [t for t in self.study.declared_tables if t.place == place]
        shown = self.results.sources(self.profiles, place) or [self._most_trusted(place)]
        for number, p in enumerate(shown):
            made = self.results.table(p, table)
            self._save(made, p, place)
            notes = self.results.not_from_the_paper(place)
            caption = f"{table.title}. {made_from(self._records(p, place))}"
            if notes:
                caption += " Not from the paper's text: " + "; ".join(notes) + "."
            self._fold(report.to_html(made, caption) + self._remake(p, place), ON[p.data], folded=number > 0)

    def _save(self, table: pd.DataFrame, p: StudyParameters, name: str) -> None:
        """Save a table as CSV if it has a number of ours."""
        if self._records(p, None if name == "claims" else name):
            path = self.store.root / "tables" / f"{self.study.ID}-{_file(name)}-{p.data}-{p.profile}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(path)

    def _most_trusted(self, place: str) -> StudyParameters:
        """The most trusted data on which a table that has no record yet is planned at all."""
        planned = (
            p for data in reversed(DATA) for p in [self.parameters.model_copy(update={"data": data})]
            if any(place in row.places for row in self.study.rows(p))
        )  # fmt: skip
        return next(planned, self.parameters)

    def figure(self, name: str, place: str, title: str, suffix: str = ".png") -> None:
        """One of the study's figures, for the most trusted data that have it."""
        for p in self.results.sources(self.profiles, place):
            drawn = self._figures_of(p)
            if name in drawn:
                path = self._figures / f"{_file(name)}-{p.data}-{p.profile}{suffix}"
                show_figure(drawn[name], path=path, watermark=self._smoke, alt=title)
                told = f"{title} {made_from(self._records(p, place))}"
                display(HTML(f"<p><em>{told}</em></p>{self._remake(p, place)}"))
                return
        display(HTML(f"<p><em>{title} Not run: no record of its rows.</em></p>"))

    def drawing(self, figure: Figure, name: str, alt: str, suffix: str = ".png") -> None:
        """A figure that is drawn from modules or formulas: no records needed."""
        show_figure(figure, path=self._figures / f"{name}{suffix}", watermark=False, alt=alt)

    # --- how far it goes -----------------------------------------------------------------------------

    def gates(self) -> None:
        """Every row with its seeds, validation score beside the trivial one's, best epoch, and whether it converged."""
        for number, p in enumerate(self.sources):
            lines = []
            rows = self.results.rows(p)
            for name, records in self.results.by_row(p).items():
                epochs = [r.stopped["best_epoch"] for r in records if r.stopped]
                ceilings = {r.stopped["ceiling"] for r in records if r.stopped}
                trivial = self.results.best_trivial(p, name)
                level = self.results.level_of(p, name, "validation")  # a row that measures speed has none
                lines.append({
                    "row": name, "seeds": len(records),
                    "validation score": report.ABSENT if level is None else f"{level:.1f}",
                    "best trivial": report.ABSENT if trivial is None else f"{trivial:.1f}",
                    "best epoch": f"{min(epochs)}–{max(epochs)} of {max(ceilings)}" if epochs else report.ABSENT,
                    "converged": report.ABSENT if not epochs else "step-matched" if rows[name].step_matched else
                    "yes" if all(r.stopped["converged"] for r in records if r.stopped) else "no",
                    "minutes per seed": f"{np.mean([r.cost['seconds'] for r in records]) / 60:.1f}",
                })  # fmt: skip
            if lines:
                table = pd.DataFrame(lines).set_index("row").rename_axis(index=None)
                html = report.to_html(
                    table,
                    "How every row was trained; minutes include the shared stages that a row trained. "
                    + made_from(self._records(p)),
                )
                self._fold(html + self._not_run(p), ON[p.data], folded=number > 0)

    def _not_run(self, p: StudyParameters) -> str:
        """The rows of a data source that have no record, as a paragraph."""
        missing = [escape(name) for name in self.results.rows(p) if name not in self.results.by_row(p)]
        return f"<p>Not run on {ON[p.data]} ({p.profile}): {'; '.join(missing)}.</p>" if missing else ""

    def tuning(self) -> None:
        """The learning rates that were tried, on validation items alone."""
        tries = tuning.read(self.study)
        if not tries:
            display(HTML("<p>No learning rate was tuned; <code>rows.py</code> of the study has each row's.</p>"))
            return
        lines = pd.DataFrame([vars(t) for t in tries])
        table = lines.pivot(index=["data", "profile", "row"], columns="lr", values="validation")
        table.index = [f"{row} ({data}, {profile})" for data, profile, row in table.index]
        table.columns = [f"{lr:g}" for lr in table.columns]
        caption = "Best validation score of each learning rate: one seed, a third of the epochs, no test item."
        display(HTML(report.to_html(table.round(2).rename_axis(index=None), caption)))

    def sizes(self, row: str, *, data: str) -> None:
        """The configuration of one row in every profile, field by field."""
        columns = {}
        for profile in PROFILES:
            rows = {r.name: r for r in self.study.rows(self.study.Parameters(profile=profile, data=data))}
            flat = pd.json_normalize(asdict(rows[row].config), sep=" ").iloc[0]
            columns[profile] = flat.drop("profile").map(str)
        display(HTML(report.to_html(pd.DataFrame(columns), f"“{row}” on {ON[data]}, in each profile.")))

    def facts(self) -> None:
        """The exactly checkable numbers and their sources: those that differ, then all of them, folded."""
        facts = self.study.fidelity()
        unequal = [fact for fact in facts if not fact.equal]
        of_others = [fact for fact in facts if fact.source != "arithmetic"]
        equal = sum(fact.equal for fact in of_others)
        display(HTML(f"<p>{equal} of {len(of_others)} numbers of the paper or its release are met exactly.</p>"))
        if unequal:
            display(HTML(report.to_html(report.fidelity_table(unequal), "Those that are not.")))
        self._fold(report.to_html(report.fidelity_table(facts), "Exactly checkable numbers."), f"All {len(facts)}")

    def report_card(self, *, easy: str, difficult: str) -> None:
        """The summary that reproducibility challenges ask for, folded: two texts by hand, the rest from the records."""
        records = {record.trial.key: record for p in self.sources for record in self._records(p)}
        parts = {
            "Scope of reproducibility": self._scope(),
            "What was easy": easy,
            "What was difficult": difficult,
            "Compute": compute_in_words(list(records.values())),
            "Communication with the authors": "None.",
        }
        lines = "".join(f"<dt>{head}</dt><dd>{text}</dd>" for head, text in parts.items())
        self._fold(f'<dl class="report-card">{lines}</dl>', "report card")

    def _scope(self) -> str:
        """How many claims were tested and rows run, and on which data."""
        claims = [claim for claim in self.study.registered_claims if claim.kind != "question"]
        tested = set(self._tested())
        primary = [claim.id for claim in claims if claim.primary]
        sentences = [
            f"{len(claims)} claims are registered, {len(primary)} of them primary. {len(tested)} could be tested, "
            f"{len(tested.intersection(primary))} of them primary."
        ]
        for p in self.sources:
            run, rows = self.results.by_row(p), self.results.rows(p)
            sentences.append(f"Rows run on {ON[p.data]} ({p.profile}): {len(run)} of {len(rows)}.")
        sentences.append(f"Rows quoted from the paper and not trained: {len(self.study.quoted)}.")
        return " ".join(sentences)

    # --- folded --------------------------------------------------------------------------------------

    def claims(self) -> None:
        """All claims of each data source with effect, interval, detectable effect and both verdicts, folded."""
        for p in self.sources:
            table = claims_table(self.study, self._judged[p.data])
            self._save(table, p, "claims")
            caption = f"All claims. {made_from(self._records(p))}"
            self._fold(report.to_html(table, caption), f"All claims on {ON[p.data]}")

    def questions(self) -> None:
        """Our own questions with their effects; they get no verdict."""
        for number, p in enumerate(self.sources):
            lines = {
                claim.statement.removeprefix(OURS): [
                    self.study.scores[claim.score].name,
                    effect_in_words(effect, self.study.scores[claim.score].unit) if effect else report.NOT_DONE,
                    effect.seeds if effect else 0,
                ]
                for claim, effect in self.results.questions(p)
            }
            if lines:
                columns = ["score", "effect of the first over the second", "seeds"]
                table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
                caption = f"What the paper leaves open. {made_from(self._records(p))}"
                self._fold(report.to_html(table, caption), ON[p.data], folded=number > 0)

    def quoted(self) -> None:
        """The rows of the paper's tables that we do not train, each with its reason, folded."""
        table = pd.Series(dict(self.study.quoted), name="why it is quoted").to_frame()
        self._fold(report.to_html(table, "Rows that we do not train."), f"{len(table)} quoted rows")

    def failures(self) -> None:
        """What failed in this run, if anything did."""
        for record in self.failed:
            print(f"{record.trial.name}, seed {record.trial.seed}: {record.failure}")

    # --- helpers -------------------------------------------------------------------------------------

    @property
    def _smoke(self) -> bool:
        return self.parameters.profile == "smoke"

    @property
    def _figures(self) -> Path:
        return self.store.root / "figures" / self.study.ID

    def _records(self, p: StudyParameters, place: str | None = None) -> list[Record]:
        return [record for records in self.results.by_row(p, place).values() for record in records]

    def _figures_of(self, p: StudyParameters) -> Mapping[str, Figure]:
        key = (p.data, p.profile)
        if key not in self._drawn:
            self._drawn[key] = self.study.module("figures").drawn(self.results, p)
            for figure in self._drawn[key].values():
                plt.close(figure)  # or the notebook shows it below this cell as well as in its place
        return self._drawn[key]

    def _remake(self, p: StudyParameters, place: str) -> str:
        """The command that makes a table or figure again, and the file of every record behind it."""
        root = "" if p.data == "synthetic" else " --data-root DATA"
        command = f'reprolib run {self.study.ID} --profile {p.profile} --data {p.data}{root} --tables "{place}"'
        trials = sorted((record.trial for record in self._records(p, place)), key=lambda t: (t.name, t.seed))
        files = "".join(f"<li>{escape(t.name)}, seed {t.seed}: <code>{t.key}.json</code></li>" for t in trials)
        folder = f"results/trials/{self.study.ID}"
        listed = f"<details><summary>Records in <code>{folder}</code></summary><ul>{files}</ul></details>"
        return f'<p class="remake">Remake: <code>python -m {command}</code></p>{listed if trials else ""}'

    @staticmethod
    def _fold(html: str, summary: str, *, folded: bool = True) -> None:
        display(HTML(f"<details><summary>{summary.capitalize()}</summary>{html}</details>" if folded else html))


def in_words(study: Study, judged: Judged) -> str:
    """A claim in quotation marks and what became of it, as HTML."""
    claim, unit = judged.claim, study.scores[judged.claim.score].unit
    said = f"“{escape(claim.statement.rstrip('.'))}”: <strong>{FOUND[judged.verdict]}</strong> on {ON[judged.data]}"
    if judged.effect is None or judged.verdict == verdicts.NOT_TESTED:
        measured = f" ({effect_in_words(judged.effect, unit)})" if judged.effect else ""
        reason = f"{judged.reason[:1].lower()}{judged.reason[1:].rstrip('.')}"
        return f"{said}{measured}, because {escape(reason)}."
    paper = "the paper prints no number"
    if claim.published_effect is not None:
        paper = f"the paper: {claim.published_effect:+.3g} {unit}".replace("-", "−")
    return f"{said}. Ours: {effect_in_words(judged.effect, unit)}; {paper}."


def effect_in_words(effect: Effect, unit: str) -> str:
    """ "+0.21 points (95 % interval −0.40 to +0.80; 3 seeds, 691 test units)"."""
    if not np.isfinite(effect.low):
        return f"{effect.point:+z.2f} {unit} (no interval; seeds: {effect.seeds})".replace("-", "−")
    numbers = f"{effect.point:+z.2f} {unit} (95 % interval {effect.low:+z.2f} to {effect.high:+z.2f}".replace("-", "−")
    these = ", for these alone" if effect.units < FEW_UNITS else ""
    return f"{numbers}; {effect.seeds} seeds, {effect.units} test units{these})"


def compute_in_words(records: Sequence[Record]) -> str:
    """ "1.5 core-hours on a CPU (6 trials); 0.3 trial-hours on an H200 (4 trials)."; on a CPU, one core per trial."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for record in records:
        device = record.cost["device_name"], "core-hours" if record.cost["device"] == "cpu" else "trial-hours"
        seconds.setdefault(device, []).append(record.cost["seconds"])
    told = [
        f"{_hours(sum(of))} {hours} on {escape(name)} ({len(of)} {'trial' if len(of) == 1 else 'trials'})"
        for (name, hours), of in seconds.items()
    ]
    shared = " Several trials can share a GPU." if any(hours == "trial-hours" for _, hours in seconds) else ""
    return f"{'; '.join(told)}.{shared}" if told else "No trial is recorded."


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}" if seconds >= 360 else "less than 0.1"


def claims_table(study: Study, judged: Sequence[Judged]) -> pd.DataFrame:
    """One line per claim: verdicts, our effect and interval, detectable effect, paper's effect, why not tested."""
    lines = {}
    for j in judged:
        unit, effect = study.scores[j.claim.score].unit, j.effect
        known = effect is not None and np.isfinite(effect.low)
        lines[j.claim.statement] = {
            "primary": "yes" if j.claim.primary else "",
            "verdict": j.verdict,
            "after Holm": j.verdict_holm,
            "ours": effect_in_words(effect, unit) if effect else report.NOT_DONE,
            "detectable": f"{effect.detectable:.2f}" if known else report.ABSENT,
            "paper": report.ABSENT if j.claim.published_effect is None else f"{j.claim.published_effect:+.3g} {unit}",
            "place": j.claim.place,
            "why not tested": j.reason,
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def _file(name: str) -> str:
    return name.replace(" ", "-")
