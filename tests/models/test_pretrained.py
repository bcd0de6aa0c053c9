"""Encoders from ImageNet, without the weights at hand: random ones in their place."""

import socket
from pathlib import Path

import pytest
import torch
import torchvision

from reprolib.errors import UserError
from reprolib.models import pretrained

FILE = "mobilenet_v2-b0353104.pth"


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty cache folder of torchvision and no network; returns where the weights would have to be."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def refused(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    return tmp_path / "hub" / "checkpoints"


def test_missing_weights_are_named_with_the_folder_where_they_go(no_weights):
    with pytest.raises(UserError) as caught:
        pretrained.unet("mobilenet_v2", 2)
    message = str(caught.value)
    assert f"{FILE} should be in {no_weights}" in message and "could not be downloaded" in message
    assert f"https://download.pytorch.org/models/{FILE}" in message and "\n" not in message


def test_a_damaged_file_is_named(no_weights):
    no_weights.mkdir(parents=True)
    (no_weights / FILE).write_bytes(b"half")
    with pytest.raises(UserError, match=f"{FILE} should be in .* is damaged"):
        pretrained.load_imagenet("mobilenet_v2")


def test_random_weights_need_no_file(no_weights):
    network = pretrained.unet("resnet18", 4, pretrained=False).eval()
    assert network(torch.zeros(1, 3, 32, 64)).shape == (1, 4, 32, 64)
    assert pretrained.encoder("mobilenet_v2", pretrained=False).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_torchvisions_state_dict_fits_smps_encoder(name, monkeypatch):
    torch.manual_seed(0)
    state = torchvision.models.get_model(name, weights=None).state_dict()
    monkeypatch.setattr(pretrained, "load_imagenet", lambda asked: dict(state) if asked == name else None)
    found = pretrained.unet(name, 2).encoder.state_dict()
    features = {key for key in state if not key.startswith(("classifier.", "fc."))}
    assert features <= found.keys()
    assert all(torch.equal(found[key], state[key]) for key in features)


def test_an_encoder_without_known_weights_is_refused():
    with pytest.raises(ValueError, match=r"pretrained encoders are mobilenet_v2, .*, found 'resnet9'"):
        pretrained.unet("resnet9", 2)


def test_normalised_images_by_hand():
    images = torch.tensor([0, 255, 128], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    assert pretrained.normalised(images).flatten().tolist() == pytest.approx(expected)
    assert pretrained.normalised(images).dtype == torch.float32


@pytest.mark.skipif(
    not (Path(torch.hub.get_dir()) / "checkpoints" / FILE).is_file(), reason=f"{FILE} is not in torchvision's cache"
)
def test_the_real_weights_load_with_their_hash():
    state = pretrained.load_imagenet("mobilenet_v2")
    found = pretrained.unet("mobilenet_v2", 2).encoder.state_dict()
    assert torch.equal(found["features.0.0.weight"], state["features.0.0.weight"])
    assert state["features.0.1.running_var"].min() > 0
