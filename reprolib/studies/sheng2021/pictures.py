"""sheng2021's figures, drawn from its records and its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures
from reprolib.datasets import facesynth
from reprolib.models.asst_gcn import ASSTGCN, ASSTLayer
from reprolib.models.c3d_resnet18 import C3DResNet18
from reprolib.models.landmark_patches import LRLP25, LRLP38, landmark_patches, relative_coordinates
from reprolib.models.lip_transformer import TransformerSeq2Seq
from reprolib.models.local_stream import LCFE, LMFE, LocalStream
from reprolib.models.ms_tcn import MSTCN
from reprolib.records import Arrays
from reprolib.store import RunStore
from reprolib.studies.sheng2021 import settings as s
from reprolib.studies.sheng2021.results import records_of
from reprolib.trial import Record

ABLATIONS = {
    "full model": s.LOCAL, "w/o A^se": s.NO_SEMANTIC, "w/o A^st": s.NO_ATTENTION, "w/o LMFE": s.NO_LMFE,
    "w/o LCFE": s.NO_LCFE,
}  # fmt: skip
GREYS = "gray_r"  # dark is strong


def drawn(parameters: s.Parameters, store: RunStore) -> dict[str, Figure]:
    """Every figure whose trials are finished: name → figure. No picture or sentence of a real person is among them."""
    records = records_of(parameters, store)
    arrays = Arrays(store)
    kept = {name: store.arrays(records[name][0]) for name in (s.LOCAL, s.TWO_S) if name in records}
    made = {}
    if s.LOCAL in kept:
        local = kept[s.LOCAL]
        made["figure 5"] = _last_layer(local)
        made["figure 7"] = _by_epoch(local)
        made["figure 8"] = _two_words(local)
        apart = arrays(records[s.LOCAL], "graph_distances").astype(np.float64)  # (seeds, N, 3)
        if np.isfinite(apart).any(axis=1).all():
            made["figure 8b"] = _distances(apart)
        made["extra A"] = _curves(records)
    if "alignment" in kept.get(s.TWO_S, {}):
        made["figure 9"] = _alignment(kept[s.TWO_S])
    return made


# rows and columns of the graphs of 38 landmarks, in their order
GROUPS = {"jaw": 13, "nose": 5, "outer lips": 12, "inner lips": 8}


def _matrix(ax: Axes, matrix: np.ndarray, title: str) -> None:
    """A graph (38, 38) in greys; ticks begin the groups of landmarks."""
    ax.imshow(matrix, cmap=GREYS, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.grid(False)
    ends = np.cumsum(list(GROUPS.values()))
    edges, middles = np.r_[0, ends] - 0.5, ends - np.array(list(GROUPS.values())) / 2 - 0.5
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(edges, [""] * len(edges))
        axis.set_ticks(middles, list(GROUPS), minor=True, fontsize=6)
        axis.set_tick_params(which="minor", length=0)
    ax.set_yticks(middles, list(GROUPS), minor=True, fontsize=6, rotation=90, va="center")


def _last_layer(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 5: semantic and attention graph of the last layer, subgraph 1."""
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.7))
        _matrix(axes[0], np.abs(kept["semantic_first"].astype(np.float32)), "semantic graph (absolute values)")
        _matrix(axes[1], kept["attention_first"].astype(np.float32), "attention graph of one clip, mean of frames")
        for ax in axes:
            ax.set(xlabel="from landmark", ylabel="to landmark")
    return figure


def _by_epoch(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 7: semantic graphs of one subgraph, epochs in rows and layers in columns."""
    graphs = np.abs(kept["semantic_by_epoch"].astype(np.float32))  # (epochs, layers, K, K)
    epochs, layers = graphs.shape[:2]
    with figures.style():
        figure, axes = plt.subplots(epochs, layers, figsize=(1.8 * layers, 1.9 * epochs), squeeze=False)
        for row, epoch in zip(range(epochs), kept["semantic_epochs"].tolist(), strict=True):
            for layer in range(layers):
                title = f"layer {layer + 1}" if row == 0 else ""
                _matrix(axes[row, layer], graphs[row, layer], title)
                # one scale for all epochs of a layer: what grows is seen to grow
                axes[row, layer].images[0].set_clim(0, graphs[:, layer].max())
            axes[row, 0].set_ylabel(f"epoch {epoch}", fontsize=9)
    return figure


def _two_words(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 8: mean attention graph of the last layer, two words in columns and two speakers in rows."""
    graphs, words = kept["attention_examples"].astype(np.float32), kept["attention_words"]  # (2, 2, K, K): word, clip
    with figures.style():
        figure, axes = plt.subplots(2, 2, figsize=(4.6, 4.9))
        for column in range(2):
            for row in range(2):
                title = str(words[column]) if row == 0 else ""
                _matrix(axes[row, column], graphs[column, row], title)
                axes[row, column].images[0].set_clim(0, graphs.max())
        for row in range(2):
            axes[row, 0].set_ylabel(f"speaker {row + 1} of the word", fontsize=9)
    return figure


def _distances(apart: np.ndarray) -> Figure:
    """Mean distance of attention graphs by kind of pair; bars are means, whiskers ranges over seeds."""
    means = np.nanmean(apart, axis=1)  # (seeds, 3)
    names = ("same word,\nother speaker", "other word,\nsame speaker", "other word,\nother speaker")
    with figures.style():
        figure, ax = plt.subplots(figsize=(5.2, 3.2))
        mean = means.mean(0)
        ax.bar(range(3), mean, 0.6, yerr=(mean - means.min(0), means.max(0) - mean), error_kw={"elinewidth": 1})
        ax.set_xticks(range(3), names)
        ax.set(ylabel="distance (mean of all pairs = 1)", ylim=(0, None))
    return figure


def _alignment(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 9: which frames each decoded character attends to."""
    weights, text = kept["alignment"].astype(np.float32), str(kept["alignment_text"])  # (characters, frames)
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.4, 0.8 + 0.17 * len(text)))
        ax.imshow(weights, cmap=GREYS, aspect="auto", interpolation="nearest")
        ax.grid(False)
        ax.set_yticks(range(len(text)), [c if c != " " else "␣" for c in text], fontsize=8)
        ax.set(xlabel="frame", ylabel="character")
    return figure


def _curves(records: Mapping[str, list[Record]]) -> Figure:
    """Training loss of the local stream and of what lacks a part; bands are ranges over seeds."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.0, 3.4))
        for title, row in ABLATIONS.items():
            if row in records:
                losses = np.array([record.curves["loss"] for record in records[row]])
                x = np.arange(1, losses.shape[1] + 1)
                figures.line_of_seeds(ax, x, losses, title)
        ax.set(xlabel="epoch", ylabel="training loss")
        ax.legend()
    return figure


# --- drawn from the networks themselves ---------------------------------------------------------------


Box = tuple[str, str]  # name, shape of what comes out

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
    """Shapes of what `parts` give while `model` runs."""
    shapes: list[str] = []
    hooks = [part.register_forward_hook(lambda _m, _i, out: shapes.append(_shape(out))) for part in parts]
    model(*inputs)
    for hook in hooks:
        hook.remove()
    return shapes


def _shape(tensor: torch.Tensor) -> str:
    """Without the batch."""
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
