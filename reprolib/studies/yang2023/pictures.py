"""yang2023's figures, drawn from its records, its network and its modules."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import cluster, ndimage
from torch import nn

from reprolib import figures, metrics, report
from reprolib.datasets import mouths
from reprolib.datasets.mouths import HARD_CASES, SEVERITIES
from reprolib.models.fuzzy_graph_reasoning import FuzzyProjection
from reprolib.models.fuzzy_learning import FuzzyLearningModule, membership, moments, rule_weights
from reprolib.models.lip_network import LipNetwork
from reprolib.store import RunStore
from reprolib.studies.yang2023 import settings as s
from reprolib.studies.yang2023.data import most_open
from reprolib.studies.yang2023.results import records_of
from reprolib.studies.yang2023.systems import SHOWN_SEVERITIES
from reprolib.trial import Record

COLOURS = figures.part_colours(s.CLASSES)
PARTS = s.CLASSES[1:]  # the background is shown as it is
ABLATION = {
    "baseline": s.BASELINE,
    "with FLM": s.RECONSTRUCTION,
    "with FGR": s.PROJECTION,
    "proposed": s.PROPOSED,
}
RIVALS = {
    "Unet": s.UNET, "MANet": s.MANET, "FPN": s.FPN, "PSPNet": s.PSPNET, "DeepLabV3": s.DEEPLAB, "LSFCNN": s.LSFCNN,
    "GloRe": s.GLORE, "DualSeg": s.DUALSEG, "SpyGR": s.SPYGR, "proposed": s.PROPOSED,
}  # fmt: skip


FIGURE_4_MOUTH = 9  # an open one in plain light


def drawn(parameters: s.Parameters, store: RunStore) -> dict[str, Figure]:
    """Every figure whose trials are finished: name → figure. Nothing is drawn for a trial that was not run."""
    records = records_of(parameters, store)
    arrays = {name: store.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    made = {
        "figure 1": lambda: _colours_and_edges(arrays[s.PROPOSED]),
        "figure 5": lambda: _annotations(arrays[s.PROPOSED]),
        "figure 6": lambda: _masks(arrays, ABLATION, mouths=slice(0, 5)),
        "figure 7": lambda: _confusions(records, store),
        "figure 8": lambda: _masks(arrays, RIVALS, mouths=slice(5, 10)),
        "figure 9": lambda: _cross(arrays[s.CROSS]),
        "figure 10": lambda: _hard_cases(arrays[s.PROPOSED]),
        "figure 11a": lambda: _severities(arrays[s.PROPOSED]),
        "figure 11b": lambda: _robustness(records, store),
        "table 1": lambda: _grid(parameters, records),
    }
    needs = {
        **{name: [s.PROPOSED] for name in ("figure 1", "figure 5", "figure 10", "figure 11a")},
        "figure 6": list(ABLATION.values()),
        "figure 7": list(RIVALS.values()),
        "figure 8": list(RIVALS.values()),
        "figure 9": [s.CROSS],
        "figure 11b": [s.PROPOSED, s.BASELINE, s.UNET],
        "table 1": [name for k in parameters.kernels for n in parameters.nodes if (name := _trained_as(k, n))],
    }
    return {name: make() for name, make in made.items() if all(row in records for row in needs[name])}


def _trained_as(kernels: int, nodes: int) -> str:
    row = s.grid_row(kernels, nodes)
    return s.SAME_AS.get(row, row)


def _tiles(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    # The background stays as it is: the mouth is what is shown.
    alpha = (0.0, *[0.6] * (len(s.CLASSES) - 1))
    return [figures.overlay(image, one, COLOURS, alpha=alpha) for image, one in zip(images, labels, strict=True)]


def _rows(columns: Mapping[str, list[np.ndarray]], *, tile: float) -> Figure:
    """One column a system, one row a mouth; mouths are twice as wide as high."""
    figure = figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=PARTS, tile=tile
    )
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, 0.9 + (height - 0.9) * 0.55)
    return figure


def _masks(arrays: Mapping[str, dict], systems: Mapping[str, str], *, mouths: slice) -> Figure:
    """Figures 6 and 8: input, annotation, and what each system finds."""
    images, labels = (arrays[s.PROPOSED][f"example_{name}"][mouths] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _tiles(images, labels)}
    for title, row in systems.items():
        columns[title] = _tiles(images, arrays[row]["example_predictions"][mouths])
    return _rows(columns, tile=1.9 if len(columns) < 8 else 1.25)


def _annotations(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 5: mouths and their annotations."""
    images, labels = kept["example_images"][:8], kept["example_labels"][:8]
    tiles = _tiles(images, labels)
    rows = [[*images[i : i + 4]] for i in (0, 4)], [[*tiles[i : i + 4]] for i in (0, 4)]
    figure = figures.image_grid([rows[0][0], rows[1][0], rows[0][1], rows[1][1]], classes=PARTS, tile=2.0)
    figure.set_size_inches(8.2, 4.9)
    return figure


