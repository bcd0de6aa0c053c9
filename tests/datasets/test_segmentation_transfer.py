import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.datasets.facesynth.geometry import TEMPLATE, Pose
from reprolib.datasets.segmentation_transfer import (
    FOCAL_LENGTH,
    contour_points,
    estimate_pose,
    face_contour,
    outline,
    panels,
    project,
    pseudo_labels,
    refine,
    residual,
)
from reprolib.errors import UserError

SIZE = (200, 160)


def pose_of(yaw=0.0, pitch=0.0, roll=0.0, *, x=0.0, y=0.0, distance=20.0):
    """(R, t, K) of a head in OpenCV's axes."""
    flip = np.diag([1.0, 1.0, -1.0])
    focal = FOCAL_LENGTH * max(SIZE)
    camera = np.array([[focal, 0, SIZE[1] / 2], [0, focal, SIZE[0] / 2], [0, 0, 1]])
    return flip @ Pose(yaw, pitch, roll).matrix() @ flip, np.array([x, y, distance]), camera


def landmarks_of(*args, **kwargs):
    return project(TEMPLATE, pose_of(*args, **kwargs)).astype(np.float32)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    yaw=st.floats(-45, 45),
    pitch=st.floats(-25, 25),
    roll=st.floats(-30, 30),
    x=st.floats(-0.5, 0.5),
    distance=st.floats(12, 40),
)
def test_pose_of_a_projected_template_is_recovered(yaw, pitch, roll, x, distance):
    rotation, shift, camera = pose_of(yaw, pitch, roll, x=x, distance=distance)
    found = estimate_pose(project(TEMPLATE, (rotation, shift, camera)), SIZE)
    np.testing.assert_allclose(found[0], rotation, atol=1e-3)
    np.testing.assert_allclose(found[1], shift, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found[2], camera)


def test_outline_is_33_points_of_the_jaw_and_31_of_the_forehead():
    points = outline()
    assert points.shape == (64, 3)
    np.testing.assert_allclose(points[:33:2], TEMPLATE[:17])
    assert (points[33:, 1] < TEMPLATE[0, 1]).all()  # above the temples
    assert points[33:, 1].min() < TEMPLATE[17:27, 1].min() - 0.5  # and well above the brows
    np.testing.assert_allclose(points[:33, 0], -points[:33, 0][::-1], atol=1e-12)
    np.testing.assert_allclose(points[33:, 0], -points[33:, 0][::-1], atol=1e-9)


@pytest.mark.parametrize("pose", [(0, 0, 0), (30, 0, 0), (-30, 10, 15), (0, -20, -20)])
def test_full_face_reaches_from_chin_to_forehead(pose):
    landmarks = landmarks_of(*pose)
    face = face_contour(landmarks, SIZE)
    assert face.shape == SIZE
    assert face.dtype == bool
    inside = np.rint(landmarks[[8, 19, 24, 36, 45, 48, 54]]).astype(int)
    assert face[inside[:, 1], inside[:, 0]].all()
    chin, bridge, brows = landmarks[8], landmarks[27], landmarks[[19, 24]].mean(0)
    above, below = brows + 0.3 * (bridge - chin), chin + 0.1 * (chin - bridge)
    for (x, y), expected in ((above, True), (below, False)):
        assert face[round(float(y)), round(float(x))] == expected


