import copy

import pytest
import torch
from torch import nn

from reprolib.models.complexity import parameters
from reprolib.models.conv_lstm import (
    ConvLSTM,
    ConvLSTMFCN,
    FrameClassifier,
    hard_sigmoid,
    saturation,
    start_at_classifier,
)
from reprolib.models.fcn_resnet50 import FCNResNet50, keras_parameters, upsample_tf1
from reprolib.training import Schedule, _frozen


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(**options):
    """Three input channels, two outputs, float64, random biases, recurrent weights and peepholes."""
    torch.manual_seed(0)
    made = ConvLSTM(3, 2, **options)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made.double()


def unsaturated(lstm: ConvLSTM) -> ConvLSTM:
    """Small weights, so that the gates stay between the corners of the hard sigmoid."""
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter *= 0.2
    return lstm


def fcn(**changes):
    torch.manual_seed(0)
    return FCNResNet50(**{"classes": 3, "width": 2, **changes}).eval()


def act_like_the_classifier(converted: ConvLSTMFCN, classifier: nn.Conv2d, *, scale: float) -> None:
    """i = o = 1, f = 0, nothing recurrent, and the candidate `scale` times the classifier's scores."""
    lstm, n = converted.conv_lstm, classifier.out_channels
    with torch.no_grad():
        lstm.recurrent.weight.zero_()
        lstm.input.weight.zero_()
        lstm.input.bias.copy_(torch.tensor([3.0, -3.0, 0.0, 3.0]).repeat_interleave(n))  # 0.2·3 + 0.5 > 1
        lstm.input.weight[2 * n : 3 * n] = scale * classifier.weight
        lstm.input.bias[2 * n : 3 * n] = scale * classifier.bias


# the layer


def test_the_input_may_be_scaled():
    clips = random(2, 3, 3, 4, 4).double()
    torch.testing.assert_close(layer(input_scale=0.1)(clips), layer()(0.1 * clips))


def test_hard_sigmoid_by_hand():
    assert hard_sigmoid(torch.tensor([-3.0, -2.5, -1.0, 0.0, 2.0, 2.5, 9.0])).tolist() == pytest.approx(
        [0, 0, 0.3, 0.5, 0.9, 1, 1]
    )


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_equation_1_in_a_literal_loop(peepholes, activation):
    lstm, clip = layer(peepholes=peepholes, activation=activation), random(1, 4, 3, 2, 2).double()
    w_x, b = lstm.input.weight[:, :, 0, 0], lstm.input.bias
    w_h = lstm.recurrent.weight[:, :, 0, 0]
    w_c = lstm.peepholes.flatten(1) if peepholes else torch.zeros(3, 2)
    out = lstm(clip)
    bounded = torch.tanh if activation == "tanh" else (lambda value: value)
    for y in range(2):
        for x in range(2):
            h = c = torch.zeros(2, dtype=torch.float64)
            for t in range(4):
                i, f, g, o = (w_x @ clip[0, t, :, y, x] + b + w_h @ h).split(2)
                i, f = hard_sigmoid(i + w_c[0] * c), hard_sigmoid(f + w_c[1] * c)
                c = f * c + i * bounded(g)
                h = hard_sigmoid(o + w_c[2] * c) * bounded(c)
                torch.testing.assert_close(out[0, t, :, y, x], h)


def test_with_3x3_kernels_neighbours_count_in_space_and_time():
    clip = random(1, 3, 3, 5, 5).double()
    changed = clip.clone()
    changed[0, 0, :, 2, 2] += 1
    reached = {}
    for kernel_size in (1, 3):
        lstm = unsaturated(layer(kernel_size=kernel_size))
        reached[kernel_size] = ((lstm(changed) - lstm(clip)).abs().sum((0, 2)) > 0).sum((1, 2)).tolist()
    assert reached == {1: [1, 1, 1], 3: [9, 25, 25]}


