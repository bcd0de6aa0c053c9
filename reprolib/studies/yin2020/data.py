"""The faces of yin2020, from each dataset, at the sizes that a trial requests, and how they become a batch.

A face of CelebAMask-HQ fills its image, so that there is nothing to localise. In the dataset `celebamask` each face is
therefore cut out and put at random into a larger frame: a square of half to a quarter of the frame's side, turned by up
to 15°, at a random position, on the background of another image of the same set.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from reprolib.datasets import celebamask, fasseg_parts, helen, parsing_faces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.folders import DatasetMissing
from reprolib.datasets.kept import content, kept
from reprolib.datasets.parsing_faces import CLASSES, CROPS, vary
from reprolib.datasets.pictures import resize_picture
from reprolib.datasets.rendered import RENDERING
from reprolib.errors import UserError
from reprolib.models.spatial_transformer import theta_of_centres
from reprolib.studies.yin2020.config import Config, Source
from reprolib.training import channels_first

SEED = 2020
PREPARATION = 1  # raise when the same arguments give other arrays
VALIDATION_FACES = 80  # at most
RENDERED_VALIDATION, RENDERED_TEST = 50_000, 100_000  # the first rendered face of these sets
RENDERED_COUNT = 400  # where the source says 0
ANNOTATOR_NOISE = 1.0  # pixels, in an image of 128, by which borders in rendered training labels are off

LARGEST, SMALLEST = 0.5, 0.25  # side of a CelebAMask-HQ image in its frame
DEGREES = 15.0  # to either side
MOST_PERSON = 0.7  # of an image: one with more has too little background to lend
BLUR = 24.0  # pixels of 128: how far a lent background reaches into where its own person was
OF_INDEXED = {
    "right brow": "brow 1", "left brow": "brow 2", "right eye": "eye 1", "left eye": "eye 2", "nose": "nose",
    "upper lip": "upper lip", "mouth": "inner mouth", "lower lip": "lower lip",
}  # fmt: skip

FACES_AT_A_TIME = 16  # whose parts are counted: HELEN's at 1024² take 70 MB each
SHOWN = 6  # test faces that are kept for the figures
SINGLE = len(CROPS) - 1  # crops that hold one class; the last is the mouth
# Largest offsets of the fine networks' crops in their own training, as shares of a crop's side; the authors' code.
JITTER = (0.3, 0.3, 0.3, 0.3, 0.1, 0.1)
NOISE = 0.01  # variance of the noise on a whole frame (Sec. 2.5.1 d), of pixels in [0, 1]; the authors' code


@dataclass(frozen=True)
class Faces:
    """The three sets of one source; nobody is in two of them."""

    train: FaceSet
    validation: FaceSet
    test: FaceSet


def faces(config: Config, data_root: Path | None) -> Faces:
    """The faces of a trial; of the hybrid strategy only the few that it learns from."""
    found = _faces(config.source, data_root)
    if not config.few:
        return found
    return replace(found, train=found.train.subset(evenly_spaced(len(found.train), config.few)))


def shown_faces(config: Config, data_root: Path | None) -> FaceSet | None:
    """Test faces for the figures; None for HELEN, whose images may not be printed."""
    if config.dataset == "helen":
        return None
    test = faces(config, data_root).test
    return test.subset(evenly_spaced(len(test), SHOWN))


def faces_without(config: Config, data_root: Path | None, *, number: int) -> FaceSet:
    """The test faces of Figure 5, with `number` of their six parts painted over."""
    return _faces_without(config.source, data_root, config.erased_faces, number)


def fasseg_faces(source: Source, data_root: Path | None) -> FaceSet | None:
    """Faces of FASSEG whose parts were all found, in the middle of the frame; None if it is not available.

    Nothing is trained on them. Their images have a third of the frame's side, as those of `celebamask` have on average.
    """
    if source.dataset != "celebamask" or data_root is None:
        return None
    try:
        return _fasseg(source.frame, data_root)
    except DatasetMissing:
        return None


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` indices, the first and the last among them; all where there are fewer or `wanted` is 0."""
    return np.linspace(0, count - 1, min(wanted or count, count)).astype(int)


