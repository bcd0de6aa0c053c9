import pytest

from reprolib.errors import UserError
from reprolib.text_metrics import character_edits, word_edits


@pytest.mark.parametrize(
    ("hypothesis", "reference", "characters", "words"),
    [
        ("WE WALK", "WE WALK", [0, 7], [0, 2]),
        ("WANT", "WALK", [2, 4], [1, 1]),  # two substitutions
        ("WAK", "WALK", [1, 4], [1, 1]),  # a deletion
        ("WALLK", "WALK", [1, 4], [1, 1]),  # an insertion
        ("WE DO WALK", "WE WALK", [3, 7], [1, 2]),
        ("WEWALK", "WE WALK", [1, 7], [2, 2]),  # a space is a character, and parts two words
        ("", "WE WALK", [7, 7], [2, 2]),
        ("KITTEN", "SITTING", [3, 7], [1, 1]),
        ("A A A", "B", [5, 1], [3, 1]),  # more edits than the reference is long
    ],
)
def test_edits_by_hand(hypothesis, reference, characters, words):
    assert character_edits([hypothesis], [reference]).tolist() == [characters]
    assert word_edits([hypothesis], [reference]).tolist() == [words]


def test_long_sentences_keep_exact_counts():
    reference = "AB " * 99 + "C"
    assert character_edits([reference[1:]], [reference]).tolist() == [[1, 298]]
    assert word_edits([reference[1:]], [reference]).tolist() == [[1, 100]]


def test_an_empty_reference_is_refused():
    with pytest.raises(UserError, match="expected a transcript to compare with, found none for utterance 1"):
        character_edits(["A", "B"], ["A", " "])


def test_hypotheses_without_references_are_refused():
    with pytest.raises(ValueError, match="zip"):
        word_edits(["A", "B"], ["A"])
