"""Consensus loss, forward and backward: all blobs of a batch at once against loops over the blobs.

32 images of 128×128 pixels, three classes, one CPU thread. Run: `python benchmarks/consensus_loss.py`. Prints
CPU milliseconds (the best of several runs) and ratios for 4–12 and for 40–80 blobs an image; the loops
compute the same values. Ours takes the same time for any number of blobs, a loop's time grows with it.
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


def milliseconds(loss, logits, labels, blobs, *, repeats: int) -> tuple[float, float]:
    """Best CPU time of forward and backward, and the value."""
    times = []
    for _ in range(repeats + 1):
        logits.grad = None
        start = time.process_time()
        value = loss(logits, labels, blobs)
        value.backward()
        times.append(time.process_time() - start)
    return 1000 * min(times[1:]), value.item()


def main() -> None:
    torch.set_num_threads(1)
    for number in ((4, 12), (40, 80)):
        data = batch(blobs=number)
        print(f"{number[0]}–{number[1]} blobs an image")
        for ours, loops in (
            (consensus_loss_batch_pooled, [released_loop]),
            (consensus_loss, [loop_per_image, smarter_loop_per_image]),
        ):
            mine, value = milliseconds(ours, *data, repeats=20)
            print(f"  {ours.__name__:28} {mine:7.1f} ms                 value {value:.5f}")
            for loop in loops:
                theirs, value = milliseconds(loop, *data, repeats=2)
                print(f"  {loop.__name__:28} {theirs:7.1f} ms = {theirs / mine:5.1f} × ours, value {value:.5f}")


if __name__ == "__main__":
    main()
