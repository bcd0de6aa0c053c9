"""From photos to masks; dlib and the networks are replaced by faces and colours that are known."""

import json

import numpy as np
import pytest
from PIL import Image

from reprolib import face_frame, photo_files, photos
from reprolib.cli import main
from reprolib.face_finding import FoundFace
from reprolib.face_frame import Frame, to_window
from reprolib.photo_files import Options, inputs, label_files
from reprolib.photos import CLASSES

# What the stand-in for the networks sees in a colour: (class of `features`, class of `regions`)
SEEN = {
    (0, 0, 0): (0, 0),  # nothing
    (200, 160, 120): (0, 1),  # skin
    (90, 60, 30): (0, 2),  # hair
    (240, 240, 240): (3, 1),  # an eye, on whichever side
    (60, 40, 20): (1, 1),  # a brow
    (200, 120, 90): (5, 1),  # nose
    (220, 40, 40): (6, 1),  # upper lip
    (60, 0, 40): (7, 1),  # inner mouth
    (240, 90, 90): (8, 1),  # lower lip
    (250, 150, 200): (0, 3),  # ear
    (0, 0, 255): (7, 0),  # a hand before the inner mouth
}
COLOURS = np.array(list(SEEN))
LANDMARKS = np.zeros((68, 2))
LANDMARKS[:17] = np.stack([np.linspace(-0.5, 0.5, 17), 0.2 + 0.55 * np.sin(np.linspace(0, np.pi, 17))], 1)
LANDMARKS[17:27] = np.stack([np.linspace(-0.4, 0.4, 10), np.full(10, -0.3)], 1)
LANDMARKS[27:36] = (0, 0.2)
for first, x in ((36, -0.25), (42, 0.25)):
    turn = np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
    LANDMARKS[first : first + 6] = np.stack([x + 0.1 * np.cos(turn), -0.0556 + 0.04 * np.sin(turn)], 1)
turn = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
LANDMARKS[48:60] = np.stack([0.2 * np.cos(turn), 0.5 + 0.1 * np.sin(turn)], 1)
turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
LANDMARKS[60:68] = np.stack([0.12 * np.cos(turn), 0.5 + 0.04 * np.sin(turn)], 1)


def place(photo, centre, half, angle=0.0, *, hand=False):
    """Paint a face into a photo; returns it as dlib would find it."""
    turned = np.array([[np.cos(a := np.radians(angle)), -np.sin(a)], [np.sin(a), np.cos(a)]])
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    u, v = np.moveaxis((np.stack([x, y], -1) - centre) @ turned / half, -1, 0)

    def paint(colour, middle_u, middle_v, half_u, half_v):
        photo[((u - middle_u) / half_u) ** 2 + ((v - middle_v) / half_v) ** 2 < 1] = colour

    paint((90, 60, 30), 0, -0.1, 0.75, 0.85)
    for side in (-0.6, 0.6):
        paint((250, 150, 200), side, 0.05, 0.08, 0.15)
    paint((200, 160, 120), 0, 0.1, 0.55, 0.7)
    for side in (-0.25, 0.25):
        paint((240, 240, 240), side, -0.0556, 0.1, 0.05)
        paint((60, 40, 20), side, -0.25, 0.14, 0.04)
    paint((200, 120, 90), 0, 0.2, 0.1, 0.18)
    mouth = ((u / 0.2) ** 2 + ((v - 0.5) / 0.1) ** 2) < 1
    photo[mouth & (v < 0.5)] = (220, 40, 40)
    photo[mouth & (v >= 0.5)] = (240, 90, 90)
    paint((60, 0, 40), 0, 0.5, 0.12, 0.04)
    if hand:
        paint((0, 0, 255), 0, 0.5, 0.1, 0.03)
    return FoundFace((LANDMARKS @ turned.T * half + centre - 0.5).astype(np.float32), 1.0)


