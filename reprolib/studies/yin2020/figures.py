"""The figures of yin2020, from its records and from the method itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.yin2020 import rows as r
from reprolib.studies.yin2020.config import Config
from reprolib.studies.yin2020.scores import share
from reprolib.trial import Record

if TYPE_CHECKING:
    from torch import nn

PARTS = ("brow 1", "brow 2", "eye 1", "eye 2", "nose", "mouth")  # the six crops, Sec. 2.1
PAPER_SMALL = 128  # side of the input of stage 1, Sec. 3.3
ERASED = tuple(range(len(PARTS) + 1))  # numbers of erased parts
# left and right share a colour
COLOURED_AS = ("background", "brow_l", "brow_r", "eye_l", "eye_r", "nose", "upper_lip", "cavity", "lower_lip")
COLOURS = figures.part_colours(COLOURED_AS)
LEGEND = ("brows", "eyes", "nose", "upper_lip", "cavity", "lower_lip")
IN_WORDS = {"upper_lip": "upper lip", "cavity": "inner mouth", "lower_lip": "lower lip"}
BOXES = figures.part_colours(("brow_l", "brow_r", "eye_l", "eye_r", "nose", "upper_lip")) / 255  # of the six crops
INPUT_SIZES = {
    "half": (r.ICNN_HALF, r.STN_HALF, r.END_TO_END_HALF), "whole": (r.ICNN, r.STN, r.END_TO_END),
}  # fmt: skip
# between the worst and the best place for the crops
LADDER = {
    "mean place": r.MEAN_PLACE, "stage 1\nalone": r.STAGE_1, "centroids\n(iCNN)": r.ICNN, "STN\n(STN-iCNN*)": r.STN,
    "stage 2 learns on\n(recipe)": r.STAGE_2_ONLY, "joint\n(STN-iCNN)": r.END_TO_END, "true place": r.TRUE_PLACE,
}  # fmt: skip

Arrays = Mapping[str, np.ndarray]


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """The figures of one data source by name; a figure is absent if one of its rows was not run."""
    records = results.by_row(parameters)
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}

    def config(row: str) -> Config:
        return results.study.config_of(records[row][0].trial)

    wanted: dict[str, tuple[Sequence[str], Callable[[], Figure], str]] = {
        "figure 1": ((r.END_TO_END,), lambda: _pipeline(kept[r.END_TO_END], config(r.END_TO_END)), "example_theta"),
        "figure 5a": ((r.STN, r.ICNN), lambda: _missing(kept[r.ICNN], kept[r.STN]), "missing_example_theta"),
        "figure 5b": (r.ASKED_ABOUT_MISSING, lambda: _recall(records, results), "recall_erased"),
        "figure 6": (sum(INPUT_SIZES.values(), ()), lambda: _input_sizes(records, config), "confusion"),
        "figure 8": ((r.STN,), lambda: _odd_and_even(kept[r.STN], config(r.STN)), "example_theta"),
        "extra A": (tuple(LADDER.values()), lambda: _ladder(records), "confusion"),
    }
    ready = {
        name: draw
        for name, (needed, draw, array) in wanted.items()
        if all(row in records for row in needed) and array in kept[needed[0]]
    }
    return {name: draw() for name, draw in ready.items()}


# --- from records ------------------------------------------------------------------------------------


def _tiles(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    alpha = (0.0, *[0.65] * (len(COLOURED_AS) - 1))  # the background stays as it is
    return [figures.overlay(image, one, COLOURS, alpha=alpha) for image, one in zip(images, labels, strict=True)]


def _masks(labels: np.ndarray) -> list[np.ndarray]:
    return list(COLOURS[labels])


def _grid(
    rows: Sequence, row_titles: Sequence[str], column_titles: Sequence[str], *, tile: float
) -> tuple[Figure, np.ndarray]:
    """A grid of images under the legend of parts, and its axes (rows, columns)."""
    figure = figures.image_grid(rows, row_titles, column_titles, classes=LEGEND, tile=tile)
    for text in figure.legends[0].get_texts():
        text.set_text(IN_WORDS.get(text.get_text(), text.get_text()))
    return figure, np.array(figure.axes).reshape(len(rows), -1)


def _cut(image: np.ndarray, theta: np.ndarray, patch: int) -> list[np.ndarray]:
    """The six crops of an image at θ (6, 2, 3), as the grid transformer takes them: uint8 (patch, patch, 3) each."""
    import torch

    from reprolib.models.spatial_transformer import crop

    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    found = crop(picture, torch.from_numpy(theta)[None], patch=patch)[0]
    return list(found.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy())


def _draw_boxes(ax: Axes, theta: np.ndarray, side: int) -> None:
    """The outlines of crops at θ (6, 2, 3) on an image of side × side pixels; the mouth's as the upper lip."""
    for colour, ((sx, _, tx), (_, sy, ty)) in zip(BOXES, theta, strict=True):
        if not np.isfinite([sx, tx, sy, ty]).all():
            continue
        width, height = (abs(scale) * (side - 1) + 1 for scale in (sx, sy))
        x, y = ((t + 1) / 2 * (side - 1) for t in (tx, ty))
        corner = (x - width / 2, y - height / 2)
        for outline, linewidth in (("white", 1.9), (colour, 1.2)):  # the brows' brown shows on dark hair, too
            ax.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor=outline, linewidth=linewidth, clip_on=True)
            )


