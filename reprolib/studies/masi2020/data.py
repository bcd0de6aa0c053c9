"""The faces of masi2020, from each dataset, at the size that a trial requests.

Real faces are cropped and labelled one by one in `crops`. Rendered faces are indexed: each set has a range of its
own, so that no image and no person is in two sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from reprolib.datasets import celebamask, cofw, landmarks, synthetic_faces
from reprolib.datasets import part_labels as lfw
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.folders import DatasetMissing
from reprolib.datasets.kept import content, kept
from reprolib.datasets.people import split_people
from reprolib.datasets.pictures import IGNORED, read_picture, resize_labels, resize_picture
from reprolib.datasets.rendered import RENDERING
from reprolib.datasets.segmentation_transfer import face_contour, pseudo_labels
from reprolib.errors import UserError
from reprolib.paths import CACHE
from reprolib.studies.masi2020.config import Config
from reprolib.studies.masi2020.crops import SEED, Crop, central_face, crop, frame_rng, landmarks_of, occluder_rng
from reprolib.studies.masi2020.rows import CROPS, PREPARATION
from reprolib.studies.masi2020.work import RENDERED_TRAIN, VALIDATION_SHARE, validation_count

OCCLUSION_CLASSES = ("background", "face", "occlusion")
BINARY_CLASSES = ("non-face", "face")

# first index of each set of rendered faces
TEACHER, TRANSFER, OCCLUDED_TRAIN, OCCLUDED_TEST, PARTS_TRAIN, PARTS_TEST = (i * 100_000 for i in range(6))
OCCLUDED_VALIDATION, PARTS_VALIDATION, TEACHER_VALIDATION = (i * 100_000 for i in range(6, 9))
RENDERED_TEST = 200  # where the configuration says 0
OCCLUDED_SHARE, TRANSFER_SHARE = 0.8, 0.5  # of the faces get an occluder
COFW_VALIDATION = 7  # every seventh training face
DETECTION_SIZE = 256  # COFW: dlib needs faces of 40 pixels and more
FACE_PARTS = ("skin", "nose", "left eye", "right eye", "left brow", "right brow", "mouth", "upper lip", "lower lip")
REAL_OCCLUDERS = ("glasses", "hat")


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The three sets of one task; nobody is in two of them, except in Part Labels' official lists (see `PartFaces`)."""

    train: FaceSet
    validation: FaceSet
    test: FaceSet


@dataclass(frozen=True, kw_only=True)
class PartFaces(Faces):
    """The Part Labels task: 0 background, 1 face and neck, 2 hair; only the test sets have superpixels.

    test_large: the test faces at the annotated size (250 pixels; twice `size` in smoke runs), for predictions
    up-sampled by nearest neighbour; its superpixels are int16. superpixels: their origin. clean: bool (N,), the test
    faces whose person is in no other list.
    """

    test_large: FaceSet
    superpixels: Literal["official", "SLIC"]
    clean: np.ndarray


class TeacherFaces(NamedTuple):
    train: FaceSet
    validation: FaceSet


def part_labels(config: Config, data_root: Path | None) -> PartFaces:
    """Faces for the Part Labels task, with persons, at `config.size`.

    lfw-parts, lfw-occluded, cofw: LFW Part Labels with the official training and test lists; validation is the part of
    its list whose people are not in the test list (353 of 500). facesynth: rendered.
    """
    if config.dataset == "facesynth":
        return _rendered_parts(config)
    folder = lfw.dataset(_required(data_root))
    lists = {split: lfw.read_list(folder, split) for split in lfw.COUNTS}
    clean = lfw.apart(lists["test"], lists["train"], lists["validation"])
    apart = lfw.apart(lists["validation"], lists["test"])
    lists["validation"] = [lists["validation"][i] for i in np.flatnonzero(apart)]
    counts = {"train": config.train_faces, "validation": config.train_faces, "test": config.test_faces}
    chosen = {split: _spread(len(lists[split]), count) for split, count in counts.items()}
    faces = {split: [lists[split][i] for i in indices] for split, indices in chosen.items()}
    large = _large(folder, faces["test"])
    test = _part_set(folder, faces["test"], config.size)
    return PartFaces(
        train=_part_set(folder, faces["train"], config.size),
        validation=_part_set(folder, faces["validation"], config.size),
        test=replace(test, superpixels=nearest(large.superpixels, config.size).astype(np.int32)),
        test_large=large,
        superpixels=lfw.superpixel_source(folder),
        clean=clean[chosen["test"]],
    )


