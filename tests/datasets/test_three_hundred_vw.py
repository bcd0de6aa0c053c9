import re
import shutil
import struct

import cv2
import numpy as np
import pytest

from reprolib.datasets import three_hundred_vw, videos
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
            (folder / f"annot/{t + 1:06d}.pts").write_bytes(pts(points + np.array([t, 0])))
        writer.release()
    return tmp_path


def pts(points):
    lines = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)
    return f"version: 1\nn_points: {len(points)}\n{{\n{lines}\n}}\n".encode()


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


def damaged(root, message):
    """Both say which video is left out, and keep the other; the sentence where it is the only one."""
    assert three_hundred_vw.check(root)[0].startswith("300vw: 1 videos, 6 frames")
    assert re.search(rf"1 of 2 videos of 300vw are damaged and left out: .*{message}", three_hundred_vw.check(root)[-1])
    with pytest.warns(UserWarning, match=rf"left out: .*{message}"):
        clips = three_hundred_vw.load(root, size=16, frames=2)
    assert len(set(clips.subjects)) == 1
    shutil.rmtree(root / "300vw" / clips.subjects[0])
    for read in (lambda: three_hundred_vw.check(root), lambda: three_hundred_vw.load(root, size=16, frames=2)):
        with pytest.raises(UserError, match=message):
            read()


def test_a_missing_annotation_leaves_its_video_out(root):
    (root / "300vw/001/annot/000002.pts").unlink()
    damaged(root, r"should hold 6 \.pts files, found 5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda p: pts(p[:66]), "68 landmarks, found 66"),
        (lambda p: pts(np.where(np.arange(68)[:, None] == 3, np.nan, p)), "NaN or infinite"),
        (lambda _: b"version: 1\nn_points: 68\n", "between braces"),
        (lambda _: b"version: 1\nn_points: 68\n{\n1 2\n", "between braces"),
        (lambda _: b"<html>404</html>", "is a web page"),
        (lambda _: b"version: 1 caf\xe9", "should be text in UTF-8"),
        (lambda _: b"\0\5\x16\7" + bytes(60), "is a binary file"),
    ],
)
def test_a_bad_annotation_leaves_out_a_video_or_its_clip(root, points, content, message):
    (root / "300vw/001/annot/000001.pts").write_bytes(content(points))
    assert message in three_hundred_vw.check(root)[-1]
    with pytest.warns(UserWarning, match=f"1 of 2 clips of 300vw are damaged and left out: .*000001.pts .*{message}"):
        assert three_hundred_vw.load(root, size=16, frames=2).subjects == ("410",)


def test_a_video_without_annotation_is_left_out(root):
    shutil.rmtree(root / "300vw/001/annot")
    damaged(root, r"should hold 6 \.pts files, found 0")


def test_a_video_that_is_empty_is_left_out(root):
    (root / "300vw/410/vid.avi").write_bytes(b"")
    damaged(root, r"410.vid\.avi should be a video")


def test_a_video_that_is_missing_is_left_out(root):
    (root / "300vw/410/vid.avi").unlink()
    damaged(root, r"410.vid\.avi is missing")


def tell_frames(path, number):
    """Write a number of frames into the two headers of an AVI file."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.find(b"avih") + 8 + 16, number)
    struct.pack_into("<I", content, content.find(b"strh") + 8 + 32, number)
    path.write_bytes(content)


@pytest.mark.parametrize("told", [0, 1, 5, 7, 1000, 2**31])
def test_frames_are_counted_and_not_read_from_the_header(root, told):
    true = three_hundred_vw.load(root, size=16, frames=2)
    for name in ("001", "410"):
        tell_frames(root / f"300vw/{name}/vid.avi", told)
    assert three_hundred_vw.check(root)[0].startswith("300vw: 2 videos, 12 frames")
    np.testing.assert_array_equal(three_hundred_vw.load(root, size=16, frames=2).images, true.images)


def test_a_clip_that_cannot_be_decoded_is_left_out(root):
    """The header tells the number of annotated frames, but the file is cut short."""
    path = root / "300vw/001/vid.avi"
    content = path.read_bytes()
    frames = [at.start() for at in re.finditer(b"00dc", content[: content.index(b"idx1")])]
    path.write_bytes(content[: frames[3]])
    assert 0 < videos.count(path)[0] < FRAMES
    assert videos.count(path, expected=FRAMES)[0] == FRAMES
    with pytest.warns(UserWarning, match=r"clips of 300vw are damaged .*vid\.avi cannot be decoded up to frame"):
        three_hundred_vw.load(root, size=16, frames=2, every=1)


def test_clutter_is_neither_video_nor_annotation(root):
    for name in ("001/._vid.avi", "001/annot/._000001.pts", "001/annot/.DS_Store", "._001", "__MACOSX/001/vid.avi"):
        (root / "300vw" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "300vw" / name).write_bytes(b"\0\5\x16\7")
    assert three_hundred_vw.check(root)[0].startswith("300vw: 2 videos, 12 frames")
    assert three_hundred_vw.check(root / "300vw") == three_hundred_vw.check(root)


def test_a_folder_without_videos_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"should hold 300vw/ID/vid\.avi"):
        three_hundred_vw.check(tmp_path)
