import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import part_labels
from reprolib.datasets.faces import FaceSet
from reprolib.errors import UserError
from reprolib.studies.masi2020.work import TRANSFER

SIDE = 24
PEOPLE = {"train": [("Ada_B", 1), ("Ada_B", 12)], "validation": [("Carl_D", 3)], "test": [("Eve_F", 1)]}


def write_face(folder: Path, name: str, number: int, labels: np.ndarray) -> None:
    stem = f"{name}_{number:04d}"
    ids = np.arange(SIDE)[:, None] // 6 * 4 + np.arange(SIDE)[None] // 6  # 16 squares of 6 × 6 pixels
    for part in (part_labels.IMAGES, part_labels.SUPERPIXELS, part_labels.SUPERPIXEL_LABELS):
        (folder / part / name).mkdir(parents=True, exist_ok=True)
    (folder / part_labels.LABELS).mkdir(exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(folder / part_labels.IMAGES / name / f"{stem}.jpg")
    colours = part_labels.COLOURS[labels].astype(np.uint8)
    Image.fromarray(colours).save(folder / part_labels.LABELS / f"{stem}.ppm")
    np.savetxt(folder / part_labels.SUPERPIXELS / name / f"{stem}.dat", ids, fmt="%d")
    values = [int(labels[ids == i][0]) for i in range(16)]
    (folder / part_labels.SUPERPIXEL_LABELS / name / f"{stem}.dat").write_text("\n".join(map(str, [16, *values])))


def face_labels() -> np.ndarray:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[6:, 6:18] = 1
    labels[:6, 6:18] = 2
    return labels


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(part_labels, "COUNTS", {split: len(faces) for split, faces in PEOPLE.items()})
    folder = tmp_path / "part_labels"
    folder.mkdir()
    for split, faces in PEOPLE.items():
        (folder / f"parts_{split}.txt").write_text("".join(f"{name} {number}\n" for name, number in faces))
        for name, number in faces:
            write_face(folder, name, number, face_labels())
    return tmp_path


def test_faces_have_labels_people_and_the_datasets_superpixels(root):
    faces = part_labels.load(root, "train", size=SIDE)
    assert faces.names == ("Ada_B_0001", "Ada_B_0012")
    assert faces.persons == ("Ada_B", "Ada_B")
    assert faces.classes == ("background", "face", "hair")
    np.testing.assert_array_equal(faces.labels[0], face_labels())
    assert faces.superpixels.dtype == np.int32
    assert faces.superpixels[0, 0, 0] == 0 and faces.superpixels[0, -1, -1] == 15
    assert faces.superpixels[0, 5, 6] == 1 and faces.superpixels[0, 6, 5] == 4


def test_pictures_labels_and_superpixels_are_resized_alike(root):
    faces = part_labels.load(root, "test", size=12)
    np.testing.assert_array_equal(faces.labels[0], face_labels()[::2, ::2])
    np.testing.assert_array_equal(faces.superpixels[0, ::3, ::3].ravel(), np.arange(16))


@pytest.mark.parametrize(("split", "count"), [("train", 1500), ("validation", 500), ("test", 927)])
def test_the_official_lists_are_parsed(tmp_path, split, count):
    lines = [f"Name_{i} {i % 40 + 1}" for i in range(count)]
    (tmp_path / f"parts_{split}.txt").write_text("\n".join(lines) + "\n\n")
    faces = part_labels.read_list(tmp_path, split)
    assert len(faces) == count == part_labels.COUNTS[split]
    assert faces[1] == ("Name_1", 2)


def test_a_list_in_another_form_is_named(tmp_path):
    (tmp_path / "parts_train.txt").write_text("Ada_B_0001.jpg\n")
    with pytest.raises(UserError, match=r"parts_train\.txt should have a name and a number on each line"):
        part_labels.read_list(tmp_path, "train")


def test_check_counts_the_splits(root):
    assert part_labels.check(root) == [
        "Part Labels train: 2 faces with labels and superpixels",
        "Part Labels validation: 1 faces with labels and superpixels",
        "Part Labels test: 1 faces with labels and superpixels",
        "Part Labels: no folder unlabelled; all but the transfer from unlabelled faces can be run",
    ]


def test_check_says_what_works_without_superpixels_and_with_unlabelled_faces(root):
    (root / "part_labels" / part_labels.SUPERPIXELS).rename(root / "elsewhere")
    (root / "part_labels/unlabelled/Gus_H").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "part_labels/unlabelled/Gus_H/Gus_H_0001.jpg")
    assert part_labels.check(root)[2:] == [
        "Part Labels test: 1 faces with labels",
        f"Part Labels: no folder {part_labels.SUPERPIXELS}; superpixel accuracy is measured on SLIC superpixels",
        "Part Labels: 1 unlabelled faces for the transfer",
    ]


