import numpy as np
import pytest

from reprolib.datasets import landmark_masks
from reprolib.datasets.facesynth import video
from reprolib.datasets.landmark_masks import BACKGROUND, EYES, INNER_MOUTH, OUTER_MOUTH, SKIN, landmark_mask
from reprolib.errors import UserError

SHAPE = (128, 128)


@pytest.fixture(scope="module")
def face():
    return video(3, 1, frames=1, size=128).landmarks[0]


def test_what_lies_between_landmarks_belongs_to_their_part(face):
    mask = landmark_mask(face, SHAPE)

    def at(*points):
        x, y = np.round(face[list(points)].mean(axis=0)).astype(int)
        return mask[y, x]

    assert at(37, 38, 40, 41) == EYES
    assert at(43, 44, 46, 47) == EYES
    assert at(51, 62) == OUTER_MOUTH
    assert at(57, 66) == OUTER_MOUTH
    assert at(30) == SKIN  # the nose
    assert at(2, 31) == SKIN
    assert mask[0, 0] == BACKGROUND
    assert set(np.unique(mask)) <= set(range(5))


def test_no_forehead_is_annotated(face):
    mask = landmark_mask(face, SHAPE)
    highest = face[17:27, 1].min()
    assert not mask[: int(highest) - 3].any()


def test_a_closed_mouth_has_no_inside(face):
    closed = face.copy()
    closed[65:68] = closed[[63, 62, 61]]  # the lower contour on the upper
    assert not (landmark_mask(closed, SHAPE) == INNER_MOUTH).any()


def test_an_arc_is_a_natural_spline_through_its_points_and_a_line_is_a_line():
    arc = np.array([(0, 0), (1, 2), (3, 3), (5, 1)], float)
    curve = landmark_masks.spline(arc)
    np.testing.assert_allclose(curve[:: landmark_masks.STEPS], arc)
    bend = np.diff(curve[:3], 2, axis=0)
    assert np.abs(bend).max() < np.abs(np.diff(curve[10:13], 2, axis=0)).max()  # no curvature at the ends
    line = landmark_masks.spline(arc[:2])
    np.testing.assert_allclose(np.diff(line, 2, axis=0), 0, atol=1e-12)


def test_a_square_of_skin_has_the_area_of_the_square():
    """All landmarks of the jaw on three sides, the brows on the fourth, everything else in one point."""
    points = np.full((68, 2), (32.0, 32.0))
    points[0:5] = [(10, y) for y in np.linspace(10, 50, 5)]
    points[4:13] = [(x, 50) for x in np.linspace(10, 50, 9)]
    points[12:17] = [(50, y) for y in np.linspace(50, 10, 5)]
    points[17:27] = [(x, 10) for x in np.linspace(10, 50, 10)]
    mask = landmark_mask(points, (64, 64))
    assert (mask == SKIN).sum() == pytest.approx(40 * 40, rel=0.02)  # the jaw's spline bulges at the chin's corners
    assert not (mask > SKIN).any()


def test_a_pixel_is_inside_if_its_centre_is():
    triangle = np.array([(1.5, 0.5), (4.5, 0.5), (1.5, 3.5)])
    expected = np.zeros((4, 6), bool)
    expected[1, 2:4] = expected[2, 2] = True  # the centre (4, 1) lies on the slanting edge, which is outside
    np.testing.assert_array_equal(landmark_masks.inside(triangle, (4, 6)), expected)


def test_what_hardly_opens_has_no_pixels():
    between_rows = np.array([(2, 5.3), (18, 5.2), (18, 5.4)])  # 16 pixels wide, 1.6 square pixels
    assert not landmark_masks.inside(between_rows, (20, 20)).any()


def test_an_outline_may_leave_the_picture():
    square = np.array([(-3, -3), (2.5, -3), (2.5, 9), (-3, 9)], float)
    np.testing.assert_array_equal(landmark_masks.inside(square, (4, 5)), np.tile(np.arange(5) < 3, (4, 1)))


def test_pixels_are_as_many_as_the_area_of_the_outline(face):
    eye = np.concatenate([landmark_masks.spline(face[list(arc)])[:-1] for arc in landmark_masks.OUTLINES["eye_l"][1]])
    (x, y), (next_x, next_y) = eye.T, np.roll(eye, -1, axis=0).T
    area = abs((x * next_y - next_x * y).sum()) / 2
    shifts = np.random.default_rng(0).random((200, 2))
    assert np.mean([landmark_masks.inside(eye + shift, SHAPE).sum() for shift in shifts]) == pytest.approx(
        area, rel=0.02
    )


def test_a_forehead_is_added_above_the_brows_and_nothing_else_changes(face):
    without, mask = landmark_mask(face, SHAPE), landmark_mask(face, SHAPE, forehead=True)
    added = without != mask
    assert (without[added] == BACKGROUND).all()
    assert (mask[added] == SKIN).all()
    middle = (face[21] + face[22]) / 2
    x, y = np.round(middle + 0.9 * (middle - face[33])).astype(int)
    assert added[y, x]
    x, y = np.round(middle + 1.1 * (middle - face[33])).astype(int)
    assert not added[y, x]


@pytest.mark.parametrize("count", [5, 67, 70])
def test_another_number_of_landmarks_is_one_sentence(count):
    with pytest.raises(UserError, match=rf"68 landmarks .* \({count}, 2\)"):
        landmark_mask(np.zeros((count, 2)), SHAPE)


def test_landmarks_that_are_not_numbers_are_one_sentence(face):
    broken = face.copy()
    broken[[3, 8]] = np.nan
    with pytest.raises(UserError, match="found 2 that are not"):
        landmark_mask(broken, SHAPE)


def test_a_frame_without_landmarks_takes_the_nearest_that_has_some(face):
    lost = np.full_like(face, np.nan)
    track = np.stack([lost, face, lost, lost, face + 5])
    masks = landmark_masks.masks_of_track(track, SHAPE)
    here, there = landmark_mask(face, SHAPE), landmark_mask(face + 5, SHAPE)
    for mask, expected in zip(masks, (here, here, here, there, there), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_a_track_without_any_landmark_is_background():
    masks = landmark_masks.masks_of_track(np.full((3, 68, 2), np.nan), (8, 9))
    assert masks.shape == (3, 8, 9)
    assert not masks.any()
