import cv2
import numpy as np
import pytest

from reprolib.datasets import landmarks, talkingfaces
from reprolib.errors import UserError

SIDE = 64


@pytest.fixture
def face_points():
    """68 landmarks whose box is x 20–44, y 18–46 of a clip's frame."""
    points = np.random.default_rng(0).uniform((20, 18), (44, 46), (68, 2)).astype(np.float32)
    points[0], points[1] = (20, 18), (44, 46)
    return points


@pytest.fixture
def root(tmp_path, monkeypatch, face_points):
    """Six clips of grey frames, brighter from clip to clip; the second shows no face."""
    (tmp_path / "talkingfaces/video").mkdir(parents=True)
    for i in range(6):
        path = tmp_path / f"talkingfaces/video/clip{i}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
        for _ in range(talkingfaces.FIRST_FRAMES):
            writer.write(np.full((SIDE, SIDE, 3), 40 * i, np.uint8))
        writer.release()
    monkeypatch.setattr(talkingfaces, "CACHE", tmp_path / "cache")
    no_face = 40
    monkeypatch.setattr(landmarks, "detect", lambda f: None if abs(f.mean() - no_face) < 15 else face_points)
    return tmp_path


def test_faces_come_with_landmarks_in_pixels_of_the_crop(root):
    images, points, names = talkingfaces.unlabelled_faces(root, count=3, size=32, progress=False)
    assert images.shape == (3, 32, 32, 3) and images.dtype == np.uint8
    assert points.shape == (3, 68, 2) and points.dtype == np.float32
    assert len(set(names)) == 3
    box_height = (points[..., 1].max(1) - points[..., 1].min(1)) / 32
    np.testing.assert_allclose(box_height, talkingfaces.LANDMARK_HEIGHT, atol=0.03)


def test_clips_without_a_face_are_passed_over(root):
    _, _, names = talkingfaces.unlabelled_faces(root, count=5, size=32, progress=False)
    assert sorted(names) == ["clip0", "clip2", "clip3", "clip4", "clip5"]


def test_more_faces_than_there_are_is_an_error(root):
    with pytest.raises(UserError, match=r"6 faces are asked for, but only 5 of 6 clips show a face"):
        talkingfaces.unlabelled_faces(root, count=6, size=32, progress=False)


def test_the_seed_draws_the_clips(root):
    draws = {talkingfaces.unlabelled_faces(root, count=3, size=32, seed=s, progress=False)[2] for s in range(4)}
    assert len(draws) > 1
    again = talkingfaces.unlabelled_faces(root, count=3, size=32, seed=0, progress=False)[2]
    assert again == talkingfaces.unlabelled_faces(root, count=3, size=32, seed=0, progress=False)[2]


def test_the_second_call_detects_nothing_and_gives_the_same_faces(root, monkeypatch):
    first = talkingfaces.unlabelled_faces(root, count=3, size=32, progress=False)

    def detect(frame):
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(landmarks, "detect", detect)
    second = talkingfaces.unlabelled_faces(root, count=3, size=32, progress=False)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_allclose(first[1], second[1], atol=1e-4)
    assert first[2] == second[2]


def test_the_cache_holds_no_pictures(root):
    talkingfaces.unlabelled_faces(root, count=3, size=32, progress=False)
    for kept in (root / "cache/talkingfaces").iterdir():
        with np.load(kept) as arrays:
            assert arrays.files == ["landmarks"]


def test_another_clip_of_the_same_name_and_size_has_its_own_landmarks(root, monkeypatch, face_points):
    """A copy in another folder, at another resolution or of another person: the name says nothing."""
    first = talkingfaces.unlabelled_faces(root, count=5, size=32, progress=False)
    folder = root / "talkingfaces/video"
    (folder / "clip0.mp4").rename(folder / "other.mp4")
    (folder / "clip2.mp4").rename(folder / "clip0.mp4")
    (folder / "other.mp4").rename(folder / "clip2.mp4")
    seen = []
    monkeypatch.setattr(landmarks, "detect", lambda frame: seen.append(frame) or face_points)
    second = talkingfaces.unlabelled_faces(root, count=5, size=32, progress=False)
    assert len(seen) == 2  # both are looked at anew where the drawn frames differ, and none is mixed up
    at = [[names.index(name) for name in ("clip0", "clip2")] for names in (first[2], second[2])]
    np.testing.assert_array_equal(first[0][at[0]].mean((1, 2, 3)), second[0][at[1]][::-1].mean((1, 2, 3)))


def test_framing_puts_the_landmarks_where_fasseg_has_them(face_points):
    x, y, side = talkingfaces.framing(face_points)
    assert side == round(28 / talkingfaces.LANDMARK_HEIGHT)
    assert abs(x + side / 2 - 32) <= 1
    assert abs(y + talkingfaces.LANDMARK_MIDDLE * side - 32) <= 1


def test_an_unreadable_clip_is_named(root):
    for i in range(6):
        (root / f"talkingfaces/video/clip{i}.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"all 6 clips of talkingfaces are damaged; the first: .*clip\d\.mp4 should"):
        talkingfaces.unlabelled_faces(root, count=3, size=32, progress=False)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"should hold talkingfaces/video"):
        talkingfaces.unlabelled_faces(tmp_path, count=1, size=32, progress=False)


def test_check_counts_clips_and_names_an_empty_one(root):
    assert talkingfaces.check(root) == ["talkingfaces: 6 clips, 64×64 pixels (6 decoded)"]
    (root / "talkingfaces/video/clip4.mp4").write_bytes(b"")
    first, second = talkingfaces.check(root)
    assert first == "talkingfaces: 6 clips, 64×64 pixels (5 decoded)"
    assert second.startswith("1 of 6 clips of talkingfaces are damaged and left out: ")
    assert "clip4.mp4 is empty" in second


def test_a_damaged_clip_is_passed_over_with_a_warning(root):
    (root / "talkingfaces/video/clip4.mp4").write_bytes(b"no video")
    with pytest.warns(UserWarning, match="1 of 6 clips of talkingfaces are damaged and left out"):
        _, _, names = talkingfaces.unlabelled_faces(root, count=4, size=32, progress=False)
    assert sorted(names) == ["clip0", "clip2", "clip3", "clip5"]


def test_clutter_is_no_clip_and_the_folder_itself_is_taken(root):
    for name in ("._clip0.mp4", ".hidden.mp4"):
        (root / "talkingfaces/video" / name).write_bytes(b"x")
    assert talkingfaces.check(root / "talkingfaces") == ["talkingfaces: 6 clips, 64×64 pixels (6 decoded)"]
