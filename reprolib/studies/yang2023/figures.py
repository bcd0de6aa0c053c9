"""The figures of yang2023, from its records and from the method itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import cluster, ndimage

from reprolib import figures, metrics, report
from reprolib.datasets import mouths
from reprolib.datasets.mouths import HARD_CASES, SEVERITIES
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.yang2023 import rows as r
from reprolib.studies.yang2023.config import CLASSES
from reprolib.studies.yang2023.data import SHOWN_SEVERITIES, most_open
from reprolib.studies.yang2023.scores import PRINTED
from reprolib.trial import Record

if TYPE_CHECKING:
    import torch
    from torch import nn

    from reprolib.models.lip_network import LipNetwork

PAPER_INPUT = (1, 3, 128, 256)
MODULES = {"baseline": r.BASELINE, "with FLM": r.RECONSTRUCTION, "with FGR": r.PROJECTION, "proposed": r.PROPOSED}
COMPARED = {row.split(" [")[0]: row for row in r.RIVALS} | {"proposed": r.PROPOSED, "SegFormer": r.SEGFORMER}
FIGURE_4_MOUTH = 9  # an open one in plain light

Arrays = Mapping[str, np.ndarray]


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """The figures of one data source by name; a figure is absent if one of its rows was not run."""
    records = results.by_row(parameters)
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    classes = CLASSES[r.DATASETS[parameters.data]]
    shown = kept.get(r.MEAN_MASK, {})
    # figure → the rows and the arrays of the first of them without which it cannot be drawn
    wanted: dict[str, tuple[Sequence[str], str, Callable[[], Figure]]] = {
        "figure 1": ((r.MEAN_MASK,), "example_images", lambda: _colours_and_edges(shown, classes)),
        "figure 5": ((r.MEAN_MASK,), "example_images", lambda: _annotations(shown, classes)),
        "figure 6": ((r.MEAN_MASK, *MODULES.values()), "example_images", lambda: _masks(kept, MODULES, classes, 0)),
        "figure 7": (tuple(COMPARED.values()), "confusion", lambda: _confusions(records, results, classes)),
        "figure 8": ((r.MEAN_MASK, *COMPARED.values()), "example_images", lambda: _masks(kept, COMPARED, classes, 5)),
        "figure 9": ((r.PROPOSED,), "elsewhere_images", lambda: _elsewhere(kept[r.PROPOSED], classes)),
        "figure 10": ((r.PROPOSED,), "hard_images", lambda: _hard_cases(kept[r.PROPOSED], classes)),
        "figure 11a": ((r.PROPOSED,), "hard_images", lambda: _severities(kept[r.PROPOSED], classes)),
        "figure 11b": (r.HARD_ROWS, "confusion_hard", lambda: _robustness(records, results)),
        "table 1": ((r.PROPOSED, *(r.grid_row(*point) for point in r.NEIGHBOURS)), "confusion",
                    lambda: _grid(records, results)),
    }  # fmt: skip
    ready = {
        name: draw
        for name, (needed, array, draw) in wanted.items()
        if all(row in records for row in needed) and array in kept[needed[0]]
    }
    return {name: draw() for name, draw in ready.items()}


def _tiles(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[np.ndarray]:
    # the background stays as it is: the mouth is what is shown
    alpha = (0.0, *[0.6] * (len(classes) - 1))
    colours = figures.part_colours(classes)
    return [figures.overlay(image, one, colours, alpha=alpha) for image, one in zip(images, labels, strict=True)]


def _rows(columns: Mapping[str, list[np.ndarray]], classes: Sequence[str], *, tile: float) -> Figure:
    """One column per network, one row per mouth; mouths are twice as wide as high."""
    figure = figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=classes[1:], tile=tile
    )
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, 0.9 + (height - 0.9) * 0.55)
    return figure


def _masks(kept: Mapping[str, Arrays], shown: Mapping[str, str], classes: Sequence[str], first: int) -> Figure:
    """Figures 6 and 8: input, annotation, and what each network finds."""
    chosen = slice(first, first + 5)
    images, labels = (kept[r.MEAN_MASK][f"example_{name}"][chosen] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _tiles(images, labels, classes)}
    for title, row in shown.items():
        columns[title] = _tiles(images, kept[row]["example_predictions"][chosen], classes)
    return _rows(columns, classes, tile=1.9 if len(columns) < 8 else 1.25)


def _annotations(kept: Arrays, classes: Sequence[str]) -> Figure:
    """Figure 5: mouths and their annotations."""
    images, labels = kept["example_images"][:8], kept["example_labels"][:8]
    return _above_each_other(images, _tiles(images, labels, classes), classes)


def _above_each_other(images: np.ndarray, tiles: Sequence[np.ndarray], classes: Sequence[str]) -> Figure:
    """Images four in a row, each with its overlay below it."""
    lines = []
    for start in range(0, len(images) // 4 * 4, 4):
        lines += [list(images[start : start + 4]), list(tiles[start : start + 4])]
    lines = lines or [list(images), list(tiles)]
    figure = figures.image_grid(lines, classes=classes[1:], tile=2.0)
    figure.set_size_inches(8.2, 0.5 + 1.1 * len(lines))
    return figure


def _elsewhere(kept: Arrays, classes: Sequence[str]) -> Figure:
    """Figure 9: mouths of a dataset that the network was not trained on, and what it finds in them."""
    images = kept["elsewhere_images"]
    return _above_each_other(images, _tiles(images, kept["elsewhere_predictions"], classes), classes)


def _hard_cases(kept: Arrays, classes: Sequence[str]) -> Figure:
    """Figure 10: one mouth in every hard case at medium severity: image, truth, prediction."""
    images, labels, found = (kept[f"hard_{name}"][:, 1] for name in ("images", "labels", "predictions"))
    lines = [list(images), _tiles(images, labels, classes), _tiles(images, found, classes)]
    figure = figures.image_grid(lines, ["input", "annotation", "proposed"], HARD_CASES, classes=classes[1:], tile=1.6)
    figure.set_size_inches(11.5, 3.2)
    return figure


def _severities(kept: Arrays, classes: Sequence[str]) -> Figure:
    """Figure 11: the same mouth, case by case, untouched and at two severities; image above prediction."""
    images, found = kept["hard_images"], kept["hard_predictions"]
    lines = []
    for level in range(len(SHOWN_SEVERITIES)):
        lines += [list(images[:, level]), _tiles(images[:, level], found[:, level], classes)]
    titles = [title for severity in SHOWN_SEVERITIES for title in (f"severity {severity}", "")]
    figure = figures.image_grid(lines, titles, HARD_CASES, classes=classes[1:], tile=1.6)
    figure.set_size_inches(11.5, 0.7 + 0.85 * len(lines))
    return figure


def _colours_and_edges(kept: Arrays, classes: Sequence[str]) -> Figure:
    """Figure 1: an open mouth, its annotation, the colours of its parts, and its edges by Canny."""
    images, labels = kept["example_images"], kept["example_labels"]
    open_mouth = most_open(images, labels)
    image, label = images[open_mouth], labels[open_mouth]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    slope = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges = cv2.Canny(grey, *np.percentile(slope, (80, 92)))  # relative to the image's contrast
    with figures.style():
        figure = plt.figure(figsize=(9.6, 3.4))
        grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.25))
        shown = (
            ("(a) mouth", image, grid[0, 0]),
            ("(b) annotation", _tiles(image[None], label[None], classes)[0], grid[0, 1]),
            ("(d) Canny edges", 255 - edges, grid[1, 0]),
            ("edges of the annotation", 255 - 255 * _boundary(label), grid[1, 1]),
        )
        for title, image_shown, place in shown:
            ax = figure.add_subplot(place)
            ax.imshow(image_shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_title(title, fontsize=9)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        _colour_distribution(figure.add_subplot(grid[:, 2]), images, labels, classes)
    return figure


def _boundary(label: np.ndarray) -> np.ndarray:
    return (ndimage.maximum_filter(label, 3) > ndimage.minimum_filter(label, 3)).astype(np.uint8)


def _colour_distribution(ax: Axes, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Where half of each part's pixels are, in lightness and redness, over all mouths that are shown."""
    lab = np.stack([cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in images])
    lightness, redness = lab[..., 0], lab[..., 1]
    bins = [np.linspace(0, 100, 61), np.linspace(-15, 50, 61)]
    for index, name in enumerate(classes):
        of_part = labels == index
        if of_part.sum() < 50:
            continue
        counts = np.histogram2d(lightness[of_part], redness[of_part], bins=bins)[0]
        density = ndimage.gaussian_filter(counts, 1.5)
        ordered = np.sort(density.ravel())[::-1]
        level = ordered[np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())]
        colour = {"teeth": "#999999"}.get(name, figures.part_colours((name,))[0] / 255)  # white teeth on white
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in bins]
        ax.contour(*centres, density.T, levels=[level], colors=[colour], linewidths=1.8)
        ax.plot([], [], color=colour, label=name)
    ax.set(xlabel="lightness L*", ylabel="redness a*")
    ax.set_title("(c) half of each part's pixels", fontsize=9)
    ax.legend(fontsize=8)


