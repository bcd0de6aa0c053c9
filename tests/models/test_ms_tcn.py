import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprolib.models.complexity import parameters
from reprolib.models.ms_tcn import MSTCN, mean_of_frames


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(**options):
    torch.manual_seed(0)
    model = MSTCN(5, 3, **{"channels": 4, **options})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return model.eval()


@pytest.mark.parametrize(
    ("inputs", "blocks", "count"),
    [(512, (1, 2, 4, 8), 25_187_828), (512, (1, 2, 4), 18_692_084), (1024, (1, 2, 4), 21_051_380)],
)
def test_parameters_with_500_words(inputs, blocks, count):
    with torch.device("meta"):
        assert parameters(MSTCN(inputs, 500, blocks=blocks)) == count


def test_parameters_with_the_front_end():
    c3d_resnet18 = 11_186_688  # with PReLU
    assert [round((c3d_resnet18 + n) / 1e6, 2) for n in (25_187_828, 18_692_084)] == [36.37, 29.88]


def test_kernels_and_dilations_are_those_of_figure_4():
    convolutions = [
        [(branch[0].kernel_size, branch[0].dilation) for branch in half.branches]
        for block in network().blocks
        for half in (block.first, block.second)
    ]
    assert convolutions == [[((k,), (d,)) for k in (3, 5, 7)] for d in (1, 1, 2, 2, 4, 4)]


def test_a_block_in_plain_words():
    block, x = network().blocks[0], random(2, 5, 9)

    def prelu(x, module):
        return torch.where(x > 0, x, module.weight[:, None] * x)

    out = x
    for half in (block.first, block.second):
        found = []
        for (convolution, norm, activation), k in zip(half.branches, (3, 5, 7), strict=True):
            y = F.conv1d(out, convolution.weight, convolution.bias, padding=k // 2)
            y = (y - norm.running_mean[:, None]) / (norm.running_var[:, None] + norm.eps).sqrt() + norm.bias[:, None]
            found.append(prelu(y, activation))
        out = torch.cat(found, dim=1)
    out = prelu(out + F.conv1d(x, block.shortcut.weight, block.shortcut.bias), block.activation)
    torch.testing.assert_close(block(x, None), out)


def test_padding_changes_nothing():
    model, features = network(), random(3, 9, 5)
    out = model(features, torch.tensor([9, 4, 7]))
    for n, length in enumerate((9, 4, 7)):
        torch.testing.assert_close(out[n : n + 1], model(features[n : n + 1, :length]))


def test_mean_of_frames_by_hand():
    features = torch.tensor([[[1.0], [3.0], [float("nan")]], [[1.0], [2.0], [6.0]]])
    assert mean_of_frames(features, torch.tensor([2, 3])).tolist() == [[2], [3]]
    assert mean_of_frames(features[1:], None).tolist() == [[3]]


@pytest.mark.parametrize("activation", ["prelu", "relu"])
def test_every_parameter_learns(activation):
    model = network(activation=activation, dropout=0.0).train()
    model(random(4, 9, 5), torch.tensor([9, 4, 7, 9])).square().sum().backward()
    for name, parameter in model.named_parameters():
        if name.endswith(".0.bias"):
            continue  # of convolutions before BatchNorm, which takes the mean away
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
