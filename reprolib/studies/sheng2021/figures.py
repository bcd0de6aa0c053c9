"""The figures of sheng2021, from its records and from the networks themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import ScalarFormatter

from reprolib import figures
from reprolib.datasets import facesynth
from reprolib.models.asst_gcn import ASSTGCN, ASSTLayer
from reprolib.models.c3d_resnet18 import C3DResNet18
from reprolib.models.landmark_patches import LRLP25, LRLP38, landmark_patches, relative_coordinates
from reprolib.models.lip_transformer import TransformerSeq2Seq
from reprolib.models.local_stream import LCFE, LMFE, LocalStream
from reprolib.models.ms_tcn import MSTCN
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.sheng2021 import rows as r

SIGNED, POSITIVE = "RdBu_r", "viridis"  # A^se has both signs; rows of A^st sum to one
# rows and columns of the graphs of 38 landmarks, in their order: jaw, nose, outer and inner lips
GROUPS = {"jaw": 13, "nose": 5, "outer": 12, "inner": 8}
HYPOTHESES = 24  # steps of the beam search that are printed

Kept = Mapping[str, np.ndarray]


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """The figures of one data source by name; a figure is absent if its row was not run.

    Figures 5, 7 and 8 show the first seed of the local stream, Figure 9 that of sentences by two streams.
    """
    records = results.by_row(parameters)
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    local, spelt = kept.get(r.LOCAL, {}), kept.get(r.TWO_S, {})
    # figure → the arrays and the one of them without which it cannot be drawn
    wanted: dict[str, tuple[Kept, str, Callable[[Kept], Figure]]] = {
        "figure 5": (local, "attention_last", _last_layer),
        "figure 7": (local, "semantic_by_epoch", _by_epoch),
        "figure 8": (local, "attention_examples", _two_words),
        "figure 9": (spelt, "alignment", _alignment),
        "figure 9b": (spelt, "hypotheses", _decoding),
    }
    made = {name: draw(arrays) for name, (arrays, needed, draw) in wanted.items() if needed in arrays}
    shares = [record.metrics for record in records.get(r.LOCAL, []) if "graph_share_word" in record.metrics]
    return made | ({"figure 8b": _shares(shares)} if shares else {})


def _matrix(ax: Axes, matrix: np.ndarray, title: str, *, largest: float | None = None) -> None:
    """A graph (38, 38) with its colour bar, signed where it has negative entries; ticks begin groups of landmarks."""
    signed = bool((matrix < 0).any())
    largest = largest or float(np.abs(matrix).max()) or 1.0
    image = ax.imshow(
        matrix, cmap=SIGNED if signed else POSITIVE, vmin=-largest if signed else 0, vmax=largest,
        interpolation="nearest",
    )  # fmt: skip
    ticks = ScalarFormatter()
    ticks.set_powerlimits((-2, 2))
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, format=ticks)
    bar.ax.tick_params(labelsize=6)
    bar.ax.yaxis.get_offset_text().set_fontsize(6)
    ax.set_title(title, fontsize=9)
    ax.grid(False)
    ends = np.cumsum(list(GROUPS.values()))
    edges, middles = np.r_[0, ends] - 0.5, ends - np.array(list(GROUPS.values())) / 2 - 0.5
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(edges, [""] * len(edges))
        axis.set_ticks(middles, list(GROUPS), minor=True, fontsize=6)
        axis.set_tick_params(which="minor", length=0)
    ax.set_yticks(middles, list(GROUPS), minor=True, fontsize=6, rotation=90, va="center")


def _last_layer(kept: Kept) -> Figure:
    """Figure 5: semantic graph (subgraph 1) and attention graph (mean of subgraphs) of the last layer."""
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.8), layout="constrained")
        _matrix(axes[0], kept["semantic_last"], "semantic graph, subgraph 1")
        _matrix(axes[1], kept["attention_last"], "attention graph of one clip, mean of frames")
        for ax in axes:
            ax.set(xlabel="from landmark", ylabel="to landmark")
    return figure


def _by_epoch(kept: Kept) -> Figure:
    """Figure 7: semantic graphs of one subgraph, epochs in rows and layers in columns, the network's own last."""
    graphs = np.concatenate([kept["semantic_by_epoch"], kept["semantic"][None]])  # (epochs, layers, K, K)
    names = [f"epoch {epoch}" for epoch in kept["semantic_epochs"].tolist()] + ["best epoch"]
    rows, layers = graphs.shape[:2]
    with figures.style():
        size = (2.4 * layers, 2.1 * rows)
        figure, axes = plt.subplots(rows, layers, figsize=size, squeeze=False, layout="constrained")
        for row, name in enumerate(names):
            for layer in range(layers):
                # one scale for all epochs of a layer: what grows is seen to grow
                title, largest = f"layer {layer + 1}" if row == 0 else "", float(np.abs(graphs[:, layer]).max())
                _matrix(axes[row, layer], graphs[row, layer], title, largest=largest)
            axes[row, 0].set_ylabel(name, fontsize=9)
    return figure


