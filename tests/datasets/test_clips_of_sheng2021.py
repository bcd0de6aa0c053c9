"""The lipreading datasets in tiny, as sheng2021 reads them."""

import pytest
from speech_clips import stub_dlib, write, write_clip

from reprolib import studies
from reprolib.errors import UserError
from reprolib.studies.sheng2021 import data, settings
from reprolib.studies.sheng2021.plan import trials

study = studies.load("sheng2021")


@pytest.fixture
def root(tmp_path, monkeypatch):
    stub_dlib(monkeypatch, tmp_path / "cache")
    data._word_sets.cache_clear()
    data._sentence_sets.cache_clear()
    return tmp_path / "data"


def parameters_of(sentences):
    """Of a smoke trial on the paper's data: 24 clips of four words, 16 sentences."""
    everything = [t for of in trials(settings.Parameters(data="paper", sentences=sentences)).values() for t in of]
    return next(t.params for t in everything if t.name == settings.GLOBAL_S)


def said(clip, text):
    write_clip(clip.with_suffix(".mp4"))
    write(clip.with_suffix(".txt"), f"Text:  {text}\nConf:  4\n")


def lrs2(folder):
    for part, names in {"train": ("1/1", "1/2", "2/1"), "val": ("3/1",), "test": ("4/1", "4/2")}.items():
        write(folder / f"{part}.txt", "\n".join(names))
        for name in names:
            said(folder / "main" / name, "WHAT IS IT")


def lrs3(folder):
    for name in ("trainval/a/1", "trainval/a/2", "trainval/b/1", "test/c/1"):
        said(folder / name, "YES")


def grid(folder):
    for speaker in (1, 2, 3, 4):
        for digit in "1234":
            write_clip(folder / f"s{speaker}/bbaf{digit}n.mpg")


def test_words_are_read_from_lrw(root):
    p = parameters_of("lrs3")
    for word in ("ABOUT", "HOUSE", "WORLD", "YEARS"):
        for part, count in (("train", 4), ("test", 2)):
            for i in range(count):
                write_clip(root / f"lrw/lipread_mp4/{word}/{part}/{word}_0000{i}.mp4", frames=p["frames"])
    training, test = data.word_sets(p, root)
    assert (len(training), len(test)) == (16, 8)
    assert training.vocabulary == ("ABOUT", "HOUSE", "WORLD", "YEARS")


@pytest.mark.parametrize(
    ("name", "build", "counts"), [("lrs2", lrs2, {(3, 1, 2)}), ("lrs3", lrs3, {(2, 1, 1), (1, 2, 1)})]
)
def test_official_parts_that_are_smaller_than_asked_for_are_taken_whole(root, name, build, counts):
    build(root / name)
    assert tuple(map(len, data.sentence_sets(parameters_of(name), root))) in counts


def test_grid_is_read_without_lrw(root):
    grid(root / "GRID")
    p = parameters_of("grid")
    assert sum(map(len, data.sentence_sets(p, root))) == 16
    assert data.word_sets(p, root)[0].names[0].startswith("facesynth")
    planned = trials(settings.Parameters(data="paper", sentences="grid"))
    assert {t.params["task"] for of_place in planned.values() for t in of_place} == {"sentences"}


def test_check_knows_official_folders_and_misses_transcripts(root):
    lrs2(root / "mvlrs_v1")
    lrs3(root / "lrs3_v0.4")
    grid(root / "GRID")
    assert [line.split()[0].rstrip(":") for line in study.check_data(root)] == ["lrs2"] * 3 + ["lrs3"] * 2 + ["grid"]
    write_clip(root / "talkingfaces/video/a.mp4")
    with pytest.raises(UserError, match="should hold the clips' transcripts"):
        study.check_data(root)
