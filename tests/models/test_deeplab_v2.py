import pytest
import torch
from module_checks import (
    check_every_parameter_learns,
    check_gradient,
    check_shapes,
    check_state_dict_round_trip,
)
from torch import nn

from reprolib.models.complexity import parameters
from reprolib.models.deeplab_v2 import DeepLabV2
from reprolib.models.fcn_vgg16 import vgg16_features


def small(**changes):
    torch.manual_seed(0)
    return DeepLabV2(**{"classes": 3, "width": 2, **changes})


def scores_of(model, images):
    """Scores of each branch at stride 8."""
    found = []
    hooks = [branch.register_forward_hook(lambda m, i, output: found.append(output)) for branch in model.branches]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    return found, logits


def test_logits_have_the_size_of_the_input_whatever_it_is():
    check_shapes(small(), classes=3, sizes=[(32, 32), (64, 64), (33, 50), (7, 100)])


def test_scores_are_at_stride_8_as_in_caffe():
    with torch.device("meta"):
        model, images = DeepLabV2(), {side: torch.zeros(1, 3, side, side) for side in (320, 321)}
    for batch in images.values():
        scores, logits = scores_of(model, batch)
        assert [tuple(branch.shape) for branch in scores] == 4 * [(1, 5, 41, 41)]
        assert logits.shape[2:] == batch.shape[2:]


def test_parameters_are_those_of_the_trunk_and_four_branches():
    with torch.device("meta"):
        model, trunk = DeepLabV2(), vgg16_features(width=64)
    branch = (512 * 9 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 5 + 5)
    assert parameters(model) == parameters(trunk) + 4 * branch


def test_logits_are_the_sum_of_the_branches_at_every_eighth_pixel():
    model = small().eval()
    with torch.no_grad():
        scores, logits = scores_of(model, torch.randn(1, 3, 64, 64))
    assert [branch[0].dilation for branch in model.branches] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    torch.testing.assert_close(logits[..., ::8, ::8], sum(scores)[..., :8, :8])
    middle = sum(scores)[..., :8, :9]
    torch.testing.assert_close(logits[..., ::8, 4::8], (middle[..., :-1] + middle[..., 1:]) / 2)


def test_two_pools_keep_the_size_and_the_last_block_is_dilated():
    layers = small().features
    assert [pool.stride for pool in layers if isinstance(pool, nn.MaxPool2d)] == [2, 2, 2, 1, 1]
    dilations = [conv.dilation for conv in layers if isinstance(conv, nn.Conv2d)]
    assert dilations == 10 * [(1, 1)] + 3 * [(2, 2)]


@pytest.mark.parametrize("classes", [1, 5])
def test_there_are_as_many_scores_as_classes(classes):
    assert small(classes=classes).eval()(torch.zeros(1, 3, 16, 16)).shape == (1, classes, 16, 16)


def test_every_parameter_learns():
    check_every_parameter_learns(small(width=8), size=64)


def test_state_dict_round_trip():
    check_state_dict_round_trip(small(), DeepLabV2(classes=3, width=2), size=32)


def test_gradient_in_float64():
    check_gradient(small(), size=32)
