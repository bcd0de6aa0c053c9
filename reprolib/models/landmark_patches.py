"""Lip-reading related landmark points (LRLPs) and the image around them (Sheng et al. 2021, Sec. III-B)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOSE_BASE, MOUTH = tuple(range(31, 36)), tuple(range(48, 68))
LRLP38 = (*range(2, 15), *NOSE_BASE, *MOUTH)  # jaw, nose base, mouth: the lower half of the face, Fig. 6
LRLP25 = (*NOSE_BASE, *MOUTH)  # the sparse ones, Fig. 6
NOSE_TIP = 30  # the datum point, Sec. IV-B
EYES = slice(36, 42), slice(42, 48)


def landmark_patches(frames: Tensor, landmarks: Tensor, size: int) -> Tensor:
    """Square patches around landmarks (N, T, K, 2), pixels (x, y), of frames (N, T, H, W): (N, K, T, size, size).

    A patch is a plain crop whose pixel `size // 2` is the landmark, rounded to a whole pixel. Beyond the borders the
    last pixels are repeated, however far the landmark is outside. The dtype is that of the frames.
    """
    batch, steps, height, width = frames.shape
    offsets = torch.arange(size, device=frames.device) - size // 2
    # (N, T, K, 2) -> (N, K, T, 2)
    centres = landmarks.transpose(1, 2).round().long()
    columns = (centres[..., 0, None] + offsets).clamp(0, width - 1)
    rows = (centres[..., 1, None] + offsets).clamp(0, height - 1)
    first = torch.arange(batch * steps, device=frames.device).view(batch, 1, steps, 1) * height
    # (N, K, T, size, 1) + (N, K, T, 1, size): places in the flat frames
    places = ((first + rows) * width)[..., None] + columns[..., None, :]
    return frames.reshape(-1).take(places)


def relative_coordinates(landmarks: Tensor, points: Sequence[int]) -> Tensor:
    """The K `points` of landmarks (N, T, 68, 2), relative to the tip of the nose, in face sizes: (N, T, K, 2).

    The face size of a frame is √(a² + b²) of the distance a between the eyes and b from their middle to the base of the
    nose, neither of which a speaking mouth moves. Frames without landmarks (all zero) give zeros.
    Source: Sheng et al. 2021, Sec. IV-B, for the datum point; the scale is ours.
    """
    left, right = (landmarks[..., eye, :].mean(-2) for eye in EYES)
    across, down = right - left, landmarks[..., 33, :] - (left + right) / 2
    size = (across.square().sum(-1) + down.square().sum(-1)).sqrt().clamp(min=1e-6)
    chosen = landmarks[..., list(points), :] - landmarks[..., NOSE_TIP, None, :]
    return chosen / size[..., None, None]
