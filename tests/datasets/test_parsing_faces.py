"""Faces with the labels of HELEN's parts, and what is done to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reprolib.datasets import parsing_faces
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth import PARTS
from reprolib.datasets.parsing_faces import CLASSES, CROPS, INNER_MOUTH, LOWER_LIP, NOSE, UPPER_LIP
from reprolib.errors import UserError


@pytest.fixture(scope="module")
def faces():
    return parsing_faces.synthetic(0, 12, size=96)


def face_of(labels):
    """A grey picture with an own colour for each part."""
    images = np.repeat((60 + 20 * labels)[..., None], 3, -1).astype(np.uint8)
    return FaceSet(images=images, labels=labels, classes=CLASSES, names=tuple(map(str, range(len(labels)))))


def plain_labels(size=64):
    labels = np.zeros((1, size, size), np.uint8)
    for number, (y, x) in enumerate([(12, 14), (12, 44), (20, 14), (20, 44), (30, 29), (44, 29), (47, 29), (50, 29)]):
        labels[0, y : y + 3, x : x + 7] = number + 1
    return labels


def test_the_nine_classes_are_the_papers():
    assert CLASSES == (
        "background", "brow 1", "brow 2", "eye 1", "eye 2", "nose", "upper lip", "inner mouth", "lower lip"
    )  # fmt: skip
    assert [c for classes in CROPS.values() for c in classes] == list(range(1, 9))
    assert set(parsing_faces.OF_PART) <= set(PARTS)


def test_a_face_is_a_function_of_seed_and_number(faces):
    again = parsing_faces.synthetic(0, 3, size=96, first=4)
    np.testing.assert_array_equal(again.images, faces.images[4:7])
    np.testing.assert_array_equal(again.labels, faces.labels[4:7])
    assert again.names == again.subset(range(3)).names == faces.names[4:7]
    assert len(set(faces.persons)) == 12


def test_every_face_has_its_parts_inside_the_frame(faces):
    assert faces.images.shape == (12, 96, 96, 3) and faces.labels.dtype == np.uint8
    assert (faces.landmarks > 0).all() and (faces.landmarks < 95).all()
    for labels in faces.labels:
        assert {NOSE, UPPER_LIP, LOWER_LIP} <= set(np.unique(labels)) <= set(range(9))


def test_faces_are_smaller_than_the_frame_and_off_its_centre(faces):
    low, high = faces.landmarks.min(axis=1), faces.landmarks.max(axis=1)
    longer = (high - low).max(axis=1) / 96
    assert (longer > 0.42).all() and (longer < 0.58).all()
    assert ((low + high) / 2).std(axis=0).min() > 2


def test_around_the_photo_picture_and_labels_are_zero(faces):
    for image, labels in zip(faces.images, faces.labels, strict=True):
        # a photo fills the frame on one side at least
        seen = image.max(axis=-1) > 0
        assert seen.any(axis=0).all() or seen.any(axis=1).all()
        assert (image[labels > 0].max(axis=-1) > 0).mean() > 0.9
    assert any((image[0] == 0).all() or (image[:, 0] == 0).all() for image in faces.images)


def test_left_and_right_are_the_pictures(faces):
    centres = parsing_faces.centres(faces.labels)
    for first, second in ((0, 1), (2, 3)):
        assert (np.nan_to_num(centres[:, first, 0], nan=-1) < np.nan_to_num(centres[:, second, 0], nan=999)).all()


def test_centres_are_floored_centroids_and_the_mouths_is_the_mean_of_three():
    found = parsing_faces.centres(plain_labels())
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], [(17, 13), (47, 13), (17, 21), (47, 21), (32, 31), (32, 48)])


def test_a_large_lip_moves_the_mouths_centre_no_more_than_a_small_one():
    labels = np.zeros((1, 9, 40), np.uint8)
    labels[0, 0, :31], labels[0, 4, 4], labels[0, 5, 5] = UPPER_LIP, INNER_MOUTH, LOWER_LIP
    np.testing.assert_array_equal(parsing_faces.centres(labels)[0, 5], ((15 + 4 + 5) // 3, 3))


def test_absent_lips_are_left_out_of_the_mouth_and_absent_parts_have_no_centre():
    labels = plain_labels()
    labels[(labels == INNER_MOUTH) | (labels == NOSE)] = 0
    found = parsing_faces.centres(labels)[0]
    assert np.isnan(found[4]).all()
    np.testing.assert_array_equal(found[5], (32, 48))
    assert np.isnan(parsing_faces.centres(np.zeros((1, 8, 8), np.uint8))).all()


def test_ignored_pixels_have_no_part_in_the_centres():
    labels = plain_labels()
    labels[0, :5] = 255
    np.testing.assert_array_equal(parsing_faces.centres(labels), parsing_faces.centres(plain_labels()))


def test_an_erased_part_is_painted_over_and_all_else_stays():
    faces = face_of(plain_labels())
    erased = parsing_faces.erased(faces, len(faces) * [["eye 2"]], seed=0)
    np.testing.assert_array_equal(erased.labels, faces.labels)
    changed = (erased.images != faces.images).any(axis=-1)
    assert changed[faces.labels == 4].all()
    assert not changed[(faces.labels != 4) & (faces.labels != 0)].any()
    assert not changed[0, :, :30].any() and not changed[0, 30:].any()
    assert abs(erased.images[faces.labels == 4].astype(int) - 60).max() < 25  # as its surroundings
    assert erased.tags == (("no eye 2",),)


def test_the_mouth_is_erased_with_all_its_three_parts():
    faces = face_of(plain_labels())
    erased = parsing_faces.erased(faces, len(faces) * [["mouth"]], seed=1)
    assert (erased.images != faces.images).any(axis=-1)[faces.labels >= 6].all()


def test_erasing_depends_on_seed_and_name_alone(faces):
    one = parsing_faces.erased(faces, len(faces) * [["nose", "mouth"]], seed=3)
    other = parsing_faces.erased(faces.subset([5, 2]), 2 * [["nose", "mouth"]], seed=3)
    np.testing.assert_array_equal(other.images, one.images[[5, 2]])
    assert (parsing_faces.erased(faces, len(faces) * [["nose", "mouth"]], seed=4).images != one.images).any()


def test_more_erased_parts_include_those_of_fewer(faces):
    two, three = (parsing_faces.erase_some(faces, number, seed=0) for number in (2, 3))
    lost = [[{tag for tag in tags if tag.startswith("no ")} for tags in some.tags] for some in (two, three)]
    assert all(len(a) == 2 and len(b) == 3 and a < b for a, b in zip(*lost, strict=True))
    np.testing.assert_array_equal(parsing_faces.erase_some(faces, 0, seed=0).images, faces.images)


def test_an_absent_part_cannot_be_erased_and_changes_nothing():
    labels = plain_labels()
    labels[labels == 1] = 0
    faces = face_of(labels)
    np.testing.assert_array_equal(parsing_faces.erased(faces, len(faces) * [["brow 1"]], seed=0).images, faces.images)


def test_other_numbers_of_parts_are_refused(faces):
    with pytest.raises(UserError, match="0 to 6 parts can be erased, but 7"):
        parsing_faces.erase_some(faces, 7, seed=0)


def batch(count=4, height=40, width=40):
    labels = torch.zeros(count, height, width, dtype=torch.long)
    labels[:, height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5] = 5
    images = 0.2 + 0.1 * labels[:, None].float().repeat(1, 3, 1, 1)
    return images, labels


def test_augmentation_gives_every_picture_in_five_versions_the_first_untouched():
    images, labels = batch()
    more, more_labels = parsing_faces.augment(images, labels, torch.Generator().manual_seed(0))
    assert more.shape == (20, 3, 40, 40) and more_labels.shape == (20, 40, 40)
    assert more_labels.dtype == torch.long
    assert torch.equal(more[:4], images) and torch.equal(more_labels[:4], labels)
    assert (more[4:].flatten(1) != images.repeat(4, 1, 1, 1).flatten(1)).any(dim=1).all()
    assert more.min() >= 0 and more.max() <= 1


def test_augmentation_depends_on_the_generator_alone():
    images, labels = batch()
    draws = [parsing_faces.augment(images, labels, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_labels_follow_their_picture():
    images, labels = batch(64)
    more, more_labels = parsing_faces.vary(
        images, labels, torch.Generator().manual_seed(0), operations=torch.full((64,), 4), variance=0.0
    )
    agree = ((more[:, 0] > 0.45) == (more_labels == 5)).float().mean(dim=(1, 2))
    assert agree.min() > 0.98
    areas = (more_labels == 5).float().sum(dim=(1, 2)) / 100
    assert areas.min() > 0.7 and areas.max() < 1.55  # 0.9² to 1.2²
    rows = torch.arange(40.0)
    shares = (more_labels == 5).float() / (more_labels == 5).sum(dim=(1, 2), keepdim=True)
    for axis in (1, 2):
        middle = (shares.sum(dim=3 - axis) * rows).sum(dim=1) - 19.5
        assert 2 < middle.abs().max() < 4.5  # ± a tenth of the frame


def test_a_rotation_turns_pixels_alike_in_a_frame_that_is_not_square():
    labels = torch.zeros(1, 30, 90, dtype=torch.long)
    labels[:, 14:16, 5:85] = 5  # a horizontal bar
    images = labels[:, None].float().repeat(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    while True:
        _, found = parsing_faces.vary(
            images, labels, generator, operations=torch.tensor([1]), scale=(1, 1), shift=0.0, variance=0.0, degrees=9.0
        )
        if not torch.equal(found, labels):
            break
    y, x = np.nonzero(found[0].numpy())
    slope = np.polyfit(x, y, 1)[0]
    ends = np.hypot(np.ptp(x), np.ptp(y))
    assert abs(np.degrees(np.arctan(slope))) <= 9.5 and abs(ends - 80) < 3


def test_noise_has_variance_one_hundredth_on_all_but_zero_pixels():
    images = torch.full((60, 3, 40, 40), 0.5)
    images[:, :, :20] = 0
    more, labels = parsing_faces.vary(
        images,
        torch.zeros(60, 40, 40, dtype=torch.long),
        torch.Generator().manual_seed(0),
        operations=torch.full((60,), 4),
        degrees=0.0,
        shift=0.0,
        scale=(1.0, 1.0),
    )
    assert (more[:, :, :19] == 0).all()
    assert more[:, :, 21:].var().item() == pytest.approx(0.01, rel=0.02)
    assert not labels.any()


def test_tags_of_a_face_are_kept_when_it_loses_parts():
    faces = replace(face_of(plain_labels()), tags=(("blur",),))
    assert parsing_faces.erased(faces, len(faces) * [["nose"]], seed=0).tags == (("blur", "no nose"),)
