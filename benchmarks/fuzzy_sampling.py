"""Fuzzy learning module: two random numbers a point against K, forward and backward, time and peak memory.

4 feature maps of 16 channels and 32×64 points, one CPU thread. Run: `python benchmarks/fuzzy_sampling.py`. All
forms draw from the same distribution (Yang et al. 2023, Eq. 1–8). Each runs in a process of its own; its memory is
how far one step raises the peak of the process's resident memory; there glibc's allocator is told to hand every
freed tensor back at once, which would slow down the other process that is timed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import torch

from reprolib.models.fuzzy_learning import FuzzyLearningModule, membership, moments, rule_weights, sample

SHAPE, TEMPERATURE, REPEATS = (4, 16, 32, 64), 0.05, 5


def k_noises(x, mu, sigma):
    """The authors' form: a draw for each point and kernel."""
    best, least = rule_weights(membership(x, mu, sigma), TEMPERATURE)
    drawn = mu[:, None, None] + sigma[:, None, None] * torch.randn_like(best)
    return (best * drawn).sum(-1), (least * drawn).sum(-1)


def two_numbers_kept(x, mu, sigma):
    """Two numbers a point; everything that the gradient needs is kept."""
    return sample(moments(x, mu, sigma, TEMPERATURE))


def two_numbers(x, mu, sigma):
    """Ours: two numbers per point from one pass with half the exponentials; nothing K-fold is kept."""
    module = FuzzyLearningModule(4 * x.shape[1], kernels=mu.shape[1], temperature=TEMPERATURE)
    module.mu, module.sigma = torch.nn.Parameter(mu.detach()), torch.nn.Parameter(sigma.detach())
    return module.rules(x)


FORMS = {form.__name__: form for form in (k_noises, two_numbers_kept, two_numbers)}


def step(form, kernels: int) -> float:
    """CPU seconds of one forward and backward pass."""
    x = torch.randn(SHAPE).requires_grad_()
    mu, sigma = (torch.randn(SHAPE[1], kernels).requires_grad_() for _ in range(2))
    start = time.process_time()
    y1, y2 = form(x, mu, sigma)
    (y1 + y2).square().sum().backward()
    return time.process_time() - start


def milliseconds(name: str, kernels: int) -> float:
    """CPU time of one step, the best of several."""
    step(FORMS[name], kernels)
    return 1000 * min(step(FORMS[name], kernels) for _ in range(REPEATS))


def megabytes(name: str, kernels: int) -> float:
    """How far one step raises the peak of resident memory."""
    step(FORMS[name], 1)  # loads the libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(FORMS[name], kernels)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


MEASURES = {measure.__name__: measure for measure in (milliseconds, megabytes)}


def in_own_process(measure: str, form: str, kernels: int) -> float:
    freeing = {"MALLOC_MMAP_THRESHOLD_": "65536"} if measure == "megabytes" else {}
    command = [sys.executable, __file__, measure, form, str(kernels)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | freeing)
    return float(done.stdout)


def main() -> None:
    for kernels in (16, 64):
        print(f"K = {kernels}")
        results = {form: [in_own_process(m, form, kernels) for m in MEASURES] for form in FORMS}
        slowest, largest = results["k_noises"]
        for form, (time_ms, memory) in results.items():
            print(
                f"  {form:17} {time_ms:6.0f} ms {memory:5.0f} MB"
                f"   {slowest / time_ms:4.1f} × as fast, {largest / memory:4.1f} × less memory"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if len(sys.argv) == 4:
        print(MEASURES[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
    else:
        main()
