"""The figures of masi2020, from its records and from the method itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures
from reprolib.parameters import StudyParameters
from reprolib.results import Results
from reprolib.studies.masi2020 import rows as r
from reprolib.trial import Record

OCCLUSION = ("background", "face", "occlusion")
PARTS = ("background", "face", "hair")
BINARY = ("non-face", "face")
TILE = 1.5  # inches: 150 pixels on a page, more than the networks' own 96

Arrays = Mapping[str, np.ndarray]


def drawn(results: Results, parameters: StudyParameters) -> dict[str, Figure]:
    """The figures of one data source by name; a figure is absent if one of its rows was not run."""
    records = results.by_row(parameters)
    kept = {name: results.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    wanted: dict[str, tuple[Sequence[str], Callable[[], Figure]]] = {
        "figure 1": (COMPARED, lambda: _occluded_faces(kept, range(0, 4))),
        "figure 2": ((r.CE_TRANSFER,), lambda: _factorisation(kept[r.CE_TRANSFER])),
        "figure 4a": ((r.CE_FINETUNED, r.CONSENSUS_FINETUNED), lambda: _while_training(kept)),
        "figure 4b": ((r.CE_FINETUNED, r.SAME_START), lambda: _sparsity_curves(records)),
        "figure 4c": ((r.EVERYTHING, r.CE_FINETUNED, r.CONSENSUS_FINETUNED), lambda: _faces_by_beta(kept)),
        "figure 5": (COMPARED, lambda: _occluded_faces(kept, range(4, 10))),
        "figure 6": ((r.PARTS_MEAN_MASK, r.PARTS_BASELINE, r.PARTS_CONSENSUS), lambda: _hair(kept)),
        "extra B": ((r.CE_FINETUNED, *LOSSES), lambda: _loss_curves(records)),
    }
    ready = {
        name: draw
        for name, (needed, draw) in wanted.items()
        if all(row in records for row in needed) and "example_predictions" in kept.get(needed[0], {})
    }
    return {name: draw() for name, draw in ready.items()}


COMPARED = (r.EVERYTHING, r.TEACHER, r.CE_FINETUNED, r.CONSENSUS_FINETUNED)
LOSSES = (r.SAME_START, r.PER_BLOB, r.DICE, r.SMOOTHED)


def _tiles(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[np.ndarray]:
    colours = figures.part_colours(classes)
    return [figures.overlay(i, one, colours, alpha=0.6) for i, one in zip(images, labels, strict=True)]


def _grid(columns: Mapping[str, Sequence[np.ndarray]], classes: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), rows, column_titles=list(columns), classes=classes, tile=TILE
    )


def _occluded_faces(kept: Mapping[str, Arrays], faces: range) -> Figure:
    """Figures 1 and 5: input, annotation, teacher, cross-entropy, consensus."""
    chosen = [i for i in faces if i < len(kept[r.EVERYTHING]["example_images"])]
    images, labels = (kept[r.EVERYTHING][f"example_{name}"][chosen] for name in ("images", "labels"))

    def predicted(row: str, classes: Sequence[str]) -> list[np.ndarray]:
        return _tiles(images, kept[row]["example_predictions"][chosen], classes)

    return _grid({
        "input": list(images),
        "annotation": _tiles(images, labels, OCCLUSION),
        "teacher": predicted(r.TEACHER, BINARY),
        "cross-entropy": predicted(r.CE_FINETUNED, OCCLUSION),
        "consensus": predicted(r.CONSENSUS_FINETUNED, OCCLUSION),
    }, OCCLUSION)  # fmt: skip


def _hair(kept: Mapping[str, Arrays]) -> Figure:
    """Figure 6: input, annotation, cross-entropy, consensus on Part Labels."""
    images, labels = (kept[r.PARTS_MEAN_MASK][f"example_{name}"][:6] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _tiles(images, labels, PARTS)}
    for row, title in ((r.PARTS_BASELINE, "cross-entropy"), (r.PARTS_CONSENSUS, "consensus"), (r.PARTS_UNET, "U-Net")):
        if row in kept:
            columns[title] = _tiles(images, kept[row]["example_predictions"][:6], PARTS)
    return _grid(columns, PARTS)


def _factorisation(kept: Arrays) -> Figure:
    """Figure 2: contour, residual, components, pseudo-labels; input, teacher's mask and annotation beside them."""
    names = ("image", "teacher", "face", "residual", "components", "labels", "annotation")
    images, teacher, face, residual, components, labels, annotation = (kept[f"figure_2_{name}"] for name in names)
    return _grid({
        "input": list(images),
        "teacher's mask": _tiles(images, teacher.astype(int), BINARY),
        "(a) full face": _tiles(images, face.astype(int), BINARY),
        "(b) residual": _tiles(images, 2 * residual.astype(int), OCCLUSION),
        "(c) components": [_components(one) for one in components],
        "(d) labels": _tiles(images, labels, OCCLUSION),
        "annotation": _tiles(images, annotation, OCCLUSION),
    }, OCCLUSION)  # fmt: skip


