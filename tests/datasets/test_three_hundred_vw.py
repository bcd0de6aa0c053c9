import cv2
import numpy as np
import pytest

from reprolib.datasets import three_hundred_vw
from reprolib.datasets.facesynth import video
from reprolib.errors import UserError

FRAMES = 6


@pytest.fixture(scope="module")
def points():
    return video(3, 1, frames=1, size=96).landmarks[0]


@pytest.fixture
def root(tmp_path, points):
    """Two videos of six frames, one of them of category 3; the face moves one pixel a frame to the right."""
    for name, grey in (("410", 60), ("001", 120)):
        folder = tmp_path / "300vw" / name
        (folder / "annot").mkdir(parents=True)
        writer = cv2.VideoWriter(str(folder / "vid.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 3, (120, 96))
        for t in range(FRAMES):
            writer.write(np.full((96, 120, 3), grey + 5 * t, np.uint8))
            write(folder / f"annot/{t + 1:06d}.pts", points + np.array([t, 0]))
        writer.release()
    return tmp_path


def write(path, points):
    lines = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{lines}\n}}\n")


def test_clips_are_seconds_of_videos_with_masks_of_their_landmarks(root):
    clips = three_hundred_vw.load(root, size=48, frames=2, every=1)
    assert clips.images.shape == (4, 2, 48, 48, 3)  # two seconds of three frames each
    assert clips.subjects == ("001", "001", "410", "410")
    assert clips.categories == (0, 0, 3, 3)  # the official training list has no categories
    assert clips.names[:2] == ("001-00000", "001-00003")
    np.testing.assert_allclose(clips.images[0].mean((1, 2, 3)), (120, 125), atol=2)
    np.testing.assert_allclose(clips.images[3].mean((1, 2, 3)), (75, 80), atol=2)
    assert set(np.unique(clips.labels)) >= {0, 1, 2, 3}
    moved = clips.landmarks[0, 1] - clips.landmarks[0, 0]
    assert (moved[:, 0] > 0).all()
    np.testing.assert_allclose(moved[:, 1], 0, atol=1e-4)


def test_every_tenth_clip_is_taken_where_there_are_more(root):
    assert three_hundred_vw.load(root, size=16, frames=2, every=2).names == ("001-00000", "410-00000")


def test_a_count_takes_clips_evenly_from_all_videos(root):
    every = three_hundred_vw.load(root, size=16, frames=2, every=1)
    some = three_hundred_vw.load(root, size=16, frames=2, every=1, count=2)
    assert some.names == ("001-00000", "410-00003")
    np.testing.assert_array_equal(some.images, every.images[[0, 3]])
    assert three_hundred_vw.load(root, size=16, frames=2, every=1, count=9).names == every.names


def test_points_count_from_one_in_the_file_and_from_zero_here(root, points):
    read = three_hundred_vw.read_points(root / "300vw/001/annot/000001.pts")
    np.testing.assert_allclose(read, points, atol=1e-3)


def test_check_counts_videos_frames_and_categories(root):
    assert three_hundred_vw.check(root) == [
        "300vw: 2 videos, 12 frames; test categories 1, 2, 3: 0, 0, 1 videos",
        "300vw: 2 of the 114 official videos are there",
    ]


def test_all_of_the_official_test_videos_have_a_category():
    counts = [list(three_hundred_vw.CATEGORY_OF.values()).count(category) for category in (1, 2, 3)]
    assert counts == [31, 19, 14]
    assert len({*three_hundred_vw.CATEGORY_OF, *three_hundred_vw.TRAINING.split()}) == 114


def test_a_missing_annotation_is_one_sentence(root):
    (root / "300vw/001/annot/000002.pts").unlink()
    with pytest.raises(UserError, match=r"000002.pts is missing"):
        three_hundred_vw.load(root, size=16, frames=2)
    with pytest.raises(UserError, match=r"should hold 6 .pts files, found 5"):
        three_hundred_vw.check(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:66], "68 landmarks, found 66"),
        (lambda p: np.where(np.arange(68)[:, None] == 3, np.nan, p), "NaN or infinite"),
    ],
)
def test_a_bad_annotation_is_one_sentence(root, points, change, message):
    write(root / "300vw/001/annot/000001.pts", change(points))
    with pytest.raises(UserError, match=message):
        three_hundred_vw.check(root)


def test_a_video_without_annotation_is_one_sentence(root):
    for path in (root / "300vw/001/annot").iterdir():
        path.unlink()
    (root / "300vw/001/annot").rmdir()
    with pytest.raises(UserError, match=r"should hold 6 .pts files, found 0"):
        three_hundred_vw.check(root)
    with pytest.raises(UserError, match=r"001/annot/000001.pts is missing"):
        three_hundred_vw.load(root, size=16, frames=2)


@pytest.mark.parametrize("kept", ["version: 1\nn_points: 68\n", "version: 1\nn_points: 68\n{\n1 2\n"])
def test_an_annotation_cut_short_is_one_sentence(root, kept):
    (root / "300vw/001/annot/000001.pts").write_text(kept)
    with pytest.raises(UserError, match=r"between braces"):
        three_hundred_vw.check(root)


def test_a_video_without_frames_is_one_sentence(root):
    (root / "300vw/410/vid.avi").write_bytes(b"")
    with pytest.raises(UserError, match=r"410.vid.avi should be a video"):
        three_hundred_vw.check(root)
    with pytest.raises(UserError, match=r"410.vid.avi should be a video"):
        three_hundred_vw.load(root, size=16, frames=2)


def test_a_folder_without_videos_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"should hold 300vw/ID/vid.avi"):
        three_hundred_vw.check(tmp_path)
