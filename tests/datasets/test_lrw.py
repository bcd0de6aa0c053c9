import shutil

import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib.datasets import lrw
from reprolib.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Three words with two clips in every part."""
    stub_dlib(monkeypatch, tmp_path / "cache")
    for word in ("ABOUT", "WORLD", "YEARS"):
        for part in lrw.PARTS:
            for i in (1, 2):
                clip = tmp_path / f"lrw/lipread_mp4/{word}/{part}/{word}_0000{i}.mp4"
                write_clip(clip, frames=5)
                write(clip.with_suffix(".txt"), "Channel: x\nDisk reference: 1\nDuration: 0.40 seconds\n")
    return tmp_path


def load(root, part="train", **more):
    return lrw.load(root, part=part, size=32, frames=5, progress=False, **more)


def test_words_are_labelled_in_alphabetical_order(root):
    clips = load(root)
    assert clips.vocabulary == ("ABOUT", "WORLD", "YEARS")
    assert clips.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert clips.names[0] == "train/ABOUT_00001"
    assert len(set(clips.speakers)) == 6  # not told: everybody is another
    assert clips.frames.shape == (6, 5, 32, 32)


def test_a_smaller_task_has_fewer_words_and_clips(root):
    clips = load(root, "test", words=2, per_word=1)
    assert clips.vocabulary == ("ABOUT", "WORLD")
    assert clips.labels.tolist() == [0, 1]


def test_the_word_is_in_the_middle_of_its_clip(root):
    span = lrw.word_span(root / "lrw/lipread_mp4/WORLD/val/WORLD_00001.txt")
    assert span == pytest.approx((9.5, 19.5))


def test_check_says_what_is_there(root):
    assert lrw.check(root) == [f"lrw {part}: 3 words, 6 clips (6 decoded, 5–5 frames)" for part in lrw.PARTS]


def test_what_is_missing_is_one_sentence(root):
    with pytest.raises(UserError, match="a part of LRW is train, val, test, found 'dev'"):
        load(root, "dev")
    with pytest.raises(UserError, match="should have 29 frames or more, found 5"):
        lrw.load(root, part="train", size=32, progress=False)
    with pytest.raises(UserError, match="3 clips are asked for, but there are 2"):
        load(root, per_word=3)
    text = root / "lrw/lipread_mp4/YEARS/test/YEARS_00002.txt"
    text.write_text("Duration:\n")
    with pytest.raises(UserError, match="should have a line “Duration: "):
        lrw.word_span(text)
    assert "should have a line “Duration: " in lrw.check(root)[-1]
    text.unlink()
    assert "YEARS_00002.txt is missing" in lrw.check(root)[-1]
    for clip in (root / "lrw/lipread_mp4/WORLD/val").glob("*.mp4"):
        clip.unlink()
    with pytest.raises(UserError, match=r"should hold clips WORLD_00001\.mp4, but has none"):
        load(root, "val")
    with pytest.raises(UserError, match="should hold lrw/lipread_mp4"):
        load(root / "lrw/lipread_mp4/WORLD")


def test_clutter_is_no_word_and_no_clip(root):
    expected = lrw.check(root)
    for name in (".ipynb_checkpoints/x", "__MACOSX/x", "ABOUT/train/._ABOUT_00001.mp4", "ABOUT/.DS_Store", "Thumbs.db"):
        write(root / "lrw/lipread_mp4" / name, "x")
    assert lrw.vocabulary_of(root) == ("ABOUT", "WORLD", "YEARS")
    assert lrw.check(root) == expected


@pytest.mark.parametrize("inner", ["", "lrw", "lrw/lipread_mp4"])
def test_the_folder_itself_and_its_parent_are_taken(root, inner):
    assert lrw.check(root / inner) == lrw.check(root)


def test_a_part_that_is_not_unpacked_is_told(root):
    for word in ("ABOUT", "WORLD", "YEARS"):
        shutil.rmtree(root / f"lrw/lipread_mp4/{word}/val")
    assert lrw.check(root)[1] == "lrw val: not unpacked; without it train, test can be used"
    assert len(load(root)) == 6


@pytest.mark.parametrize("text", [b"Duration: caf\xe9 seconds", b"Duration: 1.2.3 seconds", b"Duration: . seconds"])
def test_a_damaged_text_is_named(tmp_path, text):
    (tmp_path / "w.txt").write_bytes(text)
    with pytest.raises(UserError, match=r"w\.txt should"):
        lrw.word_span(tmp_path / "w.txt")


def test_a_damaged_clip_is_left_out(root):
    (root / "lrw/lipread_mp4/WORLD/train/WORLD_00002.mp4").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 6 clips of lrw are damaged and left out: .*WORLD_00002\.mp4"):
        assert load(root).labels.tolist() == [0, 0, 1, 2, 2]