def test_weights_start_as_in_keras():
    lstm = ConvLSTM(64, 5)
    bound = (6 / (64 + 4 * 5)) ** 0.5
    assert lstm.input.bias.tolist() == [0] * 5 + [1] * 5 + [0] * 10
    assert 0.95 * bound < lstm.input.weight.abs().max() <= bound
    recurrent = lstm.recurrent.weight[:, :, 0, 0]
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(5))


def test_peepholes_start_without_effect():
    plain, clip = ConvLSTM(3, 2), random(2, 3, 3, 2, 2)
    with_peepholes = ConvLSTM(3, 2, peepholes=True)
    with_peepholes.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(plain(clip), with_peepholes(clip))


def test_every_clip_starts_from_a_zero_state():
    lstm, clips = layer(), random(3, 4, 3, 2, 2).double()
    together = lstm(clips)
    for clip, out in zip(clips, together, strict=True):
        torch.testing.assert_close(lstm(clip[None])[0], out)
    torch.testing.assert_close(lstm(clips), together)  # nothing is left from the call before
    # in the first step nothing recurrent counts
    lstm.recurrent.weight.data.zero_()
    torch.testing.assert_close(lstm(clips)[:, 0], together[:, 0])


def test_without_memory_every_frame_is_a_clip_of_its_own():
    lstm, clips = layer(), random(2, 4, 3, 2, 2).double()
    alone = lstm(clips.flatten(0, 1)[:, None]).view(2, 4, 2, 2, 2)
    assert not torch.allclose(lstm(clips), alone)
    lstm.memory = False
    torch.testing.assert_close(lstm(clips), alone)


def test_later_steps_do_not_reach_back():
    lstm, clip = layer(peepholes=True), random(1, 5, 3, 2, 2).double()
    torch.testing.assert_close(lstm(clip[:, :3]), lstm(clip)[:, :3])


