"""What every network of this repository must do; each test file adds a few lines of its own."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn


def check_shapes(model: nn.Module, *, classes: int, sizes: list[tuple[int, int]]) -> None:
    """Logits of the input's size, for each (height, width)."""
    model.eval()
    for height, width in sizes:
        with torch.no_grad():
            assert model(torch.zeros(2, 3, height, width)).shape == (2, classes, height, width)


def check_every_parameter_learns(model: nn.Module, *, size: int) -> None:
    """A backward pass gives each parameter a finite gradient that is not zero throughout."""
    torch.manual_seed(0)
    model.train()
    model(torch.randn(2, 3, size, size)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def check_state_dict_round_trip(model: nn.Module, other: nn.Module, *, size: int) -> None:
    """`other`, a fresh model, computes the same after it loads what `model` saved."""
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    model.eval(), other.eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    with torch.no_grad():
        assert not torch.equal(model(images), other(images))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(model(images), other(images))


def check_gradient(model: nn.Module, *, size: int) -> None:
    """Input gradient in float64 equals the central difference along random directions."""
    model = model.double().eval()
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    images = random(1, 3, size, size).requires_grad_()
    with torch.no_grad():
        weights = random(*model(images).shape)
    (gradient,) = torch.autograd.grad((model(images) * weights).sum(), images)
    for _ in range(3):
        direction = random(*images.shape)
        step = 1e-6 * direction
        with torch.no_grad():
            difference = ((model(images + step) - model(images - step)) * weights).sum() / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)


def check_recurrence_is_float32(model: nn.Module, *inputs, **named) -> None:
    """In mixed precision every LSTM and GRU computes what it does without, from inputs and states in float32."""
    calls = []
    recurrent = [module for module in model.modules() if isinstance(module, (nn.LSTM, nn.GRU))]
    for module in recurrent:
        module.register_forward_hook(lambda *call: calls.append(call))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.eval()(*inputs, **named)
    assert {call[0] for call in calls} == set(recurrent) != set()
    for module, arguments, (outputs, _) in calls:
        alone, _ = module.forward(*arguments)
        outputs, alone = (x.data if isinstance(x, nn.utils.rnn.PackedSequence) else x for x in (outputs, alone))
        assert outputs.dtype == torch.float32
        assert torch.equal(outputs, alone)


def check_same_function(ours: nn.Module, theirs: nn.Module, inputs: torch.Tensor) -> None:
    """Two modules with the same parameters give the same output and the same gradients, up to rounding."""
    theirs.load_state_dict(ours.state_dict())
    found = []
    for module in (ours, theirs):
        leaf = inputs.clone().requires_grad_()
        output = module(leaf)
        output.square().sum().backward()
        found.append((output, leaf.grad, *(parameter.grad for parameter in module.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
