"""Fuzzy learning module (FLM) of Yang et al. 2023, Sec. III-B, Fig. 3."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from reprolib.models.precision import in_float32

Sampling = Literal["pixel", "kernel", "expectation"]
LEAST_TEMPERATURE = 0.0125  # above it exp(±1/T) is in float32's range
GROUPS = 4  # of channels, processed in turn: only one group's memberships are in memory at a time


class Moments(NamedTuple):
    """Mean, variance and covariance of (Y¹, Y²) given the weights of the rules; five tensors of the input's shape."""

    mean1: Tensor
    mean2: Tensor
    variance1: Tensor
    variance2: Tensor
    covariance: Tensor


class FuzzyLearningModule(nn.Module):
    """Fuzzify each feature, weigh its kernels by two fuzzy rules, and rebuild features from these weights.

    Input and output float32 (B, C, H, W), C divisible by 4 (ValueError otherwise). μ and σ have shape (C/4, K).
    `reconstruct=False` passes on the firing strengths of the rules instead of reconstructed features ("+Rules" in
    Table II).

    `sampling` may be changed at any time:
    "pixel": fresh noise at each pixel, in training and in inference, as the authors' code does;
    "kernel": one draw F_{c,k} per image for all pixels, as Eq. 6 is written;
    "expectation": no noise, F_{c,k} = μ_{c,k}: the same image gives the same output.

    `normalised` (ours) scales the reduced features to mean 0 and standard deviation 1, the distribution from which the
    kernels start. Without it the features may drift away from the kernels in training, and then no kernel can tell them
    apart.

    Source: Yang et al. 2023, Eq. 1–9; the 3×3 convolutions and the initial μ and σ follow the authors' code.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernels: int = 16,  # K; Table I: 16, 32, 64 from the finest scale on
        temperature: float = 0.05,  # T, Sec. III-B, Eq. 4–5
        sampling: Sampling = "pixel",
        reconstruct: bool = True,
        normalised: bool = False,
    ):
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels must be divisible by 4, found {channels}.")
        inner = channels // 4
        self.reduce = nn.Conv2d(channels, inner, 3, padding=1)
        self.normalise = nn.BatchNorm2d(inner, affine=False) if normalised else nn.Identity()
        self.mu = nn.Parameter(torch.randn(inner, kernels))
        self.sigma = nn.Parameter(torch.randn(inner, kernels))
        self.expand = nn.Conv2d(3 * inner, channels, 3, padding=1)
        self.temperature = temperature
        self.sampling: Sampling = sampling
        self.reconstruct = reconstruct

    def forward(self, features: Tensor) -> Tensor:
        # a quarter of the channels: (B, C, H, W) -> (B, C/4, H, W)
        x = self.normalise(self.reduce(features))
        # fuzzifier, fuzzy logic and reconstruction, Eq. 1–8
        y1, y2 = self.rules(x)
        # Eq. 9: (B, 3C/4, H, W) -> (B, C, H, W)
        return self.expand(torch.cat([x, y1, y2], dim=1))

    def best_membership(self, features: Tensor) -> Tensor:
        """Membership of each reduced feature in the kernel nearest to it: (B, C, H, W) -> (B, C/4, H, W) in [0, 1]."""
        return membership(self.normalise(self.reduce(features)), self.mu, self.sigma).amax(-1)

    def rules(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Y¹ and Y² of the reduced features: (B, C/4, H, W) -> twice the same shape. Source: Eq. 1–8."""
        if self.reconstruct and self.sampling == "pixel" and self.temperature >= LEAST_TEMPERATURE:
            return sample(moments_in_one_pass(x, self.mu, self.sigma, self.temperature))
        # each channel has its own kernels, so the groups do not meet
        groups = zip(x.chunk(GROUPS, dim=1), self.mu.chunk(GROUPS), self.sigma.chunk(GROUPS), strict=True)
        outputs = [self._rules_of_group(*group) for group in groups]
        y1, y2 = (torch.cat(parts, dim=1) for parts in zip(*outputs, strict=True))
        return y1, y2

    def _rules_of_group(self, x: Tensor, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if not self.reconstruct:
            return _recomputed(firing_strengths, x, mu, sigma, self.temperature)
        if self.sampling == "pixel":
            return sample(_recomputed(moments, x, mu, sigma, self.temperature))
        # one value per kernel: sampled for each image (Eq. 6), or the expectation
        drawn = mu.expand(len(x), *mu.shape)
        if self.sampling == "kernel":
            drawn = drawn + sigma * torch.randn_like(drawn)
        return _recomputed(reconstruction, x, mu, sigma, self.temperature, drawn)


def membership(x: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """M = exp(−((x − μ)/σ)²): (B, C, H, W) with μ, σ (C, K) -> (B, C, H, W, K) in [0, 1]. Source: Eq. 1."""
    u = (x[..., None] - mu[:, None, None]) / sigma[:, None, None]
    return u.square().neg().exp()


def rule_weights(degrees: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Weights of the best and of the least matching kernels: both (…, K), summing to 1 over K.

    Source: Eq. 2–5. Eq. 4 and 5 number the rules in the opposite order to Eq. 2 and 3, which are followed here.
    """
    return (degrees / temperature).softmax(-1), (-degrees / temperature).softmax(-1)


def firing_strengths(x: Tensor, mu: Tensor, sigma: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """OR over "x is K_k" and OR over "x is not K_k", MAX taken softly: two tensors (B, C, H, W). Source: Eq. 2–5."""
    degrees = membership(x, mu, sigma)
    best, least = rule_weights(degrees, temperature)
    return (best * degrees).sum(-1), (least * (1 - degrees)).sum(-1)


def reconstruction(x: Tensor, mu: Tensor, sigma: Tensor, temperature: float, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Y¹ and Y² (B, C, H, W) from one value for each kernel, `drawn` (B, C, K). Source: Eq. 7–8."""
    best, least = rule_weights(membership(x, mu, sigma), temperature)
    return over_kernels(best, drawn), over_kernels(least, drawn)


def moments(x: Tensor, mu: Tensor, sigma: Tensor, temperature: float) -> Moments:
    """Moments of Y¹ = Σ w¹F and Y² = Σ w²F when every pixel draws its own F_k ~ N(μ_k, σ_k²), Eq. 6–8.

    Sums of independent Gaussians are Gaussian, so these five numbers are the whole distribution of (Y¹, Y²).
    """
    best, least = rule_weights(membership(x, mu, sigma), temperature)
    variances = sigma.square()
    return Moments(
        mean1=over_kernels(best, mu),
        mean2=over_kernels(least, mu),
        variance1=over_kernels(best.square(), variances),
        variance2=over_kernels(least.square(), variances),
        # exp(M/T) · exp(−M/T) = 1, so that w¹w² is the same for all kernels
        covariance=(best[..., 0] * least[..., 0]) * variances.sum(-1)[:, None, None],
    )


@in_float32
def moments_in_one_pass(x: Tensor, mu: Tensor, sigma: Tensor, temperature: float) -> Moments:
    """`moments` from two exponentials per pixel and kernel: exp(−M/T) is the inverse of exp(M/T).

    The weights are never formed: their sums over the kernels are enough, and no K-fold tensor is kept for the gradient.
    `temperature` must be at least `LEAST_TEMPERATURE`: below it exp(M/T) may leave the range of float32.
    """
    columns = x.transpose(0, 1).flatten(1)  # (B, C, H, W) -> (C, B·H·W)
    norm1, mean1, square1, norm2, mean2, square2 = (
        of.reshape(len(mu), len(x), *x.shape[2:]).transpose(0, 1)
        for of in _KernelSums.apply(columns, mu, sigma, temperature)
    )
    return Moments(
        mean1 / norm1, mean2 / norm2, square1 / norm1.square(), square2 / norm2.square(),
        sigma.square().sum(-1)[:, None, None] / (norm1 * norm2),
    )  # fmt: skip


class _KernelSums(torch.autograd.Function):
    """Σe, Σeμ, Σe²σ² over the kernels, and the same of 1/e, for e = exp((M − ½)/T): six tensors of the shape of x.

    x: (C, n); μ, σ: (C, K). Channels are processed in groups, so that the K-fold tensors of only one group are in
    memory.
    """

    @staticmethod
    def forward(ctx, x: Tensor, mu: Tensor, sigma: Tensor, temperature: float) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, mu, sigma)
        ctx.temperature = temperature
        sums = x.new_empty(6, *x.shape)
        for group in _groups(len(x)):
            values = torch.stack([torch.ones_like(mu[group]), mu[group]], dim=-1)  # (c, K, 2)
            variances = sigma[group].square()[..., None]  # (c, K, 1)
            _, _, best, least = _exponentials(x[group], mu[group], sigma[group], temperature)
            for first, weights in ((0, best), (3, least)):
                sums[first, group], sums[first + 1, group] = (weights @ values).unbind(-1)
                sums[first + 2, group] = (weights.square_() @ variances)[..., 0]
        return sums.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mu, sigma = ctx.saved_tensors
        of_x, of_mu, of_sigma = torch.empty_like(x), torch.empty_like(mu), torch.empty_like(sigma)
        for group in _groups(len(x)):
            values = torch.stack([torch.ones_like(mu[group]), mu[group]], dim=-2)  # (c, 2, K)
            twice = 2 * sigma[group].square()[:, None]  # (c, 1, K)
            u, degrees, best, least = _exponentials(x[group], mu[group], sigma[group], ctx.temperature)
            slopes, through_mu, through_sigma = [], 0.0, 0.0
            for first, weights in ((0, best), (3, least)):
                norm, mean, square = (gradient[group] for gradient in gradients[first : first + 3])
                # d/de of the three sums, times e: the slope along M/T (c, n, K)
                slope = torch.stack([norm, mean], dim=-1) @ values
                slope.addcmul_(square[..., None] @ twice, weights).mul_(weights)
                slopes.append(slope)
                through_mu = through_mu + (mean[:, None] @ weights)[:, 0]
                through_sigma = through_sigma + (square[:, None] @ weights.square_())[:, 0]
            # along u = (x − μ)/σ, by M = exp(−u²); over σ: along x
            along = (
                slopes[0].sub_(slopes[1]).mul_(degrees).mul_(u).mul_(-2 / ctx.temperature).div_(sigma[group][:, None])
            )
            of_x[group] = along.sum(-1)
            of_mu[group] = through_mu - along.sum(1)
            of_sigma[group] = 2 * sigma[group] * through_sigma - along.mul_(u).sum(1)
        return of_x, of_mu, of_sigma, None


def _groups(channels: int) -> list[slice]:
    size = -(-channels // GROUPS)
    return [slice(first, first + size) for first in range(0, channels, size)]


def _exponentials(x: Tensor, mu: Tensor, sigma: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, M = exp(−u²), e = exp((M − ½)/T) and 1/e: (c, n) with μ, σ (c, K) -> four of (c, n, K)."""
    u = (x[..., None] - mu[:, None]).div_(sigma[:, None])
    degrees = u.square().neg_().exp_()
    best = degrees.sub(0.5).div_(temperature).exp_()
    return u, degrees, best, best.reciprocal()


def over_kernels(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_k weights · values: (B, C, H, W, K) with (C, K) or (B, C, K) -> (B, C, H, W)."""
    return (weights.flatten(2, 3) @ values[..., None]).reshape(weights.shape[:-1])


def sample(m: Moments) -> tuple[Tensor, Tensor]:
    """Sample (Y¹, Y²) at every pixel from two random numbers instead of K: two tensors of the moments' shape."""
    noise1, noise2 = torch.randn_like(m.mean1), torch.randn_like(m.mean1)
    # lower triangular root of the 2×2 covariance matrix; the square root has no slope at 0
    deviation1 = m.variance1.clamp(min=1e-12).sqrt()
    shared = m.covariance / deviation1
    deviation2 = (m.variance2 - shared.square()).clamp(min=1e-12).sqrt()
    return m.mean1 + deviation1 * noise1, m.mean2 + shared * noise1 + deviation2 * noise2


def _recomputed(function, *inputs):
    """`function(*inputs)` in float32; the K-fold tensors inside it are computed again for the gradient, not kept."""
    return checkpoint(in_float32(function), *inputs, use_reentrant=False, preserve_rng_state=False)
