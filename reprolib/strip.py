"""The strip of images that opens the book: for each paper an input, and our result or, until there is one, the idea."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from reprolib import figures, status, studies
from reprolib.datasets import facesynth
from reprolib.results import Results
from reprolib.store import RunStore
from reprolib.study import Study
from reprolib.summary import short_title

SIDE = 192  # pixels of a rendered face and of what is embedded; a card is about 150 wide
SHOWN = {  # datasets of which images may be in the book, and what a caption calls them
    "lfw-occluded": "LFW", "lfw-parts": "LFW", "celebamask": "CelebAMask-HQ", "facesynth": "rendered",
}  # fmt: skip
MOUTH = slice(48, 68)  # of the 68 landmarks
PAINTED = (0.0, *[0.75] * (len(facesynth.PARTS) - 1))  # the background stays as it is

Pair = tuple[np.ndarray, np.ndarray]  # input and result, uint8 (H, W, 3)


@dataclass(frozen=True)
class Card:
    """What the strip shows of one paper.

    `rows`: the prediction shown is that of the first recorded row, for example image `number`. `classes`: of the
    prediction's labels, in order; the first is not painted. `idea`: draws a rendered input and the paper's idea, shown
    if no prediction is recorded or its images may not be published.
    """

    idea: Callable[[], Pair]
    idea_in_words: str
    rows: Sequence[str] = ()
    classes: Sequence[str] = ()
    number: int = 0


def _parts() -> Pair:
    """A rendered face with its exact labels: the mask that is to be found."""
    face = facesynth.render(0, 12, size=SIDE)
    return face.image, figures.overlay(face.image, face.labels, facesynth.COLOURS, alpha=PAINTED)


def _crops() -> Pair:
    """A rendered face with a square crop round each of six parts."""
    face = facesynth.render(0, 6, size=SIDE)
    marked = face.image.copy()
    parts = {"brow_l": 0.24, "brow_r": 0.24, "eye_l": 0.2, "eye_r": 0.2, "nose": 0.26, "mouth": 0.32}  # part → side
    points = face.landmarks
    of = {
        "brow_l": points[17:22], "brow_r": points[22:27], "eye_l": points[36:42], "eye_r": points[42:48],
        "nose": points[27:36], "mouth": points[MOUTH],
    }  # fmt: skip
    for colour, (part, side) in zip(figures.LINE_COLOURS, parts.items(), strict=False):
        x, y = (of[part].min(0) + of[part].max(0)) / 2
        half = side * SIDE / 2
        corners = [(round(float(x + sign * half)), round(float(y + sign * half))) for sign in (-1, 1)]
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        cv2.rectangle(marked, *corners, rgb, 2, cv2.LINE_AA)
    return face.image, marked


def _mouth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, labels and landmarks of a rendered mouth, twice as wide as high."""
    face = facesynth.render(0, 8, size=3 * SIDE)
    x, y = face.landmarks[MOUTH].mean(0).round().astype(int)
    half = SIDE // 3
    window = slice(y - half, y + half), slice(x - 2 * half, x + 2 * half)
    return face.image[window], face.labels[window], face.landmarks[MOUTH] - (x - 2 * half, y - half)


def _lips() -> Pair:
    """A rendered mouth with its exact labels."""
    image, labels, _ = _mouth()
    return image, figures.overlay(image, labels, facesynth.COLOURS, alpha=PAINTED)


def _graph() -> Pair:
    """A rendered mouth with the landmarks as the nodes of a graph."""
    image, _, points = _mouth()
    drawn = image.copy()
    for contour in (points[:12], points[12:]):
        cv2.polylines(drawn, [contour.round().astype(np.int32)], True, (255, 255, 255), 1, cv2.LINE_AA)
    for inner in points[12:]:  # each with the nearest point of the outer contour
        outer = points[:12][np.square(points[:12] - inner).sum(1).argmin()]
        ends = [tuple(int(v) for v in end.round()) for end in (inner, outer)]
        cv2.line(drawn, *ends, (255, 255, 255), 1, cv2.LINE_AA)
    for x, y in points.round().astype(int):
        cv2.circle(drawn, (int(x), int(y)), 4, (0, 114, 178), -1, cv2.LINE_AA)
        cv2.circle(drawn, (int(x), int(y)), 4, (255, 255, 255), 1, cv2.LINE_AA)
    return image, drawn


