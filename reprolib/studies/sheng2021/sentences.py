"""The sentence task of sheng2021: a back end spells sentences from kept features of the words' streams."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.datasets.characters import ENGLISH, IGNORED, Tokeniser
from reprolib.datasets.people import numbered
from reprolib.models import complexity
from reprolib.models.beam_search import beam_search
from reprolib.models.lip_transformer import ctc_loss, ctc_prefix_beam, frames_needed
from reprolib.studies.sheng2021 import data as clips_of
from reprolib.studies.sheng2021.config import Config, Training
from reprolib.studies.sheng2021.data import Examples
from reprolib.studies.sheng2021.networks import Scaled, build_speller, channels_of
from reprolib.studies.sheng2021.scores import letter_and_digit, rate, sentence_metrics
from reprolib.studies.sheng2021.words import fitted_words, independent, seen, statistics_of
from reprolib.text_metrics import character_edits, word_edits
from reprolib.training import Batch, Fitted, Schedule, fabric_of, train, warmup_rate
from reprolib.trial import Context, Outcome

TOKENS = Tokeniser(ENGLISH)
SMOOTHING = 0.1  # of the characters' labels (Sec. IV-B)
BATCH = 32  # sentences at a time in decoding
SHOWN = 0  # the test sentence of Figure 9
SPARE = 6  # characters by which a decoded sentence may exceed the longest of training
CURRICULUM = (1, 2, 3, 5, 7, 9, 13, 17, 21, 29, 37)  # words of a part, stage by stage (Sec. IV-B)
WHOLE = 0.5  # share of the sentences that stay whole in the last stage
MARGIN = 3  # frames before and after a part


# --- one trial ---------------------------------------------------------------------------------------


def read_sentences(config: Config, seed: int, context: Context) -> Outcome:
    """Train the row's back end and read the test sentences once; every random number follows from `seed`."""
    sets = clips_of.examples_of(config, context.data_root)
    if config.training is None:
        guess = by_grammar(sets.train.texts)
        outcome = _scored([guess] * len(sets.test), sets.test, config)
        wrong = rate(word_edits([guess] * len(sets.validation), sets.validation.texts).mean(0))
        outcome.metrics |= {"validation": 100 - float(wrong)} | statistics_of(sets)
        return outcome
    model, fitted = _fitted(config, seed, context)
    longest = _longest(sets.train)
    tensors = {part: seen(config, getattr(sets, part), seed, context) for part in ("validation", "test")}
    texts, steps = spelt(model, tensors["test"], config, longest, context)
    outcome = _scored(texts, sets.test, config)
    outcome.curves, outcome.stopped = fitted.curves, asdict(fitted.stopped)
    read, _ = spelt(model, tensors["validation"], config, longest, context)
    outcome.metrics["validation"] = 100 - float(rate(word_edits(read, sets.validation.texts).mean(0)))
    front = fitted_words(config.before[0], seed, context)[0]
    outcome.metrics["parameters_m"] = (complexity.parameters(model) + complexity.parameters(front)) / 1e6
    if config.back_end == "seq2seq" and config.dataset in ("grid", "facesynth"):  # no other sentence may be printed
        outcome.arrays |= _example(model, tensors["test"], sets.test, texts[SHOWN], steps[SHOWN], context)
    return outcome


def validate_sentences(config: Config, seed: int, context: Context) -> float:
    """The best validation score of a row, which tuning compares; the test sentences are not used."""
    return max(_fitted(config, seed, context)[1].curves["validation"])


def _scored(read: Sequence[str], test: Examples, config: Config) -> Outcome:
    """Edits and lengths of every test sentence, int32 (N, 2): of characters, of words, of GRID's letter and digit."""
    arrays = {"characters": character_edits(read, test.texts), "words": word_edits(read, test.texts)}
    if config.dataset == "grid":
        parts = [letter_and_digit(text) for text in read], [letter_and_digit(text) for text in test.texts]
        arrays |= {"pair_characters": character_edits(*parts), "pair_words": word_edits(*parts)}
    arrays = {name: counts.astype(np.int32) for name, counts in arrays.items()} | {"units": numbered(test.units)}
    metrics = sentence_metrics(arrays)
    return Outcome(metrics, arrays=arrays, units=independent(test))


def by_grammar(texts: Sequence[str]) -> str:
    """The sentence guessed without the video: of the most common length, with the most common word at each position."""
    sentences = [text.split() for text in texts]
    usual = Counter(map(len, sentences)).most_common(1)[0][0]
    positions = zip(*(words for words in sentences if len(words) == usual), strict=True)
    return " ".join(Counter(sorted(words)).most_common(1)[0][0] for words in positions)