def test_labels_may_be_palette_png_in_a_folder_called_lfw(root):
    (root / "part_labels").rename(root / "lfw")
    official = part_labels.load(root, "test", size=SIDE)
    path = root / "lfw" / part_labels.LABELS / "Eve_F_0001.ppm"
    with Image.open(path) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=3).save(path.with_suffix(".png"))
    path.unlink()
    np.testing.assert_array_equal(part_labels.load(root, "test", size=SIDE).labels, official.labels)


def test_slic_replaces_missing_superpixels_and_the_source_is_named(root):
    folder = part_labels.dataset(root)
    assert part_labels.superpixel_source(folder) == "official"
    (folder / part_labels.SUPERPIXELS).rename(root / "elsewhere")
    assert part_labels.superpixel_source(folder) == "SLIC"
    faces = part_labels.load(root, "test", size=SIDE)
    np.testing.assert_array_equal(faces.superpixels[0], part_labels.slic_superpixels(faces.images[0]))


def test_people_of_other_lists_are_told_apart():
    faces = [("Ada", 1), ("Bo", 1), ("Bo", 2), ("Cy", 1)]
    assert part_labels.apart(faces, [("Ada", 7)], [("Cy", 1)]).tolist() == [False, True, True, False]


def test_unlabelled_faces_are_listed_or_requested(root):
    with pytest.raises(UserError, match="unlabelled should hold unlabelled faces"):
        part_labels.unlabelled(root)


def test_unlabelled_faces_of_listed_people_are_refused(root):
    folder = part_labels.dataset(root)
    [(listed, _), *_] = part_labels.read_list(folder, "test")
    for name in ("Nobody_Listed", listed):
        path = folder / part_labels.UNLABELLED / name / f"{name}_0001.jpg"
        path.parent.mkdir(parents=True)
        path.touch()
        if name != listed:
            assert part_labels.unlabelled(root) == [path]
    with pytest.raises(UserError, match=f"holds 1 of them, the first {listed}: remove"):
        part_labels.unlabelled(root)


def test_the_unlabelled_faces_of_the_published_results_are_listed():
    files = (Path(part_labels.__file__).parent / "lfw_unlabelled.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(set(files)) == len(files) == TRANSFER
    if "REPROLIB_DATA_ROOT" in os.environ:
        root = Path(os.environ["REPROLIB_DATA_ROOT"])
        assert {"/".join(path.parts[-2:]) for path in part_labels.unlabelled(root)} == set(files)


def test_check_says_when_a_list_is_short(root, monkeypatch):
    monkeypatch.setattr(part_labels, "COUNTS", {"train": 1500})
    with pytest.raises(UserError, match=r"parts_train\.txt should list 1500 faces, but lists 2"):
        part_labels.check(root)


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(UserError, match=r"nowhere should be an existing folder"):
        part_labels.load(tmp_path / "nowhere", "train")
    (root / "part_labels" / part_labels.LABELS).rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"should hold the folder parts_lfw_funneled_gt_images"):
        part_labels.load(root, "train")


def test_a_truncated_picture_is_named(root):
    path = root / "part_labels/lfw_funneled/Eve_F/Eve_F_0001.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"Eve_F_0001\.jpg cannot be read as an image"):
        part_labels.load(root, "test")


def test_a_label_of_another_size_is_named(root):
    path = root / "part_labels" / part_labels.LABELS / "Eve_F_0001.ppm"
    Image.fromarray(np.zeros((SIDE, SIDE + 2, 3), np.uint8)).save(path)
    for read in (lambda: part_labels.load(root, "test"), lambda: part_labels.check(root)):
        with pytest.raises(UserError, match=r"0001\.ppm should have the size of its picture, 24×24, but is 26×24"):
            read()


@pytest.mark.parametrize("content", ["0 1 2\n0 1\n", "0 x\n", "0 -1\n"])
def test_damaged_superpixels_are_named(root, content):
    (root / "part_labels" / part_labels.SUPERPIXELS / "Eve_F/Eve_F_0001.dat").write_text(content)
    with pytest.raises(UserError, match=r"Eve_F_0001\.dat should hold"):
        part_labels.load(root, "test")


@pytest.mark.parametrize("content", ["16 0 1 2", "2 0 1", "16" + " 7" * 16, "skin"])
def test_check_names_superpixel_labels_that_do_not_fit(root, content):
    (root / "part_labels" / part_labels.SUPERPIXEL_LABELS / "Eve_F/Eve_F_0001.dat").write_text(content)
    with pytest.raises(UserError, match=r"parts_lfw_funneled_gt.Eve_F.Eve_F_0001\.dat should hold"):
        part_labels.check(root)


def test_slic_superpixels_follow_a_border_between_two_colours():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, :, 13:] = 255
    faces = FaceSet(images=image, labels=np.zeros((1, 32, 32), np.uint8), classes=("background",), names=("a",))
    ids = part_labels.add_superpixels(faces, n_segments=16).superpixels
    assert ids.shape == (1, 32, 32) and ids.dtype == np.int32
    assert not set(np.unique(ids[0, :, :13])) & set(np.unique(ids[0, :, 13:]))
    assert sorted(np.unique(ids)) == list(range(ids.max() + 1))