def _components(ids: np.ndarray) -> np.ndarray:
    """Components from 2, each in a colour that no part has, on black: uint8 (H, W, 3)."""
    colours = np.array([(0, 0, 0), *(np.multiply(to_rgb(c), 255) for c in figures.COMPONENT_COLOURS)], np.uint8)
    return colours[np.where(ids >= 2, (ids - 2) % (len(colours) - 1) + 1, 0)]


def _while_training(kept: Mapping[str, Arrays]) -> Figure:
    """Figure 4a: two validation faces while fine-tuning, cross-entropy above consensus; the last column was scored."""
    columns: dict[str, list[np.ndarray]] = {}
    titles = []
    for face in range(2):
        for row, title in ((r.CE_FINETUNED, "cross-entropy"), (r.CONSENSUS_FINETUNED, "consensus")):
            of_row = kept[row]
            image, label = of_row["watched_images"][face], of_row["watched_labels"][face]
            shots = of_row["watched_predictions"][:, face]  # (epochs, H, W)
            names = [*(f"epoch {epoch}" for epoch in of_row["watched_epochs"][:-1]), "best epoch"]
            tiles = _tiles(np.repeat(image[None], len(shots), 0), shots, OCCLUSION)
            columns.setdefault("input", []).append(image)
            columns.setdefault("annotation", []).extend(_tiles(image[None], label[None], OCCLUSION))
            for name in [*(f"epoch {epoch}" for epoch in r.WATCHED_EPOCHS), "best epoch"]:
                shot = tiles[names.index(name)] if name in names else np.full_like(image, 255)
                columns.setdefault(name, []).append(shot)
            titles.append(title)
    return _grid(columns, OCCLUSION, titles)


def _curves(ax, records: Sequence[Record], name: str, label: str) -> None:
    """Mean over seeds of a curve, as far as all seeds trained, with their range as a band."""
    curves = [record.curves[name] for record in records if name in record.curves]
    if curves:
        length = min(map(len, curves))
        values = np.array([curve[:length] for curve in curves])
        first = 0 if name == "sparsity" else 1  # sparsity is followed from before the first epoch on
        figures.line_of_seeds(ax, np.arange(first, first + length), values, label)


def _sparsity_curves(records: Mapping[str, list[Record]]) -> Figure:
    """Figure 4b: sparsity on validation faces while fine-tuning, for cross-entropy and every β, from both starts."""
    starts = {"cross_entropy": "from the cross-entropy start", "consensus": "from the consensus start"}
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
        for ax, (start, title) in zip(axes, starts.items(), strict=True):
            if start == "cross_entropy":
                _curves(ax, records[r.CE_FINETUNED], "sparsity", "cross-entropy")
            for beta in r.BETAS:
                _curves(ax, records.get(r.beta_row(beta, start), []), "sparsity", f"consensus, β = {beta:g}")
            ax.set(xlabel="epochs of fine-tuning", title=title)
            ax.legend()
        axes[0].set_ylabel("sparsity (components too many or too few)")
    return figure


def _loss_curves(records: Mapping[str, list[Record]]) -> Figure:
    """Face IoU and sparsity on validation faces while fine-tuning with each loss, from one start."""
    panels = {"validation": "face IoU (%)", "sparsity": "sparsity (components)"}
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 4))
        for ax, (curve, label) in zip(axes, panels.items(), strict=True):
            for name in (r.CE_FINETUNED, *LOSSES):
                _curves(ax, records[name], curve, name)
            ax.set(xlabel="epochs of fine-tuning", ylabel=label)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _faces_by_beta(kept: Mapping[str, Arrays]) -> Figure:
    """Figure 4c: one row per face, one column per β, all from the consensus start."""
    images, labels = (kept[r.EVERYTHING][f"example_{name}"][:5] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _tiles(images, labels, OCCLUSION)}
    columns["cross-entropy"] = _tiles(images, kept[r.CE_FINETUNED]["example_predictions"][:5], OCCLUSION)
    for beta in r.BETAS:
        row = r.beta_row(beta, "consensus")
        if row in kept:
            columns[f"β = {beta:g}"] = _tiles(images, kept[row]["example_predictions"][:5], OCCLUSION)
    return _grid(columns, OCCLUSION)


