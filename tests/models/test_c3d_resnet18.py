import pytest
import torch
from torch import nn

from reprolib.models.c3d_resnet18 import (
    STAGES,
    BasicBlock,
    C3DResNet18,
    FrameStackConv3d,
    activate,
    without_padding,
)
from reprolib.models.complexity import counted, parameters
from tests.models.module_checks import check_same_function


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(**options):
    torch.manual_seed(0)
    return C3DResNet18(**{"width": 2, **options})


def output_shapes(model: nn.Module, stages: dict[str, str], *inputs: torch.Tensor) -> list[tuple[int, ...]]:
    shapes = []
    for name in stages.values():
        model.get_submodule(name).register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    model(*inputs)
    return shapes


def test_dimensions_are_those_of_table_1():
    with torch.device("meta"):
        shapes = output_shapes(C3DResNet18(), STAGES, torch.zeros(1, 29, 112, 112))
    # H/2 before the pool; the table gives H/4 to both; the last map is 4 × 4, not 3.5 × 3.5
    assert shapes == [
        (64, 29, 56, 56),
        (64, 28, 28),
        (64, 28, 28),
        (128, 14, 14),
        (256, 7, 7),
        (512, 4, 4),
        (512, 1, 1),
    ]


@pytest.mark.parametrize(
    ("inputs", "shape", "kernel", "stride", "padding"),
    [
        (1, (4, 12, 12), (5, 7, 7), (1, 2, 2), (2, 3, 3)),
        (3, (2, 9, 11), (5, 7, 7), (1, 2, 2), (2, 3, 3)),
        (2, (5, 6, 8), (3, 3, 3), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_stacked_frames_compute_the_3d_convolution(inputs, shape, kernel, stride, padding):
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    ours, theirs = FrameStackConv3d(inputs, 4, **options), nn.Conv3d(inputs, 4, **options)
    clips = random(2, inputs, *shape)
    check_same_function(ours, theirs, clips)
    assert counted(ours, clips.shape) == counted(theirs, clips.shape)


@pytest.mark.parametrize(("activation", "count"), [("relu", 11_182_784), ("prelu", 11_186_688)])
def test_parameters(activation, count):
    with torch.device("meta"):
        assert parameters(C3DResNet18(activation=activation)) == count


def test_resnet_34_has_sixteen_blocks():
    with torch.device("meta"):
        longer = C3DResNet18(blocks=(3, 4, 6, 3))
    assert sum(map(len, longer.stages)) == 16
    # torchvision's ResNet-34 without its first layer and its classifier, and our stem
    assert parameters(longer) == 21_797_672 - 513_000 - 9_408 - 128 + 15_680 + 128


@pytest.mark.parametrize("side", [32, 33, 48])
def test_crops_of_any_size_give_one_vector_a_frame(side):
    assert network().eval()(random(2, 3, side, side)).shape == (2, 3, 16)


def test_a_frame_sees_two_before_and_two_after_it():
    model, crops = network().eval(), random(1, 9, 16, 16)
    changed = crops.clone()
    changed[0, 4] += 1
    differs = (model(changed) - model(crops)).abs().sum((0, 2)) > 0
    assert differs.tolist() == [False, False, True, True, True, True, True, False, False]


def test_padding_is_as_the_end_of_the_clip():
    model, crops = network().eval(), random(2, 6, 16, 16)
    padded = model(crops, torch.tensor([4, 6]))
    torch.testing.assert_close(padded[:1, :4], model(crops[:1, :4]))
    torch.testing.assert_close(padded[1:], model(crops[1:]))


def test_further_channels_count():
    model, clips = network(in_channels=3).eval(), random(2, 3, 4, 16, 16)
    changed = clips.clone()
    changed[:, 2] += 1
    assert model(clips).shape == (2, 4, 16)
    assert not torch.equal(model(clips), model(changed))


@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_every_parameter_learns(activation):
    model = network(activation=activation)
    (model(random(2, 4, 32, 32)) * random(2, 4, 16, seed=1)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_narrow_block_learns_the_same_in_both_layouts():
    """oneDNN's gradient of a strided 1×1 convolution of few channels is wrong in channels_last, and writes too far."""
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        block = BasicBlock(2, 4, stride=2).to(memory_format=layout)
        maps = random(56, 2, 6, 6).contiguous(memory_format=layout).requires_grad_()
        (block(maps) * random(56, 4, 3, 3, seed=1)).sum().backward()
        gradients.append([maps.grad, *(parameter.grad for parameter in block.parameters())])
    for here, there in zip(*gradients, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)


def test_without_padding_by_hand():
    x = torch.ones(2, 3, 2)
    assert without_padding(x, torch.tensor([1, 3]))[:, :, 0].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert without_padding(x, torch.tensor([1, 2]), dim=2)[:, 0].tolist() == [[1, 0], [1, 1]]
    assert without_padding(x, None) is x


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="'relu' or 'prelu', found 'swish'"):
        activate(4, "swish")
