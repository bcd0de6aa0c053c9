from dataclasses import replace

import numpy as np
import pytest

from reprolib.datasets import mouths
from reprolib.datasets.mouths import BACKGROUND, CAVITY, CLASSES, HARD_CASES, LIP, TEETH, TONGUE
from reprolib.errors import UserError

SIZE = (64, 128)


@pytest.fixture(scope="module")
def faces():
    return mouths.synthetic(0, 22, size=SIZE)


def test_mouths_have_five_classes_speakers_and_tags(faces):
    assert faces.classes == ("background", "lip", "teeth", "tongue", "cavity") == CLASSES
    assert faces.images.shape == (22, *SIZE, 3) and faces.images.dtype == np.uint8
    assert faces.labels.shape == (22, *SIZE) and faces.labels.dtype == np.uint8
    assert set(np.unique(faces.labels)) == {BACKGROUND, LIP, TEETH, TONGUE, CAVITY}
    assert len(faces.tags) == 22 and set().union(*faces.tags) <= set(HARD_CASES)


def test_eleven_mouths_in_a_row_are_one_speakers(faces):
    assert faces.persons == ("speaker-0-0",) * 11 + ("speaker-0-1",) * 11


def test_first_counts_on_in_the_same_series(faces):
    rest = mouths.synthetic(0, 2, size=SIZE, first=20)
    np.testing.assert_array_equal(faces.images[20:], rest.images)
    np.testing.assert_array_equal(faces.labels[20:], rest.labels)
    assert faces.names[20:] == rest.names and faces.tags[20:] == rest.tags


def test_another_seed_gives_other_mouths(faces):
    assert (mouths.synthetic(1, 1, size=SIZE).images[0] != faces.images[0]).any()


def test_every_hard_case_but_occlusion_comes_by_itself():
    tags = mouths.synthetic(3, 220, size=(16, 32)).tags
    assert set().union(*tags) == set(HARD_CASES) - {"occlusion"}


def test_an_annotator_moves_borders_and_leaves_the_pictures(faces):
    noisy = mouths.synthetic(0, 22, size=SIZE, annotator_noise=2.0)
    np.testing.assert_array_equal(noisy.images, faces.images)
    moved = (noisy.labels != faces.labels).mean()
    assert 0.002 < moved < 0.05


def test_an_occluder_is_background_and_tagged():
    options = replace(mouths.MOUTHS, occluder=1.0)
    hidden = mouths.synthetic(0, 8, size=SIZE, options=options)
    assert all("occlusion" in tags for tags in hidden.tags)
    bare = mouths.synthetic(0, 8, size=SIZE)
    assert (hidden.labels != BACKGROUND).sum() < 0.9 * (bare.labels != BACKGROUND).sum()


@pytest.mark.parametrize("case", HARD_CASES)
def test_a_hard_case_changes_the_picture_more_the_more_severe_it_is(faces, case):
    some = faces.subset(range(6))
    change = []
    for severity in mouths.SEVERITIES:
        harder = mouths.degrade(some, case, severity)
        change.append(np.abs(harder.images.astype(int) - some.images).mean())
    assert change[0] == 0
    assert np.all(np.diff(change) > 0)


@pytest.mark.parametrize("case", HARD_CASES)
def test_labels_follow_a_distortion_and_an_occluder_and_nothing_else(faces, case):
    harder = mouths.degrade(faces.subset(range(4)), case, 2)
    changed = (harder.labels != faces.labels[:4]).any(axis=(1, 2))
    assert changed.all() if case in ("distortion", "occlusion") else not changed.any()


def test_occluders_cover_more_of_the_mouth_from_severity_to_severity(faces):
    some = faces.subset(range(10))
    mouth = (some.labels != BACKGROUND).sum(axis=(1, 2))
    covered = [
        np.median(1 - (mouths.degrade(some, "occlusion", severity).labels != BACKGROUND).sum(axis=(1, 2)) / mouth)
        for severity in mouths.SEVERITIES
    ]
    for share, (low, high) in zip(covered[1:], ((0.05, 0.15), (0.15, 0.3), (0.3, 0.5), (0.5, 0.8)), strict=True):
        assert low <= share <= high


def test_a_hard_case_is_the_same_for_the_same_seed_and_name_whatever_else_is_in_the_set(faces):
    alone = mouths.degrade(faces.subset([5]), "occlusion", 2, seed=7)
    among = mouths.degrade(faces.subset(range(3, 8)), "occlusion", 2, seed=7)
    np.testing.assert_array_equal(alone.images[0], among.images[2])
    assert (mouths.degrade(faces.subset([5]), "occlusion", 2, seed=8).images != alone.images).any()


def test_a_hard_case_is_added_to_the_tags_once(faces):
    blurred = mouths.degrade(mouths.degrade(faces, "blur", 1), "blur", 2)
    assert all(tags.count("blur") == 1 for tags in blurred.tags)


def test_a_moustache_needs_a_lip(faces):
    empty = replace(faces.subset([0]), labels=np.zeros((1, *SIZE), np.uint8))
    np.testing.assert_array_equal(mouths.degrade(empty, "moustache", 4).images, empty.images)


@pytest.mark.parametrize(("case", "severity"), [("fog", 1), ("blur", 5)])
def test_an_unknown_case_or_severity_is_refused(faces, case, severity):
    with pytest.raises(UserError, match="low light, side light, blur, moustache, noise, occlusion, distortion"):
        mouths.degrade(faces, case, severity)


def test_no_speaker_is_on_both_sides_of_a_split():
    faces = mouths.synthetic(0, 66, size=(16, 32))
    train, test = mouths.split_by_speaker(faces, test=20, seed=1)
    assert not set(train.persons) & set(test.persons)
    assert len(test) == 22 and len(train) == 44
    again = mouths.split_by_speaker(faces, test=20, seed=1)[1]
    assert again.names == test.names
    assert len({mouths.split_by_speaker(faces, test=20, seed=seed)[1].names for seed in range(6)}) > 1


def test_somebody_always_stays_in_training():
    train, test = mouths.split_by_speaker(mouths.synthetic(0, 22, size=(16, 32)), test=22, seed=0)
    assert len(train) == len(test) == 11


def test_a_split_needs_two_speakers(faces):
    with pytest.raises(UserError, match="two speakers or more, but 1 can be told apart"):
        mouths.split_by_speaker(faces.subset(range(11)), test=3, seed=0)
    with pytest.raises(UserError, match="but 0 can be told apart"):
        mouths.split_by_speaker(replace(faces, persons=None), test=3, seed=0)
