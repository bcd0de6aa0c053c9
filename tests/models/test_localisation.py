"""Localisation networks: the authors' parameter counts, where they start, and θ's free entries."""

import pytest
import torch

from reprolib.models.complexity import parameters
from reprolib.models.localisation import LightLocalisation, LocalisationNetwork
from reprolib.models.quarter_width import resnet18
from reprolib.models.spatial_transformer import theta_of_centres

CENTRES = torch.tensor([[[30.0, 40], [90, 40], [35, 50], [85, 50], [60, 70], [60, 95]]])
MEAN = theta_of_centres(CENTRES, frame=(128, 128), patch=25)[0]


def narrow(**arguments):
    torch.manual_seed(0)
    return LocalisationNetwork(backbone=resnet18, **arguments)


def light(**arguments):
    torch.manual_seed(0)
    return LightLocalisation(**arguments)


def masks(side=64, count=2):
    return torch.randn(count, 9, side, side, generator=torch.Generator().manual_seed(1)).softmax(1)


def test_parameters_of_the_authors_two_networks():
    assert parameters(LocalisationNetwork()) == 11_213_796
    assert parameters(LightLocalisation()) == 5_172


@pytest.mark.parametrize("network", [narrow, light])
@pytest.mark.parametrize("side", [32, 64, 128])
def test_six_transforms_of_four_free_entries(network, side):
    theta = network(mean=MEAN)(masks(side))
    assert theta.shape == (2, 6, 2, 3)
    assert theta[..., 0, 1].eq(0).all() and theta[..., 1, 0].eq(0).all()


@pytest.mark.parametrize("network", [narrow, light])
def test_training_starts_near_the_mean(network):
    theta = network(mean=MEAN).eval()(masks())
    assert 0 < (theta - MEAN).abs().max() < 0.05


@pytest.mark.parametrize("network", [narrow, light])
def test_isotropic_networks_have_one_scale(network):
    theta = network(mean=MEAN, isotropic=True)(masks())
    assert torch.equal(theta[..., 0, 0], theta[..., 1, 1])


@pytest.mark.parametrize("network", [narrow, light])
def test_the_gradient_reaches_every_parameter_and_the_rough_mask(network):
    network, mask = network(mean=MEAN), masks().requires_grad_()
    (network(mask) - MEAN - 0.1).square().sum().backward()
    assert mask.grad.abs().max() > 0
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("network", [narrow, light])
def test_the_mean_is_kept_with_the_weights(network):
    trained, fresh = network(mean=MEAN), network()
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(trained.eval()(masks()), fresh.eval()(masks()))


@pytest.mark.parametrize("network", [narrow, light])
def test_theta_is_float32_in_mixed_precision(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theta = network(mean=MEAN).eval()(masks())
    assert theta.dtype == torch.float32
    assert (theta - MEAN).abs().max() > 0
    assert not torch.equal(theta, theta.bfloat16().float())
