import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprolib.datasets.characters import IGNORED, Tokeniser
from reprolib.errors import UserError
from reprolib.models.beam_search import beam_search
from reprolib.models.complexity import parameters
from reprolib.models.lip_transformer import (
    DecoderLayer,
    Encoded,
    TransformerCTC,
    TransformerSeq2Seq,
    ctc_loss,
    ctc_prefix_beam,
    later,
    with_positions,
)
from reprolib.models.tf_blocks import TFSeq2Seq
from reprolib.models.was import WASDecoder
from reprolib.training import Schedule, make_fabric, train

SMALL = {"width": 16, "heads": 2, "layers": 2, "ffn": 24}
BACK_ENDS = {
    "transformer": lambda: TransformerSeq2Seq(6, 5, **SMALL),
    "TF blocks": lambda: TFSeq2Seq(6, 5, **SMALL, window=2),
    "WAS": lambda: WASDecoder(6, 5, hidden=8, width=12, layers=2),
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(name):
    torch.manual_seed(0)
    return BACK_ENDS[name]().double().eval()


def logits_of(paths: list[list[int]], labels: int) -> torch.Tensor:
    """Nearly certain of one label a frame: (N, T, labels)."""
    return 20.0 * F.one_hot(torch.tensor(paths), labels)


# every encoder–decoder


@pytest.mark.parametrize("name", BACK_ENDS)
def test_shapes_and_attention_rows(name):
    model, features, lengths = made(name), random(3, 7, 6).double(), torch.tensor([7, 4, 1])
    previous = torch.tensor([[5, 0, 1, 2]] * 3)
    assert model(features, lengths, previous).shape == (3, 4, 5)
    weights = model.cross_attention(previous, model.encode(features, lengths))
    assert weights.shape[1] == 3 and weights.shape[-2:] == (4, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert weights[:, 1, :, :, 4:].abs().max() == 0


@pytest.mark.parametrize("name", BACK_ENDS)
def test_padding_changes_nothing(name):
    model, features, previous = made(name), random(2, 9, 6).double(), torch.tensor([[5, 0, 1, 2]] * 2)
    lengths = torch.tensor([9, 4])
    together = model(features, lengths, previous)
    alone = model(features[1:, :4], lengths[1:], previous[1:])
    torch.testing.assert_close(together[1:], alone)
    features[1, 4:] = 1e3
    torch.testing.assert_close(model(features, lengths, previous), together)


@pytest.mark.parametrize("name", BACK_ENDS)
def test_padding_changes_nothing_without_gradients(name):
    model, features, previous = made(name), random(2, 9, 6).double(), torch.tensor([[5, 0, 1, 2]] * 2)
    lengths = torch.tensor([6, 4])  # both shorter than the batch
    expected = model(features, lengths, previous)
    with torch.no_grad():
        torch.testing.assert_close(model(features, lengths, previous), expected)


@pytest.mark.parametrize("name", BACK_ENDS)
def test_teacher_forcing_equals_decoding_step_by_step(name):
    model, features, lengths = made(name), random(2, 7, 6).double(), torch.tensor([7, 5])
    previous = torch.tensor([[5, 0, 3, 1, 1], [5, 2, 2, 0, 4]])
    at_once = model(features, lengths, previous)
    encoded = model.encode(features, lengths)
    for step in range(5):
        torch.testing.assert_close(model.decode(previous[:, : step + 1], encoded)[:, -1], at_once[:, step])


@pytest.mark.parametrize("name", BACK_ENDS)
def test_several_texts_of_a_clip_share_its_memory(name):
    model, features, lengths = made(name), random(2, 7, 6).double(), torch.tensor([7, 5])
    texts = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    encoded = model.encode(features, lengths)
    side_by_side = model.decode(texts.flatten(0, 1), encoded).unflatten(0, (2, 3))
    weights = model.cross_attention(texts.flatten(0, 1), encoded).unflatten(1, (2, 3))
    for text in range(3):
        torch.testing.assert_close(side_by_side[:, text], model.decode(texts[:, text], encoded))
        torch.testing.assert_close(weights[:, :, text], model.cross_attention(texts[:, text], encoded))


@pytest.mark.parametrize("name", BACK_ENDS)
def test_every_parameter_learns(name):
    model = made(name).train()
    previous = torch.tensor([[5, 0, 1, 2, 3, 4]] * 2)  # every row of the embedding
    model(random(2, 7, 6).double(), torch.tensor([7, 5]), previous).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", BACK_ENDS)
def test_four_toy_sentences_are_learned_by_heart_and_read_by_beam_search(name):
    tokeniser, texts = Tokeniser("ABCD"), ["AB", "BACD", "DDC", "C"]
    previous, targets = tokeniser.for_teacher_forcing(texts)
    torch.manual_seed(0)
    model = BACK_ENDS[name]()
    data = {
        "features": random(4, 8, 6),
        "lengths": torch.tensor([8, 6, 7, 5]),
        "previous": previous,
        "targets": targets,
    }

    def loss(logits, batch):
        return F.cross_entropy(logits.transpose(1, 2), batch["targets"], ignore_index=IGNORED)

    schedule = Schedule.decay(200, 4, 1e-2, lambda step: 1 / (1 + step / 50), per_step=True)
    names = ("features", "lengths", "previous")
    train(model, data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0, inputs=names)
    decoded = beam_search(model, data["features"], data["lengths"], max_length=6)
    assert [tokeniser.decode(tokens) for tokens in decoded.tokens] == texts


# the transformer


def test_standard_layers_have_44_million_parameters():
    with torch.device("meta"):
        model = TransformerSeq2Seq(1024, 39)
    layers = parameters(model.encoder) + parameters(model.decoder)
    assert layers == 6 * 3_152_384 + 6 * 4_204_032 == 44_138_496
    assert parameters(model) == layers + (1024 + 1) * 512 + 40 * 512 + (512 + 1) * 39


def test_features_of_the_networks_width_need_no_projection():
    assert isinstance(TransformerSeq2Seq(16, 5, **SMALL).project, nn.Identity)


def test_the_decoder_layer_is_torchs():
    torch.manual_seed(0)
    ours = DecoderLayer(16, 2, 24, batch_first=True).eval()
    theirs = nn.TransformerDecoderLayer(16, 2, 24, batch_first=True).eval()
    theirs.load_state_dict(ours.state_dict())
    texts, memory = random(2, 5, 16), random(2, 7, 16, seed=1)
    padding, future = torch.arange(7) >= torch.tensor([[7], [4]]), later(5, texts.device)
    out, weights = ours(texts, Encoded(memory, padding), future)
    torch.testing.assert_close(out, theirs(texts, memory, tgt_mask=future, memory_key_padding_mask=padding))
    assert weights is None


def test_positions_are_sines_and_cosines():
    code = with_positions(torch.zeros(1, 4, 6, dtype=torch.float64))[0]
    for position, channel in itertools.product(range(4), range(6)):
        angle = position / 10_000 ** (2 * (channel // 2) / 6)
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert code[position, channel].item() == pytest.approx(expected, abs=1e-6)


# CTC


def test_the_ctc_transformer_has_38_million_parameters():
    with torch.device("meta"):
        model = TransformerCTC(512, 39)
    assert parameters(model) == 12 * 3_152_384 + 40 * 513 == 37_849_128


def test_padding_changes_nothing_of_the_ctc_transformer():
    torch.manual_seed(0)
    model = TransformerCTC(6, 5, **SMALL).double().eval()
    features, lengths = random(2, 9, 6).double(), torch.tensor([9, 4])
    together = model(features, lengths)
    assert together.shape == (2, 9, 6)
    torch.testing.assert_close(together[1:, :4], model(features[1:, :4], lengths[1:]))
    features[1, 4:] = 1e3
    torch.testing.assert_close(model(features, lengths)[1, :4], together[1, :4])


def probabilities(logits: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every text, summed over all paths one by one; logits (T, labels), tokens = label − 1."""
    p, found = logits.double().softmax(-1), {}
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        text = tuple(label - 1 for label, _ in itertools.groupby(path) if label != 0)
        found[text] = found.get(text, 0.0) + math.prod(p[t, label].item() for t, label in enumerate(path))
    return found


def test_ctc_loss_sums_over_all_paths():
    logits = random(2, 5, 3)
    texts, lengths = [[0, 0, 1], [1]], torch.tensor([5, 3])
    expected = [
        -math.log(probabilities(logits[0])[0, 0, 1]) / 3,
        -math.log(probabilities(logits[1, :3])[(1,)]) / 1,
    ]
    assert ctc_loss(logits, lengths, texts).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_repeats_need_a_frame_for_the_blank_between_them():
    logits = random(2, 4, 3)
    assert ctc_loss(logits, torch.tensor([4, 4]), [[0, 0, 1], [0, 1, 0, 1]]).isfinite()
    message = "expected at least 4 frames for the 3 characters of clip 1 .* found 3; leave the clip out"
    with pytest.raises(UserError, match=message):
        ctc_loss(logits, torch.tensor([4, 3]), [[0], [0, 0, 1]])


def test_the_best_path_loses_its_repeats_then_its_blanks():
    logits = logits_of([[0, 1, 1, 0, 1, 2, 2, 0], [2, 2, 0, 2, 1, 1, 1, 1]], 3)
    assert ctc_prefix_beam(logits, torch.tensor([8, 4])) == [[0, 0, 1], [1, 1]]


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_prefix_beam_finds_the_most_probable_text(seed):
    logits, lengths = random(2, 5, 3, seed=seed), torch.tensor([5, 4])
    expected = []
    for clip, frames in zip(logits, lengths.tolist(), strict=True):
        of_text = probabilities(clip[:frames])
        expected.append(list(max(of_text, key=of_text.get)))
    assert ctc_prefix_beam(logits, lengths, width=200) == expected


def literal_prefix_beam(logits: torch.Tensor, width: int) -> list[int]:
    """Prefix by prefix, label by label: probabilities of the paths that end in a blank and in a letter."""
    beam = {(): (1.0, 0.0)}
    for frame in logits.double().softmax(-1).tolist():
        grown = {}

        def add(prefix, blank, letter, grown=grown):
            of_blank, of_letter = grown.get(prefix, (0.0, 0.0))
            grown[prefix] = of_blank + blank, of_letter + letter

        for prefix, (blank, letter) in beam.items():
            for label, p in enumerate(frame):
                if label == 0:
                    add(prefix, (blank + letter) * p, 0.0)
                elif prefix and label - 1 == prefix[-1]:
                    add(prefix, 0.0, letter * p)
                    add((*prefix, label - 1), 0.0, blank * p)
                else:
                    add((*prefix, label - 1), 0.0, (blank + letter) * p)
        beam = dict(sorted(grown.items(), key=lambda item: sum(item[1]), reverse=True)[:width])
    return list(next(iter(beam)))


@pytest.mark.parametrize("width", [1, 2, 3, 6])
def test_prefix_beam_search_equals_a_literal_one(width):
    for seed in range(5):
        logits, lengths = 2 * random(2, 9, 4, seed=seed), torch.tensor([9, 6])
        expected = [literal_prefix_beam(logits[0], width), literal_prefix_beam(logits[1, :6], width)]
        assert ctc_prefix_beam(logits, lengths, width=width) == expected


def test_paths_count_together_in_prefix_beam_search():
    # the best path is all blank (0.36), but "A" has 0.64 in its three paths
    logits = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
    assert ctc_prefix_beam(logits, torch.tensor([2]), width=2) == [[0]]


def test_ctc_learns_four_toy_sentences_by_heart():
    texts, lengths = [[0, 1], [1, 0, 2, 3], [3, 3, 2], [2]], torch.tensor([8, 6, 7, 5])
    torch.manual_seed(0)
    model, features = TransformerCTC(6, 4, **SMALL), random(4, 8, 6)
    data = {"features": features, "lengths": lengths, "clip": torch.arange(4)}

    def loss(logits, batch):
        return ctc_loss(logits, batch["lengths"], [texts[i] for i in batch["clip"]])

    schedule = Schedule.decay(120, 4, 5e-3, lambda step: 1 / (1 + step / 50), per_step=True)
    train(model, data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0, inputs=("features", "lengths"))
    logits = model.eval()(features, lengths)
    assert ctc_prefix_beam(logits, lengths) == texts
