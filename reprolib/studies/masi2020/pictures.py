"""masi2020's figures, drawn from its records, its network and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reprolib import figures
from reprolib.losses.consensus import consensus_loss
from reprolib.models import receptive_field
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.records import Arrays
from reprolib.statistics import Interval, bootstrap
from reprolib.store import RunStore
from reprolib.studies.masi2020 import settings as s
from reprolib.studies.masi2020.plan import ALPHA, BETA, sweep_row, trials
from reprolib.studies.masi2020.results import people_of, records_of
from reprolib.studies.masi2020.scores import cofw_metrics
from reprolib.studies.masi2020.systems import WATCHED_EPOCHS
from reprolib.trial import Record

COFW = ("background", "face", "occlusion")
PARTS = ("background", "face", "hair")
BINARY = ("non-face", "face")


def drawn(parameters: s.Parameters, store: RunStore) -> dict[str, Figure]:
    """Every figure whose trials are finished: name → figure. Nothing is drawn for a trial that was not run."""
    records = records_of(parameters, store)
    arrays = {name: store.arrays(of_seeds[0]) for name, of_seeds in records.items()}
    made = {
        "figure 1": lambda: _qualitative_cofw(arrays, faces=slice(0, 4)),
        "figure 2": lambda: _factorisation(arrays[s.CE_TRANSFER]),
        "figure 4a": lambda: _while_training(arrays),
        "figure 4b": lambda: _sparsity_curves(parameters, records),
        "figure 4c": lambda: _samples_of_beta(parameters, arrays),
        "figure 5": lambda: _qualitative_cofw(arrays, faces=slice(4, 12)),
        "figure 6": lambda: _qualitative_parts(arrays),
        "extra A": lambda: _trade_off(parameters, records, store),
        "extra B": lambda: _loss_curves(records, (s.CE_FINETUNED, *s.LOSS_ROWS)),
        "extra C": lambda: _loss_curves(records, (s.CE_LONG, *map(s.long_row, s.LONG_BETAS))),
    }
    needs = {
        "figure 1": (s.TEACHER, s.CE_FINETUNED, s.CONSENSUS_FINETUNED),
        "figure 2": (s.CE_TRANSFER,),
        "figure 4a": (s.TEACHER, f"{s.CE_FINETUNED}, watched", f"{s.CONSENSUS_FINETUNED}, watched"),
        "figure 4b": (s.CE_FINETUNED, s.SAME_START),
        "figure 4c": (s.TEACHER, s.CE_FINETUNED, s.SAME_START),
        "figure 5": (s.TEACHER, s.CE_FINETUNED, s.CONSENSUS_FINETUNED),
        "figure 6": (s.PARTS_BASELINE, s.PARTS_CONSENSUS),
        "extra A": (s.CE_FINETUNED, s.SAME_START),
        "extra B": (s.CE_FINETUNED, *s.LOSS_ROWS),
        "extra C": (s.CE_LONG, *map(s.long_row, s.LONG_BETAS)),
    }
    plan = trials(parameters)
    ready = [name for name in made if place_of(name) in plan and all(row in records for row in needs[name])]
    return {name: made[name]() for name in ready}


def place_of(figure: str) -> str:
    """The paper's figure that a drawing is part of: "figure 4b" -> "figure 4"."""
    return figure.rstrip("abc")


def _tiles(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> list[np.ndarray]:
    colours = figures.part_colours(classes)
    return [figures.overlay(i, one, colours, alpha=0.6) for i, one in zip(images, labels, strict=True)]


def _qualitative_cofw(arrays: Mapping[str, dict], *, faces: slice) -> Figure:
    """Figures 1 and 5: input, annotation, teacher, cross-entropy, consensus."""
    images, labels = (arrays[s.TEACHER][f"example_{name}"][faces] for name in ("images", "labels"))
    columns = {
        "input": list(images),
        "annotation": _tiles(images, labels, COFW),
        "teacher": _tiles(images, arrays[s.TEACHER]["example_predictions"][faces], BINARY),
        "cross-entropy": _tiles(images, arrays[s.CE_FINETUNED]["example_predictions"][faces], COFW),
        "consensus": _tiles(images, arrays[s.CONSENSUS_FINETUNED]["example_predictions"][faces], COFW),
    }
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=COFW, tile=1.25
    )


