import itertools

import pytest
import torch

from reprolib.losses.dice import dice_loss
from reprolib.losses.iou_loss import iou_loss
from reprolib.losses.segmentation_loss import segmentation_loss

FORMS = [("hinge", 1.0), ("linear", 0.0), ("linear", 0.1)]  # the rows of Table 5
OPTIONS = [
    {},
    {"hard_counts": True},
    {"through_weights": True},
    {"per_image": True},
    {"hard_counts": True, "per_image": True},
    {"through_weights": True, "per_image": True},
    {"probabilities": True},
    {"probabilities": True, "hard_counts": True},
]


def batch(*, classes=4, ignored=True, seed=0):
    """Scores (3, classes, 2, 3) in float64; the last class is neither labelled nor the greatest anywhere."""
    generator = torch.Generator().manual_seed(seed)
    scores = 0.3 * torch.randn(3, classes, 2, 3, dtype=torch.float64, generator=generator)
    scores[:, -1] = -1
    labels = torch.randint(0, classes - 1, (3, 2, 3), generator=generator)
    if ignored:
        labels[0, 1, 1:] = labels[2, 0, 0] = 255
    return scores.requires_grad_(), labels


def literal_loop(
    scores, labels, *, form, margin, probabilities=False, hard_counts=False, through_weights=False, per_image=False
):
    """Eq. 7 pixel by pixel and class by class."""
    options = {"form": form, "margin": margin, "probabilities": probabilities}
    options |= {"hard_counts": hard_counts, "through_weights": through_weights}
    if per_image:
        losses = [literal_loop(s[None], y[None], **options) for s, y in zip(scores, labels, strict=True)]
        return sum(losses) / len(losses)
    classes = range(scores.shape[1])
    pixels = [
        (scores[n, :, y, x], int(labels[n, y, x]))
        for n, y, x in itertools.product(*map(range, labels.shape))
        if labels[n, y, x] != 255
    ]
    above = below = 0.0
    for t in classes:
        overlap = union = positive = negative = 0.0
        for score, label in pixels:
            member = float(score.argmax() == t) if hard_counts else score.softmax(0)[t]
            if not through_weights and not hard_counts:
                member = member.detach()
            true = float(label == t)
            overlap, union = overlap + member * true, union + member + true - member * true
            pr = score.softmax(0) if probabilities else score
            own = pr[label]
            if label == t:
                if form == "hinge":
                    # the inverted one-hot vector leaves a zero
                    others = [pr[j] if j != label else torch.zeros_like(own) for j in classes]
                    positive = positive + max(max(others) - own + margin, torch.zeros_like(own))
                else:
                    positive = positive - own
            elif form == "hinge":
                negative = negative + max(pr[t] - own + margin, torch.zeros_like(own))
            elif not own > pr[t] + margin:
                negative = negative + pr[t]
        if union > 0:
            above = above + 1 / union * positive + overlap / union**2 * negative
            below = below + 1 / union + overlap / union**2
    return above / (len(pixels) * below)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "default")
@pytest.mark.parametrize(("form", "margin"), FORMS)
def test_equal_to_the_literal_loop_in_value_and_gradient(form, margin, options):
    scores, labels = batch()
    ours = segmentation_loss(scores, labels, form=form, margin=margin, **options)
    theirs = literal_loop(scores, labels, form=form, margin=margin, **options)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, scores)[0] for loss in (ours, theirs)))


def test_the_options_matter():
    scores, labels = batch()
    found = [segmentation_loss(scores, labels, form=form, margin=g, **o) for form, g in FORMS for o in OPTIONS]
    # the gradient through the weights changes no value
    assert len({round(value.item(), 9) for value in found}) == len(FORMS) * (len(OPTIONS) - 2)


def test_equation_8_with_the_papers_example():
    # scores (−1.2, 2.9, 7.1), label 1; hard counts: class 1 has union 1, overlap 0; class 2 union 1, overlap 0
    scores, labels = torch.tensor([-1.2, 2.9, 7.1]).view(1, 3, 1, 1), torch.tensor([[[1]]])
    found = segmentation_loss(scores, labels, form="hinge", margin=1.0, hard_counts=True)
    # only Wp of classes 1 and 2 is above zero: both are 1; Lp = 7.1 − 2.9 + 1
    assert found.item() == pytest.approx((7.1 - 2.9 + 1) / 2)


