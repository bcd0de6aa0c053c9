import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reprolib.datasets import pictures
from reprolib.errors import UserError


def test_a_square_inside_the_picture_is_a_plain_slice():
    array = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(pictures.crop_square(array, (2, 1, 4)), array[1:5, 2:6])


def test_beyond_the_edge_pictures_repeat_and_labels_are_filled():
    array = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(pictures.crop_square(array, (-1, 0, 4))[:, :2], array[:, [0, 0]])
    filled = pictures.crop_square(array, (1, 2, 4), fill=pictures.IGNORED)
    np.testing.assert_array_equal(filled[:2, :3], array[2:, 1:])
    assert (filled[2:] == 255).all() and (filled[:, 3] == 255).all()


def test_a_shrunken_label_is_the_one_that_covers_most():
    labels = np.zeros((4, 4), np.uint8)
    labels[0, :2] = labels[1, 0] = 3  # three of the four upper left pixels
    labels[3, 3] = 5  # one of the four lower right pixels
    np.testing.assert_array_equal(pictures.resize_labels(labels, 2), [[3, 0], [0, 0]])


def test_a_grown_label_map_holds_no_new_label():
    labels = np.array([[0, 4], [255, 2]], np.uint8)
    np.testing.assert_array_equal(pictures.resize_labels(labels, 4), labels.repeat(2, 0).repeat(2, 1))


def test_the_box_of_a_mask_counts_pixels():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    assert pictures.box_of(mask).tolist() == [1, 2, 6, 3]
    assert pictures.box_of(np.zeros((8, 8), bool)).tolist() == [0, 0, 0, 0]


def test_the_size_in_the_header_agrees_with_the_picture_turned_by_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert pictures.picture_size(tmp_path / "turned.jpg") == (10, 20)
    assert pictures.read_picture(tmp_path / "turned.jpg").shape == (20, 10, 3)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_a_truncated_or_foreign_file_is_named(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"{name} cannot be read as an image"):
        pictures.read_picture(path)
    path.write_bytes(b"no picture at all")
    with pytest.raises(UserError, match=f"{name} cannot be read as an image"):
        pictures.picture_size(path)


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png is missing"):
        pictures.read_picture(tmp_path / "gone.png")


GREY = np.linspace(0, 255, 24 * 36).reshape(24, 36).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
WIDE = GREY.astype(np.uint16) * 257


def saved(path, image, **more):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **more)
    return path


def twelve_bits(path):
    """A TIFF of 12 bits a pixel, as microscopes and scanners write it: two pixels in three bytes."""
    values = (GREY.astype(np.uint32) * 4095 + 127) // 255
    first, second = values.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    tags = {256: (4, 36), 257: (4, 24), 258: (3, 12), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1), 278: (4, 24),
            279: (4, len(packed))}  # fmt: skip
    fields = b"".join(struct.pack("<HHI" + ("HH" if kind == 3 else "I"), tag, kind, 1, *((value, 0) if kind == 3
                      else (value,))) for tag, (kind, value) in tags.items())  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + fields + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + ifd)
    return path


GREYS = {
    "8 bits": lambda p: saved(p / "a.png", GREY),
    "16 bits": lambda p: saved(p / "a.png", WIDE),
    "16 bits, TIFF": lambda p: saved(p / "a.tif", WIDE),
    "16 bits, big-endian": lambda p: saved(p / "a.tif", WIDE.astype(">u2")),
    "16 bits, 0 is white": lambda p: saved(p / "a.tif", 65535 - WIDE, tiffinfo={262: 0}),
    "16 bits, PGM": lambda p: (cv2.imwrite(str(p / "a.pgm"), WIDE), p / "a.pgm")[1],
    "12 bits": lambda p: twelve_bits(p / "a.tif"),
    "0 to 1": lambda p: saved(p / "a.tif", (GREY / 255).astype(np.float32)),
    "grey and alpha": lambda p: saved(p / "a.png", Image.fromarray(GREY).convert("LA")),
    "palette": lambda p: saved(p / "a.png", Image.fromarray(GREY).convert("P")),
}  # fmt: skip
COLOURS = {
    "8 bits": lambda p: saved(p / "a.png", COLOUR),
    "16 bits": lambda p: (cv2.imwrite(str(p / "a.png"), COLOUR[..., ::-1].astype(np.uint16) * 257), p / "a.png")[1],
    "alpha": lambda p: saved(p / "a.png", Image.fromarray(COLOUR).convert("RGBA")),
    "CMYK": lambda p: saved(p / "a.tif", Image.fromarray(COLOUR).convert("CMYK")),
    "YCbCr": lambda p: saved(p / "a.tif", Image.fromarray(COLOUR).convert("YCbCr")),
    "JPEG": lambda p: saved(p / "a.jpg", COLOUR, quality=100, subsampling=0),
    "CMYK JPEG": lambda p: saved(p / "a.jpg", Image.fromarray(COLOUR).convert("CMYK"), quality=100, subsampling=0),
    "first of two frames": lambda p: saved(
        p / "a.png", COLOUR, save_all=True, append_images=[Image.fromarray(255 - COLOUR)]
    ),
}


