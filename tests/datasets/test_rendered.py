import numpy as np
import pytest

from reprolib.datasets import rendered


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """`draw` counts its calls in `draw.calls`."""
    monkeypatch.setattr(rendered, "CACHE", tmp_path)

    def made():
        made.calls += 1
        return {"images": np.full((2, 3), made.calls, np.uint8)}

    made.calls = 0
    return made


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


def test_pictures_that_could_not_be_drawn_leave_nothing_behind(draw, tmp_path):
    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        rendered.rendered("squares", (7,), fails)
    assert rendered.rendered("squares", (7,), draw)["images"].shape == (2, 3)
