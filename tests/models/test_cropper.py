"""The baseline cropper: centroids of the rough mask in the frame, or the frame's middle."""

import pytest
import torch
from torch.nn import functional as F

from reprolib.models.cropper import theta_of_hard_labels, theta_of_probabilities
from reprolib.models.spatial_transformer import centres_of_theta

FRAME = (40, 60)
CROPPERS = [theta_of_probabilities, theta_of_hard_labels]


def centres(cropper, probabilities, frame=FRAME):
    return centres_of_theta(cropper(probabilities, frame=frame, patch=9), frame=frame)


def one_hot(labels):
    return F.one_hot(labels, 9).movedim(-1, 1).float()


def labelled(*pixels, size=(40, 60)):
    """A label map with single pixels (class, x, y)."""
    labels = torch.zeros(1, *size, dtype=torch.long)
    for number, x, y in pixels:
        labels[0, y, x] = number
    return labels


@pytest.mark.parametrize("cropper", CROPPERS)
def test_a_part_is_where_its_pixels_are_floored(cropper):
    found = centres(cropper, one_hot(labelled((1, 10, 20), (1, 13, 20), (5, 30, 7))))
    assert found[0, 0].tolist() == [11, 20]
    assert found[0, 4].tolist() == [30, 7]


@pytest.mark.parametrize("cropper", CROPPERS)
def test_the_mouth_is_the_mean_of_three_centroids(cropper):
    found = centres(cropper, one_hot(labelled((6, 20, 28), (7, 20, 30), (8, 20, 32), (8, 20, 34))))
    assert found[0, 5].tolist() == [20, 30]  # (28 + 30 + 33) / 3


@pytest.mark.parametrize("cropper", CROPPERS)
def test_a_missing_part_is_about_the_middle_of_the_frame(cropper):
    found = centres(cropper, one_hot(labelled((1, 5, 5))))
    assert found[0, 1:].tolist() == [[29, 19]] * 5


@pytest.mark.parametrize("cropper", CROPPERS)
@pytest.mark.parametrize("frame", [(40, 60), (17, 23), (64, 64)])
def test_centroids_are_those_of_the_mask_scaled_to_the_frame(cropper, frame):
    labels = torch.randint(0, 9, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    large = F.interpolate(one_hot(labels), size=frame, mode="nearest")
    assert torch.equal(centres(cropper, one_hot(labels), frame), centres(cropper, large, frame))


def test_probabilities_weigh_pixels_and_hard_labels_do_not():
    probabilities = one_hot(labelled((1, 10, 20)))
    probabilities[0, :2, 20, 30] = torch.tensor([0.6, 0.4])
    assert centres(theta_of_probabilities, probabilities)[0, 0].tolist() == [15, 20]  # 0.4 / 1.4 of the way
    assert centres(theta_of_hard_labels, probabilities)[0, 0].tolist() == [10, 20]


def test_eight_bits_lose_what_is_fainter():
    probabilities = one_hot(labelled((1, 10, 20)))
    probabilities[0, 1] += 0.9 / 255
    assert centres(theta_of_probabilities, probabilities.clamp(max=1))[0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("cropper", CROPPERS)
def test_no_gradient_passes(cropper):
    probabilities = one_hot(labelled((1, 10, 20))).requires_grad_()
    assert not cropper(probabilities, frame=FRAME, patch=9).requires_grad