@pytest.mark.parametrize("kind", GREYS)
def test_a_grey_image_has_the_same_values_in_every_kind_of_file(tmp_path, kind):
    read = pictures.read_picture(GREYS[kind](tmp_path))
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read.astype(int), np.repeat(GREY[..., None], 3, axis=2), atol=1)


@pytest.mark.parametrize("kind", COLOURS)
def test_a_colour_image_has_the_same_values_in_every_kind_of_file(tmp_path, kind):
    np.testing.assert_allclose(pictures.read_picture(COLOURS[kind](tmp_path)).astype(int), COLOUR, atol=4)


def test_transparent_pixels_are_seen_before_white(tmp_path):
    alpha = np.zeros((24, 36, 4), np.uint8)  # transparent black
    alpha[:12] = (200, 0, 0, 255)
    alpha[12:16] = (0, 0, 0, 128)
    grey = np.full((24, 36), 7, np.uint8)
    for path in (
        saved(tmp_path / "rgba.png", alpha),
        saved(tmp_path / "key.png", grey, transparency=7),
        saved(tmp_path / "palette.png", Image.fromarray(grey).convert("P"), transparency=7),
    ):
        assert (pictures.read_picture(path)[20] == 255).all()
    read = pictures.read_picture(tmp_path / "rgba.png")
    assert (read[0] == (200, 0, 0)).all()
    np.testing.assert_allclose(read[14].astype(int), 127, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_an_image_is_turned_as_exif_says_and_the_header_agrees(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.repeat(np.repeat([[0, 80], [160, 255]], 8, 0), 16, 1).astype(np.uint8)).convert("RGB")
    path = saved(tmp_path / f"a.{suffix}", image, exif=exif)
    read = pictures.read_picture(path)[..., 0]
    corners = read[[2, 2, -3, -3], [2, -3, 2, -3]].astype(int)
    expected = {1: [0, 80, 160, 255], 2: [80, 0, 255, 160], 3: [255, 160, 80, 0], 4: [160, 255, 0, 80],
                5: [0, 160, 80, 255], 6: [160, 0, 255, 80], 7: [255, 80, 160, 0], 8: [80, 255, 0, 160]}  # fmt: skip
    np.testing.assert_allclose(corners, expected[orientation], atol=6)
    assert pictures.picture_size(path) == read.shape[::-1]


def with_exif(path, payload):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:])
    return path


def orientation_of_type(kind, count, value):
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x0112, kind, count, value) + bytes(4)


