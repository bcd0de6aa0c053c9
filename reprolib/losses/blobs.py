"""Blob maps for the consensus loss: which pixels have to agree."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

IGNORED_LABEL = 255


def blobs_from_labels(labels: np.ndarray) -> np.ndarray:
    """Each class of an image is one blob, whose id is the class.

    labels: uint8 (N, H, W), 255 = ignored; returns int64 (N, H, W), −1 = ignored.
    Source: Masi et al. 2020, Sec. 4.1, "treat the separate mask classes as the blobs".
    """
    return np.where(labels == IGNORED_LABEL, -1, labels.astype(np.int64))


def blobs_from_components(labels: np.ndarray, *, component_classes: Collection[int]) -> np.ndarray:
    """Each 8-connected component of a class in `component_classes` is a blob; each other class is one blob.

    labels: uint8 (N, H, W), 255 = ignored; returns int64 (N, H, W), −1 = ignored. A whole class has its label
    as id. The ids of components follow and start at the same number in all images of the batch. For classes
    background, face, occlusion and component_classes={2} that is the map C of Eq. 2: 0, 1, ≥ 2.
    Source: Masi et al. 2020, Sec. 3.1 and 4.1 (COFW, without morphology).

    >>> blobs_from_components(np.array([[[2, 0, 2, 255]]], np.uint8), component_classes={2})
    array([[[ 2,  0,  3, -1]]])
    """
    blobs = blobs_from_labels(labels)
    whole = blobs[~np.isin(blobs, list(component_classes))]
    start = max([*component_classes, whole.max(initial=-1) + 1])
    for labels_of_image, blobs_of_image in zip(labels, blobs, strict=True):
        following = start
        for label in sorted(component_classes):
            mask = labels_of_image == label
            count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            blobs_of_image[mask] = components[mask] - 1 + following
            following += count - 1
    return blobs


def one_blob_per_pixel(labels: np.ndarray) -> np.ndarray:
    """Each pixel is a blob: the limit in which the consensus loss is α times the cross-entropy (Sec. 3.3).

    labels: uint8 (N, H, W), 255 = ignored; returns int64 (N, H, W), −1 = ignored; ids repeat between images.
    """
    ids = np.arange(labels[0].size, dtype=np.int64).reshape(labels[0].shape)
    return np.where(labels == IGNORED_LABEL, -1, ids)
