"""The sentence task of sheng2021: a back end on frozen features of the words' front end, then both together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.datasets.characters import ENGLISH, IGNORED, Tokeniser
from reprolib.datasets.people import numbered
from reprolib.datasets.speech import SpeechSet
from reprolib.models.beam_search import beam_search
from reprolib.models.lip_transformer import ctc_loss, ctc_prefix_beam, frames_needed
from reprolib.studies.sheng2021 import data as clips_of
from reprolib.studies.sheng2021 import settings as s
from reprolib.studies.sheng2021.data import Views
from reprolib.studies.sheng2021.networks import INPUTS, SentenceReader, build_back_end
from reprolib.studies.sheng2021.plan import local_stream, words
from reprolib.studies.sheng2021.scores import rates, score_of, sentence_metrics
from reprolib.studies.sheng2021.words import (
    BATCH,
    augmented,
    cost_of,
    fitted_reader,
    statistics_of,
    without_choices,
)
from reprolib.text_metrics import character_edits, word_edits
from reprolib.training import Schedule, make_fabric, train, warmup_rate
from reprolib.trial import Context, Outcome

SMOOTHING = 0.1  # of the labels, Sec. IV-B
SHOWN = 0  # the test clip of the decoding example
SPARE = 6  # characters that a decoded sentence may be longer than the longest of training
CHECKED = 80  # training clips that are read again after training


def read_sentences(p: Mapping, seed: int, context: Context) -> Outcome:
    """A back end on the front end that its row names, and its error rates (Sec. IV-B)."""
    training, validation, test = sets = clips_of.sentence_sets(p, context.data_root)
    tokens = tokeniser_of([text for clips in sets for text in clips.texts], p)
    training = learnable(training, tokens, ctc=p["network"] == "ctc")
    front, _ = fitted_reader(without_choices(p) | front_of(p["streams"]), seed, context)
    names = INPUTS[front_of(p["streams"])["network"]]
    views = Views(training, crop=p["crop"])
    seen = views(training, names)
    torch.manual_seed(seed)
    back = build_back_end(p, front.channels, tokens.outputs)
    model = SentenceReader(front, back, blind=p.get("blind", False)).to(context.device)
    curves = _train_back_end(model, seen, training, tokens, p, seed, context)
    curves["fine_tuning_loss"] = _fine_tune(model, seen, training, tokens, p, seed, context)
    del seen
    outcome = _outcome(model, views(test, names), training, test, tokens, curves, p, context)
    # whether it learned at all, and more than by heart
    longest = _longest(training)
    some = training.subset(np.linspace(0, len(training) - 1, min(CHECKED, len(training))).astype(int))
    for part, clips in (("training", some), ("validation", validation)):
        features = features_of(model, views(clips, names), context)
        texts, _ = _read(model, features, clips.lengths, longest, tokens, p, context)
        edits = character_edits(texts, clips.texts)
        outcome.metrics[f"cer_{part}"] = float(score_of("cer")(edits.mean(0)))
    return outcome


def front_of(streams: str) -> dict:
    """The row of the word task whose network is the front end; single streams learn as long as two together."""
    if streams == "two":
        return words(streams, **local_stream())
    return words(streams, **(local_stream() if streams == "local" else {}), longer=True)


def tokeniser_of(texts: Sequence[str], p: Mapping) -> Tokeniser:
    """The paper's 39 outputs; for the Arabic of the real clips, the characters of the corpus."""
    return Tokeniser.fitted(texts) if p["data"] == "public" else Tokeniser(ENGLISH)


def learnable(training: SpeechSet, tokens: Tokeniser, *, ctc: bool) -> SpeechSet:
    """Clips whose characters `tokens` has and, for CTC, which have frames enough; a warning counts the others."""
    kept = [
        i
        for i, (text, frames) in enumerate(zip(training.texts, training.lengths.tolist(), strict=True))
        if set(text) <= set(tokens.characters) and (not ctc or frames >= frames_needed(text))
    ]
    if len(kept) == len(training):
        return training
    left_out = len(training) - len(kept)
    warnings.warn(
        f"{left_out} of {len(training)} training clips have unknown characters or too few frames and are left out",
        stacklevel=2,
    )
    return training.subset(kept)


# --- training ----------------------------------------------------------------------------------------


