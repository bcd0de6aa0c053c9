import math

import pytest
import torch
from torch import nn

from reprolib.models.fuzzy_learning import (
    LEAST_TEMPERATURE,
    FuzzyLearningModule,
    Moments,
    firing_strengths,
    membership,
    moments,
    moments_in_one_pass,
    reconstruction,
    rule_weights,
    sample,
)
from tests.models.module_checks import check_every_parameter_learns, check_gradient, check_state_dict_round_trip


def module(*, seed: int = 0, **options) -> FuzzyLearningModule:
    torch.manual_seed(seed)
    return FuzzyLearningModule(8, kernels=5, **options)


def network(**options) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), module(**options))


def a_few_points(channels: int = 2, kernels: int = 4):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, channels, 2, 3, generator=generator, dtype=torch.float64)
    mu, sigma = torch.randn(2, channels, kernels, generator=generator, dtype=torch.float64)
    return x, mu, sigma


# --- Eq. 1–5 -----------------------------------------------------------------------------------------


def test_membership_is_1_at_the_mean_and_1_over_e_one_deviation_away():
    x = torch.tensor([2.0, 5.0, -1.0, 8.0]).reshape(1, 1, 1, 4)
    degrees = membership(x, torch.tensor([[2.0, 5.0]]), torch.tensor([[3.0, -3.0]]))
    assert degrees.shape == (1, 1, 1, 4, 2)
    e = math.e
    expected = torch.tensor([[1, 1 / e], [1 / e, 1], [1 / e, e**-4], [e**-4, 1 / e]])
    torch.testing.assert_close(degrees[0, 0, 0], expected)


def test_the_best_membership_is_that_of_the_nearest_kernel():
    torch.manual_seed(0)
    module = FuzzyLearningModule(8, kernels=3)
    features = torch.randn(2, 8, 4, 4)
    degrees = membership(module.reduce(features), module.mu, module.sigma)
    torch.testing.assert_close(module.best_membership(features), degrees.max(-1).values)
    assert FuzzyLearningModule(8, normalised=True)(features).shape == features.shape


def test_normalised_features_stay_among_their_kernels_however_large_they_grow():
    torch.manual_seed(0)
    features = 100 * torch.randn(4, 16, 8, 8)
    plain, normalised = (FuzzyLearningModule(16, kernels=16, normalised=n).train() for n in (False, True))
    assert plain.best_membership(features).mean() < 0.2
    assert normalised.best_membership(features).mean() > 0.8


def test_each_channel_has_its_own_kernels():
    degrees = membership(torch.zeros(1, 2, 1, 1), torch.tensor([[0.0], [1.0]]), torch.ones(2, 1))
    torch.testing.assert_close(degrees.flatten(), torch.tensor([1.0, 1 / math.e]))