def _pipeline(kept: Arrays, config: Config) -> Figure:
    """Figure 1: frame with crops, rough mask, the six crops, the whole face again, and its annotation."""
    images, side = kept["example_images"][:3], kept["example_images"].shape[1]
    rows = [
        [image, rough, *_cut(image, theta, config.source.patch), found, truth]
        for image, rough, theta, found, truth in zip(
            images,
            _masks(kept["example_coarse"]),
            kept["example_theta"],
            _tiles(images, kept["example_predictions"][:3]),
            _tiles(images, kept["example_labels"][:3]),
            strict=False,
        )
    ]
    titles = ["frame", "rough mask", *PARTS, "result", "annotation"]
    figure, axes = _grid(rows, (), titles, tile=1.08)
    for ax, theta in zip(axes[:, 0], kept["example_theta"], strict=False):
        _draw_boxes(ax, theta, side)
    for column, colour in enumerate(BOXES, start=2):
        for ax in axes[:, column]:
            ax.spines[:].set(visible=True, color=colour, linewidth=2)
    for ax in axes[0]:
        ax.title.set_fontsize(8)
    return figure


def _missing(baseline: Arrays, stn: Arrays) -> Figure:
    """Figure 5: faces whose parts are painted over, their rough masks, and the crops of both methods."""
    images, side = stn["missing_example_images"], stn["missing_example_images"].shape[1]
    rows = [list(images), _masks(stn["missing_example_coarse"]), list(images), list(images)]
    titles = ["two parts\npainted over", "rough mask", "baseline\ncropper", "STN"]
    figure, axes = _grid(rows, titles, (), tile=9.3 / len(images))
    for row, kept in ((2, baseline), (3, stn)):
        for ax, theta in zip(axes[row], kept["missing_example_theta"], strict=True):
            _draw_boxes(ax, theta, side)
            ax.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
    return figure


def _recall(records: Mapping[str, list[Record]], results: Results) -> Figure:
    """Figure 5 in numbers: the share of parts inside their crops against the number of erased parts."""
    methods = {"baseline cropper": r.ICNN, "STN": r.STN, "STN, trained end to end": r.END_TO_END}
    panels = {"recall_erased": "parts that are erased", "recall_left": "parts that are left"}
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.3), sharey=True)
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            for label, row in methods.items():
                counts = results.stacked(records[row], name)  # (seeds, faces, numbers, 2)
                found = share(counts.sum(1))
                some = np.isfinite(found).all(0)
                figures.line_of_seeds(ax, np.array(ERASED)[some], found[:, some], label)
            ax.set_title(title, fontsize=10)
            ax.set_xlabel("erased parts of a face")
            ax.set_xticks(ERASED)
        axes[0].set_ylabel("pixels inside their crop (%)")
        axes[0].legend()
    return figure


def _input_sizes(records: Mapping[str, list[Record]], config: Callable[[str], Config]) -> Figure:
    """Figure 6: overall F1 with full and half input size of the coarse stage; each dot is a seed."""
    names = ("iCNN", "STN-iCNN*", "STN-iCNN")
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.4, 3.2))
        for shift, (kind, rows) in zip((-0.12, 0.12), INPUT_SIZES.items(), strict=True):
            of_rows = [records[row] for row in rows]
            side = config(rows[0]).small
            colour = figures.LINE_COLOURS[kind == "whole"]
            for x, of_seeds in enumerate(of_rows):
                values = [record.metrics["overall"] for record in of_seeds]
                ax.plot([x + shift] * len(values), values, "o", color=colour, alpha=0.45, markersize=5)
                ax.plot(x + shift, np.mean(values), "_", color=colour, markersize=26, markeredgewidth=2.5)
            ax.plot([], [], "o", color=colour, label=f"{side} × {side}")
        ax.set_xticks(range(len(names)), names)
        ax.set(ylabel="overall F1 × 100", xlim=(-0.5, len(names) - 0.5))
        figure.legend(title="input of stage 1", loc="outside right upper")
    return figure


