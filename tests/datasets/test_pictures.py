import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import pictures
from reprolib.errors import UserError


def test_a_square_inside_the_picture_is_a_plain_slice():
    array = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(pictures.crop_square(array, (2, 1, 4)), array[1:5, 2:6])


def test_beyond_the_edge_pictures_repeat_and_labels_are_filled():
    array = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(pictures.crop_square(array, (-1, 0, 4))[:, :2], array[:, [0, 0]])
    filled = pictures.crop_square(array, (1, 2, 4), fill=pictures.IGNORED)
    np.testing.assert_array_equal(filled[:2, :3], array[2:, 1:])
    assert (filled[2:] == 255).all() and (filled[:, 3] == 255).all()


def test_a_shrunken_label_is_the_one_that_covers_most():
    labels = np.zeros((4, 4), np.uint8)
    labels[0, :2] = labels[1, 0] = 3  # three of the four upper left pixels
    labels[3, 3] = 5  # one of the four lower right pixels
    np.testing.assert_array_equal(pictures.resize_labels(labels, 2), [[3, 0], [0, 0]])


def test_a_grown_label_map_holds_no_new_label():
    labels = np.array([[0, 4], [255, 2]], np.uint8)
    np.testing.assert_array_equal(pictures.resize_labels(labels, 4), labels.repeat(2, 0).repeat(2, 1))


def test_the_box_of_a_mask_counts_pixels():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    assert pictures.box_of(mask).tolist() == [1, 2, 6, 3]
    assert pictures.box_of(np.zeros((8, 8), bool)).tolist() == [0, 0, 0, 0]


def test_the_size_in_the_header_agrees_with_the_picture_turned_by_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert pictures.picture_size(tmp_path / "turned.jpg") == (10, 20)
    assert pictures.read_picture(tmp_path / "turned.jpg").shape == (20, 10, 3)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_a_truncated_or_foreign_file_is_named(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"{name} cannot be read as a picture"):
        pictures.read_picture(path)
    path.write_bytes(b"no picture at all")
    with pytest.raises(UserError, match=f"{name} cannot be read as a picture"):
        pictures.picture_size(path)


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png is missing"):
        pictures.read_picture(tmp_path / "gone.png")
