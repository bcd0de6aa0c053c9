"""From a photo to a mask; dlib is replaced by landmarks that are known."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from reprolib import lips, metrics
from reprolib.cli import main
from reprolib.datasets import landmarks, mouths
from reprolib.datasets.mouths import BACKGROUND, LIP
from reprolib.errors import UserError
from reprolib.models.lip_network import LipNetwork
from reprolib.paths import RESULTS
from reprolib.lip_checkpoints import LipModel, load_model, save_model
from reprolib.models.lip_inference import inputs

SIZE = (32, 64)
ARGUMENTS = {"encoder": "shufflenet_v2", "kernels": (2, 2, 2), "nodes": (2, 2, 2)}


def face_at(x, y, width):
    """68 landmarks of a face whose lips are `width` wide around (x, y)."""
    points = np.full((68, 2), (x, y - 2 * width), np.float32)
    angle = np.linspace(-np.pi, np.pi, 12, endpoint=False)
    points[48:60] = np.stack([x + width / 2 * np.cos(angle), y + width / 5 * np.sin(angle)], 1)
    points[60:68] = (x, y)
    return points


FACE = face_at(110, 90, 60)


class Bright(nn.Module):
    """Lip wherever a pixel is bright, else background."""

    def forward(self, images):
        grey = images.mean(1)
        return torch.stack([-grey, grey, *[torch.full_like(grey, -9)] * 3], 1) * 20


@pytest.fixture
def faces(monkeypatch):
    """What dlib finds in any photo: change the list to change it."""
    found = [FACE]
    monkeypatch.setattr(landmarks, "detect_all", lambda image, *, zoom: np.array(found).reshape(-1, 68, 2))
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lips") / "network.pt"
    save_model(path, LipNetwork(**ARGUMENTS), arguments=ARGUMENTS, size=SIZE)
    return path


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "ann.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)).save(path)
    return path


def fails(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["lips", *map(str, arguments)])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_the_command_writes_a_mask_and_an_overlay_in_the_photos_frame(faces, photo, checkpoint, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["lips", str(photo), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 0
    mask, overlay = (Image.open(tmp_path / f"out/ann_{kind}.png") for kind in ("mask", "overlay"))
    assert capsys.readouterr().out.split() == [mask.filename, overlay.filename]
    assert mask.size == overlay.size == (200, 160)
    assert set(np.unique(mask)) <= set(range(5))


def test_the_same_photo_gives_the_same_mask(checkpoint):
    image = np.random.default_rng(1).integers(0, 255, (160, 200, 3), dtype=np.uint8)
    one, other = (lips.segment(image, FACE, load_model(checkpoint)) for _ in range(2))
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.crop.shape == (*SIZE, 3) and one.crop_labels.shape == SIZE


@pytest.mark.parametrize("scale", (1, 6))
def test_the_mask_lies_where_the_mouth_is(scale):
    y, x = np.mgrid[: 160 * scale, : 200 * scale] / scale
    bright = ((x - 110) / 28) ** 2 + ((y - 90) / 10) ** 2 < 1
    photo = np.repeat(np.where(bright, 255, 0)[..., None], 3, -1).astype(np.uint8)
    found = lips.segment(photo, FACE * scale, LipModel(Bright(), (128, 256)))
    overlap = (bright & (found.labels == LIP)).sum() / (bright | (found.labels == LIP)).sum()
    assert overlap > 0.93


@pytest.mark.parametrize("middle", [(5, 5), (195, 155), (100, 159)])
def test_a_mouth_at_the_edge_keeps_the_photos_frame(middle):
    photo = np.full((160, 200, 3), 255, np.uint8)
    found = lips.segment(photo, face_at(*middle, 60), LipModel(Bright(), SIZE))
    assert found.labels.shape == (160, 200)
    assert found.labels[min(middle[1], 158), min(middle[0], 198)] == LIP


def test_outside_of_the_crop_all_is_background():
    photo = np.full((160, 200, 3), 255, np.uint8)
    labels = lips.segment(photo, FACE, LipModel(Bright(), SIZE)).labels
    ys, xs = np.nonzero(labels == LIP)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == pytest.approx((60, 160, 65, 115), abs=2)
    assert labels[0, 0] == BACKGROUND


def test_scales_and_mirror_images_are_averaged():
    images = torch.rand(2, 3, 64, 128) * 2 - 1
    found = lips.predict_multiscale(Bright(), images)
    assert found.shape == (2, 5, 64, 128)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 64, 128))
    torch.testing.assert_close(lips.predict_multiscale(Bright(), images.flip(-1)), found.flip(-1))
    torch.testing.assert_close(lips.predict_multiscale(Bright(), images, scales=(1.0,)), Bright()(images).softmax(1))


def test_a_grey_photo_works(faces, checkpoint, tmp_path):
    Image.fromarray(np.full((160, 200), 90, np.uint8)).save(tmp_path / "grey.png")
    written = list(lips.run([tmp_path / "grey.png"], checkpoint=checkpoint, out=tmp_path))
    assert [path.name for path in written] == ["grey_mask.png", "grey_overlay.png"]


def test_a_large_photo_is_shrunk_for_dlib_and_its_landmarks_are_not(monkeypatch):
    seen = []
    monkeypatch.setattr(landmarks, "detect_all", lambda image, *, zoom: seen.append(image.shape) or FACE[None])
    points = lips.find_mouth(np.zeros((1024, 2048, 3), np.uint8), name="large.jpg")
    assert seen == [(512, 1024, 3)]
    np.testing.assert_allclose(points, FACE * 2 + 0.5)


def test_no_face_and_two_faces_are_one_sentence_each(faces, photo, checkpoint, tmp_path, capsys):
    arguments = [photo, "--checkpoint", checkpoint, "--out", tmp_path]
    faces[:] = []
    assert fails(arguments, capsys) == (
        f"{photo} shows no face that dlib finds: give a photo of one face, upright and from the front\n"
    )
    faces[:] = [FACE, FACE]
    assert fails(arguments, capsys) == (f"{photo} shows 2 faces, but one is wanted: crop the photo to one face\n")


def test_a_tiny_photo_is_refused_before_dlib_sees_it(faces, checkpoint, tmp_path, capsys):
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (30, 20)).save(tiny)
    message = fails([tiny, "--checkpoint", checkpoint, "--out", tmp_path], capsys)
    assert message == f"{tiny} has 30×20 pixels, but a face needs 40×40: give a larger photo\n"


def test_a_corrupt_and_a_missing_photo_are_named(faces, checkpoint, tmp_path, capsys):
    corrupt, missing = tmp_path / "corrupt.jpg", tmp_path / "missing.jpg"
    corrupt.write_bytes(b"no picture")
    message = fails([corrupt, missing, "--checkpoint", checkpoint, "--out", tmp_path], capsys)
    assert message == (
        f"{corrupt} should be a photo, but cannot be read as a picture: give another file\n"
        f"{missing} should be a photo, but there is no such file: check its path\n"
    )


def test_good_photos_are_labelled_beside_bad_ones(faces, photo, checkpoint, tmp_path, capsys):
    fails([tmp_path / "missing.jpg", photo, "--checkpoint", checkpoint, "--out", tmp_path / "out"], capsys)
    assert (tmp_path / "out/ann_mask.png").is_file()


def test_a_missing_checkpoint_is_named(photo, tmp_path, capsys):
    message = fails([photo, "--checkpoint", tmp_path / "none.pt", "--out", tmp_path], capsys)
    assert message.startswith(f"the checkpoint {tmp_path / 'none.pt'} should be a file, but is missing")
    assert message.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "of something else", "of another network"])
def test_another_file_is_no_checkpoint(photo, tmp_path, capsys, content):
    path = tmp_path / "other.pt"
    if content == "of something else":
        torch.save({"epoch": 3}, path)
    elif content == "of another network":
        torch.save({"model": ARGUMENTS, "state": {"weight": torch.zeros(3)}, "size": SIZE}, path)
    else:
        path.write_bytes(content)
    message = fails([photo, "--checkpoint", path, "--out", tmp_path], capsys)
    assert message.startswith(f"{path} should be a checkpoint of the lip network, but cannot be used as one")
    assert message.count("\n") == 1


def test_two_photos_of_one_name_are_refused(checkpoint, tmp_path):
    with pytest.raises(UserError, match="two photos are named a"):
        list(lips.run([tmp_path / "a.png", tmp_path / "b/a.jpg"], checkpoint=checkpoint, out=tmp_path))


def test_the_published_weights_find_most_of_a_rendered_mouth():
    """They come from the trial "Proposed, four times as long", synthetic mouths, cpu profile, seed 0."""
    model = load_model(RESULTS / "weights" / "lips.pt")
    faces = mouths.synthetic(77, 4, size=model.size)
    found = lips.predict_multiscale(model.network, inputs(faces.images)).argmax(1).numpy()
    iou = metrics.iou(metrics.confusion(found, faces.labels, 5).sum(0))
    assert iou[LIP] > 0.6
    assert (RESULTS / "weights" / "lips.pt").stat().st_size < 5e6
