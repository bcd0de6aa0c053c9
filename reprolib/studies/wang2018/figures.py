"""The figures of wang2018, from its records and from its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures, report
from reprolib.datasets.pictures import crop_square, resize_labels, resize_picture
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.wang2018 import rows as r
from reprolib.studies.wang2018.config import STEPS
from reprolib.studies.wang2018.data import PARTS
from reprolib.studies.wang2018.scores import mask_metrics
from reprolib.trial import Record
from reprolib.wording import effect_in_words

# The palette's names for background, skin, eyes, outer and inner mouth.
SHOWN_AS = ("background", "face", "eyes", "lips", "cavity")
COLOURS = figures.part_colours(SHOWN_AS)
FIGURE_6 = {"baseline FCN": r.FCN, "primary": r.PRIMARY, "full system": r.COMBINED}
LOSSES = {"the paper's losses": (r.CROSS_ENTROPY, r.IOU, r.HINGE, r.LINEAR), "others": (r.DICE, r.LOVASZ)}
# The parts of the full system, each over the row above it (Table 9), and what of them is time, loss or zoom.
GAIN = {
    "a ConvLSTM for the classifier, cross-entropy": (r.CROSS_ENTROPY, r.FCN),
    "loss: segmentation loss in place of cross-entropy": (r.LINEAR, r.CROSS_ENTROPY),
    "all layers trained": (r.PRIMARY, r.LINEAR),
    "zoom: two close-up models": (r.COMBINED, r.PRIMARY),
    "together: the full system over the baseline FCN": (r.COMBINED, r.FCN),
    "time: the primary model over itself on still frames": (r.PRIMARY, r.PRIMARY_STILL),
}

Arrays = Mapping[str, np.ndarray]


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """The figures of one data source by name; absent if a row was not run or none of its frames may be printed."""
    records = results.by_row(parameters)
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    annotated = next((n for n in (r.STILLS_MEAN_MASK, r.MEAN_MASK) if "example_images" in kept.get(n, {})), r.MEAN_MASK)
    near = [name for region in r.REGIONS for name in (r.mean_mask_of(region), r.zoomed(region, None))]
    systems = tuple(FIGURE_6.values())
    # figure → its rows, and the array of the first of them without which it cannot be drawn
    wanted: dict[str, tuple[Sequence[str], str, Callable[[], Figure]]] = {
        "figure 2": ((r.MEAN_MASK, r.COMBINED), "example_images",
                     lambda: _pipeline(kept[r.MEAN_MASK], kept[r.COMBINED])),
        "figure 3": ((annotated,), "example_images", lambda: _annotations(kept[annotated])),
        "figure 4": (near, "example_images", lambda: _crops(kept)),
        "figure 5": ((r.MEAN_MASK, *systems), "example_images", lambda: _masks(kept)),
        "figure 6": (systems, "confusion", lambda: _people(records, results)),
        "table 4": ((r.CROSS_ENTROPY, r.LINEAR, r.FCN), "over_time", lambda: _over_time(records, results)),
        "table 5": ((r.CROSS_ENTROPY, r.LINEAR), "confusion", lambda: _loss_curves(records)),
    }  # fmt: skip
    return {
        name: draw()
        for name, (needed, array, draw) in wanted.items()
        if all(row in records for row in needed) and array in kept[needed[0]]
    }


def _overlays(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    # the background stays as it is: the face is what is shown
    alpha = (0.0, 0.55, 0.7, 0.6, 0.7)
    return [figures.overlay(image, one, COLOURS, alpha=alpha) for image, one in zip(images, labels, strict=True)]


def _annotations(kept: Arrays) -> Figure:
    """Figure 3: frames and their masks."""
    images, labels = kept["example_images"], kept["example_labels"]
    return figures.image_grid([list(images), _overlays(images, labels)], classes=SHOWN_AS[1:], tile=1.15)


def _crops(kept: Mapping[str, Arrays]) -> Figure:
    """Figure 4: crops of eyes and mouth, their masks, and what a baseline FCN finds."""
    columns: dict[str, list[np.ndarray]] = {}
    for region in r.REGIONS:
        of_face = np.array((0, *PARTS[region]))
        truth, found = kept[r.mean_mask_of(region)], kept[r.zoomed(region, None)]["example_predictions"][:4]
        images = truth["example_images"][:4]
        columns[region] = list(images)
        columns[f"{region}: annotation"] = _overlays(images, of_face[truth["example_labels"][:4]])
        columns[f"{region}: FCN"] = _overlays(images, of_face[found])
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=SHOWN_AS[2:], tile=1.4
    )


def _masks(kept: Mapping[str, Arrays]) -> Figure:
    """Figure 5: input, annotation, and what the three methods find."""
    images, labels = (kept[r.MEAN_MASK][f"example_{name}"] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _overlays(images, labels)}
    for title, row in FIGURE_6.items():
        columns[title] = _overlays(images, kept[row]["example_predictions"])
    return figures.image_grid(
        list(zip(*columns.values(), strict=True))[:5], column_titles=list(columns), classes=SHOWN_AS[1:], tile=1.7
    )


def _pipeline(frames: Arrays, kept: Arrays) -> Figure:
    """Figure 2: one frame through the primary model, the two crops and back: the frame with boxes of median size."""
    boxes = kept["example_boxes"]  # (frames, regions, 3), in pixels of the frames as they are kept
    smaller = boxes[..., 2].min(axis=1)
    there = np.flatnonzero(smaller > 0) if smaller.any() else np.arange(len(boxes))
    shown = int(there[np.argsort(smaller[there], kind="stable")[len(there) // 2]])
    primary = kept["example_primary"][shown]
    side = primary.shape[0]
    image = resize_picture(frames["example_images"][shown], side)
    combined = resize_labels(kept["example_predictions"][shown], side)

    def over(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return _overlays(picture[None], labels[None])[0]

    with figures.style():
        figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.4))
        panels = [(axes[0, 0], image, "frame"), (axes[1, 0], over(image, primary), "primary mask")]
        for column, (region, (x, y, width)) in enumerate(zip(r.REGIONS, boxes[shown].tolist(), strict=True), start=1):
            if width:
                crop = crop_square(image, (x, y, width))
                inside = np.where(np.isin(combined, PARTS[region]), combined, 0)
                mask = crop_square(inside, (x, y, width), fill=0)
                panels.append((axes[0, column], crop, f"crop of the {region}"))
                panels.append((axes[1, column], over(crop, mask), f"found by the {region} model"))
        panels.append((axes[0, 3], over(image, combined), "combined mask"))
        for ax in axes.flat:
            ax.axis("off")
        for ax, picture, title in panels:
            ax.imshow(picture)
            ax.set_title(title, fontsize=9)
        for x, y, width in boxes[shown].tolist():
            axes[1, 0].add_patch(Rectangle((x, y), width, width, fill=False, edgecolor="white", linewidth=1.5))
    return figure


def by_person(of_seeds: Sequence[Record], results: Results) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the mIoU of each person's frames, over all seeds: two float64 (people,)."""
    frames = np.stack([mask_metrics(results.arrays(record)["confusion"])["miou"] for record in of_seeds])
    units = results.arrays(of_seeds[0])["units"]
    people = [frames[:, units == person] for person in np.unique(units)]
    return np.array([np.nanmean(one) for one in people]), np.array([np.nanstd(one) for one in people])


