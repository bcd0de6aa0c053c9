"""Structure via consensus: the loss of Masi et al. 2020, Sec. 3.2, for all blobs of a batch at once.

Σ_s KL(p̂‖p(s)) = |c| Σ_k p̂_k log p̂_k − Σ_k p̂_k Σ_s log p_k(s), so both terms of Eq. 7 need only two sums
per blob and class, Σ_s p_k(s) and Σ_s log p_k(s): time and memory do not depend on the number of blobs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable

from reprolib.errors import UserError

IGNORED_LABEL = 255
# exp of anything lower loses digits in float32
_LOWEST_SAFE_LOG = -80.0
# independent partial sums
_LANES = 4


def consensus_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    blobs: torch.Tensor,
    *,
    alpha: float = 10.0,  # Sec. 4.1
    beta: float = 5.0,  # Sec. 4.1
) -> torch.Tensor:
    """Mean over images of the mean over an image's blobs of α·NLL(p̂) + β·mean_s KL(p̂‖p(s)); a scalar.

    logits: float (N, C, H, W). labels: integer (N, H, W), 255 = ignored. blobs: int64 (N, H, W), any ids ≥ 0,
    distinct within an image; −1 = ignored. Images without a blob do not count; without any blob the loss is
    0. Gradients flow through p̂ in both terms. UserError if a blob holds two labels. Source: Masi et al.
    2020, Eq. 5–8.
    """
    found = _find(logits, labels, blobs)
    terms = _terms(logits, found)
    per_blob = alpha * terms.nll + beta * terms.divergence / found.pixels
    # 1 / N_C within an image, then the mean over images
    blobs_of_image = torch.bincount(found.image, minlength=len(logits))
    images = (blobs_of_image > 0).sum().clamp(min=1)
    return ((per_blob / blobs_of_image[found.image]).sum() / images).to(_precision(logits))


def consensus_loss_batch_pooled(
    logits: torch.Tensor,
    labels: torch.Tensor,
    blobs: torch.Tensor,
    *,
    alpha: float = 10.0,
    beta: float = 5.0,
) -> torch.Tensor:
    """The loss as the authors released it: blobs with the same id are pooled over the batch; a scalar.

    (1/B) Σ_b { (α/N) Σ_n NLL(p̂_nb) + β Σ_n Σ_s KL(p̂_nb‖p(s)) / (C Σ_n |c_nb|) } for B distinct ids in the
    whole batch. Arguments as in `consensus_loss`. It differs from Eq. 8: an extra 1/C on the consensus term,
    divergences pooled over the batch's pixels, and images in which an id is absent still counted in the mean
    over N.
    """
    found = _find(logits, labels, blobs)
    terms = _terms(logits, found)
    ids, pool = torch.unique(found.id, return_inverse=True)

    def pooled(values):
        return values.new_zeros(len(ids)).index_add(0, pool, values)

    first = pooled(terms.nll) / len(logits)
    second = pooled(terms.divergence) / (logits.shape[1] * pooled(found.pixels))
    return ((alpha * first + beta * second).sum() / max(len(ids), 1)).to(_precision(logits))


@dataclass(frozen=True)
class _Blobs:
    """The blobs of a batch; tensors of one entry a blob, except `segment`."""

    segment: torch.Tensor  # int64 (N, H, W): each pixel's row in the tables of sums
    rows: int  # of those tables; the last one is for ignored pixels
    row: torch.Tensor  # int64: the blob's row
    pixels: torch.Tensor  # int64: |c|
    label: torch.Tensor  # int64
    image: torch.Tensor  # int64: index of its image
    id: torch.Tensor  # int64: its id in the map that was given


@dataclass(frozen=True)
class _Terms:
    """The two terms of Eq. 7; float64, one entry a blob."""

    nll: torch.Tensor  # −log p̂(label)
    divergence: torch.Tensor  # Σ_s KL(p̂‖p(s))


def _terms(logits: torch.Tensor, found: _Blobs) -> _Terms:
    log_p = logits.log_softmax(1, dtype=_precision(logits))
    log_sum_p, sum_log_p = _SegmentSums.apply(log_p, found.segment, found.rows)
    log_sum_p, sum_log_p = log_sum_p[found.row], sum_log_p[found.row]
    # mean prediction of each blob, Eq. 6, as a logarithm: (B, C)
    pixels = found.pixels[:, None].double()
    log_mean = log_sum_p - pixels.log()
    # the two terms of Eq. 7
    nll = -log_mean.gather(1, found.label[:, None])[:, 0]
    divergence = (log_mean.exp() * (pixels * log_mean - sum_log_p)).sum(1)
    return _Terms(nll, divergence)


def _precision(logits: torch.Tensor) -> torch.dtype:
    """At least float32, also under mixed precision."""
    return torch.promote_types(logits.dtype, torch.float32)


class _SegmentSums(torch.autograd.Function):
    """log Σ_s exp x_k(s) and Σ_s x_k(s) over the pixels s of each segment, for each channel k.

    x: float (N, C, H, W). segment: int64 (N, H, W), below `rows`. Returns two float64 (rows, C); −inf and 0
    where no pixel belongs to a row. Written by hand, one channel at a time, because the time goes into memory
    traffic: autograd would hold six copies of x. Sums are float64: the rounding of 10⁴ float32 additions would
    drown a small divergence.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, segment: torch.Tensor, rows: int):
        peaks = _peaks(x, segment, rows)
        # Neighbouring pixels add to different cells, or each addition would wait for the one before it.
        lane = torch.arange(segment.shape[-1], device=x.device) % _LANES
        cell = torch.add(lane, segment, alpha=_LANES).view(-1)
        sum_exp, sum_x = torch.zeros(2, x.shape[1], rows * _LANES, dtype=torch.float64, device=x.device)
        wide = torch.empty(segment.shape, dtype=torch.float64, device=x.device)
        scaled = torch.empty_like(x)
        for k, channel in enumerate(x.unbind(1)):
            sum_x[k].scatter_add_(0, cell, wide.copy_(channel).view(-1))
            torch.exp(channel - peaks[k][segment] if peaks.shape[1] > 1 else channel, out=scaled[:, k])
            sum_exp[k].scatter_add_(0, cell, wide.copy_(scaled[:, k]).view(-1))
        sum_exp, sum_x = (sums.view(-1, rows, _LANES).sum(2) for sums in (sum_exp, sum_x))
        ctx.save_for_backward(scaled, segment, sum_exp)
        return (sum_exp.log() + peaks).T, sum_x.T

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_log_sum: torch.Tensor, grad_sum: torch.Tensor):
        scaled, segment, sum_exp = ctx.saved_tensors
        index = segment.view(-1)
        # d log Σ exp x / dx(s) = exp x(s) / Σ exp x
        slope, offset = (grad_log_sum.T / sum_exp).to(scaled.dtype), grad_sum.T.to(scaled.dtype)
        grad = torch.empty_like(scaled)
        of_pixels = torch.empty(segment.shape, dtype=scaled.dtype, device=scaled.device)
        for k in range(len(slope)):
            torch.index_select(offset[k], 0, index, out=of_pixels.view(-1))
            grad[:, k] = of_pixels
            torch.index_select(slope[k], 0, index, out=of_pixels.view(-1))
            grad[:, k].addcmul_(scaled[:, k], of_pixels)
        return grad, None, None