def _cross(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 9: mouths of another source, and what the network trained on synthetic ones finds in them."""
    images = kept["example_images"][:8]
    found = _tiles(images, kept["example_predictions"][:8])
    rows = []
    for start in range(0, len(images), 4):
        rows += [list(images[start : start + 4]), found[start : start + 4]]
    figure = figures.image_grid(rows, classes=PARTS, tile=2.0)
    figure.set_size_inches(8.2, 0.5 + 1.1 * len(rows))
    return figure


def _hard_cases(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 10: one mouth in every hard case at medium severity: picture, truth, prediction."""
    middle = 1
    columns = {
        "input": list(kept["hard_images"][:, middle]),
        "annotation": _tiles(kept["hard_images"][:, middle], kept["hard_labels"][:, middle]),
        "proposed": _tiles(kept["hard_images"][:, middle], kept["hard_predictions"][:, middle]),
    }
    turned = list(columns.values())
    figure = figures.image_grid(turned, list(columns), HARD_CASES, classes=PARTS, tile=1.6)
    figure.set_size_inches(11.5, 3.2)
    return figure


def _severities(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 11: the same mouth, case by case, untouched and at two severities; picture above prediction."""
    images, found = kept["hard_images"], kept["hard_predictions"]
    rows = []
    for level in range(len(SHOWN_SEVERITIES)):
        rows += [list(images[:, level]), _tiles(images[:, level], found[:, level])]
    titles = [title for severity in SHOWN_SEVERITIES for title in (f"severity {severity}", "")]
    figure = figures.image_grid(rows, titles, HARD_CASES, classes=PARTS, tile=1.6)
    figure.set_size_inches(11.5, 0.7 + 0.85 * len(rows))
    return figure


def _colours_and_edges(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 1: an open mouth, its annotation, the colours of its parts, and its edges by Canny."""
    images, labels = kept["example_images"], kept["example_labels"]
    open_mouth = most_open(images, labels)
    image, label = images[open_mouth], labels[open_mouth]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    slope = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges = cv2.Canny(grey, *np.percentile(slope, (80, 92)))  # whatever the light
    with figures.style():
        figure = plt.figure(figsize=(9.6, 3.4))
        grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.25))
        shown = (
            ("(a) mouth", image, grid[0, 0]),
            ("(b) annotation", _tiles(image[None], label[None])[0], grid[0, 1]),
            ("(d) Canny edges", 255 - edges, grid[1, 0]),
            ("edges of the annotation", 255 - 255 * _boundary(label), grid[1, 1]),
        )
        for title, picture, place in shown:
            ax = figure.add_subplot(place)
            ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_title(title, fontsize=9)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        _colour_distribution(figure.add_subplot(grid[:, 2]), images, labels)
    return figure


def _boundary(label: np.ndarray) -> np.ndarray:
    return (ndimage.maximum_filter(label, 3) > ndimage.minimum_filter(label, 3)).astype(np.uint8)


def _colour_distribution(ax, images: np.ndarray, labels: np.ndarray) -> None:
    """Where half of each part's pixels lie, in lightness and redness, over all mouths that are shown."""
    lab = np.stack([cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in images])
    lightness, redness = lab[..., 0], lab[..., 1]
    bins = [np.linspace(0, 100, 61), np.linspace(-15, 50, 61)]
    for index, name in enumerate(s.CLASSES):
        of_part = labels == index
        if of_part.sum() < 50:
            continue
        counts = np.histogram2d(lightness[of_part], redness[of_part], bins=bins)[0]
        density = ndimage.gaussian_filter(counts, 1.5)
        ordered = np.sort(density.ravel())[::-1]
        level = ordered[np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())]
        colour = {"teeth": "#999999"}.get(name, figures.PART_COLOURS[name])  # white teeth on white ground
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in bins]
        ax.contour(*centres, density.T, levels=[level], colors=[colour], linewidths=1.8)
        ax.plot([], [], color=colour, label=name)
    ax.set(xlabel="lightness L*", ylabel="redness a*")
    ax.set_title("(c) half of each part's pixels", fontsize=9)
    ax.legend(fontsize=8)


