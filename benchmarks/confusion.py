"""Confusion matrices per image: image by image in small integers against all images at once in int64.

Five classes, a tenth of the pixels not counted. Run: `python benchmarks/confusion.py`. Prints milliseconds and how many
times as long the other takes for the same counts. Both run alternately and the best run of each counts.
"""

from __future__ import annotations

import time

import numpy as np

from reprolib.metrics import IGNORED, confusion

CLASSES = 5


def all_at_once(pred, label):
    """One bincount over the (image, annotated, predicted) triples of all images."""
    counted = label != IGNORED
    image = np.broadcast_to(np.arange(len(label))[:, None, None], label.shape)[counted]
    triples = (image * CLASSES + label[counted].astype(np.int64)) * CLASSES + pred[counted].astype(np.int64)
    return np.bincount(triples, minlength=len(label) * CLASSES**2).reshape(len(label), CLASSES, CLASSES)


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    rng = np.random.default_rng(0)
    for shape in ((20, 320, 320), (200, 192, 192)):
        pred, label = rng.integers(0, CLASSES, (2, *shape), dtype=np.uint8)
        label[rng.random(shape) < 0.1] = IGNORED
        assert (confusion(pred, label, CLASSES) == all_at_once(pred, label)).all()
        runs = [(seconds(confusion, pred, label, CLASSES), seconds(all_at_once, pred, label)) for _ in range(5)]
        ours, other = map(min, zip(*runs, strict=True))
        print(f"{shape}: {1e3 * ours:.1f} ms, all at once {other / ours:.1f} times as long")


if __name__ == "__main__":
    main()
