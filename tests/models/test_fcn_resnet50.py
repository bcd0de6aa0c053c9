import math

import pytest
import torch
from module_checks import check_gradient, check_shapes, check_state_dict_round_trip
from torch import nn

from reprolib.models.complexity import parameters
from reprolib.models.fcn_resnet50 import (
    Bottleneck,
    FCNResNet50,
    keras_parameters,
    output_sizes,
    upsample_tf1,
)


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return FCNResNet50()


def small(**changes):
    torch.manual_seed(0)
    return FCNResNet50(**{"classes": 3, "width": 2, **changes})


def test_output_sizes_are_those_of_table_1(full):
    sizes = {"Conv1": 160, "Conv2_x": 79, "Conv3_x": 40, "Conv4_x": 20, "Conv5_x": 20, "Conv6": 20, "UpSampling": 320}
    assert output_sizes(full, 320) == sizes


def test_reading_the_output_sizes_leaves_the_model_as_it_was():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    output_sizes(model, 64)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_parameters_are_those_of_the_keras_network(full):
    assert parameters(full) == 23_544_837
    assert keras_parameters(full) == 23_544_837 + 53_120
    assert parameters(full.classifier) == 10_245


def test_a_quarter_of_the_width_has_a_quarter_of_the_channels():
    with torch.device("meta"):
        model = FCNResNet50(width=16)
    assert model.features(torch.zeros(1, 3, 128, 128, device="meta")).shape == (1, 512, 8, 8)


def test_logits_have_the_size_of_the_input():
    check_shapes(small(), classes=3, sizes=[(16, 16), (32, 48), (64, 64)])


def test_other_sides_are_refused():
    with pytest.raises(ValueError, match=r"divisible by 16, found 64×72"):
        small()(torch.zeros(1, 3, 64, 72))


def test_every_parameter_learns():
    # running statistics: those of the batch would cancel the biases before them
    model = small(width=8).eval()
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_state_dict_round_trip():
    check_state_dict_round_trip(small(), FCNResNet50(classes=3, width=2), size=32)


def test_gradient_in_float64():
    check_gradient(small(), size=32)


def test_the_first_convolution_pads_two_before_and_three_after():
    pad, conv = small().conv1[:2]
    image = torch.zeros(1, 3, 32, 32)
    image[..., 0, 0] = 1
    with torch.no_grad():
        conv.weight.copy_(torch.arange(49.0).view(7, 7).expand_as(conv.weight))
        out = conv(pad(image))
    assert out.shape[-2:] == (16, 16)
    # the first window begins two pixels before the picture: its pixel (0, 0) meets the kernel's (2, 2)
    assert out[0, 0, 0, 0] == 3 * (2 * 7 + 2)


def test_only_the_last_stage_is_dilated_and_strides_are_on_1x1_convolutions():
    model = small()
    for number, stage in enumerate((model.conv2, model.conv3, model.conv4, model.conv5), start=2):
        for block in stage:
            first, middle = block.residual[0], block.residual[3]
            strided = block is stage[0] and number in (3, 4)
            assert (first.kernel_size, first.stride) == ((1, 1), (2, 2) if strided else (1, 1))
            assert (middle.kernel_size, middle.stride) == ((3, 3), (1, 1))
            assert middle.dilation == ((2, 2) if number == 5 else (1, 1))
        assert stage[0].shortcut[0].stride == stage[0].residual[0].stride


def test_a_strided_block_sees_the_even_rows_and_columns_only():
    torch.manual_seed(0)
    block = Bottleneck(4, 2, stride=2, projection=True).eval()
    x = torch.randn(1, 4, 7, 7)
    even = Bottleneck(4, 2, projection=True).eval()
    even.load_state_dict(block.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(block(x), even(x[..., ::2, ::2]))


def test_batch_normalisation_is_kerass():
    norms = [module for module in small().modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.05)}


def test_the_classifier_starts_he_normal():
    weight = small(classes=50, width=16).classifier.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 16)), rel=0.03)


@pytest.mark.parametrize("factor", [2, 3, 16])
def test_upsampling_is_tensorflow_1s(factor):
    rows, columns = 3, 4
    x = torch.randn(2, 3, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = upsample_tf1(x, factor)
    assert out.shape == (2, 3, factor * rows, factor * columns)
    for i in range(factor * rows):
        for j in range(factor * columns):
            (top, down), (left, right) = divmod(i, factor), divmod(j, factor)
            a, b = down / factor, right / factor
            below, beside = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = (1 - b) * x[..., top, left] + b * x[..., top, beside]
            lower = (1 - b) * x[..., below, left] + b * x[..., below, beside]
            torch.testing.assert_close(out[..., i, j], (1 - a) * upper + a * lower)


def test_upsampling_by_hand():
    out = upsample_tf1(torch.tensor([[[[0.0, 4.0]]]]), 4)
    assert out[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert out.shape == (1, 1, 4, 8)