def _qualitative_parts(arrays: Mapping[str, dict]) -> Figure:
    """Figure 6: input, annotation, cross-entropy, consensus on Part Labels."""
    baseline = arrays[s.PARTS_BASELINE]
    images = baseline["example_images"][:6]
    columns = {
        "input": list(images),
        "annotation": _tiles(images, baseline["example_labels"][:6], PARTS),
        "cross-entropy": _tiles(images, baseline["example_predictions"][:6], PARTS),
        "consensus": _tiles(images, arrays[s.PARTS_CONSENSUS]["example_predictions"][:6], PARTS),
    }
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=PARTS, tile=1.25
    )


def _factorisation(kept: Mapping[str, np.ndarray]) -> Figure:
    """Figure 2: contour, residual, components, pseudo-labels, with input and the teacher's mask before them."""
    images, teacher, face, residual, components, labels = (
        kept[f"figure_2_{name}"] for name in ("image", "teacher", "face", "residual", "components", "labels")
    )
    columns = {
        "input": list(images),
        "teacher's mask": _tiles(images, teacher.astype(int), BINARY),
        "(a) full face": _tiles(images, face.astype(int), BINARY),
        "(b) residual": _tiles(images, 2 * residual.astype(int), COFW),
        "(c) components": [_components(one) for one in components],
        "(d) labels": _tiles(images, labels, COFW),
    }
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=COFW, tile=1.3
    )


def _components(ids: np.ndarray) -> np.ndarray:
    """Components from 2 in colours of their own, on black: uint8 (H, W, 3)."""
    colours = np.array([(0, 0, 0), *(np.multiply(to_rgb(c), 255) for c in figures.LINE_COLOURS[:-1])], np.uint8)
    return colours[np.where(ids >= 2, (ids - 2) % (len(colours) - 1) + 1, 0)]


def _curve(records: list[Record], name: str) -> np.ndarray:
    return np.array([record.curves[name] for record in records])  # (seeds, epochs)


def _while_training(arrays: Mapping[str, dict]) -> Figure:
    """Figure 4a of the paper: two test faces while fine-tuning, cross-entropy above consensus."""
    images, labels = (arrays[s.TEACHER][f"example_{name}"] for name in ("images", "labels"))
    rows, titles = [], []
    for face in (2, 6):
        for name, label in ((s.CE_FINETUNED, "cross-entropy"), (s.CONSENSUS_FINETUNED, "consensus")):
            shots = arrays[f"{name}, watched"]["snapshots"][:, face % len(images)]
            image = images[face % len(images)]
            truth = _tiles(image[None], labels[face % len(images)][None], COFW)
            rows.append([image, *truth, *_tiles(np.repeat(image[None], len(shots), 0), shots, COFW)])
            titles.append(label)
    epochs = [f"epoch {epoch}" for epoch in WATCHED_EPOCHS[: len(shots)]]
    return figures.image_grid(rows, titles, ["input", "annotation", *epochs], classes=COFW, tile=1.15)


def _sparsity_curves(parameters: s.Parameters, records: Mapping[str, list[Record]]) -> Figure:
    """Figure 4b of the paper: sparsity on test faces while fine-tuning, for cross-entropy and several β."""
    rows = {s.CE_FINETUNED: "cross-entropy"}
    rows |= {sweep_row(ALPHA, beta): f"consensus, β = {beta:g}" for beta in parameters.betas}
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.4, 3.8))
        for name, label in rows.items():
            if name in records:
                curve = _curve(records[name], "test_sparsity")
                epochs = np.arange(curve.shape[1])
                figures.line_of_seeds(ax, epochs, curve, label)
        ax.set(xlabel="epochs of fine-tuning", ylabel="sparsity (components too many or too few)")
        ax.legend(ncols=2)
    return figure


def _loss_curves(records: Mapping[str, list[Record]], rows: Sequence[str]) -> Figure:
    """Face IoU and sparsity on test faces while fine-tuning, row by row, from one and the same start."""
    panels = {"test_iou_face": "face IoU (%)", "test_sparsity": "sparsity (components)"}
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 4))
        for ax, (curve, label) in zip(axes, panels.items(), strict=True):
            for name in rows:
                values = _curve(records[name], curve)
                figures.line_of_seeds(ax, np.arange(values.shape[1]), values, name)
            ax.set(xlabel="epochs of fine-tuning", ylabel=label)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _samples_of_beta(parameters: s.Parameters, arrays: Mapping[str, dict]) -> Figure:
    """Figure 4c of the paper: one row a face, one column a β."""
    images, labels = (arrays[s.TEACHER][f"example_{name}"][:5] for name in ("images", "labels"))
    columns = {"input": list(images), "annotation": _tiles(images, labels, COFW)}
    columns["cross-entropy"] = _tiles(images, arrays[s.CE_FINETUNED]["example_predictions"][:5], COFW)
    for beta in parameters.betas:
        row = sweep_row(ALPHA, beta)
        if row in arrays:
            columns[f"β = {beta:g}"] = _tiles(images, arrays[row]["example_predictions"][:5], COFW)
    return figures.image_grid(
        list(zip(*columns.values(), strict=True)), column_titles=list(columns), classes=COFW, tile=1.15
    )


