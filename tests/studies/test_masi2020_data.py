"""What masi2020 takes from each dataset: who is in which set, what counts as face, and that no set shares occluders."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprolib.datasets import celebamask, kept, part_labels
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.facesynth import FaceOptions, render
from reprolib.errors import UserError
from reprolib.studies.masi2020 import crops, data
from reprolib.studies.masi2020.config import Config, Pretraining, Training

TRAINING = Training(epochs=1, patience=0, batch_size=2, lr=1e-3, final_lr=1e-3)
SIDE = 120


def config(dataset: str, **changes) -> Config:
    stages = Pretraining(
        loss="consensus", teacher_faces=changes.pop("teacher_faces", 0), teacher=TRAINING,
        transfer_faces=changes.pop("transfer_faces", 0), transfer=TRAINING,
    )  # fmt: skip
    source = {"facesynth": "synthetic", "lfw-occluded": "public"}.get(dataset, "paper")
    return Config(
        **{
            "data": source, "dataset": dataset, "profile": "smoke", "task": "occlusion", "stage": "supervised",
            "size": 48, "pretraining": stages, **changes,
        }
    )  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "CACHE", tmp_path / "cache")


# --- rendered faces --------------------------------------------------------------------------------------


def test_no_two_rendered_sets_share_a_face():
    small = config("facesynth", train_faces=3, test_faces=2, teacher_faces=2, transfer_faces=2, size=32)
    occluded, parts, teacher = (f(small, None) for f in (data.occlusion, data.part_labels, data.teacher_faces))
    sets = [occluded.train, occluded.validation, occluded.test, parts.train, parts.validation, parts.test, *teacher]
    assert [len(faces) for faces in sets] == [3, 8, 2, 3, 8, 2, 2, 8]
    names = [name for faces in sets for name in faces.names]
    assert len(set(names)) == len(names)
    assert all(faces.persons == faces.names for faces in sets)
    images, landmarks = data.transfer_faces(small, None)
    assert images.shape == (2, 32, 32, 3) and landmarks.shape == (2, 68, 2)


def test_rendered_sets_are_the_same_every_time(tmp_path, monkeypatch):
    small = config("facesynth", train_faces=2, test_faces=1, size=32)
    first = data.occlusion(small, None).train
    monkeypatch.setattr(kept, "CACHE", tmp_path / "another")
    again = data.occlusion(small, None).train
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_part_label_test_faces_have_superpixels_at_both_sizes():
    parts = data.part_labels(config("facesynth", train_faces=1, test_faces=2, size=32), None)
    assert parts.test.superpixels.shape == parts.test.labels.shape == (2, 32, 32)
    assert parts.test_large.superpixels.shape == parts.test_large.labels.shape == (2, 64, 64)
    np.testing.assert_array_equal(parts.test.superpixels, data.nearest(parts.test_large.superpixels, 32))
    assert parts.clean.all() and parts.superpixels == "SLIC"


# --- ground truth ----------------------------------------------------------------------------------------


def test_occlusion_is_what_the_annotated_face_leaves_of_the_contour():
    face, contour, pasted = (
        np.kron(np.array([row], bool), np.ones((20, 20), bool)) for row in ([1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 0, 0])
    )
    # face, pasted occluder, hair in front of the forehead, neck
    assert crops.ground_truth(face, contour, pasted)[10, 10::20].tolist() == [1, 2, 2, 0]


def test_a_crop_beyond_the_image_is_ignored_and_holds_the_whole_contour():
    face = render(1, 2, size=SIDE, options=FaceOptions(occluder=0.0, yaw=(-5, 5), crop_margin=0.0))
    shown = face.labels != 0
    one = crops.crop(face.image, shown, face.landmarks, 64)
    assert one.image.shape == (64, 64, 3) and (one.labels == 255).any()
    x, y, width, height = one.box
    assert x > 0 and y > 0 and x + width < 64 and y + height < 64
    assert max(width, height) == pytest.approx(64 / 1.25, abs=1.5)
    inside = (one.labels == 1) | (one.labels == 2)
    assert not inside[:, : int(x) - 1].any() and not inside[: int(y) - 1].any()


def test_without_landmarks_the_contour_is_the_hull_of_the_face():
    face = np.zeros((50, 50), bool)
    face[10:40, 10:14] = face[10:40, 36:40] = True  # something hides the middle
    one = crops.crop(np.zeros((50, 50, 3), np.uint8), face, None, 48)
    assert np.isnan(one.landmarks).all()
    assert one.labels[24, 24] == 2 and (one.labels == 1).any()


# --- LFW -------------------------------------------------------------------------------------------------


def write_lists(folder: Path) -> None:
    """Ten people of the training list alone with two images each; Bo, Cy and Di are in two lists."""
    own = [(f"Own{i}", number) for i in range(10) for number in (1, 2)]
    lists = {
        "train": [*own, ("Bo", 1), ("Cy", 1)],
        "validation": [("Cy", 2), ("Val", 1), ("Di", 1)],
        "test": [("Bo", 2), ("Test", 1), ("Test", 2), ("Di", 2)],
    }
    folder.mkdir(parents=True)
    for split, faces in lists.items():
        (folder / f"parts_{split}.txt").write_text("".join(f"{name} {number}\n" for name, number in faces))


def test_nobody_is_in_two_sets_of_the_occlusion_task(tmp_path):
    write_lists(tmp_path / "lfw")
    sets = data.lfw_lists(tmp_path / "lfw")
    people = {part: {name for name, _ in faces} for part, faces in sets.items()}
    assert people["test"] == {"Test"}
    trained = [people[part] for part in ("teacher", "teacher-validation", "train", "validation")]
    assert set().union(*trained) == {f"Own{i}" for i in range(10)}
    assert sum(map(len, trained)) == 10
    assert all(len(sets[part]) == 2 * len(people[part]) for part in people)


@pytest.fixture
def lfw(tmp_path, monkeypatch) -> Path:
    """LFW Part Labels as in `write_lists` with rendered faces; dlib is replaced by the renderer's landmarks."""
    options = FaceOptions(occluder=0.0, glasses=0.0, yaw=(-10, 10), crop_margin=0.7, low_light=0.0)
    faces = [render(9, i, size=SIDE, options=options) for i in range(3)]
    folder = tmp_path / "lfw"
    write_lists(folder)
    paths = [
        part_labels.image_path(folder, *face)
        for split in part_labels.COUNTS
        for face in part_labels.read_list(folder, split)
    ] + [folder / part_labels.UNLABELLED / f"Free{i}" / f"Free{i}_0001.jpg" for i in range(8)]
    known = {}
    (folder / part_labels.LABELS).mkdir()
    for i, path in enumerate(paths):
        face = faces[i % 3]
        path.parent.mkdir(parents=True, exist_ok=True)
        image = face.image.copy()
        image[0, 0] = i  # told apart by content
        Image.fromarray(image).save(path, format="PNG")
        known[image.tobytes()] = face.landmarks
        colours = part_labels.COLOURS[(face.labels > 0).astype(int)].astype(np.uint8)
        Image.fromarray(colours).save(folder / part_labels.LABELS / f"{path.stem}.png")
    monkeypatch.setattr(crops, "central_face", lambda image: known.get(image.tobytes()))
    return tmp_path


