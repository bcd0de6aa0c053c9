import pytest

from reprolib.datasets.characters import ENGLISH, IGNORED, Tokeniser
from reprolib.errors import UserError


def test_english_has_39_outputs_and_an_input_of_its_own():
    tokeniser = Tokeniser(ENGLISH)
    assert len(ENGLISH) == 26 + 10 + 2
    assert (tokeniser.outputs, tokeniser.eos, tokeniser.sos) == (39, 38, 39)


def test_encoding_and_decoding_are_inverse():
    tokeniser = Tokeniser(ENGLISH)
    text = "WE REALLY DON'T WALK ANYMORE 42"
    assert tokeniser.encode("AZ09' ") == [0, 25, 26, 35, 36, 37]
    assert tokeniser.decode(tokeniser.encode(text)) == text


def test_decoding_stops_at_the_first_eos():
    tokeniser = Tokeniser("AB")
    assert tokeniser.decode([0, 1, 2, 0]) == "AB"
    assert tokeniser.decode([2]) == ""


def test_a_tokeniser_may_be_fitted_to_a_corpus_in_any_script():
    tokeniser = Tokeniser.fitted(["سلام", "كلام جميل"])
    assert tokeniser.characters == "".join(sorted(set("سلامك جي")))
    assert tokeniser.decode(tokeniser.encode("كلام")) == "كلام"


def test_the_decoder_reads_sos_and_the_transcript_and_says_the_transcript_and_eos():
    previous, targets = Tokeniser("AB").for_teacher_forcing(["AB", "B"])
    eos, sos = 2, 3
    assert previous.tolist() == [[sos, 0, 1], [sos, 1, eos]]
    assert targets.tolist() == [[0, 1, eos], [1, eos, IGNORED]]


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_transcript_is_refused(text):
    with pytest.raises(UserError, match="expected a transcript with at least one character, found an empty one"):
        Tokeniser(ENGLISH).encode(text)


def test_a_character_outside_the_vocabulary_is_named():
    with pytest.raises(UserError, match="found 'É' in a transcript; write it"):
        Tokeniser(ENGLISH).encode("CAFÉ")


def test_a_character_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="must differ, found 'ABA'"):
        Tokeniser("ABA")