def colours_for_networks(name, photo, matrix, size, device="cpu"):
    image = face_frame.cut(photo, matrix, size).astype(int)
    nearest = np.square(image[..., None, :] - COLOURS).sum(-1).argmin(-1)
    classes = np.array(list(SEEN.values()))[:, 0 if name == "features" else 1][nearest]
    count = len(photos.FEATURES if name == "features" else photos.REGIONS)
    return np.moveaxis(np.eye(count, dtype=np.float32)[classes] * 0.9 + 0.1 / count, -1, 0)


@pytest.fixture
def known(monkeypatch):
    """The faces that dlib finds in any photo: change the list to change them."""
    faces = []
    monkeypatch.setattr(photos, "probabilities", colours_for_networks)
    monkeypatch.setattr(photos, "find_faces", lambda photo, *, largest=False: faces[: 1 if largest else None])
    return faces


@pytest.fixture
def photo():
    return np.zeros((300, 400, 3), np.uint8)


def middle(found, name):
    y, x = np.nonzero(found.labels == found.classes.index(name))
    assert len(x), name
    return x.mean(), y.mean()


@pytest.mark.parametrize("angle", [0, 30, -30])
def test_every_part_of_a_tilted_face_is_labelled_where_it_is(known, photo, angle):
    known.append(place(photo, (210, 150), 110, angle))
    found = photos.label(photo, "parse")
    for name, colour in (("upper lip", (220, 40, 40)), ("nose", (200, 120, 90)), ("skin", (200, 160, 120))):
        there = (photo == colour).all(-1)
        called = found.labels == found.classes.index(name)
        assert (there & called).sum() / (there | called).sum() > 0.75, name


@pytest.mark.parametrize("angle", [0, 30])
def test_left_is_the_persons_left(known, photo, angle):
    known.append(place(photo, (210, 150), 110, angle))
    found = photos.label(photo, "parse")
    for part in ("eye", "brow", "ear"):
        assert middle(found, f"left {part}")[0] > middle(found, f"right {part}")[0]


def test_what_something_covers_is_not_parsed_but_lips_and_masks_complete_it(known, photo):
    known.append(place(photo, (210, 150), 110, hand=True))
    hand = (photo == (0, 0, 255)).all(-1)
    assert hand.any()
    parsed, mouth, masked = (photos.label(photo, tool) for tool in ("parse", "lips", "masks"))
    assert (parsed.labels[hand] == 0).mean() > 0.5
    assert (mouth.labels[hand] == mouth.classes.index("inner mouth")).all()
    assert (masked.labels[hand] == masked.classes.index("inner mouth")).all()


def test_masks_have_skin_where_landmarks_enclose_it(known, photo):
    known.append(place(photo, (210, 150), 110))
    found = photos.label(photo, "masks")
    assert set(np.unique(found.labels)) == set(range(5))
    y, _ = np.nonzero(found.labels)
    assert y.min() >= known[0].points[17:27, 1].min() - 1  # nothing above the brows
    assert found.labels[140, 210] == CLASSES["masks"].index("skin")


def test_all_faces_are_labelled_or_the_largest_alone(known):
    photo = np.zeros((300, 700, 3), np.uint8)
    known += [place(photo, (200, 150), 110), place(photo, (520, 150), 70)]
    both, largest = (photos.label(photo, "lips", largest=one) for one in (False, True))
    assert [len(found.faces) for found in (both, largest)] == [2, 1]
    assert both.labels[:, 400:].any() and not largest.labels[:, 400:].any()
    np.testing.assert_array_equal(both.labels[:, :400], largest.labels[:, :400])
    assert both.faces[0].areas["lip"] > both.faces[1].areas["lip"] > 0


def test_a_face_that_the_network_does_not_see_is_left_out(known, photo):
    real = place(photo, (210, 150), 100)
    known += [real, FoundFace(real.points * 0.2, 0.4)]  # a false find in the dark corner
    found = photos.label(photo, "parse")
    assert [labelled.face for labelled in found.faces] == [real]


@pytest.mark.parametrize("centre", [(5, 5), (395, 295), (200, 299)])
def test_a_face_at_the_edge_keeps_the_photos_frame(known, photo, centre):
    known.append(place(photo, centre, 120))
    for tool in CLASSES:
        assert photos.label(photo, tool).labels.shape == (300, 400)