def _ladder(records: Mapping[str, list[Record]]) -> Figure:
    """Overall F1 of every seed for crops from the mean position to the true one and both ways of training further."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(8.6, 3.4))
        for x, row in enumerate(LADDER.values()):
            values = [record.metrics["overall"] for record in records[row]]
            colour = figures.LINE_COLOURS[x % len(figures.LINE_COLOURS)]
            ax.plot([x] * len(values), values, "o", color=colour, alpha=0.6)
            ax.plot(x, np.mean(values), "_", color=colour, markersize=30, markeredgewidth=2.5)
        ax.set_xticks(range(len(LADDER)), list(LADDER), fontsize=8)
        ax.set(ylabel="overall F1 × 100", xlim=(-0.6, len(LADDER) - 0.4))
    return figure


def _odd_and_even(kept: Arrays, config: Config) -> Figure:
    """Figure 8: crops by slicing and by the grid transformer at an odd and at an even side, and their difference."""
    import torch

    from reprolib.datasets import parsing_faces
    from reprolib.models.spatial_transformer import theta_of_centres

    images, labels = kept["example_images"], kept["example_labels"]
    middles = parsing_faces.centres(labels)
    odd = min(config.source.patch, images.shape[1] // 4 * 2 - 1)
    shown = (0, 2, 5)
    rows = []
    for part in shown:
        row: list[np.ndarray] = []
        face = int(np.flatnonzero(np.isfinite(middles[:, part]).all(1))[0])
        for patch in (odd, odd - 1):
            x, y = middles[face, part].astype(int)
            framed = np.pad(images[face], ((patch, patch), (patch, patch), (0, 0)))  # for a part at the edge
            top, left = y + patch - patch // 2, x + patch - patch // 2
            plain = framed[top : top + patch, left : left + patch]
            theta = theta_of_centres(torch.from_numpy(middles[face : face + 1]), frame=images.shape[1:3], patch=patch)
            sampled = _cut(images[face], theta[0].numpy(), patch)[part]
            far = np.abs(sampled.astype(int) - plain).max(axis=2)
            contrast = np.repeat(255 - np.clip(4 * far, 0, 255), 3).reshape(*far.shape, 3).astype(np.uint8)
            row += [plain, sampled, contrast]
        rows.append(row)
    titles = [f"{name}, {patch}" for patch in (odd, odd - 1) for name in ("slice", "STN", "difference × 4")]
    figure = figures.image_grid(rows, [PARTS[part] for part in shown], titles, tile=1.45)
    for ax in np.array(figure.axes).reshape(len(rows), -1)[:, 2::3].flat:
        ax.spines[:].set(visible=True, color="#888888")  # no difference is white
    return figure


# --- drawn from the method itself --------------------------------------------------------------------

_STAGES = {"scale": "#BBBBBB", "input": "#56B4E9", "step": "#009E73", "integration": "#E69F00", "head": "#CC79A7"}


def interlinked() -> Figure:
    """Figure 2: the iCNN of stage 1 with its sizes and parameters, read off its modules."""
    import torch

    from reprolib.models.icnn import ICNN, pyramid

    with torch.device("meta"):
        model, images = ICNN(9), torch.zeros(1, 3, PAPER_SMALL, PAPER_SMALL)
        scales = pyramid(images, len(model.inputs))
    placed: dict[nn.Module, tuple[str, float, int]] = {}
    for row, layer in enumerate(model.inputs):
        placed[layer] = ("input", 1, row)
    for number, step in enumerate(model.steps):
        for row, layer in enumerate(step):
            placed[layer] = ("step", 2 + number, row)
    for row, layer in enumerate(model.integration):
        placed[layer] = ("integration", 5, row)
    placed[model.head] = ("head", 6, 0)
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    handles = [
        layer.register_forward_hook(lambda module, _, output: shapes.update({module: tuple(output.shape[1:])}))
        for layer in placed
    ]
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()
    with figures.style():
        figure, ax = plt.subplots(figsize=(10.6, 4.6))
        for row, scale in enumerate(scales):
            _box(ax, 0, row, f"image\n{_size(scale.shape[1:])}", _STAGES["scale"])
            _arrow(ax, (0, row), (1, row))
        for layer, (kind, column, row) in placed.items():
            count = sum(p.numel() for p in layer.parameters())
            _box(ax, column, row, f"{kind}\n{_size(shapes[layer])}\n{count:,}", _STAGES[kind])
        rows = range(len(scales))
        for column in (1, 2, 3):  # every row reads itself and its neighbours
            for row in rows:
                for other in (row - 1, row, row + 1):
                    if other in rows:
                        _arrow(ax, (column, other), (column + 1, row))
        for row in rows[:-1]:
            _arrow(ax, (4, row), (5, row))
        _arrow(ax, (4, 3), (5, 2))
        for row in (2, 1):
            _arrow(ax, (5, row), (5, row - 1))
        _arrow(ax, (5, 0), (6, 0))
        ax.set(xlim=(-0.5, 6.5), ylim=(3.45, -0.45))
        ax.axis("off")
    return figure


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _box(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    look = {"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "#333333"}
    ax.text(x, y, text, ha="center", va="center", fontsize=7.5, bbox=look, zorder=3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    shrink = 18 if start[0] == end[0] else 33
    style = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.8, "shrinkA": shrink, "shrinkB": shrink}
    ax.annotate("", end, start, arrowprops=style)


def localisation() -> Figure:
    """Figure 3: the light localisation network of the authors' code, read off its modules."""
    from reprolib.models.localisation import LightLocalisation

    with figures.style():
        figure, ax = plt.subplots(figsize=(10.6, 4.2))
        figures.architecture(ax, LightLocalisation(), (9, PAPER_SMALL, PAPER_SMALL))
    return figure


