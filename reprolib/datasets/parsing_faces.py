"""Faces with part labels as in HELEN: the data of yin2020, with erasure of parts and augmentation.

Left and right are as seen in the image: brow 1 and eye 1 are on its left. Skin and hair are background for the paper's
network (Sec. 3.1), though the header of Tables 2–4 has skin.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Generator, Tensor
from torch.nn import functional as F

from reprolib.datasets.augmentation import noise_like
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth import PARTS, FaceOptions, render
from reprolib.datasets.synthetic_faces import without_specks
from reprolib.errors import UserError

CLASSES = ("background", "brow 1", "brow 2", "eye 1", "eye 2", "nose", "upper lip", "inner mouth", "lower lip")
BACKGROUND, BROW_1, BROW_2, EYE_1, EYE_2, NOSE, UPPER_LIP, INNER_MOUTH, LOWER_LIP = range(9)
OF_PART = {
    "brow_l": BROW_1, "brow_r": BROW_2, "eye_l": EYE_1, "eye_r": EYE_2, "nose": NOSE, "upper_lip": UPPER_LIP,
    "teeth": INNER_MOUTH, "tongue": INNER_MOUTH, "cavity": INNER_MOUTH, "lower_lip": LOWER_LIP,
}  # fmt: skip

# the six crops of Sec. 2.1 and the classes in each
CROPS = {
    "brow 1": (BROW_1,),
    "brow 2": (BROW_2,),
    "eye 1": (EYE_1,),
    "eye 2": (EYE_2,),
    "nose": (NOSE,),
    "mouth": (UPPER_LIP, INNER_MOUTH, LOWER_LIP),
}

# From brows to chin the face takes 0.44 to 0.56 of the frame, with forehead 0.6 to 0.8.
PORTRAIT = FaceOptions(
    crop_margin=0.5,
    crop_jitter=0.12,
    yaw=(-30.0, 30.0),
    pitch=(-12.0, 14.0),
    roll=(-15.0, 15.0),
    occluder=0.08,
)


def synthetic(
    seed: int,
    count: int,
    *,
    size: int,
    first: int = 0,
    annotator_noise: float = 0.0,
    options: FaceOptions = PORTRAIT,
) -> FaceSet:
    """Faces `first` … `first + count − 1` of the infinite series with this `seed`, each of a different person.

    images uint8 (count, size, size, 3), labels uint8 (count, size, size) into `CLASSES`.
    As in HELEN's padded frame, each face is smaller than the frame and off its centre. The photo is a centred
    rectangle that holds all landmarks, framed by zeros. An occluder is background. `annotator_noise`: standard
    deviation of the label borders' error, in pixels of an image 128 high.
    """
    to_class = np.array([OF_PART.get(part, BACKGROUND) for part in PARTS], np.uint8)
    options = replace(options, annotator_noise=annotator_noise * size / 128)
    drawn = [_portrait(seed, index, size, options, to_class) for index in range(first, first + count)]
    names = tuple(f"parsing-{seed}-{index}" for index in range(first, first + count))
    return FaceSet(
        images=np.stack([image for image, _, _ in drawn]),
        labels=np.stack([labels for _, labels, _ in drawn]),
        classes=CLASSES,
        names=names,
        persons=tuple(f"subject-{name}" for name in names),
        boxes=np.stack([face.box for _, _, face in drawn]),
        landmarks=np.stack([face.landmarks for _, _, face in drawn]),
        tags=tuple(face.tags for _, _, face in drawn),
    )


def _portrait(seed, index, size, options, to_class):
    face = render(seed, index, size=size, options=options)
    labels = without_specks(to_class[face.labels], max(2, size * size // 8000))
    rng = np.random.default_rng([seed, index])
    # half the sides of the photo, at least as far as the landmarks reach from the frame's middle
    reach = np.abs(face.landmarks - (size - 1) / 2).max(axis=0) + 0.1 * size
    half = np.minimum(size / 2, reach + (size / 2 - np.minimum(reach, size / 2)) * rng.random(2))
    half[rng.integers(2)] = size / 2  # a photo is as long as the frame on one side
    outside = np.abs(np.mgrid[:size, :size] - (size - 1) / 2) > half[::-1, None, None]  # (2, size, size): y, x
    padding = outside.any(axis=0)
    image = np.where(padding[..., None], 0, face.image).astype(np.uint8)
    return image, np.where(padding, 0, labels).astype(np.uint8), face


def centres(labels: np.ndarray) -> np.ndarray:
    """The centres of the six crops, yin2020 Eq. 21: float32 (N, 6, 2), pixels (x, y), in the order of `CROPS`.

    labels: integer (N, H, W) into `CLASSES`. Centroids, floored; the mouth's is the mean of the centroids of those of
    upper lip, inner mouth and lower lip that are present. NaN where a crop has no pixel: a loss has to leave it out.
    """
    found = np.full((len(labels), len(CROPS), 2), np.nan, np.float32)
    for row, one in zip(found, labels, strict=True):
        pixels = np.bincount(one.ravel(), minlength=256)[: len(CLASSES)]
        y, x = (np.bincount(one.ravel(), np.broadcast_to(axis, one.shape).ravel(), 256) for axis in _axes(one.shape))
        with np.errstate(invalid="ignore"):
            centroids = np.stack([x, y], axis=1)[: len(CLASSES)] / pixels[:, None]
        for crop, classes in enumerate(CROPS.values()):
            present = [c for c in classes if pixels[c]]
            if present:
                row[crop] = np.floor(centroids[present].mean(axis=0))
    return found


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column numbers, (H, 1) and (1, W)."""
    return np.arange(shape[0])[:, None], np.arange(shape[1])[None]


