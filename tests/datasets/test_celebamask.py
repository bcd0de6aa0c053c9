"""CelebAMask-HQ's official layout, as a tiny tree."""

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import celebamask
from reprolib.errors import UserError

ORIGINALS = {0: 162770, 1: 5, 2000: 162771, 2001: 182638}  # face → file of CelebA
BOXES = {  # part → rows and columns of its rectangle in 32 × 32
    "skin": (slice(2, 30), slice(4, 28)), "hair": (slice(0, 4), slice(4, 28)),
    "r_brow": (slice(8, 10), slice(6, 12)), "l_brow": (slice(8, 10), slice(20, 26)),
    "r_eye": (slice(12, 14), slice(6, 12)), "l_eye": (slice(12, 14), slice(20, 26)),
    "nose": (slice(14, 20), slice(14, 18)), "u_lip": (slice(22, 24), slice(10, 22)),
    "mouth": (slice(23, 26), slice(10, 22)), "l_lip": (slice(26, 28), slice(10, 22)),
}  # fmt: skip


def write_mask(folder, number, part, box=None, size=32):
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[box or BOXES[part]] = 255
    path = celebamask.mask_path(folder, number, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / celebamask.FOLDER
    (folder / celebamask.PICTURES).mkdir(parents=True)
    lines = ["idx orig_idx orig_file"]
    for number, original in ORIGINALS.items():
        Image.new("RGB", (64, 64), (number % 250, 90, 60)).save(folder / celebamask.PICTURES / f"{number}.jpg")
        for part in BOXES:
            write_mask(folder, number, part)
        lines.append(f"  {number}    {original - 1}   {original:06d}.jpg")
    (folder / celebamask.MAPPING).write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(celebamask, "COUNTS", {"train": 2, "validation": 1, "test": 1})
    return folder


def test_the_mapping_leads_to_celebas_partitions(folder):
    assert celebamask.load(folder.parent, "train", frame=32).names == ("0", "1")
    assert celebamask.load(folder.parent, "validation", frame=32).names == ("2000",)
    assert celebamask.load(folder, "test", frame=32).names == ("2001",)
    assert celebamask.load(folder, "train", frame=32, count=1).names == ("0",)


def test_a_mask_lies_in_the_folder_of_its_two_thousand(folder):
    path = celebamask.mask_path(folder, 2001, "l_brow")
    assert path.relative_to(folder).as_posix() == "CelebAMask-HQ-mask-anno/1/02001_l_brow.png"


def test_parts_are_merged_to_the_nine_classes(folder):
    faces = celebamask.load(folder, "test", frame=32)
    assert faces.images.shape == (1, 32, 32, 3)
    labels = faces.labels[0]
    assert [labels[9, 8], labels[9, 22], labels[13, 8], labels[13, 22], labels[16, 15]] == [1, 2, 3, 4, 5]
    assert labels[22:29, 15].tolist() == [6, 6, 7, 7, 8, 8, 0]  # the upper lip lies over the mouth
    assert labels[5, 5] == labels[1, 10] == labels[0, 0] == 0


def test_the_eye_farther_left_is_the_first_whatever_its_file_is_called(folder):
    write_mask(folder, 2001, "r_eye", BOXES["l_eye"])
    write_mask(folder, 2001, "l_eye", BOXES["r_eye"])
    labels = celebamask.load(folder, "test", frame=32).labels[0]
    assert [labels[13, 8], labels[13, 22]] == [3, 4]


def test_a_part_without_a_file_is_absent(folder):
    for part in ("mouth", "r_brow", "l_eye"):
        celebamask.mask_path(folder, 2001, part).unlink()
    labels = celebamask.load(folder, "test", frame=32).labels[0]
    assert set(np.unique(labels)) == {0, 2, 3, 5, 6, 8}
    assert celebamask.check(folder)[2] == "CelebAMask-HQ test: 1 faces, 1 of them without one or more parts"


def test_picture_and_masks_are_brought_to_the_frame(folder):
    faces = celebamask.load(folder, "train", frame=16)
    assert faces.images.shape == (2, 16, 16, 3) and faces.labels.shape == (2, 16, 16)
    assert faces.labels[0, 4, 4] == 1


def test_check_counts_the_partitions(folder):
    assert celebamask.check(folder.parent)[0] == "CelebAMask-HQ train: 2 faces, 0 of them without one or more parts"


def message(folder):
    """The sentence of `check`, which `load` gives too."""
    with pytest.raises(UserError) as error:
        celebamask.check(folder)
    with pytest.raises(UserError) as same:
        celebamask.load(folder, "train", frame=32)
    assert str(error.value) == str(same.value) and "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_picture_is_named(folder):
    path = folder / celebamask.PICTURES / "1.jpg"
    path.unlink()
    assert message(folder) == f"{path} is missing: copy this file again from the original dataset"


def test_a_face_without_any_mask_is_named(folder):
    for part in BOXES:
        celebamask.mask_path(folder, 1, part).unlink()
    assert "0 should hold masks 00001_PART.png of face 1, but has none" in message(folder)


@pytest.mark.parametrize("size", [(32, 30), (128, 128)])
def test_a_mask_of_another_shape_is_named(folder, size):
    path = celebamask.mask_path(folder, 1, "nose")
    Image.new("L", size).save(path)
    assert message(folder).startswith(f"{path} should be a mask in the shape of its picture, 64×64, but is {size[0]}×")


def test_masks_of_one_face_have_one_size(folder):
    path = celebamask.mask_path(folder, 1, "l_lip")
    Image.new("L", (16, 16)).save(path)
    with pytest.raises(UserError, match=r"l_lip\.png should have the size of"):
        celebamask.load(folder, "train", frame=32)


def test_a_corrupt_mask_is_named(folder):
    path = celebamask.mask_path(folder, 0, "nose")
    path.write_bytes(b"no picture")
    assert message(folder).startswith(f"{path} cannot be read as an image")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        ("<html>Sign in</html>", "should be a text file of the dataset, but is a web page"),
        ("idx orig_idx orig_file\n0 1\n", "should have a header and lines `idx orig_idx orig_file`"),
        ("idx orig_idx orig_file\n0 202600 202600.jpg", "should have a header and lines `idx orig_idx orig_file`"),
    ],
)
def test_a_missing_or_foreign_mapping_is_named(folder, content, said):
    path = folder / celebamask.MAPPING
    path.unlink() if content is None else path.write_text(content)
    assert message(folder).startswith(f"{path} {said}")


