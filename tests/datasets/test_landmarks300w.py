import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import landmarks300w, synthetic_clips
from reprolib.datasets.landmark_masks import landmark_mask
from reprolib.errors import UserError

SIDE = 64


@pytest.fixture(scope="module")
def face():
    return synthetic_clips.load(3, 1, size=SIDE, frames=1).landmarks[0, 0]


@pytest.fixture
def root(tmp_path, monkeypatch, face):
    """Two faces of one photo and one of another in each part; the last is 40 pixels high and its face moved up."""
    monkeypatch.setattr("reprolib.datasets.kept.CACHE", tmp_path / "cache")
    for part in landmarks300w.PARTS:
        folder = tmp_path / "landmarks300w" / part
        folder.mkdir(parents=True)
        for name in ("a_1", "a_2", "b_1"):
            height = SIDE - 24 if name == "b_1" else SIDE
            Image.fromarray(np.full((height, SIDE, 3), 90, np.uint8)).save(folder / f"{name}.jpg")
            points = face - (0, 12) if name == "b_1" else face
            lines = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)  # .pts count from 1
            (folder / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return tmp_path


def test_faces_come_as_clips_of_one_frame_with_the_photo_as_unit(root, face):
    faces = landmarks300w.load(root, "afw", size=SIDE)
    assert faces.images.shape == (3, 1, SIDE, SIDE, 3)
    assert faces.subjects == ("afw/a", "afw/a", "afw/b")
    np.testing.assert_allclose(faces.landmarks[0, 0], face, atol=1e-3)
    np.testing.assert_array_equal(faces.labels[0, 0], landmark_mask(faces.landmarks[0, 0], (SIDE, SIDE)))


def test_a_file_that_is_no_square_is_padded_with_black(root, face):
    faces = landmarks300w.load(root, "helen_train", size=SIDE)
    padded = faces.images[2, 0]
    assert not padded[:12].any() and not padded[-12:].any() and padded[12:-12].all()
    np.testing.assert_allclose(faces.landmarks[2, 0], face, atol=1e-3)


def test_landmarks_keep_their_place_at_another_size(root, face):
    faces = landmarks300w.load(root, "afw", size=2 * SIDE)
    np.testing.assert_allclose(faces.landmarks[0, 0], 2 * (face + 0.5) - 0.5, atol=1e-3)


def test_check_counts_faces_and_photos(root):
    assert landmarks300w.check(root)[1] == "landmarks300w: 3 faces of 2 photos in afw, the first 64×64"


def test_a_missing_annotation_is_one_sentence(root):
    (root / "landmarks300w/afw/a_2.pts").unlink()
    with pytest.raises(UserError, match=r"a_2\.pts is missing"):
        landmarks300w.load(root, "afw", size=SIDE)
    with pytest.raises(UserError, match=r"a_2\.pts is missing"):
        landmarks300w.check(root)


def test_another_part_is_refused(root):
    with pytest.raises(ValueError, match="helen_train, afw, found 'ibug'"):
        landmarks300w.load(root, "ibug", size=SIDE)


def test_names_of_one_photo():
    assert [landmarks300w.photo_of(name) for name in ("12_1", "12_10", "a_b", "_1")] == ["12", "12", "a_b", "_1"]
