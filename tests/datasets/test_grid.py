from pathlib import Path

import numpy as np
import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib.datasets import grid
from reprolib.errors import UserError

ALIGN = """0 23750 sil
23750 29500 bin
29500 34000 blue
34000 35500 at
35500 41000 f
41000 47250 sp
47250 53000 two
53000 74500 now
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two speakers of one clip each, the second without its .align."""
    stub_dlib(monkeypatch, tmp_path / "cache")
    write_clip(tmp_path / "data/grid/s1/bbaf2n.mpg", grey=50)
    write(tmp_path / "data/grid/alignments/s1/bbaf2n.align", ALIGN)
    write_clip(tmp_path / "data/grid/s20/video/swiz3n.mpg", grey=150)
    return tmp_path / "data"


def test_sentences_come_from_align_files_and_speakers_from_folders(root):
    write(root / "grid/s20/align/swiz3n.align", "0 1000 set\n1000 2000 white\n")
    clips = grid.load(root, size=32, progress=False)
    assert clips.texts == ("BIN BLUE AT F TWO NOW", "SET WHITE")
    assert clips.speakers == ("s1", "s20")
    assert clips.names == ("s1/bbaf2n", "s20/swiz3n")
    assert clips.frames.shape[0] == 2
    assert len(grid.load(root, size=32, count=1, progress=False)) == 1


def test_without_any_align_file_sentences_come_from_names_and_speakers_from_faces(root):
    (root / "grid/alignments/s1/bbaf2n.align").unlink()
    write_clip(root / "samples/lwbsza.mpg", grey=50)
    write_clip(root / "samples/pwij3p.mpg", grey=150)
    clips = grid.load(root / "samples", size=32, progress=False)
    assert clips.texts == ("LAY WHITE BY S ZERO AGAIN", "PLACE WHITE IN J THREE PLEASE")
    assert clips.speakers == ("speaker-00", "speaker-01")
    assert grid.utterances(root)[1].text == "SET WHITE IN Z THREE NOW"


def test_check_says_what_is_there(root):
    write(root / "grid/s20/align/swiz3n.align", ALIGN)
    assert grid.check(root) == ["grid: 2 clips, 2 speakers, 1 different sentences (2 decoded, 4–4 frames)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"swiz3n\.mpg should have its swiz3n\.align, but it is missing"),
        (b"0 1000 sil\n", "should hold the words of its clip, but holds none"),
        (b"0 1000\n", "should hold lines “start end word”, found '0 1000'"),
        (b"0 23750 sil\n23750 29500 caf\xe9\n", "should be text in UTF-8, but its byte 27 is not"),
        (b"<!doctype html><title>Sign in</title>", "is a web page"),
    ],
)
def test_a_clip_with_a_damaged_alignment_is_left_out(root, content, message):
    if content is not None:
        align = root / "grid/s20/align/swiz3n.align"
        align.parent.mkdir()
        align.write_bytes(content)
        with pytest.raises(UserError, match=message):
            grid.read_align(align)
    with pytest.warns(UserWarning, match=f"1 of 2 clips of grid are damaged and left out: .*{message}"):
        assert grid.load(root, size=32, progress=False).names == ("s1/bbaf2n",)
    assert "1 of 2 clips of grid are damaged" in grid.check(root)[1]


def test_empty_and_undecodable_clips_are_left_out_while_they_are_few(root):
    folder = root / "grid/s1"
    for i, content in enumerate((b"", b"\0\0\1\xba" + b"\xff" * 3000, b"<html></html>", b"no video", bytes(3000))):
        (folder / f"lwbs{i + 1}a.mpg").write_bytes(content)
        write(root / f"grid/alignments/s1/lwbs{i + 1}a.align", ALIGN)
    write(root / "grid/s20/align/swiz3n.align", ALIGN)
    with pytest.warns(UserWarning, match="5 of 7 clips of grid are damaged and left out: "):
        assert len(grid.load(root, size=32, progress=False)) == 2
    for i in (6, 7):
        (folder / f"lwbs{i}a.mpg").write_bytes(b"")
        write(root / f"grid/alignments/s1/lwbs{i}a.align", ALIGN)
    with pytest.raises(UserError, match="6 or more of 9 clips of grid are damaged, more than the 5"):
        grid.load(root, size=32, progress=False)


