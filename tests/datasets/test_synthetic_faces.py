import numpy as np

from reprolib.datasets import synthetic_faces
from reprolib.datasets.facesynth import PARTS, render


def test_occluded_faces_have_three_classes_boxes_and_landmarks():
    faces = synthetic_faces.occluded(0, 6, size=48)
    assert faces.classes == ("background", "face", "occlusion")
    assert faces.images.shape == (6, 48, 48, 3) and faces.labels.shape == (6, 48, 48)
    assert faces.boxes.shape == (6, 4) and faces.landmarks.shape == (6, 68, 2)
    assert set(np.unique(faces.labels)) == {0, 1, 2}


def test_hair_and_neck_are_background_and_an_occluder_wins_over_all():
    face = render(0, 2, size=64, options=synthetic_faces.OCCLUDED)
    part = np.array(PARTS)[face.labels]
    # specks aside, which a test of their own covers
    labels = synthetic_faces.occluded(0, 1, size=64, first=2).labels[0]
    settled = labels == np.where(np.isin(part, ("background", "hair", "neck")), 0, np.where(part == "occluder", 2, 1))
    assert settled.mean() > 0.99


def test_unoccluded_faces_have_no_occluder():
    faces = synthetic_faces.unoccluded(0, 6, size=48)
    assert faces.classes == ("background", "face", "occlusion")
    assert set(np.unique(faces.labels)) == {0, 1}


def test_part_labels_are_face_with_neck_and_hair_with_superpixels():
    faces = synthetic_faces.part_labels(0, 3, size=48, n_segments=30)
    assert faces.classes == ("background", "face", "hair")
    assert set(np.unique(faces.labels)) == {0, 1, 2}
    assert faces.superpixels.shape == (3, 48, 48)
    neck = np.array(PARTS)[render(0, 1, size=48, options=synthetic_faces.PORTRAIT).labels] == "neck"
    assert (faces.labels[1][neck] == 1).mean() > 0.95


def test_first_counts_on_in_the_same_series():
    whole = synthetic_faces.occluded(5, 4, size=32)
    rest = synthetic_faces.occluded(5, 2, size=32, first=2)
    np.testing.assert_array_equal(whole.images[2:], rest.images)
    np.testing.assert_array_equal(whole.labels[2:], rest.labels)
    assert whole.names[2:] == rest.names
    assert not set(synthetic_faces.occluded(5, 2, size=32).names) & set(rest.names)


def test_another_seed_gives_other_faces():
    one, other = synthetic_faces.occluded(1, 1, size=32), synthetic_faces.occluded(2, 1, size=32)
    assert (one.images != other.images).any()


def test_a_speck_is_given_to_what_surrounds_it_and_a_larger_piece_stays():
    labels = np.zeros((20, 20), np.uint8)
    labels[3:5, 3:5] = 1  # 4 pixels
    labels[10:13, 10:13] = 2  # 9 pixels
    cleaned = synthetic_faces.without_specks(labels, 5)
    assert not (cleaned == 1).any()
    np.testing.assert_array_equal(cleaned == 2, labels == 2)
