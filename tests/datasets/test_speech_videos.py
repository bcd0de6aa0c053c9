import numpy as np
import pytest
from speech_clips import FACE, FACELESS, stub_dlib, write_clip

from reprolib.datasets import landmarks, speech_videos
from reprolib.datasets.speech import alignment, move
from reprolib.datasets.speech_videos import Utterance, drawn
from reprolib.errors import UserError


@pytest.fixture
def make(tmp_path, monkeypatch):
    stub_dlib(monkeypatch, tmp_path / "cache")

    def clip(name, *, text="YES", speaker="s1", **look):
        write_clip(tmp_path / f"{name}.mp4", **look)
        return Utterance(tmp_path / f"{name}.mp4", text, speaker, name)

    return clip


def load(utterances, **more):
    return speech_videos.load(utterances, corpus="test", size=32, progress=False, **more)


def test_clips_come_aligned_and_padded(make):
    clips = load([make("a", frames=4, grey=60), make("b", frames=6, grey=160, text="NO", speaker="s2")])
    assert clips.frames.shape == (2, 6, 32, 32)
    assert clips.lengths.tolist() == [4, 6]
    assert clips.texts == ("YES", "NO")
    assert clips.speakers == ("s1", "s2")
    assert clips.fps == 25
    np.testing.assert_allclose(clips.landmarks[1, 5], move(FACE, alignment(FACE[None], 32)), rtol=1e-5)
    assert clips.frames[0, 0].mean() == pytest.approx(60, abs=4)
    assert clips.frames[1, 5].mean() == pytest.approx(160, abs=4)


def test_a_window_is_cut_from_the_middle(make):
    clips = load([make("a", frames=7)], frames=3, vocabulary=("NO", "YES"))
    assert clips.lengths.tolist() == [3]
    assert clips.labels.tolist() == [1]


def test_a_clip_shorter_than_the_window_is_one_sentence(make):
    with pytest.raises(UserError, match=r"a\.mp4 should have 29 frames or more, found 7"):
        load([make("a", frames=7)], frames=29)


def test_clips_without_a_face_are_left_out_with_a_warning(make):
    with pytest.warns(UserWarning, match="1 of 2 clips of test show no face and are left out: a"):
        clips = load([make("a", grey=FACELESS), make("b")])
    assert clips.names == ("b",)


def test_no_face_in_any_clip_is_one_sentence(make):
    with pytest.raises(UserError, match="2 clips of test should show a face, but dlib finds none"):
        load([make("a", grey=FACELESS), make("b", grey=FACELESS)])


def test_an_unreadable_video_and_an_empty_transcript_are_one_sentence(make):
    broken = make("a")
    broken.video.write_bytes(b"no video")
    with pytest.raises(UserError, match=r"a\.mp4 should be a video, but no frame of it can be decoded"):
        load([broken])
    with pytest.raises(UserError, match=r"b\.mp4 should have a transcript, but it is empty"):
        load([make("b", text=" ")])


def test_unknown_speakers_are_told_apart_by_their_faces(make):
    clips = load([make("a", grey=50, speaker=None), make("b", grey=100, speaker=None), make("c", grey=52, speaker=None),
                  make("d", grey=52, speaker="s7")])  # fmt: skip
    assert clips.speakers == ("speaker-00", "speaker-01", "speaker-00", "s7")


def test_the_second_call_tracks_nothing_and_no_picture_is_kept(make, tmp_path, monkeypatch):
    first = load([make("a", speaker=None)])
    monkeypatch.setattr(landmarks, "track", None)
    monkeypatch.setattr(landmarks, "embed", None)
    again = load([Utterance(tmp_path / "a.mp4", "YES", None, "a")])
    np.testing.assert_array_equal(again.landmarks, first.landmarks)
    assert again.speakers == first.speakers
    [kept] = (tmp_path / "cache").rglob("*.npz")
    with np.load(kept) as arrays:
        assert set(arrays.files) == {"landmarks", "embedding"}


def test_so_many_are_drawn_in_their_order_or_it_is_one_sentence():
    ten = [Utterance(None, "", "", str(i)) for i in range(10)]
    four = [int(one.name) for one in drawn(ten, count=4, seed=1)]
    assert len(set(four)) == 4
    assert four == sorted(four)
    assert drawn(ten, count=None, seed=0) == ten
    for count in (0, 11):
        with pytest.raises(UserError, match=f"{count} clips are asked for, but there are 10"):
            drawn(ten, count=count, seed=0)
