"""Inputs of lip readers from grey clips: normalised clip by clip, and in training mirrored and shifted."""

from __future__ import annotations

import torch
from torch import Tensor

from reprolib.models.c3d_resnet18 import valid_frames
from reprolib.training import Batch


def normalised(clips: Tensor, lengths: Tensor) -> Tensor:
    """uint8 (N, T, h, w) -> float32: each clip minus its mean, divided by its standard deviation plus 1.

    Both are taken over the valid frames, `lengths` (N,); later frames are 0. Dark recordings then look like others.
    """
    valid = valid_frames(lengths, clips.shape[1])[..., None, None]
    values = clips.float() * valid
    count = (lengths * clips.shape[2] * clips.shape[3]).view(-1, 1, 1, 1).float()
    mean = values.sum((1, 2, 3), keepdim=True) / count
    variance = ((values - mean) * valid).square().sum((1, 2, 3), keepdim=True) / count
    return (values - mean) * valid / (variance.sqrt() + 1)


def mirrored_and_shifted(batch: Batch, generator: torch.Generator, *, shift: int) -> dict[str, Tensor]:
    """Half of the crops mirrored, all shifted by up to `shift` pixels and one frame; other entries are unchanged.

    crops (N, T, h, w), lengths (N,). Flow (N, 2, T, h, w) and masks (N, parts, T, h, w) of the same crops move with
    them; the flow's horizontal component changes sign when mirrored. Source: Sheng et al. 2021, Sec. IV-B.
    """
    out = dict(batch)
    moved = {name: batch[name] for name in ("crops", "flow", "masks") if name in batch}
    if not moved:
        return out
    count, frames, height, width = batch["crops"].shape
    mirror = torch.rand(count, generator=generator) < 0.5
    dx, dy = (torch.randint(-shift, shift + 1, (count, 1), generator=generator) for _ in range(2))
    dt = torch.randint(-1, 2, (count, 1), generator=generator)
    across, down = torch.arange(width), torch.arange(height)
    x = torch.where(mirror[:, None], width - 1 - across, across.expand(count, -1))
    x, y = (x + dx).clamp(0, width - 1), (down + dy).clamp(0, height - 1)
    last = batch["lengths"].cpu()[:, None] - 1
    t = torch.arange(frames).expand(count, -1)
    t = torch.where(t <= last, torch.minimum((t + dt).clamp(min=0), last), t)
    device = batch["crops"].device
    x, y, t, mirror = (index.to(device) for index in (x, y, t, mirror))
    n = torch.arange(count, device=device)[:, None, None, None]
    place = (t[:, :, None, None], y[:, None, :, None], x[:, None, None, :])
    for name, value in moved.items():
        # (N, C, T, h, w) has its channels before the frames
        out[name] = value[n, *place] if name == "crops" else value.movedim(1, -1)[n, *place].movedim(-1, 1)
    if "flow" in moved:
        sign = torch.where(mirror, -1.0, 1.0)
        out["flow"] = torch.stack([out["flow"][:, 0] * sign[:, None, None, None], out["flow"][:, 1]], dim=1)
    return out
