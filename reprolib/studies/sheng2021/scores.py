"""The columns of sheng2021's tables, from what a record keeps of every test word or sentence."""

from __future__ import annotations

import numpy as np

from reprolib.study import Score

LETTER, DIGIT = 3, 4  # positions in a sentence of GRID


def rate(mean: np.ndarray) -> np.ndarray:
    """Percent from the mean over test items of (count, of how many), (…, 2); nan where there is none."""
    count, total = mean[..., 0], mean[..., 1]
    return 100 * np.divide(count, total, out=np.full(np.shape(count), np.nan), where=total > 0)


# Scores of claims: how the mean over test items of a record's array becomes the score.
SCORES = {
    "accuracy": Score("accuracy of words", "right", rate),
    "letters": Score("accuracy of letters", "right_letters", rate),
    "closed": Score("accuracy of the other slots' words", "right_closed", rate),
    "pairs": Score("accuracy of minimal pairs", "right_pairs", rate),
    "cer": Score("character error rate", "characters", rate, higher_is_better=False),
    "wer": Score("word error rate", "words", rate, higher_is_better=False),
    "wer_pair": Score("word error rate of letters and digits", "pair_words", rate, higher_is_better=False),
}


def word_arrays(logits: np.ndarray, labels: np.ndarray, groups: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays for claims on words: (right, counted) for every test word, float32 (N, 2); "predicted", "labels" int16.

    logits: (N, classes); labels: int (N,); groups: slot of each word of GRID, "pair" or "distinct" of a rendered word,
    or (). "right_in_slot": right among the words of its slot.
    """
    predicted = logits.argmax(1)
    right = predicted == labels

    def counted(which: np.ndarray, right: np.ndarray = right) -> np.ndarray:
        return np.stack([right & which, which], axis=1).astype(np.float32)

    made = {"predicted": predicted.astype(np.int16), "labels": labels.astype(np.int16),
            "right": counted(np.ones(len(labels), bool))}  # fmt: skip
    names = np.array(groups)
    if "letter" in groups:
        own = names[labels]
        same_slot = names[None] == own[:, None]
        in_slot = np.where(same_slot, logits, -np.inf).argmax(1) == labels
        made |= {"right_letters": counted(own == "letter"), "right_closed": counted(own != "letter"),
                 "right_in_slot": counted(np.ones(len(labels), bool), in_slot)}  # fmt: skip
    if "pair" in groups:
        made["right_pairs"] = counted(names[labels] == "pair")
    return made


def word_metrics(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """The columns of the tables of words, percent."""
    columns = {"accuracy": "right", "letters": "right_letters", "closed": "right_closed", "in_slot": "right_in_slot",
               "pairs": "right_pairs"}  # fmt: skip
    found = {name: float(rate(arrays[array].mean(0))) for name, array in columns.items() if array in arrays}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def letter_and_digit(text: str) -> str:
    """The fourth and fifth word of a sentence of GRID, which the grammar does not give away."""
    return " ".join(text.split()[LETTER : DIGIT + 1])


def sentence_metrics(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """CER and WER in percent: pooled over the set, of letters and digits, and as a mean over clips."""
    columns = {"cer": "characters", "wer": "words", "cer_pair": "pair_characters", "wer_pair": "pair_words"}
    pooled = {name: float(rate(arrays[array].mean(0))) for name, array in columns.items() if array in arrays}
    each = {"cer_clip": arrays["characters"], "wer_clip": arrays["words"]}
    return pooled | {name: float(rate(counts.astype(float)).mean()) for name, counts in each.items()}


def share_of_variance(features: np.ndarray, groups: np.ndarray) -> float:
    """Percentage of the variance of (N, D) that lies between groups, int (N,): 100 if each group is one point."""
    centred = features - features.mean(0)
    total = float((centred**2).sum())
    return 100 * _between(centred, groups) / total if total > 0 else 0.0


def _between(centred: np.ndarray, groups: np.ndarray) -> float:
    members = np.eye(groups.max() + 1)[groups]  # (N, groups)
    counts = np.maximum(members.sum(0), 1)
    return float((((members.T @ centred) ** 2).sum(1) / counts).sum())


def permutation_test(
    features: np.ndarray, words: np.ndarray, clips: np.ndarray, *, seed: int, permutations: int = 199
) -> tuple[float, float, float]:
    """The share of variance between words, its mean under shuffled labels (both in percent), and the p-value.

    features: (N, D); words, clips: int (N,). Where clips have several words, each clip's mean is subtracted first, so
    that the test asks whether words differ within clips. Labels are shuffled over all words.
    """
    if np.bincount(clips).max() > 1:
        members = np.eye(clips.max() + 1)[clips]
        features = features - (members / members.sum(0)) @ (members.T @ features)
    true = share_of_variance(features, words)
    rng = np.random.default_rng(seed)
    shuffled = np.array([share_of_variance(features, rng.permutation(words)) for _ in range(permutations)])
    return true, float(shuffled.mean()), float((1 + (shuffled >= true).sum()) / (1 + permutations))
