"""wang2018's figures, drawn from its records and its networks."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures
from reprolib.datasets.pictures import crop_square, resize_labels, resize_picture
from reprolib.models.conv_lstm import ConvLSTMFCN
from reprolib.models.fcn_resnet50 import FCNResNet50
from reprolib.records import Arrays
from reprolib.store import RunStore
from reprolib.studies.wang2018 import settings as s
from reprolib.studies.wang2018.data import PARTS
from reprolib.studies.wang2018.results import by_person, gain_over_time, records_of
from reprolib.trial import Record

# The palette's names for skin, eyes, outer and inner mouth.
SHOWN_AS = ("background", "face", "eyes", "lips", "cavity")
COLOURS = figures.part_colours(SHOWN_AS)
PRIMARY = s.primary(s.PRIMARY_GAMMA)
FIGURE_6 = {"baseline FCN": s.FCN, "primary": PRIMARY, "+ zoomed in": s.COMBINED}


def drawn(parameters: s.Parameters, store: RunStore) -> dict[str, Figure]:
    """Every figure whose trials are finished: name → figure. No picture of a real person is among them."""
    records = records_of(parameters, store)
    arrays = {name: store.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    made = {
        "figure 2": lambda: _pipeline(arrays[s.COMBINED]),
        "figure 3": lambda: _annotations(arrays[s.FCN]),
        "figure 4": lambda: _crops(arrays),
        "figure 5": lambda: _masks(arrays),
        "figure 6": lambda: _people(records, Arrays(store)),
        "table 4": lambda: _over_time(records, Arrays(store)),
        "curves": lambda: _loss_curves(records),
    }
    needs = {
        "figure 2": [s.COMBINED],
        "figure 3": [s.FCN],
        "figure 4": [s.zoomed(region, None) for region in s.REGIONS],
        "figure 5": list(FIGURE_6.values()),
        "figure 6": list(FIGURE_6.values()),
        "table 4": [s.FCN, s.CROSS_ENTROPY, s.LINEAR],
        "curves": [s.CROSS_ENTROPY, s.LINEAR],
    }
    if parameters.data != "synthetic":  # nobody's face is shown
        made = {
            name: draw for name, draw in made.items() if name not in ("figure 2", "figure 3", "figure 4", "figure 5")
        }
    return {name: draw() for name, draw in made.items() if all(row in records for row in needs[name])}


def _overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return figures.overlay(image, labels, COLOURS, alpha=(0.0, 0.55, 0.7, 0.6, 0.7))


def _overlays(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    return [_overlay(image, one) for image, one in zip(images, labels, strict=True)]


def _annotations(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 3: frames and their masks."""
    images, labels = kept["example_images"], kept["example_labels"]
    rows = [list(images), _overlays(images, labels)]
    return figures.image_grid(rows, classes=SHOWN_AS[1:], tile=1.15)


def _crops(arrays: Mapping[str, dict]) -> Figure:
    """Figure 4: crops of eyes and mouth with their masks."""
    pairs = []
    for region in s.REGIONS:
        kept = arrays[s.zoomed(region, None)]
        own = np.array((0, *PARTS[region]))
        images = kept["example_images"][:4]
        pairs += [list(images), _overlays(images, own[kept["example_labels"][:4]])]
    return figures.image_grid(list(zip(*pairs, strict=True)), classes=SHOWN_AS[2:], tile=1.4)


def _masks(arrays: Mapping[str, dict]) -> Figure:
    """Figure 5: input, annotation, and what the three systems find."""
    baseline = arrays[s.FCN]
    images = baseline["example_images"]
    columns = {"input": list(images), "annotation": _overlays(images, baseline["example_labels"])}
    for title, row in FIGURE_6.items():
        columns[title] = _overlays(images, arrays[row]["example_predictions"])
    return figures.image_grid(
        list(zip(*columns.values(), strict=True))[:6], column_titles=list(columns), classes=SHOWN_AS[1:], tile=1.6
    )


