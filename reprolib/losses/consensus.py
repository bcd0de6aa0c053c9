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
# partial sums per blob: neighbouring pixels add to different cells, or each would wait for the one before it
_LANES = 8


def consensus_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    blobs: torch.Tensor,
    *,
    alpha: float = 10.0,  # Sec. 4.1
    beta: float = 5.0,  # Sec. 4.1
) -> torch.Tensor:
    """α·NLL(p̂) + β·mean_s KL(p̂‖p(s)) of each blob, averaged over the blobs of an image, then over images; a scalar.

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
    whole batch. Arguments and errors as in `consensus_loss`. It differs from Eq. 8: an extra 1/C on the consensus term,
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
    """The B blobs of a batch, and the cells of their pixels in tables with one row per (blob id, label)."""

    index: torch.Tensor  # int64 (N·H·W,): each pixel's cell in a table of `rows` × `lanes`; the last row: ignored
    rows: int
    lanes: int
    row: torch.Tensor  # int64 (B,): the blob's row
    pixels: torch.Tensor  # int64 (B,): |c|
    label: torch.Tensor  # int64 (B,)
    image: torch.Tensor  # int64 (B,): index of its image
    id: torch.Tensor  # int64 (B,): its id in the given map


@dataclass(frozen=True)
class _Terms:
    """The two terms of Eq. 7; float64, one entry per blob."""

    nll: torch.Tensor  # −log p̂(label)
    divergence: torch.Tensor  # Σ_s KL(p̂‖p(s))


def _terms(logits: torch.Tensor, found: _Blobs) -> _Terms:
    log_sum_p, sum_log_p = _BlobSums.apply(logits.to(_precision(logits)), found)
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


class _BlobSums(torch.autograd.Function):
    """log Σ_s p_k(s) and Σ_s log p_k(s) over the pixels s of each blob, for p = softmax of (N, C, H, W) logits.

    Returns two float64 (B, C). Forward and backward go through the classes one at a time, because memory traffic
    takes most of the time: autograd would hold six tensors as large as the logits, this holds p. Sums are float64:
    the rounding errors of 10⁴ float32 additions would hide a small divergence.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor, blobs: _Blobs):
        log_p = logits.log_softmax(1)
        peaks = _peaks(log_p, blobs)
        p_scaled = log_p if peaks is None else torch.empty_like(log_p)  # in place if nothing underflows
        sum_log_p, sum_p = log_p.new_zeros(2, log_p.shape[1], blobs.rows * blobs.lanes, dtype=torch.float64)
        wide = torch.empty(len(logits), *logits.shape[2:], dtype=torch.float64, device=logits.device)
        for k, x in enumerate(log_p.unbind(1)):
            sum_log_p[k].scatter_add_(0, blobs.index, wide.copy_(x).view(-1))
            if peaks is not None:
                x = x - peaks[k].index_select(0, blobs.index).view(x.shape)
            y = torch.exp(x, out=p_scaled[:, k])
            sum_p[k].scatter_add_(0, blobs.index, wide.copy_(y).view(-1))
        sum_log_p, sum_p = (_of_blobs(table, blobs).sum(2) for table in (sum_log_p, sum_p))
        ctx.blobs = blobs
        ctx.save_for_backward(p_scaled if peaks is None else log_p.exp_(), p_scaled, sum_p)
        log_sum_p = sum_p.log() if peaks is None else sum_p.log() + _of_blobs(peaks, blobs)[:, :, 0]
        return log_sum_p.T, sum_log_p.T

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_log_sum_p: torch.Tensor, grad_sum_log_p: torch.Tensor):
        p, p_scaled, sum_p = ctx.saved_tensors
        # the gradient with respect to log p_k(s) is offset + p_k(s) · slope, both the same in the whole blob …
        offset = _to_cells(grad_sum_log_p.T, ctx.blobs, p.dtype)
        slope = _to_cells(grad_log_sum_p.T / sum_p, ctx.blobs, p.dtype)
        grad = torch.empty_like(p)
        of_pixels, slope_of_pixels, total = p.new_empty(3, len(p), *p.shape[2:])
        total.zero_()
        for k in range(p.shape[1]):
            torch.index_select(offset[k], 0, ctx.blobs.index, out=of_pixels.view(-1))
            torch.index_select(slope[k], 0, ctx.blobs.index, out=slope_of_pixels.view(-1))
            total += torch.addcmul(of_pixels, p_scaled[:, k], slope_of_pixels, out=grad[:, k])
        # … and with respect to the logits, through log-softmax: g_k − p_k Σ_j g_j
        return grad.addcmul_(p, total[:, None], value=-1), None


