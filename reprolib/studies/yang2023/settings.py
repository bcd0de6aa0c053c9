"""The sizes of yang2023's runs and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from reprolib.parameters import StudyParameters

# Raise when a change alters what a trial computes: finished trials of older recipes are then run again.
RECIPE = 1

CLASSES = ("background", "lips", "teeth", "tongue", "cavity")
PRINTED_CLASSES = ("bg", "lip", "teeth", "tongue", "cavity")  # the columns of Tables III and IV
PAPER_INPUT = (1, 3, 128, 256)  # on which parameters and operations are counted
BEST = 16  # kernels and nodes of the finest scale; 32 and 64 follow (Table I)


class Parameters(StudyParameters):
    """What a reader may turn in the notebook and on the command line."""

    kernels: list[int] = Field(default_factory=lambda: [8, 16, 32])  # of the finest scale, doubled at each coarser one
    nodes: list[int] = Field(default_factory=lambda: [8, 16, 32])


@dataclass(frozen=True)
class Scale:
    """One profile in numbers: crop in pixels, networks, mouths, epochs, rates."""

    seeds: int
    height: int
    width: int
    quarter_width: bool  # networks with a quarter of the paper's channels
    train: int
    test: int
    hard: int  # test mouths for each hard case at each severity
    epochs: int
    batch_size: int
    lr: float
    final_lr: float
    weight_decay: float
    scales: tuple[float, ...]  # of the multi-scale inference


# gpu follows Sec. IV-A; smoke and cpu have smaller pictures, fewer of them, and narrower networks. Not all of it was
# chosen blindly (the page says what was looked at): cpu's rate and batch size are those with which the baseline learns
# the inner mouth in 550 steps, seen on mouths of speakers who are in neither set.
SCALES = {
    "smoke": Scale(
        seeds=1, height=32, width=64, quarter_width=True, train=8, test=6, hard=2, epochs=1, batch_size=4,
        lr=1e-3, final_lr=1e-6, weight_decay=1e-5, scales=(1.0,),
    ),
    "cpu": Scale(
        seeds=3, height=64, width=128, quarter_width=True, train=220, test=88, hard=11, epochs=10, batch_size=4,
        lr=4e-3, final_lr=1e-6, weight_decay=1e-5, scales=(1.0,),
    ),
    "gpu": Scale(
        seeds=3, height=128, width=256, quarter_width=False, train=504, test=126, hard=32, epochs=100, batch_size=32,
        lr=1e-3, final_lr=1e-6, weight_decay=1e-5, scales=(0.5, 1.0, 1.5, 2.0),
    ),
}  # fmt: skip

# Row names: the paper's where it has the row, ours in the same manner where it does not.
BASELINE = "Baseline"
RULES = "+Rules"
RECONSTRUCTION = "+Rules+Recons."
GRAPH = "+GR"
PROJECTION = "+GR+Proj."
PROPOSED = "Proposed"

UNET, MANET, FPN, PSPNET, DEEPLAB = "Unet [33]", "MANet [25]", "FPN [19]", "PSPNet [23]", "DeepLabV3 [46]"
LSFCNN, GLORE, DUALSEG, SPYGR = "LSFCNN [27]", "GloRe [34]", "DualSeg [47]", "SpyGR [48]"
UPERNET = "UPerNet (ours, beyond the paper)"

RESNET_34, RESNET_18, MOBILENET = "ResNet-34 [49]", "ResNet-18 [49]", "MobileNetV2 [51]"
SQUEEZENET, SHUFFLENET = "SqueezeNet [52]", "ShuffleNetV2 [53]"

PER_KERNEL = "Proposed, one draw per kernel (Eq. 6)"
EXPECTED = "Proposed, no sampling"
SOFTER = "Proposed, T = 1"
HARDER = "Proposed, T = 0.01"
SHARED = "Proposed, shared GCN layers"


def normalised_row(row: str) -> str:
    """The row of "extra C" whose modules bring their reduced features to mean 0 and deviation 1."""
    return f"{row}, reduced features normalised (ours, beyond the paper)"


CROSS = "Proposed, trained on synthetic mouths"

LONGER = 4  # times as many epochs: is a module bad, or only slow?


def long_row(row: str) -> str:
    """The row of "extra B" that trains `LONGER` times as long."""
    return f"{row}, four times as long"


def slow_row(row: str) -> str:
    """The row of "extra B" that trains `LONGER` times as long at 1 / `LONGER` of the rate."""
    return f"{row}, four times as long at a quarter of the rate"


ELSEWHERE = "synthetic, another camera"  # where mouths of Figure 9 come from if there are no real ones


def grid_row(kernels: int, nodes: int) -> str:
    """The row of Table I with so many kernels and nodes at the finest scale."""
    return f"kernels {per_scale(kernels)}, nodes {per_scale(nodes)}"


def per_scale(finest: int) -> str:
    """ "16/32/64" for 16."""
    return "/".join(str(finest << i) for i in range(3))


NORMALISED_ROWS = (RECONSTRUCTION, PROJECTION, PROPOSED)
LONG_ROWS = (BASELINE, RECONSTRUCTION, PROJECTION, PROPOSED)
SLOW_ROWS = (BASELINE, PROPOSED)  # cpu's rate was chosen with the baseline: would a lower one suit the modules?

# One network under several names: the paper's tables repeat it.
SAME_AS = {grid_row(BEST, BEST): PROPOSED, RESNET_34: PROPOSED}

SYSTEMS: dict[str, str | None] = dict.fromkeys(
    [
        *(grid_row(k, n) for k in (8, 16, 32) for n in (8, 16, 32) if (k, n) != (BEST, BEST)),
        BASELINE, RULES, RECONSTRUCTION, GRAPH, PROJECTION, PROPOSED,
        UNET, MANET, FPN, PSPNET, DEEPLAB, LSFCNN, GLORE, DUALSEG, SPYGR, UPERNET,
        RESNET_18, MOBILENET, SQUEEZENET, SHUFFLENET,
        PER_KERNEL, EXPECTED, SOFTER, HARDER, SHARED, CROSS,
        *map(long_row, LONG_ROWS), *map(slow_row, SLOW_ROWS), *map(normalised_row, NORMALISED_ROWS),
    ]
)  # fmt: skip
