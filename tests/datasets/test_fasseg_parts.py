"""FASSEG's classes divided into HELEN's parts; dlib is replaced by landmarks that are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import fasseg, fasseg_parts, landmarks
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.fasseg import BACKGROUND, COLOURS, EYES, HAIR, MOUTH, NOSE, SKIN
from reprolib.datasets.parsing_faces import CLASSES, INNER_MOUTH, LOWER_LIP, UPPER_LIP

SIDE = 128


def raw_labels() -> np.ndarray:
    """A frontal face with hair on top, two free eyebrows, eyes, nose and mouth."""
    labels = np.full((SIDE, SIDE), BACKGROUND, np.uint8)
    labels[4:, 20:108] = SKIN
    labels[4:24, 16:112] = HAIR
    labels[40:44, 32:52] = labels[40:44, 76:96] = HAIR
    labels[48:54, 34:50] = labels[48:54, 78:94] = EYES
    labels[56:72, 58:70] = NOSE
    labels[84:96, 48:80] = MOUTH
    return labels


def lips(*, opened: float) -> np.ndarray:
    """Landmarks (68, 2) whose lips fill the mouth of `raw_labels`, parted by `opened` pixels."""
    points = np.zeros((68, 2), np.float32)
    turn = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    points[48:60] = np.stack([63.5 + 15.5 * np.cos(turn), 89.5 + 5.5 * np.sin(turn)], 1)
    turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    points[60:68] = np.stack([63.5 + 12 * np.cos(turn), 89.5 + opened / 2 * np.sin(turn)], 1)
    return points


def parts_of(labels: np.ndarray, points: np.ndarray | None = None) -> FaceSet:
    images = np.zeros((1, *labels.shape, 3), np.uint8)
    faces = FaceSet(images=images, labels=labels[None], classes=fasseg.CLASSES, names=("V2/Test/1",))
    return fasseg_parts.as_parts(faces, np.full((1, 68, 2), np.nan) if points is None else points[None])


def test_eyes_and_brows_are_divided_by_the_middle_line():
    labels = parts_of(raw_labels()).labels[0]
    assert [labels[42, 40], labels[42, 90], labels[50, 40], labels[50, 90], labels[60, 63]] == [1, 2, 3, 4, 5]
    assert labels[10, 60] == labels[78, 60] == 0  # scalp hair and skin


def test_the_middle_line_turns_with_the_head():
    turned = np.array(Image.fromarray(raw_labels()).rotate(25))
    labels = parts_of(turned).labels[0]
    back = np.array(Image.fromarray(labels).rotate(-25))
    assert [back[42, 40], back[42, 90], back[50, 40], back[50, 90]] == [1, 2, 3, 4]


def test_a_brow_that_is_not_painted_is_named_in_the_tags():
    labels = raw_labels()
    labels[40:44, 76:96] = SKIN
    faces = parts_of(labels)
    assert faces.tags == (("no brow 2", "undivided mouth"),)
    assert fasseg_parts.both_brows(faces) == 0
    assert fasseg_parts.both_brows(parts_of(raw_labels())) == 1


def test_specks_beside_a_brow_are_no_brow():
    labels = raw_labels()
    labels[44:46, 53:56] = HAIR
    found = parts_of(labels).labels[0]
    assert found[42, 40] == 1 and found[45, 54] == 0


def test_without_landmarks_the_whole_mouth_is_lower_lip():
    faces = parts_of(raw_labels())
    assert set(faces.labels[0][raw_labels() == MOUTH]) == {LOWER_LIP}
    assert faces.tags == (("undivided mouth",),)


def test_landmarks_divide_an_open_mouth_into_three():
    faces = parts_of(raw_labels(), lips(opened=6))
    assert faces.tags == ((),) and faces.classes == CLASSES
    column = faces.labels[0][84:96, 63]
    assert column.tolist() == [UPPER_LIP] * 3 + [INNER_MOUTH] * 6 + [LOWER_LIP] * 3
    np.testing.assert_array_equal(faces.labels[0] >= UPPER_LIP, raw_labels() == MOUTH)


def test_a_hardly_open_mouth_is_closed():
    column = parts_of(raw_labels(), lips(opened=1)).labels[0][84:96, 63]
    assert column.tolist() == [UPPER_LIP] * 6 + [LOWER_LIP] * 6


def test_landmarks_beside_the_mouth_divide_nothing():
    assert parts_of(raw_labels(), lips(opened=6) + 20).tags == (("undivided mouth",),)


def test_landmarks_need_not_lie_on_the_painted_mouth_exactly():
    faces = parts_of(raw_labels(), (lips(opened=6) - 64) * 0.9 + 64)
    assert faces.tags == ((),)
    assert (faces.labels[0] == parts_of(raw_labels(), lips(opened=6)).labels[0]).mean() > 0.995


def test_a_face_shows_all_when_it_has_two_eyes_a_nose_and_a_mouth():
    assert fasseg_parts.shows_all(raw_labels())
    for part in (EYES, NOSE, MOUTH):
        labels = raw_labels()
        labels[labels == part] = SKIN
        assert not fasseg_parts.shows_all(labels)
    one_eyed = raw_labels()
    one_eyed[48:54, 80:94] = SKIN  # of the second eye a sliver is left
    assert not fasseg_parts.shows_all(one_eyed)


@pytest.fixture
def root(tmp_path) -> Path:
    for part, name in (
        ("V2/Train", "1"),
        ("V2/Test", "2"),
        ("V3/Train", "-45/personne01146+0-45"),
        ("V3/Test", "+60/personne08148+0+60"),
    ):
        version = part.split("/")[0]
        labels = raw_labels()
        for kind, suffix, pixels in (
            ("RGB", ".jpg", np.full((SIDE, SIDE, 3), 120, np.uint8)),
            ("Labels" if version == "V2" else "labels", ".png", COLOURS[labels].astype(np.uint8)),
        ):
            path = tmp_path / "fasseg" / f"{part}_{kind}" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path


def test_load_leaves_out_profiles_and_frames_the_photos_with_zeros(root):
    faces = fasseg_parts.load(root, frame=120, divide_mouth=False)
    assert faces.names == ("V2/Train/1", "V2/Test/2", "V3/Train/-45/personne01146+0-45")
    assert faces.images.shape == (3, 120, 120, 3) and faces.labels.shape == (3, 120, 120)
    assert (faces.images[:, 18:102, 18:102] > 100).all()
    assert faces.images.astype(int).sum() == faces.images[:, 18:102, 18:102].astype(int).sum()
    assert faces.persons[2] == "V3/01"
    assert np.isnan(faces.landmarks).all()
    # skin spans 88 of 128 pixels, and 84 of the frame's 120 are photo
    assert faces.boxes[0, 2] == pytest.approx(88 / 128 * 84, abs=1)
    assert faces.boxes[0, 0] == pytest.approx(18 + 20 / 128 * 84, abs=1)


def test_check_counts_faces_and_brows(root, monkeypatch):
    monkeypatch.setattr(fasseg, "COUNTS", dict.fromkeys(fasseg.COUNTS, 1))
    monkeypatch.setattr(fasseg, "MISLABELLED", frozenset())
    assert fasseg_parts.check(root)[-1] == "FASSEG for parsing: 3 faces with both eyes, 3 with both brows"


def test_landmarks_lie_on_the_framed_photo(root, monkeypatch):
    seen = []

    def detect_many(images, *, cache, progress):
        seen.append(images.shape)
        return np.repeat(lips(opened=6)[None] * 2 + 0.5, len(images), axis=0)

    monkeypatch.setattr(landmarks, "detect_many", detect_many)
    faces = fasseg_parts.load(root, frame=120)
    assert seen == [(3, 256, 256, 3)]
    assert faces.tags[0] == ()
    assert {UPPER_LIP, INNER_MOUTH, LOWER_LIP} <= set(np.unique(faces.labels[0]))
    ys, xs = np.nonzero(faces.labels[0] >= UPPER_LIP)
    middle = (faces.landmarks[0, 48:60].min(axis=0) + faces.landmarks[0, 48:60].max(axis=0)) / 2
    np.testing.assert_allclose(middle, ((xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2), atol=0.6)
