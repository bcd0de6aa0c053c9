"""Every plot of the book, in one style: opaque white ground, colours that colour-blind readers tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, ImageColor
from torch import nn

from reprolib.architecture import stages
from reprolib.whole_files import write_whole

if TYPE_CHECKING:
    from reprolib.results import Results
    from reprolib.study import Judged, Study

try:
    plt.switch_backend(mpl.get_backend())
except ImportError:  # figures for files must not fail because a configured display is missing
    plt.switch_backend("agg")

# Chosen so that any two stay ≥ 16 apart in CIELAB, also as seen with protanopia, deuteranopia and tritanopia.
# Face blue, occlusion green and background black as in masi2020, Figure 1.
_PARTS = {
    "background": "#000000",
    "face": "#0072B2",
    "neck": "#2F1177",
    "hair": "#C68E00",
    "occlusion": "#009E73",
    "brows": "#4C3821",
    "eyes": "#EDEC4D",
    "nose": "#62C8D9",
    "lips": "#A60907",
    "lower_lip": "#FFC6A6",
    "teeth": "#FFFFFF",
    "tongue": "#9E367E",
    "cavity": "#63003E",
}
PART_COLOURS = _PARTS | {
    "skin": _PARTS["face"],
    "face/neck": _PARTS["face"],
    "non-face": _PARTS["background"],
    "occluder": _PARTS["occlusion"],
    "brow_l": _PARTS["brows"],
    "brow_r": _PARTS["brows"],
    "eye_l": _PARTS["eyes"],
    "eye_r": _PARTS["eyes"],
    "mouth": _PARTS["lips"],
    "lip": _PARTS["lips"],
    "inner mouth": _PARTS["cavity"],
    "upper_lip": _PARTS["lips"],
}
"""The colour of each part, by the names of the classes, the same through the whole book."""

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COMPONENT_COLOURS = ("#E69F00", "#CC79A7", "#009E73", "#F0E442", "#7F3C8D", "#FFFFFF")  # of connected components
DATA_COLOURS = {"synthetic": "#0072B2", "public": "#D55E00", "paper": "#009E73"}
MAX_BYTES = 300_000
_QUALITIES = {  # ways of writing a file, from the best down to the smallest; no dates or versions in it
    ".svg": [{"metadata": {"Date": None}}],
    ".png": [
        {"dpi": dpi, "palette": palette, "metadata": {"Software": None}}
        for dpi, palette in ((200, False), (144, False), (144, True), (100, True), (72, True))
    ],
    ".jpg": [
        {"dpi": dpi, "pil_kwargs": {"quality": quality, "optimize": True}}
        for dpi, quality in ((144, 90), (144, 80), (100, 80), (72, 75))
    ],
}

_STYLE = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "axes.facecolor": "white",
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=LINE_COLOURS),
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "svg.hashsalt": "reprolib",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the book's style within a `with` block."""
    with mpl.rc_context(_STYLE):
        yield


def part_colours(classes: Sequence[str]) -> np.ndarray:
    """The colours of a dataset's classes, in order: uint8 (K, 3) RGB; ValueError: a class has none."""
    unknown = sorted(set(classes) - set(PART_COLOURS))
    if unknown:
        raise ValueError(f"No colour for {', '.join(unknown)}; add it to PART_COLOURS.")
    return np.array([np.multiply(to_rgb(PART_COLOURS[name]), 255).round() for name in classes], dtype=np.uint8)


def overlay(
    image: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float | Sequence[float] = 0.55
) -> np.ndarray:
    """Blend class colours over an image.

    `image` uint8 (H, W, 3), `labels` integer (H, W), `colours` uint8 (K, 3); `alpha` 0…1, one for all classes
    or one each. Labels from K up, such as 255 = ignored, leave the image as it is. Returns uint8 (H, W, 3).
    """
    shown = labels < len(colours)
    index = np.where(shown, labels, 0)
    weight = np.broadcast_to(np.asarray(alpha, np.float64), len(colours))[index] * shown  # (H, W)
    blended = image * (1 - weight[..., None]) + colours[index] * weight[..., None]
    return blended.round().astype(np.uint8)


def image_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    *,
    classes: Sequence[str] = (),
    tile: float = 1.5,
) -> Figure:
    """Images in rows and columns, `None` for a gap, with one legend of part colours below.

    `rows`: images uint8 (H, W, 3), or (H, W) shown in greys from their smallest to their largest value. `classes`:
    the parts in the legend; empty for none. `tile`: the side of an image in inches.
    """
    n_columns = max(len(row) for row in rows)
    with style():
        width = tile * n_columns + 0.3 * bool(row_titles)
        height = tile * len(rows) + 0.3 * bool(column_titles) + 0.3 * bool(classes)
        figure, axes = plt.subplots(len(rows), n_columns, figsize=(width, height), squeeze=False)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        for axes_of_row, row in zip(axes, rows, strict=True):
            for ax in axes_of_row:
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                ax.spines[:].set_visible(False)
            for ax, picture in zip(axes_of_row, row, strict=False):
                if picture is not None:
                    ax.imshow(picture, cmap="gray", interpolation="nearest")
        for ax, title in zip(axes[0], column_titles, strict=False):
            ax.set_title(title, fontsize=10)
        for ax, title in zip(axes[:, 0], row_titles, strict=False):
            ax.set_ylabel(title, fontsize=10)
        if classes:
            handles = [Patch(facecolor=PART_COLOURS[c], edgecolor="#888888", label=c) for c in classes]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(classes), 2 * n_columns))
    return figure


