import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib.datasets import lrs3
from reprolib.datasets.folders import DatasetMissing
from reprolib.errors import UserError

FACES = "\nFRAME \tX \tY \tW \tH\n000000\t0.4\t0.2\t0.2\t0.3\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    stub_dlib(monkeypatch, tmp_path / "cache")
    for clip, text in (
        ("trainval/aB_c/50001", "SO WHY IS THAT"),
        ("trainval/xyz/50001", "YES"),
        ("test/qq/00001", "NO"),
    ):
        write_clip(tmp_path / f"lrs3/{clip}.mp4")
        write(tmp_path / f"lrs3/{clip}.txt", f"Text:  {text}\nConf:  5\nRef:   q\n{FACES}")
    return tmp_path


def load(root, part="trainval", **more):
    return lrs3.load(root, part=part, size=32, progress=False, **more)


def test_a_part_is_a_folder_and_a_talk_is_a_speaker(root):
    clips = load(root)
    assert clips.names == ("trainval/aB_c/50001", "trainval/xyz/50001")
    assert clips.texts == ("SO WHY IS THAT", "YES")
    assert clips.speakers == ("aB_c", "xyz")
    assert load(root, "test").texts == ("NO",)
    assert load(root, most_words=3).texts == ("YES",)


def test_check_says_what_is_there(root):
    assert lrs3.check(root) == [
        "lrs3 trainval: 2 clips of 2 talks (2 decoded, 4–4 frames)",
        "lrs3 test: 1 clips of 1 talks (1 decoded, 4–4 frames)",
    ]


def test_what_is_missing_is_one_sentence(root):
    with pytest.raises(UserError, match="a part of LRS3 is pretrain, trainval, test, found 'train'"):
        load(root, "train")
    with pytest.raises(UserError, match=r"pretrain should hold ID/CLIP\.mp4, but has no clip"):
        load(root, "pretrain")
    (root / "lrs3/test/qq/00001.txt").unlink()
    with pytest.raises(UserError, match=r"00001\.txt is missing"):
        load(root, "test")
    with pytest.raises(UserError, match="should hold lrs3/trainval"):
        load(root / "lrs3/test/qq")


def test_a_damaged_transcript_leaves_its_clip_out_and_clutter_is_no_clip(root):
    (root / "lrs3/trainval/xyz/50001.txt").write_bytes("Text:  AT THE CAF\u00c9\n".encode("latin-1"))
    for name in ("._50001.mp4", ".ipynb_checkpoints/50001.mp4"):
        (root / "lrs3/trainval/xyz" / name).parent.mkdir(exist_ok=True)
        (root / "lrs3/trainval/xyz" / name).write_bytes(b"x")
    (root / "lrs3/trainval/.ipynb_checkpoints").mkdir()
    with pytest.warns(UserWarning, match=r"1 of 2 clips of lrs3 trainval are damaged and left out: .*xyz.50001\.txt"):
        assert load(root).names == ("trainval/aB_c/50001",)
    assert lrs3.check(root / "lrs3") == lrs3.check(root)


def test_lrs2_is_not_taken_for_it(tmp_path):
    for name in ("lrs2/main/1/1.mp4", "lrs2/pretrain/1/1.mp4", "lrs2/train.txt"):
        write(tmp_path / name, "x")
    for root in (tmp_path, tmp_path / "lrs2"):
        with pytest.raises(DatasetMissing):
            lrs3.check(root)