def test_part_labels_keep_official_lists_but_validate_on_other_people(lfw):
    parts = data.part_labels(config("lfw-parts", task="parts"), lfw)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (22, 2, 4)
    assert set(parts.validation.persons) == {"Cy", "Val"}  # Di is a test person
    assert parts.clean.tolist() == [False, True, True, False]
    assert parts.superpixels == "SLIC"
    assert parts.test_large.labels.shape == (4, SIDE, SIDE)


def test_real_faces_are_occluded_where_teacher_faces_are_not(lfw):
    settings = config("lfw-occluded")
    faces, teacher = data.occlusion(settings, lfw), data.teacher_faces(settings, lfw)
    sets = [faces.train, faces.validation, faces.test, *teacher]
    people = [set(one.persons) for one in sets]
    assert sum(map(len, people)) == len(set().union(*people)) == 11
    assert len(faces.test) == 2
    assert teacher.train.classes == ("non-face", "face")
    occluded = data.teacher_faces(replace(settings, occluded_teacher=True), lfw)
    assert occluded.train.names == teacher.train.names
    assert (occluded.train.labels == 1).sum() < (teacher.train.labels == 1).sum()
    changed = (occluded.train.images != teacher.train.images).any(axis=(1, 2, 3))
    assert 0.4 < changed.mean() <= 1
    assert faces.train.landmarks.shape == (len(faces.train), 68, 2) and faces.train.boxes.shape[1] == 4