def _of_blobs(table: torch.Tensor, blobs: _Blobs) -> torch.Tensor:
    """The blobs' rows, (C, B, lanes), of a (C, rows × lanes) table."""
    return table.view(len(table), blobs.rows, blobs.lanes)[:, blobs.row]


def _to_cells(values: torch.Tensor, blobs: _Blobs, dtype: torch.dtype) -> torch.Tensor:
    """A (C, rows × lanes) table of (C, B) values of blobs, the same in all lanes; zero for ignored pixels."""
    table = values.new_zeros(len(values), blobs.rows, dtype=dtype)
    table[:, blobs.row] = values.to(dtype)
    return table.repeat_interleave(blobs.lanes, 1)


def _peaks(log_p: torch.Tensor, blobs: _Blobs) -> torch.Tensor | None:
    """Largest log p of each class in each blob, (C, rows × lanes), for a log-sum-exp; None if nothing underflows."""
    if log_p.amin() > _LOWEST_SAFE_LOG:
        return None
    peaks = log_p.new_full((log_p.shape[1], blobs.rows * blobs.lanes), -torch.inf)
    index = blobs.index.expand(len(peaks), -1)
    peaks.scatter_reduce_(1, index, log_p.transpose(0, 1).flatten(1), "amax")
    return peaks.view(len(peaks), blobs.rows, blobs.lanes).amax(2).repeat_interleave(blobs.lanes, 1)


def _find(logits: torch.Tensor, labels: torch.Tensor, blobs: torch.Tensor) -> _Blobs:
    """Index the blobs of a batch from 0; UserError if logits, labels and blobs do not fit together."""
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
        start = image_index * span  # each image's first number
        image = image_index.repeat_interleave(span)
        ids = torch.arange(span, device=blobs.device).repeat(images)
    else:
        values, blobs = torch.unique(blobs, return_inverse=True)
        keys, blobs = torch.unique(blobs + image_index[:, None, None] * len(values), return_inverse=True)
        start = torch.zeros_like(image_index)
        image, ids = keys // len(values), values[keys % len(values)]

    rows = len(ids) * classes + 1
    lanes = _LANES if rows * _LANES <= blobs.numel() else 1
    lane = torch.arange(size[1], device=blobs.device) % lanes
    index = torch.add(labels, blobs.long(), alpha=classes).contiguous()
    torch.add(start[:, None, None] * (classes * lanes) + lane, index, alpha=lanes, out=index)
    if used is not None:
        index.masked_fill_(~used, (rows - 1) * lanes)

    # one histogram over blobs and labels gives size and label, and shows blobs of two labels
    index = index.view(-1)
    counts = torch.bincount(index, minlength=rows * lanes).view(rows, lanes).sum(1)[:-1]
    row = counts.nonzero()[:, 0]
    number, label = row // classes, row % classes
    if (torn := number[1:] == number[:-1]).any():
        b = int(number[1:][torn][0])
        raise UserError(
            f"Expected one label in every blob, found two in blob {int(ids[b])} of image {int(image[b])} "
            "of the batch: make the blobs from these labels."
        )
    return _Blobs(index, rows, lanes, row, counts[row], label, image[number], ids[number])
