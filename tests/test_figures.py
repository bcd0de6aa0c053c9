"""Figures: colours, overlays, files, and architectures read off real modules."""

from io import BytesIO

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import nn

from reprolib import figures
from reprolib.architecture import stages
from reprolib.datasets.facesynth.parts import PARTS

# Machado et al. 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def a_line() -> plt.Figure:
    with figures.style():
        figure, ax = plt.subplots(figsize=(3, 2))
        x = np.arange(4.0)
        figures.line_with_band(ax, x, x, x - 1, x + 1, "β = 5")
    return figure


@pytest.mark.parametrize("vision", VISION)
def test_part_colours_differ_for_every_kind_of_colour_vision(vision):
    names = sorted(set(figures.PART_COLOURS.values()))
    rgb = np.array([mpl.colors.to_rgb(name) for name in names])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ VISION[vision].T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(seen[None])[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000 * np.eye(len(names))
    assert distance.min() >= 16


def test_the_colours_of_figure_1_are_the_papers():
    colours = figures.part_colours(("background", "face", "occlusion"))
    assert colours.dtype == np.uint8
    assert colours.argmax(1).tolist()[1:] == [2, 1]  # blue, green
    assert colours[0].tolist() == [0, 0, 0]
    assert (figures.part_colours(("skin",)) == colours[1]).all()


def test_every_part_of_facesynth_has_a_colour_and_an_unknown_class_is_named():
    assert figures.part_colours(PARTS).shape == (len(PARTS), 3)
    with pytest.raises(ValueError, match="No colour for elbow"):
        figures.part_colours(("face", "elbow"))


def test_an_overlay_blends_classes_and_leaves_ignored_pixels():
    image = np.full((1, 4, 3), 100, np.uint8)
    labels = np.array([[0, 1, 1, 255]], np.uint8)
    colours = np.array([[0, 0, 0], [200, 0, 100]], np.uint8)
    assert figures.overlay(image, labels, colours, alpha=0.5).tolist() == [
        [[50, 50, 50], [150, 50, 100], [150, 50, 100], [100, 100, 100]]
    ]
    assert figures.overlay(image, labels, colours, alpha=(0, 1)).tolist() == [
        [[100, 100, 100], [200, 0, 100], [200, 0, 100], [100, 100, 100]]
    ]


def test_a_grid_has_a_picture_per_cell_titles_and_one_legend():
    picture = np.zeros((8, 8, 3), np.uint8)
    figure = figures.image_grid(
        [[picture, picture[..., 0], None], [picture]],
        row_titles=["one", "two"],
        column_titles=["input", "labels", "none"],
        classes=("background", "face"),
    )
    assert [len(ax.images) for ax in figure.axes] == [1, 1, 0, 1, 0, 0]
    assert [ax.get_title() for ax in figure.axes[:3]] == ["input", "labels", "none"]
    assert [figure.axes[0].get_ylabel(), figure.axes[3].get_ylabel()] == ["one", "two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["background", "face"]


@pytest.mark.parametrize("ending", ["svg", "png", "jpg"])
def test_a_figure_is_saved_to_the_same_bytes_each_time(tmp_path, ending):
    first = figures.save_figure(a_line(), tmp_path / "new" / f"a.{ending}", watermark=False)
    second = figures.save_figure(a_line(), tmp_path / f"b.{ending}", watermark=False)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert not plt.get_fignums()


def test_a_smoke_run_is_marked(tmp_path):
    plain = figures.save_figure(a_line(), tmp_path / "a.svg", watermark=False).read_text()
    marked = figures.save_figure(a_line(), tmp_path / "b.svg", watermark=True).read_text()
    assert 'id="smoke-run"' in marked
    assert 'id="smoke-run"' not in plain


def test_a_saved_figure_has_an_opaque_white_ground(tmp_path):
    figure = a_line()
    with mpl.rc_context({"savefig.facecolor": "black", "savefig.transparent": True}):
        path = figures.save_figure(figure, tmp_path / "a.png", watermark=False)
    assert Image.open(path).convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_picture_that_is_too_large_loses_quality_and_at_last_is_refused(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    full = figures.save_figure(figures.image_grid([[noise]]), tmp_path / "full.png", watermark=False)
    monkeypatch.setattr(figures, "MAX_BYTES", full.stat().st_size // 2)
    small = figures.save_figure(figures.image_grid([[noise]]), tmp_path / "small.png", watermark=False)
    assert small.stat().st_size <= figures.MAX_BYTES
    monkeypatch.setattr(figures, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"large\.png must have at most 1 kB"):
        figures.save_figure(figures.image_grid([[noise]]), tmp_path / "large.png", watermark=False)
    assert not (tmp_path / "large.png").exists()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found a\.pdf"):
        figures.save_figure(a_line(), tmp_path / "a.pdf", watermark=False)


def test_the_style_ends_with_its_block():
    before = mpl.rcParams["axes.grid"]
    with figures.style():
        assert mpl.rcParams["axes.grid"] is True
    assert mpl.rcParams["axes.grid"] == before


def test_a_band_lies_between_its_bounds():
    _, ax = plt.subplots()
    x = np.arange(3.0)
    assert figures.line_with_band(ax, x, x, x - 1, x + 2, "a") is ax
    extents = ax.collections[0].get_paths()[0].get_extents()
    assert (extents.ymin, extents.ymax) == (-1, 4)


class Branched(nn.Module):
    """Two convolutions, a dilated branch beside them, joined, pooled, summed with itself, classified."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(8))
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.context = nn.Conv2d(8, 4, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.PixelShuffle(2)
        self.classifier = nn.Linear(3, 5)

    def forward(self, x):
        x = self.second(self.encoder(x))
        x = self.pool(torch.cat([x, self.context(x)], dim=1))
        return self.classifier(self.up(x).mean((2, 3)))


def test_stages_are_the_modules_shapes_and_connections():
    model = Branched().train()
    found = stages(model, (3, 8, 8))
    assert [(stage.label, stage.modules, stage.shape, stage.sources) for stage in found] == [
        ("input", 1, (3, 8, 8), set()),
        ("3×3 conv", 2, (8, 8, 8), {0}),
        ("3×3 conv, dilation 2", 1, (4, 8, 8), {1}),
        ("pooling", 1, (12, 4, 4), {1, 2}),
        ("pixel shuffle", 1, (3, 8, 8), {3}),
        ("linear", 1, (5,), {4}),
    ]
    assert model.training
    assert not model.second._forward_hooks
    assert model.encoder[2].num_batches_tracked == 0


def test_a_convolution_that_a_branch_reads_does_not_melt_into_the_next():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            x = self.first(x)
            return self.norm(x + self.second(x))

    assert [(stage.label, stage.sources) for stage in stages(Residual(), (3, 4, 4))] == [
        ("input", set()),
        ("3×3 conv", {0}),
        ("3×3 conv", {1}),
        ("sum", {1, 2}),
    ]


def test_an_architecture_has_a_box_per_stage_as_high_as_its_resolution():
    _, ax = plt.subplots()
    assert figures.architecture(ax, Branched(), (3, 8, 8)) is ax
    heights = [patch.get_height() for patch in ax.patches if isinstance(patch, mpl.patches.Rectangle)]
    assert heights == pytest.approx([1, 1, 1, 0.5, 1, 0.125])
    assert "pooling\n12×4×4" in [text.get_text() for text in ax.texts]


def test_a_small_palette_keeps_the_colours_of_parts_apart():
    """Figure 1 of yin2020 once showed upper lip and inner mouth in one dark red."""
    picture = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    names = [name for name in figures.PART_COLOURS if name in ("upper_lip", "cavity", "nose", "lower_lip")]
    picture[:40, :160] = np.repeat(figures.part_colours(names), 40, axis=0)[None]
    figure, ax = plt.subplots(figsize=(2, 2), dpi=100)
    ax.set_axis_off()
    ax.set_position((0, 0, 1, 1))
    ax.imshow(picture, interpolation="nearest")
    seen = Image.open(BytesIO(figures._rendered(figure, palette=True, dpi=100, format="png"))).convert("RGB")
    found = {tuple(colour) for colour in np.array(seen)[20, 20:160:40].tolist()}
    assert found == {tuple(colour) for colour in figures.part_colours(names).tolist()}


def test_a_small_palette_keeps_paper_white():
    picture = np.random.default_rng(0).integers(240, 255, (200, 200, 3)).astype(np.uint8)  # nearly white, too
    figure, ax = plt.subplots(figsize=(2, 2), dpi=100)
    ax.imshow(picture, interpolation="nearest")
    seen = Image.open(BytesIO(figures._rendered(figure, palette=True, dpi=100, format="png"))).convert("RGB")
    assert seen.getpixel((1, 1)) == (255, 255, 255)
