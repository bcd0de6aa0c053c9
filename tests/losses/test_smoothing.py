import pytest
import torch

from reprolib.losses.smoothing import smoothness_penalty


def logits_of(p):
    """(1, 2, H, W) logits of the probability of class 1."""
    p = torch.tensor(p, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()])[None]


def test_by_hand():
    logits = logits_of([[0.1, 0.4], [0.3, 0.9]])
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    assert smoothness_penalty(logits, labels).item() == pytest.approx((0.3 + 0.6 + 0.2 + 0.5) / 4)


def test_steps_between_labels_are_free():
    logits = logits_of([[0.1, 0.1, 0.9, 0.9]])
    assert smoothness_penalty(logits, torch.tensor([[[0, 0, 1, 1]]])).item() == pytest.approx(0)
    assert smoothness_penalty(logits, torch.tensor([[[0, 0, 0, 1]]])).item() == pytest.approx(0.8 / 2)


def test_ignored_pixels_have_no_influence():
    logits = logits_of([[0.1, 0.2, 0.9, 0.5]])
    assert smoothness_penalty(logits, torch.tensor([[[0, 0, 255, 255]]])).item() == pytest.approx(0.1)


def test_no_two_equal_neighbours_cost_nothing():
    assert smoothness_penalty(torch.randn(1, 2, 1, 3), torch.tensor([[[0, 1, 0]]])) == 0


def test_largest_penalty_is_1():
    logits = 500.0 * torch.tensor([[[[1.0, -1.0, 1.0]], [[-1.0, 1.0, -1.0]]]])
    assert smoothness_penalty(logits, torch.zeros(1, 1, 3, dtype=torch.long)).item() == pytest.approx(1)


def test_gradient_in_float64():
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (2, 3, 3))
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: smoothness_penalty(z, labels), logits)