@pytest.mark.parametrize(
    ("payload", "turned"),
    [
        (orientation_of_type(3, 1, b"\6\0\0\0"), True),
        (orientation_of_type(2, 2, b"6\0\0\0"), True),  # text
        (orientation_of_type(3, 2, b"\6\0\6\0"), True),  # two numbers
        (orientation_of_type(2, 4, b"top\0"), False),
        (orientation_of_type(3, 1, b"\0\0\0\0"), False),
        (orientation_of_type(3, 1, b"\x09\0\0\0"), False),
        (orientation_of_type(3, 99999, b"\6\0\0\0"), False),  # beyond the end
        (orientation_of_type(12, 2, b"\xff\xff\xff\xff"), False),
        (b"Exif\0\0", False),
        (b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0", False),
        (b"Exif\0\0MM\0*\xff\xff\xff\xff", False),
        (b"Exif\0\0nonsense", False),
    ],
)
def test_a_broken_or_textual_orientation_spoils_no_image(tmp_path, payload, turned):
    path = with_exif(tmp_path / "a.jpg", payload)
    assert pictures.read_picture(path).shape == ((20, 10, 3) if turned else (10, 20, 3))
    assert pictures.picture_size(path) == ((10, 20) if turned else (20, 10))


READERS = (pictures.read_picture, pictures.read_labels, pictures.read_mask, pictures.picture_size)


def png_of_size(path, width, height):
    """A PNG that claims a size, with hardly any pixels behind it."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))))
    return path


@pytest.mark.parametrize(
    "read", [pictures.read_picture, pictures.read_labels, pictures.read_mask, pictures.picture_size]
)
@pytest.mark.parametrize("side", [9500, 16000, 60000, 2**31 - 1])
def test_an_image_beyond_the_limit_is_one_sentence(tmp_path, read, side):
    with pytest.raises(UserError, match=r"a\.png has .* pixels, but at most 89 million can be read"):
        read(png_of_size(tmp_path / "a.png", side, side))


def test_an_image_just_below_the_limit_is_read(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(pictures, "LARGEST", 24 * 36)
    assert pictures.read_picture(saved(tmp_path / "a.png", GREY)).shape == (24, 36, 3)
    with pytest.raises(UserError, match="has 36×25 pixels"):
        pictures.read_picture(saved(tmp_path / "b.png", np.zeros((25, 36), np.uint8)))
    assert not recwarn


def test_numbers_whose_white_is_unknown_are_one_sentence(tmp_path):
    for values in (np.float32(GREY), np.float32(GREY) / 255 - 0.5, np.full((4, 4), np.nan, np.float32)):
        with pytest.raises(UserError, match="should hold numbers from 0 to 1"):
            pictures.read_picture(saved(tmp_path / "a.tif", values))
    with pytest.raises(UserError, match="whole numbers of 32 bits"):
        pictures.read_picture(saved(tmp_path / "a.tif", GREY.astype(np.int32)))


def test_what_is_no_image_is_one_sentence(tmp_path):
    """An EPS file is a program: Pillow would have another program run it."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")
    with pytest.raises(UserError, match="cannot be read as an image"):
        pictures.read_picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(UserError, match="is no file"):
            pictures.read_picture(path)


NUMBERS = (np.arange(24 * 36) % 19).reshape(24, 36).astype(np.uint8)


def with_palette(values, colours):
    image = Image.fromarray(values)
    image.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    return image


RAINBOW = np.random.default_rng(0).integers(256, size=(19, 3))
LABELS = {
    "grey": lambda p: saved(p / "a.png", NUMBERS),
    "palette": lambda p: saved(p / "a.png", with_palette(NUMBERS, RAINBOW)),
    "palette in which index 0 is transparent": lambda p: saved(
        p / "a.png", with_palette(NUMBERS, RAINBOW), transparency=0
    ),
    "three equal channels": lambda p: saved(p / "a.png", np.repeat(NUMBERS[..., None], 3, axis=2)),
    "transparent": lambda p: saved(p / "a.png", Image.merge("LA", [Image.fromarray(NUMBERS)] * 2)),
    "16 bits": lambda p: saved(p / "a.png", NUMBERS.astype(np.uint16)),
    "32 bits": lambda p: saved(p / "a.tif", NUMBERS.astype(np.int32)),
    "decimal point": lambda p: saved(p / "a.tif", NUMBERS.astype(np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("kind", LABELS)
def test_class_numbers_are_the_same_in_every_kind_of_file(tmp_path, kind):
    read = pictures.read_labels(LABELS[kind](tmp_path))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, NUMBERS)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (COLOUR, "holds colours"),
        (np.full((4, 4), 256, np.uint16), "holds 256 to 256"),
        (np.full((4, 4), -1, np.int32), "holds -1 to -1"),
        (np.full((4, 4), 0.5, np.float32), r"holds 0\.5 to 0\.5"),
        (np.full((4, 4), np.nan, np.float32), "holds nan"),
    ],
)
def test_what_are_no_class_numbers_is_one_sentence(tmp_path, image, message):
    with pytest.raises(UserError, match=message):
        pictures.read_labels(saved(tmp_path / "a.tif", image))


