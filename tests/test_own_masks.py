"""From a folder of images and masks to a network: drawn lips, one person per group."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from reprolib import own_masks
from reprolib.cli import main
from reprolib.datasets.pictures import read_labels, read_picture
from reprolib.errors import UserError

SIZE = (32, 64)


def write_pair(folder, name, labels, *, mask="{}.png", size=(8, 8)):
    Image.new("RGB", size[::-1], (9, 9, 9)).save(folder / f"{name}.jpg")
    Image.fromarray(np.asarray(labels, np.uint8)).save(folder / "masks" / mask.format(name))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "masks").mkdir()
    return tmp_path


def pairs(folder):
    return own_masks.read_pairs(folder, folder / "masks", classes=("other", "lip"), size=SIZE)


def draw_lips(folder, count):
    """Red ellipses anywhere on a grey ground, so that no pixel is a lip in most images, and their masks."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :128]
    for i in range(count):
        lip = ((x - rng.uniform(30, 98)) / rng.uniform(14, 26)) ** 2 + ((y - rng.uniform(16, 48)) / 9) ** 2 < 1
        image = np.where(lip[..., None], (190, 60, 70), (150, 140, 130)) + rng.normal(0, 12, (64, 128, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"mouth-0-{i:06d}.png")
        Image.fromarray(lip.astype(np.uint8)).save(folder / f"mouth-0-{i:06d}_mask.png")


@pytest.mark.slow
def test_a_network_learns_drawn_lips_from_a_folder_and_labels_another(tmp_path, capsys):
    mouths = tmp_path / "mouths"
    draw_lips(mouths, 48)
    (tmp_path / "classes.txt").write_text("other\nlip\n")
    arguments = f"train {mouths} {mouths} --classes {tmp_path / 'classes.txt'} --out {tmp_path / 'run'}"
    arguments += (
        " --encoder mobilenet_v2/4 --no-pretrained --height 32 --width 64 --epochs 20 --batch-size 4 --lr 0.003"
    )

    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())

    assert not stopped.value.code
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert json.loads(capsys.readouterr().out) == scores
    assert scores["iou"]["lip"] > scores["iou of the most frequent class"]["lip"] + 0.3
    members = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {part: len(names) for part, names in members.items()} == scores["images"]
    assert sorted(name for names in members.values() for name in names) == [f"mouth-0-{i:06d}" for i in range(48)]
    # the network in the file is the one that was scored
    network = own_masks.load(tmp_path / "run" / "network.pt")
    found = [network.label(read_picture(mouths / f"{name}.png")) == 1 for name in members["test"]]
    truth = [read_labels(mouths / f"{name}_mask.png") == 1 for name in members["test"]]
    assert found[0].shape == (64, 128)
    iou = np.logical_and(found, truth).sum() / np.logical_or(found, truth).sum()
    assert iou == pytest.approx(scores["iou"]["lip"], abs=0.08)


def test_masks_beside_or_apart_with_and_without_the_suffix_are_found(folder):
    write_pair(folder, "a", np.eye(8))
    write_pair(folder, "b", np.zeros((8, 8)), mask="{}_mask.png")
    Image.new("RGB", (8, 8)).save(folder / "without.jpg")
    found = pairs(folder)
    assert found.names == ("a", "b")
    assert found.images.shape == (2, *SIZE, 3)
    assert np.unique(found.labels[0]).tolist() == [0, 1]
    for path in (folder / "masks").iterdir():
        path.rename(folder / f"{path.stem.removesuffix('_mask')}_mask.png")
    assert own_masks.read_pairs(folder, folder, classes=("other", "lip"), size=SIZE).names == ("a", "b")


def test_ignored_pixels_stay_ignored_and_a_number_beyond_the_classes_is_named(folder):
    write_pair(folder, "a", np.full((8, 8), 255))
    assert np.unique(pairs(folder).labels).tolist() == [255]
    write_pair(folder, "b", np.full((8, 8), 2))
    with pytest.warns(UserWarning, match=r"b\.png should hold class numbers below 2, but holds 2"):
        assert pairs(folder).names == ("a",)


def test_a_mask_of_another_size_and_a_folder_without_pairs_are_refused(folder):
    with pytest.raises(UserError, match="has none"):
        pairs(folder)
    write_pair(folder, "a", np.zeros((8, 8)), size=(8, 9))
    with pytest.raises(UserError, match="should have the size of its picture"):
        pairs(folder)


def test_a_group_stays_in_one_part_and_every_part_has_some():
    names = [f"p{person}_{i}" for person in range(20) for i in range(3)]
    parts = own_masks.split(names, group="^p[0-9]+_", seed=0)
    people = [{names[i].split("_")[0] for i in part} for part in parts]
    assert [len(of_part) for of_part in people] == [14, 3, 3]
    assert len(set.union(*people)) == 20
    assert sorted(np.concatenate(parts)) == list(range(60))
    with pytest.raises(UserError, match="needs 10 groups"):
        own_masks.split(names[:27], group="^p[0-9]+_", seed=0)
    with pytest.raises(UserError, match="regular expression"):
        own_masks.split(names, group="(", seed=0)


@pytest.mark.parametrize(
    ("name", "text"), [("c.txt", "lip\n"), ("c.json", '{"a": 1}'), ("c.json", "["), ("c.txt", "a\na\n")]
)
def test_a_class_list_that_is_none_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / name))):
        own_masks.read_classes(tmp_path / name)


def test_classes_are_read_from_json_and_from_lines(tmp_path):
    (tmp_path / "c.json").write_text('["other", "lip"]')
    (tmp_path / "c.txt").write_text("other\n\nlip\n")
    assert own_masks.read_classes(tmp_path / "c.json") == own_masks.read_classes(tmp_path / "c.txt") == ("other", "lip")


@pytest.mark.parametrize(
    ("network", "encoder", "pretrained", "named"),
    [
        ("unet", "vgg99", False, "vgg99"),
        ("lips", "vgg99", False, "vgg99"),
        ("lips", "mobilenet_v2/4", True, "mobilenet_v2/4"),  # no ImageNet weights at a quarter of the width
        ("fcn", "resnet18", False, "fcn"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused_by_name(network, encoder, pretrained, named):
    with pytest.raises(UserError, match=f"found '{named}'"):
        own_masks.build(network=network, encoder=encoder, classes=2, pretrained=pretrained)