def test_faces_that_dlib_does_not_find_are_left_out(lfw, monkeypatch):
    central, calls = crops.central_face, []

    def every_second(image):
        calls.append(1)
        return central(image) if len(calls) % 2 else None

    monkeypatch.setattr(crops, "central_face", every_second)
    assert len(data.occlusion(config("lfw-occluded"), lfw).test) == 1


def test_images_without_any_face_are_refused(lfw, monkeypatch):
    monkeypatch.setattr(crops, "central_face", lambda image: None)
    with pytest.raises(UserError, match="should show faces, but none was found"):
        data.transfer_faces(config("lfw-occluded"), lfw)


def test_about_half_of_the_transfer_faces_have_an_occluder(lfw, monkeypatch):
    images, landmarks = data.transfer_faces(config("lfw-occluded"), lfw)
    assert images.shape == (8, 48, 48, 3) and landmarks.shape == (8, 68, 2) and landmarks.dtype == np.float32
    monkeypatch.setattr(data, "TRANSFER_SHARE", 0.0)
    monkeypatch.setattr(data, "CROPS", -1)
    bare = data.transfer_faces(config("lfw-occluded"), lfw)[0]
    assert 2 <= (images != bare).any(axis=(1, 2, 3)).sum() <= 6
    assert len(data.transfer_faces(config("lfw-occluded", transfer_faces=3), lfw)[0]) == 3


def test_no_two_sets_share_a_stream_of_occluders():
    assert len(set(crops.STREAMS.values())) == len(crops.STREAMS)
    draws = {part: crops.occluder_rng(part, "Ada_0001", 1.0).random() for part in crops.STREAMS}
    assert len(set(draws.values())) == len(draws)


def test_pseudo_labels_are_checked_on_the_validation_faces(lfw):
    settings = config("lfw-parts", task="parts")
    checked = data.pseudo_label_check(settings, lfw)
    assert checked.names == data.occlusion(settings, lfw).validation.names
    assert np.isfinite(checked.landmarks).all()


@pytest.mark.parametrize("read", [data.occlusion, data.part_labels, data.teacher_faces, data.transfer_faces])
def test_real_data_without_a_data_root_are_refused(read):
    with pytest.raises(UserError, match="--data-root"):
        read(config("lfw-occluded"), None)


# --- CelebAMask and COFW ---------------------------------------------------------------------------------


def test_real_occluders_are_the_faces_with_glasses_or_hats(tmp_path, monkeypatch):
    folder = tmp_path / celebamask.INDEXED_FOLDER
    skin, glasses, eye, hat = (celebamask.INDEXED_CLASSES.index(c) for c in ("skin", "glasses", "left eye", "hat"))
    for name, worn in {"bare": None, "dark": glasses, "cap": hat}.items():
        labels = np.zeros((64, 64), np.uint8)
        labels[16:48, 16:48] = skin
        labels[26:28, 34:38] = eye
        if worn is not None:
            labels[22:30, 20:44] = worn
        for path, array in zip(celebamask.indexed_files(folder, name), (labels * 9, labels), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    monkeypatch.setattr(data, "central_face", lambda image: None)
    found = data.real_occluders(config("lfw-occluded"), tmp_path)
    assert found.names == ("cap", "dark")
    assert found.tags == (("hat",), ("glasses", "sunglasses"))
    assert all((labels == 2).any() and (labels == 1).any() for labels in found.labels)
    assert data.real_occluders(config("lfw-occluded"), tmp_path / "cache") is None
    assert data.real_occluders(config("facesynth"), tmp_path) is None


def test_what_is_not_counted_stays_so_when_occlusions_are_split_off(monkeypatch):
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 16:50, 16:40] = 1
    labels[0, :, 50:] = 255
    images = np.zeros((1, 64, 64, 3), np.uint8)
    faces = FaceSet(images=images, labels=labels, classes=("non-face", "face"), names=("one",))
    larger = replace(faces, images=np.zeros((1, 128, 128, 3), np.uint8))
    contour = np.zeros((64, 64), bool)
    contour[10:60, 10:60] = True
    monkeypatch.setattr(crops.landmarks, "detect_many", lambda images, cache: np.full((1, 68, 2), 63.5))
    monkeypatch.setattr(data, "face_contour", lambda points, shape: contour)
    found = data._factorised(faces, larger)
    np.testing.assert_allclose(found.landmarks, 31.5)  # in pixels of the smaller image
    assert (found.labels[:, :, 50:] == 255).all()
    assert (found.labels == 2).any() and (found.labels == 1).any()
    assert found.persons == ("one",)