def _confusions(records: Mapping[str, list[Record]], results: Results, classes: Sequence[str]) -> Figure:
    """Figure 7: shares of each annotated part (rows) that each network gives to each class, over all seeds."""
    names = PRINTED[5] if len(classes) == 5 else ("bg", "lip", "inner")
    with figures.style():
        lines = -(-len(COMPARED) // 4)
        figure, axes = plt.subplots(lines, 4, figsize=(10.4, 2.75 * lines), sharex=True, sharey=True)
        for ax in axes.flat[len(COMPARED) :]:
            ax.axis("off")
        for ax, (title, row) in zip(axes.flat, COMPARED.items(), strict=False):
            total = sum(results.arrays(record)["confusion"].sum(0) for record in records[row])
            share = 100 * total / np.maximum(total.sum(1, keepdims=True), 1)
            ax.imshow(share, vmin=0, vmax=100, cmap="Blues")
            for (i, j), value in np.ndenumerate(share):
                ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color="w" if value > 55 else "k")
            ax.set_title(title, fontsize=10)
            ax.grid(False)
            ax.set_xticks(range(len(names)), names, rotation=45)
            ax.set_yticks(range(len(names)), names)
        figure.supxlabel("predicted (% of the annotated pixels)", fontsize=10)
        figure.supylabel("annotated", fontsize=10)
    return figure


