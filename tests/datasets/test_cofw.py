from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import cofw
from reprolib.errors import UserError

HEIGHT, WIDTH = 30, 40


def picture(i: int) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3): no symmetry, so that a wrong transposition shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([y * 5, x * 5, np.full_like(x, i * 20)], axis=-1).astype(np.uint8)


def write_mat(path: Path, pictures: list[np.ndarray], boxes: np.ndarray, fields: tuple[str, str, str]) -> None:
    """A MATLAB 7.3 file as h5py sees it: arrays transposed, a cell array of references to the pictures."""
    with h5py.File(path, "w") as file:
        cell = file.create_dataset(fields[0], (1, len(pictures)), dtype=h5py.ref_dtype)
        for i, image in enumerate(pictures):
            cell[0, i] = file.create_dataset(f"#refs#/{i}", data=image.T).ref
        file[fields[1]] = boxes.T
        file[fields[2]] = np.zeros((87, len(pictures)))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """COFW with 2 + 3 training and 2 test faces; the second of each is grey."""
    monkeypatch.setattr(cofw, "FIRST", {"train": 2, "test": 0})
    monkeypatch.setattr(cofw, "COUNTS", {"train": 3, "test": 2})
    folder = tmp_path / "cofw"
    folder.mkdir()
    for split, count, fields in (
        ("train", 5, ("IsTr", "bboxesTr", "phisTr")),
        ("test", 2, ("IsT", "bboxesT", "phisT")),
    ):
        pictures = [picture(i) if i % 2 == 0 else picture(i)[..., 0] for i in range(count)]
        boxes = np.array([(10 + i, 5, 16, 16) for i in range(count)], float)
        write_mat(folder / cofw.FILES[split], pictures, boxes, fields)
        for i in range(cofw.COUNTS[split]):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[8:18, 14:22] = 255
            path = cofw.mask_path(folder, split, i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    return tmp_path


def test_only_the_faces_with_masks_are_read_and_boxes_come_untransposed(root):
    train, test = cofw.load(root, "train", size=20), cofw.load(root, "test", size=20)
    assert (len(train), len(test)) == (3, 2)
    # the square is 1.25 × 16 = 20 pixels around the box: nothing is scaled
    np.testing.assert_array_equal(test.boxes, [[2, 2, 16, 16]] * 2)
    # training face 0 is picture 2, whose box starts at x = 12: the square at x = 10, y = 3
    np.testing.assert_array_equal(train.images[0], picture(2)[3:23, 10:30])


def test_grey_pictures_get_three_equal_channels(root):
    image = cofw.load(root, "test", size=20).images[1]
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    np.testing.assert_array_equal(image[..., 0], picture(1)[3:23, 9:29, 0])


def test_masks_become_face_and_non_face(root):
    faces = cofw.load(root, "test", size=20)
    assert faces.classes == ("non-face", "face")
    expected = np.zeros((20, 20), np.uint8)
    expected[5:15, 6:14] = 1  # mask x 14–22, y 8–18, less the square's corner (8, 3)
    np.testing.assert_array_equal(faces.labels[0], expected)


def test_beyond_the_picture_labels_are_ignored_and_pixels_repeat_its_edge(root):
    path = root / "cofw" / cofw.FILES["test"]
    with h5py.File(path, "r+") as file:
        file["bboxesT"][:, 0] = (-2, 5, 16, 16)  # the square starts at x = -4
    faces = cofw.load(root, "test", size=20)
    assert (faces.labels[0, :, :4] == 255).all() and (faces.labels[0, :, 4:] != 255).all()
    np.testing.assert_array_equal(faces.images[0, :, 0], picture(0)[3:23, 0])


def test_check_counts_faces_and_grey_pictures(root):
    assert cofw.check(root) == [
        "COFW train: 3 faces with boxes and masks (1 grey)",
        "COFW test: 2 faces with boxes and masks (1 grey)",
    ]


def test_check_says_when_faces_are_missing(root, monkeypatch):
    monkeypatch.setattr(cofw, "COUNTS", {"train": 4, "test": 2})
    with pytest.raises(UserError, match=r"COFW_train_color\.mat should hold 6 faces, but holds 5"):
        cofw.check(root)


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere should be an existing folder"):
        cofw.load(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"should hold cofw/COFW_train_color\.mat"):
        cofw.load(tmp_path, "train")


def test_a_damaged_file_is_named(root):
    path = root / "cofw" / cofw.FILES["test"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"COFW_test_color\.mat should be a MATLAB 7\.3 \(HDF5\) file"):
        cofw.load(root, "test")


def test_a_file_with_other_fields_is_named(root):
    with h5py.File(root / "cofw" / cofw.FILES["test"], "w") as file:
        file["faces"] = np.zeros(3)
    with pytest.raises(UserError, match=r"should hold IsT and bboxesT, but holds faces"):
        cofw.load(root, "test")


def test_a_missing_mask_is_named(root):
    cofw.mask_path(root / "cofw", "train", 1).unlink()
    with pytest.raises(UserError, match=r"masks.train.0002\.png is missing"):
        cofw.load(root, "train")


def test_a_mask_of_another_size_is_named(root):
    Image.fromarray(np.zeros((HEIGHT, WIDTH + 1), np.uint8)).save(cofw.mask_path(root / "cofw", "test", 1))
    for read in (lambda: cofw.load(root, "test"), lambda: cofw.check(root)):
        with pytest.raises(UserError, match=r"0002\.png should have the size of its picture, 40×30, but is 41×30"):
            read()


def test_masks_count_from_one_and_from_zero_where_there_is_a_zero(root):
    from_one = cofw.load(root, "test", size=20)
    masks = root / "cofw/masks/test"
    assert sorted(path.name for path in masks.iterdir()) == ["0001.png", "0002.png"]
    for number in (1, 2):
        (masks / f"{number:04d}.png").rename(masks / f"{number - 1:04d}.png")
    from_zero = cofw.load(root, "test", size=20)
    np.testing.assert_array_equal(from_one.labels, from_zero.labels)
    assert (from_one.names, from_zero.names) == (("test/0001", "test/0002"), ("test/0000", "test/0001"))


@pytest.mark.parametrize(
    "save",
    [
        lambda mask, path: Image.fromarray(mask // 255).save(path),
        lambda mask, path: Image.fromarray(mask.astype(np.uint16) * 257).save(path),
        lambda mask, path: Image.fromarray(mask > 0).save(path),
    ],
)
def test_masks_of_other_kinds_are_the_same(root, save):
    expected = cofw.load(root, "test", size=20).labels
    for i in range(2):
        path = cofw.mask_path(root / "cofw", "test", i)
        save(np.array(Image.open(path)), path)
    np.testing.assert_array_equal(cofw.load(root, "test", size=20).labels, expected)


def spoil_boxes(file):
    del file["bboxesT"]
    file["bboxesT"] = np.zeros((4, 3))


def spoil_references(file):
    del file["IsT"]
    file["IsT"] = np.zeros((1, 2), np.uint8)


def link_to_another_file(file):
    with h5py.File(Path(file.filename).with_name("other.mat"), "w") as other:
        other["bboxesT"] = np.ones((4, 2))
    del file["bboxesT"]
    file["bboxesT"] = h5py.ExternalLink("other.mat", "bboxesT")


def store_outside(file):
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(bytes(HEIGHT * WIDTH))
    del file["#refs#/0"]
    image = file.create_dataset("#refs#/0", (WIDTH, HEIGHT), np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    file["IsT"][0, 0] = image.ref


def claim_much(file):
    image = file.create_dataset("#refs#/large", (3, 10**6, 10**6), np.uint8, chunks=(1, 1000, 1000))
    file["IsT"][0, 0] = image.ref


@pytest.mark.parametrize("spoil", [spoil_boxes, spoil_references, link_to_another_file, store_outside, claim_much])
def test_a_file_that_is_poisoned_is_one_sentence(root, spoil):
    with h5py.File(root / "cofw" / cofw.FILES["test"], "r+") as file:
        spoil(file)
    with pytest.raises(UserError, match=r"COFW_test_color\.mat"):
        cofw.load(root, "test", size=20)