def better_people(results: Results, parameters: StudyParameters) -> str:
    """On how many test people the primary model and the full system are better than the baseline, in a sentence."""
    records = results.by_row(parameters)
    if not all(row in records for row in FIGURE_6.values()):
        return "Not run."
    baseline, _ = by_person(records[r.FCN], results)
    said = []
    for title, row in list(FIGURE_6.items())[1:]:
        gain = by_person(records[row], results)[0] - baseline
        said.append(f"“{title}” on {(gain > 0).sum()} of {len(gain)} people (least gain {gain.min():+.1f} points)")
    return f"Better than the baseline FCN: {'; '.join(said)}. The paper: on all 12.".replace("-", "−")


def worse_from_the_start(results: Results, parameters: StudyParameters) -> str:
    """The rows of a new layer whose first epoch was the best with every seed, in a sentence."""
    rows = [
        name for name, of_seeds in results.by_row(parameters).items()
        if all("layer_validation" in record.curves and record.stopped["best_epoch"] == 1 for record in of_seeds)
    ]  # fmt: skip
    if not rows:
        return ""
    return (
        f"Best after their first epoch with every seed: {'; '.join(rows)}. More epochs on the training people made "
        "these layers worse on others. The start at the classifier is itself no candidate, so that such a row is a "
        "little below the baseline where training brings nothing."
    )


