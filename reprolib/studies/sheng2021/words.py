"""The word task of sheng2021: networks learn words from windows of mouths, and are scored on unseen clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.checkpoints import fitted_once
from reprolib.datasets.clip_augmentation import mirrored_and_shifted, normalised
from reprolib.datasets.people import numbered
from reprolib.models import complexity
from reprolib.models.c3d_resnet18 import valid_frames
from reprolib.studies.sheng2021 import data as clips_of
from reprolib.studies.sheng2021.config import Config, Training
from reprolib.studies.sheng2021.data import FLOW_STEPS, Examples, Sets
from reprolib.studies.sheng2021.networks import (
    Reader,
    Scaled,
    build_graph_back_end,
    build_head,
    build_reader,
    channels_of,
    has_semantic_graphs,
    inputs_of,
)
from reprolib.studies.sheng2021.scores import permutation_test, share_of_variance, word_arrays, word_metrics
from reprolib.studies.sheng2021.work import is_shared, stage_spec
from reprolib.training import Batch, Fitted, Schedule, fabric_of, train
from reprolib.trial import Context, Outcome

BATCH = 64  # words per batch in prediction; a quarter as many sentences
NEIGHBOURS = 25  # training words with the most similar times, for the guess from the time
SHIFT = 4 / 112  # random shift of a crop as a share of its side: 4 of 112 pixels (Sec. IV-B)
SHOWN_SUBGRAPH = 3  # of Figure 7: the paper shows the fourth


# --- one trial ---------------------------------------------------------------------------------------


def read_words(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's network and score it once on the test words; every random number follows from `seed`."""
    sets = clips_of.examples_of(config, context.data_root)
    if config.training is None:
        found = {part: guess_from_time(sets.train, getattr(sets, part)) for part in ("validation", "test")}
        outcome = _scored(found["test"], sets.test, found["validation"], sets.validation)
        outcome.metrics |= statistics_of(sets)
        return outcome
    model, fitted = fitted_words(config, seed, context)
    tensors = {part: seen(config, getattr(sets, part), seed, context) for part in ("validation", "test")}
    names = names_of(config)
    logits = {part: predicted(model, tensors[part], names, context) for part in tensors}
    outcome = _scored(logits["test"], sets.test, logits["validation"], sets.validation)
    outcome.curves, outcome.stopped = fitted.curves, asdict(fitted.stopped)
    before = [fitted_words(earlier, seed, context)[0] for earlier in config.before] if config.start != "streams" else []
    outcome.metrics["parameters_m"] = sum(map(complexity.parameters, [model, *before])) / 1e6
    if config.streams == "local" and config.start == "random" and has_semantic_graphs(model.network.local_stream.graph):
        outcome.arrays |= _semantic_graphs(model)
        if config.graph == "both" and config.motion and config.coordinates and config.points == "lower face":
            _add_attention_graphs(outcome, model, tensors["test"], sets.test, seed, context)
    return outcome


