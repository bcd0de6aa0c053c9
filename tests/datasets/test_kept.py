import numpy as np
import pytest

from reprolib.datasets import kept as module
from reprolib.datasets.kept import content, kept


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")


def test_arrays_are_made_once_for_the_same_settings():
    calls = []

    def make():
        calls.append(1)
        return {"a": np.arange(3), "names": np.array(["x", "yz"])}

    for _ in range(2):
        found = kept("kind", (1, "b"), make)
        assert found["a"].tolist() == [0, 1, 2] and found["names"].tolist() == ["x", "yz"]
    assert len(calls) == 1
    kept("kind", (2, "b"), make)
    assert len(calls) == 2


def test_writing_to_an_array_does_not_change_what_is_kept():
    def make():
        return {"a": np.zeros(3)}

    kept("kind", (), make)["a"][0] = 7
    assert kept("kind", (), make)["a"].tolist() == [0, 0, 0]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError):
        kept("kind", (), lambda: (_ for _ in ()).throw(RuntimeError("stop")))
    assert [path.suffix for path in (tmp_path / "cache/kind").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    kept("kind", (), lambda: {"a": np.zeros(1)})
    finished = next(path for path in (tmp_path / "cache/kind").iterdir() if path.is_dir())
    finished.rename(finished.with_suffix(".unfinished"))
    found = kept("kind", (), lambda: {"b": np.ones(1)})
    assert list(found) == ["b"]
    assert not finished.with_suffix(".unfinished").exists()


def test_content_depends_on_names_bytes_and_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"2")
    first = content([a, b])
    assert first == content([a, b]) != content([b, a])
    b.write_bytes(b"33")
    assert content([a, b]) != first