def test_a_mouth_crop_needs_no_face(known, photo):
    place(photo, (200, 20), 260)  # its mouth is in the middle
    found = photos.label(photo[90:210, 115:285], "lips", mouth_crop=True)
    assert found.faces[0].face is None
    assert set(np.unique(found.labels)) == {0, 1, 2}


def test_probabilities_return_to_the_pixels_they_came_from():
    rng = np.random.default_rng(0)
    for _ in range(10):
        frame = Frame(rng.uniform(50, 150, 2), rng.normal(0, 40, 2))
        matrix = to_window(frame, face_frame.FEATURES)
        y, x = np.mgrid[:200, :220]
        truth = (np.hypot(x - frame.centre[0], y - frame.centre[1]) < frame.half * 0.3).astype(np.float32)
        seen = face_frame.cut(truth, matrix, face_frame.FEATURES.size)
        corner, labels = photos.in_photo(np.stack([1 - seen, seen]), matrix, truth.shape)
        whole = np.zeros(truth.shape, np.uint8)
        whole[corner[1] : corner[1] + labels.shape[0], corner[0] : corner[0] + labels.shape[1]] = labels
        assert np.abs(whole - truth).sum() <= 0.05 * truth.sum() + 4


# files


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def file(known, photo, tmp_path):
    known.append(place(photo, (210, 150), 110))
    return save(tmp_path / "ann.png", photo)


def fails(command, arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, *map(str, arguments)])
    assert exit_.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("tool", CLASSES)
def test_the_command_writes_mask_overlay_and_classes(file, tmp_path, capsys, tool):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as exit_:
        main([tool, str(file), "--out", str(out), "--json"])
    assert exit_.value.code == 0
    assert {path.name for path in out.iterdir()} == {
        "classes.json", "ann_mask.png", "ann_overlay.png", "ann_faces.json",
    }  # fmt: skip
    assert set(capsys.readouterr().out.split()) == {str(path) for path in out.iterdir()}
    mask = Image.open(out / "ann_mask.png")
    assert mask.mode == "P" and mask.size == (400, 300)
    assert json.loads((out / "classes.json").read_text()) == list(CLASSES[tool])
    np.testing.assert_array_equal(np.array(mask), photos.label(np.array(Image.open(file)), tool).labels)
    (face,) = json.loads((out / "ann_faces.json").read_text())
    assert len(face["landmarks"]) == 68 and len(face["box"]) == 4 and 0.5 < face["confidence"] <= 1
    assert set(face["areas"]) == set(CLASSES[tool]) - {"background"}


def test_a_phone_photo_is_labelled_upright(known, photo, tmp_path):
    known.append(place(photo, (210, 150), 110))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown after a quarter turn to the right
    save(tmp_path / "phone.png", np.rot90(photo).copy(), exif=exif)
    list(label_files([tmp_path / "phone.png"], "parse", Options(tmp_path / "out")))
    mask = np.array(Image.open(tmp_path / "out/phone_mask.png"))
    np.testing.assert_array_equal(mask, photos.label(photo, "parse").labels)


def test_what_is_there_is_left_alone_unless_it_shall_be_overwritten(file, tmp_path):
    out = tmp_path / "out"
    list(label_files([file], "lips", Options(out)))
    (out / "ann_mask.png").write_bytes(b"edited by hand")
    written = list(label_files([file], "lips", Options(out)))
    assert [path.name for path in written] == ["classes.json"]
    assert (out / "ann_mask.png").read_bytes() == b"edited by hand"
    list(label_files([file], "lips", Options(out, overwrite=True)))
    assert Image.open(out / "ann_mask.png").size == (400, 300)


def test_bad_photos_are_a_sentence_each_and_the_others_are_labelled(known, file, tmp_path, capsys):
    corrupt, tiny, missing = tmp_path / "corrupt.jpg", tmp_path / "tiny.png", tmp_path / "missing.jpg"
    corrupt.write_bytes(b"no image")
    save(tiny, np.zeros((10, 20, 3), np.uint8))
    message = fails("lips", [corrupt, missing, file, tiny, "--out", tmp_path / "out"], capsys)
    lines = message.strip().split("\n")
    assert [line.split()[0] for line in lines] == [str(corrupt), str(missing), str(tiny)]
    assert lines[1].endswith("there is no such file: check its path")
    assert lines[2].endswith("has 20×10 pixels, but a face needs 24×24: give a larger photo")
    assert (tmp_path / "out/ann_mask.png").is_file()


