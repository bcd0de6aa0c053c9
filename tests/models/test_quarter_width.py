import pytest
import torch

from reprolib.models.encoders import QUARTER, QUARTER_WIDTH, build_encoder


@pytest.mark.parametrize("name", [name for name in QUARTER_WIDTH if name != "shufflenet_v2"])
def test_every_narrow_encoder_has_a_quarter_of_the_channels_and_the_same_strides(name):
    narrow, full = build_encoder(name + QUARTER).eval(), build_encoder(name)
    expected = {"mobilenet_v2": (16, 16, 48, 1280)}  # half; multiples of 8, and the last layer as wide as ever
    assert narrow.channels == expected.get(name, tuple(c // 4 for c in full.channels))
    with torch.no_grad():
        shapes = [tuple(scale.shape) for scale in narrow(torch.zeros(1, 3, 64, 128))]
    assert shapes == [(1, c, 64 // s, 128 // s) for c, s in zip(narrow.channels, (4, 8, 16, 32), strict=True)]


def test_shufflenet_has_few_channels_already():
    assert build_encoder("shufflenet_v2/4").channels == build_encoder("shufflenet_v2").channels


@pytest.mark.parametrize("name", ["resnet34", "resnet18"])
def test_a_narrow_resnet_has_about_a_sixteenth_of_the_parameters(name):
    counts = [sum(p.numel() for p in build_encoder(one).parameters()) for one in (name + QUARTER, name)]
    assert 1 / 17 < counts[0] / counts[1] < 1 / 14
