"""From a photo of a face to a mask of its parts; dlib is replaced by faces that are known."""

import numpy as np
import pytest
import torch
from PIL import Image

from reprolib import metrics, parse
from reprolib.cli import main
from reprolib.datasets import landmarks, parsing_faces
from reprolib.datasets.parsing_faces import CLASSES, NOSE
from reprolib.errors import UserError
from reprolib.paths import RESULTS
from reprolib.studies.yin2020.checkpoint import ParsingModel, build, load_model, save_model
from reprolib.studies.yin2020.scores import parsing_metrics

ARGUMENTS = {"patch": 13, "channels": (2, 2, 2, 2), "light": True}
SMALL, FRAME = 64, 96


class Bright(torch.nn.Module):
    """Nose wherever a pixel is bright, else background."""

    def parse(self, small, full):
        assert small.shape[1:] == (3, SMALL, SMALL) and full.shape[1:] == (3, FRAME, FRAME)
        return (full.mean(dim=1) > 0.5).to(torch.uint8) * NOSE


@pytest.fixture
def faces(monkeypatch):
    """What dlib finds in any photo: change the list to change it."""
    found = [np.zeros((68, 2), np.float32)]
    monkeypatch.setattr(landmarks, "detect_all", lambda image, *, zoom: np.array(found).reshape(-1, 68, 2))
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("parse") / "network.pt"
    save_model(path, build(**ARGUMENTS), arguments=ARGUMENTS, small=SMALL, frame=FRAME)
    return path


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "ann.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)).save(path)
    return path


def fails(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["parse", *map(str, arguments)])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_every_class_has_a_colour():
    assert len(parse.COLOURED_AS) == len(CLASSES)
    assert parse.part_colours(parse.COLOURED_AS).shape == (9, 3)


def test_the_command_writes_a_mask_and_an_overlay_in_the_photos_frame(faces, photo, checkpoint, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["parse", str(photo), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 0
    mask, overlay = (Image.open(tmp_path / f"out/ann_{kind}.png") for kind in ("mask", "overlay"))
    assert capsys.readouterr().out.split() == [mask.filename, overlay.filename]
    assert mask.size == overlay.size == (200, 160)
    assert set(np.unique(mask)) <= set(range(9))


def test_a_checkpoint_gives_back_the_network_that_it_keeps(checkpoint):
    torch.manual_seed(0)
    kept, model = build(**ARGUMENTS).eval().half().float(), load_model(checkpoint)  # kept in half precision
    assert (model.small, model.frame, model.network.training) == (SMALL, FRAME, False)
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], value)
    image = np.random.default_rng(1).integers(0, 255, (70, 100, 3), dtype=np.uint8)
    one, other = (parse.segment(image, ParsingModel(net, SMALL, FRAME)) for net in (kept, model.network))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changed", [{"cropper": "baseline"}, {"cropper": "roi_align", "mouth_patch": 17}, {"light": False}]
)
def test_every_kind_of_network_can_be_kept(tmp_path, changed):
    arguments = ARGUMENTS | changed
    save_model(tmp_path / "it.pt", build(**arguments), arguments=arguments, small=SMALL, frame=FRAME)
    assert load_model(tmp_path / "it.pt").network.cropper == changed.get("cropper", "stn")


def test_the_published_weights_find_most_of_a_synthetic_face():
    """They come from the trial "iCNN (Our implem.), stage 2 trained on as long", synthetic, cpu profile, seed 0."""
    path = RESULTS / "weights" / "parts.pt"
    model = load_model(path)
    faces = parsing_faces.synthetic(77, 6, size=model.frame, options=parsing_faces.PORTRAIT)
    found = model.network.parse(*parse.inputs(faces.images, model.small)).numpy()
    scores = parsing_metrics(metrics.confusion(found, faces.labels, 9).sum(0))
    assert scores["overall"] > 0.6
    assert path.stat().st_size < 5e6


def test_where_the_localiser_started_is_kept_with_its_weights(tmp_path):
    mean = torch.tensor([[0.2, 0.0, 0.3], [0.0, 0.2, -0.1]]).repeat(6, 1, 1)
    network = build(**ARGUMENTS, mean=mean).eval().half().float()
    save_model(tmp_path / "it.pt", network, arguments=ARGUMENTS, small=SMALL, frame=FRAME)
    found, full = load_model(tmp_path / "it.pt").network, torch.rand(1, 3, FRAME, FRAME)
    small = torch.nn.functional.interpolate(full, (SMALL, SMALL))
    torch.testing.assert_close(found(small, full)["theta"], network(small, full)["theta"])
    assert found(small, full)["theta"][0, 0, 0, 2].item() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("shape", [(96, 96), (160, 200), (301, 120), (48, 64)])
