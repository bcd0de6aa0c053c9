import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib.datasets import talking_speech
from reprolib.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Three clips of two speakers; two say the same."""
    stub_dlib(monkeypatch, tmp_path / "cache")
    for name, grey, said in (
        ("a", 50, "word\nقال\nإن\n"),
        ("b", 150, "\ufeffword\nقال\nإن"),
        ("c", 50, "word\nعليكم\n"),
    ):
        write_clip(tmp_path / f"talkingfaces/video/{name}.mp4", grey=grey)
        write(tmp_path / f"talkingfaces/text/{name}.csv", said)
    return tmp_path


def test_clips_come_with_sentences_and_speakers(root):
    clips = talking_speech.load(root, size=32, progress=False)
    assert clips.names == ("a", "b", "c")
    assert clips.texts == ("قال إن", "قال إن", "عليكم")
    assert clips.speakers == ("speaker-00", "speaker-01", "speaker-00")
    assert clips.labels is None
    assert len(talking_speech.load(root, size=32, count=2, progress=False)) == 2


def test_characters_are_composed_and_spaces_single(root):
    write(root / "talkingfaces/text/a.csv", "word\n\u0627\u0654ن \n\n  عن\n")
    assert talking_speech.utterances(root)[0].text == "\u0623ن عن"


def test_check_counts_the_corpus(root):
    assert talking_speech.check(root) == [
        "talkingfaces: 3 sentences, 2 different (3 decoded, 4–4 frames)",
        "talkingfaces: 5 words, 3 different, 10 characters",
    ]


def test_what_is_missing_or_malformed_is_one_sentence(root):
    text = root / "talkingfaces/text/b.csv"
    text.write_text("word\n\n")
    with pytest.raises(UserError, match="should hold a transcript below “word”, but it is empty"):
        talking_speech.load(root, size=32)
    text.write_text("قال\n", encoding="utf-8")
    with pytest.raises(UserError, match="should begin with the line “word”"):
        talking_speech.load(root, size=32)
    text.unlink()
    with pytest.raises(UserError, match=r"b\.csv is missing"):
        talking_speech.load(root, size=32)
