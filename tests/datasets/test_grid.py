from pathlib import Path

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


def test_what_is_missing_or_malformed_is_one_sentence(root):
    with pytest.raises(UserError, match=r"swiz3n\.mpg should have its swiz3n\.align, but it is missing"):
        grid.load(root, size=32, progress=False)
    align = root / "grid/s20/align/swiz3n.align"
    write(align, "0 1000 sil\n")
    with pytest.raises(UserError, match="should hold the words of its clip, but holds none"):
        grid.load(root, size=32, progress=False)
    write(align, "0 1000\n")
    with pytest.raises(UserError, match="should hold lines “start end word”, found '0 1000'"):
        grid.load(root, size=32, progress=False)
    with pytest.raises(UserError, match="should hold grid/sN/NAME"):
        grid.load(root / "nothing", size=32)


@pytest.mark.parametrize("name", ["bbaf2", "bbaf2nn", "xbaf2n", "bbaw2n", "clip"])
def test_a_name_outside_the_grammar_is_one_sentence(name):
    with pytest.raises(UserError, match="should be named after its sentence"):
        grid.sentence_of(Path(f"{name}.mpg"))
