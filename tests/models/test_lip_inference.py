"""Lip networks in training and at test time: one map of scores, several sizes, modules switched off."""

import pytest
import torch
from torch import nn

from reprolib.lip_checkpoints import load_model, save_model
from reprolib.models import pretrained
from reprolib.models.fuzzy_graph_reasoning import FuzzyGraphReasoning
from reprolib.models.fuzzy_learning import FuzzyLearningModule
from reprolib.models.lip_inference import (
    MultiScale,
    OneOutput,
    expecting,
    inputs,
    mean_ablated,
    nodes_used,
    within_reach,
)
from reprolib.models.lip_network import LipNetwork

SMALL = {"encoder": "shufflenet_v2", "kernels": (2, 2, 2), "nodes": (2, 2, 2)}


def lip_network(*, seed: int = 0, **options) -> OneOutput:
    torch.manual_seed(seed)
    return OneOutput(LipNetwork(**SMALL | options))


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *(size or (32, 64)), generator=torch.Generator().manual_seed(1))


# --- one map of scores -------------------------------------------------------------------------------


def test_training_sees_three_heads_as_one_map_and_the_test_the_first_alone():
    model = lip_network(flm="none", fgr="none").eval()
    with torch.no_grad():
        assert torch.equal(model(images()), model.network(images()).logits)
        assert model.train()(images()).shape == (2, 5 + 1 + 5, 32, 64)


def test_the_quick_order_of_the_heads_gives_the_auxiliary_scores_of_the_papers_order():
    model = lip_network(flm="none", fgr="none").eval()
    with torch.no_grad():
        quick, slow = model.network(images()), model.network.eval()(images())
    torch.testing.assert_close(quick.auxiliary_logits, slow.auxiliary_logits)


def test_a_network_from_imagenet_sees_the_same_numbers_as_from_uint8():
    pixels = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    model = OneOutput(nn.Identity(), imagenet=True)
    in_range = inputs(pixels.permute(0, 2, 3, 1).numpy())
    assert in_range.abs().max() <= 1
    torch.testing.assert_close(model(in_range), pretrained.normalised(pixels))


def test_a_saved_network_keeps_its_normalisation_and_its_size(tmp_path):
    model = lip_network(flm="none", fgr="none")
    save_model(tmp_path / "a.pt", model.network, arguments=SMALL | {"flm": "none", "fgr": "none"}, size=(32, 64),
               imagenet=True)  # fmt: skip
    loaded = load_model(tmp_path / "a.pt")
    assert loaded.size == (32, 64) and loaded.network.imagenet


# --- several sizes -----------------------------------------------------------------------------------


def test_multi_scale_inference_does_not_change_what_no_scale_and_no_mirror_changes():
    class ByBrightness(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, :1], -x[:, :1]], dim=1)

    grey = torch.full((2, 3, 64, 64), 0.3)
    averaged = MultiScale(ByBrightness(), (0.5, 1.0, 1.5))(grey)
    torch.testing.assert_close(averaged, ByBrightness()(grey).softmax(1))


def test_multi_scale_inference_averages_an_image_and_its_mirror_image():
    class LeftIsFirst(nn.Module):
        """Class 0 in the left half, whatever the image."""

        def forward(self, x):
            left = torch.zeros(len(x), 2, *x.shape[2:])
            left[:, 0, :, : x.shape[3] // 2] = 50.0
            left[:, 1, :, x.shape[3] // 2 :] = 50.0
            return left

    p = MultiScale(LeftIsFirst(), (1.0,))(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(p, torch.full((1, 2, 32, 32), 0.5))


def test_multi_scale_inference_hands_on_only_sizes_that_the_encoder_takes():
    seen = []

    class Noting(nn.Module):
        def forward(self, x):
            seen.append(tuple(x.shape[2:]))
            return x[:, :2]

    MultiScale(Noting(), (0.5, 1.0, 1.5))(torch.zeros(1, 3, 32, 64))
    assert set(seen) == {(32, 32), (32, 64), (64, 96)}


# --- inside the modules ------------------------------------------------------------------------------


def test_the_expectation_makes_predictions_repeatable_and_is_undone():
    model = lip_network().eval()
    with torch.no_grad():
        with expecting(model):
            assert torch.equal(model(images()), model(images()))
        assert not torch.equal(model(images()), model(images()))


@pytest.mark.parametrize("kind", [FuzzyLearningModule, FuzzyGraphReasoning])
def test_mean_ablation_changes_the_named_modules_and_is_undone(kind):
    whole, plain = lip_network(sampling="expectation").eval(), lip_network(flm="none", fgr="none").eval()
    with torch.no_grad():
        for model, changes in ((whole, True), (plain, False)):
            before = model(images(64, 64))
            with mean_ablated(model, kind):
                assert torch.allclose(model(images(64, 64)), before, atol=1e-6) != changes
            torch.testing.assert_close(model(images(64, 64)), before)


def test_a_mean_ablated_module_tells_all_pixels_the_same():
    module = FuzzyLearningModule(8, kernels=3, sampling="expectation")
    with torch.no_grad(), mean_ablated(module, FuzzyLearningModule):
        for y in module.rules(torch.randn(2, 2, 3, 5)):
            torch.testing.assert_close(y, y[:1, :, :1, :1].expand_as(y))


def test_kernels_far_from_all_features_are_out_of_reach():
    model = lip_network(fgr="none")
    assert set(within_reach(model, images())) == {4, 8, 16}
    with torch.no_grad():
        for module in model.network.fuzzy_learning:
            module.mu.fill_(1e6)
    assert within_reach(model, images()) == {4: 0.0, 8: 0.0, 16: 0.0}
    assert within_reach(lip_network(flm="none"), images()) == {}


def test_one_node_with_all_pixels_is_the_least_use_and_equal_nodes_the_most():
    model = lip_network(flm="none")
    with torch.no_grad():
        for module in model.network.graph_reasoning:
            module.projection.mu.zero_()
            module.projection.sigma.fill_(1.0)
    assert nodes_used(model, images()) == pytest.approx({4: 100.0, 8: 100.0, 16: 100.0})
    with torch.no_grad():
        for module in model.network.graph_reasoning:
            module.projection.mu[1:] = 1e4
    assert nodes_used(model, images()) == pytest.approx({4: 50.0, 8: 50.0, 16: 50.0})
    assert nodes_used(lip_network(fgr="none"), images()) == {}
