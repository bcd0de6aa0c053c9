"""Segmentation loss, forward and backward: all pixels and classes at once against loops over them.

Five classes, Eq. 9 (g = 0), one CPU thread. Run: `python benchmarks/segmentation_loss.py`. Prints CPU milliseconds
and how many times as long each loop takes for the same value: the literal loop over pixels and classes on one image
of 64×64 pixels, and a loop over the classes alone on 10 images of 128×128. Ours and the loop run alternately, and the
best run of each counts, so that a busy machine slows down both. The literal loop's factor grows with the picture.
"""

from __future__ import annotations

import time

import torch

from reprolib.losses.segmentation_loss import segmentation_loss

CLASSES = 5


def batch(*, images: int, size: int, seed: int = 0):
    """Random scores (images, 5, size, size) in (−1, 1) and labels of that size, one in fifty of classes 2 to 4."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(images, CLASSES, size, size, generator=generator).tanh()
    shares = torch.tensor([0.63, 0.31, 0.02, 0.02, 0.02])
    labels = torch.multinomial(shares, images * size * size, replacement=True, generator=generator)
    return scores.requires_grad_(), labels.view(images, size, size)


def ours(scores, labels):
    """Eq. 7 with Eq. 9."""
    return segmentation_loss(scores, labels, form="linear", margin=0.0)


def loop_over_pixels_and_classes(scores, labels):
    """Eq. 7 as it is printed; the counts pixel by pixel too."""
    pixels = [(z, int(y)) for z, y in zip(scores.movedim(1, -1).flatten(0, 2), labels.flatten(), strict=True)]
    memberships = [z.detach().softmax(0) for z, _ in pixels]
    above = below = 0.0
    for t in range(CLASSES):
        overlap = sum(p[t] for p, (_, y) in zip(memberships, pixels, strict=True) if y == t)
        union = sum(p[t] if y != t else 1 for p, (_, y) in zip(memberships, pixels, strict=True))
        w_positive, w_negative = 1 / union, overlap / union**2
        for z, y in pixels:
            if y == t:
                above = above - w_positive * z[y]
            elif z[y] <= z[t]:
                above = above + w_negative * z[t]
        below = below + w_positive + w_negative
    return above / (len(pixels) * below)


def loop_over_classes(scores, labels):
    """Eq. 7 with a mask of the pixels of each class."""
    p, own = scores.detach().softmax(1), scores.gather(1, labels[:, None])[:, 0]
    above = below = 0.0
    for t in range(CLASSES):
        true, z = labels == t, scores[:, t]
        overlap = p[:, t][true].sum()
        union = p[:, t].sum() + true.sum() - overlap
        w_positive, w_negative = 1 / union, overlap / union**2
        above = above - w_positive * own[true].sum() + w_negative * z[~true & (own <= z)].sum()
        below = below + w_positive + w_negative
    return above / (labels.numel() * below)


def measure(loss, scores, labels) -> tuple[float, float]:
    """CPU milliseconds of one forward and backward, and the value."""
    scores.grad = None
    start = time.process_time()
    value = loss(scores, labels)
    value.backward()
    return 1000 * (time.process_time() - start), value.item()


def compare(loop, data, *, rounds: int) -> None:
    """Ours five times, then the loop once, `rounds` times and once before to warm up; print the best of each."""
    runs = {ours: [], loop: []}
    for _ in range(rounds + 1):
        for loss, found in runs.items():
            found.extend(measure(loss, *data) for _ in range(5 if loss is ours else 1))
    best = {loss: min(ms for ms, _ in found[len(found) // (rounds + 1) :]) for loss, found in runs.items()}
    for loss, found in runs.items():
        times = "" if loss is ours else f" = {best[loss] / best[ours]:6.1f} × ours"
        print(f"  {loss.__name__:30} {best[loss]:7.1f} ms{times:17} value {found[-1][1]:+.5f}")


def main() -> None:
    torch.set_num_threads(1)
    for loop, images, size, rounds in ((loop_over_pixels_and_classes, 1, 64, 1), (loop_over_classes, 10, 128, 5)):
        print(f"{images} of {size}×{size} pixels")
        compare(loop, batch(images=images, size=size), rounds=rounds)


if __name__ == "__main__":
    main()
