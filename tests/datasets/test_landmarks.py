import os
import sys

import numpy as np
import pytest

from reprolib.datasets import landmarks
from reprolib.datasets.facesynth import FaceOptions, render
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
    with np.load(stored) as arrays:
        assert {name: arrays[name].shape for name in arrays.files} == {"landmarks": (3, 68, 2)}


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-40], lambda c: b"", lambda c: b"x" * len(c), lambda c: c[:60] + c[90:]]
)
def test_a_damaged_file_of_the_cache_is_made_again(counted, tmp_path, spoil):
    images = np.full((1, 8, 8, 3), 200, np.uint8)
    first = landmarks.detect_many(images, cache=tmp_path, progress=False)
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(spoil(stored.read_bytes()))
    np.testing.assert_array_equal(landmarks.detect_many(images, cache=tmp_path, progress=False), first)
    assert len(counted) == 2
    landmarks.detect_many(images, cache=tmp_path, progress=False)
    assert len(counted) == 2


def test_a_file_of_the_cache_runs_no_code(tmp_path):
    class Poison:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    np.savez(tmp_path / "key.npz", landmarks=np.array([Poison()], dtype=object))
    (tmp_path / "ran").unlink(missing_ok=True)
    found = landmarks.remembered(tmp_path, "key", lambda: {"landmarks": np.ones(3)})
    np.testing.assert_array_equal(found["landmarks"], np.ones(3))
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_loses_the_cache_and_not_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.warns(UserWarning, match="No space left on device"):
        found = landmarks.remembered(tmp_path, "key", lambda: {"landmarks": np.ones(3)})
    np.testing.assert_array_equal(found["landmarks"], np.ones(3))
    assert list(tmp_path.iterdir()) == []


def test_the_key_depends_on_bytes_and_never_on_names(tmp_path):
    for folder, content in (("s1", b"one"), ("s2", b"two"), ("copy", b"one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bbaf2n.mpg").write_bytes(content)
    keys = [landmarks.hash_of("v1", tmp_path / folder / "bbaf2n.mpg") for folder in ("s1", "s2", "copy")]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]
    assert landmarks.hash_of("a", "bc") != landmarks.hash_of("ab", "c")


def test_without_dlib_the_error_says_what_to_install(monkeypatch):
    landmarks._dlib_models.cache_clear()
    monkeypatch.setattr(landmarks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install them with `pip install \.\[landmarks\]`"):
        landmarks.detect(np.zeros((96, 96, 3), np.uint8))


def test_the_model_is_found_without_importing_its_package():
    landmarks._dlib_models.cache_clear()
    landmarks._dlib_models()
    assert "face_recognition_models" not in sys.modules


def test_all_faces_are_found_the_largest_first_and_a_zoom_makes_finer_steps():
    plain = FaceOptions(occluder=0, yaw=(-5, 5), pitch=(-3, 3), roll=(-3, 3), glasses=0, beard=0, low_light=0, blur=0)
    picture = np.full((200, 400, 3), 128, np.uint8)
    small, large = (render(4, 1, size=size, options=plain) for size in (128, 192))
    picture[40:168, 10:138], picture[4:196, 180:372] = small.image, large.image
    plain_faces, zoomed = landmarks.detect_all(picture), landmarks.detect_all(picture, zoom=4)
    for found in (plain_faces, zoomed):
        assert found.shape == (2, 68, 2) and found.dtype == np.float32
        assert np.ptp(found[0, :, 0]) > np.ptp(found[1, :, 0])
        assert np.abs(found[0] - np.add(large.landmarks, (180, 4))).mean() < 0.05 * 192
        assert np.abs(found[1] - np.add(small.landmarks, (10, 40))).mean() < 0.05 * 128
    assert (plain_faces % 1 == 0).all() and (zoomed % 1 != 0).any()
    np.testing.assert_array_equal(landmarks.detect(picture), plain_faces[0])


def test_the_same_face_has_the_same_embedding():
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    points = np.random.default_rng(1).uniform(20, 70, (68, 2)).astype(np.float32)
    one, other = landmarks.embed(image, points), landmarks.embed(image, points)
    assert one.shape == (128,) and one.dtype == np.float32
    np.testing.assert_array_equal(one, other)


@pytest.fixture
def searched(monkeypatch):
    """A detector that finds a face in bright frames only; the frames that it was shown, by brightness."""
    frames = []

    class Box:
        def area(self):
            return 1

    class Shape:
        def __init__(self, frame):
            self.value = float(frame.mean())

        def parts(self):
            return [type("Point", (), {"x": self.value, "y": 0.0})()] * 68

    def detector(frame, upsampled):
        frames.append(int(frame.mean()))
        return [Box()] if frame.mean() >= 100 else []

    monkeypatch.setattr(landmarks, "_dlib_models", lambda: (detector, lambda frame, box: Shape(frame)))
    return frames


def clip(*brightness):
    return np.stack([np.full((4, 4, 3), value, np.uint8) for value in brightness])


def test_a_track_searches_every_eighth_frame_and_places_points_in_each(searched):
    track = landmarks.track(clip(*range(100, 118)))
    assert searched == [100, 108, 116]
    np.testing.assert_array_equal(track[:, 0, 0], range(100, 118))


def test_a_track_begins_with_the_first_frame_that_shows_a_face(searched):
    track = landmarks.track(clip(1, 2, 103, 4))
    assert searched == [1, 2, 103]
    assert np.isfinite(track).all(axis=(1, 2)).tolist() == [False, False, True, True]


def test_a_lost_face_keeps_its_box_for_one_search(searched):
    track = landmarks.track(clip(100, 1, 2, 3, 4, 5, 106, 7), every=2)
    assert searched == [100, 2, 4, 5, 106]
    assert np.isfinite(track).all(axis=(1, 2)).tolist() == [True] * 4 + [False] * 2 + [True] * 2
