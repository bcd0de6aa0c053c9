"""Fuzzy graph reasoning (FGR) of Yang et al. 2023, Sec. III-C, Fig. 4."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.precision import in_float32


class FuzzyGraphReasoning(nn.Module):
    """Project all pixels onto N graph nodes by fuzzy clustering, reason over the nodes, and project back.

    Input and output float32 (B, C, H, W), C divisible by 4, else ValueError. Centres μ (N, C/4) and widths σ (N,).
    `fuzzy=False` projects with a learned 1×1 convolution ("+GR" in Table II). `shared=True` applies one graph
    convolution twice, as the text says; the published parameter counts need two separate ones.
    `normalised` (ours) scales the reduced features to mean 0 and standard deviation 1, the distribution from which the
    centres start.
    Source: Yang et al. 2023, Eq. 10–12; the residual connections follow the authors' code.
    """

    def __init__(
        self, channels: int, *, nodes: int = 16, fuzzy: bool = True, shared: bool = False, normalised: bool = False
    ):
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels must be divisible by 4, found {channels}.")
        inner = channels // 4
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.normalise = nn.BatchNorm2d(inner, affine=False) if normalised else nn.Identity()
        self.projection = FuzzyProjection(inner, nodes) if fuzzy else LinearProjection(channels, nodes)
        first = GraphConvolution(inner, nodes)
        self.reasoning = nn.Sequential(first, first if shared else GraphConvolution(inner, nodes))
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.expand(self.reasoned(features)))

    def node_shares(self, features: Tensor) -> Tensor:
        """Each node's share of the pixels' membership: (B, C, H, W) -> (N,), summing to 1.

        Memberships are squared, because it is their squares that sum to 1 over the nodes of a pixel.
        """
        pixels = self.normalise(self.reduce(features)).flatten(2).transpose(1, 2)
        _, onto_pixels = self.projection(features, pixels)
        return onto_pixels.square().mean((0, 1))

    def reasoned(self, features: Tensor) -> Tensor:
        """What the nodes give back to the pixels, (B, C, H, W) -> (B, C/4, H, W). Source: Eq. 10–12."""
        # a quarter of the channels, pixels in a row: (B, C, H, W) -> (B, D, C/4), D = H·W
        reduced = self.normalise(self.reduce(features))
        pixels = reduced.flatten(2).transpose(1, 2)
        # how much each pixel belongs to each node, Eq. 10: twice (B, D, N)
        onto_nodes, onto_pixels = self.projection(features, pixels)
        # node features as weighted sums over all pixels: (B, N, C/4)
        nodes = onto_nodes.transpose(1, 2) @ pixels
        # two graph convolutions, Eq. 12
        nodes = nodes + self.reasoning(nodes)
        # back to the pixels: (B, D, C/4) -> (B, C/4, H, W)
        return (onto_pixels @ nodes).transpose(1, 2).reshape(reduced.shape)


class FuzzyProjection(nn.Module):
    """Membership of every pixel in every node, scaled to length 1 over the pixels, and over the nodes (Eq. 10)."""

    def __init__(self, channels: int, nodes: int):
        super().__init__()
        self.mu = nn.Parameter(torch.randn(nodes, channels))
        self.sigma = nn.Parameter(torch.randn(nodes))

    def forward(self, features: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, D, C') -> twice (B, D, N)."""
        exponents = log_membership(pixels, self.mu, self.sigma)
        return normalised(exponents, dim=1), normalised(exponents, dim=2)


class LinearProjection(nn.Module):
    """A learned 1×1 convolution in place of the membership; the row "+GR" of Table II."""

    def __init__(self, channels: int, nodes: int):
        super().__init__()
        self.theta = nn.Conv2d(channels, nodes, 1)

    def forward(self, features: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, C, H, W) -> twice (B, D, N), D = H·W."""
        scores = self.theta(features).flatten(2).transpose(1, 2)
        return F.normalize(scores, dim=1), F.normalize(scores, dim=2)


class GraphConvolution(nn.Module):
    """σ(Linear(Linear(Hᵀ)ᵀ)) on a fully connected graph, (B, N, C) -> (B, N, C) (Eq. 12)."""

    def __init__(self, channels: int, nodes: int):
        super().__init__()
        self.between_nodes = nn.Conv1d(nodes, nodes, 1)
        self.between_channels = nn.Conv1d(channels, channels, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        # minus the identity as in GloRe: the Laplacian of a learned adjacency matrix
        exchanged = self.between_nodes(nodes) - nodes
        return self.between_channels(exchanged.transpose(1, 2)).transpose(1, 2).sigmoid()


@in_float32
def log_membership(pixels: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """−‖x_d − μ_n‖²/σ_n²: pixels (B, D, C), μ (N, C), σ (N,) -> (B, D, N). Source: the exponent of Eq. 10."""
    squares = pixels.square().sum(2, keepdim=True) + mu.square().sum(1) - 2 * pixels @ mu.T
    return -squares.clamp(min=0) / sigma.square()


def normalised(exponents: Tensor, *, dim: int) -> Tensor:
    """exp(exponents), scaled to Euclidean length 1 along `dim`.

    Stays exact where exp alone is 0 in float32: with 64 channels a new node's membership is about e⁻⁶⁴.
    """
    return (exponents - (2 * exponents).logsumexp(dim, keepdim=True) / 2).exp()