def _trade_off(parameters: s.Parameters, records: Mapping[str, list[Record]], store: RunStore) -> Figure:
    """Face IoU against sparsity for every α and β, with intervals over seeds and people."""
    arrays = Arrays(store)
    people = people_of("people_cofw", records, arrays)
    with figures.style():
        figure, ax = plt.subplots(figsize=(6.4, 4.2))
        for alpha, marker in zip(parameters.alphas, "osD^v", strict=False):
            rows = {
                beta: records[name] for beta in sorted(parameters.betas) if (name := sweep_row(alpha, beta)) in records
            }
            points = [_point(of_seeds, arrays, people) for of_seeds in rows.values()]
            x, y = ([point[i].point for point in points] for i in (0, 1))
            (line,) = ax.plot(x, y, marker=marker, label=f"consensus, α = {alpha:g}")
            for beta, (sparsity, iou) in zip(rows, points, strict=True):
                ax.plot([sparsity.low, sparsity.high], [iou.point] * 2, color=line.get_color(), linewidth=0.7)
                ax.plot([sparsity.point] * 2, [iou.low, iou.high], color=line.get_color(), linewidth=0.7)
                ax.annotate(f"β={beta:g}", (sparsity.point, iou.point), (4, 4), textcoords="offset points", fontsize=8)
        sparsity, iou = _point(records[s.CE_FINETUNED], arrays, people)
        ax.plot(sparsity.point, iou.point, "k*", markersize=12, label="cross-entropy")
        ax.set(xlabel="sparsity (components)", ylabel="face IoU (%)", xscale="log")
        ax.legend()
    return figure


def _point(of_seeds: list[Record], arrays: Arrays, people: np.ndarray | None) -> tuple[Interval, Interval]:
    """Sparsity and face IoU of a row with their 95 % intervals over seeds and people."""
    sparsity = bootstrap(arrays(of_seeds, "sparsity"), groups=people, resamples=500)
    confusion = arrays(of_seeds, "confusion")
    return sparsity, bootstrap(confusion, lambda mean: cofw_metrics(mean)["iou_face"], groups=people, resamples=500)


# --- drawn from the method itself --------------------------------------------------------------------


def architecture() -> Figure:
    """The encoder-decoder of Sec. 3.2, drawn from the module."""
    with figures.style():
        figure, ax = plt.subplots(figsize=(9, 4.2))
        figures.architecture(ax, EncoderDecoder().eval(), (3, 128, 128))
    return figure


def receptive_field_map(*, size: int = 160) -> Figure:
    """The input pixels that a classified pixel depends on, for two output phases, beside the paper's 121 px."""
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
    """Figure 3: what both losses ask of a pixel, on two toy blobs, face and background, with wrong pixels in both.

    Left: a face with a hole and a stray pixel, and a stray pixel outside. Then the gradient of each loss with respect
    to the right class's logit: cross-entropy treats each pixel alone; consensus also pulls on the pixels that are
    right, because they are not yet alike.
    """
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
        figure, axes = plt.subplots(1, 1 + len(panels), figsize=(10.5, 2.6))
        axes[0].imshow(logits.detach().softmax(1)[0, 1], vmin=0, vmax=1, cmap="Blues")
        axes[0].set_title("p(face), blob edge in orange", fontsize=9)
        for ax, (name, loss) in zip(axes[1:], panels.items(), strict=True):
            pull = -torch.autograd.grad(loss, logits, retain_graph=True)[0][0, 1].numpy()
            top = np.abs(pull).max()
            ax.imshow(pull / top, vmin=-1, vmax=1, cmap="RdBu")
            ax.set_title(f"pull towards face,\n{name}", fontsize=9)
        for ax in axes:
            ax.add_patch(Rectangle((3.5, 3.5), 16, 16, fill=False, edgecolor="#E69F00", linewidth=1.4))
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
    return figure
