import numpy as np
import pytest

from reprolib.datasets import speech
from reprolib.datasets.facesynth.geometry import TEMPLATE
from reprolib.errors import UserError

FACE = TEMPLATE[:, :2] * 20 + (50, 40)  # 68 points of a face in a picture of 100 × 100


def turned(points, degrees, zoom, shift):
    a = np.deg2rad(degrees)
    return points @ (zoom * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])) + shift


def clip_of(length, size=8, speaker="a"):
    return np.full((length, size, size), length, np.uint8), np.full((length, 68, 2), length, np.float32)


def gathered(lengths=(3, 5), texts=("YES", "NO"), **more):
    names = tuple(f"clip{i}" for i in range(len(lengths)))
    settings = {"texts": texts, "speakers": tuple("abcdefgh"[: len(lengths)]), "names": names, "fps": 25.0} | more
    return speech.gathered([clip_of(n) for n in lengths], **settings)


def test_an_aligned_face_is_level_has_its_nose_tip_and_its_size_in_place():
    for degrees, zoom, shift in ((0, 1, (0, 0)), (20, 0.5, (3, -8)), (-35, 2.0, (30, 10))):
        points = turned(FACE, degrees, zoom, shift)[None]
        moved = speech.move(points, speech.alignment(points, 64))[0]
        left, right = moved[36:42].mean(0), moved[42:48].mean(0)
        assert left[1] == pytest.approx(right[1], abs=1e-4)
        np.testing.assert_allclose(moved[30] + 0.5, speech.NOSE_AT * 64, atol=1e-4)
        size = np.hypot(right[0] - left[0], np.linalg.norm(moved[33] - (left + right) / 2))
        assert size == pytest.approx(64 / speech.SIDE, rel=1e-5)


def test_the_lower_face_lies_inside_an_aligned_picture():
    moved = speech.move(FACE, speech.alignment(FACE[None], 64))
    lower = moved[[*range(2, 15), *range(31, 36), *range(48, 68)]]
    assert lower.min() > 0
    assert lower.max() < 63


def test_a_clip_is_aligned_as_a_whole_and_its_motion_is_kept():
    points = np.stack([FACE, FACE + np.array([4, 2])])
    _, moved = speech.align(np.zeros((2, 100, 100), np.uint8), points, 64)
    zoom = np.hypot(*speech.alignment(points, 64)[:, 0])
    np.testing.assert_allclose(moved[1] - moved[0], np.broadcast_to(np.array([4, 2]) * zoom, (68, 2)), rtol=1e-4)


@pytest.mark.parametrize("zoom", [0.6, 2.5])
def test_pictures_move_with_their_landmarks(zoom):
    points = turned(FACE, 10, zoom, (5, 0))
    frame = np.zeros((260, 300, 3), np.uint8)
    x, y = np.round(points[57]).astype(int)
    points = points + ((x, y) - points[57])  # a landmark on a whole pixel
    reach = 4 if zoom > 1 else 1
    frame[y - reach : y + reach + 1, x - reach : x + reach + 1] = 255
    pictures, moved = speech.align(frame[None], points[None], 64)
    assert pictures.shape == (1, 64, 64)
    ys, xs = np.mgrid[:64, :64]
    weight = pictures[0] / pictures.sum()
    np.testing.assert_allclose([(weight * xs).sum(), (weight * ys).sum()], moved[0, 57], atol=0.15)


def test_frames_without_landmarks_get_them_from_their_neighbours():
    points = np.stack([FACE + t for t in range(6)]).astype(np.float32)
    holes = points.copy()
    holes[[0, 2, 3]] = np.nan
    np.testing.assert_allclose(speech.fill_gaps(holes), points[[1, 1, 2, 3, 4, 5]], rtol=1e-6)


def test_a_clip_without_a_face_is_one_sentence():
    with pytest.raises(UserError, match="a clip should show a face, but none was found"):
        speech.align(np.zeros((2, 100, 100), np.uint8), np.full((2, 68, 2), np.nan), 64)