def _confusions(records: Mapping[str, list[Record]], store: RunStore) -> Figure:
    """Figure 7: shares of each annotated part (rows) that each system gives to each class, over all seeds."""
    systems = RIVALS | ({"UPerNet": s.UPERNET} if s.UPERNET in records else {})
    with figures.style():
        rows = -(-len(systems) // 4)
        figure, axes = plt.subplots(rows, 4, figsize=(10.4, 2.75 * rows), sharex=True, sharey=True)
        for ax in axes.flat[len(systems) :]:
            ax.axis("off")
        for ax, (title, row) in zip(axes.flat, systems.items(), strict=False):
            total = sum(store.arrays(record)["confusion"].sum(0) for record in records[row])
            share = 100 * total / np.maximum(total.sum(1, keepdims=True), 1)
            ax.imshow(share, vmin=0, vmax=100, cmap="Blues")
            for (i, j), value in np.ndenumerate(share):
                ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color="w" if value > 55 else "k")
            ax.set_title(title, fontsize=10)
            ax.grid(False)
            ax.set_xticks(range(5), s.PRINTED_CLASSES, rotation=45)
            ax.set_yticks(range(5), s.PRINTED_CLASSES)
        figure.supxlabel("predicted (% of the annotated pixels)", fontsize=10)
        figure.supylabel("annotated", fontsize=10)
    return figure


def _robustness(records: Mapping[str, list[Record]], store: RunStore) -> Figure:
    """mIoU against the severity of each hard case; bands are the range over the seeds."""
    systems = {"proposed": s.PROPOSED, "baseline": s.BASELINE, "Unet": s.UNET}
    with figures.style():
        figure, axes = plt.subplots(2, 4, figsize=(10.4, 4.8), sharex=True, sharey=True)
        for title, row in systems.items():
            # (seeds, cases, severities, mouths, 5, 5) -> (seeds, cases, severities)
            hard = np.stack([store.arrays(record)["confusion_hard"] for record in records[row]])
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


def _grid(parameters: s.Parameters, records: Mapping[str, list[Record]]) -> Figure:
    """Table I as two maps: ours with the spread over the seeds, and the paper's."""
    kernels, nodes = parameters.kernels, parameters.nodes
    paper = report.published("yang2023", "1")["mIoU"]
    seeds = [[[r.metrics["miou"] for r in records[_trained_as(k, n)]] for n in nodes] for k in kernels]
    ours = np.array([[np.mean(one) for one in row] for row in seeds])
    theirs = np.array([[paper.get(s.grid_row(k, n), np.nan) for n in nodes] for k in kernels])
    spread = [[f"\n± {np.std(one, ddof=1):.1f}" if len(one) > 1 else "" for one in row] for row in seeds]
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
        for ax, values, extra, title in (
            (axes[0], ours, spread, "ours (± standard deviation over seeds)"),
            (axes[1], theirs, np.full(theirs.shape, ""), "paper"),
        ):
            shown = ax.imshow(values, cmap="viridis")
            middle = np.nanmean(values)
            for (i, j), value in np.ndenumerate(values):
                text = f"{value:.1f}{extra[i][j]}" if np.isfinite(value) else report.ABSENT
                ax.text(j, i, text, ha="center", va="center", fontsize=9, color="k" if value > middle else "w")
            figure.colorbar(shown, ax=ax, label="mIoU (%)")
            ax.set_title(title, fontsize=10)
            ax.set_xticks(range(len(nodes)), [s.per_scale(n) for n in nodes])
            ax.set_yticks(range(len(kernels)), [s.per_scale(k) for k in kernels])
            ax.set_xlabel("nodes in FGR")
            ax.grid(False)
        axes[0].set_ylabel("kernels in FLM")
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
        ax.text(0, 0.42, "picture 3×128×256", ha="center", fontsize=8)
        ax.set(xlim=(-1.1, 6.1), ylim=(-3.4, 1.2))
        ax.axis("off")
    return figure


def _placed(model: LipNetwork) -> dict[str, tuple[nn.Module, str, float, float]]:
    """Name → module, what it is, and where it stands in Figure 2."""
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
    """Name → (channels, height, width) of each module's output for a picture of the paper's size."""
    shapes = {}

    def note(module: nn.Module, _, output: torch.Tensor) -> None:
        shapes[names[module]] = tuple(output.shape[1:])

    handles = [module.register_forward_hook(note) for module in names]
    with torch.no_grad():
        model(torch.zeros(s.PAPER_INPUT))
    for handle in handles:
        handle.remove()
    return shapes


def fuzzy_learning() -> Figure:
    """Figure 3: one channel with four kernels through Eq. 1–8, whatever feature x comes in."""
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
    """Figure 4: a mouth through the fuzzy projection onto four nodes and back, its colours for features.

    The nodes stand at colours of the picture, as training would place them; in between, graph convolutions change
    what the nodes hold, here nothing.
    """
    image = mouths.synthetic(11, 1, size=s.PAPER_INPUT[2:], first=FIGURE_4_MOUTH).images[0]
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