@pytest.mark.parametrize("people", [("s1", "s2"), ("S1", "S2"), ("speaker01", "speaker02"), ("anna", "bert")])
def test_two_people_who_say_the_same_stay_apart(tmp_path, monkeypatch, people):
    """Names, sizes and sentences are equal; GRID's clips have a constant bit rate."""
    stub_dlib(monkeypatch, tmp_path / "cache")
    for person, grey in zip(people, (50, 150), strict=True):
        write_clip(tmp_path / f"grid/{person}/bbaf2n.mpg", grey=grey)
        write(tmp_path / f"grid/alignments/{person}/bbaf2n.align", ALIGN)
    paths = sorted((tmp_path / "grid").rglob("*.mpg"))
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    clips = grid.load(tmp_path, size=32, progress=False)
    assert clips.names == tuple(f"{person}/bbaf2n" for person in people)
    assert len(set(clips.speakers)) == 2
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2


@pytest.mark.parametrize(
    ("video", "align"),
    [
        ("s1/{}.mpg", "s1/{}.align"),
        ("s1/video/mpg_6000/{}.mpg", "s1/align/{}.align"),
        ("s1/{}.mp4", "s1/align/{}.align"),
        ("video/s1/{}.MPG", "alignments/s1/{}.align"),
        ("s1/{}.mpg", "align/s1/{}.ALIGN"),
    ],
)
def test_the_usual_layouts_are_read_from_the_folder_and_from_its_parent(tmp_path, video, align):
    write_clip(tmp_path / "GRID" / video.format("bbaf2n"))
    write(tmp_path / "GRID" / align.format("bbaf2n"), ALIGN)
    for name in ("._bbaf2n.mpg", ".DS_Store", "._bbaf2n.align"):
        (tmp_path / "GRID" / video).with_name(name).write_bytes(b"x")
    for root in (tmp_path, tmp_path / "GRID"):
        [one] = grid.utterances(root)
        assert (one.text, one.speaker, one.name) == ("BIN BLUE AT F TWO NOW", "s1", "s1/bbaf2n")


def test_one_clip_in_two_resolutions_counts_once(root):
    write_clip(root / "grid/s1/video/mpg_6000/bbaf2n.mpg")
    write(root / "grid/s20/align/swiz3n.align", ALIGN)
    assert grid.check(root)[0].startswith("grid: 2 clips, 2 speakers")


def test_a_folder_without_clips_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="should hold grid/sN/NAME"):
        grid.load(tmp_path, size=32)


@pytest.mark.parametrize("name", ["bbaf2", "bbaf2nn", "xbaf2n", "bbaw2n", "clip"])
def test_a_name_outside_the_grammar_is_one_sentence(name):
    with pytest.raises(UserError, match="should be named after its sentence"):
        grid.sentence_of(Path(f"{name}.mpg"))


def test_words_have_their_times_in_frames_and_pauses_are_no_words(root):
    assert grid.alignments(root) == {"s1/bbaf2n": root / "grid/alignments/s1/bbaf2n.align"}
    times = grid.read_times(root / "grid/alignments/s1/bbaf2n.align")
    assert times[0] == ("BIN", 23.75, 29.5)
    assert [word for word, _, _ in times] == ["BIN", "BLUE", "AT", "F", "TWO", "NOW"]


def test_the_pair_of_letter_and_digit_is_in_the_name():
    assert grid.pair_of("s1/bbaf2n") == "f2"


@pytest.mark.parametrize(("change", "damaged"), [("nothing", False), ("short", True), ("grey", True)])
def test_a_clip_is_damaged_if_it_is_short_or_a_frame_shows_nothing(change, damaged):
    frames = np.random.default_rng(0).integers(0, 256, (75, 8, 8, 3)).astype(np.uint8)
    if change == "grey":
        frames[3] = 128
    assert grid.is_damaged(frames[:74] if change == "short" else frames) == damaged