def save_figure(figure: Figure, path: Path, *, watermark: bool) -> Path:
    """Write a figure, the same bytes for the same figure, and close it; returns the path.

    `path` ends in .svg (lines), .png (images) or .jpg (many photographs); images are written at the best
    quality that fits into 300 kB. `watermark` writes "smoke run" across it. ValueError: another ending, or more
    than 300 kB.
    """
    path = Path(path)
    if path.suffix not in _QUALITIES:
        raise ValueError(f"A figure is saved as {', '.join(_QUALITIES)}, found {path.name}; change the ending.")
    if watermark:
        size = 8 + 9 * min(figure.get_size_inches()) ** 0.7
        look = {"gid": "smoke-run", "fontsize": size, "weight": "bold", "color": "#B00020", "alpha": 0.35, "zorder": 99}
        mark = figure.text(0.5, 0.5, "smoke run", ha="center", va="center", rotation=25, **look)
        mark.set_path_effects([withStroke(linewidth=2, foreground="white", alpha=0.35)])  # on dark images
    with style():
        for quality in _QUALITIES[path.suffix]:
            data = _rendered(figure, format=path.suffix[1:], **quality)
            if len(data) <= MAX_BYTES:
                break
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{path.name} must have at most {MAX_BYTES // 1000} kB, found {len(data) // 1000} kB; show less."
        )
    write_whole(path, data)
    plt.close(figure)
    return path


def line_with_band(ax: Axes, x: np.ndarray, mean: np.ndarray, low: np.ndarray, high: np.ndarray, label: str) -> Axes:
    """A line with its interval as a band in the same colour; all arrays (n,)."""
    (line,) = ax.plot(x, mean, label=label)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return ax


def line_of_seeds(ax: Axes, x: np.ndarray, values: np.ndarray, label: str) -> Axes:
    """The mean of values (seeds, n) over the seeds, and their range as a band."""
    return line_with_band(ax, x, values.mean(0), values.min(0), values.max(0), label)


_GAP = 0.09  # between the boxes of an architecture
_KIND_COLOURS = {
    "convolution": "#56B4E9",
    "dilated convolution": "#CC79A7",
    "up-sampling": "#009E73",
    "pooling": "#E69F00",
    "linear": "#F0E442",
    "join": "#BBBBBB",
    "other": "#FFFFFF",
}


def architecture(ax: Axes, model: nn.Module, input_size: tuple[int, ...]) -> Axes:
    """Draw a network from its real modules' output shapes, as read by `reprolib.architecture.stages`.

    A box is as high as the stage's longest side and as wide as the logarithm of its channels; below it are
    its operation and output shape. Connections that skip stages run above the boxes.
    """
    boxes = stages(model, input_size)
    tallest = max(max(stage.shape[1:], default=1) for stage in boxes)
    spans, heights = [], []
    for stage in boxes:
        height = max(max(stage.shape[1:], default=1) / tallest, 0.06)
        width = 0.03 * np.log2(stage.shape[0] + 1)
        x = _next_left(spans[-1], width) if spans else 0.0
        ax.add_patch(
            Rectangle((x, -height / 2), width, height, facecolor=_KIND_COLOURS[stage.kind], edgecolor="#333333")
        )
        repeated = f" ×{stage.modules}" if stage.modules > 1 else ""
        text = f"{stage.label}{repeated}\n{'×'.join(map(str, stage.shape))}"
        ax.text(x + width / 2, -height / 2 - 0.03, text, rotation=90, ha="center", va="top", fontsize=8)
        spans.append((x, x + width))
        heights.append(height)
    links = [(source, i) for i, stage in enumerate(boxes) for source in stage.sources]
    levels = _levels([link for link in links if link[1] - link[0] > 1], heights)
    for source, i in links:
        route = [(spans[source][1], 0), (spans[i][0], 0)]
        if (source, i) in levels:
            level = levels[source, i]
            out, back = spans[source][1] + _GAP / 3, spans[i][0] - _GAP / 3
            leave, land = 0.35 * heights[source], min(level, 0.35 * heights[i])
            route = [(spans[source][1], leave), (out, leave), (out, level), (back, level), (back, land)]
            route.append((spans[i][0], land))
        ax.plot(*zip(*route[:-1], strict=True), color="#333333", linewidth=1)
        ax.add_patch(
            FancyArrowPatch(*route[-2:], arrowstyle="-|>", mutation_scale=8, color="#333333", shrinkA=0, shrinkB=0)
        )
    used = [kind for kind in _KIND_COLOURS if any(stage.kind == kind for stage in boxes[1:])]
    handles = [Patch(facecolor=_KIND_COLOURS[kind], edgecolor="#333333", label=kind) for kind in used]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(used))
    ax.set(xlim=(-0.05, spans[-1][1] + 0.05), ylim=(-0.52, max([0.52, *(level + 0.03 for level in levels.values())])))
    ax.axis("off")
    return ax


