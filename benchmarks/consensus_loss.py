"""Consensus loss, forward and backward: all blobs of a batch at once against loops over the blobs.

32 images of 128×128 pixels, three classes, one CPU thread. Run: `python benchmarks/consensus_loss.py`. Prints, for
4–12 and for 40–80 blobs an image, CPU milliseconds and how many times as long each loop takes for the same value:
the plain loop, which starts each blob from the logits as the release does, and a smarter one, which computes one
softmax for all. Ours and the loops run alternately, and the best run of each counts, so that a busy machine slows
down both. Ours takes the same time for any number of blobs, a loop's time grows with it.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F

from reprolib.losses.consensus import consensus_loss, consensus_loss_batch_pooled

ALPHA, BETA = 10.0, 5.0


def batch(*, blobs: tuple[int, int], images: int = 32, size: int = 128, classes: int = 3, seed: int = 0):
    """Random logits and, per image, Voronoi blobs, as many as `blobs` (least, most) says.

    0 is background, 1 face, the others occlusions. Returns logits, labels, blob ids.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[:size, :size], -1)
    maps = []
    for _ in range(images):
        centres = rng.uniform(0, size, (rng.integers(blobs[0], blobs[1] + 1), 2))
        maps.append(((grid[:, :, None] - centres) ** 2).sum(-1).argmin(-1))
    ids = torch.from_numpy(np.stack(maps))
    logits = torch.from_numpy(rng.standard_normal((images, classes, size, size), dtype=np.float32))
    return logits.requires_grad_(), ids.clamp(max=classes - 1), ids


def released_loop(logits, labels, blobs):
    """The released form as the release computes it: for each id, softmax and divergence of the whole batch."""
    total, ids = 0, blobs.unique()
    for i in ids:
        p, log_p = logits.softmax(1), logits.log_softmax(1)
        mask = (blobs == i)[:, None].float()
        pixels = mask.sum((2, 3))
        present = pixels[:, 0] > 0
        mean = (p * mask).sum((2, 3)) / pixels.clamp(min=1)
        label = labels[blobs == i][:1].expand(int(present.sum()))
        nll = F.nll_loss(mean[present].log(), label, reduction="sum") / len(logits)
        divergence = F.kl_div(log_p, mean[:, :, None, None].expand_as(log_p), reduction="none")
        divergence = (divergence * mask).sum() / (logits.shape[1] * pixels.sum())
        total = total + ALPHA * nll + BETA * divergence
    return total / len(ids)


def loop_per_image(logits, labels, blobs):
    """Eq. 8 for one image after the other, each blob starting from the logits as in the release."""
    total = 0
    for z, y, c in zip(logits, labels, blobs, strict=True):
        ids = c.unique()
        for i in ids:
            mask = c == i
            total = total + _eq_7(z.softmax(0), z.log_softmax(0), y, mask) / len(ids)
    return total / len(logits)


def smarter_loop_per_image(logits, labels, blobs):
    """Eq. 8 with one softmax for the whole batch."""
    total = 0
    for p, log_p, y, c in zip(logits.softmax(1), logits.log_softmax(1), labels, blobs, strict=True):
        ids = c.unique()
        for i in ids:
            total = total + _eq_7(p, log_p, y, c == i) / len(ids)
    return total / len(logits)


def _eq_7(p: torch.Tensor, log_p: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One blob of one image; p and log_p (C, H, W)."""
    mean = p[:, mask].mean(1, keepdim=True)
    divergence = (mean * (mean.log() - log_p[:, mask])).sum(0).mean()
    return -ALPHA * mean[labels[mask][0], 0].log() + BETA * divergence


def smarter_released_loop(logits, labels, blobs):
    """The released form with one softmax for the whole batch, and each id's pixels only."""
    total, ids = 0, blobs.unique()
    # class by class, so that one mask selects the pixels of all images
    p, log_p = logits.softmax(1).transpose(0, 1), logits.log_softmax(1).transpose(0, 1)
    image = torch.arange(len(logits))[:, None, None].expand_as(blobs)
    for i in ids:
        mask = blobs == i
        present, member = image[mask].unique(return_inverse=True)
        of_blob = p.new_zeros(len(p), len(present)).index_add(1, member, p[:, mask])
        mean = of_blob / member.bincount()
        nll = -mean[labels[mask][0]].log().sum() / len(logits)
        divergence = (mean[:, member] * (mean.log()[:, member] - log_p[:, mask])).mean()
        total = total + ALPHA * nll + BETA * divergence
    return total / len(ids)


def measure(loss, logits, labels, blobs) -> tuple[float, float]:
    """CPU milliseconds of one forward and backward, and the value."""
    logits.grad = None
    start = time.process_time()
    value = loss(logits, labels, blobs)
    value.backward()
    return 1000 * (time.process_time() - start), value.item()


def compare(ours, loops, data, *, rounds: int) -> None:
    """Ours five times, then each loop once, `rounds` times and once before to warm up; print the best of each."""
    runs = {loss: [] for loss in (ours, *loops)}
    for _ in range(rounds + 1):
        for loss, found in runs.items():
            found.extend(measure(loss, *data) for _ in range(5 if loss is ours else 1))
    best = {loss: min(ms for ms, _ in found[len(found) // (rounds + 1) :]) for loss, found in runs.items()}
    for loss, found in runs.items():
        times = "" if loss is ours else f" = {best[loss] / best[ours]:5.1f} × ours"
        print(f"  {loss.__name__:28} {best[loss]:7.1f} ms{times:16} value {found[-1][1]:.5f}")


def main() -> None:
    torch.set_num_threads(1)
    for number, rounds in (((4, 12), 5), ((40, 80), 2)):
        data = batch(blobs=number)
        print(f"{number[0]}–{number[1]} blobs an image")
        compare(consensus_loss_batch_pooled, [released_loop, smarter_released_loop], data, rounds=rounds)
        compare(consensus_loss, [loop_per_image, smarter_loop_per_image], data, rounds=rounds)


if __name__ == "__main__":
    main()
