"""FASSEG: real faces with pixel labels of hair, skin, eyes, nose and mouth.

V2: 70 frontal faces. V3: 15 people, two series each, 13 poses from −90° to +90°; 278 faces have labels.
Khan, Mauro, Leonardi, ICIP 2015; Khan, Mauro, Migliorati, Leonardi, ICME 2017.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components
from skimage.measure import regionprops
from skimage.morphology import disk

from reprolib.datasets import folders
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.pictures import (
    box_of,
    crop_square,
    picture_size,
    read_picture,
    resize_labels,
    resize_picture,
    same_size,
)
from reprolib.errors import UserError

# V2 does not name its people, but 12 of the 20 people in its training folder are in its test folder, too,
# half of them in the very same photograph. Found by dlib's face embeddings (these 13 pairs are nearer than
# 0.22, all others farther than 0.46) and checked by eye.
SAME_PERSON = {
    "V2/Train/1": "V2/Test/3",
    "V2/Train/3": "V2/Test/1",
    "V2/Train/5": "V2/Test/6",
    "V2/Train/6": "V2/Test/5",
    "V2/Train/7": "V2/Test/7",
    "V2/Train/10": "V2/Test/8",
    "V2/Train/15": "V2/Test/26",
    "V2/Train/16": "V2/Test/17",
    "V2/Train/17": "V2/Test/13",
    "V2/Train/18": "V2/Test/20",
    "V2/Train/19": "V2/Test/23",
    "V2/Train/20": "V2/Test/44",
    "V2/Test/30": "V2/Test/11",
}

CLASSES = ("background", "hair", "skin", "eyes", "nose", "mouth")
COLOURS = np.array([(255, 0, 0), (127, 0, 0), (255, 255, 0), (0, 0, 255), (0, 255, 255), (0, 255, 0)], np.int32)
BACKGROUND, HAIR, SKIN, EYES, NOSE, MOUTH = range(6)

COUNTS = {"V2/Train": 20, "V2/Test": 50, "V3/Train": 182, "V3/Test": 96}
# In the release itself these labels were drawn on another crop of the picture: sizes differ, so they are
# left out.
MISLABELLED = frozenset(
    f"V3/Test/{pose}/personne{stem}"
    for pose, stem in (
        ("+30", "15248+0+30"),
        ("+60", "10250+0+60"),
        ("+60", "11250+0+60"),
        ("+60", "12250+0+60"),
    )
)


def load(root: Path, *, size: int = 128) -> FaceSet:
    """Every usable labelled face of `<root>/fasseg` (or `root` itself), cropped and resized, with raw classes.

    344 faces in the full dataset: images uint8 (N, size, size, 3), labels uint8 (N, size, size) into
    `CLASSES`. Names are "V2/Train/1" or "V3/Test/+30/personne08148+0+30"; persons are "V3/08", or in V2 the
    name of one of the person's pictures. Boxes surround skin, eyes, nose and mouth: neck and ears are skin
    in these labels. UserError if a folder or picture is missing, unreadable or has a label of another size.
    """
    pairs = _pairs(root)
    images, labels = [], []
    for picture, label in pairs.values():
        image, colours = read_picture(picture), read_picture(label)
        same_size(image.shape[1::-1], colours.shape[1::-1], label)
        classes = snap_colours(colours, label)
        square = face_square(classes)
        images.append(resize_picture(crop_square(image, square), size))
        labels.append(resize_labels(crop_square(classes, square), size))
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(pairs),
        persons=tuple(_person(name) for name in pairs),
        boxes=np.stack([box_of(one >= SKIN) for one in labels]),
    )


def _pairs(root: Path) -> dict[str, tuple[Path, Path]]:
    """Name → (picture, label) of every labelled face that is not in `MISLABELLED`."""
    folder = folders.dataset_folder(root, ("fasseg",), holds="V2")
    pairs = {}
    for split in ("Train", "Test"):
        pairs |= _pairs_of(folder / "V2" / f"{split}_RGB", folder / "V2" / f"{split}_Labels", f"V2/{split}")
    for split in ("Train", "Test"):
        pictures, labels = folder / "V3" / f"{split}_RGB", folder / "V3" / f"{split}_labels"
        poses = [path.name for path in folders.subfolders(labels)]
        if not poses:
            raise UserError(f"{labels} should hold a folder for each pose, but does not: unpack FASSEG there")
        for pose in poses:
            pairs |= _pairs_of(pictures / pose, labels / pose, f"V3/{split}/{pose}")
    return pairs


def _pairs_of(pictures: Path, labels: Path, prefix: str) -> dict[str, tuple[Path, Path]]:
    found = _by_stem(labels)
    if not found:
        raise UserError(f"{labels} should hold label pictures, but does not: unpack FASSEG there")
    beside = _by_stem(pictures)
    pairs = {}
    for stem, label in found.items():
        if f"{prefix}/{stem}" in MISLABELLED:
            continue
        if stem not in beside:
            raise UserError(f"{pictures} should hold the picture of the label {label}, but does not: copy it there")
        pairs[f"{prefix}/{stem}"] = (beside[stem], label)
    return pairs


def _by_stem(folder: Path) -> dict[str, Path]:
    """Stem → path of every picture in a folder, 2 before 10; empty if there is no such folder."""
    images = folders.files(folder, ".bmp", ".png", ".jpg", ".jpeg")
    return {path.stem: path for path in sorted(images, key=lambda path: (len(path.stem), path.stem))}


def _person(name: str) -> str:
    """V3 file names are personne, two digits of the person, one of the series, then number, tilt and pan."""
    stem = name.rsplit("/", 1)[-1]
    return f"V3/{stem[8:10]}" if name.startswith("V3/") else SAME_PERSON.get(name, name)


def snap_colours(colours: np.ndarray, path: Path) -> np.ndarray:
    """Class of every pixel of a label picture: uint8 (H, W, 3) -> uint8 (H, W), the nearest of six colours.

    A colour far from all six is a blend along an edge and says nothing by itself (yellow and blue give
    grey, which is nearest to the hair's brown): it takes the class of the nearest pixel with a clear
    colour. UserError, naming `path`, if more than a tenth of the pixels are unclear: then it is not a label
    image.
    """
    weights = np.array((65536, 256, 1))
    packed, exact = colours @ weights, COLOURS @ weights
    classes, unclear = np.zeros(packed.shape, np.uint8), np.zeros(packed.shape, np.uint8)
    for index, colour in enumerate(exact):
        classes[packed == colour] = index
    blend = ~np.isin(packed, exact)
    distance = np.linalg.norm(colours[blend][:, None] - COLOURS, axis=-1)  # (blends, 6)
    classes[blend], unclear[blend] = distance.argmin(axis=1), distance.min(axis=1) > 60
    if unclear.mean() > 0.1:
        raise UserError(
            f"{path} should show FASSEG's six label colours, but {unclear.mean():.0%} of it are other colours: "
            "check that pictures and labels are not exchanged"
        )
    if unclear.any():
        # numbers every clear pixel, and gives each unclear one the number of its nearest
        _, nearest = cv2.distanceTransformWithLabels(unclear, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        class_of = np.zeros(nearest.max() + 1, np.uint8)
        class_of[nearest[unclear == 0]] = classes[unclear == 0]
        classes = class_of[nearest]
    return classes


def face_square(classes: np.ndarray) -> tuple[int, int, int]:
    """The largest square (x, y, side) inside an image, as near as possible to its face.

    FASSEG's images are already cropped around the head, so the square needs no padding. Horizontally it is
    centred on skin and parts. Vertically the middle between eyes and mouth is at 55 % of its height, which
    leaves room for hair; skin is not used there, since the neck is skin, too. Replaces the "adjusted square
    box" of a face detector, masi2020 Sec. 4.
    """
    height, width = classes.shape
    side = min(height, width)
    skin, parts = np.nonzero(classes >= SKIN), np.nonzero(classes >= EYES)
    if not len(parts[0]):
        return (width - side) // 2, (height - side) // 2, side
    # percentiles, because a few labels have stray pixels
    x = np.percentile(skin[1], [2, 98]).mean() - side / 2
    y = np.percentile(parts[0], [2, 98]).mean() - 0.55 * side
    return int(np.clip(x, 0, width - side)), int(np.clip(y, 0, height - side)), side


def eyebrows(labels: np.ndarray) -> np.ndarray:
    """Which hair pixels of a raw label map are eyebrows: bool (H, W).

    FASSEG paints eyebrows in the colour of the hair. A piece of hair is an eyebrow if it is over an eye, with
    its centre at most 0.7 of the distance from eyes to mouth above the eyes; if it is wider than high and at
    most 4 % of the face; and if most of its border is face. Pieces are first the connected components, then
    those that an opening by a disk (radius 2.5 % of the side) cuts off the rest: brows that touch a fringe.
    Known errors: a brow under a fringe as thin as itself stays hair or takes the fringe along; a thick brow
    that touches hair stays hair; a thin lock across the forehead becomes eyebrow.
    """
    hair = labels == HAIR
    separate = _brow_pieces(hair, labels)
    rest, radius = hair & ~separate, max(1, round(labels.shape[0] / 40))
    bulk = ndimage.binary_opening(np.pad(rest, 20, mode="edge"), disk(radius))[20:-20, 20:-20]
    # an opening also cuts off the corners of the fringe, each about a fifth of the squared radius
    return separate | _brow_pieces(rest & ~bulk, labels, smallest=radius**2)


def _brow_pieces(candidates: np.ndarray, labels: np.ndarray, *, smallest: int = 1) -> np.ndarray:
    """The connected components of `candidates` that are eyebrows by position, shape, size and surroundings."""
    found = np.zeros(labels.shape, bool)
    face = labels >= SKIN
    (eye_rows, eye_columns), mouth_rows = np.nonzero(labels == EYES), np.nonzero(labels == MOUTH)[0]
    if not len(eye_rows) or not len(mouth_rows):
        return found
    lowest = np.percentile(eye_rows, 98)
    highest = eye_rows.mean() - 0.7 * (mouth_rows.mean() - eye_rows.mean())
    pieces = connected_components(candidates, connectivity=2)
    for piece in regionprops(pieces):
        top, left, bottom, right = piece.bbox
        over_an_eye = ((eye_columns >= left) & (eye_columns < right)).any()
        placed = highest <= piece.centroid[0] <= lowest and over_an_eye
        fits = smallest <= piece.area <= 0.04 * face.sum()
        if not placed or not fits or right - left < bottom - top:
            continue
        brow = pieces == piece.label
        ring = ndimage.binary_dilation(brow, np.ones((3, 3), bool)) & ~brow
        if face[ring].mean() > 0.5:
            found |= brow
    return found


def check(root: Path) -> list[str]:
    """A report, one line per part; UserError if anything is missing, unreadable or of another size.

    Reads the header of every file, and every tenth image and label in full.
    """
    pairs = _pairs(root)
    for i, (picture, label) in enumerate(pairs.values()):
        same_size(picture_size(picture), picture_size(label), label)
        if i % 10 == 0:
            read_picture(picture)
            snap_colours(read_picture(label), label)
    lines = []
    for part, expected in COUNTS.items():
        found = sum(name.startswith(part + "/") for name in pairs)
        left_out = sum(name.startswith(part + "/") for name in MISLABELLED)
        if found != expected - left_out:
            raise UserError(
                f"FASSEG {part} should have {expected - left_out} usable labels, but has {found}: "
                "copy it again from the original dataset"
            )
        note = f" ({left_out} more do not fit their pictures)" if left_out else ""
        lines.append(f"FASSEG {part}: {found} faces with labels{note}")
    people = len({_person(name) for name in pairs})
    return [*lines, f"FASSEG: {people} people"]
