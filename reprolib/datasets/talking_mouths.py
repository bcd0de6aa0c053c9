"""Mouths of real speakers, cut from `talkingfaces` along dlib's landmarks, with pseudo-labels.

No annotation of teeth, tongue and cavity can be had (FLRSeg is not public), so labels are made from landmarks and
colour, and whatever is measured on them is agreement with a rule, not with people. See `pseudo_labels` for how and
for where it errs.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from scipy.cluster.hierarchy import fcluster, linkage

from reprolib.datasets import landmarks, talkingfaces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth.geometry import smooth
from reprolib.datasets.mouths import BACKGROUND, CAVITY, CLASSES, LIP, TEETH, TONGUE
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.paths import CACHE

FILL = 0.6  # the mouth's box is 0.6 of the crop, as in the authors' public script
FULL_SIZE = (128, 256)  # at which labels are made
ZOOM = 4  # mouths are some 40 pixels wide: whole pixels are too coarse for their contours
SAME_SPEAKER = 0.6  # dlib's own threshold for its embeddings


def load(
    root: Path,
    *,
    count: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: bool = True,
) -> FaceSet:
    """Mouths of `count` clips of `<root>/talkingfaces` (or `root` itself), one frame each, drawn with `seed`.

    images uint8 (count, height, width, 3), labels uint8 (count, height, width) into `mouths.CLASSES`: pseudo-labels;
    landmarks in pixels of the crop; persons: clusters of face embeddings. Landmarks and embeddings are kept in the
    project's cache under a hash of the clip's bytes, images never. Damaged clips and UserError as
    `talkingfaces.unlabelled_faces`.
    """
    clips = talkingfaces.clips_of(root)
    images, labels, inside, names, embeddings = [], [], [], [], []
    for name, image, face in talkingfaces.faces_of(clips, _detected, count=count, seed=seed, progress=progress):
        crop, moved = mouth_crop(image, face["landmarks"])
        names.append(name)
        embeddings.append(face["embedding"])
        images.append(resize_picture(crop, size))
        labels.append(resize_labels(pseudo_labels(crop, moved), size))
        inside.append((moved + 0.5) * (np.array(size[::-1]) / FULL_SIZE[::-1]) - 0.5)  # pixel centres
    return FaceSet(
        images=np.stack(images),
        labels=np.stack(labels),
        classes=CLASSES,
        names=tuple(names),
        persons=tuple(f"speaker-{number:02d}" for number in speakers(np.stack(embeddings))),
        landmarks=np.stack(inside).astype(np.float32),
    )


def crop_box(points: np.ndarray) -> np.ndarray:
    """The box of a mouth's crop, 2 : 1 around the lips of (68, 2) landmarks: x, y, width, height, float64 (4,).

    x and y are its left and upper edge, where 0 is the edge of the picture, half a pixel before the middle of its
    first. The lips fill 0.6 of it across or upright, whichever is tighter.
    """
    low, high = points[48:].min(axis=0), points[48:].max(axis=0)
    width = max(high[0] - low[0], 2 * (high[1] - low[1]), 1.0) / FILL
    return np.array([*(low + high) / 2 + 0.5 - (width / 2, width / 4), width, width / 2], np.float64)


def mouth_crop(
    image: np.ndarray, points: np.ndarray, *, size: tuple[int, int] = FULL_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """`crop_box` of a uint8 (H, W, 3) picture at `size` (height, width), and the landmarks in its pixels.

    Beyond the picture's edge its last pixels are repeated.
    """
    x, y, width, _ = crop_box(points)
    scale = size[1] / width
    if scale < 0.5:  # of a large face: averaged first, or single pixels would be picked
        shrunk = cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        return mouth_crop(shrunk, (points + 0.5) * 2 * scale - 0.5, size=size)
    shift = scale * (0.5 - np.array([x, y])) - 0.5  # pixel centres, as in cv2.resize
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    crop = cv2.warpAffine(image, matrix, size[::-1], flags=way, borderMode=cv2.BORDER_REPLICATE)
    return crop, (points * scale + shift).astype(np.float32)


def pseudo_labels(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Lip, teeth, tongue and cavity of a mouth from landmarks and colour: uint8 (H, W) into `mouths.CLASSES`.

    crop: uint8 (H, W, 3) RGB; points: its (68, 2) landmarks.

    Lip is what lies between smooth curves through the outer (48–59) and inner (60–67) contour. Around the inner
    contour, up to 6 % of the mouth's width beyond it (dlib's inner contour is often that far off), pixels are
    clustered into three by lightness and relative chroma √(a² + b²) / L of CIELAB (k-means, seeded with the median of
    the lips, a lighter and a darker colour). The light cluster is teeth if it is l ≥ 0 units of L lighter than the
    lips and at most 0.44 + 0.016 l times as colourful (never more than 0.85 times); the dark one is cavity if it has
    at most 0.72 of their lightness; what is like the lips in colour, inside the contour, thicker than 7 % of the
    mouth's width and in a mouth open by 13 % of it is tongue, and else goes to its neighbours. Lips less than 7 % of
    the width apart and without teeth are closed: all lip.

    Where it errs, seen in 90 mouths: teeth in shade or behind hardly parted lips become lip or cavity, in three
    tongue; a shine along the lower lip becomes teeth in two; the shade under the upper lip becomes cavity, a band in
    most open mouths; under a moustache the upper lip is only as good as dlib's outer contour, which is some 3 % of
    the width off everywhere. Tongues are rare, and half of what is called tongue is one. On 60 rendered open mouths
    with their true landmarks, IoU with the true labels is 92 % for lip, 61 % for teeth, 65 % for tongue, 71 % for
    cavity: an upper limit, as dlib's landmarks are worse.
    """
    shape = crop.shape[:2]
    outer, inner = _inside(points[48:60], shape), _inside(points[60:68], shape)
    inner &= outer
    width = float(np.ptp(points[48:60, 0]))
    labels = np.where(outer, LIP, BACKGROUND).astype(np.uint8)
    deep = _eroded(outer, 0.05 * width)
    near = inner | (_dilated(inner, 0.06 * width) & deep)
    lip = outer & ~near
    if not near.any() or not lip.any():
        return labels

    lab = cv2.cvtColor(cv2.GaussianBlur(crop, (0, 0), shape[0] / 128).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lightness = lab[..., 0]
    chroma = 60 * np.hypot(lab[..., 1], lab[..., 2]) / np.maximum(lightness, 12)  # on a par with lightness
    features = np.stack([lightness, chroma], axis=-1)
    red = np.median(features[lip], axis=0)
    cluster = np.full(shape, -1)
    cluster[near], centres = _clusters(features[near], red)
    light, dark = centres[1], centres[2]

    lighter = light[0] - red[0]
    are_teeth = lighter >= 0 and light[1] <= min(0.85, 0.44 + 0.016 * lighter) * red[1]
    teeth = _pieces((cluster == 1) & are_teeth, touching=inner)
    gap = float(np.linalg.norm(points[62] - points[66]))
    if gap < 0.07 * width and teeth.sum() < 0.008 * width**2:
        return labels
    hollow = inner | ((_dilated(inner, 0.02 * width) | _dilated(teeth, 0.03 * width)) & deep)
    cavity = _opened((cluster == 2) & hollow & (dark[0] <= 0.72 * red[0]), 0.01 * width)
    rest = inner & ~teeth & ~cavity
    tongue = np.zeros(shape, bool)
    if gap >= 0.13 * width:
        tongue = _pieces(_opened(rest, 0.035 * width), touching=inner, smallest=0.015 * width**2)
    labels[cavity], labels[teeth], labels[tongue] = CAVITY, TEETH, TONGUE
    y, x = ndimage.distance_transform_edt(rest & ~tongue, return_distances=False, return_indices=True)
    return cv2.medianBlur(labels[y, x], 5)


def _clusters(features: np.ndarray, red: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k-means of (n, 2) lightness and chroma around the lips' median, held fast, a lighter and a darker centre."""
    lighter = (max(red[0] + 12, np.percentile(features[:, 0], 97)), 0.5 * red[1])
    centres = np.array([red, lighter, (0.45 * red[0], red[1])])
    for _ in range(6):
        nearest = ((features[:, None] - centres) ** 2).sum(-1).argmin(1)
        for k in (1, 2):
            if (nearest == k).any():
                centres[k] = 0.5 * centres[k] + 0.5 * features[nearest == k].mean(0)  # half a step: few pixels
    return nearest, centres


def _inside(contour: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool `shape`: the pixels inside the smooth closed curve through the points (n, 2)."""
    flat = np.concatenate([contour, np.zeros((len(contour), 1))], axis=1)
    curve = np.round(smooth(flat, closed=True)[:, :2] * 16).astype(np.int32)
    return cv2.fillPoly(np.zeros(shape, np.uint8), [curve], 1, shift=4).astype(bool)


def _pieces(mask: np.ndarray, *, touching: np.ndarray, smallest: float = 0.0) -> np.ndarray:
    """The connected components of `mask` that meet `touching` and have at least `smallest` pixels."""
    pieces, _ = ndimage.label(mask)
    met = np.bincount(pieces[touching], minlength=pieces.max() + 1) > 0
    large = np.bincount(pieces.ravel()) >= smallest
    return mask & (met & large)[pieces]


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), _disc(radius)).astype(bool)


def _eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    return cv2.erode(mask.astype(np.uint8), _disc(radius)).astype(bool)


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    return _dilated(_eroded(mask, radius), radius) & mask


def speakers(embeddings: np.ndarray) -> np.ndarray:
    """A number for each of (N, 128) face embeddings, the same for the same speaker, from 0 in order of appearance.

    Average linkage, cut at dlib's threshold.
    """
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), int)
    clusters = fcluster(linkage(embeddings, "average"), SAME_SPEAKER, "distance")
    _, first, numbers = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def _detected(clip: Path, index: int, image: np.ndarray) -> dict[str, np.ndarray] | None:
    """Landmarks (68, 2) in pixels of a frame and face embedding (128,), from the cache if they are there."""

    def make():
        faces = landmarks.detect_all(image, zoom=ZOOM)[:1]
        return {"landmarks": faces, "embedding": np.stack([landmarks.embed(image, one) for one in faces] or [()])}

    key = landmarks.hash_of("talking_mouths-2", str(index), str(ZOOM), clip)
    found = landmarks.remembered(CACHE / "talking_mouths", key, make)
    return {name: array[0] for name, array in found.items()} if len(found["landmarks"]) else None
