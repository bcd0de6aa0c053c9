"""The figure of milletari2016, from what its records kept."""

from __future__ import annotations

from matplotlib.figure import Figure

from reprolib import figures
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.milletari2016 import rows

CLASSES = ("background", "mouth")


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """Figure 6: test faces with their annotation and the masks of each row's first seed."""
    records = results.by_row(parameters, "figure 6")
    if rows.DICE not in records or rows.CROSS_ENTROPY not in records:
        return {}
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    images, labels = (kept[rows.DICE][name] for name in ("images", "labels"))
    masks = {"annotation": labels, **{name: arrays["masks"] for name, arrays in kept.items()}}
    colours = figures.part_colours(CLASSES)
    lines = [
        [image, *(figures.overlay(image, of_row[i], colours, alpha=(0.0, 0.6)) for of_row in masks.values())]
        for i, image in enumerate(images)
    ]
    titles = ["input", "annotation", *(name.removeprefix("V-Net + ") for name in kept)]
    return {"figure 6": figures.image_grid(lines, column_titles=titles, classes=CLASSES[1:])}
