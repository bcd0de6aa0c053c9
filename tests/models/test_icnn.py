"""iCNN: the parameter counts of the authors' code, sizes, and what passes between the rows."""

import pytest
import torch
from module_checks import (
    check_every_parameter_learns,
    check_gradient,
    check_shapes,
    check_state_dict_round_trip,
)

from reprolib.models.complexity import parameters
from reprolib.models.icnn import (
    ICNN,
    OriginalICNN,
    enlarged,
    enlarged_with_parity,
    interlinked,
    interlinked_channels,
    pyramid,
)

NARROW = (2, 3, 4, 5)


@pytest.mark.parametrize(("labels", "count"), [(9, 559_931), (2, 545_588), (4, 548_376)])
def test_icnn_has_the_parameters_that_the_authors_forward_pass_uses(labels, count):
    assert parameters(ICNN(labels)) == count


def test_the_four_networks_of_the_second_stage_together():
    assert sum(parameters(ICNN(labels)) for labels in (2, 2, 2, 4)) == 2_185_140


@pytest.mark.parametrize(("parts", "count"), [(8, 447_729), (1, 422_732), (3, 428_254)])
def test_the_original_icnn_has_the_published_parameters(parts, count):
    assert parameters(OriginalICNN(parts + 1)) == count


@pytest.mark.parametrize("network", [ICNN, OriginalICNN])
def test_logits_have_the_size_of_the_picture(network):
    check_shapes(network(3, channels=NARROW), classes=3, sizes=[(128, 128), (64, 64), (81, 81), (127, 127), (33, 50)])


@pytest.mark.parametrize("network", [ICNN, OriginalICNN])
def test_every_parameter_learns(network):
    check_every_parameter_learns(network(3, channels=NARROW), size=25)


@pytest.mark.parametrize("network", [ICNN, OriginalICNN])
def test_gradient_equals_the_difference_quotient(network):
    check_gradient(network(2, channels=NARROW), size=17)


@pytest.mark.parametrize("network", [ICNN, OriginalICNN])
def test_state_dict_round_trip(network):
    check_state_dict_round_trip(network(2, channels=NARROW), network(2, channels=NARROW), size=24)


@pytest.mark.parametrize(("side", "sides"), [(128, [128, 64, 32, 16]), (81, [81, 41, 21, 11])])
def test_each_row_is_half_as_large_as_the_one_above(side, sides):
    assert [scale.shape[-1] for scale in pyramid(torch.zeros(1, 3, side, side), 4)] == sides


def test_a_row_sees_the_one_above_itself_and_the_one_below():
    rows = [torch.full((1, 1, side, side), value) for side, value in ((8, 1.0), (4, 2.0), (2, 3.0))]
    linked = interlinked(rows, enlarged)
    assert [features[0, :, 0, 0].tolist() for features in linked] == [[1, 2], [1, 2, 3], [2, 3]]


def test_channels_of_the_interlinked_rows():
    assert interlinked_channels((8, 16, 24, 32)) == [24, 48, 72, 56]
    assert interlinked_channels((8, 16, 24, 32), parity=2) == [26, 50, 74, 56]


def test_parity_channels_mark_odd_rows_and_odd_columns():
    features = enlarged_with_parity(torch.full((1, 1, 2, 2), 7.0), torch.zeros(1, 1, 3, 4))
    assert features[0].tolist() == [
        [[7, 7, 7, 7]] * 3,
        [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]],
        [[0, 1, 0, 1]] * 3,
    ]


def test_the_original_does_not_see_brightness_and_contrast():
    torch.manual_seed(0)
    network, image = OriginalICNN(2, channels=NARROW), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(network(image), network(0.5 * image + 0.2), atol=1e-4, rtol=0)