def _two_words(kept: Kept) -> Figure:
    """Figure 8: mean attention graph of the last layer, two words in columns and two clips of each in rows."""
    graphs, words = kept["attention_examples"], kept["attention_words"]  # (2, 2, K, K): word, clip
    with figures.style():
        figure, axes = plt.subplots(2, 2, figsize=(5.8, 5.2), layout="constrained")
        for column in range(2):
            for row in range(2):
                title = str(words[column]) if row == 0 else ""
                _matrix(axes[row, column], graphs[column, row], title, largest=float(graphs.max()))
        for row in range(2):
            axes[row, 0].set_ylabel(f"clip {row + 1} of the word", fontsize=9)
    return figure


def _shares(of_seeds: Sequence[Mapping[str, float]]) -> Figure:
    """Shares of the attention graphs' variance over test words; bars are means, dots are seeds."""
    names = {"word,\nwithin clips": "graph_share_word", "labels\nshuffled": "graph_share_chance",
             "clip": "graph_share_clip", "speaker": "graph_share_speaker"}  # fmt: skip
    there = {name: [m[metric] for m in of_seeds] for name, metric in names.items() if metric in of_seeds[0]}
    with figures.style():
        figure, ax = plt.subplots(figsize=(5.2, 3.2))
        for x, values in enumerate(there.values()):
            ax.bar(x, np.mean(values), 0.6, color="#56B4E9")
            ax.plot([x] * len(values), values, "o", color="#333333", markersize=3)
        ax.set_xticks(range(len(there)), list(there))
        p = max(m["graph_p"] for m in of_seeds)
        ax.set(ylabel="share of the graphs' variance (%)", ylim=(0, None), title=f"permutation test: p ≤ {p:.3f}")
    return figure


def _alignment(kept: Kept) -> Figure:
    """Figure 9: which frames each decoded character attends to."""
    weights, text = kept["alignment"], str(kept["alignment_text"])  # (characters, frames)
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.8, 0.9 + 0.17 * len(text)))
        image = ax.imshow(weights, cmap=POSITIVE, aspect="auto", interpolation="nearest", vmin=0)
        figure.colorbar(image, ax=ax, label="attention")
        ax.grid(False)
        ax.set_yticks(range(len(text)), [c if c != " " else "␣" for c in text], fontsize=8)
        ax.set(xlabel="frame", ylabel="character")
    return figure


def _decoding(kept: Kept) -> Figure:
    """The paper's second Table VII: the best hypothesis after each step of the beam search, and what was said."""
    hypotheses = [str(text) for text in kept["hypotheses"]]
    lines = [f"{step:02d}  {text}" for step, text in enumerate(hypotheses, start=1)]
    if len(lines) > HYPOTHESES:
        lines = [*lines[: HYPOTHESES - 1], "…", lines[-1]]
    lines.append(f"said: {kept['reference']}")
    with figures.style():
        figure, ax = plt.subplots(figsize=(5.2, 0.3 + 0.17 * len(lines)))
        ax.text(0, 1, "\n".join(lines), family="monospace", fontsize=8, va="top", transform=ax.transAxes)
        ax.axis("off")
    return figure


# --- sentences ---------------------------------------------------------------------------------------


