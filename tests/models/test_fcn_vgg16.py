import pytest
import torch
import torchvision
from module_checks import (
    check_every_parameter_learns,
    check_gradient,
    check_shapes,
    check_state_dict_round_trip,
)
from torch import nn

from reprolib.models.complexity import parameters
from reprolib.models.fcn_resnet50 import upsample_tf1
from reprolib.models.fcn_vgg16 import FCNVGG16


def small(**changes):
    torch.manual_seed(0)
    return FCNVGG16(**{"classes": 3, "width": 2, "fc_channels": 8, **changes})


def test_parameters_are_those_of_the_keras_network():
    with torch.device("meta"):
        assert parameters(FCNVGG16()) == 134_281_029


def test_the_trunk_is_vgg16s():
    with torch.device("meta"):
        own, vgg = FCNVGG16(), torchvision.models.vgg16()
    shapes = {name: value.shape for name, value in own.features.state_dict().items()}
    assert shapes == {name: value.shape for name, value in vgg.features.state_dict().items()}


def test_logits_have_the_size_of_the_input():
    check_shapes(small(), classes=3, sizes=[(32, 32), (64, 96)])


def test_scores_are_at_stride_32_and_upsampled_by_tensorflow_1s_convention():
    model = small().eval()
    found = []
    model.classifier.register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 64, 96))
    assert found[0].shape == (1, 3, 2, 3)
    assert torch.equal(logits, upsample_tf1(found[0], 32))


def test_other_sides_are_refused():
    with pytest.raises(ValueError, match=r"divisible by 32, found 64×80"):
        small()(torch.zeros(1, 3, 64, 80))


def test_dropout_follows_both_fully_connected_layers():
    layers = list(small().fully_connected)
    assert [type(layer) for layer in layers] == 2 * [nn.Conv2d, nn.ReLU, nn.Dropout]
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.5}


def test_every_parameter_learns():
    check_every_parameter_learns(small(width=8, fc_channels=16), size=64)


def test_state_dict_round_trip():
    check_state_dict_round_trip(small(), FCNVGG16(classes=3, width=2, fc_channels=8), size=32)


def test_gradient_in_float64():
    check_gradient(small(), size=32)
