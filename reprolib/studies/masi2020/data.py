"""masi2020's four sets of faces, from each data source, at the sizes that a trial asks for.

Synthetic faces are numbered: each set has a range of its own, so that no picture is in two sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from reprolib.datasets import cofw, fasseg, landmarks, part_labels, synthetic_faces, talkingfaces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.datasets.segmentation_transfer import face_contour, pseudo_labels
from reprolib.paths import CACHE

SEED = 2020
TEACHER, TRANSFER, COFW_TRAIN, COFW_TEST, PARTS_TRAIN, PARTS_TEST = (i * 100_000 for i in range(6))
HELD_OUT = 0.1  # share of the transfer faces on which the learning rate is scheduled
TEST_PEOPLE = 1 / 3  # of FASSEG's 15 multi-pose people
MOST_CLIPS = 1600  # of talkingfaces; dlib finds no face in some of its 1,804
DETECTION_SIZE = 256  # dlib needs faces of 40 pixels and more


def teacher_faces(p: Mapping, data_root: Path | None, *, occluded: bool) -> FaceSet:
    """Few faces, binary labels (0 non-face, 1 face); unoccluded on purpose, or with occluders ("+Occ. Aug.")."""
    count, size = p["teacher_faces"], p["size"]
    if p["data"] == "synthetic":
        make = synthetic_faces.occluded if occluded else synthetic_faces.unoccluded
        return binary(make(SEED, count, size=size, first=TEACHER))
    if p["data"] == "public":
        people = _fasseg(data_root, size)[0]
        people = people.subset(_spread(len(people), count))
        return binary(fasseg.as_occluded(people, seed=SEED) if occluded else fasseg.as_part_labels(people))
    people = part_labels.load(data_root, "train", size=size)  # as Nirkin et al. did
    people = binary(people.subset(_spread(len(people), count)))
    return binary(_with_pasted_occluders(people)) if occluded else people


def transfer_faces(p: Mapping, data_root: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Unlabelled, partly occluded faces: images uint8 (N, H, W, 3) and landmarks float32 (N, 68, 2).

    Their landmarks are those of the unoccluded picture: they stand for FacePoseNet's robustness to occlusion.
    """
    count, size = p["transfer_faces"], p["size"]
    if p["data"] == "synthetic":
        faces = synthetic_faces.occluded(SEED, count, size=size, first=TRANSFER)
        return faces.images, faces.landmarks
    count = min(count, MOST_CLIPS)
    images, points, names = talkingfaces.unlabelled_faces(data_root, count=count, size=size, seed=SEED)
    contours = np.stack([face_contour(one, (size, size)) for one in points])
    faces = FaceSet(images, contours.astype(np.uint8), ("non-face", "face"), names)
    return _with_pasted_occluders(faces).images, points


def _with_pasted_occluders(faces: FaceSet) -> FaceSet:
    """Binary faces with occluders over most of them, as `fasseg.as_occluded` pastes them: class 2."""
    parts = np.where(faces.labels == 1, fasseg.NOSE, fasseg.BACKGROUND).astype(np.uint8)
    return fasseg.as_occluded(replace(faces, labels=parts, classes=fasseg.CLASSES), seed=SEED)


def cofw_faces(p: Mapping, data_root: Path | None) -> tuple[FaceSet, FaceSet]:
    """Occluded faces for training and test: labels background, face, occlusion; with face boxes."""
    return _cofw_faces(p["data"], data_root, p["size"], p["cofw_train"], p["cofw_test"])


@lru_cache(maxsize=4)
def _cofw_faces(data: str, data_root: Path | None, size: int, n_train: int, n_test: int) -> tuple[FaceSet, FaceSet]:
    if data == "synthetic":
        train = synthetic_faces.occluded(SEED, n_train, size=size, first=COFW_TRAIN)
        test = synthetic_faces.occluded(SEED, n_test, size=size, first=COFW_TEST)
    elif data == "public":
        train, test = _fasseg(data_root, size)
        train, test = fasseg.as_occluded(train, seed=SEED), fasseg.as_occluded(test, seed=SEED + 1)
    else:
        train, test = (
            _factorised(cofw.load(data_root, split, size=size), cofw.load(data_root, split, size=DETECTION_SIZE))
            for split in ("train", "test")
        )
    return _at_most(train, n_train), _at_most(test, n_test)


def part_label_faces(p: Mapping, data_root: Path | None, *, large_size: int) -> tuple[FaceSet, FaceSet]:
    """Faces for training and test: labels background, face, hair, and superpixels, at the annotation's size."""
    return _part_label_faces(p["data"], data_root, large_size, p["parts_train"], p["parts_test"])


