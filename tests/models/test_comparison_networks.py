"""GloRe, DualSeg, SpyGR and LSFCNN, the graph and fuzzy rows of Yang et al. 2023, Table V."""

import pytest
import torch
from torch import nn

from reprolib.models.complexity import counted
from reprolib.models.dgcnet import CoordinateGraph, DualSegNetwork, FeatureGraph
from reprolib.models.glore import GloReNetwork, GloReUnit
from reprolib.models.lsfcnn import LSFCNN, FuzzyAndModule, and_by_product, and_rules
from reprolib.models.spygr import GraphReasoning, SpyGRNetwork
from tests.models.module_checks import check_every_parameter_learns, check_shapes, check_state_dict_round_trip

NETWORKS = [GloReNetwork, DualSegNetwork, SpyGRNetwork, LSFCNN]
MODULES = [
    lambda: GloReUnit(8, nodes=3),
    lambda: CoordinateGraph(8),
    lambda: FeatureGraph(8),
    lambda: GraphReasoning(8, 8),
    lambda: FuzzyAndModule(8),
]
MODULE_NAMES = ["GloReUnit", "CoordinateGraph", "FeatureGraph", "GraphReasoning", "FuzzyAndModule"]


class Together(nn.Module):
    """All three heads as one map, for the checks that expect a tensor."""

    def __init__(self, network, *, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.network = network(encoder="shufflenet_v2")

    def forward(self, images):
        return torch.cat(self.network(images), dim=1)


@pytest.mark.parametrize(
    ("network", "known", "macs"),
    [
        (GloReNetwork, 27.65, 3.060),
        (DualSegNetwork, 27.64, 3.146),  # published 3.167
        (SpyGRNetwork, 21.44, 2.584),
        (LSFCNN, 28.37, 3.262),
    ],
)
def test_parameters_and_operations_are_those_of_table_5(network, known, macs):
    with torch.device("meta"):
        model = network()
    parameters, operations = counted(model, (1, 3, 128, 256))
    assert (round(parameters / 1e6, 2), round(operations / 1e9, 3)) == (known, macs)


@pytest.mark.parametrize("network", NETWORKS)
def test_network_keeps_the_size_learns_everywhere_and_can_be_saved(network):
    check_shapes(Together(network), classes=11, sizes=[(32, 64)])
    check_every_parameter_learns(Together(network), size=64)
    check_state_dict_round_trip(Together(network), Together(network, seed=1), size=32)
    with pytest.raises(ValueError, match="divisible by 32"):
        Together(network)(torch.zeros(1, 3, 40, 64))


@pytest.mark.parametrize("module", MODULES, ids=MODULE_NAMES)
def test_modules_take_odd_sizes_and_tell_pixels_of_each_other(module):
    """All but the AND rules, whose convolutions see neighbours only, reason over the whole picture."""
    torch.manual_seed(0)
    model = module().double().eval()
    x = torch.randn(1, 8, 9, 15, dtype=torch.float64).requires_grad_()
    y = model(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y[0, :, 0, 0].square().sum(), x)
    assert (gradient[0, :, -1, -1].abs().max() > 0) == (not isinstance(model, FuzzyAndModule))


def test_spygr_never_forms_the_laplacian_but_equals_it():
    torch.manual_seed(0)
    layer = GraphReasoning(8, 3).double()
    x = torch.randn(1, 8, 4, 5, dtype=torch.float64)
    phi = layer.phi(x).relu().flatten(2)[0]
    weights = (layer.slope * phi.mean(1) + layer.offset).sigmoid()
    similarity = phi.T @ weights.diag() @ phi
    scale = (similarity.sum(1) + 1e-6).rsqrt().diag()
    laplacian = torch.eye(20, dtype=torch.float64) - scale @ similarity @ scale
    expected = (laplacian @ layer.theta(x).flatten(2)[0].T).relu().T.reshape(1, 3, 4, 5)
    torch.testing.assert_close(layer(x), expected)


def test_and_fires_as_strongly_as_its_weakest_term():
    x = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
    strengths = and_rules(x, torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.ones(2, 2))
    torch.testing.assert_close(strengths.flatten(), torch.tensor([1.0, torch.tensor(-1.0).exp()]))


def test_and_by_product_multiplies_the_memberships():
    x = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
    mu, sigma = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.ones(2, 2)
    strengths = and_by_product(x, mu, sigma)  # exp(−1)·exp(−1), and 1·exp(−1)
    torch.testing.assert_close(strengths.flatten(), torch.tensor([-2.0, -1.0]).exp())
    assert (strengths <= and_rules(x, mu, sigma)).all()
