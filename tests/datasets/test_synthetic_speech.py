import numpy as np
import pytest

from reprolib.datasets import rendered, synthetic_speech
from reprolib.datasets.facesynth import Delivery, FaceOptions, speak_closely
from reprolib.datasets.speech import NOSE_AT, alignment
from reprolib.datasets.synthetic_speech import (
    COLOURS,
    COMMANDS,
    DIGITS,
    GRAMMAR,
    sentences,
    viseme_class_of,
    words,
)
from reprolib.errors import UserError

SHORT_GRAMMAR = (COMMANDS, COLOURS, DIGITS)
PLAIN = FaceOptions(blur=0, noise=0, jpeg=0, low_resolution=0, low_light=0, side_light=0, camera_strength=0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "CACHE", tmp_path)
    return tmp_path


def few(seed=0, count=6, **changes):
    settings = {"vocabulary": ("pat", "bat", "water"), "frames": 6, "size": 32, "speakers": 2, "progress": False}
    return words(seed, count, **(settings | changes))


def spoken(text, **changes):
    settings = {"frame": lambda points: alignment(points, 48), "frames": 12, "size": 48, "options": PLAIN, "person": 1}
    return speak_closely(text, 5, 0, **(settings | changes))


def test_a_word_set_is_complete():
    clips = few()
    assert clips.frames.shape == (6, 6, 32, 32)
    assert clips.frames.dtype == np.uint8
    assert clips.landmarks.shape == (6, 6, 68, 2)
    assert clips.lengths.tolist() == [6] * 6
    assert clips.vocabulary == ("PAT", "BAT", "WATER")
    assert [clips.vocabulary[label] for label in clips.labels] == list(clips.texts)
    assert len(set(clips.names)) == 6


def test_every_speaker_says_every_word_equally_often():
    clips = few(count=6)
    assert {(s, w) for s, w in zip(clips.speakers, clips.texts, strict=True)} == {
        (f"person-{s}", w) for s in range(2) for w in clips.vocabulary
    }


def test_a_set_is_a_window_of_an_endless_series():
    whole, tail = few(count=4), few(count=2, first=2)
    np.testing.assert_array_equal(whole.frames[2:], tail.frames)
    np.testing.assert_array_equal(whole.landmarks[2:], tail.landmarks)
    assert whole.names[2:] == tail.names
    assert (few(seed=1, count=4).frames != whole.frames).any()


def test_the_second_call_renders_nothing(cache, monkeypatch):
    first = few(count=2)
    monkeypatch.setattr(synthetic_speech, "speak_closely", None)
    again = few(count=2)
    np.testing.assert_array_equal(again.frames, first.frames)
    np.testing.assert_array_equal(again.landmarks, first.landmarks)
    assert len(list(cache.rglob("frames.npy"))) == 1


def test_the_face_is_aligned_and_the_mouth_in_the_picture():
    clips = few(frames=10, size=48, count=4, tracker=0)
    nose = clips.landmarks[:, :, 30].mean(1)
    np.testing.assert_allclose(nose + 0.5, np.broadcast_to(NOSE_AT * 48, (4, 2)), atol=0.02)
    lips = clips.landmarks[:, :, 48:]
    assert lips.min() > 8
    assert lips.max() < 40


def test_landmarks_lie_on_the_lips():
    frames, points = spoken("far", frames=16)  # opens wide
    gap = points[:, 66, 1] - points[:, 62, 1]
    t = int(gap.argmax())
    assert gap[t] > 4
    column = round(float(points[t, 62, 0]))
    inside = frames[t, round(float(points[t, 62, 1])) + 1 : round(float(points[t, 66, 1])), column]
    chin = frames[t, round(float(points[t, 8, 1])) - 6, column]
    assert inside.min() < 0.7 * chin  # the cavity is dark