def test_mouth_crops_are_plain_crops_around_points_48_to_67():
    frames = np.random.default_rng(0).integers(256, size=(2, 3, 20, 20)).astype(np.uint8)
    landmarks = np.zeros((2, 3, 68, 2), np.float32)
    landmarks[..., 48:, :] = 9.5, 11.5
    landmarks[1, 2, 48:] = 10.5, 7.5
    crops = speech.mouth_crops(frames, landmarks, 6)
    assert crops.shape == (2, 3, 6, 6)
    np.testing.assert_array_equal(crops[0, 1], frames[0, 1, 9:15, 7:13])
    np.testing.assert_array_equal(crops[1, 2], frames[1, 2, 5:11, 8:14])


def test_mouth_crops_repeat_the_last_pixels_beyond_a_frame():
    frames = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    landmarks = np.zeros((1, 1, 68, 2), np.float32)
    crop = speech.mouth_crops(frames, landmarks, 5)[0, 0]
    np.testing.assert_array_equal(crop, np.pad(frames[0, 0, :3, :3], ((2, 0), (2, 0)), mode="edge"))


def test_jitter_has_the_spread_that_is_asked_for():
    points = np.full((40, 10, 68, 2), 7, np.float32)
    noisy = speech.jitter(points, 2.0, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    assert (noisy - 7).std() == pytest.approx(2, rel=0.02)
    np.testing.assert_array_equal(speech.jitter(points, 0.0, np.random.default_rng(0)), points)


def test_shorter_clips_are_padded_with_zeros():
    clips = gathered()
    assert clips.frames.shape == (2, 5, 8, 8)
    assert clips.landmarks.shape == (2, 5, 68, 2)
    assert clips.lengths.tolist() == [3, 5]
    assert clips.labels is None
    assert clips.vocabulary == ()
    assert (clips.frames[0, :3] == 3).all()
    assert not clips.frames[0, 3:].any()
    assert not clips.landmarks[0, 3:].any()


def test_texts_of_a_word_set_become_labels():
    assert gathered(vocabulary=("NO", "YES")).labels.tolist() == [1, 0]
    with pytest.raises(UserError, match="should say a word of the vocabulary, found 'YES'"):
        gathered(vocabulary=("NO",))


def test_an_empty_transcript_and_an_empty_set_are_one_sentence():
    with pytest.raises(UserError, match="clip1 should have a transcript, but it is empty"):
        gathered(texts=("YES", " "))
    with pytest.raises(UserError, match="should have at least one"):
        gathered(lengths=(), texts=())


def test_a_subset_keeps_clips_together():
    clips = gathered((3, 5, 4), ("A", "B", "C"), vocabulary=("A", "B", "C")).subset([2, 0])
    assert clips.texts == ("C", "A")
    assert clips.labels.tolist() == [2, 0]
    assert clips.lengths.tolist() == [4, 3]
    assert clips.names == ("clip2", "clip0")
    assert clips.vocabulary == ("A", "B", "C")
    assert len(clips) == 2


def test_nobody_speaks_in_two_parts_and_no_part_is_empty():
    clips = gathered((1,) * 9, tuple("ABCDEFGHI"), speakers=tuple("ppqqrrsst"))
    parts = speech.split_by_speaker(clips, parts=(0.8, 0.1, 0.1), seed=3)
    people = [set(part.speakers) for part in parts]
    assert all(people)
    assert sum(map(len, people)) == len(set().union(*people)) == 5
    assert sum(map(len, parts)) == 9
    again = speech.split_by_speaker(clips, parts=(0.8, 0.1, 0.1), seed=3)
    assert [part.names for part in parts] == [part.names for part in again]
    with pytest.raises(UserError, match="needs as many speakers, found 5"):
        speech.split_by_speaker(clips, parts=(1,) * 6, seed=0)


def test_a_drift_has_the_deviation_and_the_correlation_that_are_asked_for():
    error = speech.drift(np.zeros((20_000, 2)), 3.0, np.random.default_rng(0), persistence=0.9)
    assert error.dtype == np.float32
    assert error.std() == pytest.approx(3.0, rel=0.05)
    assert np.corrcoef(error[:-1, 0], error[1:, 0])[0, 1] == pytest.approx(0.9, abs=0.02)


def test_without_persistence_a_drift_is_white():
    error = speech.drift(np.zeros((20_000, 1)), 1.0, np.random.default_rng(0), persistence=0.0)
    assert abs(np.corrcoef(error[:-1, 0], error[1:, 0])[0, 1]) < 0.03