# --- training ----------------------------------------------------------------------------------------


def _fitted(config: Config, seed: int, context: Context) -> tuple[Scaled, Fitted]:
    sets = clips_of.examples_of(config, context.data_root)
    chosen = learnable(sets.train, ctc=config.back_end == "CTC")
    tensors = seen(config, sets.train, seed, context, mirrored=True)
    tensors = {name: value[chosen] for name, value in tensors.items()}
    texts = [sets.train.texts[i] for i in chosen]
    spans = None if sets.train.spans is None else sets.train.spans[chosen]
    validation = seen(config, sets.validation, seed, context)
    torch.manual_seed(seed)
    model = Scaled(build_speller(config, TOKENS.outputs), channels_of(config)).to(context.device)
    model.measure(tensors["features"][:, 0], tensors["lengths"])
    model.to(context.device)
    previous, targets = TOKENS.for_teacher_forcing(texts)
    parts = Parts(texts, spans, config.training, steps=-(-len(texts) // config.training.batch_size))
    longest = max(map(len, texts)) + SPARE

    def accuracy(network: nn.Module) -> float:
        read, _ = spelt(network, validation, config, longest, context, beam=1)
        return 100 - float(rate(character_edits(read, sets.validation.texts).mean(0)))

    fitted = train(
        model, tensors | {"previous": previous, "targets": targets, "which": torch.arange(len(texts))},
        loss_of(config), schedule=schedule_of(config.training), fabric=fabric_of(context), seed=seed,
        inputs=names_of(config), augment=parts, validate=accuracy,
    )  # fmt: skip
    return model.eval(), fitted


def schedule_of(training: Training) -> Schedule:
    """Eq. 7, up to its scale: the learning rate rises to `lr` in `warmup` steps, then falls as 1/√step."""
    peak = training.warmup**0.5

    def factor(step: int) -> float:
        return peak * warmup_rate(step + 1, width=1, factor=1.0, warmup=training.warmup)

    return Schedule.decay(
        training.epochs, training.batch_size, training.lr, factor, per_step=True, patience=training.patience
    )


def learnable(train: Examples, *, ctc: bool) -> list[int]:
    """Indices of sentences of known characters and, for CTC, with enough frames; a warning counts the others."""
    lengths = np.asarray(train.views["lengths"]()).tolist()
    kept = [
        i
        for i, (text, frames) in enumerate(zip(train.texts, lengths, strict=True))
        if set(text) <= set(TOKENS.characters) and (not ctc or frames >= frames_needed(text))
    ]
    if len(kept) < len(train):
        warnings.warn(
            f"{len(train) - len(kept)} of {len(train)} training sentences have unknown characters or too few frames "
            "and are left out",
            stacklevel=2,
        )
    return kept


class Parts:
    """The curriculum: batches of parts of sentences, of 1 word, then 2, 3, 5 …; in the last stage some stay whole.

    One training goes through all stages, so that the optimiser keeps its state. It needs the words' `spans` (N, words,
    2) in frames; without them sentences stay whole. `steps`: steps per epoch. Of features (N, versions, T, C) one
    version is sampled per sentence.
    """

    def __init__(self, texts: Sequence[str], spans: np.ndarray | None, training: Training, *, steps: int) -> None:
        self.words = [text.split() for text in texts]
        self.spans, self.training, self.steps, self.step = spans, training, steps, 0
        most = max(map(len, self.words))
        self.stages = [count for count in CURRICULUM if count < most]

    def most_words(self) -> int | None:
        """Words of a part at this step; None in the last stage."""
        epoch = self.step // self.steps
        stage = epoch // self.training.stage_epochs if self.training.stage_epochs else len(self.stages)
        return self.stages[stage] if stage < len(self.stages) and self.spans is not None else None

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        most = self.most_words()
        self.step += 1
        features = batch["features"]
        versions = torch.randint(features.shape[1], (len(features),), generator=generator).tolist()
        chosen, lengths, texts = [], [], []
        for row, which in enumerate(batch["which"].tolist()):
            first, count = self._part(which, most, generator)
            words, there = self.words[which], int(batch["lengths"][row])
            start, end = self._frames(which, first, count, there)
            chosen.append(features[row, versions[row], start:end])
            lengths.append(end - start)
            texts.append(" ".join(words[first : first + count]))
        previous, targets = TOKENS.for_teacher_forcing(texts)
        padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        device = features.device
        return {
            **batch, "features": padded, "lengths": torch.tensor(lengths, device=device),
            "previous": previous.to(device), "targets": targets.to(device),
        }  # fmt: skip

    def _part(self, which: int, most: int | None, generator: torch.Generator) -> tuple[int, int]:
        """Index of a part's first word, and its number of words."""
        total = len(self.words[which])
        if self.spans is None or (most is None and float(torch.rand((), generator=generator)) < WHOLE):
            return 0, total
        count = min(most or int(torch.randint(1, total + 1, (), generator=generator)), total)
        return int(torch.randint(total - count + 1, (), generator=generator)), count

    def _frames(self, which: int, first: int, count: int, there: int) -> tuple[int, int]:
        """First and end frame of a part with a margin, wide enough to be spelt by CTC; of a whole sentence, all."""
        if count == len(self.words[which]) or self.spans is None:
            return 0, there
        start = int(self.spans[which, first, 0]) - MARGIN
        end = int(np.ceil(self.spans[which, first + count - 1, 1])) + MARGIN
        needed = 2 * len(" ".join(self.words[which][first : first + count]))
        short = max(0, needed - (end - start))
        start, end = max(0, start - short // 2), min(there, end + short - short // 2)
        return max(0, min(start, there - needed)), min(there, max(end, start + needed))


def names_of(config: Config) -> tuple[str, ...]:
    """The tensors that a back end takes, in order."""
    return ("features", "lengths") if config.back_end == "CTC" else ("features", "lengths", "previous")


def loss_of(config: Config) -> Callable[[Tensor, Batch], Tensor]:
    """The CTC loss, or cross-entropy of characters with smoothed labels."""
    return _ctc if config.back_end == "CTC" else _characters


def _characters(logits: Tensor, batch: Batch) -> Tensor:
    targets = batch["targets"].flatten()
    return F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, label_smoothing=SMOOTHING)


def _ctc(logits: Tensor, batch: Batch) -> Tensor:
    texts = [row[row != IGNORED][:-1].tolist() for row in batch["targets"]]  # without EOS
    return ctc_loss(logits, batch["lengths"], texts)


# --- reading -----------------------------------------------------------------------------------------


def _longest(train: Examples) -> int:
    """Characters of the longest text that is decoded."""
    return max(map(len, train.texts)) + SPARE


@torch.no_grad()
def spelt(
    model: Scaled, tensors: Mapping[str, Tensor], config: Config, longest: int, context: Context, *, beam: int = 0
) -> tuple[list[str], list[list[list[int]]]]:
    """The texts of all clips by beam search, and the best hypotheses of each clip after each step (none for CTC).

    beam: number of hypotheses; 0 for the row's own.
    """
    model.to(context.device).eval()
    width = beam or config.sizes.beam
    texts: list[str] = []
    steps: list[list[list[int]]] = []
    for start in range(0, len(tensors["lengths"]), BATCH):
        features = model.scale(tensors["features"][start : start + BATCH, 0].to(context.device))
        lengths = tensors["lengths"][start : start + BATCH].to(context.device)
        if config.back_end == "CTC":
            found = ctc_prefix_beam(model.back(features, lengths), lengths, width=width)
            texts += [TOKENS.decode(text) for text in found]
        else:
            decoded = beam_search(model.back, features, lengths, max_length=longest, width=width)
            texts += [TOKENS.decode(text) for text in decoded.tokens]
            steps += decoded.steps
    return texts, steps


@torch.no_grad()
def _example(
    model: Scaled, tensors: Mapping[str, Tensor], test: Examples, text: str, steps: list[list[int]], context: Context
) -> dict[str, np.ndarray]:
    """Figure 9 and the second Table VII: attention of characters to frames, and the best hypothesis after each step.

    Attention is averaged over layers and heads in the log domain.
    """
    found = {"hypotheses": np.array([TOKENS.decode(step) for step in steps]), "reference": np.array(test.texts[SHOWN])}
    if not text.strip():
        return found
    lengths = tensors["lengths"][SHOWN : SHOWN + 1].to(context.device)
    previous, _ = TOKENS.for_teacher_forcing([text])
    encoded = model.back.encode(model.scale(tensors["features"][SHOWN : SHOWN + 1, 0].to(context.device)), lengths)
    weights = model.back.cross_attention(previous.to(context.device), encoded)[:, 0]  # (layers, heads, L + 1, T)
    mean = weights.clamp(min=1e-9).log().mean((0, 1)).exp()[:-1, : int(lengths)]
    mean = mean / mean.sum(-1, keepdim=True)
    return found | {"alignment": mean.cpu().numpy().astype(np.float32), "alignment_text": np.array(text)}
