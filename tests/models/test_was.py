import torch

from reprolib.models.was import ReversedLSTM, VGGMFrontEnd, WASDecoder, WASEncoder, stacked
from tests.models.module_checks import check_recurrence_is_float32


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_stack_is_a_frame_with_its_neighbours_within_the_clip():
    crops = torch.arange(6.0)[None, :, None, None].expand(2, 6, 1, 1)
    stacks = stacked(crops, torch.tensor([6, 3]))[..., 0, 0]
    assert stacks[0].tolist() == [
        [0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 5], [3, 4, 5, 5, 5],
    ]  # fmt: skip
    assert stacks[1, :3].tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2]]


def test_vgg_m_reads_crops_of_any_size():
    front = VGGMFrontEnd(width=6).eval()
    assert front.out_channels == 32
    for side in (24, 32, 48, 120):
        assert front(torch.zeros(1, 2, side, side), torch.tensor([2])).shape == (1, 2, 32)


def test_the_paper_has_512_features_and_lstms_of_256():
    with torch.device("meta"):
        encoder = WASEncoder()
    assert encoder.watch.out_channels == 512
    assert (encoder.lstm.lstm.hidden_size, encoder.lstm.lstm.num_layers) == (256, 3)
    # its channels are 96, 256, 512, 512, 512
    shapes = [w.shape[:2] for name, w in encoder.watch.convolutions.named_parameters() if w.dim() == 4]
    assert [tuple(shape) for shape in shapes] == [(96, 5), (256, 96), (512, 256), (512, 512), (512, 512)]


def test_the_encoder_reads_from_the_last_valid_frame_to_the_first():
    torch.manual_seed(0)
    reversed_lstm, features = ReversedLSTM(3, 4, layers=2).double(), random(2, 6, 3).double()
    outputs, (hidden, cell) = reversed_lstm(features, torch.tensor([6, 4]))
    for clip, frames in ((0, 6), (1, 4)):
        backwards, (last_hidden, last_cell) = reversed_lstm.lstm(features[clip, :frames].flip(0))
        torch.testing.assert_close(outputs[clip, :frames], backwards.flip(0))
        torch.testing.assert_close(hidden[:, clip], last_hidden)
        torch.testing.assert_close(cell[:, clip], last_cell)
    assert outputs[1, 4:].abs().max() == 0


def test_frames_after_a_clips_end_do_not_reach_what_it_comes_to():
    torch.manual_seed(0)
    encoder, crops = WASEncoder(width=6, hidden=8, layers=2).eval(), random(2, 6, 24, 24)
    lengths = torch.tensor([6, 3])
    outputs, (hidden, _) = encoder(crops, lengths)
    crops[1, 3:] = 100
    again, (hidden_again, _) = encoder(crops, lengths)
    torch.testing.assert_close(again, outputs)
    torch.testing.assert_close(hidden_again, hidden)


def test_every_parameter_of_the_encoder_learns():
    torch.manual_seed(0)
    encoder = WASEncoder(width=6, hidden=8, layers=2)
    encoder(random(2, 4, 32, 32), torch.tensor([4, 3]))[1][0][-1].square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def decoder(sampling):
    torch.manual_seed(0)
    return WASDecoder(3, 5, hidden=4, width=6, layers=2, dropout=0.0, sampling=sampling)


def test_scheduled_sampling_feeds_back_what_the_network_found_in_training_alone():
    features, lengths, previous = random(2, 6, 3), torch.tensor([6, 4]), torch.tensor([[5, 0, 1, 2], [5, 3, 3, 0]])
    always, never = decoder(1.0), decoder(0.0)
    forced = never.train()(features, lengths, previous)
    torch.testing.assert_close(always.eval()(features, lengths, previous), forced)
    # its own characters in place of those given
    own = torch.full((2, 1), 5)
    for _ in range(3):
        own = torch.cat([own, never(features, lengths, own)[:, -1:].argmax(-1)], dim=1)
    torch.testing.assert_close(always.train()(features, lengths, previous), never(features, lengths, own))
    assert not torch.equal(own, previous)


def test_recurrence_is_float32_in_mixed_precision():
    previous = torch.tensor([[5, 0, 1, 2], [5, 3, 3, 0]])
    check_recurrence_is_float32(decoder(0.0), random(2, 6, 3).bfloat16(), torch.tensor([6, 4]), previous)


def test_the_spelling_lstm_attends_by_an_additive_score():
    model = decoder(0.0).double().eval()
    encoded = model.encode(random(1, 4, 3).double(), torch.tensor([4]))
    token = torch.tensor([[5]])
    spelt, _ = model.spell(torch.cat([model.embedding(token), torch.zeros(1, 1, 4).double()], -1), encoded.state)
    w, v, b, u = model.query.weight, model.key.weight, model.key.bias, model.score.weight[0]
    scores = torch.stack([u @ torch.tanh(w @ spelt[0, 0] + v @ frame + b) for frame in encoded.memory[0]])
    torch.testing.assert_close(model.cross_attention(token, encoded)[0, 0, 0, 0], scores.softmax(0))
