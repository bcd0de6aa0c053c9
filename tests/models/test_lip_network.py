"""LipNetwork: the published counts of Yang et al. 2023, and what its rows have in common."""

import pytest
import torch
from torch import nn

from reprolib.models.complexity import counted, parameters
from reprolib.models.lip_network import LipNetwork
from tests.models.module_checks import check_every_parameter_learns, check_shapes, check_state_dict_round_trip

PAPER_INPUT = (1, 3, 128, 256)
BASELINE = {"flm": "none", "fgr": "none"}
SMALL = {"encoder": "shufflenet_v2", "kernels": (2, 3, 4), "nodes": (2, 3, 4)}

ROWS = [  # options, parameters by thop's rule (M), MACs (G), all parameters of the authors' module (M)
    (BASELINE, 27.674, 3.066, 27.703),
    ({"fgr": "none"}, 28.568, 3.318, 28.607),
    ({"flm": "none"}, 27.859, 3.106, 27.915),
    ({"nodes": (8, 16, 32)}, 28.765, 3.357, 28.819),
    ({}, 28.774, 3.358, 28.840),
    ({"nodes": (32, 64, 128)}, 28.806, 3.360, 28.900),
]


def on_meta(**options) -> LipNetwork:
    with torch.device("meta"):
        return LipNetwork(**options)


def rounded(model: nn.Module) -> tuple[float, float]:
    """Millions of parameters by thop's rule and 10⁹ multiply-accumulates at 128×256, as the tables print them."""
    known, operations = counted(model, PAPER_INPUT)
    return round(known / 1e6, 3), round(operations / 1e9, 3)


class Together(nn.Module):
    """All three heads as one map, for the checks that expect a tensor."""

    def __init__(self, *, seed: int = 0, **options):
        super().__init__()
        torch.manual_seed(seed)
        self.network = LipNetwork(**(SMALL | options))

    def forward(self, images):
        return torch.cat(self.network(images), dim=1)


# --- exact numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "known", "macs", "everything"), ROWS, ids=[str(row[0]) for row in ROWS])
def test_tables_1_and_2_count_what_this_network_counts(options, known, macs, everything):
    assert rounded(on_meta(**options)) == (known, macs)


@pytest.mark.parametrize(("options", "known", "macs", "everything"), ROWS, ids=[str(row[0]) for row in ROWS])
def test_the_authors_module_has_these_parameters_and_two_unused_layers(options, known, macs, everything):
    """A 1×1 convolution with normalisation over the decoder's inputs, and in each FGR a 1×1 convolution C → N."""
    unused = 448 * 64 + 64 + 2 * 64
    if options.get("fgr") != "none":
        nodes = options.get("nodes", (16, 32, 64))
        unused += sum(c * n + n for c, n in zip((64, 128, 256), nodes, strict=True))
    assert round((parameters(on_meta(**options)) + unused) / 1e6, 3) == everything


@pytest.mark.parametrize("kernels", [(8, 16, 32), (32, 64, 128)])
def test_the_number_of_kernels_is_not_counted_by_thop(kernels):
    assert rounded(on_meta(kernels=kernels)) == (28.774, 3.358)


def test_rules_without_reconstruction_cost_the_same():
    assert rounded(on_meta(flm="rules", fgr="none")) == (28.568, 3.318)  # "+Rules" 28.57M / 3.318G


def test_graph_reasoning_with_a_learned_projection_has_the_published_parameters():
    known, macs = rounded(on_meta(flm="none", fgr="linear"))
    assert round(known, 2) == 27.88
    assert macs == 3.112  # published: 3.122


def test_shared_graph_convolutions_miss_the_published_count():
    known, _ = rounded(on_meta(shared_gcn=True))
    assert known == 28.763  # published 28.774


def test_resnet_18_of_table_6():
    known, macs = counted(on_meta(encoder="resnet18"), PAPER_INPUT)
    assert (round(known / 1e6, 2), round(macs / 1e9, 3)) == (18.67, 2.146)


@pytest.mark.parametrize(
    ("encoder", "known", "macs"),
    [("mobilenet_v2", 9.19, 1.297), ("squeezenet", 8.93, 1.705), ("shufflenet_v2", 1.35, 0.260)],
)
def test_table_6_counts_the_parameters_of_the_light_encoders_twice(encoder, known, macs):
    """As thop does with a module under two names, whose operations it counts four times.

    All numbers are the paper's, but for SqueezeNet's operations: published are 1.663G.
    """
    model = on_meta(encoder=encoder)
    once = counted(model, PAPER_INPUT)
    alone = counted(model.encoder, PAPER_INPUT)
    model.again = nn.ModuleList([model.encoder])
    twice = counted(model, PAPER_INPUT)
    assert twice == (once[0] + alone[0], once[1] + 3 * alone[1])
    assert (round(twice[0] / 1e6, 2), round(twice[1] / 1e9, 3)) == (known, macs)


# --- behaviour ---------------------------------------------------------------------------------------


def test_heads_have_the_size_of_the_picture():
    model = Together().network.eval()
    with torch.no_grad():
        heads = model(torch.zeros(2, 3, 32, 64))
    assert heads.logits.shape == heads.auxiliary_logits.shape == (2, 5, 32, 64)
    assert heads.edge_logits.shape == (2, 1, 32, 64)


def test_all_sides_that_32_divides_are_taken_and_no_others():
    check_shapes(Together(), classes=11, sizes=[(32, 32), (64, 160)])
    with pytest.raises(ValueError, match="divisible by 32, found 48×64"):
        Together()(torch.zeros(1, 3, 48, 64))


def test_expectation_makes_the_network_deterministic():
    images = torch.randn(1, 3, 32, 64)
    for sampling, deterministic in [("expectation", True), ("pixel", False), ("kernel", False)]:
        model = Together(sampling=sampling).eval()
        with torch.no_grad():
            assert torch.equal(model(images), model(images)) == deterministic, sampling


def test_one_temperature_reaches_every_scale():
    model = Together(temperature=0.5).network
    assert [module.temperature for module in model.fuzzy_learning] == [0.5] * 3


@pytest.mark.parametrize("options", [{}, {"flm": "rules", "fgr": "linear"}, BASELINE], ids=str)
def test_gradients_reach_everything(options):
    # the squeeze layers of a smaller encoder have so few units that all may be dead
    check_every_parameter_learns(Together(temperature=1.0, encoder="resnet18", **options), size=64)


def test_state_dict_round_trip():
    check_state_dict_round_trip(Together(sampling="expectation"), Together(sampling="expectation", seed=1), size=32)