def _train_back_end(
    model: SentenceReader,
    seen: Mapping[str, Tensor],
    training: SpeechSet,
    tokens: Tokeniser,
    p: Mapping,
    seed: int,
    context: Context,
) -> dict[str, list[float]]:
    """The back end alone, on features that are computed once; short sentences first."""
    previous, targets = tokens.for_teacher_forcing(training.texts)
    raw = features_of(model, seen, context)
    model.measure(raw, seen["lengths"])
    batches = {
        "features": model.scaled(raw), "lengths": seen["lengths"],
        "previous": previous, "targets": targets,
    }  # fmt: skip
    curves: dict[str, list[float]] = {}
    step = 0
    for stage, (indices, epochs) in enumerate(curriculum(training.texts, p["sentence_epochs"], p["sentence_batch"])):
        rate = partial(_rate, first=step + 1, p=p)
        schedule = Schedule.decay(epochs, p["sentence_batch"], 1.0, rate, per_step=True)
        found = train(
            model.back, {name: value[indices] for name, value in batches.items()}, loss_of(p["network"]),
            schedule=schedule, fabric=make_fabric(context.device), seed=seed + 1000 * stage,
            inputs=back_end_inputs(p["network"]),
        ).curves  # fmt: skip
        step += epochs * -(-len(indices) // p["sentence_batch"])
        for name, values in found.items():
            curves.setdefault(name, []).extend(values)
    return curves


def _rate(step: int, *, first: int, p: Mapping) -> float:
    """Eq. 7, which goes on from stage to stage."""
    return warmup_rate(first + step, width=p["model_width"], factor=p["factor"], warmup=p["warmup_steps"])


def curriculum(texts: tuple[str, ...], epochs: int, batch: int) -> list[tuple[list[int], int]]:
    """Stages of training: indices of the sentences of at most 1, 2, 3, 5, … words, and epochs.

    A stage that would add nothing, or have less than a batch, is left out. All but the last share a third of the
    epochs.
    """
    lengths = np.array([len(text.split()) for text in texts])
    stages: list[list[int]] = []
    for most in (*(c for c in s.CURRICULUM if c < lengths.max()), lengths.max()):
        indices = np.flatnonzero(lengths <= most).tolist()
        if most == lengths.max() or (len(indices) >= batch and (not stages or len(indices) > len(stages[-1]))):
            stages.append(indices)
    early = len(stages) - 1
    each = epochs // (3 * early) if early else 0
    planned = [(indices, each) for indices in stages[:-1]] + [(stages[-1], epochs - each * early)]
    return [(indices, count) for indices, count in planned if count]


def _fine_tune(
    model: SentenceReader,
    seen: Mapping[str, Tensor],
    training: SpeechSet,
    tokens: Tokeniser,
    p: Mapping,
    seed: int,
    context: Context,
) -> list[float]:
    """From end to end, one epoch at a small rate where a row asks for no more; normalisation keeps its statistics."""
    previous, targets = tokens.for_teacher_forcing(training.texts)
    rate = p["fine_tuning_lr"]
    curves = train(
        model, dict(seen) | {"previous": previous, "targets": targets}, loss_of(p["network"]),
        schedule=Schedule.flat(p["fine_tuning_epochs"], p["sentence_batch"], rate),
        fabric=make_fabric(context.device), seed=seed, inputs=(*model.front.names, *back_end_inputs(p["network"])[2:]),
        augment=partial(augmented, shift=round(s.SHIFT * p["crop"])) if p["augment"] else None,
    ).curves  # fmt: skip
    return curves["loss"]


def back_end_inputs(network: str) -> tuple[str, ...]:
    """What the back end takes, in order."""
    return ("features", "lengths") if network == "ctc" else ("features", "lengths", "previous")


def loss_of(network: str) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
    """CTC's loss, or cross-entropy of characters with smoothed labels."""
    return _ctc if network == "ctc" else _characters


def _characters(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    targets = batch["targets"].flatten()
    return F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, label_smoothing=SMOOTHING)


def _ctc(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    texts = [row[row != IGNORED][:-1].tolist() for row in batch["targets"]]  # without EOS
    return ctc_loss(logits, batch["lengths"], texts)


@torch.no_grad()
def features_of(model: SentenceReader, seen: Mapping[str, Tensor], context: Context) -> Tensor:
    """What the back end reads of all clips, float32 (N, T, C) or maps (N, T, C, h, w)."""
    model.to(context.device).eval()
    parts = []
    for start in range(0, len(seen["lengths"]), BATCH):
        batch = [seen[name][start : start + BATCH].to(context.device) for name in model.front.names]
        parts.append(model.features(*batch).float().cpu())
    return torch.cat(parts)


# --- reading -----------------------------------------------------------------------------------------


@torch.no_grad()
def _outcome(
    model: SentenceReader,
    seen: Mapping[str, Tensor],
    training: SpeechSet,
    test: SpeechSet,
    tokens: Tokeniser,
    curves: dict,
    p: Mapping,
    context: Context,
) -> Outcome:
    """Error rates on the test clips, and what is needed to take them apart; no real sentence is kept."""
    model.to(context.device).eval()
    features = features_of(model, seen, context)
    start = time.perf_counter()
    texts, steps = _read(model, features, test.lengths, _longest(training), tokens, p, context)
    seconds = time.perf_counter() - start
    references = [tokens.decode(tokens.encode(text)) for text in test.texts]
    characters, spoken = character_edits(texts, references), word_edits(texts, references)
    previous, _ = tokens.for_teacher_forcing(test.texts[:1])
    cost = cost_of(model, dict(seen) | {"previous": previous}, (*model.front.names, *back_end_inputs(p["network"])[2:]))
    # one clip through both networks, and its share of the search
    speed = {"clips_per_second": 1 / (1 / cost.pop("clips_per_second") + seconds / len(test))}
    arrays = {
        "characters": characters.astype(np.int32), "words": spoken.astype(np.int32),
        "characters_rate": rates(characters).astype(np.float32), "words_rate": rates(spoken).astype(np.float32),
        "speakers": numbered(test.speakers), "new": np.array([text not in training.texts for text in test.texts]),
    }  # fmt: skip
    if p["data"] == "synthetic" and steps is not None:  # nobody's words
        arrays |= {
            "hypotheses": np.array([tokens.decode(step) for step in steps[SHOWN]]),
            "reference": np.array(references[SHOWN]),
        }
        if p["network"] == "seq2seq":
            arrays |= _alignment(model, features[SHOWN : SHOWN + 1], test.lengths[SHOWN], texts[SHOWN], tokens, context)
    metrics = sentence_metrics(characters, spoken) | statistics_of(training, test) | cost
    learned = {word for text in training.texts for word in text.split()}
    said = [word for text in test.texts for word in text.split()]
    metrics["new_words"] = 100 * float(np.mean([word not in learned for word in said]))  # percent of the test's words
    metrics["new_sentences"] = 100 * float(arrays["new"].mean())
    if arrays["new"].any():
        metrics["wer_new"] = float(score_of("wer")(spoken[arrays["new"]].mean(0)))
    return Outcome(metrics, curves, arrays, speed)


def _longest(training: SpeechSet) -> int:
    """Characters of the longest text that is decoded."""
    return max(map(len, training.texts)) + SPARE


def _read(
    model: SentenceReader,
    features: Tensor,
    lengths: np.ndarray,
    longest: int,
    tokens: Tokeniser,
    p: Mapping,
    context: Context,
) -> tuple[list[str], list[list[list[int]]] | None]:
    """The texts of all clips and, by beam search over at most `longest` characters, the best after each step."""
    lengths = torch.from_numpy(lengths.astype(np.int64))
    texts: list[str] = []
    steps: list[list[list[int]]] = []
    for start in range(0, len(features), BATCH):
        part, frames = (value[start : start + BATCH].to(context.device) for value in (features, lengths))
        if p["network"] == "ctc":
            found = ctc_prefix_beam(model.back(part, frames), frames, width=p["beam"])
            texts += [tokens.decode(text) for text in found]
        else:
            decoded = beam_search(model.back, part, frames, max_length=longest, width=p["beam"])
            texts += [tokens.decode(text) for text in decoded.tokens]
            steps += decoded.steps
    return texts, steps or None


def _alignment(
    model: SentenceReader, features: Tensor, length: int, text: str, tokens: Tokeniser, context: Context
) -> dict[str, np.ndarray]:
    """Figure 9: attention of each decoded character to the frames, averaged over layers and heads in the log domain."""
    if not text.strip():
        return {}
    lengths = torch.tensor([int(length)], device=context.device)
    previous, _ = tokens.for_teacher_forcing([text])
    encoded = model.back.encode(features.to(context.device), lengths)
    weights = model.back.cross_attention(previous.to(context.device), encoded)[:, 0]  # (layers, heads, L + 1, T)
    mean = weights.clamp(min=1e-9).log().mean((0, 1)).exp()[:-1, : int(length)]
    return {
        "alignment": (mean / mean.sum(-1, keepdim=True)).cpu().numpy().astype(np.float32),
        "alignment_text": np.array(text),
    }