def _pipeline(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 2: one frame through the primary model, the two crops and back: the frame with boxes of median size."""
    boxes = kept["example_boxes"]  # (frames, regions, 3), in pixels of the frames as they were before shrinking
    smaller = boxes[..., 2].min(axis=1)
    there = np.flatnonzero(smaller > 0) if smaller.any() else np.arange(len(boxes))
    shown = int(there[np.argsort(smaller[there], kind="stable")[len(there) // 2]])
    image, found = kept["example_images"][shown], kept["example_predictions"][shown]
    primary = kept["example_primary"][shown]
    side = primary.shape[0]
    large, combined = resize_picture(image, side), resize_labels(found, side)
    with figures.style():
        figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.4))
        panels = [(large, "frames"), (_overlay(large, primary), "primary mask")]
        for region, (x, y, width) in zip(s.REGIONS, boxes[shown].tolist(), strict=True):
            if width:
                crop = crop_square(large, (x, y, width))
                inside = np.where(np.isin(combined, PARTS[region]), combined, 0)
                mask = crop_square(inside, (x, y, width), fill=0)
                panels += [(crop, f"crop of the {region}"), (_overlay(crop, mask), f"what the {region} model finds")]
        panels.append((_overlay(large, combined), "combined mask"))
        for ax in axes.flat:
            ax.axis("off")
        places = [axes[0, 0], axes[1, 0], axes[0, 1], axes[0, 2], axes[1, 1], axes[1, 2], axes[0, 3]]
        for ax, (picture, title) in zip(places, panels, strict=False):
            ax.imshow(picture)
            ax.set_title(title, fontsize=9)
        for x, y, width in boxes[shown].tolist():
            axes[1, 0].add_patch(Rectangle((x, y), width, width, fill=False, edgecolor="white", linewidth=1.5))
    return figure


def _people(records: Mapping[str, list[Record]], arrays: Arrays) -> Figure:
    """Figure 6: mean and standard deviation of the frames' mIoU for each person."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(8.4, 3.2))
        for i, (title, row) in enumerate(FIGURE_6.items()):
            means, deviations = by_person(records[row], arrays)
            at = np.arange(len(means)) + 0.27 * (i - 1)
            ax.bar(at, means, 0.25, yerr=deviations, label=title, error_kw={"elinewidth": 0.8})
        ax.set(xlabel="person", ylabel="mIoU of a frame (%)", xticks=np.arange(len(means)))
        ax.set_xticklabels(range(1, len(means) + 1))
        ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return figure


def _over_time(records: Mapping[str, list[Record]], arrays: Arrays) -> Figure:
    """Table 4 as curves: gain over the baseline at each of the five frames; bands are ranges over seeds."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(5.6, 3.4))
        for title, row in {"cross-entropy": s.CROSS_ENTROPY, "segmentation loss": s.LINEAR, "primary": PRIMARY}.items():
            seeds = {r.trial.seed for r in records.get(row, [])} & {r.trial.seed for r in records[s.FCN]}
            if not seeds:
                continue
            ours, baseline = ([r for r in records[name] if r.trial.seed in seeds] for name in (row, s.FCN))
            times = arrays(ours[:1], "times")[0]
            pairs = zip(arrays(ours, "confusion"), arrays(baseline, "confusion"), strict=True)
            gains = np.array([gain_over_time(a, b, times) for a, b in pairs])
            figures.line_of_seeds(ax, np.arange(1, s.STEPS + 1), gains, title)
        ax.axhline(0, color="#444444", linewidth=1)
        ax.set(xlabel="frame of the clip", ylabel="mIoU over the baseline (points)", xticks=range(1, s.STEPS + 1))
        ax.legend()
    return figure


def _loss_curves(records: Mapping[str, list[Record]]) -> Figure:
    """Validation mIoU while the ConvLSTM is trained with each loss; bands are ranges over seeds."""
    panels = {
        "the paper's losses": (s.CROSS_ENTROPY, s.IOU, s.HINGE, s.LINEAR),
        "others": (s.DICE, s.LOVASZ, s.SOFT, s.SCORES),
    }
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.8), sharey=True)
        for ax, (title, rows) in zip(axes, panels.items(), strict=True):
            for row in rows:
                if row in records:
                    curves = np.array([record.curves["validation_miou"] for record in records[row]])
                    x = np.arange(1, curves.shape[1] + 1)
                    label = row.removesuffix(" (ours, beyond the paper)")
                    figures.line_of_seeds(ax, x, curves, label)
            ax.set(xlabel="epoch", title=title)
            if ax.lines:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=8, ncols=2)
        axes[0].set(ylabel="validation mIoU (%)")
    return figure


# --- drawn from the networks themselves ---------------------------------------------------------------


def conversion() -> Figure:
    """Figure 1: the top layers of the FCN and of the ConvLSTM-FCN made from it, shapes read off a forward pass."""
    frames, steps = 10, s.STEPS
    with torch.device("meta"):
        fcn = FCNResNet50().eval()
        converted = ConvLSTMFCN(fcn).eval()
        images = torch.zeros(frames, 3, 320, 320)
        features = fcn.features(images)
        shapes = [
            [("Conv5_x", features), ("Conv6, 1×1", fcn.classifier(features)), ("UpSampling, ×16", fcn(images))],
            [
                ("Conv5_x", features),
                ("Reshape1", features.unflatten(0, (-1, steps))),
                ("ConvLSTM, 1×1", converted.conv_lstm(features.unflatten(0, (-1, steps)))),
                ("Reshape2", converted.conv_lstm(features.unflatten(0, (-1, steps))).flatten(0, 1)),
                ("UpSampling, ×16", converted(images.unflatten(0, (-1, steps))).flatten(0, 1)),
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
