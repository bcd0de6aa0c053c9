"""The word task of sheng2021: networks are trained once, and read words from other people's lips."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.checkpoints import fitted_once
from reprolib.datasets.people import numbered
from reprolib.datasets.speech import SpeechSet
from reprolib.models import complexity
from reprolib.studies.sheng2021 import data as clips_of
from reprolib.studies.sheng2021 import settings as s
from reprolib.studies.sheng2021.data import Views
from reprolib.studies.sheng2021.networks import INPUTS, Reader, build_reader, operations
from reprolib.studies.sheng2021.plan import local_stream, words
from reprolib.studies.sheng2021.scores import ceiling, correct, graph_distances, word_metrics
from reprolib.training import Schedule, make_fabric, train
from reprolib.trial import Context, Outcome

BATCH = 32  # clips at a time in prediction
EPOCHS_SHOWN = 4  # rows of Figure 7
WORD_SPEC = tuple(field.name for field in fields(s.WordScale))


def read_words(p: Mapping, seed: int, context: Context) -> Outcome:
    """A network of the word task and its score."""
    training, test = clips_of.word_sets(p, context.data_root)
    visemes = clips_of.viseme_classes_of(test.vocabulary)
    if p["network"] == "majority":
        predicted = np.full(len(test), np.bincount(training.labels).argmax())
        return _word_outcome(predicted, training, test, visemes)
    reader, curves = fitted_reader(p, seed, context)
    views = Views(training, crop=p["crop"])
    noise = p.get("jitter", 0.0) * p["crop"] / s.LIPS_CROP
    seen = views(test, INPUTS[p["network"]], noise=noise, seed=seed)
    predicted = _logits(reader, seen, context).argmax(1).numpy()
    outcome = _word_outcome(predicted, training, test, visemes, cost_of(reader, seen))
    outcome.curves = curves
    if p["network"] == "local" and all(p[name] == value for name, value in local_stream().items()) and not noise:
        outcome.arrays |= _graphs(reader, seen, test, visemes, context)
    return outcome


def fitted_reader(p: Mapping, seed: int, context: Context) -> tuple[Reader, dict]:
    """A trained network of the word task with its curves, trained once for all trials that need it."""
    choices = {name: p[name] for name in ("network", "shuffled", "longer", "tracker", *local_stream()) if name in p}

    def build() -> Reader:
        classes = len(clips_of.word_sets(p, context.data_root)[0].vocabulary)
        if p["network"] != "two":
            return build_reader(p, classes)
        # both streams start from their own training (Sec. IV-B)
        whole, _ = fitted_reader({**without_choices(p), **words("global")}, seed, context)
        local, _ = fitted_reader({**without_choices(p), **words("local", **local_stream())}, seed, context)
        torch.manual_seed(seed)  # whether they came from checkpoints must not matter
        joint = build_reader(p, classes)
        joint.network.global_stream.load_state_dict(whole.network.global_stream.state_dict())
        joint.network.local_stream.load_state_dict(local.network.local_stream.state_dict())
        return joint

    def fit(reader: Reader) -> dict:
        training = clips_of.word_sets(p, context.data_root)[0]
        names = INPUTS[p["network"]]
        seen = Views(training, crop=p["crop"])(training, names)
        labels = torch.from_numpy(training.labels.astype(np.int64))
        if p.get("shuffled"):
            labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
        epochs, warmup, rates = p["epochs"], p["warmup"], {}
        if p.get("longer"):
            epochs += p["joint_epochs"]
        if p["network"] == "two":
            epochs, warmup = p["joint_epochs"], 0
            rates = {f"network.{name}_stream.": p["joint_rate"] for name in ("global", "local")}
        rate = rising_then_falling(epochs, warmup=warmup)
        schedule = Schedule.decay(epochs, p["batch_size"], p["lr"], rate, rates=rates)
        loss = LOSSES.get(p["network"], _word_loss)
        return train(
            reader.to(context.device), seen | {"labels": labels}, partial(loss, smoothing=p["smoothing"]),
            schedule=schedule, fabric=make_fabric(context.device), seed=seed, inputs=names,
            augment=partial(augmented, shift=round(s.SHIFT * p["crop"])) if p["augment"] else None,
            each_epoch=lambda model, epoch: model.keep_graphs(epoch, epochs) or {},
        ).curves  # fmt: skip

    spec = {name: p[name] for name in WORD_SPEC} | choices | {"seed": seed, "recipe": s.RECIPE}
    spec["data"] = clips_of.words_from(p)
    return fitted_once("sheng2021", spec, build, fit, context)


def without_choices(p: Mapping) -> dict:
    """What all front ends of a row share."""
    return {name: p[name] for name in (*WORD_SPEC, "data", "set", "tracker") if name in p}


def _word_loss(logits: Tensor, batch: Mapping[str, Tensor], *, smoothing: float) -> Tensor:
    return F.cross_entropy(logits, batch["labels"], label_smoothing=smoothing)


def _loss_of_frames(scores: Tensor, batch: Mapping[str, Tensor], *, smoothing: float) -> Tensor:
    """The frames' mean cross-entropy from the mean of their log-probabilities, which are not normalised again."""
    right = scores.gather(1, batch["labels"][:, None])[:, 0]
    return -((1 - smoothing) * right + smoothing * scores.mean(1)).mean()