def _robustness(records: Mapping[str, list[Record]], results: Results) -> Figure:
    """mIoU against the severity of each hard case; bands are the range over the seeds."""
    shown = dict(zip(("proposed", "baseline", "Unet"), r.HARD_ROWS, strict=True))
    with figures.style():
        figure, axes = plt.subplots(2, 4, figsize=(10.4, 4.8), sharex=True, sharey=True)
        for title, row in shown.items():
            # (seeds, cases, severities, mouths, K, K) -> (seeds, cases, severities)
            hard = np.stack([results.arrays(record)["confusion_hard"] for record in records[row]])
            scores = 100 * metrics.mean_iou(hard.sum(3))
            for case, ax in enumerate(axes.flat[: len(HARD_CASES)]):
                of_case = scores[:, case]
                figures.line_of_seeds(ax, list(SEVERITIES), of_case, title)
        for ax, case in zip(axes.flat, HARD_CASES, strict=False):
            ax.set_title(case, fontsize=10)
            ax.set_xticks(list(SEVERITIES))
        axes.flat[-1].axis("off")
        axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
        figure.supxlabel("severity (0: untouched)", fontsize=10)
        figure.supylabel("mIoU (%)", fontsize=10)
    return figure


def _grid(records: Mapping[str, list[Record]], results: Results) -> Figure:
    """Table I: the best point and its four neighbours, every seed a dot, beside the paper's numbers on one scale.

    The grey band is the spread that five equal settings would have from the seeds alone: the expected range of five
    means, 2.33 standard errors.
    """
    paper = report.published_from(results.study.folder / results.study.ID / "published.csv", "1")["mIoU"]
    points = [(r.BEST, r.BEST), *r.NEIGHBOURS]
    names = [r.grid_row(*point) for point in points]
    rows_of = [r.PROPOSED, *names[1:]]
    ours = [np.array([record.metrics["miou"] for record in records[row]]) for row in rows_of]
    scatter = np.sqrt(np.mean([of.var(ddof=1) / len(of) for of in ours if len(of) > 1] or [0.0]))
    middle = np.mean([of.mean() for of in ours])
    labels = [f"K {r.per_scale(k)}\nN {r.per_scale(n)}" for k, n in points]
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
        at = np.arange(len(points))
        axes[0].axhspan(middle - 1.165 * scatter, middle + 1.165 * scatter, color="#DDDDDD")
        for x, of in zip(at, ours, strict=True):
            axes[0].plot(np.full(len(of), x), of, "o", color="#0072B2", alpha=0.5)
            axes[0].plot([x - 0.25, x + 0.25], [of.mean()] * 2, color="#0072B2")
        axes[1].plot(at, [paper[name] for name in names], "D", color="#D55E00", markerfacecolor="none")
        for ax, title in zip(axes, ("ours: seeds and their mean", "paper"), strict=True):
            ax.set_title(title, fontsize=10)
            ax.set_xticks(at, labels, fontsize=7)
            ax.set_ylabel("mean IoU (%)")
        half = max(np.ptp(ax.get_ylim()) for ax in axes) / 2  # the same points per inch on both sides
        for ax in axes:
            centre = np.mean(ax.get_ylim())
            ax.set_ylim(centre - half, centre + half)
    return figure


