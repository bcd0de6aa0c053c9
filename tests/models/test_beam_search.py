import itertools
import math

import pytest
import torch

from reprolib.models.beam_search import beam_search
from reprolib.models.lip_transformer import TransformerSeq2Seq
from reprolib.models.tf_blocks import TFSeq2Seq
from reprolib.models.was import WASDecoder

TOKENS = 4  # the last is EOS
SMALL = {"width": 8, "heads": 2, "layers": 1, "ffn": 8}
MODELS = {
    "transformer": lambda: TransformerSeq2Seq(3, TOKENS, **SMALL),
    "TF blocks": lambda: TFSeq2Seq(3, TOKENS, **SMALL),
    "WAS": lambda: WASDecoder(3, TOKENS, hidden=4, width=6, layers=1),
}


def model_of(name="transformer", seed=0):
    torch.manual_seed(seed)
    model = MODELS[name]().double().eval()
    with torch.no_grad():  # sure enough of itself that clips and prefixes differ
        for parameter in model.parameters():
            parameter *= 1.5
    return model


def clips(seed=0):
    features = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return features, torch.tensor([6, 2, 4])


def log_probability(model, features, tokens):
    """Of what follows SOS, for one clip without padding."""
    lengths, previous = torch.tensor([features.shape[1]]), torch.tensor([[model.tokens, *tokens[:-1]]])
    return model(features, lengths, previous)[0].log_softmax(-1)[range(len(tokens)), tokens].sum().item()


@torch.no_grad()
def literal(model, features, *, width, max_length):
    """Beam search over one clip without padding, hypothesis by hypothesis; the best (rank, tokens) after each step."""
    eos = model.tokens - 1

    def rank(tokens):
        return log_probability(model, features, tokens)

    beam, best = [[]], []
    for _ in range(max_length):
        candidates = []
        for tokens in beam:
            ended = eos in tokens
            candidates += [tokens] if ended else [[*tokens, token] for token in range(model.tokens)]
        beam = sorted(candidates, key=rank, reverse=True)[:width]
        best.append((rank(beam[0]), beam[0][:-1] if eos in beam[0] else beam[0]))
        if all(eos in tokens for tokens in beam):
            break
    return best


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_batched_search_equals_a_literal_one_for_clips_of_unequal_length(name, width):
    for seed in range(3):
        model, (features, lengths) = model_of(name, seed), clips(seed)
        found = beam_search(model, features, lengths, width=width, max_length=5)
        for clip, frames in enumerate(lengths.tolist()):
            expected = literal(model, features[clip : clip + 1, :frames], width=width, max_length=5)
            steps = [tokens for _, tokens in expected]
            assert found.tokens[clip] == steps[-1]
            assert found.scores[clip].item() == pytest.approx(expected[-1][0])
            # the literal search does not stop early
            assert found.steps[clip] == steps[: len(found.steps[clip])]


def test_a_beam_as_wide_as_all_texts_finds_the_most_probable_one():
    model, (features, lengths) = model_of(seed=2), clips(seed=2)
    eos = TOKENS - 1
    texts = [[*text, eos] for n in range(3) for text in itertools.product(range(eos), repeat=n)]
    texts += [list(text) for text in itertools.product(range(eos), repeat=3)]  # cut at the longest length
    found = beam_search(model, features, lengths, width=100, max_length=3)
    for clip, frames in enumerate(lengths.tolist()):
        scores = [log_probability(model, features[clip : clip + 1, :frames], text) for text in texts]
        best = max(range(len(texts)), key=scores.__getitem__)
        assert found.tokens[clip] == [token for token in texts[best] if token != eos]
        assert found.scores[clip].item() == pytest.approx(scores[best])
        assert math.fsum(map(math.exp, scores)) == pytest.approx(1)


class Script(torch.nn.Module):
    """Says what a table of probabilities says: prefix -> probabilities of A, B and EOS."""

    tokens = 3

    def __init__(self, table):
        super().__init__()
        self.table, self.asked = table, 0

    def encode(self, features, lengths):
        self.asked += 1
        return lengths

    def decode(self, previous, encoded):
        rows = [self.table["".join("AB."[token] for token in text[1:])] for text in previous.tolist()]
        return torch.tensor(rows).log()[:, None].expand(-1, previous.shape[1], -1)


def test_a_wider_beam_takes_back_a_greedy_mistake():
    end = [0.0, 0.0, 1.0]
    table = {"": [0.6, 0.4, 0.0], "A": [0.5, 0.5, 0.0], "B": [0.0, 1.0, 0.0], "AA": end, "AB": end, "BB": end}
    table |= dict.fromkeys(("AA.", "AB.", "BB.", "BA", "BA.", ".", "A.", "B.", "..", "A..", "B.."), end)
    features, lengths = torch.zeros(1, 1, 1), torch.tensor([1])
    greedy = beam_search(Script(table), features, lengths, width=1, max_length=5)
    wide = beam_search(Script(table), features, lengths, width=2, max_length=5)
    assert greedy.tokens == [[0, 0]] and greedy.scores.exp().tolist() == pytest.approx([0.3])
    assert wide.tokens == [[1, 1]] and wide.scores.exp().tolist() == pytest.approx([0.4])
    assert wide.steps == [[[0], [1, 1], [1, 1]]]


def test_the_clip_is_encoded_once():
    model = Script({prefix: [1.0, 0.0, 0.0] for prefix in ("", "A", "AA", "AAA")})
    decoded = beam_search(model, torch.zeros(2, 1, 1), torch.tensor([1, 1]), width=1, max_length=4)
    assert model.asked == 1
    assert decoded.tokens == [[0, 0, 0, 0]] * 2  # cut off


def test_the_model_is_left_in_the_mode_it_was_in():
    model, (features, lengths) = model_of().train(), clips()
    first, again = (beam_search(model, features, lengths, max_length=4) for _ in range(2))
    assert model.training
    assert first.tokens == again.tokens and torch.equal(first.scores, again.scores)  # no dropout in the search


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1, found 0 and 4"):
        beam_search(model_of(), *clips(), width=0, max_length=4)
