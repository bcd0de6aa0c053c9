"""Face segmentation transfer: pseudo-labels with occlusions from an error-prone teacher (Masi et al. 2020, Sec. 3.1).

The full face f is the projected outline of a generic 3-D face; what the teacher's mask leaves out of it is
occlusion.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from reprolib.datasets.facesynth.geometry import TEMPLATE, forehead, smooth
from reprolib.errors import UserError

BACKGROUND, FACE, OCCLUSION = 0, 1, 2

# Eye corners, nose, mouth corners, chin: points that move little with expression.
RIGID = np.array([36, 39, 42, 45, *range(27, 36), 48, 54, 8])
# Height of the hairline above the temples, in half face widths: an average one; hair that hangs lower is occlusion.
FOREHEAD_HEIGHT = 1.08
# Focal length as a multiple of the image's longer side. The authors take 1 for whole photographs. In a crop that
# the face fills, 1 would put the camera a hand's breadth from the nose and make the cheeks 15 % too narrow (FASSEG,
# frontal). 4 is the same camera if the face takes a quarter of the photograph; the cheeks come within 2 %.
FOCAL_LENGTH = 4.0
# The paper gives its kernels without the size of its pictures; see `refine`.
KERNELS_MEANT_FOR = 500


class Panels(NamedTuple):
    """The four steps of Figure 2."""

    face: np.ndarray  # (a) bool (H, W): full face f
    residual: np.ndarray  # (b) bool (H, W): initial ρ, Eq. 1
    components: np.ndarray  # (c) int64 (H, W): components of the refined ρ from 2, 0 elsewhere
    labels: np.ndarray  # (d) uint8 (H, W): y, Eq. 2


def outline() -> np.ndarray:
    """float64 (64, 3): 33 points of the jaw line, then 31 of the forehead, in `TEMPLATE` coordinates."""
    jaw = smooth(TEMPLATE[:17], steps=2)
    hairline = forehead(TEMPLATE, FOREHEAD_HEIGHT, count=33)[1:-1]  # its ends are jaw points 16 and 0
    return np.concatenate([jaw, hairline])


def estimate_pose(landmarks: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose (R, t, K) of the generic face behind 68 landmarks: float64 (3, 3), (3,), (3, 3).

    landmarks: float (68, 2), pixels (x, y). size: (height, width) of the picture. Camera axes are OpenCV's (z away
    from the camera); the focal length is `FOCAL_LENGTH` times the longer side. EPnP, then iterative refinement, on
    the points that move little with expression; this replaces FacePoseNet. UserError for landmarks that are not finite
    (no face was found: leave that image out) or that fit no face in front of the camera.
    Source: Masi et al. 2020, Sec. 3.1, K[R | t].
    """
    if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
        raise UserError(
            f"Expected 68 finite landmarks (x, y), found shape {landmarks.shape} with "
            f"{np.count_nonzero(~np.isfinite(landmarks))} missing values: leave out pictures without a face."
        )
    height, width = size
    focal = FOCAL_LENGTH * max(size)
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    points, pixels = _to_camera_axes(TEMPLATE[RIGID]), landmarks[RIGID].astype(float)
    found, turn, shift = cv2.solvePnP(points, pixels, camera, None, flags=cv2.SOLVEPNP_EPNP)
    if found:
        found, turn, shift = cv2.solvePnP(points, pixels, camera, None, turn, shift, True, cv2.SOLVEPNP_ITERATIVE)
    if not found or not np.isfinite(shift).all() or shift[2, 0] <= 0:
        raise UserError(
            "Expected landmarks of a face in front of the camera, found none that fits: check the order of the points."
        )
    return cv2.Rodrigues(turn)[0], shift[:, 0], camera


def project(points: np.ndarray, pose: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """float64 (n, 2): pixels (x, y) of points (n, 3) in `TEMPLATE` coordinates under a pose (R, t, K)."""
    rotation, shift, camera = pose
    seen = (_to_camera_axes(points) @ rotation.T + shift) @ camera.T
    return seen[:, :2] / seen[:, 2:]


def contour_points(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float64 (64, 2): the outline of the full face in pixels (x, y); arguments as in `estimate_pose`."""
    return project(outline(), estimate_pose(landmarks, size))


def face_contour(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the full face f, jaw to forehead, as the filled convex hull of the projected outline.

    Arguments and errors as in `estimate_pose`. Source: Masi et al. 2020, Sec. 3.1.
    """
    # far outside the picture is as good as 2**15 − 1, and OpenCV draws no further
    points = np.clip(contour_points(landmarks, size), -(2**15), 2**15 - 1)
    mask = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return mask.astype(bool)


def residual(face: np.ndarray, unoccluded: np.ndarray) -> np.ndarray:
    """bool (H, W): ρ = [f − f_occ]₊, what the teacher left out of the full face (Eq. 1); both masks bool (H, W)."""
    return face & ~unoccluded


def refine(rho: np.ndarray, *, size: int) -> np.ndarray:
    """bool (H, W): ρ eroded twice by a rectangle of 25×7 and dilated once by an ellipse of 45×45.

    Dilation is the stronger one: too much occlusion is preferred to too little. The kernels are meant for
    pictures of about 500 pixels (an inference: the paper does not say; at its 128 pixels nothing narrower
    than 49 pixels would survive) and are scaled by `size` / 500 to odd sizes, `size` being the picture's
    longer side. 25 is taken as the width, as in OpenCV's (width, height). Source: Masi et al. 2020, Sec. 3.1.
    """

    def odd(side: int) -> int:
        return 2 * round((side * size / KERNELS_MEANT_FOR - 1) / 2) + 1

    # twice 25×7 is once 49×13, which scales down with less rounding
    rectangle = cv2.getStructuringElement(cv2.MORPH_RECT, (odd(49), odd(13)))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd(45), odd(45)))
    return cv2.dilate(cv2.erode(rho.astype(np.uint8), rectangle), ellipse).astype(bool)


def pseudo_labels(
    face: np.ndarray, unoccluded: np.ndarray, *, morphology: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Labels y, uint8 (H, W): 0 background, 1 face, 2 occlusion; and blobs C, int64 (H, W): 0, 1, ≥ 2 (Eq. 2).

    face: bool (H, W), full face f. unoccluded: bool (H, W), the teacher's mask f_occ, or an annotated one
    together with morphology=False as for COFW (Sec. 4.1). The refined occlusion overrules the teacher's face
    and is cut at the border of f, since Eq. 1 defines it inside (the paper does not say whether it is cut
    again after the dilation). Pixels that the erosion removed are background, like all that are neither
    the teacher's face nor occlusion.
    """
    rho = residual(face, unoccluded)
    if morphology:
        rho = refine(rho, size=max(rho.shape)) & face
    _, components = cv2.connectedComponents(rho.astype(np.uint8), connectivity=8)
    blobs = np.where(rho, components + 1, unoccluded).astype(np.int64)
    return np.minimum(blobs, OCCLUSION).astype(np.uint8), blobs


def panels(landmarks: np.ndarray, unoccluded: np.ndarray) -> Panels:
    """Figure 2 for one picture; landmarks as in `estimate_pose`, unoccluded: bool (H, W), the teacher's mask."""
    face = face_contour(landmarks, unoccluded.shape)
    labels, blobs = pseudo_labels(face, unoccluded)
    return Panels(face, residual(face, unoccluded), np.where(blobs >= OCCLUSION, blobs, 0), labels)


def _to_camera_axes(points: np.ndarray) -> np.ndarray:
    """The template's z points to the camera, OpenCV's away from it."""
    return points * (1.0, 1.0, -1.0)