def test_gradients_flow_through_time():
    clip = random(1, 5, 3, 2, 2).double().requires_grad_()
    lstm = ConvLSTM(3, 2).double()
    lstm(clip)[:, -1].sum().backward()
    assert (clip.grad.abs().amax((0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("options", [{}, {"peepholes": True}, {"activation": "linear"}, {"kernel_size": 3}])
def test_gradient_in_float64(options):
    lstm = unsaturated(layer(**options))
    clip = random(1, 3, 3, 2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: lstm(x), (clip, *lstm.parameters()))


def test_scores_are_bounded_with_tanh_only():
    clip = torch.full((1, 20, 3, 1, 1), 10.0)
    scores = {}
    for activation, bound in (("tanh", 1.0), ("tanh", 10.0), ("linear", 1.0)):
        lstm = ConvLSTM(3, 2, activation=activation, bound=bound)
        nn.init.ones_(lstm.input.weight)  # all gates open, candidate 30: the cell counts the steps
        nn.init.zeros_(lstm.input.bias)
        nn.init.zeros_(lstm.recurrent.weight)
        scores[activation, bound] = lstm(clip)
    assert scores["linear", 1.0][0, :, 0, 0, 0].tolist() == list(range(30, 601, 30))
    assert scores["tanh", 1.0].abs().max() <= 1
    assert 9 < scores["tanh", 10.0].abs().max() <= 10


@pytest.mark.parametrize("input_scale", [1.0, 0.1])
def test_at_the_start_at_the_classifier_the_converted_network_is_the_fcn(input_scale):
    network, clips = fcn(), random(2, 5, 3, 32, 32)
    converted = ConvLSTMFCN(network, activation="linear", input_scale=input_scale).eval()
    start_at_classifier(converted.conv_lstm, network.classifier)
    with torch.no_grad():
        expected = network(clips.flatten(0, 1)).unflatten(0, (2, 5))
        torch.testing.assert_close(converted(clips), expected, rtol=1e-5, atol=1e-5)


def test_a_bounded_start_at_the_classifier_gives_every_cell_the_same_label():
    network, clips = fcn(), random(2, 5, 3, 64, 64)
    converted = ConvLSTMFCN(network, bound=10.0).eval()
    start_at_classifier(converted.conv_lstm, network.classifier)
    with torch.no_grad():
        features = network.features(clips.flatten(0, 1))
        scores = converted.conv_lstm(features.unflatten(0, (2, 5))).flatten(0, 1)
        assert torch.equal(scores.argmax(1), network.classifier(features).argmax(1))
        assert scores.abs().max() < 10


def test_the_gates_of_the_start_at_the_classifier_can_still_learn():
    network, clips = fcn(width=4), random(2, 5, 3, 32, 32)
    converted = ConvLSTMFCN(network, activation="linear").eval()
    start_at_classifier(converted.conv_lstm, network.classifier)
    converted(clips).square().sum().backward()
    n = network.classifier.out_channels
    for gate in range(4):
        assert converted.conv_lstm.input.bias.grad[gate * n : (gate + 1) * n].abs().max() > 0
    assert converted.conv_lstm.recurrent.weight.grad.abs().max() > 0
    gates, candidates = saturation(converted.conv_lstm, converted.network.features(clips.flatten(0, 1))[:, None])
    assert not gates.any() and not candidates.any()


def test_saturation_counts_gates_beyond_the_corners_and_flat_candidates():
    lstm = ConvLSTM(1, 2)
    with torch.no_grad():
        lstm.input.weight.zero_()
        lstm.recurrent.weight.zero_()
        # class 0: i and o beyond, f not; class 1: f beyond; candidates of class 1 are flat
        lstm.input.bias.copy_(torch.tensor([3.0, 0, 0, -3, 0.5, 5, 3, 0]))
    gates, candidates = saturation(lstm, torch.zeros(1, 3, 1, 2, 2))
    torch.testing.assert_close(gates, torch.tensor([2 / 3, 1 / 3]))
    assert candidates.tolist() == [0, 1]


def test_batchnorm_keeps_the_statistics_of_the_fcn():
    converted = ConvLSTMFCN(fcn()).train()
    before = copy.deepcopy(converted.network.state_dict())
    converted(random(2, 2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in converted.network.state_dict().items())


def test_an_even_kernel_and_another_activation_are_refused():
    with pytest.raises(ValueError, match="must be odd, found 2"):
        ConvLSTM(3, 2, kernel_size=2)
    with pytest.raises(ValueError, match="'tanh' or 'linear', found 'relu'"):
        ConvLSTM(3, 2, activation="relu")


# the network


def test_parameters_are_those_of_the_keras_networks():
    with torch.device("meta"):
        converted = ConvLSTMFCN(FCNResNet50())
    assert parameters(converted.conv_lstm) == 4 * (2048 * 5 + 5 * 5 + 5) == 41_080
    # Keras counts the statistics of BatchNorm too: 53,120
    assert keras_parameters(converted) == 23_628_792
    assert parameters(converted) == 23_628_792 - 53_120


def test_output_has_the_size_of_the_clips():
    converted = ConvLSTMFCN(fcn(width=4), peepholes=True).eval()
    assert converted(torch.zeros(2, 3, 3, 32, 48)).shape == (2, 3, 3, 32, 48)


def test_conversion_keeps_all_weights_but_the_classifiers_in_a_copy():
    network = fcn()
    before = copy.deepcopy(network.state_dict())
    converted = ConvLSTMFCN(network)
    kept = {name.removeprefix("network."): value for name, value in converted.state_dict().items()}
    of_network = {name: value for name, value in before.items() if not name.startswith("classifier.")}
    assert all(torch.equal(kept[name], value) for name, value in of_network.items())
    assert {name for name in kept if name not in of_network} == {
        "conv_lstm.input.weight",
        "conv_lstm.input.bias",
        "conv_lstm.recurrent.weight",
    }
    with torch.no_grad():
        for parameter in converted.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_with_open_gates_the_converted_network_scores_like_the_fcn_under_two_tanhs():
    network, clips = fcn(), random(2, 3, 3, 32, 32)
    converted = ConvLSTMFCN(network).eval()
    act_like_the_classifier(converted, network.classifier, scale=1.0)
    with torch.no_grad():
        scores = network.classifier(network.features(clips.flatten(0, 1)))
        expected = upsample_tf1(scores.tanh().tanh(), 16).unflatten(0, (2, 3))
        torch.testing.assert_close(converted(clips), expected)


@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_with_open_gates_and_small_candidates_the_converted_network_is_the_fcn(activation):
    network, clips = fcn().double(), random(2, 3, 3, 32, 32).double()
    with torch.no_grad():
        network.classifier.weight /= network(clips.flatten(0, 1)).abs().max()  # scores in [−1, 1]
    converted = ConvLSTMFCN(network, activation=activation).eval()
    # tanh(εz)/ε = z − ε²z³/3 + …
    act_like_the_classifier(converted, network.classifier, scale=1e-4)
    with torch.no_grad():
        expected = network(clips.flatten(0, 1)).unflatten(0, (2, 3))
        torch.testing.assert_close(converted(clips) / 1e-4, expected, rtol=0, atol=1e-7)


def test_from_features_is_the_rest_of_the_network():
    network, clips = fcn(), random(2, 3, 3, 32, 32)
    converted = ConvLSTMFCN(network).eval()
    with torch.no_grad():
        features = network.features(clips.flatten(0, 1)).unflatten(0, (2, 3))
        assert features.shape == (2, 3, 64, 2, 2)
        torch.testing.assert_close(converted.from_features(features), converted(clips))


def test_every_parameter_learns():
    converted = ConvLSTMFCN(fcn(width=8), peepholes=True).eval()
    with torch.no_grad():
        converted.conv_lstm.input.weight *= 1e-2  # between the corners of the hard sigmoid
    converted(random(2, 3, 3, 64, 64)).square().sum().backward()
    for name, parameter in converted.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_kept_part_learns_slower_or_not_at_all():
    converted = ConvLSTMFCN(fcn())
    schedule = {"epochs": 1, "batch_size": 1, "lr": 1e-3}
    groups = Schedule.flat(**schedule, rates={"network": 0.05}).optimiser_of(converted).param_groups
    lstm = list(map(id, converted.conv_lstm.parameters()))
    assert sorted(group["lr"] for group in groups) == pytest.approx([5e-5, 1e-3])
    assert [list(map(id, group["params"])) for group in groups if group["lr"] == 1e-3] == [lstm]
    frozen = Schedule.flat(**schedule, rates={"network": 0.0})
    assert [list(map(id, group["params"])) for group in frozen.optimiser_of(converted).param_groups] == [lstm]
    norms = {id(module) for module in converted.modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms <= {id(module) for module in _frozen(converted)}


def test_the_memory_stays_float32_in_mixed_precision():
    """What a cell has gathered over many steps would be rounded to eight bits at every one."""
    lstm, clip = ConvLSTM(3, 2), random(1, 5, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = lstm(clip)
    torch.testing.assert_close(mixed, lstm(clip))


@pytest.mark.parametrize(("memory", "steps"), [(False, 1), (True, 1), (True, 5)])
def test_scores_are_bounded_by_the_steps_that_a_cell_has_had(memory, steps):
    """A step adds at most 1 to the cell: the first score lies within tanh(1), and five classes below p = 0.534."""
    lstm = layer(memory=memory)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter *= 100
        scores = lstm(random(2, steps, 3, 16, 16).double())
    assert scores.abs().max() <= torch.tanh(torch.tensor(float(steps)))
    best = torch.tensor([1, -1, -1, -1, -1]).mul(torch.tensor(1.0).tanh()).softmax(0)[0]
    assert best.item() == pytest.approx(0.534, abs=5e-4)


def test_a_frame_classifier_is_a_convolution_of_each_frame():
    classifier, clips = FrameClassifier(3, 2), random(2, 5, 3, 4, 4)
    expected = nn.functional.conv2d(clips[1, 2][None], classifier.weight, classifier.bias)[0]
    torch.testing.assert_close(classifier(clips)[1, 2], expected)
