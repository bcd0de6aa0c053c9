"""The common format in which the lipreading datasets return their clips, and the alignment of their faces."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from reprolib.datasets.people import split_people
from reprolib.errors import UserError

NOSE_TIP = 30
MOUTH = slice(48, 68)
EYES = slice(36, 42), slice(42, 48)
SIDE = 1.9  # of an aligned image, in face sizes: the jaw from cheek to cheek, with an open chin
NOSE_AT = np.array([0.5, 0.17])  # (x, y) in sides of an aligned image: below it are mouth and chin


@dataclass(frozen=True)
class SpeechSet:
    """Clips of people who say one word or one sentence each.

    frames: uint8 (N, T, S, S), grey aligned lower faces; zero after a clip's length. landmarks: float32 (N, T, 68, 2),
    pixels (x, y) of these frames; the brows' may be negative. lengths: int64 (N,), valid frames. texts: N words or
    sentences. labels: int64 (N,), indices into `vocabulary`, or None for sentences, whose vocabulary is ().
    speakers, names: N. fps: frames per second.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    lengths: np.ndarray
    texts: tuple[str, ...]
    labels: np.ndarray | None
    vocabulary: tuple[str, ...]
    speakers: tuple[str, ...]
    names: tuple[str, ...]
    fps: float

    def __len__(self) -> int:
        return len(self.frames)

    def subset(self, indices) -> SpeechSet:
        """The clips at `indices` (any integer sequence), in that order."""
        indices = [int(i) for i in indices]

        def pick(value):
            if value is None:
                return None
            return value[indices] if isinstance(value, np.ndarray) else tuple(value[i] for i in indices)

        per_clip = [f.name for f in fields(self) if f.name not in ("vocabulary", "fps")]
        return replace(self, **{name: pick(getattr(self, name)) for name in per_clip})


def split_by_speaker(clips: SpeechSet, *, parts: tuple[float, ...], seed: int) -> list[SpeechSet]:
    """One set of clips per entry of `parts` (shares of the speakers, sampled with `seed`); no speaker is in two.

    Every set gets at least one speaker. UserError for fewer speakers than parts.
    """
    sets = split_people(clips.speakers, parts=parts, seed=seed, called="speakers")
    return [clips.subset(indices) for indices in sets]


