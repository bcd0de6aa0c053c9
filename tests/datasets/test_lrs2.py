import shutil

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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Text:  \nConf:  4\n", "should hold a transcript behind “Text:”, but it is empty"),
        (b"Conf:  4\n", "should begin with “Text:”, found 'Conf:  4'"),
        ("Text:  CAF\u00c9\n".encode("latin-1"), "should be text in UTF-8"),
        (b"<html>Forbidden</html>", "is a web page"),
        (None, r"00002\.txt is missing"),
    ],
)
def test_a_damaged_transcript_leaves_its_clip_out(root, content, message):
    text = root / "mvlrs_v1/main/55/00002.txt"
    text.unlink()
    if content is not None:
        text.write_bytes(content)
    with pytest.raises(UserError, match=message):
        lrs2.read_text(text)
    with pytest.warns(UserWarning, match=f"1 of 2 clips of lrs2 train are damaged and left out: .*{message}"):
        assert load(root).names == ("train/55/00001",)
    assert any("1 of 2 clips of lrs2 train are damaged" in line for line in lrs2.check(root))


def test_a_missing_clip_is_left_out(root):
    (root / "mvlrs_v1/main/55/00002.mp4").unlink()
    with pytest.warns(UserWarning, match=r"00002\.mp4 is missing"):
        assert len(load(root)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html><body>401</body></html>\n", "is a web page"),
        (b"55/caf\xe9\n", "should be text in UTF-8"),
        (b"55/00001\n../../../etc/passwd\n", "should name files of its dataset, but names '../../../etc/passwd'"),
        (b"", "is empty"),
    ],
)
def test_a_list_that_is_none_is_named_itself(root, content, message):
    (root / "mvlrs_v1/train.txt").write_bytes(content)
    for read in (lambda: load(root), lambda: lrs2.check(root)):
        with pytest.raises(UserError, match=rf"train\.txt .*{message}"):
            read()


def test_lists_that_name_what_is_not_unpacked_say_what_works_without(root):
    shutil.rmtree(root / "mvlrs_v1/pretrain")
    assert lrs2.check(root)[0] == (
        "lrs2 pretrain: 1 clips are listed, but pretrain is not unpacked; without it train, test can be used"
    )
    assert len(lrs2.check(root)) == 3
    assert len(load(root)) == 2
    with pytest.raises(UserError, match=r"pretrain\.txt lists 1 clips .* which is not there: unpack pretrain"):
        load(root, "pretrain")


def test_the_folder_itself_is_taken_and_clutter_is_none(root):
    (root / "mvlrs_v1/._train.txt").write_bytes(b"x")
    assert lrs2.check(root / "mvlrs_v1") == lrs2.check(root)


def test_what_is_missing_is_one_sentence(root, tmp_path):
    with pytest.raises(UserError, match="a part of LRS2 is pretrain, train, val, test, found 'dev'"):
        load(root, "dev")
    with pytest.raises(UserError, match=r"val\.txt is missing"):
        load(root, "val")
    with pytest.raises(UserError, match="should hold lrs2/main"):
        load(root / "mvlrs_v1/main/55")