MASK = np.arange(24 * 36).reshape(24, 36) % 7 < 3
MASKS = {
    "0 and 255": lambda p: saved(p / "a.png", MASK.astype(np.uint8) * 255),
    "0 and 1": lambda p: saved(p / "a.png", MASK.astype(np.uint8)),
    "0 and 255, colour": lambda p: saved(p / "a.png", np.repeat(MASK[..., None], 3, 2).astype(np.uint8) * 255),
    "0 and 1, colour": lambda p: saved(p / "a.png", np.repeat(MASK[..., None], 3, 2).astype(np.uint8)),
    "0 and 65535": lambda p: saved(p / "a.png", MASK.astype(np.uint16) * 65535),
    "0 and 1, 16 bits": lambda p: saved(p / "a.png", MASK.astype(np.uint16)),
    "one bit": lambda p: saved(p / "a.png", Image.fromarray(MASK)),
    "from 0.0 to 1.0": lambda p: saved(p / "a.tif", MASK.astype(np.float32)),
    "palette of black and white": lambda p: saved(p / "a.png", with_palette(MASK * np.uint8(1), [[0] * 3, [255] * 3])),
    "palette of white and black": lambda p: saved(p / "a.png", with_palette(~MASK * np.uint8(1), [[255] * 3, [0] * 3])),
    "palette of colours": lambda p: saved(p / "a.png", with_palette(MASK * np.uint8(1), [[0] * 3, [128, 0, 0]])),
    "transparent where it is not set": lambda p: saved(
        p / "a.png", np.where(MASK[..., None], 255, (255, 255, 255, 0)).astype(np.uint8)
    ),
    "JPEG": lambda p: saved(p / "a.jpg", MASK.repeat(8, 0).repeat(8, 1).astype(np.uint8) * 255, quality=80),
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_is_the_same_in_every_kind_of_file(tmp_path, kind):
    read = pictures.read_mask(MASKS[kind](tmp_path))
    expected = MASK.repeat(8, 0).repeat(8, 1) if kind == "JPEG" else MASK
    assert read.dtype == bool
    np.testing.assert_array_equal(read, expected)


def test_an_empty_and_a_full_mask(tmp_path):
    for value in (0, 1, 255):
        mask = pictures.read_mask(saved(tmp_path / "a.png", np.full((4, 4), value, np.uint8)))
        assert mask.all() == mask.any() == (value > 0)


def test_a_colour_photo_is_no_mask(tmp_path):
    with pytest.raises(UserError, match="should be a mask in black and white"):
        pictures.read_mask(saved(tmp_path / "a.png", COLOUR))


SIDES = st.integers(1, 60)


@given(SIDES, SIDES)
def test_a_new_pixel_has_the_label_at_its_centre(large, small):
    """Within half a pixel: exactly the pixel in which the centre is."""
    small, large = sorted((small, large))
    centres = (np.arange(large) + 0.5) * small / large
    chosen = pictures.nearest(large, small)
    assert ((chosen <= centres + 1e-9) & (centres <= chosen + 1 + 1e-9)).all()


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.data())
def test_image_and_labels_keep_every_border_in_place_at_every_size(before, after, data):
    """A border at k of w pixels is at k W / w of W, to half a pixel, whichever sides grow or shrink."""
    (height, width), (new_height, new_width) = before, after
    row, column = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    labels = np.zeros(before, np.uint8)
    labels[:row, :column] = 3
    found = pictures.resize_labels(labels, after) == 3
    shown = pictures.resize_picture(np.repeat(labels[..., None] * 85, 3, axis=2), after)[..., 0] > 127
    assert found.shape == shown.shape == after
    if row == height:
        for mask in (found, shown):
            assert (mask == mask[:1]).all()
            assert abs(mask[0].sum() - column * new_width / width) <= 0.51
    if column == width:
        for mask in (found, shown):
            assert abs(mask[:, 0].sum() - row * new_height / height) <= 0.51


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.integers(0, 2**32 - 1))
def test_resized_labels_hold_no_new_label_and_keep_a_size_as_it_is(before, after, seed):
    labels = np.random.default_rng(seed).integers(0, 256, before).astype(np.uint8)
    assert set(np.unique(pictures.resize_labels(labels, after))) <= set(np.unique(labels))
    np.testing.assert_array_equal(pictures.resize_labels(labels, before), labels)