# --- datasets ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _faces(source: Source, data_root: Path | None) -> Faces:
    if source.dataset == "facesynth":
        return _rendered(source)
    root = _required(data_root)
    counts = {"train": source.train_faces, "validation": VALIDATION_FACES, "test": source.test_faces}
    if source.train_faces:
        counts["validation"] = min(VALIDATION_FACES, source.train_faces)
    if source.dataset == "celebamask":
        return Faces(**{part: _framed_set(root, part, source.frame, count) for part, count in counts.items()})
    dataset = helen if source.dataset == "helen" else celebamask
    return Faces(**{part: dataset.load(root, part, frame=source.frame, count=n or None) for part, n in counts.items()})


def _rendered(source: Source) -> Faces:
    train = source.train_faces or RENDERED_COUNT
    sets = {
        "train": (0, train, ANNOTATOR_NOISE),
        "validation": (RENDERED_VALIDATION, min(VALIDATION_FACES, train), 0.0),
        "test": (RENDERED_TEST, source.test_faces or RENDERED_COUNT, 0.0),
    }
    made = {}
    for part, (first, count, noise) in sets.items():
        settings = (PREPARATION, RENDERING, "parsing", SEED, first, count, source.frame, noise)

        def render(first=first, count=count, noise=noise) -> dict[str, np.ndarray]:
            drawn = parsing_faces.synthetic(SEED, count, size=source.frame, first=first, annotator_noise=noise)
            return {"images": drawn.images, "labels": drawn.labels, "names": np.array(drawn.names)}

        made[part] = _face_set(kept("yin2020", settings, render))
    return Faces(**made)


def _framed_set(root: Path, part: str, frame: int, most: int) -> FaceSet:
    """One set of the one split of CelebAMask-HQ, every face in a frame of its own."""
    folder = celebamask.indexed_folder(root)
    names = celebamask.split_names()[part]
    names = [names[i] for i in evenly_spaced(len(names), most)]
    files = [path for name in names for path in celebamask.indexed_files(folder, name)]

    def make() -> dict[str, np.ndarray]:
        read = [celebamask.read_indexed(folder, name) for name in tqdm(names, f"CelebAMask-HQ, {part}", delay=5)]
        lenders = [i for i, (_, labels) in enumerate(read) if (labels > 0).mean() < MOST_PERSON] or [0]
        images, labels = [], []
        for i, name in enumerate(tqdm(names, f"frames, {part}", delay=5)):
            rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
            others = [j for j in lenders if j != i] or lenders
            ground = background(*read[others[rng.integers(len(others))]], frame)
            if rng.random() < 0.5:
                ground = ground[:, ::-1]
            image, one = framed(*read[i], ground, rng)
            images.append(image)
            labels.append(one)
        return {"images": np.stack(images), "labels": np.stack(labels), "names": np.array(names)}

    return _face_set(kept("yin2020", (PREPARATION, "celebamask", part, content(files), frame), make))


def background(image: np.ndarray, labels: np.ndarray, frame: int) -> np.ndarray:
    """The surroundings of a person, uint8 (frame, frame, 3), blurred into where the person was.

    image: uint8 (H, W, 3); labels: uint8 (H, W) of `celebamask.INDEXED_CLASSES`, 0 is background.
    """
    outside = (labels == 0).astype(np.float32)
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(outside, (128, 128), interpolation=cv2.INTER_AREA)
    filled = cv2.GaussianBlur(small * weight[..., None], (0, 0), BLUR)
    filled /= cv2.GaussianBlur(weight, (0, 0), BLUR)[..., None] + 1e-6
    filled = cv2.resize(filled, (frame, frame), interpolation=cv2.INTER_LINEAR)
    own = cv2.resize(cv2.erode(outside, np.ones((9, 9))), (frame, frame), interpolation=cv2.INTER_LINEAR)[..., None]
    large = cv2.resize(image, (frame, frame), interpolation=cv2.INTER_LINEAR)
    return np.clip(own * large + (1 - own) * filled + 0.5, 0, 255).astype(np.uint8)


