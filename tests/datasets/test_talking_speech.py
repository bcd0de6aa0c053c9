import shutil

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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word\n\n", "should hold a transcript below “word”, but it is empty"),
        ("قال\n".encode(), "should begin with the line “word”"),
        ("word\nقال\n".encode("cp1256"), "should be text in UTF-8"),
        (b"<html>Log in</html>", "is a web page"),
        (None, r"b\.csv is missing"),
    ],
)
def test_a_damaged_transcript_leaves_its_clip_out(root, content, message):
    text = root / "talkingfaces/text/b.csv"
    text.unlink()
    if content is not None:
        text.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"1 of 3 clips of talkingfaces are damaged and left out: .*b\.csv.*{message}"
                      if content is not None else message):  # fmt: skip
        assert talking_speech.load(root, size=32, progress=False).names == ("a", "c")
    assert "1 of 3 clips of talkingfaces are damaged" in talking_speech.check(root)[-1]
    with pytest.raises(UserError, match=message):
        talking_speech.read_text(text)


def test_a_folder_without_transcripts_is_one_sentence(root):
    shutil.rmtree(root / "talkingfaces/text")
    with pytest.raises(UserError, match=r"text should hold the clips' transcripts ID\.csv, but is missing"):
        talking_speech.check(root)
