"""Accuracies and error rates of sheng2021 from what its records keep of every test clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# score -> the array of the records that it is computed from
ARRAY_OF = {
    "accuracy": "correct", "viseme_accuracy": "correct", "cer": "characters", "wer": "words",
    "cer_utterance": "characters_rate", "wer_utterance": "words_rate",
}  # fmt: skip


def score_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """From the mean over test clips of `ARRAY_OF[name]`, (…, columns), to a score in percent.

    "correct" has the columns right word, right viseme class; "characters" and "words" edits, length (the pooled rate);
    "characters_rate" and "words_rate" each utterance's own rate in their one column.
    """
    if name == "accuracy":
        return lambda mean: 100 * mean[..., 0]
    if name == "viseme_accuracy":
        return lambda mean: 100 * mean[..., 1]
    if name in ("cer", "wer"):
        return lambda mean: 100 * mean[..., 0] / mean[..., 1]
    return lambda mean: 100 * mean[..., 0]


def correct(predicted: np.ndarray, labels: np.ndarray, visemes: np.ndarray) -> np.ndarray:
    """Whether the word is right, and whether its viseme class is: float32 (N, 2).

    predicted, labels: int (N,), words; visemes: int (classes,), equal for words that look alike on the lips.
    """
    right = np.stack([predicted == labels, visemes[predicted] == visemes[labels]], axis=1)
    return right.astype(np.float32)


def ceiling(labels: np.ndarray, visemes: np.ndarray) -> float:
    """The best accuracy in percent of one who sees visemes and nothing else: the commonest word of each class."""
    best = 0
    for viseme in np.unique(visemes):
        of_class = labels[visemes[labels] == viseme]
        best += np.bincount(of_class).max() if len(of_class) else 0
    return 100 * best / len(labels)


def word_metrics(found: np.ndarray) -> dict[str, float]:
    """Accuracy, and accuracy of viseme classes, in percent, from `correct`."""
    return {name: float(score_of(name)(found.mean(0))) for name in ("accuracy", "viseme_accuracy")}


def sentence_metrics(characters: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """CER and WER in percent, pooled over the set and as a mean over utterances, from edits and lengths (N, 2)."""
    made = {"cer": characters, "wer": words}
    pooled = {name: float(score_of(name)(counts.mean(0))) for name, counts in made.items()}
    return pooled | {f"{name}_utterance": float(100 * rates(counts).mean()) for name, counts in made.items()}


def rates(counts: np.ndarray) -> np.ndarray:
    """Each utterance's own error rate, (N, 1), from edits and lengths (N, 2)."""
    return counts[:, :1] / counts[:, 1:]


def graph_distances(graphs: np.ndarray, classes: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """How far each clip's attention graph is from others': float32 (N, 3), nan where there is no such pair.

    graphs: (N, K, K); classes, speakers: int (N,). Columns: mean distance to clips of the same class by other
    speakers, of the same speaker with other classes, and of other classes by other speakers. A distance is the
    Euclidean one, divided by the mean over all pairs.
    """
    flat = graphs.reshape(len(graphs), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0))
    same_class, same_speaker = classes[:, None] == classes[None], speakers[:, None] == speakers[None]
    others = ~np.eye(len(flat), dtype=bool)
    apart = apart / apart[others].mean()
    kinds = (same_class & ~same_speaker, ~same_class & same_speaker, ~same_class & ~same_speaker)
    counts = np.stack([kind.sum(1) for kind in kinds], axis=1)
    sums = np.stack([(apart * kind).sum(1) for kind in kinds], axis=1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).astype(np.float32)
