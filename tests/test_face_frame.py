"""Geometry of faces: the square of CelebA-HQ, its windows, and sampling."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.face_frame import FEATURES, REGIONS, Frame, Window, cut, frame_of, to_window, whole


def face(centre=(256.0, 256.0), half=256.0, angle=0.0):
    """68 landmarks whose frame has this centre, half side and tilt (degrees): eyes and corners of the mouth alone."""
    turn = np.array([[np.cos(a := np.radians(angle)), -np.sin(a)], [np.sin(a), np.cos(a)]])
    points = np.zeros((68, 2))
    down = 1 / 1.8  # from the eyes to the mouth, in halves
    eyes = -0.1 * down
    points[36:42], points[42:48] = (-0.25, eyes), (0.25, eyes)
    points[48], points[54] = (-0.2, eyes + down), (0.2, eyes + down)
    return points @ turn.T * half + centre - 0.5


@settings(deadline=None)
@given(
    x=st.floats(-500, 5000), y=st.floats(-500, 5000), half=st.floats(10, 4000), angle=st.floats(-80, 80),
)  # fmt: skip
def test_the_frame_follows_place_size_and_tilt_of_a_face(x, y, half, angle):
    found = frame_of(face((x, y), half, angle))
    np.testing.assert_allclose(found.centre, (x, y), atol=1e-3 * half)
    assert found.half == pytest.approx(half, rel=1e-3)
    assert np.degrees(np.arctan2(found.axis[1], found.axis[0])) == pytest.approx(angle, abs=0.1)


def test_the_window_of_a_whole_picture_is_the_picture():
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    matrix = to_window(whole(64, 64), Window(down=0, half=1, size=64))
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_array_equal(cut(picture, matrix, 64), picture)


def test_a_turned_frame_shows_the_picture_turned():
    picture = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    frame = Frame(np.array([20.0, 20.0]), np.array([0.0, 20.0]))  # its right side is the picture's lower side
    found = cut(picture, to_window(frame, Window(down=0, half=1, size=40)), 40)
    np.testing.assert_array_equal(found, np.rot90(picture))


@pytest.mark.parametrize("shrink", [2, 3, 8])
def test_a_large_picture_is_averaged_not_skipped_through(shrink):
    picture = np.random.default_rng(1).integers(0, 255, (32 * shrink, 32 * shrink), dtype=np.uint8)
    found = cut(picture, to_window(whole(*picture.shape), Window(down=0, half=1, size=32)), 32)
    mean = picture.reshape(32, shrink, 32, shrink).mean((1, 3))
    assert np.abs(found - mean).max() <= 1


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.02, 0.45), x=st.floats(0.3, 0.7), y=st.floats(0.3, 0.7))
def test_a_part_stays_on_its_place_however_much_the_picture_shrinks(scale, x, y):
    side = 600
    picture = np.zeros((side, side), np.uint8)
    cv2.circle(picture, (round(x * side), round(y * side)), 90, 255, -1)
    size = max(8, round(scale * side))
    found = cut(picture, to_window(whole(side, side), Window(down=0, half=1, size=size)), size).astype(float)
    rows, columns = np.mgrid[:size, :size] + 0.5
    for middle, place in ((columns, round(x * side) + 0.5), (rows, round(y * side) + 0.5)):
        assert (middle * found).sum() / found.sum() * side / size == pytest.approx(place, abs=0.03 * side / size + 0.3)


def test_beyond_the_picture_it_is_black():
    matrix = to_window(Frame(np.array([-500.0, 20.0]), np.array([20.0, 0.0])), REGIONS)
    assert not cut(np.full((40, 40, 3), 255, np.uint8), matrix, REGIONS.size).any()
    tiny = to_window(Frame(np.array([-5e4, 20.0]), np.array([2e4, 0.0])), FEATURES)
    assert not cut(np.full((40, 40, 3), 255, np.uint8), tiny, FEATURES.size).any()
