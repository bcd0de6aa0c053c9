"""Masks of wang2018's rows: from clips to labels, by one network, by trivial rows, or by the full system."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprolib.datasets import landmarks
from reprolib.datasets.clips import ClipSet
from reprolib.datasets.kept import kept
from reprolib.datasets.landmark_masks import BACKGROUND, SKIN, masks_of_track
from reprolib.datasets.pictures import resize_labels, resize_picture
from reprolib.models.conv_lstm import ConvLSTMFCN
from reprolib.models.fcn_resnet50 import STRIDE, upsample_tf1
from reprolib.studies.wang2018 import data as of
from reprolib.studies.wang2018.batches import flat, on_device_of, prepare
from reprolib.studies.wang2018.config import Config
from reprolib.training import channels_first

SMOOTHING_SIGMA, SMOOTHING_FRAMES = 0.6, 5  # Table 2
BATCH = 20  # frames at a time in prediction, a multiple of T

Find = Callable[[ClipSet], np.ndarray]
"""Clips with images at the networks' input size -> labels uint8 (N, T, side, side) at the side of the clips' labels."""


def finder(model: nn.Module, config: Config) -> Find:
    """The `Find` of a network, at any side: scores are resized before the arg max (Sec. 4.2)."""

    def find(clips: ClipSet) -> np.ndarray:
        side = clips.labels.shape[-1]
        # features of frozen layers are kept on disk; other networks see the frames
        frozen = isinstance(model, ConvLSTMFCN) and not config.gamma
        given = features_of(model.network, clips) if frozen else clips.images
        return np.stack([labels_of(scores_of(model, one, config), side) for one in given])

    return find


@torch.no_grad()
def scores_of(model: nn.Module, clip: np.ndarray, config: Config) -> Tensor:
    """Scores, or smoothed probabilities, (T, classes, size, size).

    clip: frames uint8 (T, H, W, 3), or their features (T, C, h, w) from frozen layers.
    """
    if not isinstance(model, ConvLSTMFCN):
        scores = torch.cat([
            model(_as_input(model, clip[start : start + BATCH])) for start in range(0, len(clip), BATCH)
        ])  # fmt: skip
        return smoothed(scores.softmax(1)) if config.smoothed else scores
    if clip.dtype == np.uint8:
        features = model.network.features(_as_input(model, clip))
    else:
        features = on_device_of(model, torch.from_numpy(np.array(clip))).float()
    if config.still:  # as many steps as before a frame, and no motion
        cells = [model.conv_lstm(features[t].expand(1, t + 1, -1, -1, -1))[0, -1] for t in range(len(features))]
        return upsample_tf1(torch.stack(cells), STRIDE)
    return upsample_tf1(model.conv_lstm(features[None])[0], STRIDE)


def _as_input(network: nn.Module, frames: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (T, 3, H, W) in [−1, 1], on the device of the network."""
    return prepare({"images": on_device_of(network, channels_first(frames))})["images"]


def labels_of(scores: Tensor, side: int) -> np.ndarray:
    return F.interpolate(scores, (side, side), mode="bilinear").argmax(1).to(torch.uint8).cpu().numpy()


def features_of(network: nn.Module, clips: ClipSet) -> np.ndarray:
    """Features of every frame from a network's frozen layers, float16 (N, T, C, h, w); computed once and kept on disk.

    Half precision changes scores by about a thousandth. The key is a hash of the weights and of the images.
    """
    key = hashlib.sha256()
    for value in network.state_dict().values():
        key.update(value.cpu().numpy().tobytes())
    key.update(np.ascontiguousarray(clips.images))

    @torch.no_grad()
    def make() -> dict[str, np.ndarray]:
        was_training = network.training
        network.eval()
        made = [network.features(_as_input(network, clip)).half().cpu().numpy() for clip in clips.images]
        network.train(was_training)
        return {"features": np.stack(made)}

    return kept("wang2018", ("features", clips.images.shape, key.hexdigest()), make)["features"]


