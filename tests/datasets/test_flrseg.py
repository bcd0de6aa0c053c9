import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import flrseg
from reprolib.datasets.folders import DatasetMissing
from reprolib.datasets.mouths import split_by_speaker
from reprolib.errors import UserError

FRAME = (128, 256)


def put_picture(path, shape=FRAME):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*shape, 3), 200, np.uint8)).save(path)


def put_mask(path, shape=FRAME, *, middle=1):
    """Background, with a box of class `middle` around the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = middle
    Image.fromarray(labels).save(path)


LAYOUTS = {
    "two folders": ("images/s1_01.jpg", "masks/s1_01.png"),
    "in a folder of the dataset's name": ("flrseg/images/s1_01.jpg", "flrseg/masks/s1_01.png"),
    "with a suffix": ("images/s1_01.jpg", "masks/s1_01_mask.png"),
    "other names": ("JPEGImages/s1_01.jpg", "SegmentationClass/s1_01.png"),
    "splits outside": ("train/images/s1_01.png", "train/labels/s1_01.png"),
    "splits inside": ("images/train/s1_01.png", "labels/train/s1_01.png"),
    "one folder, suffix": ("s1_01.png", "s1_01_label.png"),
    "one folder, type": ("s1_01.jpg", "s1_01.png"),
    "one folder, type, mask first": ("s1_01.tif", "s1_01.png"),
    "speakers' folders": ("images/s1/01.jpg", "masks/s1/01.png"),
    "speakers outside": ("s1/images/01.jpg", "s1/masks/01.png"),
    "splits and speakers": ("test/s1/images/01.jpg", "test/s1/masks/01.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_and_speakers_are_found_in_any_usual_layout(tmp_path, layout):
    picture, mask = LAYOUTS[layout]
    for speaker in ("s1", "s2"):
        put_picture(tmp_path / picture.replace("s1", speaker))
        put_mask(tmp_path / mask.replace("s1", speaker))
    faces = flrseg.load(tmp_path)
    assert len(faces) == 2
    assert faces.persons == ("s1", "s2")
    assert (faces.images > 190).all()
    assert (faces.labels == 1).mean() == 0.25


def test_pictures_are_cropped_or_padded_around_their_middle_and_then_resized(tmp_path):
    put_picture(tmp_path / "images/a_1.png", (200, 100))
    put_mask(tmp_path / "masks/a_1.png", (200, 100), middle=2)
    faces = flrseg.load(tmp_path)
    assert faces.images.shape == (1, 128, 256, 3) and faces.labels.shape == (1, 128, 256)
    assert (faces.images[0, :, 80:176] > 190).all() and (faces.images[0, :, :70] == 0).all()
    assert (faces.labels[0, 20:-20, 110:146] == 2).all() and (faces.labels[0, :, :100] == 0).all()
    small = flrseg.load(tmp_path, size=(32, 64))
    assert small.images.shape == (1, 32, 64, 3)
    assert (small.labels[0, 5:-5, 28:36] == 2).all() and (small.labels[0, :, :24] == 0).all()


@pytest.mark.parametrize("size", [(3, 5), (8, 4), (5, 7)])
def test_cropping_and_padding_keep_the_middle(size):
    array = np.zeros((5, 7, 3), int)
    array[2, 3] = 1
    found = flrseg.crop_or_pad(array, size)
    assert found.shape == (*size, 3)
    assert found[(size[0] - 1) // 2, (size[1] - 1) // 2].tolist() == [1, 1, 1] and found.sum() == 3


def test_the_order_of_the_classes_can_be_given(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    put_mask(tmp_path / "masks/a_1.png", middle=1)
    faces = flrseg.load(tmp_path, order=("background", "cavity", "lip", "teeth", "tongue"))
    assert set(np.unique(faces.labels)) == {0, 4}


def test_a_palette_means_its_indices_and_three_equal_channels_one(tmp_path):
    for name in ("a_1", "b_1"):
        put_picture(tmp_path / f"images/{name}.png")
        put_mask(tmp_path / f"masks/{name}.png", middle=3)
    palette = Image.open(tmp_path / "masks/a_1.png")
    palette.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 200, 0, 0])
    palette.save(tmp_path / "masks/a_1.png")
    Image.open(tmp_path / "masks/b_1.png").convert("RGB").save(tmp_path / "masks/b_1.png")
    labels = flrseg.load(tmp_path).labels
    assert (labels[0] == labels[1]).all() and set(np.unique(labels)) == {0, 3}


def test_ignored_pixels_stay_ignored(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    put_mask(tmp_path / "masks/a_1.png", middle=255)
    assert set(np.unique(flrseg.load(tmp_path).labels)) == {0, 255}


def test_plain_numbers_name_no_speaker(tmp_path):
    for number in range(3):
        put_picture(tmp_path / f"images/{number:03}.png")
        put_mask(tmp_path / f"masks/{number:03}.png")
    faces = flrseg.load(tmp_path)
    assert faces.persons is None
    assert "speakers not told" in flrseg.check(tmp_path)[0]
    with pytest.raises(UserError, match="a folder for each speaker"):
        split_by_speaker(faces, test=1, seed=0)


def test_check_counts_pictures_speakers_sizes_and_pixels(tmp_path):
    for speaker in ("ann", "bob"):
        put_picture(tmp_path / f"images/{speaker}-1.png")
        put_mask(tmp_path / f"masks/{speaker}-1.png")
    put_picture(tmp_path / "images/unlabelled-1.png")
    assert flrseg.check(tmp_path) == [
        "FLRSeg: 2 pictures with masks, 2 speakers (the paper: 630 of 58)",
        "sizes: 256×128 to 256×128 pixels",
        "pixels: background 75.0%, lip 25.0%, teeth 0.0%, tongue 0.0%, cavity 0.0%",
    ]


def test_a_mask_without_a_picture_is_named(tmp_path):
    put_mask(tmp_path / "masks/a_1.png")
    with pytest.raises(UserError, match=r"a_1\.png should have a picture named a_1, but has none"):
        flrseg.load(tmp_path)


def test_pictures_without_masks_are_no_dataset(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    with pytest.raises(UserError, match="should hold flrseg/ with images/ and masks/"):
        flrseg.load(tmp_path)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(UserError, match="should be an existing folder"):
        flrseg.load(tmp_path / "nowhere")


def test_a_mask_of_another_size_is_named(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    put_mask(tmp_path / "masks/a_1.png", (64, 128))
    with pytest.raises(UserError, match=r"masks/a_1\.png should have the size of its picture, 256×128, but is 128×64"):
        flrseg.load(tmp_path)


def test_a_mask_of_other_values_is_named(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    put_mask(tmp_path / "masks/a_1.png", middle=90)
    with pytest.raises(UserError, match=r"values 0 to 4 \(background, lip, .*\) and 255 for ignored, but holds 90"):
        flrseg.load(tmp_path)


def test_a_mask_of_colours_is_named(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    colours = np.zeros((*FRAME, 3), np.uint8)
    colours[..., 0] = 90
    (tmp_path / "masks").mkdir()
    Image.fromarray(colours).save(tmp_path / "masks/a_1.png")
    with pytest.raises(UserError, match="one class number per pixel, but holds colours"):
        flrseg.load(tmp_path)


def test_an_unreadable_mask_is_named(tmp_path):
    put_picture(tmp_path / "images/a_1.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a_1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a_1\.png cannot be read as an image"):
        flrseg.load(tmp_path)


def test_clutter_is_neither_picture_nor_mask(tmp_path):
    put_picture(tmp_path / "flrseg/images/a_1.png")
    put_mask(tmp_path / "flrseg/masks/a_1.png")
    for name in ("masks/._a_1.png", "masks/.ipynb_checkpoints/a_1-checkpoint.png", "__MACOSX/masks/b_1.png"):
        (tmp_path / "flrseg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flrseg" / name).write_bytes(b"x")
    assert flrseg.load(tmp_path).names == flrseg.load(tmp_path / "flrseg").names == ("a_1",)


def test_another_dataset_beside_it_is_not_taken_for_it(tmp_path):
    put_picture(tmp_path / "celebamask/images/a_1.png")
    put_mask(tmp_path / "celebamask/masks/a_1.png")
    with pytest.raises(DatasetMissing):
        flrseg.check(tmp_path)
