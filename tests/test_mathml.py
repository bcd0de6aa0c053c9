"""Formulas become MathML with every index where TeX puts it."""

import pytest
from docutils.utils.math import MathError

from reprolib.mathml import to_mathml


def squeezed(tex: str) -> str:
    return "".join(line.strip() for line in to_mathml(tex, block=False).splitlines())


def test_the_index_of_an_accented_letter_stands_beside_it():
    assert "<msub><mrow></mrow><mi>b</mi></msub>" in squeezed(r"\hat{p}_b")
    assert "munderover" not in squeezed(r"\hat p_{nb}^2")


@pytest.mark.parametrize("tex", [r"\hat{\mathbf{p}}_b", r"\big( a \big)", r"1, \dots, n", r"\bar x^2"])
def test_common_tex_is_understood(tex):
    assert squeezed(tex).startswith("<math")


def test_limits_are_not_mistaken_for_sizes():
    assert "⋂" in squeezed(r"\bigcap_k A_k")


def test_a_formula_of_its_own_is_set_as_a_block():
    assert 'display="block"' in to_mathml("a", block=True)


def test_an_unknown_command_is_an_error():
    with pytest.raises(MathError, match="nonsense"):
        to_mathml(r"\nonsense", block=False)