def smoothed(probabilities: Tensor) -> Tensor:
    """Class probabilities (T, classes, H, W) averaged over five frames with Gaussian weights, σ = 0.6 (Table 2).

    At the ends of a clip the weights of the existing frames are scaled to sum to one.
    """
    offsets = torch.arange(SMOOTHING_FRAMES, device=probabilities.device) - SMOOTHING_FRAMES // 2
    weights = torch.exp(-(offsets**2) / (2 * SMOOTHING_SIGMA**2))
    at = torch.arange(len(probabilities), device=probabilities.device)
    distance = at[None] - at[:, None] + SMOOTHING_FRAMES // 2  # (T, T)
    inside = (distance >= 0) & (distance < SMOOTHING_FRAMES)
    mixing = torch.where(inside, weights[distance.clamp(0, SMOOTHING_FRAMES - 1)], 0.0)
    return torch.einsum("ts,schw->tchw", mixing / mixing.sum(1, keepdim=True), probabilities)


def tracked(clips: ClipSet, *, frames_of: of.Sets) -> np.ndarray:
    """The face tracker of Table 2: dlib's landmarks on the frames that the networks see, as masks."""
    [whole] = [one for one in frames_of if one.names == clips.names]
    side = clips.labels.shape[-1]
    return np.stack([
        masks_of_track((landmarks.track(frames) + 0.5) * side / frames.shape[1] - 0.5, (side, side))
        for frames in whole.images
    ])  # fmt: skip


def mean_mask(training: ClipSet) -> Find:
    """The most frequent class of every pixel over the training frames: the prediction that ignores the image."""
    frames = flat(training.labels)
    mean = np.stack([(frames == k).sum(0) for k in range(len(training.classes))]).argmax(0).astype(np.uint8)

    def find(clips: ClipSet) -> np.ndarray:
        return np.broadcast_to(resize_labels(mean, clips.labels.shape[-1]), clips.labels.shape).copy()

    return find


# --- the full system -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """A `Find` in which the primary model finds eyes and mouth, and the close-up models label them anew (Sec. 3.3)."""

    primary: Find
    zoomed: Mapping[str, Callable[[np.ndarray, int], np.ndarray]]
    frames_of: of.Sets  # the frames at their stored size, which the close-up models see

    def __call__(self, clips: ClipSet) -> np.ndarray:
        [whole] = [one for one in self.frames_of if one.names == clips.names]
        pairs = zip(whole.images, self.primary(clips), strict=True)
        return np.stack([zoom_in(frames, first, self.zoomed) for frames, first in pairs])


def near_finder(model: nn.Module, config: Config) -> Callable[[np.ndarray, int], np.ndarray]:
    """Crops uint8 (T, H, W, 3) and a side -> labels uint8 (T, side, side) of the region's own classes."""

    def find(crops: np.ndarray, side: int) -> np.ndarray:
        resized = np.stack([resize_picture(crop, config.source.size) for crop in crops])
        return labels_of(scores_of(model, resized, config), side)

    return find


def zoom_in(
    frames: np.ndarray, first: np.ndarray, zoomed: Mapping[str, Callable[[np.ndarray, int], np.ndarray]]
) -> np.ndarray:
    """Primary labels (T, H, W) of frames (T, H, W, 3) with eyes and mouth replaced by the close-up models' labels.

    A region's box is fixed for all frames. What the primary model labels as eyes or mouth first becomes skin. A region
    that it finds in no frame stays as it is, and so does the background, whose IoU in Table 9 does not change.
    """
    combined = first.copy()
    for region, find in zoomed.items():
        box = of.region_box(first, region)
        if box is None:
            continue
        combined[np.isin(combined, of.PARTS[region])] = SKIN
        x, y, side = box
        found = find(of.crops(frames, box, side), side)
        top, left = max(0, y), max(0, x)
        bottom, right = min(y + side, first.shape[1]), min(x + side, first.shape[2])
        inside = found[:, top - y : bottom - y, left - x : right - x]
        part = np.array([0, *of.PARTS[region]], np.uint8)[inside]
        target = combined[:, top:bottom, left:right]
        new = (part > 0) & (target != BACKGROUND)
        target[new] = part[new]
    return combined
