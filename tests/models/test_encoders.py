import pytest
import torch

from reprolib.errors import UserError
from reprolib.models.encoders import ENCODERS, build_encoder, load_imagenet


@pytest.mark.parametrize("name", ENCODERS)
def test_four_scales_at_strides_4_to_32(name):
    with torch.device("meta"):
        encoder = build_encoder(name).eval()
        scales = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape) for x in scales] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, (4, 8, 16, 32), strict=True)
    ]


def test_random_weights_follow_the_seed():
    torch.manual_seed(3)
    first = build_encoder("shufflenet_v2").state_dict()
    torch.manual_seed(3)
    second = build_encoder("shufflenet_v2").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="'resnet50'"):
        build_encoder("resnet50")
    with pytest.raises(UserError, match=r"one of the encoders resnet34, .*, shufflenet_v2/4, found 'resnet50/4'"):
        build_encoder("resnet50/4")


def test_imagenet_weights_of_a_narrow_encoder_are_refused():
    with pytest.raises(UserError, match=r"expected an encoder with ImageNet weights, .*found 'resnet34/4'"):
        load_imagenet(build_encoder("resnet34/4"), "resnet34/4")
