"""What `test_training.py` runs as a command: one training on as many CPU processes as the first argument says."""

import sys

import torch
from torch import nn
from torch.nn import functional as F

from reprolib.training import Schedule, make_fabric, train


def main(devices: int, path: str) -> None:
    fabric = make_fabric("cpu", devices)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    images = torch.rand(14, 3, 8, 8)  # batches of 5, 5 and 4: shares differ by one
    data = {"images": images, "labels": (images.mean(1) > 0.5).long()}
    validated = []

    def validate(network):
        validated.append(fabric.global_rank)
        return (0.1, 0.5, 0.2, 0.3)[len(validated) - 1]

    def augment(batch, generator):
        return {
            **batch,
            "images": batch["images"] + torch.rand(len(batch["images"]), 1, 1, 1, generator=generator) / 10,
        }

    fitted = train(
        model,
        data,
        lambda logits, batch: F.cross_entropy(logits, batch["labels"]),
        schedule=Schedule.flat(8, 5, 1e-2, optimiser=torch.optim.SGD, patience=2),
        fabric=fabric,
        seed=0,
        augment=augment,
        validate=validate,
    )
    content = {"world": fabric.world_size, "validated": len(validated), "best": fitted.stopped.best_epoch}
    content |= {"weights": model.state_dict(), "curves": fitted.curves}
    torch.save(content, f"{path}-{fabric.global_rank}.pt")


if __name__ == "__main__":  # the tests' collection of docstring examples imports it, too
    main(int(sys.argv[1]), sys.argv[2])