def framed(
    image: np.ndarray, labels: np.ndarray, ground: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A person cut out of a square image and put at random into the frame `ground`.

    image: uint8 (S, S, 3); labels: uint8 (S, S) of `celebamask.INDEXED_CLASSES`; ground: uint8 (F, F, 3).
    Returns the frame, uint8 (F, F, 3), and its labels, uint8 (F, F) into `parsing_faces.CLASSES`. The whole image lies
    inside the frame.
    """
    frame = len(ground)
    side = max(8, round(rng.uniform(SMALLEST, LARGEST) * frame))
    angle = np.radians(rng.uniform(-DEGREES, DEGREES))
    cos, sin = np.cos(angle), np.sin(angle)
    reach = side / 2 * (cos + abs(sin))
    middle = rng.uniform(reach, frame - reach, 2)

    def moved(array: np.ndarray, mode: int) -> np.ndarray:
        scale, centre = side / len(array), (len(array) - 1) / 2
        matrix = scale * np.array([[cos, -sin], [sin, cos]])
        shift = middle - 0.5 - matrix @ np.array([centre, centre])
        return cv2.warpAffine(array, np.column_stack([matrix, shift]), (frame, frame), flags=mode)

    # shrunk first: a warp alone would skip pixels
    person = cv2.resize((labels > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    alpha = moved(person, cv2.INTER_LINEAR)[..., None]
    # colours beyond the image's edge do not mix in: they are weighted by the mask that ends there, too
    inside = moved(np.ones((side, side), np.float32), cv2.INTER_LINEAR)[..., None]
    colours = moved(resize_picture(image, side).astype(np.float32), cv2.INTER_LINEAR) / np.maximum(inside, 1e-3)
    mixed = alpha * colours + (1 - alpha) * ground
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), moved(_TO_PARTS[labels], cv2.INTER_NEAREST)


_TO_PARTS = np.zeros(256, np.uint8)
for _name, _part in OF_INDEXED.items():
    _TO_PARTS[celebamask.INDEXED_CLASSES.index(_name)] = CLASSES.index(_part)


@lru_cache(maxsize=1)
def _fasseg(frame: int, data_root: Path) -> FaceSet:
    # `fasseg_parts` fills 0.7 of its frame
    found = fasseg_parts.load(data_root, frame=frame // 2)
    whole = found.subset([i for i, tags in enumerate(found.tags) if not tags])
    return replace(
        whole,
        images=np.stack([helen.padded(image, frame) for image in whole.images]),
        labels=np.stack([helen.padded(labels, frame) for labels in whole.labels]),
        landmarks=None,
        boxes=None,
    )


@lru_cache(maxsize=16)
def _faces_without(source: Source, data_root: Path | None, count: int, number: int) -> FaceSet:
    test = _faces(source, data_root).test
    return parsing_faces.erase_some(test.subset(evenly_spaced(len(test), count)), number, seed=SEED)


def _face_set(arrays: Mapping[str, np.ndarray]) -> FaceSet:
    names = tuple(map(str, arrays["names"]))
    return FaceSet(arrays["images"], arrays["labels"], CLASSES, names)


def _required(data_root: Path | None) -> Path:
    if data_root is None or not Path(data_root).is_dir():
        raise UserError("real faces need the folder with the datasets: give its path as data_root (--data-root)")
    return Path(data_root)


# --- from faces to batches ---------------------------------------------------------------------------


def tensors(found: FaceSet) -> dict[str, Tensor]:
    """What the training loop takes batches from: "images" uint8 (N, 3, H, W), "labels" uint8 (N, H, W)."""
    labels = torch.from_numpy(np.ascontiguousarray(found.labels))
    return {"images": channels_first(found.images), "labels": labels}


def reduced(found: FaceSet, side: int) -> FaceSet:
    """The same faces in frames of at most `side` pixels, enough for stage 1."""
    if found.images.shape[1] <= side:
        return found
    step = (np.arange(side) + 0.5) * found.images.shape[1] / side
    rows = step.astype(int)
    return replace(
        found,
        images=np.stack([resize_picture(image, side) for image in found.images]),
        labels=np.ascontiguousarray(found.labels[:, rows][:, :, rows]),
    )


def varied(batch: Mapping[str, Tensor], generator: torch.Generator, *, frame: int) -> tuple[Tensor, Tensor]:
    """Frames float32 (N, 3, H, W) in [0, 1] and their labels int64, each with 0 to 4 changes (Sec. 2.5.1).

    `frame` is the side of the whole frames, pixels: for frames that were reduced before, the noise is weakened as if it
    had been reduced with them.
    """
    operations = torch.randint(0, 5, (len(batch["images"]),), generator=generator)
    images, labels = batch["images"].float() / 255, batch["labels"].long()
    variance = NOISE * (images.shape[-1] / frame) ** 2
    return vary(images, labels, generator, operations=operations, variance=variance)


def shrunk(full: Tensor, side: int) -> Tensor:
    """The frames (N, 3, H, W) as images of side × side for the coarse stage."""
    return F.interpolate(full, (side, side), mode="bilinear", align_corners=False, antialias=True)


def small_frames(found: FaceSet, side: int) -> Tensor:
    """The frames as stage 1 sees them, float32 (N, 3, side, side)."""
    some = tensors(found)["images"].split(FACES_AT_A_TIME)
    return torch.cat([shrunk(images.float() / 255, side) for images in some])


def resized_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (N, H, W) resized to `size` (height, width) by nearest neighbour, int64."""
    return F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()


def true_theta(labels: Tensor, *, patch: int, mouth_patch: int) -> Tensor:
    """θ float32 (N, 6, 2, 3) of crops at the centres of the labels' parts, Eq. 21; NaN for an absent part."""
    return _theta(centres(labels), labels.shape[1:], patch, mouth_patch)


def mean_theta(labels: np.ndarray, *, patch: int, mouth_patch: int) -> Tensor:
    """The mean of `true_theta` over the faces, (6, 2, 3): where a localisation network starts."""
    few = (torch.from_numpy(labels[i : i + FACES_AT_A_TIME]) for i in range(0, len(labels), FACES_AT_A_TIME))
    return torch.cat([true_theta(some, patch=patch, mouth_patch=mouth_patch) for some in few]).nanmean(0)


def jittered_theta(labels: Tensor, generator: torch.Generator, *, patch: int, mouth_patch: int) -> Tensor:
    """As `true_theta`, each crop moved by whole pixels, so that the fine networks tolerate a cropper's errors."""
    off = 2 * torch.rand(len(labels), len(CROPS), 2, generator=generator) - 1
    off *= (torch.tensor(JITTER) * torch.tensor(sides(patch, mouth_patch)))[:, None]
    return _theta(centres(labels) + off.round().to(labels.device), labels.shape[1:], patch, mouth_patch)


def _theta(middles: Tensor, frame: Sequence[int], patch: int, mouth_patch: int) -> Tensor:
    return theta_of_centres(middles, frame=tuple(frame), patch=sides(patch, mouth_patch))


def sides(patch: int, mouth_patch: int) -> tuple[int, ...]:
    """Side of each of the six crops, pixels."""
    return (patch,) * SINGLE + (mouth_patch,)


def centres(labels: Tensor) -> Tensor:
    """`parsing_faces.centres` on any device: labels integer (N, H, W) -> float32 (N, 6, 2), pixels (x, y)."""
    classes = torch.arange(1, len(CLASSES), device=labels.device)
    planes = labels[:, None] == classes[:, None, None]  # (N, 8, H, W)
    rows, columns = planes.sum(3).double(), planes.sum(2).double()
    mass = rows.sum(2)
    x, y = ((counts * torch.arange(counts.shape[2], device=labels.device)).sum(2) / mass for counts in (columns, rows))
    middles = torch.stack([x, y], dim=2)  # (N, 8, 2), NaN for an absent class
    mouth = middles[:, SINGLE:].nanmean(1, keepdim=True)
    return torch.cat([middles[:, :SINGLE], mouth], dim=1).floor().float()