LOSSES = {"blstm": _loss_of_frames}  # of networks that do not learn from logits of the clip


def rising_then_falling(epochs: int, *, warmup: int) -> Callable[[int], float]:
    """The rate falls linearly and would be zero after the last epoch; in `warmup` epochs it first rises to that line.

    Without the rise the global stream of `cpu` stays at chance with some seeds.
    """
    return lambda epoch: (1 - epoch / epochs) * min(1.0, (epoch + 1) / max(warmup, 1))


def augmented(batch: Mapping[str, Tensor], generator: torch.Generator, *, shift: int) -> dict[str, Tensor]:
    """Crops mirrored and shifted by up to `shift` pixels and one frame (Sec. IV-B); all else stays as it is.

    Flow and masks of the same crops move with them; the flow's horizontal component changes its sign in a mirror.
    """
    moved = {name: batch[name] for name in ("crops", "flow", "masks") if name in batch}
    if not moved:
        return dict(batch)
    count, frames, side = len(batch["crops"]), batch["crops"].shape[1], batch["crops"].shape[-1]
    mirror = torch.rand(count, generator=generator) < 0.5
    dx, dy = (torch.randint(-shift, shift + 1, (count, 1), generator=generator) for _ in range(2))
    dt = torch.randint(-1, 2, (count, 1), generator=generator)
    at = torch.arange(side)
    x = torch.where(mirror[:, None], side - 1 - at, at.expand(count, -1))
    x, y = (x + dx).clamp(0, side - 1), (at + dy).clamp(0, side - 1)
    last = batch["lengths"].cpu()[:, None] - 1 if "lengths" in batch else torch.full((count, 1), frames - 1)
    t = torch.arange(frames).expand(count, -1)
    t = torch.where(t <= last, torch.minimum((t + dt).clamp(min=0), last), t)
    device = batch["crops"].device
    x, y, t, mirror = (index.to(device) for index in (x, y, t, mirror))
    n = torch.arange(count, device=device)[:, None, None, None]
    place = (t[:, :, None, None], y[:, None, :, None], x[:, None, None, :])
    out = dict(batch)
    for name, value in moved.items():
        if name == "crops":
            out[name] = value[n, *place]
        else:  # (N, C, T, h, w) with channels before the frames
            out[name] = value.movedim(1, -1)[n, *place].movedim(-1, 1)
    if "flow" in moved:
        sign = torch.where(mirror, -1.0, 1.0)
        out["flow"] = torch.stack([out["flow"][:, 0] * sign[:, None, None, None], out["flow"][:, 1]], dim=1)
    return out


@torch.no_grad()
def _logits(reader: Reader, seen: Mapping[str, Tensor], context: Context) -> Tensor:
    """Logits (N, classes) of all clips."""
    reader.to(context.device).eval()
    parts = []
    for start in range(0, len(seen["lengths"]), BATCH):
        batch = [seen[name][start : start + BATCH].to(context.device) for name in reader.names]
        parts.append(reader(*batch).float().cpu())
    return torch.cat(parts)


