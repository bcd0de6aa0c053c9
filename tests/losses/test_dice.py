import pytest
import segmentation_models_pytorch as smp
import torch

from reprolib.losses.dice import dice_loss


def test_by_hand():
    p = torch.tensor([[0.8, 0.4], [0.2, 0.6]])  # two classes, two pixels
    labels = torch.tensor([[[0, 1]]])
    expected = 1 - (2 * 0.8 / (1.2 + 1) + 2 * 0.6 / (0.8 + 1)) / 2
    assert dice_loss(p.log().view(1, 2, 1, 2), labels).item() == pytest.approx(expected)


def test_equal_to_segmentation_models_pytorch():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 6, 5), torch.randint(0, 3, (3, 6, 5))  # class 3 is absent
    expected = smp.losses.DiceLoss("multiclass")(logits, labels) * 4 / 3  # theirs counts absent classes as 0
    torch.testing.assert_close(dice_loss(logits, labels), expected)


def test_perfect_prediction_costs_nothing():
    labels = torch.tensor([[[0, 1], [2, 1]]])
    logits = 100.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert dice_loss(logits, labels).item() == pytest.approx(0, abs=1e-6)


def test_ignored_pixels_have_no_influence():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 4, 4))
    labels[:, :, 2:] = 255
    value = dice_loss(logits, labels)
    torch.testing.assert_close(value, dice_loss(logits[..., :2], labels[..., :2]))
    value.backward()
    assert (logits.grad[..., 2:] == 0).all()


def test_nothing_but_ignored_pixels_costs_nothing():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = dice_loss(logits, torch.full((1, 2, 2), 255))
    assert value == 0
    value.backward()
    assert logits.grad.isfinite().all()


def test_gradient_in_float64():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 3, 3))
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: dice_loss(z, labels), logits)
