import pytest
import segmentation_models_pytorch as smp
import torch

from reprolib.losses.iou_loss import iou_loss, label_masks, overlap_and_union


def test_by_hand():
    p = torch.tensor([[0.8, 0.4], [0.2, 0.6]])  # two classes, two pixels
    labels = torch.tensor([[[0, 1]]])
    expected = 1 - (0.8 / (0.8 + 0.4 + 1 - 0.8) + 0.6 / (0.2 + 0.6 + 1 - 0.6)) / 2
    assert iou_loss(p.log().view(1, 2, 1, 2), labels).item() == pytest.approx(expected)


def test_equation_3_in_a_literal_loop():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 3, 2, 3, dtype=torch.float64), torch.randint(0, 3, (2, 2, 3))
    p, total = scores.softmax(1), 0.0
    for t in range(3):
        above = below = 0.0
        for n in range(2):
            for y in range(2):
                for x in range(3):
                    pr, gt = p[n, t, y, x].item(), float(labels[n, y, x] == t)
                    above += pr * gt
                    below += pr + gt - pr * gt
        total += above / below
    assert iou_loss(scores, labels).item() == pytest.approx(1 - total / 3, rel=1e-12)


def test_equal_to_segmentation_models_pytorch_when_every_class_is_there():
    torch.manual_seed(0)
    scores, labels = torch.randn(3, 4, 6, 5), torch.arange(90).view(3, 6, 5) % 4
    torch.testing.assert_close(iou_loss(scores, labels), smp.losses.JaccardLoss("multiclass")(scores, labels))


def test_a_class_without_labels_costs_its_share_and_gives_no_gradient():
    torch.manual_seed(0)
    scores = torch.randn(1, 2, 3, 3)
    labels = torch.zeros(1, 3, 3, dtype=torch.long)
    masks = label_masks(labels, classes=2)
    overlap, union = overlap_and_union(scores.softmax(1).flatten(2), *masks)
    assert iou_loss(scores, labels).item() == pytest.approx(1 - (overlap / union)[0, 0].item() / 2)
    third = torch.full((1, 1, 3, 3), -20.0, requires_grad=True)
    iou_loss(torch.cat([scores, third], 1), labels).backward()
    assert third.grad.abs().max() < 1e-7


def test_perfect_prediction_costs_nothing():
    labels = torch.tensor([[[0, 1], [2, 1]]])
    scores = 100.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert iou_loss(scores, labels).item() == pytest.approx(0, abs=1e-6)


def test_ignored_pixels_have_no_influence():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 4, 4))
    labels[:, :, 2:] = 255
    value = iou_loss(scores, labels)
    torch.testing.assert_close(value, iou_loss(scores[..., :2], labels[..., :2]))
    value.backward()
    assert (scores.grad[..., 2:] == 0).all()


def test_nothing_but_ignored_pixels_costs_nothing():
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = iou_loss(scores, torch.full((1, 2, 2), 255, dtype=torch.uint8))
    assert value == 0
    value.backward()
    assert scores.grad.isfinite().all()


def test_clips_and_their_frames_cost_the_same():
    torch.manual_seed(0)
    clips, labels = torch.randn(2, 3, 4, 5, 5), torch.randint(0, 3, (2, 4, 5, 5))  # (N, C, T, H, W)
    frames = clips.movedim(2, 1).flatten(0, 1)
    torch.testing.assert_close(iou_loss(clips, labels), iou_loss(frames, labels.flatten(0, 1)))


def test_gradient_in_float64():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 3, 3))
    scores = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: iou_loss(z, labels), scores)
