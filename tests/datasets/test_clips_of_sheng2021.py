"""The lipreading datasets in tiny, as sheng2021 reads them."""

import cv2
import numpy as np
import pytest
from speech_clips import SIDE, stub_dlib, write, write_clip

from reprolib import studies
from reprolib.datasets import grid, kept, rendered
from reprolib.errors import UserError
from reprolib.studies.sheng2021 import data, experiment
from reprolib.studies.sheng2021 import rows as r
from reprolib.trial import Context

STUDY = studies.load("sheng2021")
PAIRS = data.listed_parts("grid_split.csv")


@pytest.fixture
def root(tmp_path, monkeypatch):
    stub_dlib(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(rendered, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(kept, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(rendered.joblib, "cpu_count", lambda: 1)  # a stub stays in its own process
    for cached in (data._grid, data._italian_words, data._lrw, data._official):
        cached.cache_clear()
    return tmp_path / "data"


def row(name, dataset):
    return {row.name: row.config for row in STUDY.rows(STUDY.Parameters(data=dataset))}[name]


def textured(path, *, frames):
    """A clip whose frames show something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
    for t in range(frames):
        checks = np.kron(np.indices((6, 6)).sum(0) % 2, np.ones((8, 8)))[..., None].repeat(3, 2)
        writer.write((150 * checks + t).astype(np.uint8))
    writer.release()


def pair_in(part, number=0):
    return [pair for pair, where in PAIRS.items() if where == part][number]


def write_grid(folder):
    """Two clips for training, one each for validation and test, and a short one."""
    pairs = (pair_in("train"), pair_in("train", 1), pair_in("validation"), pair_in("test"))
    names = {f"bba{pair}n": 75 for pair in pairs}
    names[f"bba{pair_in('train', 2)}n"] = 70
    for name, frames in names.items():
        textured(folder / f"s1/{name}.mp4", frames=frames)
        said = ("bin", "blue", "at", name[3], grid.SLOTS[4][name[4]], "now")
        lines = "".join(f"{10000 * i} {10000 * i + 8000} {word}\n" for i, word in enumerate(said, start=1))
        write(folder / f"s1/align/{name}.align", f"0 10000 sil\n{lines}70000 75000 sil\n")


def test_words_of_grid_are_windows_around_their_middle_split_by_pair(root):
    write_grid(root / "grid_s1")
    config = row(r.GLOBAL, "public")
    sets = data.examples_of(config, root)
    assert [len(part) for part in (sets.train, sets.validation, sets.test)] == [12, 6, 6]
    assert (sets.damaged, sets.repaired) == (1, 0)
    assert sets.test.texts[:3] == ("BIN", "BLUE", "AT")
    assert [sets.test.vocabulary[label] for label in sets.test.labels] == list(sets.test.texts)
    assert [sets.test.groups[label] for label in sets.test.labels] == list(data.SLOT_NAMES)
    np.testing.assert_array_equal(sets.test.times[0], [14, 8])  # middle and length
    seen = sets.test.see(("crops", "frames", "landmarks", "lengths", "flow"))
    sizes = config.sizes
    assert seen["crops"].shape == (6, sizes.frames, sizes.crop, sizes.crop)
    assert seen["flow"].shape == (6, 2, sizes.frames, sizes.crop, sizes.crop)
    assert seen["lengths"].tolist() == [sizes.frames] * 6
    # frames grow brighter by one level each: the middle of the window is that of the word
    brightness = seen["frames"].float().mean((2, 3))
    slope = (brightness[1].mean() - brightness[0].mean()) / 10
    assert slope == pytest.approx(1, abs=0.2)  # words are ten frames apart


def test_sentences_of_grid_are_the_same_clips_with_the_times_of_their_words(root):
    write_grid(root / "grid_s1")
    sets = data.examples_of(row(r.GLOBAL_S, "public"), root)
    assert [len(part) for part in (sets.train, sets.validation, sets.test)] == [2, 1, 1]
    np.testing.assert_array_equal(sets.test.spans[0, 0], [10, 18])
    assert sets.test.see(("crops",))["crops"].shape[1] == 75
    assert sets.test.units == (f"s1/bba{pair_in('test')}n",)


def test_words_of_grid_need_their_times(root):
    for part in data.PARTS:
        textured(root / f"grid/s1/bba{pair_in(part)}n.mp4", frames=75)
    with pytest.raises(UserError, match=r"has no \.align file"):
        data.examples_of(row(r.GLOBAL, "public"), root)


def test_words_of_lipnet_ita_are_their_own_frames_and_people_are_apart(root):
    for recording, person in (("s1", "bs"), ("s2", "az"), ("s3", "fv")):
        write_clip(root / f"lipnet_ita/{recording}/0-{person}.mp4", frames=20)
        write(root / f"lipnet_ita/{recording}/0-{person}.align", "0 4000 due\n4000 9000 grazie\n")
    sets = data.examples_of(row(r.GLOBAL + r.ITALIAN, "public"), root)
    assert [part.units for part in (sets.train, sets.validation, sets.test)] == [("bs",) * 2, ("az",) * 2, ("fv",) * 2]
    seen = sets.train.see(("crops", "lengths"))
    assert seen["lengths"].tolist() == [4, 5]
    assert seen["crops"][0, :4].min() > 50 and not seen["crops"][0, 4:].any()
    assert sets.train.vocabulary == ("DUE", "GRAZIE")
    np.testing.assert_array_equal(sets.train.times[:, 0], 0)  # a window does not show its moment


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


def test_words_are_read_from_lrw(root):
    config = row(r.GLOBAL, "paper")
    for word in ("ABOUT", "HOUSE"):
        for part, count in (("train", 4), ("val", 1), ("test", 1)):
            for i in range(count):
                path = root / f"lrw/lipread_mp4/{word}/{part}/{word}_0000{i}.mp4"
                write_clip(path, frames=config.sizes.frames)
    sets = data.examples_of(config, root)
    assert [len(part) for part in (sets.train, sets.validation, sets.test)] == [8, 2, 2]
    assert sets.train.vocabulary == ("ABOUT", "HOUSE")


@pytest.mark.parametrize(
    ("name", "suffix", "build", "counts"),
    [("lrs2", r.OF_LRS2, lrs2, {(3, 1, 2)}), ("lrs3", "", lrs3, {(2, 1, 1), (1, 2, 1)})],
)
def test_official_parts_that_are_smaller_than_asked_for_are_taken_whole(root, name, suffix, build, counts):
    build(root / name)
    config = row(r.GLOBAL_S + suffix, "paper")
    assert config.dataset == name
    sets = data.examples_of(config, root)
    assert tuple(map(len, (sets.train, sets.validation, sets.test))) in counts


def test_check_knows_official_folders(root):
    lrs2(root / "mvlrs_v1")
    lrs3(root / "lrs3_v0.4")
    write_grid(root / "GRID")
    found = [line.split()[0].rstrip(":") for line in STUDY.check_data(root)]
    assert found == ["grid"] + ["lrs2"] * 3 + ["lrs3"] * 2


def test_a_row_of_grid_trains_and_is_scored(root, tmp_path):
    write_grid(root / "grid_s1")
    config = row(r.TWO_S, "public")
    outcome = experiment.run(config, 0, Context(device="cpu", data_root=root, results=tmp_path / "results"))
    assert {"wer", "cer", "wer_pair", "validation"} <= set(outcome.metrics)
    assert outcome.units == {"clip": 1}
    words = experiment.run(
        row(r.LOCAL, "public"), 0, Context(device="cpu", data_root=root, results=tmp_path / "results")
    )
    assert {"accuracy", "letters", "closed", "in_slot", "graph_p"} <= set(words.metrics)