def erase_some(faces: FaceSet, number: int, *, seed: int) -> FaceSet:
    """The same faces, each without `number` random parts; a larger number adds parts. UserError unless 0 to 6."""
    if not 0 <= number <= len(CROPS):
        raise UserError(f"0 to {len(CROPS)} parts can be erased, but {number} are asked for: change the number")
    orders = [_stream(seed, name).permutation(list(CROPS)).tolist() for name in faces.names]
    return erased(faces, [tuple(order[:number]) for order in orders], seed=seed)


def erased(faces: FaceSet, kinds: Sequence[Sequence[str]], *, seed: int) -> FaceSet:
    """The same faces with parts painted over in the images, `kinds` of `CROPS` for each face: yin2020 Figure 5.

    Each part and a rim around it are covered by skin colour or by a piece of the image without parts, chosen at random
    from `seed` and the image's name. Labels stay as they are; tags name the parts that a face lost, such as "no mouth".
    """
    images, tags = faces.images.copy(), []
    for i, (name, lost) in enumerate(zip(faces.names, kinds, strict=True)):
        for kind in lost:
            # a stream of its own for each part: what covers it does not depend on the others
            rng = _stream(seed, f"{name}/{kind}")
            images[i] = _cover(images[i], faces.labels[i], CROPS[kind], rng)
        tags.append((*(faces.tags[i] if faces.tags else ()), *(f"no {kind}" for kind in lost)))
    return replace(faces, images=images, tags=tuple(tags))


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _cover(image: np.ndarray, labels: np.ndarray, classes: tuple[int, ...], rng) -> np.ndarray:
    """One part and a rim around it, painted over."""
    part = np.isin(labels, classes)
    ys, xs = np.nonzero(part)
    if not len(xs):
        return image
    rim = max(2, round(0.15 * max(np.ptp(xs), np.ptp(ys)) + labels.shape[0] / 100))
    cover = cv2.dilate(part.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1,) * 2)) > 0
    other = (labels > 0) & (labels < len(CLASSES)) & ~part  # of other parts nothing is covered
    cover &= ~other
    around = ndimage.binary_dilation(cover, iterations=rim) & ~cover & ~other & (image.max(axis=-1) > 0)
    patch = _plain_patch(image, labels, cover, rng) if rng.random() < 0.5 else None
    if patch is None:
        colour = np.median(image[around], axis=0) if around.any() else np.array((128.0,) * 3)
        patch = colour + rng.normal(0, 4, (*image.shape[:2], 1))
    soft = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), max(0.6, rim / 4))[..., None] * ~other[..., None]
    soft = np.maximum(soft, part[..., None])  # of the part itself nothing shines through
    return np.clip(image + soft * (patch - image) + 0.5, 0, 255).astype(np.uint8)


