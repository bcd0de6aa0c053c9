import pytest
import torch
from torch import nn

from reprolib.models.c3d_resnet18 import C3DResNet18
from reprolib.models.complexity import parameters
from reprolib.models.lip_words import (
    BGRUBackEnd,
    BLSTMBackEnd,
    FlowTwoStream,
    InflatedInception,
    MeanBackEnd,
    MultipleTowers,
    TwoStream,
    WASWords,
)
from reprolib.models.local_stream import LocalStream
from reprolib.models.ms_tcn import MSTCN
from tests.models.module_checks import check_recurrence_is_float32

LENGTHS = torch.tensor([5, 7])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips():
    landmarks = 32 * torch.rand(2, 7, 68, 2, generator=torch.Generator().manual_seed(1))
    return {"crops": random(2, 7, 32, 32), "frames": random(2, 7, 32, 32, seed=2), "landmarks": landmarks}


def streams(*, channels=1):
    torch.manual_seed(0)
    options = {"layers": 1, "subgraphs": 2, "embedding": 3, "ffn": 8, "dropout": 0.0}
    return (
        C3DResNet18(width=2, in_channels=channels),
        LocalStream(points=(31, 48, 54, 57), patch=8, channels=16, **options),
    )


def trained(model: nn.Module) -> nn.Module:
    """BatchNorm that moves zeros, as after training; evaluation mode."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
    return model.eval()


def two_streams():
    whole, local = streams()
    return TwoStream(whole, local, MSTCN(32, 3, channels=4, dropout=0.0))


def check_every_parameter_learns(model: nn.Module, *, without=(), **inputs) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    out = model(**inputs)
    (out * random(*out.shape, seed=5)).sum().backward()
    for name, parameter in model.named_parameters():
        if any(part in name for part in without):
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


# the two-stream network


def test_features_of_both_streams_stand_side_by_side():
    model, data = trained(two_streams()), clips()
    features = model.features(**data, lengths=LENGTHS)
    assert features.shape == (2, 7, 32)
    assert model.channels == 32
    assert torch.equal(features[..., :16], model.global_stream(data["crops"], LENGTHS))
    assert torch.equal(features[..., 16:], model.local_stream(data["frames"], data["landmarks"], LENGTHS))
    assert torch.equal(model(**data, lengths=LENGTHS), model.head(features, LENGTHS))


def test_one_stream_needs_only_its_own_input():
    (whole, local), data = streams(), clips()
    alone = TwoStream(whole, None, MSTCN(16, 3, channels=4))
    assert alone(crops=data["crops"], lengths=LENGTHS).shape == (2, 3)
    contours = TwoStream(None, local, MSTCN(16, 3, channels=4))
    assert contours(frames=data["frames"], landmarks=data["landmarks"], lengths=LENGTHS).shape == (2, 3)
    with pytest.raises(ValueError, match="a global or a local stream, found neither"):
        TwoStream(None, None, nn.Identity())


def test_masks_are_further_channels_of_the_crops():
    data, masks = clips(), random(2, 2, 7, 32, 32, seed=3)
    whole, _ = streams(channels=3)
    model = trained(TwoStream(whole, None, MSTCN(16, 3, channels=4)))
    features = model.features(crops=data["crops"], masks=masks)
    assert torch.equal(features, whole(torch.stack([data["crops"], masks[:, 0], masks[:, 1]], dim=1)))
    assert torch.equal(model(crops=data["crops"], masks=masks), model.head(features))


def test_every_parameter_of_the_two_stream_network_learns():
    # a bias before BatchNorm has no effect
    check_every_parameter_learns(two_streams(), without=(".0.bias",), **clips(), lengths=LENGTHS)


def test_was_for_words_reads_its_front_end_from_the_last_frame_to_the_first():
    model, crops = trained(WASWords(3, width=4)), random(2, 7, 32, 32)
    features = model.features(crops)
    assert features.shape == (2, 7, model.channels)
    states, _ = model.encoder.lstm.lstm(features.flip(1))
    torch.testing.assert_close(model(crops), model.classifier(states[:, -1]))


# padding, of all systems


def with_back_end(head):
    return TwoStream(C3DResNet18(width=2), None, head)


def systems():
    torch.manual_seed(0)
    return {
        "two": two_streams(),
        "mt": MultipleTowers(3, frames=7, width=4),
        "was": WASWords(3, width=4),
        "blstm": with_back_end(BLSTMBackEnd(16, 3, hidden=8)),
        "bgru": with_back_end(BGRUBackEnd(16, 3, hidden=8)),
        "mean": with_back_end(MeanBackEnd(16, 3)),
        "flow": FlowTwoStream(3, width=2),
    }


def inputs_of(name: str) -> dict:
    data = clips()
    if name == "two":
        return data
    crops = {"crops": data["crops"]}
    return crops | {"flow": random(2, 2, 7, 32, 32, seed=4)} if name == "flow" else crops


def first_clip(data: dict, frames: int) -> dict:
    return {name: x[:1, :, :frames] if name == "flow" else x[:1, :frames] for name, x in data.items()}


@pytest.mark.parametrize("name", ["two", "was", "blstm", "bgru", "flow"])
def test_a_padded_clip_is_read_as_alone(name):
    model, data = trained(systems()[name]), inputs_of(name)
    out = model(**data, lengths=LENGTHS)
    torch.testing.assert_close(out[:1], model(**first_clip(data, 5)))


@pytest.mark.parametrize("name", ["two", "mt", "was", "blstm", "bgru", "flow"])
def test_what_stands_in_the_padding_does_not_count(name):
    model, data = trained(systems()[name]), inputs_of(name)
    out = model(**data, lengths=LENGTHS)
    for key, x in data.items():
        if key == "flow":
            x[0, :, 5:] = 9
        else:
            x[0, 5:] = 9
    torch.testing.assert_close(model(**data, lengths=LENGTHS), out)
    assert not torch.allclose(model(**data)[0], out[0])


@pytest.mark.parametrize("name", ["mt", "was", "blstm", "bgru", "mean", "flow"])
def test_every_parameter_of_the_other_systems_learns(name):
    # a bias before BatchNorm has no effect; maps of one pixel and two clips leave narrow ReLUs dead: more clips
    data = {key: torch.cat([x, random(*x.shape, seed=6)]) for key, x in inputs_of(name).items()}
    lengths = torch.cat([LENGTHS, LENGTHS])
    check_every_parameter_learns(systems()[name], without=("reduce.0.bias", "project.bias"), **data, lengths=lengths)


@pytest.mark.parametrize("lengths", [LENGTHS, None])
@pytest.mark.parametrize("name", ["was", "blstm", "bgru", "flow"])
def test_recurrence_is_float32_in_mixed_precision(name, lengths):
    check_recurrence_is_float32(systems()[name], **inputs_of(name), lengths=lengths)


# sizes


def test_parameters_at_the_published_sizes():
    with torch.device("meta"):
        assert parameters(C3DResNet18()) + parameters(BGRUBackEnd(512, 500)) == 59_431_092
        assert InflatedInception(1).channels == 1024
        assert BLSTMBackEnd(512, 500).classifier.in_features == 512
        assert MultipleTowers(500).reduce[0].in_channels == 25 * 48


def test_i3d_has_the_layers_of_inception_v1():
    with torch.device("meta"):
        model = InflatedInception(3)
        # the published I3D with 3 channels has 12,287,264 without its classifier, and a 7×7×7 stem
        assert parameters(model) == 12_287_264 - 64 * 3 * (7 - 5) * 7 * 7


def test_scores_of_blstm_are_log_probabilities_of_frames():
    model = trained(BLSTMBackEnd(16, 3, hidden=8))
    one_frame = model(random(2, 1, 16))
    torch.testing.assert_close(one_frame.exp().sum(1), torch.ones(2))


def test_no_back_end_is_the_mean_of_a_linear_layers_frames():
    model, features = trained(MeanBackEnd(4, 3)), random(2, 5, 4)
    expected = torch.stack([model.classifier(features[0]).mean(0), model.classifier(features[1, :2]).mean(0)])
    torch.testing.assert_close(model(features, torch.tensor([5, 2])), expected)


def test_mt_reads_a_fixed_number_of_frames():
    with pytest.raises(ValueError, match="reads clips of 25 frames, found 7"):
        MultipleTowers(3, width=4)(random(2, 7, 32, 32))
