"""What a notebook shows of a study: tables and figures, saved under results/ and embedded small enough for a page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pandas as pd
from IPython.display import HTML, SVG, Image, display
from matplotlib.figure import Figure
from PIL import Image as Picture

from reprolib import figures, report
from reprolib.trials import Record

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
