import cv2
import numpy as np
import pytest

from reprolib.datasets import talkingfaces
from reprolib.errors import UserError

SIDE = 64


@pytest.fixture
def root(tmp_path):
    """Six clips of grey frames, brighter from clip to clip."""
    (tmp_path / "talkingfaces/video").mkdir(parents=True)
    for i in range(6):
        path = tmp_path / f"talkingfaces/video/clip{i}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
        for _ in range(3):
            writer.write(np.full((SIDE, SIDE, 3), 40 * i, np.uint8))
        writer.release()
    return tmp_path


def test_an_unreadable_clip_is_named(root):
    for i in range(6):
        (root / f"talkingfaces/video/clip{i}.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"all 6 sampled clips are damaged; the first: .*clip\d\.mp4 should"):
        talkingfaces.check(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"should hold talkingfaces/video"):
        talkingfaces.check(tmp_path)


def test_check_counts_clips_and_names_an_empty_one(root):
    assert talkingfaces.check(root) == ["talkingfaces: 6 clips, 64×64 pixels (6 decoded)"]
    (root / "talkingfaces/video/clip4.mp4").write_bytes(b"")
    first, second = talkingfaces.check(root)
    assert first == "talkingfaces: 6 clips, 64×64 pixels (5 decoded)"
    assert second.startswith("1 of 6 clips of talkingfaces are damaged and left out: ")
    assert "clip4.mp4 is empty" in second


def test_clutter_is_no_clip_and_the_folder_itself_is_taken(root):
    for name in ("._clip0.mp4", ".hidden.mp4"):
        (root / "talkingfaces/video" / name).write_bytes(b"x")
    assert talkingfaces.check(root / "talkingfaces") == ["talkingfaces: 6 clips, 64×64 pixels (6 decoded)"]