def left_out(results: Results, parameters: StudyParameters) -> str:
    """How many clips were left out and in how many frames landmarks were interpolated; empty where nothing was."""
    of_set = [record.metrics for record in results.by_row(parameters).get(r.TIME, [])]
    if not any(metrics.get("damaged") or metrics.get("repaired") for metrics in of_set):
        return ""
    damaged, repaired = (f"{of_set[0][name]:,.0f}" for name in ("damaged", "repaired"))
    return f"Damaged clips left out: {damaged}. Frames with interpolated landmarks: {repaired}."


def followed(results: Results, parameters: StudyParameters) -> str:
    """What the attention graphs of the last layer follow, in two sentences; empty without the row."""
    records = [record for record in results.by_row(parameters).get(r.LOCAL, []) if "graph_p" in record.metrics]
    if not records:
        return ""
    word, chance, clip = (
        np.mean([record.metrics[f"graph_share_{name}"] for record in records]) for name in ("word", "chance", "clip")
    )
    largest = max(record.metrics["graph_p"] for record in records)
    found = f"{word:.0f} % of the attention graphs' variance within clips lies between words"
    said = f"{found}, {chance:.0f} % where labels are shuffled (p ≤ {largest:.3f}); {clip:.0f} % of all between clips."
    examples = [results.arrays(record)["attention_examples"] for record in records]
    own = np.mean([np.trace(graphs, axis1=-2, axis2=-1).mean() for graphs in examples])
    return f"{said} In the four example clips a landmark gives itself {own:.1f} times an equal share of its attention."


# --- drawn from the networks themselves ---------------------------------------------------------------


Box = tuple[str, str]  # name, shape of the output

FRAMES = 29


def framework() -> Figure:
    """Figure 1: both streams and both back ends, shapes read off forward passes on the meta device."""
    with torch.device("meta"):
        crops, frames = torch.zeros(1, FRAMES, 112, 112), torch.zeros(1, FRAMES, 160, 160)
        points, lengths = torch.zeros(1, FRAMES, 68, 2), torch.full((1,), FRAMES)
        whole, local = C3DResNet18().eval(), LocalStream().eval()
        appearance, contour = whole(crops), local(frames, points)
        joined = torch.cat([appearance, contour], dim=-1)
        words = MSTCN(joined.shape[-1], 500).eval()(joined, lengths)
        decoder = TransformerSeq2Seq(joined.shape[-1], 39).eval()
        characters = decoder(joined, lengths, torch.zeros(1, 28, dtype=torch.long))
    columns = [
        [("mouth crops", _shape(crops)), ("faces; landmarks", f"{_shape(frames)}; {_shape(points)}")],
        [("global stream, C3D-ResNet18", _shape(appearance)), ("local stream, ASST-GCN", _shape(contour))],
        [("concatenation", _shape(joined))],
        [("MS-TCN: words", _shape(words)), ("transformer: characters", _shape(characters))],
    ]
    return _columns(columns, figsize=(10.5, 2.6))


def local_stream() -> Figure:
    """Figure 2: patches and coordinates of 38 landmarks, their features, and the graph network."""
    with torch.device("meta"):
        frames, points = torch.zeros(1, FRAMES, 160, 160), torch.zeros(1, FRAMES, 68, 2)
        patches = landmark_patches(frames, points[:, :, list(LRLP38)], 32)
        motion = LMFE().eval()(patches.flatten(0, 1)[:, None]).unflatten(0, (1, len(LRLP38)))
        coordinates = relative_coordinates(points, LRLP38)
        shapes = LCFE().eval()(coordinates)
        local = LocalStream().eval()
        nodes = ASSTGCN().eval()(torch.zeros(1, FRAMES, len(LRLP38), 512))
        pooled = local(frames, points)
    columns = [
        [("patches", _shape(patches)), ("coordinates", _shape(coordinates))],
        [("LMFE, each landmark", _shape(motion)), ("LCFE", _shape(shapes))],
        [("concatenation + encoding,\nsix graph layers", _shape(nodes))],
        [("mean of landmarks", _shape(pooled))],
    ]
    return _columns(columns, figsize=(10.5, 2.6))