def test_rule_weights_are_scaled_softmaxes():
    best, least = rule_weights(torch.tensor([0.0, 0.05 * math.log(3)]), 0.05)
    torch.testing.assert_close(best, torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(least, torch.tensor([0.75, 0.25]))


def test_firing_strengths_approach_max_and_min_as_the_temperature_falls():
    x, mu, sigma = a_few_points()
    degrees = membership(x, mu, sigma)
    best, least = firing_strengths(x, mu, sigma, 1e-5)
    torch.testing.assert_close(best, degrees.amax(-1), atol=1e-4, rtol=0)
    torch.testing.assert_close(least, 1 - degrees.amin(-1), atol=1e-4, rtol=0)


# --- Eq. 6–8 -----------------------------------------------------------------------------------------


def test_moments_equal_those_of_k_independent_draws():
    """W diag(σ²) Wᵀ and W μ for the 2 × K matrix W of both rules' weights."""
    x, mu, sigma = a_few_points()
    found = torch.stack(moments(x, mu, sigma, 0.3))
    weights = torch.stack(rule_weights(membership(x, mu, sigma), 0.3))  # (2, B, C, H, W, K)
    mean = torch.einsum("rbchwk,ck->rbchw", weights, mu)
    covariance = torch.einsum("rbchwk,sbchwk,ck->rsbchw", weights, weights, sigma.square())
    expected = [mean[0], mean[1], covariance[0, 0], covariance[1, 1], covariance[0, 1]]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
def test_two_numbers_and_k_draws_have_the_same_mean_and_covariance(temperature):
    """Each statistic of 200 000 draws is within four standard errors of the other form's."""
    draws = 200_000
    torch.manual_seed(0)
    mu, sigma = torch.randn(2, 1, 8, dtype=torch.float64)
    x = torch.full((1, 1, 1, draws), 0.3, dtype=torch.float64)
    two = torch.stack(sample(moments(x, mu, sigma, temperature)))[:, 0, 0, 0]
    best, least = rule_weights(membership(x[..., :1], mu, sigma)[0, 0, 0, 0], temperature)
    values = mu + sigma * torch.randn(draws, 8, dtype=torch.float64)
    k_draws = torch.stack([values @ best, values @ least])
    deviation = k_draws.std(1)
    error = 4 * (2 / draws) ** 0.5  # of the difference of two samples
    assert ((two.mean(1) - k_draws.mean(1)).abs() < error * deviation).all()
    scale = deviation[:, None] * deviation
    assert ((two.cov() - k_draws.cov()).abs() < 2**0.5 * error * scale).all()


@pytest.mark.parametrize("temperature", [LEAST_TEMPERATURE, 0.05, 1.0])
def test_one_pass_gives_the_moments_and_their_gradients(temperature):
    of_two_forms = []
    for form in (moments, moments_in_one_pass):
        inputs = [x.requires_grad_() for x in a_few_points(channels=6)]
        found = torch.stack(form(*inputs, temperature))
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        of_two_forms.append((found, torch.autograd.grad((found * weights).sum(), inputs)))
    torch.testing.assert_close(*of_two_forms)


def test_the_gradient_of_one_pass_equals_differences():
    inputs = [x.requires_grad_() for x in a_few_points(channels=3)]
    assert torch.autograd.gradcheck(lambda *given: moments_in_one_pass(*given, 0.3), inputs)


def test_one_pass_stays_finite_at_the_least_temperature():
    x, mu = torch.tensor([0.0, 1e3]).reshape(1, 1, 1, 2).requires_grad_(), torch.tensor([[0.0, 5.0]])
    found = torch.stack(moments_in_one_pass(x, mu, torch.ones(1, 2), LEAST_TEMPERATURE))
    found.sum().backward()
    assert found.isfinite().all() and x.grad.isfinite().all()


def test_both_outputs_are_one_when_all_kernels_match_alike():
    """Equal weights: Y¹ = Y², the covariance matrix is singular, and gradients stay finite."""
    sigma = torch.tensor([[1.0, 2.0]]).requires_grad_()
    m = moments(torch.full((1, 1, 1, 1), 1e6), torch.zeros(1, 2), sigma, 0.05)
    y1, y2 = sample(m)
    torch.testing.assert_close(y1, y2, atol=1e-5, rtol=0)
    (y1 + y2).sum().backward()
    assert sigma.grad.isfinite().all()


def test_without_variance_the_sample_is_the_mean():
    zero = torch.zeros(1, 1, 2, 2)
    y1, y2 = sample(Moments(zero + 3, zero - 4, zero, zero, zero))
    torch.testing.assert_close(y1, zero + 3, atol=1e-5, rtol=0)
    torch.testing.assert_close(y2, zero - 4, atol=1e-5, rtol=0)


def test_reconstruction_picks_the_drawn_value_of_the_best_and_of_the_least_kernel():
    mu, sigma = torch.tensor([[0.0, 1.0, 9.0]]), torch.ones(1, 3)
    y1, y2 = reconstruction(torch.full((1, 1, 1, 1), 1.1), mu, sigma, 0.001, torch.tensor([[[5.0, 6.0, 7.0]]]))
    assert (y1.item(), y2.item()) == (pytest.approx(6), pytest.approx(7))


# --- the module --------------------------------------------------------------------------------------


def test_the_expectation_is_the_mean_of_what_is_drawn():
    flm = module(sampling="expectation")
    x = torch.randn(1, 2, 3, 4)
    m = moments(x, flm.mu, flm.sigma, 0.05)
    torch.testing.assert_close(torch.stack(flm.rules(x)), torch.stack([m.mean1, m.mean2]))


@pytest.mark.parametrize("options", [{"sampling": "expectation"}, {"reconstruct": False}], ids=str)
def test_rules_are_exact_in_mixed_precision(options):
    """Divided by T = 0.05 and exponentiated, the eight bits of bfloat16 would change the weights by percents."""
    flm, x = module(**options), torch.randn(1, 2, 5, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = flm.rules(x)
    torch.testing.assert_close(mixed, flm.rules(x.float()))


def test_only_the_expectation_is_deterministic():
    flm, x = module().eval(), torch.randn(1, 8, 4, 4)
    for sampling, deterministic in [("pixel", False), ("kernel", False), ("expectation", True)]:
        flm.sampling = sampling
        assert torch.equal(flm(x), flm(x)) == deterministic, sampling


def test_one_draw_per_kernel_is_shared_by_all_pixels_of_a_picture():
    flm, x = module(sampling="kernel"), torch.full((2, 2, 3, 3), 0.4)
    y1, _ = flm.rules(x)
    torch.testing.assert_close(y1, y1[..., :1, :1].expand_as(y1))
    assert not torch.allclose(y1[0], y1[1])
    flm.sampling = "pixel"
    y1, _ = flm.rules(x)
    assert len(y1.unique()) == y1.numel()


def test_groups_of_channels_do_not_change_the_result():
    """12 reduced channels do not divide into equal groups everywhere; the order must stay."""
    torch.manual_seed(0)
    flm = FuzzyLearningModule(24, kernels=3, sampling="expectation")
    x = torch.randn(2, 6, 3, 3)
    m = moments(x, flm.mu, flm.sigma, 0.05)
    torch.testing.assert_close(flm.rules(x)[1], m.mean2)


@pytest.mark.parametrize(
    "options", [{}, {"sampling": "kernel"}, {"sampling": "expectation"}, {"reconstruct": False}], ids=str
)
def test_gradients_reach_everything(options):
    """With T = 0.05 a far kernel has no weight that float32 could tell from 0; T = 1 shows every path."""
    flm = network(temperature=1.0, **options)
    check_every_parameter_learns(flm, size=6)


def test_shape_stays_and_channels_must_be_divisible_by_4():
    assert module()(torch.randn(2, 8, 3, 7)).shape == (2, 8, 3, 7)
    with pytest.raises(ValueError, match="divisible by 4"):
        FuzzyLearningModule(6)


def test_state_dict_round_trip():
    check_state_dict_round_trip(network(sampling="expectation"), network(sampling="expectation", seed=1), size=5)


@pytest.mark.parametrize("options", [{"sampling": "expectation"}, {"reconstruct": False}], ids=str)
def test_gradient_equals_differences(options):
    check_gradient(network(**options), size=4)


@pytest.mark.parametrize("sampling", ["pixel", "kernel", "expectation"])
def test_gradients_reach_mu_and_sigma(sampling):
    flm = module(sampling=sampling)
    flm(torch.randn(2, 8, 6, 6)).square().sum().backward()
    for parameter in (flm.mu, flm.sigma):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
