import numpy as np
import pytest

from reprolib.datasets import occluders
from reprolib.datasets.facesynth import FaceOptions, render
from reprolib.datasets.segmentation_transfer import face_contour

SIZE = 160


@pytest.fixture(scope="module")
def bare():
    """A rendered face without occluder: image, landmarks, whole face."""
    options = FaceOptions(occluder=0.0, glasses=0.0, yaw=(-5, 5), low_light=0.0, side_light=0.0)
    face = render(3, 1, size=SIZE, options=options)
    return face.image, face.landmarks, face_contour(face.landmarks, (SIZE, SIZE))


@pytest.mark.parametrize("kind", occluders.KINDS)
def test_an_occluder_hides_part_of_the_face_and_changes_nothing_far_from_it(bare, kind):
    image, points, face = bare
    before = image.copy()
    pasted, mask = occluders.paste(image, points, face, np.random.default_rng(5), kind=kind)
    np.testing.assert_array_equal(image, before)  # the given image is not written to
    assert pasted.dtype == np.uint8 and mask.dtype == bool
    assert occluders.COVERED[0] <= mask[face].mean() <= occluders.COVERED[1]
    changed = (pasted != image).any(axis=-1)
    assert changed[mask].mean() > 0.9
    assert (changed & ~mask).any()  # shadow and soft edge
    ys, xs = np.nonzero(mask)
    far_y, far_x = (np.abs(np.arange(SIZE)[:, None] - v[None]).min(axis=1) for v in (np.unique(ys), np.unique(xs)))
    reach = 0.25 * SIZE
    assert not changed[far_y > reach].any() and not changed[:, far_x > reach].any()


def test_the_same_random_numbers_give_the_same_occluder_and_others_another(bare):
    one, again, other = (occluders.paste(*bare, np.random.default_rng(seed)) for seed in (8, 8, 9))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[1] != other[1]).any()


def test_the_edge_is_a_ramp_and_not_a_step(bare):
    _, points, face = bare
    flat = np.full((SIZE, SIZE, 3), 200, np.uint8)
    pasted, mask = occluders.paste(flat, points, face, np.random.default_rng(0), kind="sunglasses")
    eye = points[36:42].mean(axis=0).astype(int)
    column = pasted[:, eye[0]].mean(axis=-1)
    bottom = np.nonzero(mask[:, eye[0]])[0].max()
    assert np.abs(np.diff(column[bottom - 3 : bottom + 4])).max() < 0.8 * np.ptp(column)
    assert column.min() < 100


def test_an_occluder_in_the_dark_is_darker(bare):
    image, points, face = bare
    dark = (image * 0.3).astype(np.uint8)
    bright_one, dark_one = (
        occluders.paste(i, points, face, np.random.default_rng(4), kind="hand") for i in (image, dark)
    )
    both = bright_one[1] & dark_one[1]
    assert dark_one[0][both].mean() < 0.6 * bright_one[0][both].mean()


def test_light_from_one_side_also_falls_on_the_occluder(bare):
    face = bare[2]
    ramp = np.repeat(np.linspace(60, 220, SIZE)[None, :, None], SIZE, axis=0).repeat(3, axis=2).astype(np.uint8)
    pasted = np.full_like(ramp, 120)
    everywhere = np.ones((SIZE, SIZE), bool)
    lit = occluders._in_light(ramp, pasted, everywhere, face)
    assert (np.diff(lit[80, 40:120].mean(axis=-1)) >= 0).all()
    assert lit[80, 120].mean() > lit[80, 40].mean() + 40


def test_an_occluder_that_cannot_hide_enough_leaves_the_image_as_it_is(bare):
    image, points, _ = bare
    nowhere = np.zeros((SIZE, SIZE), bool)
    nowhere[0, 0] = True
    pasted, mask = occluders.paste(image, points, nowhere, np.random.default_rng(1), kind="sunglasses")
    np.testing.assert_array_equal(pasted, image)
    assert not mask.any()