def test_full_face_is_one_convex_piece():
    face = face_contour(landmarks_of(25, 5, 5), SIZE)
    (border,), _ = cv2.findContours(face.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(border)
    assert cv2.contourArea(border) == pytest.approx(cv2.contourArea(hull), rel=0.02)


def test_contour_may_leave_the_picture():
    landmarks = landmarks_of(distance=8.0)  # closer than the picture is wide
    points = contour_points(landmarks, SIZE)
    assert points[:, 1].min() < 0
    assert face_contour(landmarks, SIZE)[SIZE[0] // 2, SIZE[1] // 2]


def test_faces_without_landmarks_are_refused():
    with pytest.raises(UserError, match="136 missing values"):
        face_contour(np.full((68, 2), np.nan, np.float32), SIZE)
    with pytest.raises(UserError, match=r"\(5, 2\)"):
        estimate_pose(np.zeros((5, 2), np.float32), SIZE)


def test_residual_is_the_truncated_difference_of_eq_1():
    face = np.array([[0, 0, 1, 1]], bool)
    teacher = np.array([[0, 1, 0, 1]], bool)
    assert residual(face, teacher).tolist() == [[False, False, True, False]]


def disk(shape, centre, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def test_refinement_at_500_pixels_is_the_papers():
    rho = np.random.default_rng(0).random((500, 500)) < 0.5
    rho = cv2.GaussianBlur(rho.astype(np.float32), (0, 0), 25) > 0.5
    rectangle = cv2.getStructuringElement(cv2.MORPH_RECT, (25, 7))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (45, 45))
    eroded = cv2.erode(rho.astype(np.uint8), rectangle, iterations=2)
    expected = cv2.dilate(eroded, ellipse).astype(bool)
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(refine(rho, size=500), expected)


@pytest.mark.parametrize("size", [128, 250, 500])
def test_refinement_removes_thin_and_grows_thick_residuals_at_every_size(size):
    thin = np.zeros((size, size), bool)
    thin[:, size // 2 : size // 2 + size // 12] = True  # 42 of 500 pixels wide
    assert not refine(thin, size=size).any()
    thick = disk((size, size), (size / 2, size / 2), size / 6)
    grown = refine(thick, size=size)
    assert grown[:, size // 2].sum() > thick[:, size // 2].sum()


@pytest.mark.parametrize("size", [128, 250])
def test_refinement_scales_with_the_picture(size):
    large = disk((500, 500), (250, 250), 90)
    small = disk((size, size), (size / 2, size / 2), 90 * size / 500)
    share = refine(small, size=size).mean()
    assert share == pytest.approx(refine(large, size=500).mean(), rel=0.05)


def test_pseudo_labels_without_morphology_are_eq_2():
    face = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    teacher = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]], bool)
    labels, blobs = pseudo_labels(face, teacher, morphology=False)
    assert labels.dtype == np.uint8
    assert blobs.dtype == np.int64
    # the teacher's face outside of f stays face
    assert labels.tolist() == [[1, 1, 2, 1, 2], [2, 1, 1, 1, 2], [0, 0, 0, 1, 0]]
    assert np.array_equal(np.minimum(blobs, 2), labels)
    assert sorted([blobs[0, 2], blobs[0, 4], blobs[1, 0]]) == [2, 3, 4]
    assert blobs[1, 4] == blobs[0, 4]


def test_a_perfect_teacher_leaves_no_occlusion():
    face = disk((128, 128), (64, 64), 50)
    labels, blobs = pseudo_labels(face, face)
    assert np.array_equal(labels, face.astype(np.uint8))
    assert np.array_equal(blobs, face.astype(np.int64))


def test_occlusion_overrules_the_teacher_around_it_but_stays_in_the_face():
    face = disk((500, 500), (250, 250), 200)
    hand = disk((500, 500), (420, 250), 80)
    labels, _ = pseudo_labels(face, face & ~hand)
    assert (labels[face & disk((500, 500), (390, 250), 40)] == 2).all()
    assert ((labels == 2) & ~hand).any()
    assert ((labels == 2) <= face).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), morphology=st.booleans())
def test_blobs_and_labels_agree(seed, morphology):
    rng = np.random.default_rng(seed)
    face = disk((64, 64), (32, 32), 28)
    teacher = face & (cv2.GaussianBlur(rng.random((64, 64)).astype(np.float32), (0, 0), 4) > 0.5)
    labels, blobs = pseudo_labels(face, teacher, morphology=morphology)
    assert np.array_equal(labels, np.minimum(blobs, 2))
    found = np.unique(blobs[blobs >= 2])
    assert found.tolist() == list(range(2, 2 + len(found)))
    count, _ = cv2.connectedComponents((labels == 2).astype(np.uint8), connectivity=8)
    assert len(found) == count - 1


def test_panels_are_the_steps_of_figure_2():
    landmarks = landmarks_of(10)
    face = face_contour(landmarks, SIZE)
    nose = landmarks[30]
    teacher = face & ~disk(SIZE, nose, 25)
    found = panels(landmarks, teacher)
    assert np.array_equal(found.face, face)
    assert np.array_equal(found.residual, face & ~teacher)
    assert np.unique(found.components).tolist() == [0, 2]
    assert np.array_equal(found.components == 2, found.labels == 2)
    assert found.labels[round(float(nose[1])), round(float(nose[0]))] == 2
