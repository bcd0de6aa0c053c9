import numpy as np
import pytest

from reprolib.datasets import rendered, synthetic_clips
from reprolib.datasets.clips import ClipSet, joined, split_by_subject
from reprolib.datasets.landmark_masks import SKIN, landmark_mask
from reprolib.errors import UserError


def clips(people, *, frames=7):
    n = len(people)
    return ClipSet(
        images=np.arange(n * frames, dtype=np.uint8).reshape(n, frames, 1, 1, 1).repeat(3, -1),
        labels=np.arange(n * frames, dtype=np.uint8).reshape(n, frames, 1, 1),
        landmarks=np.zeros((n, frames, 68, 2), np.float32),
        classes=("a",),
        names=tuple(f"clip{i}" for i in range(n)),
        subjects=tuple(people),
        categories=tuple(1 + i % 3 for i in range(n)),
    )


def test_joined_sets_hold_the_clips_of_both():
    one, other = clips("ab"), clips("c")
    both = joined(one, other)
    np.testing.assert_array_equal(both.images, np.concatenate([one.images, other.images]))
    assert both.subjects == ("a", "b", "c") and both.names == ("clip0", "clip1", "clip0")
    assert both.categories == (1, 2, 1) and both.classes == one.classes


@pytest.mark.parametrize("people", ["aabbccddeeffgghhiijj", "abc", "abcd"])
def test_nobody_is_in_two_sets_and_no_set_is_empty(people):
    for seed in range(5):
        sets = split_by_subject(clips(people), parts=(0.7, 0.1, 0.2), seed=seed)
        assert sum(map(len, sets)) == len(people)
        assert all(len(one) for one in sets)
        for i, one in enumerate(sets):
            for other in sets[i + 1 :]:
                assert not set(one.subjects) & set(other.subjects)
    again = split_by_subject(clips(people), parts=(0.7, 0.1, 0.2), seed=4)
    assert [one.names for one in again] == [one.names for one in sets]


def test_shares_of_people_are_kept():
    sets = split_by_subject(clips("abcdefghijklmnopqrst"), parts=(0.7, 0.1, 0.2), seed=0)
    assert [len(one) for one in sets] == [14, 2, 4]


@pytest.mark.parametrize("parts", [(0.1, 0.5, 0.01, 0.39), (0.001, 0.001, 1), (1, 0.001, 0.001, 0.001)])
def test_small_shares_get_one_person(parts):
    sets = split_by_subject(clips("abcdefghij"), parts=parts, seed=0)
    assert sum(map(len, sets)) == 10
    assert min(map(len, sets)) == 1


def test_fewer_people_than_sets_is_one_sentence():
    with pytest.raises(UserError, match="needs as many people, found 2"):
        split_by_subject(clips("aab"), parts=(1, 1, 1), seed=0)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """No pictures that an older facesynth has left."""
    monkeypatch.setattr(rendered, "CACHE", tmp_path)


@pytest.mark.usefixtures("fresh")
def test_synthetic_clips_come_three_a_person_one_of_each_category():
    made = synthetic_clips.load(5, 4, size=32, frames=2)
    assert made.images.shape == (4, 2, 32, 32, 3)
    assert made.subjects == ("person-0",) * 3 + ("person-1",)
    assert made.categories == (1, 2, 3, 1)
    np.testing.assert_array_equal(made.labels[2, 1], landmark_mask(made.landmarks[2, 1], (32, 32)))
    later = synthetic_clips.load(5, 2, size=32, frames=2, first=2)
    np.testing.assert_array_equal(later.images[0], made.images[2])
    assert later.subjects == ("person-0", "person-1")


@pytest.mark.usefixtures("fresh")
def test_synthetic_clips_may_all_be_of_one_category():
    made, mixed = (
        synthetic_clips.load(5, 3, size=32, frames=1, category=3),
        synthetic_clips.load(5, 3, size=32, frames=1),
    )
    assert made.categories == (3, 3, 3)
    assert made.subjects == mixed.subjects
    np.testing.assert_array_equal(made.images[2], mixed.images[2])
    assert (made.images[0] != mixed.images[0]).any()


def test_skin_is_about_a_third_of_synthetic_pictures():
    labels = synthetic_clips.load(5, 9, size=32, frames=1).labels
    assert (labels == SKIN).mean() == pytest.approx(1 / 3, abs=0.03)
