"""HELEN's official layout, as a tiny tree."""

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import helen
from reprolib.errors import UserError

SPLITS = {"exemplars.txt": ("100_1", "20_2"), "tuning.txt": ("30_1",), "testing.txt": ("7_1",)}


def write_face(folder, name, width=40, height=60):
    """A picture that is bright on its left half; plane k is white in row block k, grey 100 elsewhere in plane 0."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 200
    path = folder / "images" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    for plane in range(11):
        soft = np.zeros((height, width), np.uint8)
        soft[5 * plane : 5 * plane + 5] = 255
        if plane == 0:
            soft[55:] = 255
        path = helen.plane_path(folder, name, plane)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(soft).save(path)


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = tmp_path / helen.FOLDER
    for file, names in SPLITS.items():
        for name in names:
            write_face(folder, name)
        (folder / file).write_text("".join(f"{i} , {name}\n" for i, name in enumerate(names, 1)))
    monkeypatch.setattr(helen, "COUNTS", {"train": 2, "validation": 1, "test": 1})
    return tmp_path


def test_a_split_has_the_faces_of_its_list_in_its_order(root):
    assert helen.load(root, "train", frame=64).names == ("100_1", "20_2")
    assert helen.load(root, "validation", frame=64).names == ("30_1",)
    assert helen.load(root, "test", frame=64).names == ("7_1",)
    assert helen.load(root, "train", frame=64, count=1).names == ("100_1",)


def test_the_dataset_folder_itself_serves_as_root(root):
    assert len(helen.load(root / helen.FOLDER, "test", frame=64)) == 1


def test_a_picture_lies_in_the_middle_of_1024_zeros(root):
    faces = helen.load(root, "test")
    assert faces.images.shape == (1, 1024, 1024, 3) and faces.labels.shape == (1, 1024, 1024)
    top, left = (1024 - 60) // 2, (1024 - 40) // 2
    inside = faces.images[0, top : top + 60, left : left + 40]
    assert inside[:, :15].min() > 150
    assert faces.images[0].astype(int).sum() == inside.astype(int).sum()
    ys, _ = np.nonzero(faces.labels[0])
    assert (ys.min(), ys.max()) == (top + 10, top + 49)  # planes 2 to 9


def test_planes_two_to_nine_are_classes_one_to_eight_and_the_rest_is_background(root):
    labels = helen.load(root, "test").labels[0]
    column = labels[(1024 - 60) // 2 :, 512][:60:5]
    assert column.tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]


def test_a_soft_pixel_has_the_class_of_the_brightest_plane():
    planes = np.zeros((11, 1, 4), np.uint8)
    planes[:, 0, 0] = [0, 60, 0, 0, 0, 0, 195, 0, 0, 0, 0]  # nose and skin
    planes[:, 0, 1] = [0, 155, 0, 0, 0, 0, 100, 0, 0, 0, 0]
    planes[:, 0, 2] = [0, 80, 0, 0, 0, 0, 90, 0, 0, 0, 85]  # skin and hair together outweigh the nose
    planes[:, 0, 3] = [0, 0, 0, 0, 0, 0, 0, 90, 100, 65, 0]
    assert helen.harden(planes).tolist() == [[5, 0, 0, 7]]


def test_a_picture_larger_than_the_frame_is_shrunk_into_it():
    wide = np.full((100, 400, 3), 9, np.uint8)
    square = helen.padded(wide, 200)
    assert square.shape == (200, 200, 3)
    assert (square[75:125] == 9).all() and square.astype(int).sum() == 50 * 200 * 3 * 9
    labels = helen.padded(np.full((400, 100), 3, np.uint8), 200)
    assert labels.shape == (200, 200) and (labels == 3).sum() == 50 * 200


@pytest.mark.parametrize("shape", [(63, 40), (64, 37), (5, 6)])
def test_padding_of_odd_sides_keeps_every_pixel(shape):
    labels = np.arange(1, shape[0] * shape[1] + 1, dtype=np.uint32).reshape(shape).astype(np.uint8)
    square = helen.padded(labels, 64)
    assert square.shape == (64, 64)
    top, left = (64 - shape[0]) // 2, (64 - shape[1]) // 2
    np.testing.assert_array_equal(square[top : top + shape[0], left : left + shape[1]], labels)


def test_a_smaller_frame_shows_the_same(root):
    faces = helen.load(root, "test", frame=256)
    assert faces.images.shape == (1, 256, 256, 3)
    assert set(np.unique(faces.labels)) <= set(range(9)) and (faces.labels > 0).any()


def test_check_counts_the_lists(root):
    assert helen.check(root) == [
        "HELEN train (exemplars.txt): 2 faces with 11 planes each",
        "HELEN validation (tuning.txt): 1 faces with 11 planes each",
        "HELEN test (testing.txt): 1 faces with 11 planes each",
    ]


def message(root):
    """The sentence of `check`, which `load` gives too."""
    with pytest.raises(UserError) as error:
        helen.check(root)
    with pytest.raises(UserError) as same:
        helen.load(root, "train", frame=64)
    assert str(error.value) == str(same.value) and "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_plane_is_named(root):
    path = helen.plane_path(root / helen.FOLDER, "20_2", 8)
    path.unlink()
    assert message(root) == f"{path} is missing: copy this file again from the original dataset"


def test_a_plane_of_another_size_is_named(root):
    path = helen.plane_path(root / helen.FOLDER, "20_2", 0)
    Image.new("L", (40, 61)).save(path)
    assert message(root).startswith(f"{path} should have the size of its picture, 40×60, but is 40×61")


def test_a_corrupt_picture_is_named(root):
    path = root / helen.FOLDER / "images/100_1.jpg"
    path.write_bytes(b"no picture")
    assert message(root).startswith(f"{path} cannot be read as an image")


def test_a_missing_list_is_named(root):
    path = root / helen.FOLDER / "exemplars.txt"
    path.unlink()
    assert message(root) == f"{path} is missing: copy it from the original dataset"


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"1 , caf\xe9\n", "should be text in UTF-8"),
        (b"<!DOCTYPE html>\n<html>", "should be a text file of the dataset, but is a web page"),
        (b"1 , ../../etc/passwd\n", "should name files of its dataset, but names '../../etc/passwd'"),
    ],
)
def test_a_list_that_is_none_is_named_itself(root, content, start):
    path = root / helen.FOLDER / "exemplars.txt"
    path.write_bytes(content)
    assert message(root).startswith(f"{path} {start}")


def test_the_folder_itself_is_taken(root):
    np.testing.assert_array_equal(
        helen.load(root / helen.FOLDER, "test", frame=64).images, helen.load(root, "test", frame=64).images
    )


@pytest.mark.parametrize("content", ["", "100_1\n20_2\n"])
def test_a_list_of_another_form_is_named(root, content):
    path = root / helen.FOLDER / "exemplars.txt"
    path.write_text(content)
    assert message(root).startswith(f"{path} should have lines `index , NAME`")


def test_a_list_that_is_cut_short_is_named(root):
    path = root / helen.FOLDER / "exemplars.txt"
    path.write_text("1 , 100_1\n")
    with pytest.raises(UserError, match=r"exemplars\.txt should name 2 faces, but names 1"):
        helen.check(root)


def test_a_folder_without_helen_is_named(tmp_path):
    with pytest.raises(UserError, match=f"should hold {helen.FOLDER}/labels"):
        helen.load(tmp_path, "train")