def _next_left(previous: tuple[float, float], width: float) -> float:
    """Where the next box begins: apart from the one before, centres far enough for two lines of text each."""
    return max(previous[1] + _GAP, sum(previous) / 2 + 0.22 - width / 2)


def _levels(links: list[tuple[int, int]], heights: list[float]) -> dict[tuple[int, int], float]:
    """A height for every skipping connection: above the boxes between, and apart from those that it overlaps."""
    levels: dict[tuple[int, int], float] = {}
    for source, end in sorted(links, key=lambda link: (link[1] - link[0], link)):
        level = max(heights[source:end]) / 2 + 0.05
        taken = [levels[s, e] for s, e in levels if s < end and source < e]
        while any(abs(level - other) < 0.04 for other in taken):
            level += 0.05
        levels[source, end] = level
    return levels


def _rendered(figure: Figure, *, palette: bool = False, **how) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, **how)
    if not palette:
        return buffer.getvalue()
    smaller = BytesIO()
    picture = Image.open(buffer).convert("RGB")
    # parts and white paper keep their colours: an adaptive palette alone may make one of two dark reds
    kept = [ImageColor.getrgb(colour) for colour in sorted({*_PARTS.values(), "#FFFFFF"})]
    adaptive = picture.quantize(256 - len(kept), dither=Image.Dither.NONE).getpalette()
    colours = Image.new("P", (1, 1))
    colours.putpalette([channel for colour in kept for channel in colour] + adaptive)
    chosen = np.array(picture.quantize(palette=colours, dither=Image.Dither.NONE))
    for i, colour in enumerate(kept):  # quantize may choose a similar colour
        chosen[(np.asarray(picture) == colour).all(-1)] = i
    small = Image.fromarray(chosen)
    small.putpalette(colours.getpalette())
    small.save(smaller, "png", optimize=True)
    return smaller.getvalue()


def headline(study: Study, judged: Sequence[Judged], results: Results) -> Figure:
    """Primary claims as shares of the error that the reference row leaves: the paper's effects beside ours.

    One line per claim, the claimed direction to the right; a colour for each data source. Effects that are not judged
    are hollow. Shares beyond ±100 % are drawn at the edge, with an arrow.
    """
    claims = list({j.claim.id: j.claim for j in judged}.values())
    sources = list(dict.fromkeys(j.data for j in judged))
    with style():
        figure, ax = plt.subplots(figsize=(8.2, 0.8 + 0.25 * len(claims)))
        ax.axvline(0, color="#444444", linewidth=1)
        diamond = {"marker": "D", "linestyle": "", "color": "black", "markerfacecolor": "white", "markersize": 5}
        for y, claim in enumerate(claims):
            if claim.published_effect:
                error = study.scores[claim.score].error(claim.published_b)
                ax.plot(min(abs(100 * claim.published_effect / error), 100), y - 0.28, **diamond, zorder=3)
        for j in judged:
            reference = results.level_of(results.parameters_of(j), j.claim.b, j.claim.score)
            if j.effect is None or reference is None:
                continue
            sign = j.claim.direction
            scale = 100 * sign / study.scores[j.claim.score].error(reference)
            y = [c.id for c in claims].index(j.claim.id) + 0.2 * sources.index(j.data) - 0.05
            colour, is_judged = DATA_COLOURS[j.data], j.verdict != "not tested"
            ends = np.clip(np.array([j.effect.low, j.effect.high]) * scale, -100, 100)
            if np.isfinite(ends).all():
                width = 2.5 if is_judged else 1
                ax.plot(ends, [y, y], color=colour, linewidth=width, linestyle="-" if is_judged else ":")
            marker = {"markerfacecolor": colour if is_judged else "white", "markersize": 4.5}
            ax.plot(np.clip(j.effect.point * scale, -100, 100), y, "o", color=colour, **marker)
        ax.plot([], [], label="paper", **diamond)
        for data in sources:
            ax.plot([], [], "o-", color=DATA_COLOURS[data], linewidth=2.5, label=f"ours, {data} data")
        ax.set_yticks(range(len(claims)), [textwrap.fill(claim.statement, 68) for claim in claims])
        ax.set(xlim=(-108, 108), ylim=(len(claims) - 0.4, -0.7))
        ax.set_xlabel("share of the reference row's error (%)", fontsize=8)
        ax.grid(axis="y", visible=False)
        ax.tick_params(labelsize=7)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8)
    return figure
