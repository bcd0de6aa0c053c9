"""From words to moving lips: every viseme pulls each articulator with its own strength and reach.

The blending follows Cohen and Massaro's dominance functions (1993): a track is the mean of the visemes' targets,
weighted by dominances that fall off exponentially in time, so that each sound is coloured by its neighbours.
"""

from __future__ import annotations

import numpy as np

from .lexicon import viseme_classes

ARTICULATORS = ("jaw", "part", "wide", "protrude", "press", "tuck", "teeth", "tongue")
# viseme: seconds it lasts, then target and dominance of each articulator in the order above
_SHAPES: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "rest":         (0.10, (0.00, 0.00, 0.00, 0.00, 0.05, 0.00, 0.4, 0.2), (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3)),
    "closed":       (0.09, (0.00, 0.00, 0.00, 0.05, 0.75, 0.00, 0.3, 0.2), (3.5, 6.0, 0.2, 0.2, 6.0, 3.0, 0.5, 0.2)),
    "lip-teeth":    (0.09, (0.06, 0.40, 0.05, 0.00, 0.05, 1.00, 0.9, 0.2), (2.5, 3.0, 0.3, 0.3, 2.0, 6.0, 2.5, 0.3)),
    "tongue-teeth": (0.08, (0.14, 0.45, 0.10, 0.00, 0.00, 0.00, 0.6, 0.95), (1.5, 1.0, 0.3, 0.3, 1.0, 1.0, 1.0, 3.0)),
    "alveolar":     (0.08, (0.07, 0.50, 0.15, 0.00, 0.00, 0.00, 0.9, 0.6), (1.2, 0.9, 0.3, 0.2, 1.0, 1.0, 1.5, 1.5)),
    "postalveolar": (0.10, (0.08, 0.75, -0.20, 0.65, 0.00, 0.00, 1.0, 0.4), (1.5, 1.8, 1.0, 2.5, 1.0, 1.0, 2.0, 0.6)),
    "back":         (0.07, (0.15, 0.30, 0.05, 0.00, 0.00, 0.00, 0.5, 0.3), (0.5, 0.4, 0.2, 0.2, 0.8, 0.8, 0.4, 0.6)),
    "lateral":      (0.08, (0.18, 0.40, 0.10, 0.00, 0.00, 0.00, 0.6, 0.85), (0.9, 0.6, 0.3, 0.3, 0.8, 0.8, 0.8, 2.5)),
    "rhotic":       (0.08, (0.12, 0.35, -0.15, 0.50, 0.00, 0.00, 0.5, 0.3), (0.8, 0.8, 0.8, 1.5, 0.8, 0.8, 0.5, 0.5)),
    "round glide":  (0.09, (0.06, 0.15, -0.40, 1.00, 0.00, 0.00, 0.1, 0.2), (1.8, 1.5, 1.5, 4.0, 1.5, 1.0, 1.0, 0.4)),
    "spread":       (0.11, (0.13, 0.50, 0.75, 0.00, 0.00, 0.00, 0.9, 0.5), (1.2, 1.2, 2.0, 1.5, 1.0, 1.0, 1.2, 0.8)),
    "half open":    (0.13, (0.42, 0.50, 0.45, 0.00, 0.00, 0.00, 0.7, 0.4), (1.6, 1.2, 1.4, 1.2, 1.0, 1.0, 1.0, 0.8)),
    "open":         (0.14, (0.72, 0.45, 0.10, 0.05, 0.00, 0.00, 0.5, 0.3), (2.0, 1.2, 1.2, 1.2, 1.0, 1.0, 0.8, 0.8)),
    "middle":       (0.10, (0.30, 0.40, 0.10, 0.05, 0.00, 0.00, 0.5, 0.4), (1.0, 0.8, 0.6, 0.6, 1.0, 1.0, 0.6, 0.6)),
    "open round":   (0.13, (0.55, 0.40, -0.35, 0.60, 0.00, 0.00, 0.3, 0.3), (1.8, 1.2, 1.5, 2.0, 1.0, 1.0, 0.8, 0.8)),
    "round":        (0.12, (0.10, 0.25, -0.50, 0.95, 0.00, 0.00, 0.1, 0.3), (1.5, 1.4, 2.0, 3.5, 1.2, 1.0, 1.0, 0.6)),
}  # fmt: skip
# seconds over which a dominance falls to 1/e: lips round early and long, closures are quick
_REACH = np.array([0.055, 0.045, 0.08, 0.10, 0.035, 0.04, 0.06, 0.05])
_PAUSE = 0.04  # between words


def timeline(words: tuple[str, ...], *, tempo: float) -> tuple[list[str], np.ndarray, list[tuple[float, float]]]:
    """Visemes in order, their middles in seconds, and start and end of every word; `tempo` > 1 is faster."""
    names, middles, spans, now = [], [], [], 0.0
    for word in words:
        start = now
        for name in viseme_classes(word):
            length = _SHAPES[name][0] / tempo
            names.append(name)
            middles.append(now + length / 2)
            now += length
        spans.append((start, now))
        now += _PAUSE / tempo
    return names, np.array(middles), spans


def articulate(names: list[str], middles: np.ndarray, times: np.ndarray, *, effort: float) -> np.ndarray:
    """float64 (T, 8): the ARTICULATORS at `times` seconds; `effort` scales how far they move from rest."""
    ends = [middles[0] - 0.16, *middles, middles[-1] + 0.16] if len(middles) else [times.mean()]
    shapes = [_SHAPES[name] for name in (["rest", *names, "rest"] if len(middles) else ["rest"])]
    targets, strengths = np.array([s[1] for s in shapes]), np.array([s[2] for s in shapes])  # (P, 8)
    distance = np.abs(times[:, None, None] - np.array(ends)[None, :, None])  # (T, P, 1)
    # silence lasts before the first and after the last sound
    distance[times < ends[0], 0] = 0
    distance[times > ends[-1], -1] = 0
    dominance = strengths * np.exp(-np.power(distance / _REACH, 1.5))
    dominance[:, [0, -1]] += 1e-6
    blended = (dominance * targets).sum(1) / dominance.sum(1)
    rest = np.array(_SHAPES["rest"][1])
    # how wide the mouth opens is a matter of effort; whether the lips meet is not
    scale = np.where(np.isin(ARTICULATORS, ("press", "tuck", "teeth", "tongue")), 1.0, effort)
    return rest + (blended - rest) * scale