def _peaks(x: torch.Tensor, segment: torch.Tensor, rows: int) -> torch.Tensor:
    """Largest x of each channel and segment, (C, rows), for a log-sum-exp; zeros (C, 1) if nothing underflows."""
    if x.amin() > _LOWEST_SAFE_LOG:
        return x.new_zeros(x.shape[1], 1)
    index = segment.view(1, -1).expand(x.shape[1], -1)
    peaks = x.new_full((x.shape[1], rows), -torch.inf)
    return peaks.scatter_reduce_(1, index, x.transpose(0, 1).flatten(1), "amax")


def _find(logits: torch.Tensor, labels: torch.Tensor, blobs: torch.Tensor) -> _Blobs:
    """Number the blobs of a batch from 0 and check them."""
    images, classes, *size = logits.shape
    if labels.shape != (images, *size) or blobs.shape != (images, *size):
        raise UserError(
            f"Expected one label and one blob id per pixel, {(images, *size)} for these logits, found labels "
            f"{tuple(labels.shape)} and blobs {tuple(blobs.shape)}: resize them together with the images."
        )
    lowest, highest = (int(x) for x in labels.aminmax())
    first, last = (int(x) for x in blobs.aminmax())
    used = None  # all pixels
    if first < 0 or highest == IGNORED_LABEL:
        used = (blobs >= 0) & (labels != IGNORED_LABEL)
        labels, blobs = labels.masked_fill(~used, 0), blobs.masked_fill(~used, 0)
        lowest, highest = (int(x) for x in labels.aminmax())
    if lowest < 0 or highest >= classes:
        raise UserError(
            f"Expected labels from 0 to {classes - 1} (or {IGNORED_LABEL}, ignored), found {lowest} to {highest}: "
            "map the labels to the network's classes."
        )

    # a number for each (image, id): by arithmetic if the ids are small, else by sorting
    image_index = torch.arange(images, device=blobs.device)
    span = max(last + 1, 1)
    if span <= size[0] * size[1]:
        segment = blobs + image_index[:, None, None] * span
        image = image_index.repeat_interleave(span)
        ids = torch.arange(span, device=blobs.device).repeat(images)
    else:
        values, blobs = torch.unique(blobs, return_inverse=True)
        keys, segment = torch.unique(blobs + image_index[:, None, None] * len(values), return_inverse=True)
        image, ids = keys // len(values), values[keys % len(values)]
    segment = segment.contiguous() if used is None else segment.masked_fill(~used, len(ids)).contiguous()

    # one histogram over blobs and labels gives size and label, and shows blobs of two labels
    cells = torch.add(labels, segment, alpha=classes)
    counts = torch.bincount(cells.flatten(), minlength=(len(ids) + 1) * classes).view(-1, classes)[:-1]
    pixels, most = counts.sum(1), counts.amax(1)
    if (torn := pixels != most).any():
        b = int(torn.nonzero()[0])
        raise UserError(
            f"Expected one label in every blob, found two in blob {int(ids[b])} of image {int(image[b])} "
            "of the batch: make the blobs from these labels."
        )
    row = pixels.nonzero()[:, 0]
    return _Blobs(segment, len(ids) + 1, row, pixels[row], counts.argmax(1)[row], image[row], ids[row])
