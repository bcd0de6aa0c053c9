"""The loss of fine-grained lip segmentation: three heads, four terms (yang2023 Sec. III-D)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from reprolib.losses.dice import dice_sum

Dice = Callable[[Tensor, Tensor], Tensor]

IGNORED_LABEL = 255


def lip_loss(
    logits: Tensor,
    edge_logits: Tensor,
    auxiliary_logits: Tensor,
    labels: Tensor,
    *,
    dice_weight: float = 1.0,  # Sec. IV-A3
    auxiliary_weight: float = 0.1,
    edge_weight: float = 0.1,
    dice: Dice = dice_sum,  # Eq. 16; `dice_loss` is the mean over classes
) -> Tensor:
    """L_seg + k_aux L_aux + k_edge L_edge (Eq. 13); a scalar.

    logits, auxiliary_logits: float (N, C, H, W). edge_logits: float (N, 1, H, W), before the sigmoid.
    labels: integer (N, H, W), 255 = ignored. The paper writes sums over pixels. These are means, since
    with sums the effect of its weights, 1 and 0.1, would depend on the image size.
    """
    auxiliary = cross_entropy(auxiliary_logits, labels)  # Eq. 18
    segmentation = ce_dice_loss(logits, labels, dice_weight=dice_weight, dice=dice)
    return segmentation + auxiliary_weight * auxiliary + edge_weight * edge_loss(edge_logits, labels)


def ce_dice_loss(logits: Tensor, labels: Tensor, *, dice_weight: float = 1.0, dice: Dice = dice_sum) -> Tensor:
    """L_ce + k_dice L_dice (Eq. 14–16); a scalar, from logits (N, C, H, W) and labels (N, H, W)."""
    return cross_entropy(logits, labels) + dice_weight * dice(logits, labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, C, H, W) over the labels (N, H, W) that are not 255 (Eq. 15); 0 if all are."""
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)


def edge_loss(edge_logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of the edge head (N, 1, H, W) against `label_edges` (Eq. 17); 0 if all are ignored."""
    used = labels != IGNORED_LABEL
    truth = label_edges(labels).to(edge_logits.dtype)
    total = F.binary_cross_entropy_with_logits(edge_logits[:, 0], truth, weight=used.to(truth), reduction="sum")
    return total / used.sum().clamp(min=1)


def label_edges(labels: Tensor) -> Tensor:
    """Pixels with a different label among their eight neighbours: bool (N, H, W) from integers (N, H, W).

    The paper derives the edges from the annotation and gives no width; these are two pixels wide, one on each
    side. Ignored pixels (255) are not edges and make none.
    """
    used = labels != IGNORED_LABEL
    values = labels.float()[:, None]
    highest = F.max_pool2d(values.masked_fill(~used[:, None], -1.0), 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-values, 3, stride=1, padding=1)  # an ignored 255 is never the lowest
    return used & (highest > lowest)[:, 0]