def alignment(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The similarity float64 (2, 3) that aligns a whole clip with landmarks (T, 68, 2) onto `size` × `size` pixels.

    On average over the clip the eyes are level, the tip of the nose is at `NOSE_AT`, and the face size is 1 / `SIDE` of
    the image. Face size is √(a² + b²) for the distance a between the eyes and b from their middle to the base of the
    nose. Head motion within the clip is kept.
    """
    mean = np.asarray(landmarks, np.float64).mean(axis=0)
    left, right = (mean[eye].mean(axis=0) for eye in EYES)
    across, down = right - left, mean[33] - (left + right) / 2
    face = max(1e-6, float(np.sqrt(across @ across + down @ down)))
    scale = size / (SIDE * face)
    turn = -np.arctan2(across[1], across[0])
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([matrix, (NOSE_AT * size - 0.5 - matrix @ mean[NOSE_TIP])[:, None]], axis=1)


def move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (…, 2) under a (2, 3) matrix, float32."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def align(frames: np.ndarray, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A clip uint8 (T, H, W) or (T, H, W, 3) RGB with landmarks (T, 68, 2): grey, aligned by `alignment`.

    Returns (uint8 (T, size, size), float32 (T, 68, 2)). Beyond a frame's edge its last pixels are repeated. Landmarks
    that are NaN are interpolated linearly in time. UserError if no frame has landmarks.
    """
    landmarks = fill_gaps(landmarks)
    matrix = alignment(landmarks, size)
    return np.stack([moved_frame(frame, matrix, size) for frame in frames]), move(landmarks, matrix)


def moved_frame(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """A frame uint8 (H, W) or (H, W, 3) RGB under a (2, 3) similarity: grey uint8 (size, size)."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
    zoom = float(np.sqrt(matrix[0, 0] ** 2 + matrix[1, 0] ** 2))
    if zoom < 0.7:  # blurred first, against aliasing
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 / zoom)
    return cv2.warpAffine(grey, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def fill_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (T, 68, 2) with NaN frames filled linearly in time, the ends by the nearest; UserError if all are."""
    landmarks = np.asarray(landmarks, np.float32)
    seen = np.isfinite(landmarks).all(axis=(1, 2))
    if seen.all() and len(landmarks):
        return landmarks
    if not seen.any():
        raise UserError("a clip should show a face, but none was found in any of its frames: leave this clip out")
    flat = landmarks.reshape(len(landmarks), -1)
    times = np.arange(len(landmarks))
    columns = [np.interp(times, times[seen], column) for column in flat[seen].T]
    return np.stack(columns, axis=1).reshape(landmarks.shape).astype(np.float32)


def mouth_crops(frames: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """Mouths of uint8 (N, T, S, S) frames with landmarks (N, T, 68, 2): uint8 (N, T, side, side).

    In each frame the crop's middle is the mean of points 48–67, to the whole pixel; beyond the frame its last pixels
    are repeated.
    """
    size = frames.shape[-1]
    middle = landmarks[..., MOUTH, :].mean(axis=-2)  # (N, T, 2)
    corner = np.round(middle - (side - 1) / 2).astype(int)
    steps = np.arange(side)
    x = np.clip(corner[..., :1] + steps, 0, size - 1)  # (N, T, side)
    y = np.clip(corner[..., 1:] + steps, 0, size - 1)
    n, t = np.ogrid[: frames.shape[0], : frames.shape[1]]
    return frames[n[..., None, None], t[..., None, None], y[..., :, None], x[..., None, :]]


def jitter(landmarks: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Landmarks (…, 2) with independent Gaussian errors of `sigma` pixels (standard deviation) in x and y; float32."""
    return (landmarks + rng.normal(0, sigma, landmarks.shape)).astype(np.float32)


def drift(landmarks: np.ndarray, sigma: float, rng: np.random.Generator, *, persistence: float) -> np.ndarray:
    """Landmarks (T, …, 2) with Gaussian errors of `sigma` pixels that persist in time; float32.

    `persistence`: correlation of the error from frame to frame. White noise would average out over a clip; a
    detector's error does not.
    """
    fresh = rng.normal(0, sigma, landmarks.shape)
    error = np.empty_like(fresh)
    error[0] = fresh[0]
    for t in range(1, len(fresh)):
        error[t] = persistence * error[t - 1] + np.sqrt(1 - persistence**2) * fresh[t]
    return (landmarks + error).astype(np.float32)


def gathered(
    clips: list[tuple[np.ndarray, np.ndarray]],
    *,
    texts: tuple[str, ...],
    speakers: tuple[str, ...],
    names: tuple[str, ...],
    fps: float,
    vocabulary: tuple[str, ...] = (),
) -> SpeechSet:
    """Aligned clips of any lengths ((T, S, S) frames, (T, 68, 2) landmarks) as one set, padded with zeros.

    With a `vocabulary`, texts are words of it. UserError if there is no clip, a text is empty or a word is unknown.
    """
    if not clips:
        raise UserError("a set of clips should have at least one, but none is left: ask for other clips")
    for name, text in zip(names, texts, strict=True):
        if not text.strip():
            raise UserError(f"the clip {name} should have a transcript, but it is empty: leave this clip out")
        if vocabulary and text not in vocabulary:
            raise UserError(f"the clip {name} should say a word of the vocabulary, found {text!r}: add the word to it")
    lengths = np.array([len(frames) for frames, _ in clips], np.int64)
    size = clips[0][0].shape[-1]
    frames = np.zeros((len(clips), lengths.max(), size, size), np.uint8)
    landmarks = np.zeros((len(clips), lengths.max(), 68, 2), np.float32)
    for i, (shown, points) in enumerate(clips):
        frames[i, : len(shown)], landmarks[i, : len(shown)] = shown, points
    labels = np.array([vocabulary.index(text) for text in texts], np.int64) if vocabulary else None
    return SpeechSet(frames, landmarks, lengths, tuple(texts), labels, vocabulary, tuple(speakers), tuple(names), fps)