@lru_cache(maxsize=4)
def _part_label_faces(data: str, data_root: Path | None, size: int, n_train: int, n_test: int):
    if data == "synthetic":
        train = synthetic_faces.part_labels(SEED, n_train, size=size, first=PARTS_TRAIN)
        test = synthetic_faces.part_labels(SEED, n_test, size=size, first=PARTS_TEST)
    elif data == "public":
        train, test = (fasseg.as_part_labels(faces) for faces in _fasseg(data_root, size))
    else:
        train = concatenated(*(part_labels.load(data_root, split, size=size) for split in ("train", "validation")))
        test = part_labels.load(data_root, "test", size=size)
    return _at_most(train, n_train), _at_most(test, n_test)


def transfer_examples(p: Mapping, data_root: Path | None, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Occluded faces with landmarks that may be shown (Figure 2): images and landmarks as in `transfer_faces`."""
    size = p["size"]
    if p["data"] == "synthetic":
        faces = synthetic_faces.occluded(SEED, count, size=size, first=COFW_TRAIN)
        return faces.images, faces.landmarks
    # Test people: the teacher has never seen them.
    frontal = _fasseg(data_root, DETECTION_SIZE)[1].subset(range(3 * count))
    found = landmarks.detect_many(frontal.images, cache=CACHE / "fasseg", progress=False)
    usable = [i for i, points in enumerate(found) if np.isfinite(points).all()][:count]
    shown = fasseg.as_occluded(frontal.subset(usable), seed=SEED)
    scale = size / DETECTION_SIZE
    return np.stack([resize_picture(i, size) for i in shown.images]), (found[usable] + 0.5) * scale - 0.5


def binary(faces: FaceSet) -> FaceSet:
    """Merge all classes but the face into non-face."""
    labels = np.where(faces.labels == 255, 255, faces.labels == 1).astype(np.uint8)
    return replace(faces, labels=labels, classes=("non-face", "face"))


def resized(faces: FaceSet, size: int) -> FaceSet:
    """The same faces with pictures, labels and superpixels at side `size`."""
    superpixels = None
    if faces.superpixels is not None:
        rows = np.floor((np.arange(size) + 0.5) * faces.superpixels.shape[1] / size).astype(int)
        superpixels = faces.superpixels[:, rows][:, :, rows]
    return replace(
        faces,
        images=np.stack([resize_picture(image, size) for image in faces.images]),
        labels=np.stack([resize_labels(label, size) for label in faces.labels]),
        superpixels=superpixels,
    )


def concatenated(first: FaceSet, second: FaceSet) -> FaceSet:
    """Both sets as one; they have the same classes and the same fields."""

    def joined(name: str):
        a, b = getattr(first, name), getattr(second, name)
        return np.concatenate([a, b]) if isinstance(a, np.ndarray) else a + b

    both = [f.name for f in fields(first) if f.name != "classes" and getattr(first, f.name) is not None]
    return replace(first, **{name: joined(name) for name in both})


def nearest(labels: np.ndarray, size: int) -> np.ndarray:
    """Label maps uint8 (N, H, W) at side `size` by nearest neighbour, as the paper upsamples its predictions."""
    rows = np.floor((np.arange(size) + 0.5) * labels.shape[1] / size).astype(int)
    return labels[:, rows][:, :, rows]


@lru_cache(maxsize=4)
def _fasseg(data_root: Path | None, size: int) -> tuple[FaceSet, FaceSet]:
    return fasseg.split_by_person(fasseg.load(data_root, size=size), test_fraction=TEST_PEOPLE, seed=SEED)


def _factorised(faces: FaceSet, larger: FaceSet) -> FaceSet:
    """COFW's binary masks with the occlusions split off by §3.1, without morphology (Sec. 4.1).

    Faces are detected in the `larger` pictures of the same faces. Where dlib finds none there is no contour: the
    picture keeps face and background alone. What is not to be counted (255) stays so.
    """
    scale = faces.images.shape[1] / larger.images.shape[1]
    found = (landmarks.detect_many(larger.images, cache=CACHE / "cofw") + 0.5) * scale - 0.5
    labels = faces.labels.copy()
    for i, points in enumerate(found):
        if np.isfinite(points).all():
            contour = face_contour(points, labels.shape[1:])
            split = pseudo_labels(contour, labels[i] == 1, morphology=False)[0]
            labels[i] = np.where(labels[i] == 255, 255, split)
    return replace(faces, labels=labels, classes=("background", "face", "occlusion"), landmarks=found)


def _at_most(faces: FaceSet, count: int) -> FaceSet:
    return faces if len(faces) <= count else faces.subset(_spread(len(faces), count))


def _spread(available: int, count: int) -> np.ndarray:
    """`count` evenly spaced indices below `available`."""
    return np.linspace(0, available - 1, min(count, available)).astype(int)
