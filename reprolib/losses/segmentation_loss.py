"""Segmentation loss, which weights the pixels of each class by the gradient of its IoU (Wang et al. 2018, Sec. 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from reprolib.losses.iou_loss import label_masks, overlap_and_union

EMPTY = 1e-7  # pixels; a soft union is never quite zero


def segmentation_loss(
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    form: Literal["hinge", "linear"] = "linear",  # Eq. 8 or Eq. 9
    margin: float = 0.0,  # g
    probabilities: bool = False,
    hard_counts: bool = False,
    through_weights: bool = False,
    per_image: bool = False,
) -> torch.Tensor:
    """Σₜ (Wpₜ Σ Lp over the pixels of class t + Wnₜ Σ Ln over the others) / (K Σₜ (Wpₜ + Wnₜ)), Eq. 7; a scalar.

    scores: float (N, C, …); PR is the scores themselves, or with `probabilities` their softmax. labels: integer
    (N, …), 255 = ignored; K is the number of pixels that are not ignored.
    Wp = 1/union and Wn = overlap/union² of each class, background included, from the softmax of the scores; a class
    whose union is empty has no weight. 0 if all labels are ignored.

    The paper leaves open what PR is (Sec. 3.2 speaks of predictions between 0 and 1, its example of Eq. 8 shows scores
    beyond) and how the weights are made. Here they come from the whole batch and pass no gradient, as in Eq. 5.
    `hard_counts` takes them from the arg max; `through_weights` lets the gradient pass; `per_image` gives each of the
    N images its own weights and loss and returns the mean (a clip is one image as (N, C, T, H, W)).
    ValueError for another `form`, and for `through_weights` with `hard_counts`, which have no gradient.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, found {form!r}")
    if hard_counts and through_weights:
        raise ValueError("hard counts have no gradient: choose hard_counts or through_weights")
    truth, used = label_masks(labels, classes=scores.shape[1])
    scores = scores.flatten(2)  # (N, C, P)
    memberships = _memberships(scores if through_weights else scores.detach(), hard=hard_counts)
    overlap, union = overlap_and_union(memberships, truth, used)
    of_positive, of_negative = FORMS[form](scores.softmax(1) if probabilities else scores, truth, margin)
    positive = torch.where(truth, of_positive, 0).sum(2)  # (N, C)
    negative = torch.where(used & ~truth, of_negative, 0).sum(2)
    sums = [overlap, union, positive, negative, used.sum(2)]
    if not per_image:
        sums = [of_image.sum(0, keepdim=True) for of_image in sums]
    overlap, union, positive, negative, pixels = sums

    # weights from the derivative of the IoU, Eq. 5
    present = union > EMPTY
    union = torch.where(present, union, 1)
    w_positive = torch.where(present, 1 / union, 0)
    w_negative = torch.where(present, overlap / union / union, 0)
    # Eq. 7; without a pixel the sums are zero and so is the loss
    total = (w_positive * positive + w_negative * negative).sum(1)
    norm = pixels[:, 0] * (w_positive + w_negative).sum(1)
    return (total / torch.where(norm > 0, norm, 1)).mean()


def _memberships(scores: torch.Tensor, *, hard: bool) -> torch.Tensor:
    if hard:
        classes = torch.arange(scores.shape[1], device=scores.device)[:, None]
        chosen = scores.max(1, keepdim=True).indices  # several times as fast as argmax where the classes are not last
        return (chosen == classes).to(scores.dtype)
    return scores.softmax(1)


def _hinge(scores: torch.Tensor, truth: torch.Tensor, margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Lp (N, 1, P) and Ln (N, C, P) of Eq. 8."""
    own = _own(scores, truth)
    # the product with the inverted label leaves 0 in the slot of the true class: the greatest is never below 0
    greatest = scores.masked_fill(truth, 0).amax(1, keepdim=True)
    return F.relu(greatest - own + margin), F.relu(scores - own + margin)


def _linear(scores: torch.Tensor, truth: torch.Tensor, margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Lp (N, 1, P) and Ln (N, C, P) of Eq. 9."""
    own = _own(scores, truth)
    return -own, torch.where(own > scores + margin, 0, scores)


def _own(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Score of the true class, (N, 1, P)."""
    return torch.where(truth, scores, 0).sum(1, keepdim=True)


FORMS = {"hinge": _hinge, "linear": _linear}
