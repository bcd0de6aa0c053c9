"""Patches around landmarks: all clips, frames and landmarks at once against a loop over them.

Grey frames of 64×64 pixels, one CPU thread. Run: `python benchmarks/landmark_patches.py`. Prints CPU milliseconds and
how many times as long the literal loop takes for the same patches. Ours and the loop run alternately, and the best run
of each counts, so that a busy machine slows down both.
"""

from __future__ import annotations

import time

import torch
from torch.nn import functional as F

from reprolib.models.landmark_patches import landmark_patches


def clips(*, count: int, frames: int, landmarks: int, seed: int = 0):
    """Random frames (count, frames, 64, 64) and landmarks (count, frames, landmarks, 2), some of them outside."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(count, frames, 64, 64, generator=generator)
    return pictures, 76 * torch.rand(count, frames, landmarks, 2, generator=generator) - 6


def loop_over_landmarks(frames, landmarks, size):
    """One crop after the other, from frames with repeated borders."""
    count, steps, nodes, _ = landmarks.shape
    padded = F.pad(frames, (size, size, size, size), mode="replicate")
    patches = frames.new_empty(count, nodes, steps, size, size)
    for n in range(count):
        for t in range(steps):
            for k in range(nodes):
                x, y = (int(v) + size - size // 2 for v in landmarks[n, t, k].round())
                patches[n, k, t] = padded[n, t, y : y + size, x : x + size]
    return patches


def measure(cut, *data) -> tuple[float, torch.Tensor]:
    """CPU milliseconds of one run, and the patches."""
    start = time.process_time()
    patches = cut(*data)
    return 1000 * (time.process_time() - start), patches


def compare(*data, rounds: int) -> None:
    """Ours five times, then the loop once, `rounds` times and once before to warm up; print the best of each."""
    runs = {landmark_patches: [], loop_over_landmarks: []}
    for _ in range(rounds + 1):
        for cut, found in runs.items():
            found.extend(measure(cut, *data) for _ in range(5 if cut is landmark_patches else 1))
    best = {cut: min(ms for ms, _ in found[len(found) // (rounds + 1) :]) for cut, found in runs.items()}
    for cut in runs:
        times = "" if cut is landmark_patches else f" = {best[cut] / best[landmark_patches]:6.1f} × ours"
        print(f"  {cut.__name__:22} {best[cut]:8.1f} ms{times}")
    same = torch.equal(runs[landmark_patches][-1][1], runs[loop_over_landmarks][-1][1])
    print(f"  the same patches: {'yes' if same else 'no'}")


def main() -> None:
    torch.set_num_threads(1)
    for count, frames, landmarks, size in ((16, 16, 38, 16), (4, 29, 38, 32)):
        print(f"{count} clips of {frames} frames, {landmarks} landmarks, patches of {size}×{size}")
        compare(*clips(count=count, frames=frames, landmarks=landmarks), size, rounds=3)


if __name__ == "__main__":
    main()
