import sys

import numpy as np
import pytest

from reprolib.datasets import landmarks
from reprolib.errors import UserError


@pytest.fixture
def counted(monkeypatch):
    """`detect` that finds landmarks in bright pictures only, and counts its calls."""
    calls = []

    def detect(image):
        calls.append(image.shape)
        return np.full((68, 2), image.mean(), np.float32) if image.mean() > 100 else None

    monkeypatch.setattr(landmarks, "detect", detect)
    return calls


def test_there_is_no_face_in_an_empty_picture():
    assert landmarks.detect(np.full((96, 96, 3), 128, np.uint8)) is None


def test_a_picture_without_face_gets_a_row_of_nan(counted):
    images = np.stack([np.full((8, 8, 3), 200, np.uint8), np.zeros((8, 8, 3), np.uint8)])
    found = landmarks.detect_many(images, progress=False)
    assert found.shape == (2, 68, 2) and found.dtype == np.float32
    assert (found[0] == 200).all()
    assert np.isnan(found[1]).all()


def test_the_cache_answers_for_the_same_pixels_only(counted, tmp_path):
    images = np.stack([np.full((8, 8, 3), 200, np.uint8), np.zeros((8, 8, 3), np.uint8)])
    first = landmarks.detect_many(images, cache=tmp_path, progress=False)
    second = landmarks.detect_many(images, cache=tmp_path, progress=False)
    np.testing.assert_array_equal(first, second)
    assert len(counted) == 2
    landmarks.detect_many(images + 1, cache=tmp_path, progress=False)
    assert len(counted) == 4


def test_the_cache_holds_numbers_and_no_pictures(counted, tmp_path):
    landmarks.detect_many(np.zeros((3, 8, 8, 3), np.uint8), cache=tmp_path, progress=False)
    (stored,) = tmp_path.iterdir()
    assert stored.stat().st_size == 3 * 68 * 2 * 4


def test_without_dlib_the_error_says_what_to_install(monkeypatch):
    landmarks._dlib_models.cache_clear()
    monkeypatch.setattr(landmarks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install them with `pip install \.\[landmarks\]`"):
        landmarks.detect(np.zeros((96, 96, 3), np.uint8))


def test_the_model_is_found_without_importing_its_package():
    landmarks._dlib_models.cache_clear()
    landmarks._dlib_models()
    assert "face_recognition_models" not in sys.modules
