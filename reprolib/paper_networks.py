"""The papers' own networks as tools, to be compared with ours: `lips --network fuzzy` and `parse --network icnn`.

Their weights were trained on rendered faces: see `weights/README.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprolib.face_finding import FoundFace
from reprolib.face_frame import Window, cut, frame_of, to_window
from reprolib.photos import WEIGHTS, PaperNetwork, Part, in_photo

SCALES = (0.5, 1.0, 1.5, 2.0)  # yang2023, Sec. IV-A3
PHOTO = 1.0  # the window of yin2020's photos: the whole of CelebA-HQ's square


def fuzzy(checkpoint: Path = WEIGHTS / "fuzzy.pt") -> PaperNetwork:
    """The lip network of yang2023: a crop of the mouth, averaged over sizes and mirror images.

    UserError if the file is missing or no checkpoint of it.
    """
    from reprolib.datasets.talking_mouths import crop_box, mouth_crop
    from reprolib.lip_checkpoints import load_model
    from reprolib.models.lip_inference import MultiScale, expecting, inputs

    model = load_model(checkpoint)

    def label(photo: np.ndarray, face: FoundFace) -> Part:
        crop, _ = mouth_crop(photo, face.points, size=model.size)
        x, y, width, _ = crop_box(face.points)
        scale = model.size[1] / width
        to_crop = np.array([[scale, 0, scale * (0.5 - x) - 0.5], [0, scale, scale * (0.5 - y) - 0.5]])
        # fuzzy learning modules take the expectation, so that the same photo always gives the same mask
        with torch.inference_mode(), expecting(model.network):
            found = MultiScale(model.network, SCALES)(inputs(crop[None]))[0].numpy()
        return in_photo(found, to_crop, photo.shape[:2])

    return PaperNetwork(("background", "lip", "teeth", "tongue", "cavity"), label)


def parsing_inputs(images: np.ndarray, small: int) -> tuple[Tensor, Tensor]:
    """What yin2020's network takes: uint8 (N, H, W, 3) -> float32 (N, 3, small, small) and (N, 3, H, W) in [0, 1]."""
    full = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()
    return F.interpolate(full, (small, small), mode="bilinear", align_corners=False, antialias=True), full


def icnn(checkpoint: Path = WEIGHTS / "icnn.pt") -> PaperNetwork:
    """The iCNN or STN-iCNN of yin2020, which sees the face in the middle of a square as in its training.

    UserError if the file is missing or no checkpoint of it.
    """
    from reprolib.studies.yin2020.checkpoint import load_model

    model = load_model(checkpoint)

    def label(photo: np.ndarray, face: FoundFace) -> Part:
        matrix = to_window(frame_of(face.points), Window(down=0.0, half=PHOTO, size=model.frame))
        with torch.inference_mode():
            small, full = parsing_inputs(cut(photo, matrix, model.frame)[None], model.small)
            labels = model.network.parse(small, full)[0].long()
        return in_photo(F.one_hot(labels, 9).permute(2, 0, 1).float().numpy(), matrix, photo.shape[:2])

    parts = ("right brow", "left brow", "right eye", "left eye", "nose", "upper lip", "inner mouth", "lower lip")
    return PaperNetwork(("background", *parts), label)
