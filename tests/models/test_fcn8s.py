import pytest
import torch
import torch.nn.functional as F
import torchvision
from module_checks import (
    check_every_parameter_learns,
    check_gradient,
    check_shapes,
    check_state_dict_round_trip,
)

from reprolib.models.fcn8s import FCN8s


def small(**changes):
    return FCN8s(**{"classes": 2, "width": 2, "fc_channels": 8, **changes})


def test_logits_have_the_size_of_the_input_whatever_it_is():
    check_shapes(small(classes=3), classes=3, sizes=[(32, 32), (64, 64), (128, 128), (33, 50), (7, 100)])


def test_every_parameter_learns():
    torch.manual_seed(0)
    check_every_parameter_learns(small(width=8, fc_channels=16), size=64)


def test_state_dict_round_trip():
    check_state_dict_round_trip(small(), small(), size=32)


def test_gradient_in_float64():
    check_gradient(small(), size=32)


@pytest.mark.parametrize("name", ["upscore2", "upscore_pool4", "upscore8"])
def test_upsampling_starts_as_bilinear_interpolation(name):
    layer = getattr(small(), name)
    x = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    factor = layer.stride[0]
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = slice(factor, -factor)  # at the border interpolation repeats, the convolution fades to zero
    torch.testing.assert_close(layer(x)[..., inside, inside], expected[..., inside, inside])


def test_base_is_vgg16():
    with torch.device("meta"):
        vgg, model = torchvision.models.vgg16(), FCN8s()
    expected = {k: v.shape for k, v in vgg.state_dict().items() if k.startswith("features.")}
    assert {k: v.shape for k, v in model.state_dict().items() if k.startswith("features.")} == expected
    assert model.fc6.weight.numel() == vgg.classifier[0].weight.numel()
    assert model.fc7.weight.numel() == vgg.classifier[3].weight.numel()


def test_vgg16_weights_give_vgg16_features():
    torch.manual_seed(0)
    model = small()
    features = {k: torch.randn_like(v) for k, v in model.features.state_dict(prefix="features.").items()}
    fully_connected = {
        "classifier.0.weight": torch.randn(8, 16 * 7 * 7),
        "classifier.0.bias": torch.randn(8),
        "classifier.3.weight": torch.randn(8, 8),
        "classifier.3.bias": torch.randn(8),
        "classifier.6.weight": torch.randn(1000, 8),  # ImageNet's classes: not used
    }
    model.load_vgg16(features | fully_connected)
    pool5 = torch.randn(1, 16, 7, 7)
    expected = F.linear(pool5.flatten(1), fully_connected["classifier.0.weight"], fully_connected["classifier.0.bias"])
    torch.testing.assert_close(model.fc6(pool5)[..., 3, 3], expected)
    assert torch.equal(model.features[0].weight, features["features.0.weight"])
