import torch
from torch import nn

from reprolib.models.complexity import macs, parameters


def test_macs_of_a_convolution_and_a_linear_layer():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 16, 10, bias=False))
    assert macs(model, (1, 3, 4, 4)) == 16 * 8 * 3 * 9 + 8 * 16 * 10


def test_frozen_parameters_are_not_counted():
    model = nn.Linear(3, 2)
    assert parameters(model) == 8
    model.bias.requires_grad_(False)
    assert parameters(model) == 6


def test_counting_leaves_no_hooks_or_buffers_on_the_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).train()
    keys = list(model.state_dict())
    macs(model, (1, 3, 8, 8))
    assert list(model.state_dict()) == keys
    assert not model[0]._forward_hooks
    assert model.training
    assert model(torch.zeros(1, 3, 2, 2)).shape == (1, 4, 2, 2)
