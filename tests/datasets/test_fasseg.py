from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import fasseg
from reprolib.datasets.fasseg import BACKGROUND, COLOURS, EYES, HAIR, MOUTH, NOSE, SKIN
from reprolib.errors import UserError


def face_labels(height=64, width=48) -> np.ndarray:
    """A frontal face with hair on top, two free eyebrows, eyes, nose and mouth."""
    labels = np.full((height, width), BACKGROUND, np.uint8)
    labels[2:, 6:42] = SKIN
    labels[2:12, 4:44] = HAIR
    labels[20:22, 12:20] = labels[20:22, 28:36] = HAIR
    labels[24:27, 13:19] = labels[24:27, 29:35] = EYES
    labels[28:36, 22:26] = NOSE
    labels[40:43, 18:30] = MOUTH
    return labels


def write_pair(folder: Path, part: str, name: str, labels=None, picture=None) -> None:
    """One picture and its label in the official folders, e.g. part "V3/Test", name "+30/personne08148+0+30"."""
    labels = face_labels() if labels is None else labels
    if picture is None:
        picture = np.repeat(labels[..., None] * 40, 3, axis=2)
    version = part.split("/")[0]
    for kind, suffix, pixels in (
        ("RGB", ".jpg", picture),
        ("Labels" if version == "V2" else "labels", ".png", COLOURS[labels].astype(np.uint8)),
    ):
        path = folder / f"{part}_{kind}" / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """A data root with eight FASSEG faces: four in V2, and two people with two series or poses in V3."""
    folder = tmp_path / "fasseg"
    for part in ("V2/Train", "V2/Test"):
        for name in ("2", "10"):
            write_pair(folder, part, name)
    for part, name in (
        ("V3/Train", "0/personne01146+0+0"),
        ("V3/Train", "0/personne01246+0+0"),
        ("V3/Test", "+30/personne08148+0+30"),
        ("V3/Test", "-60/personne08142+0-60"),
    ):
        write_pair(folder, part, name)
    return tmp_path


def test_load_reads_every_labelled_face_of_both_versions(root):
    faces = fasseg.load(root, size=32)
    assert faces.images.shape == (8, 32, 32, 3)
    assert faces.labels.shape == (8, 32, 32)
    assert faces.names[:4] == ("V2/Train/2", "V2/Train/10", "V2/Test/2", "V2/Test/10")
    assert faces.names[4:] == (
        "V3/Train/0/personne01146+0+0",
        "V3/Train/0/personne01246+0+0",
        "V3/Test/+30/personne08148+0+30",
        "V3/Test/-60/personne08142+0-60",
    )
    assert faces.persons[4:] == ("V3/01", "V3/01", "V3/08", "V3/08")
    assert set(np.unique(faces.labels)) == {BACKGROUND, HAIR, SKIN, EYES, NOSE, MOUTH}


def test_the_dataset_folder_itself_serves_as_root(root):
    assert fasseg.load(root / "fasseg", size=32).names == fasseg.load(root, size=32).names


def test_boxes_surround_skin_and_parts(root):
    faces = fasseg.load(root, size=48)
    # the square is 48 × 48 like the picture's width, so nothing is scaled across
    x, _, width, _ = faces.boxes[0]
    assert (x, width) == (6, 36)


def test_labels_that_do_not_fit_their_picture_in_the_release_are_left_out(root):
    write_pair(root / "fasseg", "V3/Test", "+30/personne15248+0+30", picture=np.zeros((64, 50, 3), np.uint8))
    assert len(fasseg.load(root, size=32)) == 8


def test_colours_snap_to_the_nearest_of_the_six():
    colours = COLOURS[None].astype(np.uint8).copy()  # one row, six pixels
    colours[0, :, 1] ^= 9
    assert fasseg.snap_colours(colours, Path("label.png")).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_a_grey_blend_takes_the_class_beside_it_and_not_the_nearest_colour():
    colours = np.zeros((12, 12, 3), np.uint8)
    colours[:, :6], colours[:, 6:] = COLOURS[SKIN], COLOURS[EYES]
    colours[5, 6] = (127, 127, 127)  # half skin, half eyes: as near to hair as to anything
    classes = fasseg.snap_colours(colours, Path("label.png"))
    assert classes[5, 6] in (SKIN, EYES)
    assert not (classes == HAIR).any()