def test_a_photo_without_a_face_is_one_sentence(known, file, tmp_path, capsys):
    known.clear()
    message = fails("parse", [file, "--out", tmp_path / "out"], capsys)
    assert message.startswith(f"{file} shows no face that can be found") and message.count("\n") == 1
    assert not (tmp_path / "out/ann_mask.png").exists()


def test_folders_and_patterns_stand_for_their_photos(tmp_path):
    for name in ("b.png", "a.JPG", "._a.jpg", "notes.txt", "old_mask.png", "old_overlay.png", "clip.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in inputs([tmp_path])] == ["a.JPG", "b.png", "clip.mp4"]
    assert [path.name for path in inputs([f"{tmp_path}/?.png", tmp_path / "b.png"])] == ["b.png"]


@pytest.mark.parametrize(
    ("given", "says"),
    [("*.tif", "matches no file"), ("empty", "has none"), ("two", "two photos are named a")],
)
def test_inputs_that_cannot_be_meant_are_refused(tmp_path, given, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.png", "a.jpg"):
        (tmp_path / "two" / name).write_bytes(b"")
    with pytest.raises(photos.UserError, match=says):
        inputs([tmp_path / given])


def test_a_file_in_the_place_of_the_folder_is_one_sentence(file, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    message = fails("lips", [file, "--out", tmp_path / "out"], capsys)
    assert message.startswith(f"{tmp_path / 'out'} should be a folder") and message.count("\n") == 1


def test_weights_that_are_not_installed_are_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "WEIGHTS", tmp_path)
    photos.load_network.cache_clear()
    with pytest.raises(photos.UserError, match="weights, but is missing"):
        photos.load_network("features")
    photos.load_network.cache_clear()


def test_every_class_has_the_colour_that_its_part_has_in_the_figures():
    figures = pytest.importorskip("reprolib.figures")
    same = {"skin": "face", "left eye": "eyes", "nose": "nose", "lip": "lips", "lower lip": "lower_lip", "hair": "hair",
            "left brow": "brows", "teeth": "teeth", "tongue": "tongue", "inner mouth": "cavity"}  # fmt: skip
    for name, part in same.items():
        assert f"#{photo_files.COLOURS[name]}".upper() == figures.PART_COLOURS[part].upper()
    assert all(set(classes) <= set(photo_files.COLOURS) for classes in CLASSES.values())


# the weights that are installed, on a portrait that scikit-image brings


@pytest.fixture(scope="module")
def astronaut():
    pytest.importorskip("dlib")
    skimage_data = pytest.importorskip("skimage.data")
    return skimage_data.astronaut()


@pytest.mark.parametrize("scale", [1, 4])
def test_the_parts_of_a_real_portrait_are_where_they_should_be(astronaut, scale):
    photo = np.kron(astronaut, np.ones((scale, scale, 1), np.uint8)) if scale > 1 else astronaut
    found = photos.label(photo, "parse")
    assert len(found.faces) == 1 and found.faces[0].confidence > 0.6
    places = {name: np.divide(middle(found, name), scale) for name in ("nose", "upper lip", "lower lip", "hair")}
    places |= {side: np.divide(middle(found, f"{side} eye"), scale) for side in ("left", "right")}
    assert places["right"][0] < places["nose"][0] < places["left"][0]
    assert places["left"][1] < places["nose"][1] < places["upper lip"][1] < places["lower lip"][1]
    np.testing.assert_allclose(places["nose"], (223, 125), atol=12)


@pytest.mark.parametrize("name", ["features", "regions"])
def test_weights_are_small_and_described(name):
    assert (photos.WEIGHTS / f"{name}.npz").stat().st_size < 5e6
    card = (photos.WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    assert "non-commercial" in card and "CelebAMask-HQ" in card