def test_the_mask_of_a_photo_of_any_shape_lies_where_the_part_is(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    bright = ((x - 0.6 * shape[1]) / (0.2 * shape[1])) ** 2 + ((y - 0.4 * shape[0]) / (0.2 * shape[0])) ** 2 < 1
    photo = np.repeat(np.where(bright, 255, 0)[..., None], 3, -1).astype(np.uint8)
    labels = parse.segment(photo, ParsingModel(Bright(), SMALL, FRAME))
    assert labels.shape == shape and labels.dtype == np.uint8
    found = labels == NOSE
    assert (bright & found).sum() / (bright | found).sum() > 0.9


def test_the_network_sees_pictures_from_zero_to_one():
    small, full = parse.inputs(np.full((2, 24, 24, 3), 255, np.uint8), 12)
    torch.testing.assert_close(small, torch.ones(2, 3, 12, 12))
    torch.testing.assert_close(full, torch.ones(2, 3, 24, 24))


def test_outlines_stay_smooth_where_labels_are_enlarged():
    labels = np.zeros((10, 10), np.uint8)
    labels[np.add.outer(np.arange(10), np.arange(10)) > 9] = 3
    found = parse.enlarged(labels, 80)
    assert set(np.unique(found)) == {0, 3}
    blocky = np.kron(labels, np.ones((8, 8), np.uint8))
    exact = np.add.outer(np.arange(80), np.arange(80)) + 1 > 84  # the line between the last 0 and the first 3
    assert ((found == 3) != exact).sum() < ((blocky == 3) != exact).sum()


def test_no_face_and_two_faces_are_one_sentence_each(faces, photo, checkpoint, tmp_path, capsys):
    arguments = [photo, "--checkpoint", checkpoint, "--out", tmp_path]
    faces[:] = []
    assert fails(arguments, capsys) == (
        f"{photo} shows no face that dlib finds: give a photo of one face, upright and from the front\n"
    )
    faces[:] = [np.zeros((68, 2)), np.ones((68, 2))]
    assert fails(arguments, capsys) == f"{photo} shows 2 faces, but one is wanted: crop the photo to one face\n"


def test_without_dlib_every_photo_is_labelled(monkeypatch, photo, checkpoint, tmp_path):
    def absent(image, *, zoom):
        raise UserError("landmarks of real faces need dlib")

    monkeypatch.setattr(landmarks, "detect_all", absent)
    written = list(parse.run([photo], checkpoint=checkpoint, out=tmp_path / "out"))
    assert [path.name for path in written] == ["ann_mask.png", "ann_overlay.png"]


def test_a_grey_photo_works(faces, checkpoint, tmp_path):
    Image.fromarray(np.full((160, 200), 90, np.uint8)).save(tmp_path / "grey.png")
    assert len(list(parse.run([tmp_path / "grey.png"], checkpoint=checkpoint, out=tmp_path))) == 2


def test_bad_photos_are_named_and_good_ones_labelled(faces, photo, checkpoint, tmp_path, capsys):
    corrupt, missing = tmp_path / "corrupt.jpg", tmp_path / "missing.jpg"
    corrupt.write_bytes(b"no picture")
    message = fails([corrupt, photo, missing, "--checkpoint", checkpoint, "--out", tmp_path / "out"], capsys)
    assert message == (
        f"{corrupt} should be a photo, but cannot be read as a picture: give another file\n"
        f"{missing} should be a photo, but there is no such file: check its path\n"
    )
    assert (tmp_path / "out/ann_mask.png").is_file()


def test_a_missing_checkpoint_is_named(photo, tmp_path, capsys):
    message = fails([photo, "--checkpoint", tmp_path / "none.pt", "--out", tmp_path], capsys)
    assert message == (
        f"the checkpoint {tmp_path / 'none.pt'} should be a file, but is missing: train yin2020 or give another path\n"
    )


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "of something else", "of another network"])
def test_another_file_is_no_checkpoint(photo, tmp_path, capsys, content):
    path = tmp_path / "other.pt"
    if content == "of something else":
        torch.save({"epoch": 3}, path)
    elif content == "of another network":
        kept = {"parsing model": ARGUMENTS, "state": {"weight": torch.zeros(3)}, "small": SMALL, "frame": FRAME}
        torch.save(kept, path)
    else:
        path.write_bytes(content)
    message = fails([photo, "--checkpoint", path, "--out", tmp_path], capsys)
    assert message.startswith(f"{path} should be a checkpoint of the STN-iCNN, but cannot be used as one")
    assert message.count("\n") == 1


def test_two_photos_of_one_name_are_refused(checkpoint, tmp_path):
    with pytest.raises(UserError, match="two photos are named a"):
        list(parse.run([tmp_path / "a.png", tmp_path / "b/a.jpg"], checkpoint=checkpoint, out=tmp_path))