def test_a_photograph_in_place_of_a_label_is_refused(root):
    photo = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    path = root / "fasseg/V2/Test_Labels/2.png"
    Image.fromarray(photo).save(path)
    with pytest.raises(UserError, match=r"2\.png should show FASSEG's six label colours"):
        fasseg.load(root)


def test_the_square_is_the_largest_inside_the_picture_and_holds_the_face():
    x, y, side = fasseg.face_square(face_labels())
    assert (x, side) == (0, 48)
    assert 0 <= y <= 64 - 48
    assert y < 24 and y + side > 43  # eyes and mouth


def test_free_eyebrows_become_face_and_hair_stays_hair():
    labels = face_labels()
    brows = fasseg.eyebrows(labels)
    expected = np.zeros_like(brows)
    expected[20:22, 12:20] = expected[20:22, 28:36] = True
    assert (brows == expected).all()


def test_an_eyebrow_that_hangs_on_the_fringe_by_a_thread_comes_off_it():
    labels = face_labels(128, 96)
    labels[20:22, 12:20] = SKIN
    labels[19:21, 12:22] = HAIR
    labels[12:19, 21] = HAIR
    brows = fasseg.eyebrows(labels)
    assert brows[19:21, 12:20].all()
    assert not brows[2:12].any()


def test_an_eyebrow_as_wide_as_its_bridge_to_the_fringe_stays_hair():
    # the rule's known error: the brow and the hair above it are one thick piece
    labels = face_labels()
    labels[12:22, 12:20] = HAIR
    assert not fasseg.eyebrows(labels)[:, :24].any()
    assert fasseg.eyebrows(labels)[20:22, 28:36].all()


def test_a_moustache_is_no_eyebrow():
    labels = face_labels()
    labels[37:39, 18:30] = HAIR
    assert not fasseg.eyebrows(labels)[37:39].any()


def test_a_picture_that_stands_in_both_v2_folders_is_one_person(root):
    write_pair(root / "fasseg", "V2/Train", "17")
    write_pair(root / "fasseg", "V2/Test", "13")
    faces = fasseg.load(root, size=16)
    person = dict(zip(faces.names, faces.persons, strict=True))
    assert person["V2/Train/17"] == person["V2/Test/13"]


def test_missing_data_root_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere should be an existing folder"):
        fasseg.load(tmp_path / "nowhere")


def test_wrong_layout_is_named(tmp_path):
    with pytest.raises(UserError, match=r"should hold fasseg/V2"):
        fasseg.load(tmp_path)


def test_a_missing_pose_folder_is_named(root):
    (root / "fasseg/V3/Test_labels").rename(root / "fasseg/V3/elsewhere")
    with pytest.raises(UserError, match=r"Test_labels should hold a folder for each pose"):
        fasseg.load(root)


def test_a_missing_picture_is_named(root):
    (root / "fasseg/V2/Train_RGB/10.jpg").unlink()
    with pytest.raises(UserError, match=r"Train_RGB should hold the picture of the label .*10\.png"):
        fasseg.load(root)


def test_a_truncated_picture_is_named(root):
    path = root / "fasseg/V2/Train_RGB/2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"Train_RGB.2\.jpg cannot be read as an image"):
        fasseg.load(root)


def test_a_label_of_another_size_is_named(root):
    write_pair(root / "fasseg", "V2/Test", "10", picture=np.zeros((64, 50, 3), np.uint8))
    with pytest.raises(UserError, match=r"10\.png should have the size of its picture, 50×64, but is 48×64"):
        fasseg.load(root)
    with pytest.raises(UserError, match=r"50×64, but is 48×64"):
        fasseg.check(root)


def test_a_picture_is_turned_as_its_exif_orientation_says(root):
    path = root / "fasseg/V2/Test_RGB/2.jpg"
    upright = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    faces = fasseg.load(root, size=48)
    turned, plain = faces.images[2].astype(int), faces.images[3].astype(int)
    assert abs(turned - plain).mean() < 5


def test_check_counts_the_parts_and_people(root, monkeypatch):
    monkeypatch.setattr(fasseg, "COUNTS", {"V2/Train": 2, "V2/Test": 2, "V3/Train": 2, "V3/Test": 6})
    lines = fasseg.check(root)
    assert lines[0] == "FASSEG V2/Train: 2 faces with labels"
    assert lines[-1] == "FASSEG: 6 people"


def test_check_says_when_labels_are_missing(root):
    with pytest.raises(UserError, match=r"V2/Train should have 20 usable labels, but has 2"):
        fasseg.check(root)
