"""A disk that is full at each kind of write of the tools: no half file, one sentence, and what was there stays.

A limit on the size of files stands for the full disk: it needs no rights, and meets every writer, OpenCV's, too.
"""

import signal
from contextlib import contextmanager

import numpy as np
import pytest

from reprolib import figures, photo_files, tries
from reprolib.checkpoints import save_network
from reprolib.errors import UserError
from reprolib.photos import Labelled
from reprolib.video_writer import VideoWriter

resource = pytest.importorskip("resource")  # Windows has none


@contextmanager
def room_for(size):
    """Files can have so many bytes at most."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # or the process would be killed
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def noise(height=200, width=300):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def write_masks(folder):
    labels = (noise()[..., 0] > 128).astype(np.uint8)
    photo_files.write(noise(), Labelled(labels, ("background", "lip"), ()), folder / "photo")


def write_tries(folder):
    one = tries.Try("public", "grid", "cpu", "row" * 999, 1e-3, 1, 0, 50.0, "cpu", "key")
    tries.write(folder / "tuning.csv", [one])


def write_figure(folder):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.imshow(noise())
    figures.save_figure(figure, folder / "figure.png", watermark=False)


def write_network(folder):
    from torch import nn

    save_network(folder / "network.pt", nn.Linear(99, 99), arguments={})


def write_video(folder):
    with VideoWriter(folder / "video.mp4", 25) as writer:
        for _ in range(40):
            writer.write(noise())


@pytest.mark.parametrize("write", [write_masks, write_tries, write_figure, write_network, write_video])
def test_a_full_disk_leaves_nothing_half_and_keeps_what_was_there(tmp_path, write):
    with room_for(1000), pytest.raises((UserError, OSError)) as found:
        write(tmp_path)
    assert "Traceback" not in str(found.value) and len(str(found.value).splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    write(tmp_path)  # with room
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert whole
    with room_for(1000), pytest.raises((UserError, OSError)):
        write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_written_masks_can_be_read_by_others(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    photo_files.write_bytes(tmp_path / "mask.png", b"x")
    assert (tmp_path / "mask.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