def _plain_patch(image: np.ndarray, labels: np.ndarray, cover: np.ndarray, rng) -> np.ndarray | None:
    """The image with a region free of parts and padding copied to `cover`; None if 40 draws find none."""
    plain = ((labels == 0) | (labels >= len(CLASSES))) & (image.max(axis=-1) > 0)
    ys, xs = np.nonzero(cover)
    height, width = labels.shape
    for _ in range(40):
        dy = int(rng.integers(-ys.min(), height - ys.max()))
        dx = int(rng.integers(-xs.min(), width - xs.max()))
        if plain[ys + dy, xs + dx].all():
            shifted = image.astype(np.float32)
            shifted[ys, xs] = image[ys + dy, xs + dx]
            return shifted
    return None


def augment(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Every image in five versions, yin2020 Sec. 2.5.1: first all unchanged, then all with 1, 2, 3 and 4 changes.

    images: float32 (N, 3, H, W) in [0, 1]; labels: int64 (N, H, W). Returns (5 N, 3, H, W) and (5 N, H, W).
    """
    versions = [
        vary(images, labels, generator, operations=torch.full((len(images),), number, device=images.device))
        for number in range(5)
    ]
    return torch.cat([i for i, _ in versions]), torch.cat([one for _, one in versions])


def vary(
    images: Tensor,
    labels: Tensor,
    generator: Generator,
    *,
    operations: Tensor,
    degrees: float = 15.0,  # Sec. 2.5.1 (a); the ranges of (b), (c) and (d) are those of the authors' code
    shift: float = 0.1,
    scale: tuple[float, float] = (0.9, 1.2),
    variance: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Each image changed at random by as many of rotation, shift, scaling and noise as `operations` (N,) says (0 to 4).

    Rotation and scaling are around the frame's middle; shift is a fraction of its width and height. Noise is added only
    to pixels that are not zero, so that padding stays zero; the sum is clipped to [0, 1]. Beyond the old frame, images
    and labels are zero. Random numbers come from the CPU `generator`; noise differs between kinds of devices. Shapes
    as in `augment`.
    """
    count, _, height, width = images.shape
    order = torch.rand(count, 4, generator=generator).argsort(dim=1).to(images.device)
    turned, shifted, scaled, noisy = (order < operations[:, None].to(images.device)).unbind(1)  # each (N,)
    draws = torch.rand(4, count, generator=generator).to(images)
    angle = torch.where(turned, (2 * draws[0] - 1) * math.radians(degrees), 0)
    factor = torch.where(scaled, scale[0] + (scale[1] - scale[0]) * draws[1], 1)
    x, y = (torch.where(shifted, (2 * draw - 1) * 2 * shift, 0) for draw in draws[2:])  # the frame is 2 wide and high
    cos, sin = angle.cos() / factor, angle.sin() / factor
    # from output to input, with the frame's sides as the units
    right, down = sin * height / width, -sin * width / height
    matrix = torch.stack([cos, right, -cos * x - right * y, down, cos, -down * x - cos * y], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    moved = (turned | shifted | scaled)[:, None, None]
    placed = F.grid_sample(labels[:, None].to(images.dtype), grid, mode="nearest", align_corners=False)[:, 0]
    labels = torch.where(moved, placed.to(labels.dtype), labels)
    images = torch.where(moved[:, None], F.grid_sample(images, grid, align_corners=False), images)
    return _with_noise(images, noisy, math.sqrt(variance), generator), labels


def _with_noise(images: Tensor, noisy: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Noise on the pixels that are not zero, of the `noisy` (N,) images alone, drawn where the images are."""
    some = images[noisy]
    noise = deviation * noise_like(some, generator)
    changed = images.clone()
    changed[noisy] = torch.where(some.amax(dim=1, keepdim=True) > 0, (some + noise).clamp(0, 1), some)
    return changed
