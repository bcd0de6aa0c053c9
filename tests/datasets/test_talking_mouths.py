import numpy as np
import pytest

from reprolib.datasets import talking_mouths


def test_a_crop_box_is_twice_as_wide_as_high_and_holds_tall_mouths_too():
    points = np.zeros((68, 2), np.float32)
    points[48:] = (10, 20)
    points[49] = (70, 30)  # 60 × 10: the width decides
    np.testing.assert_allclose(talking_mouths.crop_box(points), (-9.5, 0.5, 100, 50), atol=1e-5)
    points[48:] = (10, 0)
    points[49] = (20, 60)  # 10 × 60: the height does
    np.testing.assert_allclose(talking_mouths.crop_box(points)[2:], (200, 100))


@pytest.mark.parametrize("scale", (1, 8))
def test_a_crop_shows_what_lies_between_the_landmarks_at_any_size_of_face(scale):
    """A white square on the lips' box is found where the landmarks say it is."""
    photo = np.zeros((100 * scale, 200 * scale, 3), np.uint8)
    photo[40 * scale : 60 * scale, 80 * scale : 120 * scale] = 255
    points = np.zeros((68, 2), np.float32)
    points[48:] = (100 * scale - 0.5, 50 * scale - 0.5)
    points[48], points[54] = (80 * scale - 0.5, 40 * scale - 0.5), (120 * scale - 0.5, 60 * scale - 0.5)
    crop, moved = talking_mouths.mouth_crop(photo, points, size=(40, 80))
    ys, xs = np.nonzero(crop[..., 0] > 127)
    edges = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]) - 0.5
    np.testing.assert_allclose(edges, moved[[48, 54]], atol=1)
    np.testing.assert_allclose(moved[54] - moved[48], (48, 24), rtol=1e-3)


def test_beyond_the_edge_the_last_pixels_are_repeated():
    points = np.zeros((68, 2), np.float32)
    points[54] = (40, 20)  # the box begins outside of the picture
    crop, _ = talking_mouths.mouth_crop(np.full((30, 60, 3), 90, np.uint8), points)
    assert (crop == 90).all()


def test_near_embeddings_are_one_speaker():
    embeddings = np.array([(0, 0), (1, 0), (0.1, 0), (1.1, 0), (9, 9)])
    assert talking_mouths.speakers(embeddings).tolist() == [0, 1, 0, 1, 2]
    assert talking_mouths.speakers(embeddings[:1]).tolist() == [0]
