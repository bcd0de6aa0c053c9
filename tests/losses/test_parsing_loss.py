"""The losses of yin2020 against values by hand."""

import math

import pytest
import torch

from reprolib.losses.parsing_loss import coarse_loss, part_loss, part_targets, theta_loss
from reprolib.models.spatial_transformer import theta_of_centres

SIDE, PATCH = 21, 5
CENTRES = torch.tensor([[[5.0, 5.0], [15, 5], [5, 10], [15, 10], [10, 12], [10, 17]]])


def thetas(centres=CENTRES):
    return theta_of_centres(centres, frame=(SIDE, SIDE), patch=PATCH)


def outputs(theta):
    return {
        "theta": theta,
        "parts": torch.zeros(1, 5, 2, PATCH, PATCH, requires_grad=True),
        "mouth": torch.zeros(1, 4, PATCH, PATCH, requires_grad=True),
    }


def test_coarse_loss_of_even_odds_is_the_logarithm_of_nine():
    loss = coarse_loss(torch.zeros(2, 9, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long))
    assert loss.item() == pytest.approx(math.log(9))


def test_theta_loss_is_quadratic_below_one_and_linear_above():
    target = torch.zeros(1, 6, 2, 3)
    near, far = target.clone(), target.clone()
    near[0, 2, 0, 2], far[0, 2, 0, 2] = 0.5, 3.0
    assert theta_loss(near, target).item() == pytest.approx(0.125 / 36)
    assert theta_loss(far, target).item() == pytest.approx(2.5 / 36)


def test_parts_without_a_centre_do_not_count_for_theta():
    centres = CENTRES.clone()
    centres[0, 1:] = torch.nan
    theta = thetas().requires_grad_()
    loss = theta_loss(theta + 0.5, thetas(centres))
    loss.backward()
    assert loss.item() == pytest.approx(0.125)  # mean over the six entries of the part that is there
    assert theta.grad[0, 0].abs().min() > 0 and theta.grad[0, 1:].eq(0).all()


def test_theta_loss_of_a_face_without_parts_is_zero():
    theta = thetas().requires_grad_()
    loss = theta_loss(theta, thetas(torch.full_like(CENTRES, torch.nan)))
    loss.backward()
    assert loss.item() == 0 and theta.grad.eq(0).all()


def test_a_part_has_its_own_class_and_all_others_are_background():
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    labels[0, 5, 5:7] = 1
    labels[0, 6, 5] = 3  # eye 1 in the crop of brow 1
    singles, _ = part_targets(labels, thetas(), patch=PATCH, mouth_patch=PATCH)
    expected = torch.zeros(PATCH, PATCH, dtype=torch.long)
    expected[2, 2:4] = 1
    assert torch.equal(singles[0, 0], expected)
    assert singles[0, 1:].eq(0).all()


def test_the_mouth_has_three_classes():
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    labels[0, 16:19, 10] = torch.tensor([6, 7, 8])
    labels[0, 15, 10] = 5
    _, mouth = part_targets(labels, thetas(), patch=PATCH, mouth_patch=PATCH)
    assert mouth[0, :, 2].tolist() == [0, 1, 2, 3, 0]
    assert mouth.sum() == 6


def test_outside_the_frame_is_background():
    labels = torch.ones(1, SIDE, SIDE, dtype=torch.long)
    singles, _ = part_targets(labels, thetas(torch.zeros(1, 6, 2)), patch=PATCH, mouth_patch=PATCH)
    assert singles[0, 0, 2:, 2:].eq(1).all() and singles[0, 0].sum() == 9


def test_part_loss_is_the_sum_over_six_parts():
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    assert part_loss(outputs(thetas()), labels).item() == pytest.approx(5 * math.log(2) + math.log(4))


def test_part_loss_follows_the_labels_at_the_predicted_theta():
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    labels[0, 5, 5] = 1
    confident = outputs(thetas())
    parts = torch.zeros(1, 5, 2, PATCH, PATCH)
    parts[0, 0, 1, 2, 2] = 50.0  # certain of brow 1 in the middle of its crop
    moved = thetas(CENTRES + torch.tensor([1.0, 0.0]))
    there = part_loss(confident | {"parts": parts}, labels)
    elsewhere = part_loss(confident | {"parts": parts, "theta": moved}, labels)
    assert there.item() == pytest.approx(5 * math.log(2) + math.log(4) - math.log(2) / PATCH**2)
    assert (elsewhere - there).item() == pytest.approx(50 / PATCH**2, rel=1e-5)


def test_labels_give_theta_no_gradient():
    theta = thetas().requires_grad_()
    part_loss(outputs(theta), torch.zeros(1, SIDE, SIDE, dtype=torch.long)).backward()
    assert theta.grad is None