def test_the_greatest_other_score_of_equation_8_is_never_below_zero():
    scores, labels = torch.tensor([-5.0, 0.25, -7.0]).view(1, 3, 1, 1), torch.tensor([[[1]]])
    # class 1 alone has a union: Wp = Wn = 1; Lp = 0 − 0.25 + 1
    found = segmentation_loss(scores, labels, form="hinge", margin=1.0, hard_counts=True)
    assert found.item() == pytest.approx(0.75 / 2)


def test_equation_9_by_hand():
    # two pixels of class 0: the second is taken for class 1
    scores, labels = torch.tensor([[0.9, 0.2], [0.1, 0.3]]).view(1, 2, 1, 2), torch.tensor([[[0, 0]]])
    # class 0: union 2, overlap 1; class 1: union 1, overlap 0
    w_positive, w_negative = (1 / 2, 1), (1 / 4, 0)
    expected = w_positive[0] * -(0.9 + 0.2) / (2 * (sum(w_positive) + sum(w_negative)))
    found = segmentation_loss(scores, labels, form="linear", margin=0.0, hard_counts=True)
    assert found.item() == pytest.approx(expected)


def test_the_margin_of_equation_9_decides_whether_a_score_counts():
    # both classes are right on one pixel each, so that both have Wn
    scores, labels = torch.tensor([[0.55, 0.0], [0.5, 0.9]]).view(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    losses = {
        margin: segmentation_loss(scores, labels, form="linear", margin=margin, hard_counts=True).item()
        for margin in (0.0, 0.1)
    }
    # weights are all 1: 0.55 is above 0.5, but not by more than 0.1
    assert losses == pytest.approx({0.0: -(0.55 + 0.9) / 8, 0.1: (-(0.55 + 0.9) + 0.5) / 8})


def test_without_gradient_through_the_weights_they_are_constants():
    scores, labels = batch()
    value = segmentation_loss(scores, labels, form="linear", margin=0.0)
    # with fixed weights Eq. 9 is linear in the scores: the gradient gives back the value
    (gradient,) = torch.autograd.grad(value, scores)
    assert (gradient * scores).sum().item() == pytest.approx(value.item())


def test_a_rare_class_weighs_more():
    scores = torch.zeros(1, 2, 1, 10, requires_grad=True)
    labels = torch.tensor([[[0] * 9 + [1]]])
    segmentation_loss(scores, labels).backward()
    own = scores.grad.gather(1, labels[:, None])[0, 0, 0]
    # unions of soft counts ½: 9 + ½ and 5 + ½
    assert (own[9] / own[0]).item() == pytest.approx(9.5 / 5.5)


@pytest.mark.parametrize(("form", "margin"), FORMS)
@pytest.mark.parametrize("options", OPTIONS[:4], ids=lambda options: "+".join(options) or "default")
def test_ignored_pixels_have_no_influence(form, margin, options):
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 4, 4))
    labels[:, :, 2:] = 255
    options = {"form": form, "margin": margin, **options}
    value = segmentation_loss(scores, labels, **options)
    torch.testing.assert_close(value, segmentation_loss(scores[..., :2], labels[..., :2], **options))
    value.backward()
    assert (scores.grad[..., 2:] == 0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "default")
def test_nothing_but_ignored_pixels_costs_nothing(options):
    scores = torch.randn(2, 3, 2, 2, requires_grad=True)
    value = segmentation_loss(scores, torch.full((2, 2, 2), 255, dtype=torch.uint8), **options)
    assert value == 0
    value.backward()
    assert (scores.grad == 0).all()


def test_per_image_is_the_mean_of_the_images():
    scores, labels = batch()
    alone = [segmentation_loss(s[None], y[None]) for s, y in zip(scores, labels, strict=True)]
    torch.testing.assert_close(segmentation_loss(scores, labels, per_image=True), torch.stack(alone).mean())


