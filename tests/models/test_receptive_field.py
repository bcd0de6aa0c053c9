import numpy as np
import pytest
import torch
from torch import nn

from reprolib.models.encoder_decoder import EncoderDecoder
from reprolib.models.receptive_field import by_arithmetic, gradient_map, interval, longest_path

LAYERS = longest_path(EncoderDecoder(width=2))


def test_receptive_field_is_93_or_97_pixels_by_output_phase():
    assert by_arithmetic(LAYERS) == (93, 97, 97, 93)


@pytest.mark.parametrize("row, column", [(64, 65), (65, 66), (66, 67), (67, 64)])
def test_gradient_and_arithmetic_agree_for_each_phase(row, column):
    touched = gradient_map(EncoderDecoder(width=2), 128, (row, column)) > 0
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    field = by_arithmetic(LAYERS)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (field[row % 4], field[column % 4])


def test_gradient_lies_in_the_interval_of_the_arithmetic():
    touched = np.flatnonzero(gradient_map(EncoderDecoder(width=2), 128, (65, 64)).any(1))
    assert (touched[0], touched[-1]) == interval(LAYERS, 65)


def test_the_papers_121_counts_the_decoder_at_a_quarter_of_the_size():
    convolutions = [m for m in LAYERS if isinstance(m, nn.Conv2d)]
    assert by_arithmetic(convolutions[:7], phases=1) == (73,)  # encoder and context
    assert by_arithmetic(convolutions, phases=1) == (73 + 6 * 8,) == (121,)


def test_fields_of_single_layers():
    assert by_arithmetic([nn.Conv2d(1, 1, 3, padding=1)], phases=1) == (3,)
    assert by_arithmetic([nn.Conv2d(1, 1, 3, padding=4, dilation=4)], phases=1) == (9,)
    assert interval([nn.Conv2d(1, 1, 3, stride=2, padding=1)], 5) == (9, 11)
    assert interval([nn.PixelShuffle(2)], 5) == (2, 2)


def test_the_model_is_left_as_it_was():
    model = EncoderDecoder(width=2).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gradient_map(model, 32, (0, 0))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