def test_homophenes_are_equal_on_the_lips_and_other_words_are_not():
    pat, bat, water = (spoken(word) for word in ("pat", "bat", "water"))
    np.testing.assert_array_equal(pat[0], bat[0])
    np.testing.assert_array_equal(pat[1], bat[1])
    assert np.abs(pat[1] - water[1])[:, 48:].max() > 1


def test_neighbouring_words_are_seen_at_the_ends_of_a_clip_and_not_in_its_middle():
    alone, among = (
        spoken("pat", frames=24, how=how)[1] for how in (Delivery(), Delivery(before=("two",), after=("choose",)))
    )
    differ = np.abs(alone - among)[:, 48:].max((1, 2))
    assert differ[0] > 1
    assert differ[-1] > 1
    assert differ[12] < 0.3


def test_a_shifted_word_comes_later():
    now, later = (spoken("pat", how=Delivery(shift=s))[1][:, 66, 1] for s in (0.0, 0.08))
    relative = np.corrcoef(now[:-2], later[2:])[0, 1]  # two frames
    assert relative > 0.98
    assert relative > np.corrcoef(now, later)[0, 1]


def test_landmarks_err_by_as_much_as_is_asked_for_in_the_same_pictures():
    exact, found = few(tracker=0, size=64), few(tracker=0.02, size=64)
    np.testing.assert_array_equal(exact.frames, found.frames)
    assert (found.landmarks - exact.landmarks).std() == pytest.approx(0.02 * 64, rel=0.05)


def test_a_faster_speaker_is_done_sooner():
    def duration(pace):
        _, points = spoken("please", frames=40, how=Delivery(pace=pace))
        moving = np.abs(np.diff(points[:, 66, 1] - points[:, 62, 1])) > 0.2
        return np.ptp(np.flatnonzero(moving))

    assert duration(1.3) < duration(0.8)


def test_the_picture_from_near_is_the_clip_from_afar_cut_out():
    near, points = spoken("pat", frames=3)
    far, same = spoken("pat", frames=3, frame=lambda p: alignment(p, 96), size=96)
    np.testing.assert_allclose((same + 0.5) / 2 - 0.5, points, atol=1e-3)
    halved = far.reshape(3, 48, 2, 48, 2).mean((2, 4))
    below_nose = np.s_[:, 14:34, 14:34]
    assert np.abs(halved[below_nose] - near[below_nose]).mean() < 12


def test_viseme_classes_number_what_looks_the_same():
    assert viseme_class_of(("PAT", "place", "BAT", "mat", "blue")).tolist() == [0, 1, 0, 0, 2]
    with pytest.raises(UserError, match="expected a word of the lexicon"):
        viseme_class_of(("xylophone",))


def test_sentences_follow_the_grammar_and_last_as_long_as_they_take():
    clips = sentences(2, 6, grammar=SHORT_GRAMMAR, size=32, speakers=3, progress=False)
    assert clips.labels is None
    assert clips.vocabulary == ()
    for text in clips.texts:
        said = text.lower().split()
        assert all(word in slot for word, slot in zip(said, SHORT_GRAMMAR, strict=True))
    assert clips.frames.shape[1] == clips.lengths.max()
    assert len(set(clips.lengths)) > 1
    for frames, length in zip(clips.frames, clips.lengths, strict=True):
        assert frames[:length].reshape(length, -1).any(1).all()
        assert not frames[length:].any()


def test_all_words_of_the_grammar_are_in_the_lexicon():
    assert len(viseme_class_of([word for slot in GRAMMAR for word in slot])) == 26


def test_bad_requests_are_one_sentence():
    with pytest.raises(UserError, match="at least one clip and one speaker, found 0 clips"):
        few(count=0)
    with pytest.raises(UserError, match="vocabulary of one word or more"):
        few(vocabulary=())
    with pytest.raises(UserError, match="expected a word of the lexicon, found “xylophone”"):
        few(vocabulary=("xylophone",))
    with pytest.raises(UserError, match="a grammar needs one word or more"):
        sentences(0, 1, grammar=(("bin",), ()), size=32, speakers=1, progress=False)