def test_a_mapping_that_is_cut_short_is_named(folder):
    (folder / celebamask.MAPPING).write_text("idx orig_idx orig_file\n0 4 000005.jpg\n")
    with pytest.raises(UserError, match=r"should give 2 train faces, but gives 1"):
        celebamask.check(folder)


# --- indexed layout --------------------------------------------------------------------------------------


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """Three faces, one for each part of the split; the second is mirrored: its classes of eyes are swapped."""
    parts = {"train": ("a",), "validation": ("b",), "test": ("c",)}
    monkeypatch.setattr(celebamask, "split_names", lambda: parts)
    folder = tmp_path / celebamask.INDEXED_FOLDER
    for inner in (celebamask.INDEXED_PICTURES, celebamask.INDEXED_MASKS):
        (folder / inner).mkdir(parents=True)
    for (name,), swapped in zip(parts.values(), (False, True, False), strict=True):
        labels = np.zeros((32, 32), np.uint8)
        labels[4:28, 4:28] = 1
        labels[12:14, 6:12], labels[12:14, 20:26] = (4, 5) if swapped else (5, 4)
        image = Image.fromarray(labels, "P")
        image.putpalette([i % 256 for i in range(3 * 19)])
        image.save(folder / celebamask.INDEXED_MASKS / f"{name}.png")
        Image.new("RGB", (32, 32), (90, 60, 30)).save(folder / celebamask.INDEXED_PICTURES / f"{name}.jpg")
    return folder


def test_palette_indices_are_the_classes_and_left_is_right_in_the_image(indexed):
    for part in ("train", "validation"):
        (name,) = celebamask.split_names()[part]
        image, labels = celebamask.read_indexed(celebamask.indexed_folder(indexed.parent), name)
        assert image.shape == (32, 32, 3)
        assert [labels[0, 0], labels[5, 5], labels[13, 8], labels[13, 22]] == [0, 1, 5, 4]


def test_check_reads_the_indexed_layout_where_the_official_one_is_absent(indexed):
    assert celebamask.check(indexed.parent)[0] == "CelebAMask-HQ (indexed labels) train: 1 faces"
    (indexed / celebamask.INDEXED_MASKS / "c.png").unlink()
    with pytest.raises(UserError, match=r"lacks 1, the first c\.png"):
        celebamask.check(indexed.parent)


def test_indexed_labels_of_another_dataset_are_named(indexed):
    path = indexed / celebamask.INDEXED_MASKS / "a.png"
    Image.fromarray(np.full((32, 32), 19, np.uint8)).save(path)
    with pytest.raises(UserError, match=r"a\.png should hold classes 0 to 18, but holds 19"):
        celebamask.read_indexed(indexed, "a")


def test_the_committed_split_has_650_80_and_120_faces_each_once():
    names = celebamask.split_names()
    assert {part: len(of_part) for part, of_part in names.items()} == {"train": 650, "validation": 80, "test": 120}
    assert len(set().union(*names.values())) == 850