def test_every_seventh_training_face_of_cofw_is_for_validation(monkeypatch):
    def load(root, split, *, size):
        count = {"train": 15, "test": 4}[split]
        blank = np.zeros((count, size, size), np.uint8)
        return FaceSet(blank[..., None].repeat(3, -1), blank, ("non-face", "face"), tuple(map(str, range(count))))

    monkeypatch.setattr(data.cofw, "load", load)
    monkeypatch.setattr(crops.landmarks, "detect_many", lambda images, cache: np.full((len(images), 68, 2), np.nan))
    faces = data.occlusion(config("cofw"), Path("."))
    assert faces.validation.names == ("6", "13")
    assert len(faces.train) == 13 and len(faces.test) == 4
    assert len(data.occlusion(config("cofw", train_faces=5, test_faces=2), Path(".")).train) == 5


# --- the real folder, where it is there ------------------------------------------------------------------


@pytest.mark.skipif("REPROLIB_DATA_ROOT" not in os.environ, reason="REPROLIB_DATA_ROOT names no folder with datasets")
def test_the_lists_of_lfw_part_labels_share_people_as_counted():
    folder = part_labels.dataset(Path(os.environ["REPROLIB_DATA_ROOT"]))
    lists = {split: part_labels.read_list(folder, split) for split in part_labels.COUNTS}
    assert {split: len(faces) for split, faces in lists.items()} == part_labels.COUNTS
    people = {split: {name for name, _ in faces} for split, faces in lists.items()}
    assert len(people["train"] & people["test"]) == 304
    assert sum(name in people["train"] for name, _ in lists["test"]) == 386
    assert len(people["train"] & people["validation"]) == 175
    assert len(people["validation"] & people["test"]) == 125
    assert part_labels.apart(lists["validation"], lists["test"]).sum() == 353
    assert part_labels.apart(lists["test"], lists["train"], lists["validation"]).sum() == 475
    assert part_labels.apart(lists["train"], lists["validation"], lists["test"]).sum() == 892
    sets = data.lfw_lists(folder)
    assert sum(len(sets[part]) for part in ("teacher", "teacher-validation", "train", "validation")) == 892


def test_slivers_between_contour_and_annotation_are_no_occlusion():
    contour, face, occluder = (np.zeros((90, 90), bool) for _ in range(3))
    contour[10:80, 10:80] = True
    face[30:80, 12:80] = True  # a strip of 2 is left out to the left, a fringe of 20 above
    occluder[60:62, 40:60] = True  # a pasted one counts, however thin
    labels = crops.ground_truth(face, contour, occluder)
    assert (labels[31:80, 10:12] == 0).all()
    assert (labels[12:28, 20:70] == 2).all()
    assert (labels[60:62, 40:60] == 2).all()
    assert (labels[40:50, 20:70] == 1).all()


def test_specks_of_occlusion_do_not_count():
    labels = np.ones((50, 50), np.uint8)
    labels[:20, :20], labels[40:42, 40:42] = 2, 2  # 400 and 4 of 2,500 pixels
    found = crops.without_specks(labels)
    assert (found[:20, :20] == 2).all()
    assert (found[40:42, 40:42] == data.IGNORED).all()
    assert (found == 1).sum() == (labels == 1).sum()
