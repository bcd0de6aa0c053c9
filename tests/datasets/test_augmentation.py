import pytest
import torch

from reprolib.datasets import augmentation
from reprolib.datasets.augmentation import add_noise, augment, jitter, mirror, resize_and_crop


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    labels = torch.randint(0, 5, (6, 4, 8), generator=seeded()).repeat_interleave(4, 1).repeat_interleave(4, 2)
    colours = torch.rand(5, 3, generator=seeded(1)) * 1.2 - 0.6
    return {"images": colours[labels].permute(0, 3, 1, 2).contiguous(), "labels": labels, "edges": labels > 2}


def test_the_generator_decides_everything(batch):
    one, other = augment(batch, seeded(3)), augment(batch, seeded(3))
    torch.testing.assert_close(one["images"], other["images"], rtol=0, atol=0)
    assert (one["labels"] == other["labels"]).all()
    assert (augment(batch, seeded(4))["images"] != one["images"]).any()


def test_shapes_types_and_range_stay(batch):
    changed = augment(batch, seeded())
    assert changed["images"].shape == batch["images"].shape and changed["images"].dtype == torch.float32
    assert changed["labels"].shape == batch["labels"].shape and changed["labels"].dtype == torch.int64
    assert changed["images"].min() >= -1 and changed["images"].max() <= 1


def test_the_batch_itself_is_left_alone(batch):
    before = {name: value.clone() for name, value in batch.items()}
    augment(batch, seeded())
    assert all((batch[name] == before[name]).all() for name in batch)


def test_pictures_are_changed_apart_from_one_another(batch):
    same = {name: value[:1].expand(6, *value.shape[1:]) for name, value in batch.items()}
    for change in (jitter, add_noise, resize_and_crop):
        assert len(change(same, seeded())["images"].flatten(1).unique(dim=0)) > 1


def test_jitter_of_no_strength_is_none(batch):
    unchanged = jitter(batch, seeded(), brightness=0, contrast=0, saturation=0, hue=0)
    torch.testing.assert_close(unchanged["images"], batch["images"])


def test_jitter_leaves_grey_grey():
    grey = {
        "images": torch.rand(4, 1, 8, 8).mul(1.6).sub(0.8).expand(4, 3, 8, 8),
        "labels": torch.zeros(4, 8, 8).long(),
    }
    changed = jitter(grey, seeded())["images"]
    torch.testing.assert_close(changed[:, 0], changed[:, 1])
    torch.testing.assert_close(changed[:, 0], changed[:, 2])


def test_turning_the_hue_keeps_the_luma_and_a_full_turn_keeps_the_colour(batch):
    images, angle = batch["images"], torch.full((6, 1, 1, 1), 0.3)
    turned = augmentation._turn_hue(images, angle)
    assert (turned - images).abs().max() > 0.05
    torch.testing.assert_close(augmentation._grey(turned), augmentation._grey(images))
    torch.testing.assert_close(augmentation._turn_hue(images, 0 * angle + 2 * torch.pi), images, atol=1e-5, rtol=0)


def test_a_mirror_turns_picture_and_labels(batch):
    turned = mirror(batch, seeded(), probability=1)
    torch.testing.assert_close(turned["images"], batch["images"].flip(-1))
    assert (turned["labels"] == batch["labels"].flip(-1)).all()
    assert (mirror(batch, seeded(), probability=0)["images"] == batch["images"]).all()


def test_noise_has_the_strength_asked_for():
    plain = {"images": torch.zeros(200, 3, 8, 8), "labels": torch.zeros(200, 8, 8).long()}
    deviation = add_noise(plain, seeded(), probability=1, most=0.1)["images"].std(dim=(1, 2, 3)) / 2
    assert deviation.max() < 0.12
    assert abs(deviation.mean() - 0.05) < 0.01  # uniform from 0 to 0.1


def test_a_picture_of_the_same_size_stays(batch):
    same = resize_and_crop(batch, seeded(), smallest=1, largest=1)
    torch.testing.assert_close(same["images"], batch["images"], atol=1e-5, rtol=0)
    assert (same["labels"] == batch["labels"]).all()


def test_a_smaller_picture_stands_in_black_background():
    white = {"images": torch.ones(5, 3, 16, 32), "labels": torch.ones(5, 16, 32).long()}
    small = resize_and_crop(white, seeded(), smallest=0.5, largest=0.5)
    assert (small["labels"].sum(dim=(1, 2)) == 8 * 16).all()
    outside = (small["labels"] == 0)[:, None].expand(5, 3, 16, 32)
    # bilinear interpolation leaves half a pixel of blend along the border
    assert (small["images"][outside] < 0).all() and (small["images"][outside] == -1).float().mean() > 0.8
    places = {tuple(mask.nonzero()[0].tolist()) for mask in small["labels"]}
    assert len(places) > 1


def test_a_larger_picture_is_cropped_without_a_border(batch):
    white = {**batch, "images": torch.ones_like(batch["images"]), "labels": torch.ones_like(batch["labels"])}
    large = resize_and_crop(white, seeded(), smallest=1.5, largest=1.5)
    assert (large["labels"] == 1).all()
    # at the picture's own edge half a pixel of it is blended with black
    assert (large["images"] > 0).all() and (large["images"] > 0.99).float().mean() > 0.97


def test_labels_move_with_their_picture():
    labels = torch.zeros(20, 32, 64, dtype=torch.int64)
    labels[:, 10:22, 20:44] = 1
    images = (labels[:, None] * 2.0 - 1).expand(20, 3, 32, 64)
    moved = resize_and_crop({"images": images, "labels": labels}, seeded())
    assert ((moved["images"][:, 0] > 0) == (moved["labels"] == 1)).float().mean() > 0.995