CARDS = {
    "masi2020": Card(
        _parts, "parts and occlusion",
        rows=("Struct. via con. +Transf.+f.t.", "Struct. via con. +Transf.", "Softmax+CE +Transf."),
        classes=("background", "face", "occlusion"), number=4,
    ),
    "yang2023": Card(
        _lips, "lips, teeth, tongue",
        rows=("Proposed", "Baseline"), classes=("background", "lip", "inner mouth"), number=5,
    ),
    "yin2020": Card(
        _crops, "a crop per part",
        rows=("STN-iCNN", "STN-iCNN*"), number=0,
        classes=("background", "brow_l", "brow_r", "eye_l", "eye_r", "nose", "upper_lip", "cavity", "lower_lip"),
    ),
    "wang2018": Card(_parts, "parts of a face"),
    "sheng2021": Card(_graph, "a graph of landmarks"),
}  # fmt: skip


def strip(store: RunStore, *, profiles: Sequence[str] = status.PROFILES) -> str:
    """One card per paper, as HTML: two images with their descriptions, and the paper's name as a link to its page."""
    cards = [_card(study, card, store, profiles) for study, card in CARDS.items() if study in studies.STUDIES]
    return f'<div class="strip">{"".join(cards)}</div>'


def _card(study: str, card: Card, store: RunStore, profiles: Sequence[str]) -> str:
    recorded = _recorded(study, card, store, profiles)
    if recorded is None:
        (image, result), what, kind = card.idea(), "a rendered input", card.idea_in_words
        told = f"rendered; {card.idea_in_words}"
    else:
        (image, result), row, dataset = recorded
        what, kind = f"an input, {SHOWN[dataset]}", f"our result, row “{row}”"
        told = f"{SHOWN[dataset]}; our mask"
    ratio = image.shape[1] / image.shape[0]
    return (
        f'<figure style="flex: {ratio:.2f} 1 {6 * ratio:.1f}rem">'
        f"{_img(image, f'{short_title(study)}: {what}')}{_img(result, f'{short_title(study)}: {kind}')}"
        f'<figcaption><a href="{study}.html">{escape(short_title(study))}</a><br>{escape(told)}</figcaption></figure>'
    )


def _recorded(study_id: str, card: Card, store: RunStore, profiles: Sequence[str]) -> tuple[Pair, str, str] | None:
    """Input and painted prediction, row and dataset, from the records of the most trusted data that have them."""
    study = studies.load(study_id)
    if not card.rows or not isinstance(study, Study):
        return None
    results = Results(study, store)
    for source in results.sources(profiles):
        records = {name: of_seeds[0] for name, of_seeds in results.by_row(source).items()}
        kept = {name: results.arrays(record) for name, record in records.items()}
        for row in card.rows:
            predicted = kept.get(row, {}).get("example_predictions")
            images = next((arrays["example_images"] for name, arrays in kept.items() if "example_images" in arrays
                           and predicted is not None and arrays["example_images"].shape[:3] == predicted.shape
                           and _dataset(study, records[name]) == _dataset(study, records[row])), None)  # fmt: skip
            if images is not None and _dataset(study, records[row]) in SHOWN:
                i = card.number % len(images)
                alpha = (0.0, *[0.65] * (len(card.classes) - 1))
                painted = figures.overlay(images[i], predicted[i], figures.part_colours(card.classes), alpha=alpha)
                return (images[i], painted), row, _dataset(study, records[row])
    return None


def _dataset(study: Study, record) -> str:
    return study.config_of(record.trial).dataset


def _img(image: np.ndarray, alt: str) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((2 * SIDE, SIDE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" {size}>'
