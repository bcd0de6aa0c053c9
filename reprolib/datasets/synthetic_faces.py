"""The tasks of masi2020 on facesynth: occluded faces as in COFW, hair and face as in LFW Part Labels.

Image i of a set is face `first + i` of the infinite series with this `seed`: sets of one seed whose ranges
of indices do not overlap share no image and no person.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components

from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth import PARTS, FaceOptions, render
from reprolib.datasets.part_labels import add_superpixels

NOT_FACE = {"background": 0, "hair": 0, "neck": 0}
OCCLUDED = FaceOptions(occluder=0.8)  # four faces in five, as pasted on the real ones
UNOCCLUDED = FaceOptions(occluder=0.0)
PORTRAIT = FaceOptions(occluder=0.1, crop_margin=0.6)  # Part Labels' pictures show the whole head, rarely a hand


def occluded(seed: int, count: int, *, size: int = 128, first: int = 0, options: FaceOptions = OCCLUDED) -> FaceSet:
    """The COFW task: 0 background, hair and neck, 1 face, 2 occluder, whatever it covers.

    images uint8 (count, size, size, 3), labels uint8 (count, size, size), landmarks, boxes.
    """
    return _faces(seed, count, size, first, options, ("background", "face", "occlusion"), NOT_FACE | {"occluder": 2})


def unoccluded(seed: int, count: int, *, size: int = 128, first: int = 0, options: FaceOptions = UNOCCLUDED) -> FaceSet:
    """The same task with nothing in front of the faces, for an error-prone teacher: masi2020 Sec. 3.1."""
    return occluded(seed, count, size=size, first=first, options=options)


def part_labels(
    seed: int,
    count: int,
    *,
    size: int = 128,
    first: int = 0,
    n_segments: int = 250,
    options: FaceOptions = PORTRAIT,
) -> FaceSet:
    """The Part Labels task: 0 background, clothes and occluders, 1 face and neck, 2 hair; SLIC superpixels.

    Arrays as in `occluded`, and superpixels int32 (count, size, size), about `n_segments` per image.
    """
    classes, others = ("background", "face", "hair"), {"background": 0, "occluder": 0, "hair": 2}
    return add_superpixels(_faces(seed, count, size, first, options, classes, others), n_segments=n_segments)


def without_specks(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Labels uint8 (H, W) in which components of fewer than `smallest` pixels take the label of the nearest other one.

    A renderer lets single pixels of skin shine through hair; people who draw outlines do not, and the count
    of components is itself a metric (sparsity, masi2020 Sec. 4). 8-connected, as there.
    """
    components = connected_components(labels, connectivity=2, background=-1)
    specks = np.bincount(components.ravel())[components] < smallest
    if not specks.any() or specks.all():
        return labels
    y, x = ndimage.distance_transform_edt(specks, return_distances=False, return_indices=True)
    return labels[y, x]


def _faces(seed, count, size, first, options, classes, others) -> FaceSet:
    """Rendered faces with every part as class 1, except the `others` (part → class)."""
    to_class = np.array([others.get(part, 1) for part in PARTS], np.uint8)
    speck = size * size // 1600  # 10 pixels at 128 × 128
    faces = [render(seed, index, size=size, options=options) for index in range(first, first + count)]
    return FaceSet(
        images=np.stack([face.image for face in faces]),
        labels=np.stack([without_specks(to_class[face.labels], speck) for face in faces]),
        classes=classes,
        names=tuple(f"facesynth-{seed}-{index}" for index in range(first, first + count)),
        boxes=np.stack([face.box for face in faces]),
        landmarks=np.stack([face.landmarks for face in faces]),
    )