# --- drawn from the method itself --------------------------------------------------------------------

_BOXES = {
    "encoder": "#56B4E9",
    "fuzzy learning": "#E69F00",
    "graph reasoning": "#CC79A7",
    "SE fusion": "#F0E442",
    "decoder": "#009E73",
    "head": "#BBBBBB",
}
_STRIDES = (4, 8, 16, 32)


def network() -> Figure:
    """Figure 2: the network's stages with their output sizes and parameters, read off its modules."""
    from reprolib.models.lip_network import LipNetwork

    model = LipNetwork().eval()
    placed = _placed(model)
    shapes = _output_shapes(model, {module: name for name, (module, *_) in placed.items()})
    with figures.style():
        figure, ax = plt.subplots(figsize=(10.4, 5.4))
        for name, (module, kind, x, y) in placed.items():
            # a decoder stage first widens the coarser scale, and then merges it with the finer one
            widened = [model.decoder.widen[2 - int(name[-1])]] if kind == "decoder" else []
            count = sum(p.numel() for part in (module, *widened) for p in part.parameters())
            size = f"{count / 1e6:.2f}M" if count > 10_000 else f"{count:,}"
            text = f"{kind}\n{'×'.join(map(str, shapes[name]))}\n{size}"
            box = {"boxstyle": "round,pad=0.35", "facecolor": _BOXES[kind.split(":")[0]], "edgecolor": "#333333"}
            ax.text(x, y, text.replace("head: ", ""), ha="center", va="center", fontsize=7.5, bbox=box)
        for start, end in _arrows():
            (x0, y0), (x1, y1) = ((placed[name][2], placed[name][3]) for name in (start, end))
            upright = x0 == x1
            arrow = {"arrowstyle": "-|>", "color": "#333333", "shrinkA": 21 if upright else 34,
                     "shrinkB": 21 if upright else 34, "linewidth": 0.9}  # fmt: skip
            ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
        for y, stride in zip((0, -1, -2, -3), _STRIDES, strict=True):
            ax.text(-0.62, y, f"stride {stride}", ha="right", va="center", fontsize=8)
        ax.text(5.4, 1.06, "from all four encoder maps", ha="center", fontsize=8)
        ax.text(0, 0.42, "image 3×128×256", ha="center", fontsize=8)
        ax.set(xlim=(-1.1, 6.1), ylim=(-3.4, 1.2))
        ax.axis("off")
    return figure


def _placed(model: LipNetwork) -> dict[str, tuple[nn.Module, str, float, float]]:
    """Name → module, its kind, and its position in Figure 2."""
    placed = {f"encoder {i}": (model.encoder.stages[i], "encoder", 0.0, -i) for i in range(4)}
    for i in range(3):
        placed[f"flm {i}"] = (model.fuzzy_learning[i], "fuzzy learning", 1.35, -i + 0.28)
        placed[f"fgr {i}"] = (model.graph_reasoning[i], "graph reasoning", 1.35, -i - 0.28)
        placed[f"fusion {i}"] = (model.fusion[i], "SE fusion", 2.7, -i)
        placed[f"decoder {i}"] = (model.decoder.merge[2 - i], "decoder", 4.0, -i)
    heads = (model.heads.segmentation, model.heads.edge, model.heads.auxiliary)
    for head, name, y in zip(heads, ("segmentation", "edge", "auxiliary"), (0.25, -0.35, 0.8), strict=True):
        placed[name] = (head, f"head: {name}", 5.4, y)
    return placed


def _arrows() -> list[tuple[str, str]]:
    arrows = [(f"encoder {i}", f"encoder {i + 1}") for i in range(3)] + [("encoder 3", "decoder 2")]
    for i in range(3):
        arrows += [(f"encoder {i}", f"{module} {i}") for module in ("flm", "fgr", "fusion")]
        arrows += [(f"flm {i}", f"fusion {i}"), (f"fgr {i}", f"fusion {i}"), (f"fusion {i}", f"decoder {i}")]
    arrows += [("decoder 2", "decoder 1"), ("decoder 1", "decoder 0")]
    return [*arrows, ("decoder 0", "segmentation"), ("decoder 0", "edge")]


