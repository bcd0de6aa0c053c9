"""Consensus loss, forward and backward: all blobs of a batch at once against loops over the blobs.

32 images of 128×128 pixels with 4–12 blobs each, three classes, one CPU thread. Run:
`python benchmarks/consensus_loss.py`. Prints seconds (median) and ratios; the loops compute the same values.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch

from reprolib.losses.consensus import consensus_loss, consensus_loss_batch_pooled

ALPHA, BETA = 10.0, 5.0


def batch(*, images: int = 32, size: int = 128, classes: int = 3, seed: int = 0):
    """Random logits and, per image, 4–12 Voronoi blobs: 0 background, 1 face, the others occlusions."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[:size, :size], -1)
    blobs = []
    for _ in range(images):
        centres = rng.uniform(0, size, (rng.integers(4, 13), 2))
        blobs.append(((grid[:, :, None] - centres) ** 2).sum(-1).argmin(-1))
    blobs = torch.from_numpy(np.stack(blobs))
    logits = torch.from_numpy(rng.standard_normal((images, classes, size, size), dtype=np.float32))
    return logits.requires_grad_(), blobs.clamp(max=classes - 1), blobs


def blob_terms(p: torch.Tensor, log_p: torch.Tensor, mask: torch.Tensor, label: torch.Tensor):
    """NLL of the mean prediction and mean divergence from it (Eq. 7), one blob of one image, p (C, H, W)."""
    mean = p[:, mask].mean(1, keepdim=True)
    divergence = (mean * (mean.log() - log_p[:, mask])).sum(0).mean()
    return -mean[label, 0].log(), divergence


def loop_with_softmax_per_blob(logits, labels, blobs):
    """Eq. 8 as the paper reads and as the release does it: each blob starts from the logits."""
    total = 0
    for z, y, c in zip(logits, labels, blobs, strict=True):
        ids = c.unique()
        for i in ids:
            mask = c == i
            nll, divergence = blob_terms(z.softmax(0), z.log_softmax(0), mask, y[mask][0])
            total = total + (ALPHA * nll + BETA * divergence) / len(ids)
    return total / len(logits)


def loop_with_one_softmax(logits, labels, blobs):
    """The same with one softmax for the whole batch: what a careful programmer writes."""
    total, p, log_p = 0, logits.softmax(1), logits.log_softmax(1)
    for p_n, log_p_n, y, c in zip(p, log_p, labels, blobs, strict=True):
        ids = c.unique()
        for i in ids:
            mask = c == i
            nll, divergence = blob_terms(p_n, log_p_n, mask, y[mask][0])
            total = total + (ALPHA * nll + BETA * divergence) / len(ids)
    return total / len(logits)


def loop_over_ids_of_the_batch(logits, labels, blobs):
    """The released, batch-pooled form: softmax of the whole batch for each distinct id."""
    total, ids = 0, blobs.unique()
    for i in ids:
        p, log_p, mask = logits.softmax(1), logits.log_softmax(1), (blobs == i)
        mask = mask[:, None].float()
        pixels = mask.sum((2, 3))
        mean = (p * mask).sum((2, 3)) / pixels.clamp(min=1)
        held = pixels[:, 0] > 0
        label = labels[blobs == i][0]
        nll = -mean[held, label].log().sum() / len(logits)
        mean = mean[:, :, None, None].clamp(min=1e-12)
        divergence = (mean * (mean.log() - log_p) * mask).sum() / (logits.shape[1] * pixels.sum())
        total = total + ALPHA * nll + BETA * divergence
    return total / len(ids)


def seconds(loss, logits, labels, blobs, *, repeats: int) -> tuple[float, float]:
    """Median time of forward and backward, and the value."""
    times = []
    for _ in range(repeats + 1):
        logits.grad = None
        start = time.perf_counter()
        value = loss(logits, labels, blobs)
        value.backward()
        times.append(time.perf_counter() - start)
    return median(times[1:]), value.item()


def main() -> None:
    torch.set_num_threads(1)
    data = batch()
    ours = {
        "per image (Eq. 8)": seconds(consensus_loss, *data, repeats=9),
        "batch-pooled (released)": seconds(consensus_loss_batch_pooled, *data, repeats=9),
    }
    for form, loop in (
        ("per image (Eq. 8)", loop_with_softmax_per_blob),
        ("per image (Eq. 8)", loop_with_one_softmax),
        ("batch-pooled (released)", loop_over_ids_of_the_batch),
    ):
        theirs, value = seconds(loop, *data, repeats=2)
        mine, my_value = ours[form]
        print(
            f"{form:24} {loop.__name__:28} {theirs:7.3f} s, ours {mine:.3f} s: ratio {theirs / mine:5.1f} "
            f"(values {value:.5f}, {my_value:.5f})"
        )


if __name__ == "__main__":
    main()
