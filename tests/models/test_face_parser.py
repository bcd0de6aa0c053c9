"""The network of the tools for photos."""

import numpy as np
import pytest
import torch
import torchvision

from reprolib.models.face_parser import FaceParser, as_input


def test_its_encoder_is_torchvisions_mobilenet_v2_without_the_last_layer():
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = FaceParser(classes=2).eval()
    ours.load_imagenet(theirs.state_dict())
    images = torch.rand(2, 3, 64, 96)
    found = images
    for stage in ours.encoder:
        found = stage(found)
    torch.testing.assert_close(found, theirs.features[:18](images))


@pytest.mark.parametrize("shape", [(32, 32), (64, 96), (128, 32)])
def test_every_pixel_gets_scores(shape):
    scores = FaceParser(classes=5).eval()(torch.zeros(2, 3, *shape))
    assert scores.shape == (2, 5, *shape)
    scores.sum().backward()


def test_weights_kept_in_half_precision_come_back(tmp_path):
    torch.manual_seed(1)
    one, other = FaceParser(classes=3).eval(), FaceParser(classes=3).eval()
    one.save_half(tmp_path / "it.npz")
    other.load_half(tmp_path / "it.npz")
    for name, value in one.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(other.state_dict()[name], expected)


def test_a_file_of_another_network_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", head=np.zeros(3, np.float16))
    with pytest.raises(KeyError):
        FaceParser(classes=3).load_half(tmp_path / "other.npz")


def test_pickled_objects_in_a_weight_file_are_not_loaded(tmp_path):
    poisoned = {key: np.array([object()]) for key in FaceParser(classes=3).state_dict()}
    np.savez(tmp_path / "poisoned.npz", **poisoned)
    with pytest.raises(ValueError, match="allow_pickle"):
        FaceParser(classes=3).load_half(tmp_path / "poisoned.npz")


def test_input_is_normalised_as_for_imagenet():
    found = as_input(np.full((1, 4, 4, 3), 255, np.uint8))
    assert found.shape == (1, 3, 4, 4)
    assert found[0, :, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