def _word_outcome(
    predicted: np.ndarray, training: SpeechSet, test: SpeechSet, visemes: np.ndarray, cost: dict | None = None
) -> Outcome:
    """Scores on the test clips, and what is needed to take them apart."""
    right = correct(predicted, test.labels, visemes)
    arrays = {
        "predicted": predicted.astype(np.int16), "labels": test.labels.astype(np.int16), "correct": right,
        "visemes": visemes.astype(np.int16), "speakers": numbered(test.speakers),
    }  # fmt: skip
    cost = dict(cost or {})
    speed = {"clips_per_second": cost.pop("clips_per_second")} if cost else {}
    metrics = word_metrics(right) | {"ceiling": ceiling(test.labels, visemes)} | statistics_of(training, test) | cost
    return Outcome(metrics, {}, arrays, speed)


def statistics_of(training: SpeechSet, test: SpeechSet) -> dict[str, float]:
    """What Table III counts."""
    counted = {}
    for part, clips in (("training", training), ("test", test)):
        said = [word for text in clips.texts for word in text.split()]
        counted |= {
            f"clips_{part}": float(len(clips)), f"words_{part}": float(len(said)),
            f"vocabulary_{part}": float(len(set(said))), f"speakers_{part}": float(len(set(clips.speakers))),
        }  # fmt: skip
    return counted


@torch.no_grad()
def cost_of(model: nn.Module, seen: Mapping[str, Tensor], names: Sequence[str] | None = None) -> dict[str, float]:
    """Parameters and multiply-accumulate operations in millions, and clips a second, one clip at a time."""
    device = next(model.parameters()).device
    clip = [seen[name][:1].to(device) for name in (names or model.names)]
    model.eval()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model(*clip)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return {
        "parameters_m": complexity.parameters(model) / 1e6,
        "macs_m": operations(model, clip) / 1e6,
        "clips_per_second": 1 / float(np.median(times[2:])),
    }


# --- graphs ------------------------------------------------------------------------------------------


@torch.no_grad()
def _graphs(
    reader: Reader, seen: Mapping[str, Tensor], test: SpeechSet, visemes: np.ndarray, context: Context
) -> dict[str, np.ndarray]:
    """The learned graphs, and how alike the attention graphs of the test clips are."""
    local = reader.network.local_stream
    means, first = [], None
    for start in range(0, len(test), BATCH):
        batch = {name: seen[name][start : start + BATCH].to(context.device) for name in reader.names}
        of_layer = local.attention_graphs(**batch)[-1]  # (n, T, Q, K, K)
        valid = torch.arange(of_layer.shape[1], device=of_layer.device) < batch["lengths"][:, None]
        weights = valid / valid.sum(1, keepdim=True)
        by_subgraph = (of_layer * weights[:, :, None, None, None]).sum(1)  # (n, Q, K, K)
        first = by_subgraph[0, 0].cpu() if first is None else first
        means.append(by_subgraph.mean(1).cpu())
    graphs = torch.cat(means).numpy()
    speakers = numbered(test.speakers)
    chosen, named = two_words(test.labels, speakers, visemes)
    semantic = local.semantic_graphs().cpu()  # (layers, Q, K, K)
    subgraph = min(3, semantic.shape[1] - 1)  # the paper shows the fourth
    return {
        "graph_distances": graph_distances(graphs, visemes[test.labels], speakers),
        "semantic": semantic.mean(1).numpy().astype(np.float32),
        "semantic_first": semantic[-1, 0].numpy().astype(np.float32),
        "semantic_by_epoch": reader.snapshots[:, :, subgraph].cpu().numpy().astype(np.float32),
        "semantic_epochs": reader.snapshot_epochs.cpu().numpy(),
        "attention_first": first.numpy().astype(np.float32),
        "attention_examples": graphs[chosen].reshape(2, 2, *graphs.shape[1:]).astype(np.float32),
        "attention_words": np.array([test.vocabulary[word] for word in named]),
    }


def two_words(labels: np.ndarray, speakers: np.ndarray, visemes: np.ndarray) -> tuple[list[int], list[int]]:
    """Two clips by different speakers of each of two words that differ on the lips: four clips, two words.

    The first words that have such clips; clips repeat where there are too few.
    """
    pairs: dict[int, list[int]] = {}
    for word in np.unique(labels):
        clips = np.flatnonzero(labels == word)
        other = [clip for clip in clips if speakers[clip] != speakers[clips[0]]]
        pairs[int(word)] = [int(clips[0]), int(other[0] if other else clips[-1])]
    first = next(iter(pairs))
    second = next((word for word in reversed(pairs) if visemes[word] != visemes[first]), first)
    return [*pairs[first], *pairs[second]], [first, second]
