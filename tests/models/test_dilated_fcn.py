import pytest
import torch
from torch import nn

from reprolib.models.complexity import counted, parameters
from reprolib.models.conv_lstm import ConvLSTMFCN
from reprolib.models.dilated_fcn import CHANNELS, DilatedFCN, InterleavedConv2d
from reprolib.models.lip_inference import as_imagenet
from tests.models.module_checks import (
    check_every_parameter_learns,
    check_same_function,
    check_shapes,
    check_state_dict_round_trip,
)


def network(encoder: str = "mobilenet_v2", seed: int = 0) -> DilatedFCN:
    torch.manual_seed(seed)
    return DilatedFCN(encoder, classes=5, pretrained=False)


def test_module():
    check_shapes(network(), classes=5, sizes=[(64, 64), (32, 48)])
    check_every_parameter_learns(network(), size=64)
    check_state_dict_round_trip(network(), network(seed=1), size=64)


@pytest.mark.parametrize("encoder", CHANNELS)
def test_features_have_stride_16_and_no_weight_is_added(encoder):
    with torch.device("meta"):
        model = DilatedFCN(encoder, classes=5, pretrained=False).eval()
        assert model.features(torch.zeros(1, 3, 320, 320)).shape == (1, CHANNELS[encoder], 20, 20)
    assert parameters(model.classifier) == 5 * CHANNELS[encoder] + 5


def test_only_the_last_stage_is_dilated():
    dilations = [m.dilation for m in network().modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert dilations[:-3] == [(1, 1)] * (len(dilations) - 3)
    assert dilations[-3:] == [(2, 2)] * 3


@pytest.mark.parametrize("size", [(14, 14), (4, 10), (7, 8), (9, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_interleaved_quarters_compute_the_dilated_convolution(size, layout):
    torch.manual_seed(0)
    ours = InterleavedConv2d(6, 6, 3, padding=2, dilation=2, groups=6).to(memory_format=layout)
    theirs = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6)
    check_same_function(ours, theirs, torch.randn(3, 6, *size).contiguous(memory_format=layout))


def test_an_interleaved_convolution_is_counted_like_a_plain_one():
    ours, theirs = (kind(6, 6, 3, padding=2, dilation=2, groups=6) for kind in (InterleavedConv2d, nn.Conv2d))
    assert counted(nn.Sequential(ours), (1, 6, 8, 8)) == counted(nn.Sequential(theirs), (1, 6, 8, 8))
    assert counted(nn.Sequential(ours), (1, 6, 8, 8))[1] > 0


def test_before_the_last_stage_it_computes_what_the_network_does():
    model = network().eval()
    torch.manual_seed(0)
    from torchvision.models import mobilenet_v2

    plain = mobilenet_v2().eval()
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model.encoder[:14](as_imagenet(images)), plain.features[:14](as_imagenet(images)))


def test_its_classifier_can_become_a_convlstm():
    converted = ConvLSTMFCN(network()).eval()
    assert converted(torch.zeros(2, 3, 3, 32, 32)).shape == (2, 3, 5, 32, 32)