def _people(records: Mapping[str, list[Record]], results: Results) -> Figure:
    """Figure 6: mean and standard deviation of the frames' mIoU for each person."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(8.4, 3.2))
        for i, (title, row) in enumerate(FIGURE_6.items()):
            means, deviations = by_person(records[row], results)
            at = np.arange(len(means)) + 0.27 * (i - 1)
            ax.bar(at, means, 0.25, yerr=deviations, label=title, error_kw={"elinewidth": 0.8})
        ax.set(xlabel="person", ylabel="mIoU of a frame (%)", xticks=np.arange(len(means)))
        ax.set_xticklabels(range(1, len(means) + 1))
        ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return figure


def _over_time(records: Mapping[str, list[Record]], results: Results) -> Figure:
    """Table 4 as curves: gain over the baseline at each of the five frames; bands are ranges over seeds."""
    baseline = {record.trial.seed: results.arrays(record)["over_time"] for record in records[r.FCN]}
    shown = {"cross-entropy": r.CROSS_ENTROPY, "segmentation loss": r.LINEAR, "primary": r.PRIMARY}
    with figures.style():
        figure, ax = plt.subplots(figsize=(5.6, 3.4))
        for title, row in shown.items():
            of_seeds = [record for record in records.get(row, []) if record.trial.seed in baseline]
            gains = [(results.arrays(record)["over_time"] - baseline[record.trial.seed]).mean(0) for record in of_seeds]
            if gains:
                figures.line_of_seeds(ax, np.arange(1, STEPS + 1), np.array(gains), title)
        ax.axhline(0, color="#444444", linewidth=1)
        ax.set(xlabel="frame of the clip", ylabel="mIoU over the baseline (points)", xticks=range(1, STEPS + 1))
        ax.legend()
    return figure


def _loss_curves(records: Mapping[str, list[Record]]) -> Figure:
    """Validation mIoU while the new layer is trained with each loss; bands are ranges over seeds, to the shortest."""
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.8), sharey=True)
        for ax, (title, rows) in zip(axes, LOSSES.items(), strict=True):
            for row in rows:
                curves = [record.curves["layer_validation"] for record in records.get(row, [])]
                if curves:
                    shortest = min(map(len, curves))
                    values = np.array([curve[:shortest] for curve in curves])
                    figures.line_of_seeds(ax, np.arange(1, shortest + 1), values, row)
            ax.set(xlabel="epoch", title=title)
            if ax.lines:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=8, ncols=2)
        axes[0].set(ylabel="validation mIoU (%)")
    return figure


def parts_of_the_gain(results: Results, parameters: StudyParameters) -> pd.DataFrame:
    """How much of the full system's gain comes from time, loss and zoom: one line per part, with the paper's effect."""
    template = next(claim for claim in results.study.registered_claims if claim.id == "system")
    paper = {(claim.a, claim.b): claim.published_effect for claim in results.study.registered_claims
             if claim.score == "miou"}  # fmt: skip
    lines = {}
    for title, (a, b) in GAIN.items():
        effect, published = results.effect(parameters, replace(template, a=a, b=b)), paper.get((a, b))
        lines[title] = {
            "ours": report.NOT_DONE if effect is None else effect_in_words(effect, "points"),
            "paper (points)": report.ABSENT if published is None else f"{published:+.2f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


# --- drawn from the networks themselves ---------------------------------------------------------------


def conversion() -> Figure:
    """Figure 1: the top layers of the FCN and of the ConvLSTM-FCN made from it, shapes read off a forward pass."""
    import torch

    from reprolib.models.conv_lstm import ConvLSTMFCN
    from reprolib.models.fcn_resnet50 import FCNResNet50

    frames = 10
    with torch.device("meta"):
        fcn = FCNResNet50().eval()
        converted = ConvLSTMFCN(fcn).eval()
        images = torch.zeros(frames, 3, 320, 320)
        features = fcn.features(images)
        clips = features.unflatten(0, (-1, STEPS))
        shapes = [
            [("Conv5_x", features), ("Conv6, 1×1", fcn.classifier(features)), ("UpSampling, ×16", fcn(images))],
            [
                ("Conv5_x", features),
                ("Reshape1", clips),
                ("ConvLSTM, 1×1", converted.conv_lstm(clips)),
                ("Reshape2", converted.conv_lstm(clips).flatten(0, 1)),
                ("UpSampling, ×16", converted(images.unflatten(0, (-1, STEPS))).flatten(0, 1)),
            ],
        ]
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2))
        for ax, title, layers in zip(axes, ("baseline FCN", "ConvLSTM-FCN"), shapes, strict=True):
            for i, (name, output) in enumerate(layers):
                y = 4 - i * 4 / (len(layers) - 1)
                new = name.startswith(("Reshape", "ConvLSTM"))
                colour = "#CC79A7" if name.startswith("ConvLSTM") else "#DDDDDD" if new else "#56B4E9"
                ax.add_patch(Rectangle((0, y - 0.28), 1.6, 0.56, facecolor=colour, edgecolor="#333333"))
                ax.text(0.8, y, name, ha="center", va="center", fontsize=9)
                ax.text(1.7, y, " × ".join(map(str, output.shape)), va="center", fontsize=9)
                if i:
                    above_y = 4 - (i - 1) * 4 / (len(layers) - 1)
                    ax.annotate("", (0.8, y + 0.28), (0.8, above_y - 0.28), arrowprops={"arrowstyle": "-|>"})
            ax.set(xlim=(-0.1, 3.6), ylim=(-0.5, 4.5), title=title)
            ax.axis("off")
    return figure
