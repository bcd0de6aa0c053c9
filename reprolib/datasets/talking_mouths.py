"""Mouths cut along the 68 landmarks of a face, and speakers told apart by their face embeddings."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

FILL = 0.6  # the mouth's box is 0.6 of the crop, as in the authors' public script (yang2023)
FULL_SIZE = (128, 256)
SAME_SPEAKER = 0.6  # dlib's own threshold for its embeddings


def crop_box(points: np.ndarray) -> np.ndarray:
    """The box of a mouth's crop, 2 : 1 around the lips of (68, 2) landmarks: x, y, width, height, float64 (4,).

    x and y are its left and upper edge; 0 is the edge of the image, half a pixel before the centre of its first pixel.
    The lips fill 0.6 of its width or height, whichever is tighter.
    """
    low, high = points[48:].min(axis=0), points[48:].max(axis=0)
    width = max(high[0] - low[0], 2 * (high[1] - low[1]), 1.0) / FILL
    return np.array([*(low + high) / 2 + 0.5 - (width / 2, width / 4), width, width / 2], np.float64)


def mouth_crop(
    image: np.ndarray, points: np.ndarray, *, size: tuple[int, int] = FULL_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """`crop_box` of a uint8 (H, W, 3) image at `size` (height, width), and the landmarks (68, 2) in its pixels.

    Beyond the image's edge its last pixels are repeated.
    """
    x, y, width, _ = crop_box(points)
    scale = size[1] / width
    if scale < 0.5:  # of a large face: shrunk by averaging first, against aliasing
        shrunk = cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        return mouth_crop(shrunk, (points + 0.5) * 2 * scale - 0.5, size=size)
    shift = scale * (0.5 - np.array([x, y])) - 0.5  # pixel centres, as in cv2.resize
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    crop = cv2.warpAffine(image, matrix, size[::-1], flags=way, borderMode=cv2.BORDER_REPLICATE)
    return crop, (points * scale + shift).astype(np.float32)


def speakers(embeddings: np.ndarray) -> np.ndarray:
    """A speaker index, int (N,), for each of (N, 128) face embeddings, from 0 in order of appearance.

    Average linkage, cut at dlib's threshold.
    """
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), int)
    clusters = fcluster(linkage(embeddings, "average"), SAME_SPEAKER, "distance")
    _, first, numbers = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]
