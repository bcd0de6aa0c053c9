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
    return ((per_blob / blobs_of_image[found.image]).sum() / images).to(logits.dtype)


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
    return ((alpha * first + beta * second).sum() / max(len(ids), 1)).to(logits.dtype)


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
    log_sum_p, sum_log_p = _SegmentSums.apply(logits.log_softmax(1), found.segment, found.rows)
    log_sum_p, sum_log_p = log_sum_p[found.row], sum_log_p[found.row]
    # mean prediction of each blob, Eq. 6, as a logarithm: (B, C)
    pixels = found.pixels[:, None].double()
    log_mean = log_sum_p - pixels.log()
    # the two terms of Eq. 7
    nll = -log_mean.gather(1, found.label[:, None])[:, 0]
    divergence = (log_mean.exp() * (pixels * log_mean - sum_log_p)).sum(1)
    return _Terms(nll, divergence)


class _SegmentSums(torch.autograd.Function):
    """log Σ_s exp x_k(s) and Σ_s x_k(s) over the pixels s of each segment, for each channel k.

    x: float (N, C, H, W). segment: int64 (N, H, W), below `rows`. Returns two float64 (rows, C); −inf and 0
    where no pixel belongs to a row. Autograd would do the same with four times the memory traffic. Sums are
    float64: the rounding of 10⁴ float32 additions would drown a small divergence.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, segment: torch.Tensor, rows: int):
        # Neighbouring pixels add to different cells, or each addition would wait for the one before it.
        lane = torch.arange(segment.shape[-1], device=x.device) % _LANES
        cell = (segment * _LANES + lane).flatten()

        wide = torch.empty(segment.shape, dtype=torch.float64, device=x.device)

        def sums(values):
            table = wide.new_zeros(rows * _LANES)
            return table.index_add_(0, cell, wide.copy_(values).view(-1)).view(rows, _LANES).sum(1)

        sum_x = torch.stack([sums(channel) for channel in x.unbind(1)], 1)
        if x.amin() > _LOWEST_SAFE_LOG:
            scaled, peak = x.exp(), 0.0
        else:  # take each sum's maximum out before the exponential
            peaks = x.new_full((x.shape[1], rows), -torch.inf)
            index = segment.flatten()
            peaks = [
                p.scatter_reduce(0, index, v.flatten(), "amax")
                for p, v in zip(peaks, x.unbind(1), strict=True)
            ]
            scaled = torch.stack([v - p[segment] for p, v in zip(peaks, x.unbind(1), strict=True)], 1).exp_()
            peak = torch.stack(peaks, 1).double()
        sum_exp = torch.stack([sums(channel) for channel in scaled.unbind(1)], 1)
        ctx.save_for_backward(scaled, segment, sum_exp)
        return sum_exp.log() + peak, sum_x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_log_sum: torch.Tensor, grad_sum: torch.Tensor):
        scaled, segment, sum_exp = ctx.saved_tensors
        index = segment.flatten()
        # d log Σ exp x / dx(s) = exp x(s) / Σ exp x
        slope, offset = (grad_log_sum / sum_exp).to(scaled.dtype), grad_sum.to(scaled.dtype)
        grad = torch.empty_like(scaled)
        for k in range(scaled.shape[1]):
            here = slope[:, k].index_select(0, index).view(segment.shape)
            torch.mul(scaled[:, k], here, out=grad[:, k])
            grad[:, k] += offset[:, k].index_select(0, index).view(segment.shape)
        return grad, None, None


def _find(logits: torch.Tensor, labels: torch.Tensor, blobs: torch.Tensor) -> _Blobs:
    """Number the blobs of a batch from 0 and check them."""
    images, classes, *size = logits.shape
    if labels.shape != (images, *size) or blobs.shape != (images, *size):
        raise UserError(
            f"Expected one label and one blob id per pixel, {(images, *size)} for these logits, found labels "
            f"{tuple(labels.shape)} and blobs {tuple(blobs.shape)}: resize them together with the images."
        )
    used = (blobs >= 0) & (labels != IGNORED_LABEL)
    if (foreign := ((labels < 0) | (labels >= classes)) & used).any():
        raise UserError(
            f"Expected labels from 0 to {classes - 1} (or {IGNORED_LABEL}, ignored), found "
            f"{int(labels[foreign][0])}: map the labels to the network's classes."
        )

    # a number for each (image, id): by arithmetic if the ids are small, else by sorting
    image_index = torch.arange(images, device=blobs.device)
    span = max(int(blobs.amax()) + 1, 1)
    if span <= size[0] * size[1]:
        segment = blobs + image_index[:, None, None] * span
        image, ids = (
            image_index.repeat_interleave(span),
            torch.arange(span, device=blobs.device).repeat(images),
        )
    else:
        values, blobs = torch.unique(blobs, return_inverse=True)
        keys, segment = torch.unique(blobs + image_index[:, None, None] * len(values), return_inverse=True)
        image, ids = keys // len(values), values[keys % len(values)]
    segment = segment.masked_fill_(~used, len(ids))

    # one histogram over blobs and labels gives size and label, and shows blobs of two labels
    cells = (segment * classes + labels).masked_fill_(~used, len(ids) * classes)
    counts = torch.bincount(cells.flatten(), minlength=len(ids) * classes + 1)[:-1].view(-1, classes)
    pixels, most = counts.sum(1), counts.amax(1)
    if (torn := pixels != most).any():
        b = int(torn.nonzero()[0])
        raise UserError(
            f"Expected one label in every blob, found two in blob {int(ids[b])} of image {int(image[b])} "
            "of the batch: make the blobs from these labels."
        )
    row = pixels.nonzero()[:, 0]
    return _Blobs(segment, len(ids) + 1, row, pixels[row], counts.argmax(1)[row], image[row], ids[row])
