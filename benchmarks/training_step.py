"""The training loop against the obvious one: float32 images, contiguous memory, two waits per step.

Three networks, one CPU thread. Run: `python benchmarks/training_step.py` (about two minutes). Prints how many times as
many images per second the loop of `reprolib.training` takes, in CPU time, and its peak memory as a part of the obvious
loop's. Every loop runs in a process of its own, three times; the best run of each counts. `reprolib.machine.set_seeds`
prepares the process of our loop, as for every trial; the obvious loop asks for deterministic sums by itself.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from reprolib.machine import peak_memory, set_seeds
from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.models.fcn_mobilenet import FCNMobileNet
from reprolib.training import Schedule, make_fabric, train

CLASSES, BATCH, STEPS, REPEATS = 3, 16, 2, 3
NETWORKS = {
    "EncoderDecoder, width 16, 96 px": (lambda: EncoderDecoder(width=16, classes=CLASSES), 96),
    "U-Net, MobileNetV2, 128 px": (lambda: smp.Unet("mobilenet_v2", encoder_weights=None, classes=CLASSES), 128),
    "FCN, MobileNetV2, 128 px": (lambda: FCNMobileNet(classes=CLASSES, pretrained=False), 128),
}
LOOPS = ("ours", "obvious")


def prepare(batch):
    """uint8 to float32 in [−1, 1]."""
    return {**batch, "images": batch["images"].float() / 127.5 - 1}


def loss(logits, batch):
    """Cross-entropy of the pixels."""
    return F.cross_entropy(logits, batch["labels"].long())


def ours(model, data):
    """One epoch of `reprolib.training.train`."""
    schedule = Schedule.flat(1, BATCH, 1e-3)
    train(model, data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0, prepare=prepare)


def obvious(model, data):
    """One epoch as everyone writes it first."""
    data = {"images": data["images"].float() / 127.5 - 1, "labels": data["labels"].long()}
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    total = 0.0
    for indices in torch.randperm(len(data["images"])).split(BATCH):
        batch = {name: value[indices] for name, value in data.items()}
        value = loss(model(batch["images"]), batch)
        if not math.isfinite(value.item()):
            raise ValueError("the loss is not finite")
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        total += value.item()


def measure(loop: str, name: str) -> tuple[float, float]:
    """CPU seconds per image and peak memory in MiB of this process, which has run nothing else."""
    if loop == "ours":
        set_seeds(0, "cpu")
    else:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=True)
    build, size = NETWORKS[name]
    model = build()
    count = STEPS * BATCH
    data = {
        "images": torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8),
        "labels": torch.randint(0, CLASSES, (count, size, size), dtype=torch.uint8),
    }
    run = {"ours": ours, "obvious": obvious}[loop]
    run(model, data)  # the first epoch warms up
    start = time.process_time()
    run(model, data)
    return (time.process_time() - start) / count, peak_memory()


def in_process(loop: str, name: str) -> tuple[float, float]:
    """`measure` in a new process."""
    found = subprocess.run([sys.executable, __file__, loop, name], check=True, capture_output=True, text=True)
    seconds, memory = map(float, found.stdout.split()[-2:])
    return seconds, memory


def main() -> None:
    """The table."""
    print(f"{'network':34}{'images/s, ratio':>17}{'peak memory, ratio':>20}{'ms/image':>18}")
    for name in NETWORKS:
        runs = {loop: [] for loop in LOOPS}
        for _ in range(REPEATS):
            for loop in LOOPS:
                runs[loop].append(in_process(loop, name))
        (seconds, memory), (seconds_old, memory_old) = (map(min, zip(*runs[loop], strict=True)) for loop in LOOPS)
        times = f"{1000 * seconds_old:.1f} -> {1000 * seconds:.1f}"
        print(f"{name:34}{seconds_old / seconds:17.2f}{memory / memory_old:20.2f}{times:>18}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*measure(*sys.argv[1:]))
    else:
        main()