# --- drawn from the method itself, without records ----------------------------------------------------


def architecture() -> Figure:
    """The encoder-decoder of Sec. 3.2, drawn from the module."""
    from reprolib.models.encoder_decoder import EncoderDecoder

    with figures.style():
        figure, ax = plt.subplots(figsize=(9, 4.2))
        figures.architecture(ax, EncoderDecoder().eval(), (3, 128, 128))
    return figure


def receptive_field_map(*, size: int = 160) -> Figure:
    """The input pixels that a classified pixel depends on, for two output phases, beside the paper's 121 px."""
    from reprolib.models import receptive_field
    from reprolib.models.encoder_decoder import EncoderDecoder

    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), sharey=True)
        for ax, phase in zip(axes, (0, 1), strict=True):
            pixel = (size // 2 + phase, size // 2 + phase)
            gradient = receptive_field.gradient_map(EncoderDecoder(width=8), size, pixel)
            rows, columns = np.nonzero(gradient)
            field = np.ptp(rows) + 1
            middle = (np.mean([columns.min(), columns.max()]), np.mean([rows.min(), rows.max()]))
            shown = ax.imshow(np.log10(np.where(gradient > 0, gradient, np.nan)), cmap="viridis", vmin=-10, vmax=-2)
            for side, colour, label in (
                (121, "#D55E00", "121 px (paper)"),
                (field, "#000000", f"{field} px (measured)"),
            ):
                corner = (middle[0] - side / 2, middle[1] - side / 2)
                ax.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.6, label=label))
            ax.set(xlabel="input column (px)", title=f"output pixel {pixel[0]} mod 4 = {pixel[0] % 4}")
            ax.grid(False)
            ax.legend(loc="lower center", ncols=2, fontsize=8)
        axes[0].set_ylabel("input row (px)")
        figure.colorbar(shown, ax=axes, label="log₁₀ |gradient|")
    return figure


def intuition() -> Figure:
    """Figure 3: the gradients of both losses at each pixel of a face with a hole and two stray pixels.

    Left: p(face). Then the gradient of each loss with respect to the logit of face, each on a scale of its own:
    cross-entropy treats each pixel alone; consensus pulls on whole regions.
    """
    import torch

    from reprolib.losses.consensus import consensus_loss
    from reprolib.studies.masi2020.config import ALPHA, BETA

    labels = torch.zeros(1, 24, 24, dtype=torch.long)
    labels[:, 4:20, 4:20] = 1
    confidence = torch.where(labels == 1, 1.0, -1.0)
    confidence[:, 9:14, 10:15] = -1.5  # a hole in the face
    confidence[:, 6, 18], confidence[:, 2, 8] = -1.0, 1.0  # and two stray pixels
    logits = torch.stack([-confidence, confidence], dim=1).requires_grad_()
    panels = {"cross-entropy": torch.nn.functional.cross_entropy(logits, labels) * ALPHA}
    for beta in (0.0, BETA, 10 * BETA):
        panels[f"consensus, β = {beta:g}"] = consensus_loss(logits, labels, labels, alpha=ALPHA, beta=beta)
    with figures.style():
        figure, axes = plt.subplots(1, 1 + len(panels), figsize=(12, 2.9))
        first = axes[0].imshow(logits.detach().softmax(1)[0, 1], vmin=0, vmax=1, cmap="Blues")
        axes[0].set_title("p(face);\nlabel's edge: orange", fontsize=9)
        figure.colorbar(first, ax=axes[0], shrink=0.7)
        for ax, (name, loss) in zip(axes[1:], panels.items(), strict=True):
            pull = -torch.autograd.grad(loss, logits, retain_graph=True)[0][0, 1].numpy()
            top = np.abs(pull).max()
            shown = ax.imshow(pull, vmin=-top, vmax=top, cmap="RdBu")
            figure.colorbar(shown, ax=ax, shrink=0.7, format="%.0e")
            ax.set_title(f"pull towards face,\n{name}", fontsize=9)
        for ax in axes:
            ax.add_patch(Rectangle((3.5, 3.5), 16, 16, fill=False, edgecolor="#E69F00", linewidth=1.4))
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
    return figure
