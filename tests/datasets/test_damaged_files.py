"""Readers of files from elsewhere: whatever is in a file, nothing but a sentence for its owner comes out.

`REPROLIB_FUZZ=2000 pytest tests/datasets/test_damaged_files.py` tries so many files per reader.
"""

import io
import os

import cv2
import h5py
import numpy as np
import pytest
from damage import damaged, many, reads_or_says
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reprolib.datasets import (
    celebamask,
    cofw,
    fasseg,
    flrseg,
    folders,
    grid,
    helen,
    landmarks,
    lrs2,
    lrw,
    part_labels,
    pictures,
    three_hundred_vw,
    videos,
)
from reprolib.errors import UserError


def image_bytes(kind, mode, **more):
    array = np.random.default_rng(0).integers(0, 255, (12, 17, 4)).astype(np.uint8)
    image = Image.fromarray(array, "RGBA").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
IMAGES = {
    "png": image_bytes("PNG", "RGB", exif=EXIF),
    "palette.png": image_bytes("PNG", "P", transparency=3),
    "grey-alpha.png": image_bytes("PNG", "LA"),
    "jpg": image_bytes("JPEG", "RGB", exif=EXIF),
    "cmyk.jpg": image_bytes("JPEG", "CMYK"),
    "tif": image_bytes("TIFF", "RGB"),
    "16.tif": image_bytes("TIFF", "I;16"),
    "compressed.tif": image_bytes("TIFF", "RGB", compression="tiff_lzw"),
    "gif": image_bytes("GIF", "P"),
    "webp": image_bytes("WEBP", "RGBA"),
    "bmp": image_bytes("BMP", "RGB"),
    "ppm": image_bytes("PPM", "RGB"),
    "jp2": image_bytes("JPEG2000", "RGB"),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
@many
@given(data=st.data())
def test_damaged_images(tmp_path, kind, data):
    content = data.draw(damaged(IMAGES[kind]))
    for read in (pictures.read_picture, pictures.read_labels, pictures.read_mask, pictures.picture_size):
        reads_or_says(read, tmp_path / f"a.{kind}", content)


def written(write, name):
    """The bytes that `write` puts into a file of this name."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


POINTS = "\n".join(f"{i}.5 {i}.25" for i in range(68))
TEXTS = {
    "a.pts": (three_hundred_vw.read_points, f"version: 1\nn_points: 68\n{{\n{POINTS}\n}}\n".encode()),
    "a.align": (grid.read_align, b"0 23750 sil\n23750 29500 bin\n29500 34000 blue\n34000 74500 sil\n"),
    "clip.txt": (lrs2.read_text, b"Text:  WHAT IS IT\nConf:  4\n\nWORD START END ASDSCORE\nWHAT 0.00 0.20 6.4\n"),
    "word.txt": (lrw.word_span, b"Channel: x\nDisk reference: 1\nDuration: 0.40 seconds\n"),
    "list.txt": (folders.read_lines, b"55/00001 NF\n55/00002\n"),
    "parts_train.txt": (lambda path: part_labels.read_list(path.parent, "train"), b"Aaron_Eckhart 1\nEve_F 12\n"),
}


@pytest.mark.parametrize("name", TEXTS)
@many
@given(data=st.data())
def test_damaged_texts(tmp_path, name, data):
    read, content = TEXTS[name]
    reads_or_says(read, tmp_path / name, data.draw(st.one_of(damaged(content), st.binary(max_size=200))))


@many
@given(data=st.data())
def test_damaged_lists_of_helen_and_lrs2_lead_nowhere(tmp_path, data):
    """Every name that is taken from a list is within the dataset's folder."""
    folder = tmp_path / "lrs2"
    (folder / "main").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    content = data.draw(st.one_of(damaged(b"1 , ../55\n2 , 55/../../1\n"), damaged(b"55/00001 NF\n")))
    for name, read in (("train.txt", lrs2.utterances), ("exemplars.txt", helen.load)):
        (folder / name).write_bytes(content)
        with pytest.raises(UserError):
            read(folder, "train")
    for line in content.split(b"\n"):
        try:
            name = line.decode()
            inside = folders.inside(folder, name, of=folder / "train.txt")
        except (UnicodeDecodeError, UserError):
            continue
        assert os.path.normpath(inside).startswith(f"{folder}{os.sep}") or os.path.normpath(inside) == str(folder)


@many
@given(data=st.data())
def test_a_damaged_mapping_of_celebamask(tmp_path, data):
    folder = tmp_path / celebamask.FOLDER
    (folder / celebamask.MASKS).mkdir(parents=True, exist_ok=True)
    path = folder / celebamask.MAPPING
    path.write_bytes(data.draw(damaged(b"idx orig_idx orig_file\n0 119613 119614.jpg\n1 99094 099095.jpg\n")))
    with pytest.raises(UserError):
        celebamask.load(tmp_path, "train", frame=16)


@many
@given(data=st.data())
def test_damaged_superpixels_of_part_labels(tmp_path, data):
    for folder in (part_labels.IMAGES, part_labels.LABELS, part_labels.SUPERPIXELS):
        (tmp_path / folder / "A").mkdir(parents=True, exist_ok=True)
    (tmp_path / "parts_train.txt").write_text("A 1\n")
    Image.new("RGB", (4, 3)).save(tmp_path / part_labels.IMAGES / "A/A_0001.jpg")
    Image.new("RGB", (4, 3), (0, 0, 255)).save(tmp_path / part_labels.LABELS / "A_0001.ppm")
    path = tmp_path / part_labels.SUPERPIXELS / "A/A_0001.dat"

    def read(_):
        return part_labels.load(tmp_path, "train", size=2)

    reads_or_says(read, path, data.draw(damaged(b"0 0 1 1\n0 2 2 1\n2 2 2 2\n")))


@many
@given(data=st.data())
def test_damaged_caches_are_made_again(tmp_path, data):
    arrays = {"landmarks": np.arange(272, dtype=np.float32).reshape(2, 68, 2), "embedding": np.ones(128, np.float32)}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    (tmp_path / "key.npz").write_bytes(data.draw(damaged(content.getvalue())))
    found = landmarks.remembered(tmp_path, "key", lambda: arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def matlab_file(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        cell = file.create_dataset("IsT", (1, 2), dtype=h5py.ref_dtype)
        for i in range(2):
            image = np.full((3, 9, 8), 40 * i, np.uint8)
            cell[0, i] = file.create_dataset(f"#refs#/{i}", data=image, compression="gzip").ref
        file["bboxesT"] = np.array([(2, 2, 4, 4)] * 2, float).T


MATLAB = written(matlab_file, "a.mat")


@many
@given(data=st.data())
def test_damaged_matlab_files(tmp_path, data):
    folder = tmp_path / "cofw"
    (folder / "masks/test").mkdir(parents=True, exist_ok=True)
    for i in (1, 2):
        Image.new("L", (9, 8), 255).save(folder / f"masks/test/000{i}.png")

    def read(_):
        return cofw.load(tmp_path, "test", size=8)

    assert reads_or_says(read, folder / cofw.FILES["test"], MATLAB)
    reads_or_says(read, folder / cofw.FILES["test"], data.draw(damaged(MATLAB)))


def video_file(path):
    code = {".avi": "MJPG", ".mp4": "mp4v", ".mpg": "PIM1"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 25, (32, 32))
    for i in range(4):
        writer.write(np.full((32, 32, 3), 50 * i, np.uint8))
    writer.release()


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mpg"])
@many
@given(data=st.data())
def test_damaged_videos(tmp_path, suffix, data):
    path = tmp_path / f"a.{suffix}"
    if not (tmp_path / f"whole.{suffix}").is_file():
        video_file(tmp_path / f"whole.{suffix}")
    content = data.draw(damaged((tmp_path / f"whole.{suffix}").read_bytes()))
    for read in (videos.read, videos.count, lambda path: videos.read_frame(path, 2)):
        reads_or_says(read, path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"[playlist]\nFile1=/etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_is_no_video(tmp_path, content):
    """It would lead the decoder to other files, or to the network."""
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match="first bytes are not those of a video"):
        videos.read(tmp_path / "a.mp4")


def test_a_name_with_a_pattern_is_one_file(tmp_path):
    """OpenCV's other backends take a%02d.mp4 for the names of a series of files."""
    video_file(tmp_path / "a00.mp4")
    (tmp_path / "a%02d.mp4").write_bytes(b"RIFF" + bytes(500))
    with pytest.raises(UserError, match="no frame of it can be decoded"):
        videos.read(tmp_path / "a%02d.mp4")


@many
@given(data=st.data())
def test_damaged_pairs_of_fasseg_and_flrseg(tmp_path, data):
    for name in ("images/a_1.png", "masks/a_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data.draw(damaged(image_bytes("PNG", "L"))))
    with pytest.raises(UserError):  # noise has other values than classes
        flrseg.load(tmp_path)
    try:
        labels = pictures.read_picture(tmp_path / "masks/a_1.png")
    except UserError:
        return
    with pytest.raises(UserError, match="six label colours"):
        fasseg.snap_colours(labels, tmp_path / "masks/a_1.png")
