import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprolib.models.complexity import parameters
from reprolib.models.fuzzy_graph_reasoning import (
    FuzzyGraphReasoning,
    FuzzyProjection,
    GraphConvolution,
    LinearProjection,
    log_membership,
    normalised,
)
from tests.models.module_checks import check_every_parameter_learns, check_gradient, check_state_dict_round_trip


def module(*, seed: int = 0, **options) -> FuzzyGraphReasoning:
    torch.manual_seed(seed)
    return FuzzyGraphReasoning(8, nodes=5, **options)


def network(**options) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), module(**options))


# --- fuzzy projection, Eq. 10 ------------------------------------------------------------------------


def test_membership_of_a_pixel_in_a_node_by_hand():
    """‖(3, 4) − (0, 0)‖² / 5² = 1 and ‖(3, 4) − (3, 1)‖² / 3² = 1 as well."""
    exponents = log_membership(
        torch.tensor([[[3.0, 4.0]]]), torch.tensor([[0.0, 0.0], [3.0, 1.0], [3.0, 4.0]]), torch.tensor([5.0, -3.0, 2.0])
    )
    torch.testing.assert_close(exponents, torch.tensor([[[-1.0, -1.0, 0.0]]]))


def test_projection_has_length_1_over_pixels_and_re_projection_over_nodes():
    torch.manual_seed(0)
    for projection in (FuzzyProjection(4, 3), LinearProjection(8, 3)):
        pixels = torch.randn(2, 30, 4)
        onto_nodes, onto_pixels = projection(torch.randn(2, 8, 5, 6), pixels)
        assert onto_nodes.shape == onto_pixels.shape == (2, 30, 3)
        torch.testing.assert_close(onto_nodes.norm(dim=1), torch.ones(2, 3))
        torch.testing.assert_close(onto_pixels.norm(dim=2), torch.ones(2, 30))


def test_normalised_is_the_membership_divided_by_its_length():
    exponents = -5 * torch.rand(2, 7, 3, generator=torch.Generator().manual_seed(0))
    for dim in (1, 2):
        torch.testing.assert_close(normalised(exponents, dim=dim), F.normalize(exponents.exp(), dim=dim))


def test_normalisation_survives_memberships_that_are_0_in_float32():
    exponents = torch.tensor([-1000.0, -1000.0, -1001.0]).reshape(1, 3, 1)
    assert exponents.exp().sum() == 0
    torch.testing.assert_close(normalised(exponents, dim=1), normalised(exponents + 1000, dim=1), atol=1e-4, rtol=0)


# --- graph convolution, Eq. 11–12 --------------------------------------------------------------------


def test_exponents_are_exact_in_mixed_precision():
    """An error of 0.5 % in an exponent of −64 would change the membership by a third."""
    torch.manual_seed(0)
    pixels, mu, sigma = torch.randn(1, 9, 64).bfloat16(), torch.randn(5, 64), torch.ones(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = log_membership(pixels, mu, sigma)
    torch.testing.assert_close(mixed, log_membership(pixels.float(), mu, sigma))


def test_graph_convolution_is_the_sigmoid_of_a_laplacian_times_nodes_times_weights():
    torch.manual_seed(0)
    layer, nodes = GraphConvolution(4, 3), torch.randn(2, 3, 4)
    adjacency, weights = layer.between_nodes.weight[..., 0], layer.between_channels.weight[..., 0]
    exchanged = (adjacency - torch.eye(3)) @ nodes + layer.between_nodes.bias[:, None]
    expected = (exchanged @ weights.T + layer.between_channels.bias).sigmoid()
    torch.testing.assert_close(layer(nodes), expected)


def test_shared_layers_have_the_parameters_of_one():
    saved = parameters(module()) - parameters(module(shared=True))
    assert saved == parameters(GraphConvolution(2, 5)) == 5 * 5 + 5 + 2 * 2 + 2


# --- the module --------------------------------------------------------------------------------------


def test_every_pixel_sees_the_whole_picture():
    fgr = module()
    x = torch.randn(1, 8, 5, 6).requires_grad_()
    fgr.expand.bias.data.fill_(10.0)  # keeps the ReLU open
    fgr(x)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_output_is_the_rectified_sum_of_features_and_reasoning():
    fgr, x = module(), torch.randn(2, 8, 3, 4)
    nn.init.zeros_(fgr.expand.weight)
    nn.init.zeros_(fgr.expand.bias)
    torch.testing.assert_close(fgr(x), x.relu())


@pytest.mark.parametrize("options", [{}, {"fuzzy": False}, {"shared": True}], ids=str)
def test_gradients_reach_everything(options):
    check_every_parameter_learns(network(**options), size=6)


def test_channels_must_be_divisible_by_4():
    with pytest.raises(ValueError, match="divisible by 4"):
        FuzzyGraphReasoning(6)


def test_state_dict_round_trip():
    check_state_dict_round_trip(network(), network(seed=1), size=5)


@pytest.mark.parametrize("options", [{}, {"fuzzy": False}, {"shared": True}], ids=str)
def test_gradient_equals_differences(options):
    check_gradient(network(**options), size=4)