def validate_words(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row, which tuning compares; the test words are not used."""
    torch.manual_seed(seed)
    return max(_fit(config, build(config), seed, context).curves["validation"])


def _scored(logits: np.ndarray, test: Examples, of_validation: np.ndarray, validation: Examples) -> Outcome:
    arrays = word_arrays(logits, test.labels, test.groups)
    arrays["units"] = numbered(test.units)
    metrics = word_metrics(arrays)
    metrics["validation"] = 100 * float((of_validation.argmax(1) == validation.labels).mean())
    return Outcome(metrics, arrays=arrays, units=independent(test))


def independent(test: Examples) -> dict[str, int]:
    """How many independent units the test items have: people where several speak, else clips."""
    kind = "person" if test.units == test.speakers else "clip"
    return {kind: len(set(test.units))}


def statistics_of(sets: Sets) -> dict[str, float]:
    """The counts of Table III, and of damaged clips and repaired frames."""
    counted = {"damaged": float(sets.damaged), "repaired": float(sets.repaired)}
    for name, part in (("train", sets.train), ("test", sets.test)):
        said = [word for text in part.texts for word in text.split()]
        counted |= {
            f"utterances_{name}": float(len(part)), f"words_{name}": float(len(said)),
            f"vocabulary_{name}": float(len(set(said))), f"people_{name}": float(len(set(part.speakers))),
        }  # fmt: skip
    return counted


def guess_from_time(train: Examples, test: Examples) -> np.ndarray:
    """Scores (N, classes) that ignore the mouth: how often each word is said at about this moment, for about as long.

    The scores count the words of the training windows whose middle and length in frames are nearest. In a set without
    times a word's score is its frequency.
    """
    classes = len(train.vocabulary)
    counts = np.bincount(train.labels, minlength=classes) / len(train)
    scale = np.maximum(train.times.std(0), 1e-6)
    if not train.times.std():
        return np.tile(counts, (len(test), 1))
    scores = np.empty((len(test), classes))
    for i, times in enumerate(test.times):
        distance = np.abs((train.times - times) / scale).sum(1)
        nearest = np.argpartition(distance, min(NEIGHBOURS, len(train)) - 1)[:NEIGHBOURS]
        scores[i] = np.bincount(train.labels[nearest], minlength=classes) + counts  # ties go to the commoner word
    return scores


# --- networks and their training ---------------------------------------------------------------------


def build(config: Config) -> nn.Module:
    """The network that a row trains, with random weights."""
    if config.start == "nodes":
        return build_graph_back_end(config)
    if config.start == "kept":
        return Scaled(build_head(config, channels_of(config)), channels_of(config))
    return build_reader(config)


def names_of(config: Config) -> tuple[str, ...]:
    """The names of the tensors that a row's network takes, in order."""
    kept = {"nodes": ("nodes", "lengths"), "kept": ("features", "lengths")}
    return kept.get(config.start) or inputs_of(config)


def fitted_words(config: Config, seed: int, context: Context) -> tuple[nn.Module, Fitted]:
    """The trained network of a row of words; trained once for all rows that start from it."""
    if is_shared(config):
        spec = stage_spec(config) | {"seed": seed}
        return fitted_once(
            "sheng2021", spec, lambda: build(config), lambda model: _fit(config, model, seed, context), context
        )
    torch.manual_seed(seed)
    model = build(config)
    fitted = _fit(config, model, seed, context)
    return model.eval(), fitted


def _fit(config: Config, model: nn.Module, seed: int, context: Context) -> Fitted:
    sets = clips_of.examples_of(config, context.data_root)
    if config.start == "streams":
        for earlier in config.before:
            _take_streams(model, fitted_words(earlier, seed, context)[0])
    tensors = seen(config, sets.train, seed, context, mirrored=True)
    validation = seen(config, sets.validation, seed, context)
    if isinstance(model, Scaled):
        model.measure(tensors["features"][:, 0], tensors["lengths"])
    torch.manual_seed(seed)  # dropout: whether earlier stages came from checkpoints must not matter
    names, labels = names_of(config), sets.validation.labels

    def accuracy(network: nn.Module) -> float:
        return 100 * float((predicted(network, validation, names, context).argmax(1) == labels).mean())

    return train(
        model, tensors | {"labels": torch.from_numpy(sets.train.labels)}, loss_of(config),
        schedule=schedule_of(config.training), fabric=fabric_of(context), seed=seed, inputs=names,
        prepare=prepare, augment=partial(augmented, shift=round(SHIFT * config.sizes.crop)), validate=accuracy,
        each_epoch=_keep_graphs,
    )  # fmt: skip


def _keep_graphs(model: nn.Module, epoch: int) -> Mapping[str, float]:
    if isinstance(model, Reader):
        model.keep_graphs(epoch)
    return {}


def _take_streams(model: Reader, earlier: Reader) -> None:
    for name in ("global_stream", "local_stream"):
        stream = getattr(earlier.network, name)
        if stream is not None:
            getattr(model.network, name).load_state_dict(stream.state_dict())


def schedule_of(training: Training) -> Schedule:
    """Adam; the learning rate drops ×0.1 when the validation score has not risen for a third of the patience."""
    sizes = (training.epochs, training.batch_size, training.lr)
    if training.final_lr < training.lr:
        return Schedule.plateau(
            *sizes, final_lr=training.final_lr, drop_after=training.patience // 3, patience=training.patience
        )
    return Schedule.flat(*sizes, patience=training.patience)


def loss_of(config: Config):
    """Cross-entropy of the word; for a BLSTM, which outputs log-probabilities, the mean over its frames."""
    entropy = F.nll_loss if config.back_end == "BLSTM" else F.cross_entropy
    return lambda scores, batch: entropy(scores, batch["labels"])


# --- what networks see -------------------------------------------------------------------------------


def seen(config: Config, examples: Examples, seed: int, context: Context, *, mirrored: bool = False) -> dict:
    """The tensors of a row's inputs: views of the clips, or features of them from the networks trained before.

    "features" are float32 (N, 1, T, C), with `mirrored` (N, 2, T, C), the second of mirrored mouths; "nodes" are
    float16 (N, T, K, C).
    """
    if config.start not in ("kept", "nodes"):
        return examples.see(inputs_of(config))
    [earlier] = config.before
    reader = fitted_words(earlier, seed, context)[0]
    tensors = examples.see(reader.names)
    if config.start == "nodes":
        stream = reader.network.local_stream
        found = in_batches(
            lambda frames, landmarks, lengths: stream.nodes(frames, landmarks, lengths).half(),
            tensors, reader.names, context,
        )  # fmt: skip
        return {"nodes": found, "lengths": tensors["lengths"]}
    versions = [in_batches(reader.features, tensors, reader.names, context)]
    if mirrored and "crops" in tensors:
        flipped = tensors | {"crops": tensors["crops"].flip(-1)}
        versions.append(in_batches(reader.features, flipped, reader.names, context))
    return {"features": torch.stack(versions, 1), "lengths": tensors["lengths"]}


@torch.no_grad()
def in_batches(function, tensors: Mapping[str, Tensor], names: Sequence[str], context: Context) -> Tensor:
    """Outputs of `function` for all clips, computed in batches without gradients, on the CPU."""
    frames = next(t.shape[1] for name, t in tensors.items() if name != "lengths")
    batch = BATCH if frames < 50 else BATCH // 4
    made = []
    for start in range(0, len(tensors["lengths"]), batch):
        part = prepare({name: tensors[name][start : start + batch].to(context.device) for name in names})
        made.append(function(*(part[name] for name in names)).cpu())
    return torch.cat(made)


def predicted(model: nn.Module, tensors: Mapping[str, Tensor], names: Sequence[str], context: Context) -> np.ndarray:
    """Logits float32 (N, classes) of all words."""
    model.to(context.device).eval()
    tensors = {name: tensors[name][:, 0] if name == "features" else tensors[name] for name in names}
    return in_batches(model, tensors, names, context).float().numpy()


def prepare(batch: Batch) -> dict[str, Tensor]:
    """On the device of the batch: grey clips at mean 0 and deviation 1, flow in pixels, masks from 0 to 1."""
    made = dict(batch)
    for name in ("crops", "frames"):
        if name in batch:
            made[name] = normalised(batch[name], batch["lengths"])
    if "flow" in batch:
        made["flow"] = batch["flow"].float() / FLOW_STEPS
    if "masks" in batch:
        made["masks"] = batch["masks"].float() / 255
    if "nodes" in batch:
        made["nodes"] = batch["nodes"].float()
    return made


def augmented(batch: Batch, generator: torch.Generator, *, shift: int) -> dict[str, Tensor]:
    """Crops mirrored and shifted by up to `shift` pixels; of features, one version is sampled per clip."""
    out = dict(batch)
    if "features" in batch:
        versions = torch.randint(batch["features"].shape[1], (len(batch["features"]),), generator=generator)
        out["features"] = batch["features"][torch.arange(len(versions)), versions.to(batch["features"].device)]
    return mirrored_and_shifted(out, generator, shift=shift)


# --- graphs ------------------------------------------------------------------------------------------


def _semantic_graphs(model: Reader) -> dict[str, np.ndarray]:
    """A^se of the trained network and of the epochs on the way (Figures 5 and 7)."""
    graphs = model.network.local_stream.semantic_graphs().cpu().numpy()  # (layers, Q, K, K)
    subgraph = min(SHOWN_SUBGRAPH, graphs.shape[1] - 1)
    reached = model.snapshot_epochs.cpu().numpy() > 0
    return {
        "semantic": graphs[:, subgraph].astype(np.float32),
        "semantic_last": graphs[-1, 0].astype(np.float32),
        "semantic_by_epoch": model.snapshots.cpu().numpy()[reached][:, :, subgraph].astype(np.float32),
        "semantic_epochs": model.snapshot_epochs.cpu().numpy()[reached],
    }


def _add_attention_graphs(
    outcome: Outcome, model: Reader, tensors: Mapping[str, Tensor], test: Examples, seed: int, context: Context
) -> None:
    """A^st of the last layer, mean over frames and subgraphs: what it follows, and examples (Figures 5 and 8)."""
    stream = model.network.local_stream

    def graphs_of(frames: Tensor, landmarks: Tensor, lengths: Tensor) -> Tensor:
        of_frames = stream.attention_graphs(frames, landmarks, lengths)[-1].mean(2)  # (n, T, K, K)
        weights = valid_frames(lengths, of_frames.shape[1]) / lengths[:, None]
        return (of_frames * weights[..., None, None]).sum(1)

    graphs = in_batches(graphs_of, tensors, model.names, context).numpy()
    flat = graphs.reshape(len(graphs), -1).astype(np.float64)
    clips, speakers = numbered(test.units), numbered(test.speakers)
    share, chance, p = permutation_test(flat, test.labels, clips, seed=seed)
    outcome.metrics |= {
        "graph_share_word": share, "graph_share_chance": chance, "graph_p": p,
        "graph_share_clip": share_of_variance(flat, clips),
    }  # fmt: skip
    if speakers.max() > 0:
        outcome.metrics["graph_share_speaker"] = share_of_variance(flat, speakers)
    first, second = two_words(test.labels)
    outcome.arrays |= {
        "attention_last": graphs[first[0]].astype(np.float32),
        "attention_examples": graphs[[*first, *second]].reshape(2, 2, *graphs.shape[1:]).astype(np.float32),
        "attention_words": np.array([test.texts[first[0]], test.texts[second[0]]]),
    }


def two_words(labels: np.ndarray) -> tuple[list[int], list[int]]:
    """Indices of two clips of each of two words, the first and the last with two clips; if none has, clips repeat."""
    several = np.flatnonzero(np.bincount(labels) > 1)
    chosen = several[[0, -1]] if len(several) else labels[[0, -1]]
    return tuple(np.resize(np.flatnonzero(labels == word), 2).tolist() for word in chosen)
