"""What a notebook shows of a study: tables and figures, saved under results/ and embedded small enough for a page."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from reprolib.store import RunStore
from reprolib.study import Judged, Study
from reprolib.trial import Record
from reprolib.wording import ON, claims_table, compute_in_words, effect_in_words, in_words, made_from

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


OURS = "Question of ours: "  # opens the statement of a claim that no paper makes
MOST_FINDINGS = 3  # claims in the opening paragraph, which shares the first screen with the headline figure


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

    def sentences(self, told: Callable[[Results, StudyParameters], str]) -> None:
        """What a function of the study's `figures` says, for each data source about which it says something."""
        for p in self.sources:
            if sentence := told(self.results, p):
                display(HTML(f"<p>{ON[p.data].capitalize()}. {sentence}</p>"))

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


def _file(name: str) -> str:
    return name.replace(" ", "-")
