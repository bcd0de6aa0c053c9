"""Mouths with pixel labels from facesynth, and hard cases applied to any mouths: the data of yang2023.

FLRSeg (Sec. IV-A1) shows 58 speakers in natural scenes, each in about eleven pictures, and nothing in front of
the lips. The hard cases are those of Figures 10 and 11.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import cv2
import numpy as np
from scipy import ndimage

from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth import PARTS, FaceOptions, mouth_crop, paste_occluder
from reprolib.datasets.facesynth.camera import Camera, expose
from reprolib.datasets.facesynth.parts import OCCLUDER
from reprolib.datasets.facesynth.scene import MOUTH_OCCLUDERS, person_of
from reprolib.datasets.pictures import box_of
from reprolib.datasets.synthetic_faces import without_specks
from reprolib.errors import UserError

CLASSES = ("background", "lip", "teeth", "tongue", "cavity")
BACKGROUND, LIP, TEETH, TONGUE, CAVITY = range(5)
OF_PART = {"upper_lip": LIP, "lower_lip": LIP, "teeth": TEETH, "tongue": TONGUE, "cavity": CAVITY}

HARD_CASES = ("low light", "side light", "blur", "moustache", "noise", "occlusion", "distortion")
SEVERITIES = range(5)  # 0 leaves a picture as it is
TAGS = {"low_light": "low light", "side_light": "side light", "blur": "blur", "noise": "noise", "occluded": "occlusion"}

PICTURES_PER_PERSON = 11  # FLRSeg: 630 pictures of 58 speakers
MOUTHS = FaceOptions(
    yaw=(-30.0, 30.0),
    pitch=(-12.0, 14.0),
    roll=(-12.0, 12.0),
    mouth_open=0.75,  # speakers
    beard=0.3,
    low_light=0.12,
    side_light=0.2,
    occluder=0.0,
)
DISTORTED = 0.1  # share of pictures with lips pulled out of shape


def synthetic(
    seed: int,
    count: int,
    *,
    size: tuple[int, int] = (128, 256),
    first: int = 0,
    annotator_noise: float = 0.0,
    options: FaceOptions = MOUTHS,
) -> FaceSet:
    """Mouths `first` … `first + count − 1` of the infinite series with this `seed`, eleven in a row per person.

    images uint8 (count, height, width, 3), labels uint8 (count, height, width) into `CLASSES`, persons, tags among
    `HARD_CASES`. An occluder is background; by default there is none. `annotator_noise`: standard deviation of
    the label borders' error, in pixels of an image 128 high; the images are the same with and without it. Sets whose
    ranges start at multiples of eleven and do not overlap share no person.
    """
    drawn = [_mouth(seed, i, size, options, annotator_noise) for i in range(first, first + count)]
    indices = range(first, first + count)
    return FaceSet(
        images=np.stack([image for image, _, _ in drawn]),
        labels=np.stack([labels for _, labels, _ in drawn]),
        classes=CLASSES,
        names=tuple(f"mouth-{seed}-{i}" for i in indices),
        persons=tuple(f"speaker-{seed}-{i // PICTURES_PER_PERSON}" for i in indices),
        tags=tuple(tags for _, _, tags in drawn),
    )


def _mouth(seed, index, size, options, annotator_noise) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    options = replace(options, annotator_noise=annotator_noise * size[0] / 128)
    person = index // PICTURES_PER_PERSON
    face = mouth_crop(seed, index, size=size, options=options, person=person)
    image = face.image
    labels = np.array([OF_PART.get(part, BACKGROUND) for part in PARTS], np.uint8)[face.labels]
    drawn = (labels != BACKGROUND) | (face.labels == OCCLUDER)
    labels[ndimage.binary_fill_holes(drawn) & ~drawn] = LIP  # slits of skin between lips that hardly part
    labels = without_specks(labels, size[0] * size[1] // 8000)  # 4 pixels at 128 × 256
    tags = {TAGS[tag] for tag in face.tags if tag in TAGS}
    if person_of(seed, index, person, options).beard in ("full", "moustache"):
        tags.add("moustache")
    rng = np.random.default_rng([seed, index])
    if rng.random() < DISTORTED:
        image, labels = _distort(image, labels, rng.integers(1, 5), rng)
        tags.add("distortion")
    return image, labels, tuple(case for case in HARD_CASES if case in tags)


def degrade(faces: FaceSet, case: str, severity: int, *, seed: int = 0) -> FaceSet:
    """The same mouths with one of `HARD_CASES` applied to each, at a severity of 0 (untouched) to 4 (Figure 11).

    Labels follow a distortion and are background under an occluder; hair over the lip does not change them.
    Random choices depend only on `seed`, the image's name and the case, so that severities differ in strength alone
    (and in the occluder, chosen to cover the share they require). UserError for an unknown case or severity.
    """
    if case not in HARD_CASES or severity not in SEVERITIES:
        raise UserError(
            f"a hard case is one of {', '.join(HARD_CASES)} with a severity of 0 to 4, "
            f"but {case!r} with severity {severity} is asked for: choose among these"
        )
    if severity == 0:
        return faces
    change = _CHANGES[case]
    changed = []
    for name, image, labels in zip(faces.names, faces.images, faces.labels, strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), HARD_CASES.index(case)])
        changed.append(change(image, labels, severity, rng))
    images, labels = zip(*changed, strict=True)
    tags = tuple((*of_face, case) if case not in of_face else of_face for of_face in faces.tags or [()] * len(faces))
    return replace(faces, images=np.stack(images), labels=np.stack(labels), tags=tags)


def _low_light(image, labels, severity, rng):
    """Less light, and the noise of a sensor that makes up for it."""
    dark = image * np.float32((1, 0.5, 0.3, 0.18, 0.1)[severity])
    return expose(dark, Camera(noise=0.8 * severity), rng), labels


def _side_light(image, labels, severity, rng):
    """Light from one side: the other sinks into shadow, with a soft edge somewhere across the mouth."""
    height, width = labels.shape
    side, middle, slant = rng.choice((-1, 1)), rng.uniform(-0.2, 0.2), rng.uniform(-0.4, 0.4)
    x = (np.arange(width, dtype=np.float32)[None] - width / 2) / width
    y = (np.arange(height, dtype=np.float32)[:, None] - height / 2) / width
    shadow = 1 / (1 + np.exp(-(side * (x + slant * y) - middle) / 0.08))
    light = 1.2 - (0, 0.6, 0.8, 0.95, 1.1)[severity] * shadow
    return expose((image * light[..., None]).astype(np.float32), Camera(), rng), labels


def _blur(image, labels, severity, rng):
    """Motion in any direction during the exposure."""
    camera = Camera(motion=(0, 4, 8, 14, 22)[severity], motion_angle=rng.uniform(0, np.pi))
    return expose(image.astype(np.float32), camera, rng), labels


def _noise(image, labels, severity, rng):
    camera = Camera(noise=(0, 12, 25, 45, 70)[severity])
    return expose(image.astype(np.float32), camera, rng), labels


def _moustache(image, labels, severity, rng):
    """Hair from above the upper lip, down over none, a quarter, half or nearly all of it."""
    lip = labels == LIP
    columns = np.flatnonzero(lip.any(axis=0))
    if not len(columns):
        return image, labels
    height, width = labels.shape
    top = lip.argmax(axis=0)
    inside = lip[:, columns].sum(axis=0).max() / 2  # about the upper lip's thickness
    over = (0, 0.05, 0.3, 0.6, 0.9)[severity] * inside
    rise = 0.22 * np.ptp(columns)
    colour = np.array((70, 48, 34)) * rng.uniform(0.5, 1.6) * np.percentile(image, 80) / 190
    hairs, cover = image.copy(), np.zeros((height, width), np.uint8)
    middle, thick = columns.mean(), max(1, round(height / 128))
    for _ in range((0, 250, 400, 600, 800)[severity]):
        x = int(rng.choice(columns))
        slope = (x - middle) / np.ptp(columns)  # hair combed to the sides
        start = np.array([x, top[x] - rng.uniform(0, rise) * (1 - 1.2 * abs(slope))])
        end = start + np.array([slope * rise, rng.uniform(0.25, 0.6) * rise + over])
        end[1] = min(end[1], top[x] + over * rng.uniform(0.5, 1.0))
        points = [np.round(p * 16).astype(int).tolist() for p in (start, end)]
        strand = np.clip(colour * rng.uniform(0.6, 1.5), 0, 255).tolist()
        cv2.line(hairs, *points, strand, thick, cv2.LINE_AA, 4)
        cv2.line(cover, *points, 255, thick, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(cover, (0, 0), max(0.3, height / 200)).astype(np.float32)[..., None] / 255
    return np.clip(image + mask * (hairs.astype(np.float32) - image) + 0.5, 0, 255).astype(np.uint8), labels


def _occlude(image, labels, severity, rng):
    """One occluder over 5–15, 15–30, 30–50 or 50–80 % of the mouth: the first of 30 that does, else the nearest."""
    low, high = (None, (0.05, 0.15), (0.15, 0.3), (0.3, 0.5), (0.5, 0.8))[severity]
    mouth = labels != BACKGROUND
    x, y, width, height = box_of(mouth)
    best, distance = (image, labels), np.inf
    for _ in range(30):
        near = (x + width * rng.uniform(0, 1), y + height * rng.uniform(0.2, 1))
        kind = MOUTH_OCCLUDERS[rng.integers(len(MOUTH_OCCLUDERS))]
        scale = width * rng.uniform(0.5, 1) * (0, 0.6, 0.9, 1.2, 1.6)[severity]
        found = paste_occluder(image, labels, rng, label=BACKGROUND, near=near, scale=scale, kind=kind)
        covered = (found[1][mouth] == BACKGROUND).mean() if mouth.any() else 0.0
        if low <= covered <= high:
            return found
        if abs(covered - (low + high) / 2) < distance:
            best, distance = found, abs(covered - (low + high) / 2)
    return best


def _distort(image, labels, severity, rng):
    """Lips pulled out of shape: picture and labels bent by a smooth field of 1.2–4.8 % of the width."""
    height, width = labels.shape
    field = cv2.resize(rng.normal(size=(3, 5, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    field *= (0, 0.012, 0.024, 0.036, 0.048)[severity] * width / np.sqrt((field**2).mean())
    x = np.arange(width, dtype=np.float32)[None] + field[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + field[..., 1]
    moved = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return moved, cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)


_CHANGES = dict(zip(HARD_CASES, (_low_light, _side_light, _blur, _moustache, _noise, _occlude, _distort), strict=True))


def split_by_speaker(faces: FaceSet, *, test: int, seed: int) -> tuple[FaceSet, FaceSet]:
    """(train, test) without a common speaker: test speakers are sampled with `seed` until they have `test` images.

    At least one speaker stays in training. UserError if speakers are unknown or fewer than two.
    """
    speakers, counts = np.unique(faces.persons or (), return_counts=True)
    if len(speakers) < 2:
        raise UserError(
            f"a split by speaker needs pictures of two speakers or more, but {len(speakers)} can be told apart: "
            "give more pictures, in a folder for each speaker"
        )
    drawn = np.random.default_rng(seed).permutation(len(speakers))
    enough = np.searchsorted(counts[drawn].cumsum(), test) + 1
    in_test = np.isin(faces.persons, speakers[drawn[: min(enough, len(drawn) - 1)]])
    return faces.subset(np.flatnonzero(~in_test)), faces.subset(np.flatnonzero(in_test))