def _output_shapes(model: nn.Module, names: Mapping[nn.Module, str]) -> dict[str, tuple[int, ...]]:
    """Name → (channels, height, width) of each module's output for an image of the paper's size."""
    import torch

    shapes = {}

    def note(module: nn.Module, _, output: torch.Tensor) -> None:
        shapes[names[module]] = tuple(output.shape[1:])

    handles = [module.register_forward_hook(note) for module in names]
    with torch.no_grad():
        model(torch.zeros(PAPER_INPUT))
    for handle in handles:
        handle.remove()
    return shapes


def fuzzy_learning() -> Figure:
    """Figure 3: one channel with four kernels through Eq. 1–8, as functions of the feature x."""
    import torch

    from reprolib.models.fuzzy_learning import FuzzyLearningModule, membership, moments, rule_weights

    mu, sigma = torch.tensor([[-1.5, -0.4, 0.5, 1.6]]), torch.tensor([[0.6, 0.4, 0.8, 0.5]])
    x = torch.linspace(-3, 3, 601).view(1, 1, 1, -1)
    temperature = FuzzyLearningModule(4).temperature
    degrees = membership(x, mu, sigma)
    best, least = rule_weights(degrees, temperature)
    drawn = moments(x, mu, sigma, temperature)
    with figures.style():
        figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharex=True)
        curves = (("membership M, Eq. 1", degrees), ("weights of the best", best), ("weights of the least", least))
        for ax, (title, values) in zip(axes, curves, strict=False):
            for k in range(mu.shape[1]):
                ax.plot(x.flatten(), values[..., k].flatten(), label=f"kernel {k + 1}")
            ax.set_title(title, fontsize=10)
        axes[2].legend(fontsize=8)
        outputs = (("Y¹, best", drawn.mean1, drawn.variance1), ("Y², least", drawn.mean2, drawn.variance2))
        for name, middle, variance in outputs:
            middle, spread = middle.flatten().numpy(), variance.sqrt().flatten().numpy()
            figures.line_with_band(axes[3], x.flatten().numpy(), middle, middle - spread, middle + spread, name)
        axes[3].plot(x.flatten(), x.flatten(), color="#888888", linestyle=":", linewidth=1)
        axes[3].set_title("mean ± standard deviation drawn", fontsize=10)
        axes[3].legend(fontsize=8)
        for ax in axes:
            ax.set_xlabel("feature x")
    return figure


def graph_reasoning() -> Figure:
    """Figure 4: a mouth projected onto four nodes and back, with its colours as features.

    The nodes are colours of the image, found by k-means. Between the projections the graph convolutions would change
    the nodes; here they are left out.
    """
    import torch

    from reprolib.models.fuzzy_graph_reasoning import FuzzyProjection

    image = mouths.synthetic(11, 1, size=PAPER_INPUT[2:], first=FIGURE_4_MOUTH).images[0]
    pixels = torch.from_numpy(image.reshape(1, -1, 3)).float() / 255
    projection = FuzzyProjection(3, 4)
    with torch.no_grad():
        centres = cluster.vq.kmeans2(pixels[0].numpy(), 4, minit="++", seed=0)[0]
        projection.mu.copy_(torch.from_numpy(centres))
        projection.sigma.fill_(0.15)
        onto_nodes, onto_pixels = projection(None, pixels)
        nodes = onto_nodes.transpose(1, 2) @ pixels
        returned = (onto_pixels @ nodes)[0]
    shape = image.shape[:2]
    maps = [one.reshape(shape).numpy() for one in onto_nodes[0].T]
    returned = (returned - returned.amin()) / (returned.amax() - returned.amin())
    with figures.style():
        figure, axes = plt.subplots(1, 6, figsize=(11.5, 1.6))
        axes[0].imshow(image)
        axes[0].set_title("pixels, D × C", fontsize=9)
        for n, (ax, one) in enumerate(zip(axes[1:5], maps, strict=True), start=1):
            ax.imshow(one, cmap="viridis")
            ax.set_title(f"membership in node {n}", fontsize=9)
        axes[5].imshow(returned.reshape(*shape, 3))
        axes[5].set_title("nodes, back on the pixels", fontsize=9)
        for ax in axes:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
    return figure
