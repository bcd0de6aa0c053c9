import errno
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from reprolib.datasets import rendered
from reprolib.errors import UserError


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """`draw` counts its calls in `draw.calls`."""
    monkeypatch.setattr(rendered, "CACHE", tmp_path)

    def made():
        made.calls += 1
        return {"images": np.full((2, 3), made.calls, np.uint8)}

    made.calls = 0
    return made


def square(index):
    return {"images": np.full((2, 3), index, np.uint8), "points": np.array([index, index**2], np.float32)}


def visible(folder):
    """All that a process leaves in a cache, but locks."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock")


def test_the_same_arguments_are_drawn_once(draw):
    first, second = (rendered.rendered("squares", (7, (64, 64)), draw) for _ in range(2))
    np.testing.assert_array_equal(first["images"], second["images"])
    assert draw.calls == 1


def test_other_arguments_kinds_and_renderings_are_drawn_anew(draw, monkeypatch):
    rendered.rendered("squares", (7,), draw)
    rendered.rendered("squares", (8,), draw)
    rendered.rendered("circles", (7,), draw)
    monkeypatch.setattr(rendered, "RENDERING", rendered.RENDERING + 1)
    assert rendered.rendered("squares", (7,), draw)["images"][0, 0] == 4


def test_images_that_could_not_be_drawn_leave_nothing_behind(draw, tmp_path):
    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        rendered.rendered("squares", (7,), fails)
    assert visible(tmp_path / "squares") == []
    assert rendered.rendered("squares", (7,), draw)["images"].shape == (2, 3)


def test_arrays_are_mapped_and_what_a_caller_writes_stays_with_it(draw):
    first = rendered.rendered("squares", (7,), draw)["images"]
    assert isinstance(first.base, np.memmap) and type(first) is np.ndarray
    first[0] = 99
    np.testing.assert_array_equal(rendered.rendered("squares", (7,), draw)["images"], np.full((2, 3), 1))


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3).T, np.array(3), np.zeros((0, 4), bool), np.array(["ä", "bc"])],
    ids=["transposed", "scalar", "empty", "text"],
)
def test_any_plain_array_comes_back_as_it_was(tmp_path, array):
    kept = rendered.kept_once(tmp_path / "one", lambda: {"array": array})["array"]
    np.testing.assert_array_equal(kept, array)
    assert kept.dtype == array.dtype and kept.shape == array.shape


@pytest.mark.parametrize("workers", [1, 2])
def test_items_of_several_processes_come_in_their_order(tmp_path, workers):
    made = rendered.made_once(tmp_path / "kind" / "a", 5, square, workers=workers, progress=False)
    assert made["images"].shape == (5, 2, 3) and made["images"].dtype == np.uint8
    np.testing.assert_array_equal(made["images"][:, 0, 0], range(5))
    np.testing.assert_array_equal(made["points"], [[i, i**2] for i in range(5)])
    again = rendered.made_once(tmp_path / "kind" / "a", 5, None, progress=False)  # nothing to make
    np.testing.assert_array_equal(again["points"], made["points"])


def test_progress_is_shown_with_the_kind_of_images(tmp_path, capsys):
    rendered.made_once(tmp_path / "squares" / "a", 3, square, workers=1)
    assert "squares: 100%" in capsys.readouterr().err


def test_an_item_of_another_shape_is_refused_and_nothing_kept(tmp_path):
    def growing(index):
        return {"images": np.zeros(index + 1)}

    with pytest.raises(ValueError, match="item 1 should have the arrays"):
        rendered.made_once(tmp_path / "a", 3, growing, workers=1, progress=False)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("make", ["whole", "items"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path, monkeypatch, make):
    opened = Path.open

    def full(path, *arguments, **options):
        if path.name == "points.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    folder = tmp_path / "kind" / "a"
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); free some space"):
        if make == "whole":
            rendered.kept_once(folder, lambda: square(3))
        else:
            rendered.made_once(folder, 3, square, workers=1, progress=False)
    assert visible(folder.parent) == []
    monkeypatch.undo()
    assert rendered.kept_once(folder, lambda: square(3))["points"].tolist() == [3, 9]


def test_what_a_killed_process_left_is_made_again(tmp_path):
    (tmp_path / "a.unfinished").mkdir()
    (tmp_path / "a.unfinished" / "images.npy").write_bytes(b"half")
    assert rendered.kept_once(tmp_path / "a", lambda: square(2))["images"][0, 0] == 2
    assert visible(tmp_path) == ["a", "a/images.npy", "a/points.npy"]


def slow_square(folder, calls):
    def make():
        with calls.open("a") as file:
            file.write("made\n")
        return square(1)

    rendered.kept_once(folder, make)


def test_of_several_processes_one_makes_the_images(tmp_path):
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=slow_square, args=(tmp_path / "a", tmp_path / "calls")) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    assert (tmp_path / "calls").read_text() == "made\n"