def test_a_clip_is_one_image():
    torch.manual_seed(0)
    clips, labels = torch.randn(2, 3, 4, 5, 5), torch.randint(0, 3, (2, 4, 5, 5))  # (N, C, T, H, W)
    frames = [segmentation_loss(c.movedim(1, 0), y) for c, y in zip(clips, labels, strict=True)]
    torch.testing.assert_close(segmentation_loss(clips, labels, per_image=True), torch.stack(frames).mean())


@pytest.mark.parametrize(("form", "margin"), FORMS)
def test_gradient_in_float64(form, margin):
    scores, labels = batch()
    loss = {"form": form, "margin": margin, "through_weights": True}
    assert torch.autograd.gradcheck(lambda z: segmentation_loss(z, labels, **loss), scores)


@pytest.mark.parametrize("score", [-30.0, -90.0, -1000.0])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "default")
def test_a_class_that_is_neither_there_nor_predicted_has_no_weight(score, options):
    scores, labels = batch(ignored=False)
    scores = scores.detach().float()
    scores[:, -1] = score
    scores.requires_grad_()
    value = segmentation_loss(scores, labels, **options)
    torch.testing.assert_close(value, segmentation_loss(scores[:, :-1], labels, **options))
    value.backward()
    assert scores.grad.isfinite().all()


def test_another_form_and_a_gradient_through_hard_counts_are_refused():
    scores, labels = batch()
    with pytest.raises(ValueError, match="one of hinge, linear, found 'softmax'"):
        segmentation_loss(scores, labels, form="softmax")
    with pytest.raises(ValueError, match="hard counts have no gradient"):
        segmentation_loss(scores, labels, hard_counts=True, through_weights=True)


LOSSES = {f"{form}, g = {margin:g}": {"form": form, "margin": margin} for form, margin in FORMS}
LOSSES |= {"hinge, through_weights": {"form": "hinge", "margin": 1.0, "through_weights": True}}
LOSSES |= {f"linear, {option}": {option: True} for option in ("hard_counts", "per_image")}
LOSSES |= {"linear, of probabilities": {"probabilities": True, "hard_counts": True}}


def learn_by_heart(loss):
    """Bounded scores of free parameters, five classes of very different size.

    Returns 1 − mean IoU of arg max before and after, the last scores and the labels.
    """
    torch.manual_seed(0)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[:, 1:7, 1:7], labels[:, 2, 2:4], labels[:, 5, 2:6], labels[:, 5, 3:5] = 1, 2, 3, 4
    free = (0.5 * torch.randn(2, 5, 8, 8)).requires_grad_()

    def error():
        chosen = free.argmax(1)
        ious = [((chosen == t) & (labels == t)).sum() / ((chosen == t) | (labels == t)).sum() for t in range(5)]
        return 1 - torch.stack(ious).mean().item()

    before, optimiser = error(), torch.optim.Adam([free], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        loss(free.tanh(), labels).backward()
        optimiser.step()
    return before, error(), free.detach().tanh(), labels


@pytest.mark.parametrize("name", ["IoU", "Dice", *LOSSES])
def test_a_batch_can_be_learnt_by_heart(name):
    loss = {"IoU": iou_loss, "Dice": dice_loss}.get(name) or (lambda z, y: segmentation_loss(z, y, **LOSSES[name]))
    before, after, _, _ = learn_by_heart(loss)
    assert before > 0.8
    assert after < 0.01


def test_through_the_weights_equation_9_prefers_worse_masks():
    """Its positive term is negative, so that it pays to take weight off the classes that are hard."""

    def through_weights(scores, labels):
        return segmentation_loss(scores, labels, through_weights=True)

    _, right, perfect, labels = learn_by_heart(segmentation_loss)
    _, wrong, scores, _ = learn_by_heart(through_weights)
    assert right < 0.01
    assert wrong > 0.5
    assert through_weights(scores, labels) < through_weights(perfect, labels)