def occlusion(config: Config, data_root: Path | None) -> Faces:
    """Occluded faces: 0 background, 1 face, 2 occlusion, with boxes, landmarks and persons.

    lfw-occluded, lfw-parts: the LFW training images whose people are in no other list, without the half that the
    teacher sees; test = the clean test images. Their labels are those of `ground_truth`, with occluders pasted over
    four faces in five. cofw: COFW, its masks split by Sec. 3.1; every seventh training face is for validation.
    facesynth: rendered.
    """
    if config.dataset == "facesynth":
        train = _rendered_count(config.train_faces, RENDERED_TRAIN)
        sets = (
            (OCCLUDED_TRAIN, train),
            (OCCLUDED_VALIDATION, validation_count(train)),
            (OCCLUDED_TEST, _rendered_count(config.test_faces, RENDERED_TEST)),
        )
        rendered = [_rendered_faces("occluded", config.size, first, count) for first, count in sets]
        return Faces(train=rendered[0], validation=rendered[1], test=rendered[2])
    if config.dataset == "cofw":
        return _cofw(_required(data_root), config)
    counts = {"train": config.train_faces, "validation": config.train_faces, "test": config.test_faces}
    return Faces(**{part: _lfw_part(_required(data_root), part, config.size, count) for part, count in counts.items()})


def teacher_faces(config: Config, data_root: Path | None) -> TeacherFaces:
    """Faces for the teacher: 0 non-face, 1 face; without occluders, or with them ("+Occ. Aug.").

    Real faces are the teacher's half of the LFW training images whose people are in no other list.
    """
    most = config.pretraining.teacher_faces if config.pretraining else 0
    if config.dataset == "facesynth":
        kind = "occluded" if config.occluded_teacher else "unoccluded"
        count = _rendered_count(most, RENDERED_TRAIN)
        train = _rendered_faces(kind, config.size, TEACHER, count)
        validation = _rendered_faces(kind, config.size, TEACHER_VALIDATION, validation_count(count))
    else:
        train, validation = (
            _lfw_part(_required(data_root), part, config.size, most, occluded=config.occluded_teacher)
            for part in ("teacher", "teacher-validation")
        )
    return TeacherFaces(binary(train), binary(validation))