def graph_layer() -> Figure:
    """Figure 3: one layer of the graph network."""
    with torch.device("meta"):
        layer = ASSTLayer().eval()
        nodes = torch.zeros(1, FRAMES, len(LRLP38), 512)
        out = layer(nodes)
    k, q = len(LRLP38), 8
    columns = [
        [("f, features of landmarks", _shape(nodes))],
        [("A^se, learned", f"{q} × {k} × {k}"), ("A^st = softmax(θ(f)ᵀ φ(f)),\nEq. 6", f"{FRAMES} × {q} × {k} × {k}")],
        [("(A^se + A^st) f W,\nconcatenated", _shape(nodes))],
        [("f + …, norm", _shape(nodes))],
        [("FFN + …, norm", _shape(out))],
    ]
    return _columns(columns, figsize=(11.5, 2.6))


def back_end() -> Figure:
    """Figure 4: MS-TCN."""
    with torch.device("meta"):
        features, lengths = torch.zeros(1, FRAMES, 1024), torch.full((1,), FRAMES)
        model = MSTCN(1024, 500).eval()
        seen = _outputs(model, model.blocks, features, lengths)
        words = model(features, lengths)
    blocks = [[(f"block {i + 1}: k 3, 5, 7, d {2**i}", shape)] for i, shape in enumerate(seen)]
    columns = [[("features", _shape(features))], *blocks, [("mean over frames, linear", _shape(words))]]
    return _columns(columns, figsize=(11.0, 1.6))


def _outputs(model: torch.nn.Module, parts: Sequence[torch.nn.Module], *inputs: torch.Tensor) -> list[str]:
    """Shapes of the outputs of `parts` while `model` runs."""
    shapes: list[str] = []
    hooks = [part.register_forward_hook(lambda _m, _i, out: shapes.append(_shape(out))) for part in parts]
    model(*inputs)
    for hook in hooks:
        hook.remove()
    return shapes


def _shape(tensor: torch.Tensor) -> str:
    """The shape without the batch, as text."""
    return " × ".join(map(str, tensor.shape[1:]))


def _columns(columns: Sequence[Sequence[Box]], *, figsize: tuple[float, float]) -> Figure:
    """Boxes in columns from left to right, an arrow from every box to each of the next column."""
    with figures.style():
        figure, ax = plt.subplots(figsize=figsize)
        tallest = max(map(len, columns))
        places = []
        for x, column in enumerate(columns):
            ys = (np.arange(len(column)) - (len(column) - 1) / 2)[::-1] * 1.0
            places.append(ys)
            for y, (name, shape) in zip(ys, column, strict=True):
                ax.add_patch(Rectangle((x, y - 0.34), 0.78, 0.68, facecolor="#DDEBF5", edgecolor="#333333"))
                ax.text(x + 0.39, y, f"{name}\n{shape}", ha="center", va="center", fontsize=8)
        for x in range(len(columns) - 1):
            pairs = [(a, b) for a in places[x] for b in places[x + 1]]
            if len(places[x]) == len(places[x + 1]):
                pairs = list(zip(places[x], places[x + 1], strict=True))
            for a, b in pairs:
                ax.annotate("", (x + 1, b), (x + 0.78, a), arrowprops={"arrowstyle": "-|>"})
        ax.set(xlim=(-0.05, len(columns) - 0.15), ylim=(-tallest / 2 - 0.05, tallest / 2 + 0.05))
        ax.axis("off")
    return figure


def landmark_choice() -> Figure:
    """Figure 6: the 38 and 25 chosen landmarks on a synthetic face."""
    clip = facesynth.speak("bat", 2021, 0, size=192, frames=1)
    picture, points = clip.images[0], clip.landmarks[0]
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
        for ax, chosen, title in zip(axes, (LRLP38, LRLP25), ("38: lower face", "25: nose and mouth"), strict=True):
            ax.imshow(picture)
            others = np.setdiff1d(np.arange(68), chosen)
            ax.plot(*points[others].T, ".", color="#BBBBBB", markersize=3)
            ax.plot(*points[list(chosen)].T, "o", color="#D55E00", markersize=3.5)
            low, high = points[list(chosen)].min(0) - 4, points[list(chosen)].max(0) + 4
            ax.add_patch(Rectangle(tuple(low), *(high - low), fill=False, edgecolor="#56B4E9", linewidth=1.5))
            ax.set_title(title)
            ax.axis("off")
    return figure
