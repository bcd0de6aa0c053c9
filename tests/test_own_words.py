"""From a folder of clips to a lip reader; the mouths are drawn, and dlib is left out."""

import json

import numpy as np
import pytest

from reprolib import own_words
from reprolib.cli import main
from reprolib.datasets import kept
from reprolib.errors import UserError

WORDS = ("away", "bread")


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Two words of 12, 4 and 4 clips: a mouth that opens, and one that closes; a clip's file says which it is."""
    for part, count in (("train", 12), ("val", 4), ("test", 4)):
        for word in WORDS:
            folder = tmp_path / "clips" / word / part
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{word}{i}.mp4").write_text(f"{word} {part} {i}")
    monkeypatch.setattr(own_words.mouth_clips, "read", drawn)
    monkeypatch.setattr(kept, "CACHE", tmp_path / "cache")
    return tmp_path / "clips"


def drawn(video, *, size, fps):
    word, part, i = video.read_text().split()
    if part == "nobody":
        raise UserError(f"{video} should show one speaker, but a face is found in 0 of 9 frames: give another clip")
    rng = np.random.default_rng(int(i) + 100 * len(part))
    opening = np.linspace(0.1, 0.8, 7 + int(i) % 3)
    if word == "bread":
        opening = opening[::-1]
    y, x = np.mgrid[:size, :size] / size - 0.5
    mouth = np.stack([np.where(x**2 + (y / height) ** 2 < 0.15, 30, 200) for height in opening])
    mouth = (mouth + rng.normal(0, 8, mouth.shape)).clip(0, 255).astype(np.uint8)
    nothing = np.zeros((len(mouth), 68, 2), np.float32)
    return own_words.mouth_clips.MouthClip(mouth, nothing, nothing, np.ones(len(mouth), bool), fps)


@pytest.mark.slow
def test_a_reader_learns_words_from_a_folder_and_reads_another_clip(clips, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = f"train-words {clips} --out {out} --size 32 --frames 8 --width 8 --epochs 30 --batch-size 4 --lr 0.003"

    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())

    assert not stopped.value.code
    scores = json.loads((out / "scores.json").read_text())
    assert json.loads(capsys.readouterr().out) == scores
    assert scores["clips"] == {"train": 24, "val": 8, "test": 8}
    assert scores["accuracy of the commonest word"] == 50
    assert scores["accuracy"] >= 75
    assert set(scores["words"]) == set(WORDS)
    reader = own_words.load(out / "network.pt")
    videos = [(word, video) for word in WORDS for video in sorted((clips / word / "test").iterdir())]
    right = [reader.read(video)[0][0] == word for word, video in videos]
    assert 100 * np.mean(right) == scores["accuracy"]  # the reader in the file is the one that was scored
    found = reader.read(videos[0][1])
    assert sum(chance for _, chance in found) == pytest.approx(1)


def test_frames_come_from_the_middle_and_short_clips_are_padded():
    clip = np.arange(1, 6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    shown, length = own_words.middle(clip, 3)
    assert (shown[:, 0, 0].tolist(), length) == ([2, 3, 4], 3)
    shown, length = own_words.middle(clip, 7)
    assert (shown[:, 0, 0].tolist(), length) == ([1, 2, 3, 4, 5, 0, 0], 5)


def test_a_clip_without_a_speaker_costs_the_others_nothing(clips):
    (clips / "away" / "train" / "away0.mp4").write_text("away nobody 0")
    listed = own_words.read_folder(clips)
    with pytest.warns(UserWarning, match="1 of 24 clips of train are damaged and left out: .*away0.mp4"):
        part = own_words.read_part(listed, "train", size=32, frames=8)
    assert part.mouths.shape == (23, 8, 32, 32)
    assert part.labels.tolist() == [0] * 11 + [1] * 12


def test_mouths_are_searched_once_and_hidden_files_are_no_clips(clips, monkeypatch):
    (clips / "bread" / "val" / "._bread0.mp4").write_text("x")
    (clips / ".ipynb_checkpoints").mkdir()
    listed = own_words.read_folder(clips)
    assert tuple(listed) == WORDS
    first = own_words.read_part(listed, "val", size=32, frames=8)
    monkeypatch.setattr(own_words.mouth_clips, "read", lambda *a, **k: pytest.fail("read again"))
    again = own_words.read_part(listed, "val", size=32, frames=8)
    np.testing.assert_array_equal(first.mouths, again.mouths)


@pytest.mark.parametrize(("remove", "message"), [
    ("away", "should hold a folder for each of two words or more, found 1"),
    ("away/val", r"away/val should hold videos"),
])  # fmt: skip
def test_a_folder_that_cannot_be_used_is_one_sentence(clips, remove, message):
    for path in sorted((clips / remove).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (clips / remove).rmdir()
    with pytest.raises(UserError, match=message):
        own_words.read_folder(clips)


def test_another_file_is_no_reader(tmp_path):
    (tmp_path / "network.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="lip reader of `train-words`"):
        own_words.load(tmp_path / "network.pt")
