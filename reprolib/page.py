"""What a notebook shows of a study: tables and figures, saved under results/ and embedded small enough for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import ModuleType

import pandas as pd
from IPython.display import HTML, SVG, Image, display
from matplotlib.figure import Figure
from PIL import Image as Picture

from reprolib import figures, report
from reprolib.parameters import DATA, StudyParameters
from reprolib.store import RunStore
from reprolib.trial import Record

EMBEDDED_WIDTH = 640  # pixels, about what a page shows; a page may have 2 MB in all


def show_table(table: pd.DataFrame, caption: str, *, path: Path) -> None:
    """Display a table as HTML under `caption` and save it as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path)
    display(HTML(report.to_html(table, caption)))


def show_figure(figure: Figure, *, path: Path, watermark: bool, alt: str) -> None:
    """Save a figure (`path` ends in .svg or .png) and display it, pictures as JPEG to keep the page light."""
    figures.save_figure(figure, path, watermark=watermark)
    if path.suffix == ".svg":
        display(SVG(filename=str(path)))
        return
    picture = Picture.open(path).convert("RGB")
    picture.thumbnail((EMBEDDED_WIDTH, 4 * EMBEDDED_WIDTH))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=60, optimize=True)
    display(Image(data=buffer.getvalue(), format="jpeg", alt=alt))


def made_from(records: list[Record]) -> str:
    """The sentence that says which data, profile, seeds and device stand behind a table or figure."""
    if not records:
        return "Not done: no trial of it is recorded."

    def all_of(values) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    return report.provenance(
        data=all_of(record.trial.params["data"] for record in records),
        profile=all_of(record.trial.params["profile"] for record in records),
        seeds=len({record.trial.seed for record in records}),
        device=all_of(record.cost["device_name"] for record in records),
        records=len(records),
    )


class StudyPage:
    """Everything that a notebook shows of one study, from every data source whose records are there.

    `draw(parameters, store)` gives the figures that can be drawn, by name. Tables are saved under results/tables,
    figures under results/figures/<study>; each says which data, profile, seeds and device made it.
    """

    def __init__(
        self,
        study: ModuleType,
        draw: Callable[[StudyParameters, RunStore], Mapping[str, Figure]],
        parameters: StudyParameters,
        store: RunStore,
    ) -> None:
        self.study, self.store, self.profile = study, store, parameters.profile
        of_data = {name: parameters.model_copy(update={"data": name}) for name in DATA}
        plans = {name: study.trials(p) for name, p in of_data.items()}
        recorded = [name for name, plan in plans.items() if any(map(store.get, _each(plan)))] or [parameters.data]
        self.sources = {name: of_data[name] for name in recorded}
        self._plans = {name: plans[name] for name in recorded}
        self._tables = {name: study.tables(p, store) for name, p in self.sources.items()}
        self._drawn = {name: draw(p, store) for name, p in self.sources.items()}

    def records(self, source: str, place: str | None = None) -> list[Record]:
        """The finished records behind a table or figure, or behind all of them."""
        plan = self._plans[source]
        return [r for t in (_each(plan) if place is None else plan.get(place, [])) if (r := self.store.get(t))]

    def table(self, place: str, title: str) -> None:
        """One of the study's tables ("table 2"), once for each data source; once in all if it needs no trial."""
        for source, made in self._tables.items():
            if place in made and not self._plans[source][place]:
                show_table(made[place], title, path=self.store.root / "tables" / f"{self._name(place)}.csv")
                return
            if place in made:
                caption = f"{title} {made_from(self.records(source, place))}"
                show_table(made[place], caption, path=self._csv(place, source))

    def figure(self, name: str, place: str, title: str, suffix: str = ".png") -> None:
        """One of the study's figures ("figure 4b" of the place "figure 4"), once for each data source."""
        for source, drawn in self._drawn.items():
            if name in drawn:
                path = self._figures / f"{name.replace(' ', '-')}-{source}-{self.profile}{suffix}"
                show_figure(drawn[name], path=path, watermark=self.profile == "smoke", alt=title)
                display(HTML(f"<p><em>{title} {made_from(self.records(source, place))}</em></p>"))

    def drawing(self, figure: Figure, name: str, alt: str, suffix: str = ".png") -> None:
        """A figure that is drawn from modules or formulas: no record stands behind it."""
        show_figure(figure, path=self._figures / f"{name}{suffix}", watermark=False, alt=alt)

    def own_table(self, made: Callable[[StudyParameters, RunStore], pd.DataFrame], name: str, title: str) -> None:
        """What `made` gives for each data source, empty tables left out; saved under `name`."""
        for source, parameters in self.sources.items():
            if len(table := made(parameters, self.store)):
                show_table(table, f"{title} {made_from(self.records(source))}", path=self._csv(name, source))

    def claims(self, *, by: str = "place", suffix: str = ".png") -> None:
        """Counts of the verdicts, the claims of each data source, and forest plots (one for each `by` and unit)."""
        of_source = {name: self.study.claims(p, self.store) for name, p in self.sources.items()}
        everything = [claim for claims in of_source.values() for claim in claims]
        display(HTML(report.to_html(report.verdict_counts(everything), "How many claims have which verdict.")))
        for source, claims in of_source.items():
            title = f"Claims of the paper. {made_from(self.records(source))}"
            show_table(report.verdict_table(claims), title, path=self._csv("claims", source))
        for number, figure in enumerate(figures.effect_figures(everything, by=by), start=1):
            path = self._figures / f"effects-{number}-{self.profile}{suffix}"
            alt = "Effects of the claims with their intervals"
            show_figure(figure, path=path, watermark=self.profile == "smoke", alt=alt)

    def questions(self) -> None:
        """The study's own questions with their answers."""
        self.own_table(self.study.questions, "questions", "Effects of the first over the second.")

    def answers(self, *ids: str) -> None:
        """What the named claims and questions came to, in words, for each data source that has such a record."""
        for source, parameters in self.sources.items():
            lines = "".join(f"<li>{line}</li>" for line in self.study.answers(parameters, self.store, ids))
            if lines:
                title = f"Answer, {source} data, {self.profile} profile:"
                display(HTML(f"<p><strong>{title}</strong></p><ul>{lines}</ul>"))

    def facts(self) -> None:
        """The exactly checkable numbers, published and ours: those that differ, and all of them folded away."""
        facts = self.study.fidelity()
        unequal = [fact for fact in facts if not fact.equal]
        display(HTML(f"<p>{len(facts) - len(unequal)} of {len(facts)} exactly checkable numbers are equal.</p>"))
        if unequal:
            display(HTML(report.to_html(report.fidelity_table(unequal), "Those that are not.")))
        everything = report.to_html(report.fidelity_table(facts), "Exactly checkable numbers.")
        display(HTML(f"<details><summary>All {len(facts)} numbers</summary>{everything}</details>"))

    @property
    def _figures(self) -> Path:
        return self.store.root / "figures" / self.study.ID

    def _csv(self, name: str, source: str) -> Path:
        return self.store.root / "tables" / f"{self._name(name)}-{source}-{self.profile}.csv"

    def _name(self, place: str) -> str:
        return f"{self.study.ID}-{place.replace(' ', '-')}"


def _each(plan: Mapping) -> list:
    """Every trial of a plan, once."""
    return list({trial.key: trial for trials in plan.values() for trial in trials}.values())
