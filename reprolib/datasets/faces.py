"""The common format in which the image datasets return their faces."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class FaceSet:
    """Images of faces with pixel labels.

    images: uint8 (N, H, W, 3), RGB. labels: uint8 (N, H, W), indices into `classes`, 255 = ignored.
    names: N file stems or indices. persons: N identities, or None where the dataset has none.
    boxes: float32 (N, 4) face boxes x, y, width, height in pixels. landmarks: float32 (N, 68, 2), pixels (x, y).
    superpixels: int32 (N, H, W), ids from 0 within each image. tags: special properties of each face,
    such as ("blur", "moustache"). None = the dataset does not have it.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    persons: tuple[str, ...] | None = None
    boxes: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    superpixels: np.ndarray | None = None
    tags: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices) -> FaceSet:
        """The faces at `indices` (any integer sequence), in that order."""
        indices = [int(i) for i in indices]

        def pick(value):
            return value[indices] if isinstance(value, np.ndarray) else tuple(value[i] for i in indices)

        per_face = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "classes"}
        return replace(self, **{name: pick(v) for name, v in per_face.items() if v is not None})