def pre_training() -> Figure:
    """Figure 4: what the two steps of pre-training learn, on one rendered face in its five versions."""
    import torch

    from reprolib.datasets import parsing_faces
    from reprolib.studies.yin2020 import data as faces_of

    size, small = r.source("facesynth", "cpu"), r.SIZES["cpu"]["small"]
    face = parsing_faces.synthetic(faces_of.SEED, 1, size=size.frame, first=faces_of.RENDERED_TEST + 3)
    batch = faces_of.tensors(face)
    full, labels = parsing_faces.augment(
        batch["images"].float() / 255, batch["labels"].long(), torch.Generator().manual_seed(4)
    )
    theta = faces_of.true_theta(labels, patch=size.patch, mouth_patch=size.mouth_patch)

    def as_images(frames) -> list[np.ndarray]:
        return list(frames.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())

    masks = _masks(faces_of.resized_labels(labels, (small, small)).numpy())
    rows = [as_images(faces_of.shrunk(full, small)), masks, as_images(full)]
    names = ["in: image", "out of stage 1\n(Eq. 18)", "out of localiser:\nθ (Eq. 19–21)"]
    titles = ["as it is", *(f"{number} change{'s' * (number > 1)}" for number in range(1, 5))]
    figure, axes = _grid(rows, names, titles, tile=1.6)
    for ax, places in zip(axes[2], theta.numpy(), strict=True):
        _draw_boxes(ax, places, size.frame)
        ax.set(xlim=(-0.5, size.frame - 0.5), ylim=(size.frame - 0.5, -0.5))
    return figure


def sampling_grids() -> Figure:
    """Figure 7: where a crop of odd and of even side samples the image, beside the pixels of a plain slice."""
    import torch

    from reprolib.models.spatial_transformer import theta_of_centres

    side, middle = 11, 5
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 4.2))
        for ax, patch in zip(axes, (5, 4), strict=True):
            theta = theta_of_centres(torch.full((1, 1, 2), float(middle)), frame=(side, side), patch=patch)[0, 0]
            steps = torch.linspace(-1, 1, patch)
            places = ((theta[0, 0] * steps + theta[0, 2] + 1) / 2 * (side - 1)).numpy()
            pixels = np.arange(side)
            ax.plot(*(grid.ravel() for grid in np.meshgrid(pixels, pixels)), "s", color="#CCCCCC", markersize=9)
            first = middle - patch // 2
            inside = np.arange(first, first + patch)
            ax.plot(*(grid.ravel() for grid in np.meshgrid(inside, inside)), "s", color="#E69F00", markersize=9,
                    label="pixels of the baseline's slice")  # fmt: skip
            ax.plot(*(grid.ravel() for grid in np.meshgrid(places, places)), "o", color="#0072B2", markersize=4,
                    label="places that the STN samples")  # fmt: skip
            ax.plot(middle, middle, "+", color="black", markersize=13, markeredgewidth=1.6, label="centre of the part")
            ax.set_title(f"side {patch}: {'on pixels' if patch % 2 else 'between pixels'}", fontsize=10)
            ax.set(xlim=(1.2, 8.8), ylim=(8.8, 1.2), aspect="equal", xticks=[], yticks=[])
            ax.grid(False)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure
