"""The grid transformer is the plain crop where it should be, and its inverse takes the crop back."""

import pytest
import torch

from reprolib.models.spatial_transformer import (
    centres_of_theta,
    constrain,
    crop,
    place,
    roi_align,
    theta_of_centres,
)

FRAME = (90, 120)
CENTRES = torch.tensor([[[30.0, 40.0], [77.0, 51.0]], [[20.0, 15.0], [100.0, 70.0]]])


@pytest.fixture
def images():
    return torch.rand(2, 3, *FRAME, generator=torch.Generator().manual_seed(0))


def thetas(patch, centres=CENTRES, frame=FRAME):
    return theta_of_centres(centres, frame=frame, patch=patch)


def slices(images, patch, centres=CENTRES):
    """What the baseline cuts out: `patch` pixels from ⌊patch/2⌋ before the centre."""
    rows = []
    for image, of_image in zip(images, centres.long().tolist(), strict=True):
        corners = [(x - patch // 2, y - patch // 2) for x, y in of_image]
        rows.append(torch.stack([image[:, y : y + patch, x : x + patch] for x, y in corners]))
    return torch.stack(rows)


def test_theta_of_a_crop_of_81_in_a_frame_of_1024():
    theta = theta_of_centres(torch.tensor([[[0.0, 1023.0]]]), frame=(1024, 1024), patch=81)
    torch.testing.assert_close(theta[0, 0], torch.tensor([[80 / 1023, 0, -1], [0, 80 / 1023, 1]]))


def test_parts_can_have_patches_of_their_own():
    assert thetas([13, 25])[0, :, 0, 0].tolist() == pytest.approx([12 / 119, 24 / 119])


def test_centres_come_back_from_theta():
    assert torch.equal(centres_of_theta(thetas(21), frame=FRAME), CENTRES.double())


@pytest.mark.parametrize("patch", [3, 13, 21])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_an_odd_patch_equals_the_plain_crop(images, patch, mode):
    assert torch.equal(crop(images, thetas(patch), patch=patch, mode=mode), slices(images, patch))


def test_an_odd_patch_is_exact_in_a_large_frame_too():
    image = torch.rand(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    centres = torch.tensor([[[983.0, 41.0], [500.0, 983.0]]])
    theta = theta_of_centres(centres, frame=(1024, 1024), patch=81)
    assert torch.equal(crop(image, theta, patch=81), slices(image, 81, centres))


def test_an_even_patch_is_the_mean_of_four_pixels_and_so_differs_from_the_plain_crop(images):
    even = crop(images, thetas(12), patch=12)
    padded = slices(images, 13)  # one pixel more on the right and below
    mean = (padded[..., 1:, 1:] + padded[..., 1:, :-1] + padded[..., :-1, 1:] + padded[..., :-1, :-1]) / 4
    torch.testing.assert_close(even, mean, atol=1e-5, rtol=0)
    assert (even - slices(images, 12)).abs().max() > 0.1


def test_labels_of_an_even_patch_are_the_baselines(images):
    assert torch.equal(crop(images, thetas(12), patch=12, mode="nearest"), slices(images, 12))


def test_outside_the_picture_is_zero():
    corner = crop(torch.ones(1, 1, *FRAME), thetas(5, torch.tensor([[[0.0, 0.0]]])), patch=5)
    expected = torch.zeros(5, 5)
    expected[2:, 2:] = 1
    torch.testing.assert_close(corner[0, 0, 0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("patch", [13, 12])
def test_what_was_cropped_comes_back_to_its_place(images, patch):
    theta = thetas(patch)
    placed = place(crop(images, theta, patch=patch, mode="nearest"), theta, frame=FRAME)
    window = place(torch.ones(2, 2, 1, patch, patch), theta, frame=FRAME)
    assert window.sum(dim=(2, 3, 4)).eq(patch**2).all()
    assert torch.equal(placed, images[:, None] * window)


def test_place_undoes_a_scale():
    theta = torch.tensor([[[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]])  # the middle half
    placed = place(torch.ones(1, 1, 1, 7, 7), theta, frame=(9, 9))[0, 0, 0]
    assert placed[2:7, 2:7].eq(1).all()
    assert placed[0].eq(0).all() and placed[:, -1].eq(0).all()


def test_an_unknown_centre_takes_nothing_and_covers_nothing(images):
    theta = thetas(13, torch.full((2, 2, 2), torch.nan))
    assert crop(images, theta, patch=13).eq(0).all()
    assert roi_align(images, theta, patch=13).eq(0).all()
    assert place(torch.ones(2, 2, 1, 13, 13), theta, frame=FRAME).eq(0).all()


def test_a_crop_of_no_width_covers_nothing():
    assert place(torch.ones(1, 1, 1, 5, 5), torch.zeros(1, 1, 2, 3), frame=(9, 9)).eq(0).all()


def test_constrained_theta_has_four_free_entries():
    theta = torch.arange(1.0, 7.0).view(2, 3)
    assert constrain(theta).tolist() == [[1, 0, 3], [0, 5, 6]]


def test_isotropic_theta_has_three():
    theta = torch.arange(1.0, 7.0).view(2, 3)
    assert constrain(theta, isotropic=True).tolist() == [[3, 0, 3], [0, 3, 6]]
    batch = torch.rand(2, 6, 2, 3, requires_grad=True)
    assert constrain(batch, isotropic=True).unbind(1)[0].shape == (2, 2, 3)
    (gradient,) = torch.autograd.grad(constrain(batch, isotropic=True)[..., 0, 0].sum(), batch)
    assert torch.equal(gradient[0, 0], torch.tensor([[0.5, 0, 0], [0, 0.5, 0]]))


def random_theta(generator):
    theta = torch.tensor([[[[0.31, 0.0, 0.13], [0.0, 0.27, -0.21]], [[0.4, 0.0, -0.35], [0.0, 0.37, 0.24]]]])
    return (theta + 0.02 * torch.rand(theta.shape, generator=generator)).double().requires_grad_()


def test_gradients_of_the_crop_are_exact():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 2, 9, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, t: crop(i, t, patch=3), (image, random_theta(generator)))


def test_gradients_of_the_inverse_are_exact():
    generator = torch.Generator().manual_seed(1)
    patches = torch.rand(1, 2, 1, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    theta = random_theta(generator)
    assert torch.autograd.gradcheck(lambda p, t: place(p, t, frame=(5, 6), mode="bilinear"), (patches, theta))


def test_theta_has_a_gradient_at_whole_pixels_too(images):
    theta = thetas(13).requires_grad_()
    crop(images, theta, patch=13).square().sum().backward()
    assert theta.grad[..., 0, 0].abs().min() > 0 and theta.grad[..., 2].abs().min() > 0


def test_roi_align_equals_the_plain_crop_and_leaves_theta_without_a_gradient(images):
    theta = thetas(13).requires_grad_()
    patches = roi_align(images, theta, patch=13)
    torch.testing.assert_close(patches, slices(images, 13), atol=1e-6, rtol=0)
    assert not patches.requires_grad
