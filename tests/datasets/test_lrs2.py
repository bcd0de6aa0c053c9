import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib.datasets import lrs2
from reprolib.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch):
    stub_dlib(monkeypatch, tmp_path / "cache")
    folder = tmp_path / "mvlrs_v1"
    for clip, text in (("main/55/00001", "WHAT IS IT"), ("main/55/00002", "no"), ("main/66/00001", "A LONG WAY TO GO")):
        write_clip(folder / f"{clip}.mp4")
        write(folder / f"{clip}.txt", f"Text:  {text}\nConf:  4\n")
    write_clip(folder / "pretrain/77/00009.mp4")
    write(
        folder / "pretrain/77/00009.txt", "Text:  OH\nConf:  5\n\nWORD START END ASDSCORE\nOH 0.00 0.20 6.4\n"
    )  # fmt: skip
    write(folder / "train.txt", "55/00001\n55/00002\n")
    write(folder / "test.txt", "66/00001 NF\n")
    write(folder / "pretrain.txt", "77/00009\n")
    return tmp_path


def load(root, part="train", **more):
    return lrs2.load(root, part=part, size=32, progress=False, **more)


def test_the_lists_say_which_clips_make_a_part(root):
    train = load(root)
    assert train.names == ("train/55/00001", "train/55/00002")
    assert train.texts == ("WHAT IS IT", "NO")
    assert train.speakers == ("55", "55")
    assert train.labels is None
    assert load(root, "test").texts == ("A LONG WAY TO GO",)
    assert load(root, "pretrain").texts == ("OH",)


def test_sentences_can_be_kept_short(root):
    assert load(root, most_words=1).texts == ("NO",)
    with pytest.raises(UserError, match="2 clips are asked for, but there are 1"):
        load(root, most_words=1, count=2)


def test_check_says_what_is_there(root):
    assert lrs2.check(root) == [
        "lrs2 pretrain: 1 clips (1 decoded, 4–4 frames)",
        "lrs2 train: 2 clips (2 decoded, 4–4 frames)",
        "lrs2 test: 1 clips (1 decoded, 4–4 frames)",
    ]


def test_what_is_missing_or_malformed_is_one_sentence(root):
    with pytest.raises(UserError, match="a part of LRS2 is pretrain, train, val, test, found 'dev'"):
        load(root, "dev")
    with pytest.raises(UserError, match=r"val\.txt should list the clips of this part, but is missing"):
        load(root, "val")
    text = root / "mvlrs_v1/main/55/00002.txt"
    text.write_text("Text:  \nConf:  4\n")
    with pytest.raises(UserError, match="should hold a transcript behind “Text:”, but it is empty"):
        load(root)
    text.write_text("Conf:  4\n")
    with pytest.raises(UserError, match="should begin with “Text:”, found 'Conf:  4'"):
        load(root)
    text.unlink()
    with pytest.raises(UserError, match=r"00002\.txt is missing"):
        load(root)
    (root / "mvlrs_v1/main/55/00002.mp4").unlink()
    with pytest.raises(UserError, match=r"00002\.mp4 is missing"):
        load(root)
    with pytest.raises(UserError, match="should hold lrs2/main"):
        load(root / "nothing")
