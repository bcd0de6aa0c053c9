import pytest
import torch

from reprolib.models.tf_blocks import SpatioTemporalFusion, TFBlock

NO_PADDING = torch.zeros(1, 12, dtype=torch.bool)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block(**options):
    torch.manual_seed(0)
    return TFBlock(8, heads=2, ffn=16, **{"kernel_size": 3, "window": 2, **options}).double().eval()


def reached(model, step):
    """Which of twelve steps change with `step`."""
    x = random(1, 12, 8).double()
    changed = x.clone()
    changed[0, step] += 1
    return ((model(changed, NO_PADDING) - model(x, NO_PADDING))[0].abs().amax(-1) > 0).nonzero()[:, 0].tolist()


def test_a_block_reaches_the_kernel_and_the_window_to_both_sides():
    assert reached(block(), 6) == [3, 4, 5, 6, 7, 8, 9]
    assert reached(block(window=1), 6) == [4, 5, 6, 7, 8]


def test_a_causal_block_sees_no_later_step():
    assert reached(block(causal=True), 6) == [6, 7, 8, 9, 10]


def test_padding_does_not_come_in():
    model, x = block(), random(2, 12, 8).double()
    padding = torch.arange(12) >= torch.tensor([[12], [5]])
    out = model(x, padding)
    torch.testing.assert_close(out[1:, :5], model(x[1:, :5], padding[1:, :5]))
    assert out.isfinite().all()


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="must be odd, found 2"):
        block(kernel_size=2)


def test_fusion_starts_as_the_global_average():
    maps = random(2, 5, 4, 3, 3)
    torch.testing.assert_close(SpatioTemporalFusion(4)(maps, torch.tensor([5, 5])), maps.mean((-2, -1)))


def fusion():
    torch.manual_seed(0)
    model = SpatioTemporalFusion(4).double()
    torch.nn.init.normal_(model.score.weight)
    return model


def test_fusion_weighs_positions_by_their_neighbours_in_space_and_time():
    model, maps, lengths = fusion(), random(1, 5, 4, 3, 3).double(), torch.tensor([5])
    before = model(maps, lengths)
    maps[0, 0, :, 0, 0] += 5
    changed = (model(maps, lengths) - before)[0].abs().amax(-1) > 0
    assert changed.tolist() == [True, True, False, False, False]


def test_frames_after_the_end_do_not_reach_the_fusion():
    model, maps = fusion(), random(2, 5, 4, 3, 3).double()
    lengths = torch.tensor([5, 3])
    together = model(maps, lengths)
    torch.testing.assert_close(together[1:, :3], model(maps[1:, :3], lengths[1:]))


def test_every_parameter_of_the_fusion_learns():
    model = fusion()
    model(random(2, 5, 4, 3, 3).double(), torch.tensor([5, 3])).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
