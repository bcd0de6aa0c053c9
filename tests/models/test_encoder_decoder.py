import pytest
import torch
from module_checks import (
    check_every_parameter_learns,
    check_gradient,
    check_shapes,
    check_state_dict_round_trip,
)
from torch import nn

from reprolib.models.complexity import macs, parameters
from reprolib.models.encoder_decoder import EncoderDecoder


def test_parameters_are_those_of_the_released_network():
    assert parameters(EncoderDecoder()) == 4_524_323


def test_cost_at_128_pixels_is_7_gmac():
    assert round(macs(EncoderDecoder(), (1, 3, 128, 128)) / 1e9, 1) == 7.0


def test_logits_have_the_size_of_the_input():
    check_shapes(EncoderDecoder(classes=5, width=4), classes=5, sizes=[(128, 128), (20, 24), (36, 100)])


@pytest.mark.parametrize("size", [(130, 128), (128, 126), (16, 16)])
def test_sides_not_divisible_by_4_or_too_small_for_the_dilation_are_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]}×{size[1]}"):
        EncoderDecoder(width=2)(torch.zeros(1, 3, *size))


def test_odd_width_is_refused_because_two_shuffles_divide_it():
    with pytest.raises(ValueError, match="found 5"):
        EncoderDecoder(width=5)


def test_every_parameter_learns():
    check_every_parameter_learns(EncoderDecoder(width=4), size=24)


def test_state_dict_round_trip():
    check_state_dict_round_trip(EncoderDecoder(width=4), EncoderDecoder(width=4), size=24)


def test_gradient_in_float64():
    check_gradient(EncoderDecoder(width=2), size=20)


def test_encoder_reaches_256_channels_at_a_quarter_of_the_size():
    model = EncoderDecoder()
    shapes = [m.out_channels for m in [*model.encoder, *model.context] if isinstance(m, nn.Conv2d)]
    assert shapes == [64, 128, 128, 128, 256, 256, 256]
    with torch.no_grad():
        assert model.eval().encoder(torch.zeros(1, 3, 128, 128)).shape == (1, 256, 32, 32)


def test_only_the_classifier_is_padded_with_zeros():
    convolutions = [m for m in EncoderDecoder(width=2).modules() if isinstance(m, nn.Conv2d)]
    assert [m.padding_mode for m in convolutions] == ["reflect"] * 12 + ["zeros"]


def test_initialisation_is_xavier_with_gain_root_2():
    torch.manual_seed(0)
    model = EncoderDecoder()
    weight = model.decoder[0].weight  # 512 -> 512
    assert weight.std().item() == pytest.approx((2 * 2 / (9 * 1024)) ** 0.5, rel=0.01)
    norms = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert norms.mean().item() == pytest.approx(1, abs=0.002)
    assert norms.std().item() == pytest.approx(0.02, rel=0.1)
    assert all((p == 0).all() for name, p in model.named_parameters() if name.endswith("bias"))


def test_dropout_acts_only_in_training():
    torch.manual_seed(0)
    model, images = EncoderDecoder(width=4, dropout=0.2).eval(), torch.randn(1, 3, 24, 24)
    assert torch.equal(model(images), model(images))
    model.dropout.train()
    assert not torch.equal(model(images), model(images))
