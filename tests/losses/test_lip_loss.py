import math

import pytest
import torch

from reprolib.losses.dice import dice_loss, dice_sum
from reprolib.losses.lip_loss import ce_dice_loss, cross_entropy, edge_loss, label_edges, lip_loss

TWO_PIXELS = torch.tensor([[[0, 1]]])
P = torch.tensor([[0.8, 0.4], [0.2, 0.6]]).log().view(1, 2, 1, 2)  # two classes, two pixels
CROSS_ENTROPY = -(math.log(0.8) + math.log(0.6)) / 2
DICE = 2 - (2 * 0.8 / (1.2 + 1) + 2 * 0.6 / (0.8 + 1))  # the sum over both classes


def test_cross_entropy_and_dice_by_hand():
    assert cross_entropy(P, TWO_PIXELS).item() == pytest.approx(CROSS_ENTROPY)
    assert ce_dice_loss(P, TWO_PIXELS).item() == pytest.approx(CROSS_ENTROPY + DICE)
    assert ce_dice_loss(P, TWO_PIXELS, dice=dice_loss).item() == pytest.approx(CROSS_ENTROPY + DICE / 2)


def test_the_sum_of_dice_has_no_term_for_a_class_that_no_pixel_has():
    logits, labels = torch.zeros(1, 3, 1, 4), torch.tensor([[[0, 0, 1, 1]]])
    of_class = 1 - 2 * (2 / 3) / (4 / 3 + 2)
    assert dice_sum(logits, labels).item() == pytest.approx(2 * of_class)


def test_all_four_terms_by_hand():
    edge_logits = torch.tensor([[[[0.0, 1.0]]]])  # both pixels are edges
    edge = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    expected = CROSS_ENTROPY + DICE + 0.1 * math.log(2) + 0.1 * edge  # an undecided auxiliary head
    found = lip_loss(P, edge_logits, torch.zeros(1, 2, 1, 2), TWO_PIXELS)
    assert found.item() == pytest.approx(expected)


def test_each_weight_scales_its_own_term():
    edge_logits, auxiliary = torch.tensor([[[[0.3, -2.0]]]]), P.flip(1)
    none = {"dice_weight": 0.0, "auxiliary_weight": 0.0, "edge_weight": 0.0}
    terms = {
        "dice_weight": dice_sum(P, TWO_PIXELS),
        "auxiliary_weight": cross_entropy(auxiliary, TWO_PIXELS),
        "edge_weight": edge_loss(edge_logits, TWO_PIXELS),
    }
    for name, term in terms.items():
        found = lip_loss(P, edge_logits, auxiliary, TWO_PIXELS, **none | {name: 7.0})
        torch.testing.assert_close(found, cross_entropy(P, TWO_PIXELS) + 7 * term)


def test_edges_are_the_pixels_on_both_sides_of_a_boundary():
    labels = torch.tensor([[[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 3, 3], [0, 0, 0, 3, 3]]])
    expected = torch.tensor([[[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]]).bool()
    assert torch.equal(label_edges(labels), expected)


def test_one_label_has_no_edge_and_the_frame_is_none():
    assert not label_edges(torch.full((2, 4, 4), 4)).any()


def test_ignored_pixels_are_no_edge_and_make_none():
    labels = torch.tensor([[[1, 1, 255, 1, 1, 2]]])
    assert label_edges(labels).tolist() == [[[False, False, False, False, True, True]]]


def test_ignored_pixels_have_no_influence():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 4, 6))
    labels[:, :, 3:] = 255
    heads = [torch.randn(2, channels, 4, 6, requires_grad=True) for channels in (3, 1, 3)]
    value = lip_loss(*heads, labels)
    torch.testing.assert_close(value, lip_loss(*(head[..., :3] for head in heads), labels[..., :3]))
    value.backward()
    assert all((head.grad[..., 3:] == 0).all() for head in heads)


def test_nothing_but_ignored_pixels_costs_nothing():
    heads = [torch.randn(1, channels, 2, 2, requires_grad=True) for channels in (3, 1, 3)]
    value = lip_loss(*heads, torch.full((1, 2, 2), 255))
    assert value == 0
    value.backward()
    assert all(head.grad.isfinite().all() for head in heads)


def test_gradient_in_float64():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 3, 3))
    heads = [torch.randn(2, channels, 3, 3, dtype=torch.float64, requires_grad=True) for channels in (3, 1, 3)]
    assert torch.autograd.gradcheck(lambda *h: lip_loss(*h, labels), heads)