def transfer_faces(config: Config, data_root: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Unlabelled, partly occluded faces: images uint8 (N, size, size, 3) and landmarks float32 (N, 68, 2).

    Real faces are LFW's of people who are in no list; half of them get a pasted occluder. Their landmarks are those of
    the unoccluded image: they replace FacePoseNet, which is robust to occlusion. At most `transfer_faces` of the
    configuration (0 = all), fewer where dlib finds no face.
    """
    most = config.pretraining.transfer_faces if config.pretraining else 0
    if config.dataset == "facesynth":
        faces = _rendered_faces("occluded", config.size, TRANSFER, _rendered_count(most, RENDERED_TRAIN))
        return faces.images, faces.landmarks
    root = _required(data_root)
    paths = lfw.unlabelled(root)
    paths = [paths[i] for i in _spread(len(paths), most)]
    points = landmarks_of(paths)

    def make() -> dict[str, np.ndarray]:
        images, inside = [], []
        for path, face in zip(tqdm(paths, "transfer faces", delay=5), points, strict=True):
            if np.isfinite(face).all():
                rng = occluder_rng("transfer", path.stem, TRANSFER_SHARE)
                frame = frame_rng("transfer", path.stem)
                one = crop(read_picture(path), None, face, config.size, frame=frame, occluder=rng)
                images.append(one.image)
                inside.append(one.landmarks)
        _some(images, lfw.UNLABELLED)
        return {"images": np.stack(images), "landmarks": np.stack(inside).astype(np.float32)}

    found = kept("masi2020", (CROPS, RENDERING, "transfer", content(paths), config.size), make)
    return found["images"], found["landmarks"]


def pseudo_label_check(config: Config, data_root: Path | None) -> FaceSet:
    """Labelled, occluded faces with landmarks to measure pseudo-labels on: the validation set of `occlusion`."""
    faces = occlusion(config, data_root).validation
    return faces.subset(np.flatnonzero(np.isfinite(faces.landmarks).all(axis=(1, 2))))


def real_occluders(config: Config, data_root: Path | None) -> FaceSet | None:
    """Faces of CelebAMask-HQ with real glasses or hats (91): 0 background, 1 face, 2 occlusion; for tests only.

    Labels as in `ground_truth`; face is skin, nose, eyes, brows, mouth and lips. Landmarks are NaN where dlib finds no
    face; there the convex hull of the annotated face takes the place of the contour f. tags: "hat", "glasses", and
    "sunglasses" for glasses on a face without annotated eyes. Clear lenses are occlusion here, face in LFW's labels.
    None for facesynth, and where the folder is absent. Identities are not known: each face counts as one person.
    """
    if config.dataset == "facesynth" or data_root is None:
        return None
    try:
        folder = celebamask.indexed_folder(data_root)
    except DatasetMissing:
        return None
    names = celebamask.indexed_names(folder)
    files = [celebamask.indexed_files(folder, name) for name in names]
    face = [celebamask.INDEXED_CLASSES.index(part) for part in FACE_PARTS]

    def make() -> dict[str, np.ndarray]:
        crops, chosen, tags = [], [], []
        for name in tqdm(names, "real occluders", delay=5):
            image, labels = celebamask.read_indexed(folder, name)
            annotated = np.isin(labels, face)
            if annotated.any() and (kinds := _occluder_kinds(labels)):
                crops.append(crop(image, annotated, central_face(image), config.size, frame=frame_rng("real", name)))
                chosen.append(name)
                tags.append(kinds)
        return _arrays(replace(_stacked(crops, chosen, chosen), tags=tuple(tags)))

    settings = (CROPS, "real-occluders", content(path for pair in files for path in pair), config.size)
    return _face_set(kept("masi2020", settings, make), OCCLUSION_CLASSES)


def _occluder_kinds(labels: np.ndarray) -> tuple[str, ...]:
    """Tags of one face: what is worn, of a uint8 (H, W) label map into `celebamask.INDEXED_CLASSES`."""
    present = {celebamask.INDEXED_CLASSES[i] for i in np.unique(labels)}
    worn = tuple(part for part in REAL_OCCLUDERS if part in present)
    dark = "glasses" in present and not present & {"left eye", "right eye"}
    return (*worn, "sunglasses") if dark else worn


# --- LFW -------------------------------------------------------------------------------------------------


def lfw_lists(folder: Path) -> dict[str, list[lfw.Face]]:
    """Which faces of LFW Part Labels each set of the occlusion task has; nobody is in two sets.

    The training images whose people are in no other list (892) are split by person into halves for the teacher and for
    fine-tuning, each with 15 % of its people for validation; test images are those whose people are in no other list
    (475).
    """
    lists = {split: lfw.read_list(folder, split) for split in lfw.COUNTS}
    own = [
        face
        for face, is_apart in zip(
            lists["train"], lfw.apart(lists["train"], lists["validation"], lists["test"]), strict=True
        )
        if is_apart
    ]
    shares = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
    parts = split_people([name for name, _ in own], parts=shares * 2, seed=SEED, called="people of LFW Part Labels")
    sets = dict(zip(("teacher", "teacher-validation", "train", "validation"), parts, strict=True))
    clean = lfw.apart(lists["test"], lists["train"], lists["validation"])
    return {part: [own[i] for i in indices] for part, indices in sets.items()} | {
        "test": [lists["test"][i] for i in np.flatnonzero(clean)]
    }


def _lfw_part(root: Path, part: str, size: int, most: int, *, occluded: bool = True) -> FaceSet:
    """One set of `lfw_lists` as crops with the labels of `ground_truth`; faces that dlib does not find are left out."""
    folder = lfw.dataset(root)
    faces = lfw_lists(folder)[part]
    faces = [faces[i] for i in _spread(len(faces), most)]
    paths = [lfw.image_path(folder, *face) for face in faces]
    points = landmarks_of(paths)

    def make() -> dict[str, np.ndarray]:
        crops, names, persons = [], [], []
        for (person, number), found in zip(tqdm(faces, f"LFW, {part}", delay=5), points, strict=True):
            if np.isfinite(found).all():
                name = f"{person}_{number:04d}"
                image, classes = lfw.read_face(folder, person, number)
                rng = occluder_rng(part, name, OCCLUDED_SHARE) if occluded else None
                frame = frame_rng(part, name)
                crops.append(crop(image, classes == 1, found, size, frame=frame, occluder=rng))
                names.append(name)
                persons.append(person)
        return _arrays(_stacked(crops, names, persons))

    read = [*paths, *(lfw.label_path(folder, *face) for face in faces)]
    settings = (CROPS, RENDERING, "lfw-occluded", part, content(read), size, occluded)
    return _face_set(kept("masi2020", settings, make), OCCLUSION_CLASSES)


def _part_set(folder: Path, faces: Sequence[lfw.Face], size: int) -> FaceSet:
    """LFW Part Labels at `size`, from the cache, without superpixels."""
    settings = (PREPARATION, "lfw-parts", _content(folder, faces), size)
    return _face_set(
        kept("masi2020", settings, lambda: _arrays(lfw.load_faces(folder, faces, size=size))),
        lfw.CLASSES,
    )


def _large(folder: Path, faces: Sequence[lfw.Face]) -> FaceSet:
    """The faces at the annotated size with superpixels, int16."""

    def make() -> dict[str, np.ndarray]:
        side = lfw.read_face(folder, *faces[0])[1].shape[0]
        arrays = _arrays(lfw.load_faces(folder, faces, size=side, superpixels=True))
        return arrays | {"superpixels": arrays["superpixels"].astype(np.int16)}

    settings = (PREPARATION, "lfw-parts-large", _content(folder, faces), lfw.superpixel_source(folder))
    return _face_set(kept("masi2020", settings, make), lfw.CLASSES)


def _content(folder: Path, faces: Sequence[lfw.Face]) -> str:
    return content(path(folder, *face) for face in faces for path in (lfw.image_path, lfw.label_path))


# --- COFW ------------------------------------------------------------------------------------------------


def _cofw(root: Path, config: Config) -> Faces:
    train, test = (
        _factorised(cofw.load(root, split, size=config.size), cofw.load(root, split, size=DETECTION_SIZE))
        for split in ("train", "test")
    )
    held_out = np.arange(len(train)) % COFW_VALIDATION == COFW_VALIDATION - 1
    return Faces(
        train=_at_most(train.subset(np.flatnonzero(~held_out)), config.train_faces),
        validation=_at_most(train.subset(np.flatnonzero(held_out)), config.train_faces),
        test=_at_most(test, config.test_faces),
    )


def _factorised(faces: FaceSet, larger: FaceSet) -> FaceSet:
    """COFW's binary masks with the occlusions split off by Sec. 3.1, without morphology (Sec. 4.1).

    Faces are detected in the `larger` images of the same faces. Where dlib finds none there is no contour: the image
    keeps face and background alone. Ignored pixels (255) stay ignored. Each face counts as one person.
    """
    scale = faces.images.shape[1] / larger.images.shape[1]
    found = (landmarks.detect_many(larger.images, cache=CACHE / "cofw") + 0.5) * scale - 0.5
    labels = faces.labels.copy()
    for i, points in enumerate(found):
        if np.isfinite(points).all():
            contour = face_contour(points, labels.shape[1:])
            split = pseudo_labels(contour, labels[i] == 1, morphology=False)[0]
            labels[i] = np.where(labels[i] == IGNORED, IGNORED, split)
    return replace(faces, labels=labels, classes=OCCLUSION_CLASSES, landmarks=found, persons=faces.names)


# --- rendered faces --------------------------------------------------------------------------------------


def _rendered_faces(kind: Literal["occluded", "unoccluded"], size: int, first: int, count: int) -> FaceSet:
    """`count` rendered faces from index `first`; each is a person of its own."""
    render: Callable[..., FaceSet] = getattr(synthetic_faces, kind)
    settings = (PREPARATION, RENDERING, kind, SEED, first, count, size)
    found = kept("masi2020", settings, lambda: _arrays(render(SEED, count, size=size, first=first)))
    faces = _face_set(found, OCCLUSION_CLASSES)
    return replace(faces, persons=faces.names)


def _rendered_parts(config: Config) -> PartFaces:
    """Rendered at the annotated size and then resized, as the real images are."""
    annotated = 2 * config.size if config.profile == "smoke" else lfw.ANNOTATED_SIZE
    train = _rendered_count(config.train_faces, RENDERED_TRAIN)
    sets = {
        PARTS_TRAIN: train,
        PARTS_VALIDATION: validation_count(train),
        PARTS_TEST: _rendered_count(config.test_faces, RENDERED_TEST),
    }
    large = []
    for first, count in sets.items():
        settings = (PREPARATION, RENDERING, "parts", SEED, first, count, annotated)
        found = kept(
            "masi2020",
            settings,
            lambda first=first, count=count: _arrays(
                synthetic_faces.part_labels(SEED, count, size=annotated, first=first)
            ),
        )
        faces = _face_set(found, lfw.CLASSES)
        large.append(replace(faces, persons=faces.names))
    train_set, validation, test = (resized(faces, config.size) for faces in large)
    return PartFaces(
        train=replace(train_set, superpixels=None),
        validation=replace(validation, superpixels=None),
        test=test,
        test_large=replace(large[2], superpixels=large[2].superpixels.astype(np.int16)),
        superpixels="SLIC",
        clean=np.ones(len(test), bool),
    )


def _rendered_count(asked: int, default: int) -> int:
    return asked or default


# --- sets of faces ---------------------------------------------------------------------------------------


def binary(faces: FaceSet) -> FaceSet:
    """All classes but the face merged into non-face; 255 stays."""
    labels = np.where(faces.labels == IGNORED, IGNORED, faces.labels == 1).astype(np.uint8)
    return replace(faces, labels=labels, classes=BINARY_CLASSES)


def resized(faces: FaceSet, size: int) -> FaceSet:
    """The same faces with images, labels and superpixels at side `size`; landmarks and boxes are scaled with them."""
    scale = size / faces.images.shape[1]
    return replace(
        faces,
        images=np.stack([resize_picture(image, size) for image in faces.images]),
        labels=np.stack([resize_labels(label, size) for label in faces.labels]),
        superpixels=None if faces.superpixels is None else nearest(faces.superpixels, size),
        boxes=None if faces.boxes is None else faces.boxes * np.float32(scale),
        landmarks=None if faces.landmarks is None else ((faces.landmarks + 0.5) * scale - 0.5).astype(np.float32),
    )


def nearest(labels: np.ndarray, size: int) -> np.ndarray:
    """Label maps (N, H, W) at side `size` by nearest neighbour, as the paper up-samples its predictions."""
    rows = np.floor((np.arange(size) + 0.5) * labels.shape[1] / size).astype(int)
    return labels[:, rows][:, :, rows]


def _stacked(crops: Sequence[Crop], names: Sequence[str], persons: Sequence[str]) -> FaceSet:
    _some(crops, "the dataset")
    return FaceSet(
        images=np.stack([one.image for one in crops]),
        labels=np.stack([one.labels for one in crops]),
        classes=OCCLUSION_CLASSES,
        names=tuple(names),
        persons=tuple(persons),
        boxes=np.stack([one.box for one in crops]),
        landmarks=np.stack([one.landmarks for one in crops]),
    )


def _some(faces: Sequence, where: str) -> None:
    if not faces:
        raise UserError(f"{where} should show faces, but none was found in it: check that the images are LFW's")


def _arrays(faces: FaceSet) -> dict[str, np.ndarray]:
    """The fields of a set as arrays for the cache, without the classes, which the reader supplies."""
    values = {f.name: getattr(faces, f.name) for f in fields(faces) if f.name != "classes"}
    if faces.tags is not None:
        values["tags"] = [" ".join(tags) for tags in faces.tags]
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def _face_set(arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> FaceSet:
    as_text = {name: tuple(str(v) for v in arrays[name]) for name in ("names", "persons") if name in arrays}
    tags = {"tags": tuple(tuple(str(v).split()) for v in arrays["tags"])} if "tags" in arrays else {}
    return FaceSet(classes=classes, **{**arrays, **as_text, **tags})


def _at_most(faces: FaceSet, count: int) -> FaceSet:
    return faces.subset(_spread(len(faces), count))


def _spread(available: int, count: int) -> np.ndarray:
    """At most `count` evenly spaced indices below `available`; all of them if `count` is 0."""
    return np.linspace(0, available - 1, min(count or available, available)).astype(int)


def _required(data_root: Path | None) -> Path:
    if data_root is None:
        raise UserError("real faces need the folder with the datasets: give its path as data_root (--data-root)")
    return Path(data_root)
