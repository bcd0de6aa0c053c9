"""Every check runs on both forms: per image (Eq. 8) and batch-pooled (as released)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.errors import UserError
from reprolib.losses.blobs import blobs_from_components, blobs_from_labels, one_blob_per_pixel
from reprolib.losses.consensus import consensus_loss, consensus_loss_batch_pooled

FORMS = [consensus_loss, consensus_loss_batch_pooled]
both_forms = pytest.mark.parametrize("loss", FORMS)


def loop_per_image(logits, labels, blobs, *, alpha, beta):
    """Eq. 8, word by word."""
    images = []
    for z, y, c in zip(logits, labels, blobs, strict=True):
        p, used, terms = z.softmax(0), (c >= 0) & (y != 255), []
        for i in c[used].unique():
            members = (c == i) & used
            mean = p[:, members].mean(1, keepdim=True)
            nll = -mean[y[members][0], 0].log()
            divergence = (mean * (mean / p[:, members]).log()).sum(0).mean()
            terms.append(alpha * nll + beta * divergence)
        if terms:
            images.append(torch.stack(terms).mean())
    return torch.stack(images).mean()


def loop_batch_pooled(logits, labels, blobs, *, alpha, beta):
    """The release: ids pooled over the batch, divergence over classes and pixels, first term over all N images."""
    images, classes = logits.shape[:2]
    used, terms = (blobs >= 0) & (labels != 255), []
    for i in blobs[used].unique():
        nll, divergence, pixels = 0, 0, 0
        for z, y, members in zip(logits, labels, (blobs == i) & used, strict=True):
            if members.any():
                p = z.softmax(0)[:, members]
                mean = p.mean(1, keepdim=True)
                nll = nll - mean[y[members][0], 0].log()
                divergence = divergence + (mean * (mean / p).log()).sum()
                pixels += p.shape[1]
        terms.append(alpha * nll / images + beta * divergence / (classes * pixels))
    return torch.stack(terms).mean()


LOOPS = {consensus_loss: loop_per_image, consensus_loss_batch_pooled: loop_batch_pooled}


def batch(*, images=3, classes=3, height=9, width=7, ids=5, seed=0, scale=2.0, ignored=0.1):
    """Random logits and blobs, a random label for each blob, some pixels ignored by label and some by blob."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, ids, (images, height, width))
    labels = rng.integers(0, classes, (images, ids))[np.arange(images)[:, None, None], blobs]
    labels[rng.random(labels.shape) < ignored] = 255
    blobs[rng.random(blobs.shape) < ignored] = -1
    logits = scale * rng.standard_normal((images, classes, height, width))
    return torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(blobs)


def value_and_gradient(loss, logits, labels, blobs, **weights):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, labels, blobs, **weights)
    value.backward()
    return value.detach(), logits.grad


@both_forms
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_value_and_gradient_equal_a_plain_loop_over_blobs(loss, dtype, tolerance):
    for seed in range(5):
        logits, labels, blobs = batch(seed=seed)
        value, gradient = value_and_gradient(loss, logits.to(dtype), labels, blobs, alpha=10.0, beta=5.0)
        expected, its_gradient = value_and_gradient(LOOPS[loss], logits, labels, blobs, alpha=10.0, beta=5.0)
        assert value.dtype == gradient.dtype == dtype
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(gradient.double(), its_gradient, rtol=tolerance, atol=tolerance)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    images=st.integers(1, 3),
    classes=st.integers(2, 5),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    ids=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    alpha=st.floats(0, 20),
    beta=st.floats(0, 20),
    loss=st.sampled_from(FORMS),
)
def test_equal_to_the_loop_for_all_shapes_and_weights(images, classes, height, width, ids, seed, alpha, beta, loss):
    logits, labels, blobs = batch(
        images=images, classes=classes, height=height, width=width, ids=ids, seed=seed, ignored=0.0
    )
    value, gradient = value_and_gradient(loss, logits, labels, blobs, alpha=alpha, beta=beta)
    expected, its_gradient = value_and_gradient(LOOPS[loss], logits, labels, blobs, alpha=alpha, beta=beta)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, its_gradient, rtol=1e-9, atol=1e-9)


@both_forms
def test_consensus_equals_cross_entropy_when_every_pixel_is_a_blob(loss):
    logits, labels, _ = batch(ignored=0.0)
    singletons = torch.from_numpy(one_blob_per_pixel(labels.numpy()))
    value, gradient = value_and_gradient(loss, logits, labels, singletons, alpha=10.0, beta=5.0)
    expected, its_gradient = value_and_gradient(lambda z, y, c: 10 * F.cross_entropy(z, y), logits, labels, singletons)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, its_gradient)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), loss=st.sampled_from(FORMS))
def test_without_beta_or_alpha_the_terms_are_not_negative_and_add_up(seed, loss):
    data = batch(seed=seed)
    first, second = loss(*data, alpha=1.0, beta=0.0), loss(*data, alpha=0.0, beta=1.0)
    assert first >= 0
    assert second >= 0
    torch.testing.assert_close(loss(*data, alpha=10.0, beta=5.0), 10 * first + 5 * second)


@both_forms
def test_divergence_vanishes_where_all_pixels_of_a_blob_agree(loss):
    logits = torch.tensor([0.3, -1.0, 2.0]).view(1, 3, 1, 1).expand(2, 3, 128, 128)
    labels = torch.zeros(2, 128, 128, dtype=torch.long)
    assert loss(logits, labels, labels, alpha=0.0, beta=1.0).item() == pytest.approx(0, abs=1e-7)


@both_forms
def test_two_pixels_by_hand(loss):
    # p = (0.8, 0.2) and (0.4, 0.6): mean (0.6, 0.4)
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=torch.float64)
    logits = p.log().T.reshape(1, 2, 1, 2)
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    divergence = sum(0.6 * np.log(0.6 / a) + 0.4 * np.log(0.4 / b) for a, b in p.numpy())
    share = {consensus_loss: 1 / 2, consensus_loss_batch_pooled: 1 / (2 * 2)}[loss]  # the released 1 / C
    expected = -10 * np.log(0.6) + 5 * share * divergence
    assert loss(logits, labels, labels).item() == pytest.approx(expected, rel=1e-12)


@both_forms
@pytest.mark.parametrize("size", [200.0, 5000.0])
def test_extreme_logits_give_finite_loss_and_gradient(loss, size):
    labels = torch.tensor([[[0, 0, 1, 1]]])
    wrong = torch.tensor([1.0, 1.0, -1.0, -1.0])
    logits = size * torch.stack([-wrong, wrong]).view(1, 2, 1, 4)
    value, gradient = value_and_gradient(loss, logits, labels, labels)
    assert value.item() == pytest.approx(10 * 2 * size)  # both blobs are sure of the wrong class
    assert gradient.isfinite().all()
    assert (gradient[0, 0, 0, :2] < 0).all()  # and learn out of it


@both_forms
def test_large_but_safe_logits_do_not_jump_where_the_shift_sets_in(loss):
    logits, labels, blobs = batch(scale=1.0)
    for size in (20.0, 30.0):  # smallest log-probability above and below the switch at −80
        value, gradient = value_and_gradient(loss, size * logits, labels, blobs, alpha=10.0, beta=5.0)
        expected, its_gradient = value_and_gradient(LOOPS[loss], size * logits, labels, blobs, alpha=10.0, beta=5.0)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, its_gradient)


@both_forms
def test_a_blob_of_two_labels_is_an_error_that_names_it(loss):
    logits, labels, blobs = batch(ids=3, ignored=0.0)
    labels[1][blobs[1] == 2] = torch.arange(int((blobs[1] == 2).sum())) % 2
    with pytest.raises(UserError, match="blob 2 of image 1"):
        loss(logits, labels, blobs)


@both_forms
def test_labels_beyond_the_classes_are_an_error(loss):
    logits, labels, blobs = batch(ignored=0.0)
    with pytest.raises(UserError, match=r"from 0 to 2 .* found 2 to 3"):
        loss(logits, labels.clamp(max=1) + 2, blobs)


@both_forms
def test_maps_of_another_size_are_an_error(loss):
    logits, labels, blobs = batch()
    with pytest.raises(UserError, match=r"found labels \(3, 9, 7\) and blobs \(3, 9, 6\)"):
        loss(logits, labels, blobs[..., :-1])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    names=st.lists(st.integers(0, 2**62), min_size=5, max_size=5, unique=True),
    loss=st.sampled_from(FORMS),
)
def test_names_of_blobs_do_not_matter(seed, names, loss):
    logits, labels, blobs = batch(seed=seed)
    renamed = torch.where(blobs >= 0, torch.tensor(names)[blobs], -1)
    torch.testing.assert_close(loss(logits, labels, renamed), loss(logits, labels, blobs))


def test_per_image_form_is_the_mean_of_the_images():
    logits, labels, blobs = batch(images=4)
    alone = [consensus_loss(logits[i : i + 1], labels[i : i + 1], blobs[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(consensus_loss(logits, labels, blobs), torch.stack(alone).mean())


def test_released_form_dilutes_every_image_when_one_has_many_blobs():
    logits, labels, blobs = batch(images=2, ids=2, ignored=0.0)
    _, before = value_and_gradient(consensus_loss_batch_pooled, logits, labels, blobs, beta=0.0)
    labels[1], blobs[1] = 0, torch.arange(9 * 7).view(9, 7)
    _, after = value_and_gradient(consensus_loss_batch_pooled, logits, labels, blobs, beta=0.0)
    torch.testing.assert_close(after[0], before[0] * 2 / 63)


@both_forms
def test_ignored_pixels_have_no_influence(loss):
    logits, labels, blobs = batch()
    value, gradient = value_and_gradient(loss, logits, labels, blobs)
    ignored = (labels == 255) | (blobs < 0)
    assert ignored.any()
    assert (gradient.movedim(1, -1)[ignored] == 0).all()
    other = torch.where(ignored[:, None], torch.full_like(logits, 7.0), logits)
    torch.testing.assert_close(loss(other, labels, blobs), value)


@both_forms
def test_nothing_to_learn_from_is_a_loss_of_zero(loss):
    logits, labels, blobs = batch()
    value, gradient = value_and_gradient(loss, logits, torch.full_like(labels, 255), blobs)
    assert value == 0
    assert (gradient == 0).all()


def test_images_without_blobs_do_not_count():
    logits, labels, blobs = batch(images=3)
    expected = consensus_loss(logits[:2], labels[:2], blobs[:2])
    blobs[2] = -1
    torch.testing.assert_close(consensus_loss(logits, labels, blobs), expected)


@both_forms
def test_labels_may_be_bytes(loss):
    logits, labels, blobs = batch()
    assert torch.equal(loss(logits, labels.to(torch.uint8), blobs), loss(logits, labels, blobs))


@both_forms
def test_layout_in_memory_does_not_matter(loss):
    logits, labels, blobs = batch()
    value, gradient = value_and_gradient(loss, logits, labels, blobs)
    other, its_gradient = value_and_gradient(
        loss,
        logits.contiguous(memory_format=torch.channels_last),
        labels.mT.contiguous().mT,
        blobs.mT.contiguous().mT,
    )
    torch.testing.assert_close(other, value)
    torch.testing.assert_close(its_gradient, gradient)


@both_forms
def test_half_precision_logits_are_summed_in_float32(loss):
    logits, labels, blobs = batch()
    value, gradient = value_and_gradient(loss, logits.bfloat16(), labels, blobs)
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, loss(logits.bfloat16().float(), labels, blobs))


@both_forms
def test_gradient_in_float64(loss):
    logits, labels, blobs = batch(images=2, height=3, width=3, ids=2)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, blobs), logits.requires_grad_())


def test_small_divergences_survive_many_pixels():
    torch.manual_seed(0)
    logits = 1e-2 * torch.randn(1, 3, 256, 256)
    labels = torch.zeros(1, 256, 256, dtype=torch.long)
    expected = loop_per_image(logits.double(), labels, labels, alpha=0.0, beta=1.0)
    value = consensus_loss(logits, labels, labels, alpha=0.0, beta=1.0)
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)  # 3e-5 in all


def test_classes_as_blobs():
    labels = np.array([[[0, 2], [2, 255]]], np.uint8)
    assert blobs_from_labels(labels).tolist() == [[[0, 2], [2, -1]]]


def test_components_of_the_occlusion_are_blobs_from_2():
    labels = np.array(
        [
            [[2, 0, 2, 0], [0, 2, 0, 0], [1, 1, 1, 255], [2, 2, 1, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]],
        ],
        np.uint8,
    )
    blobs = blobs_from_components(labels, component_classes={2})
    assert blobs.dtype == np.int64
    # the upper three touch at corners: one component
    assert blobs[0].tolist() == [[2, 0, 2, 0], [0, 2, 0, 0], [1, 1, 1, -1], [3, 3, 1, 0]]
    assert blobs[1].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]


def test_components_of_several_classes_never_share_a_blob():
    labels = np.array([[[0, 1, 2], [1, 1, 2], [0, 2, 2]]], np.uint8)
    blobs = blobs_from_components(labels, component_classes=(0, 2))
    assert blobs[0].tolist() == [[2, 1, 4], [1, 1, 4], [3, 4, 4]]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), classes=st.sets(st.integers(0, 2)))
def test_every_blob_holds_one_label_and_only_255_is_left_out(seed, classes):
    labels = np.random.default_rng(seed).choice([0, 1, 2, 255], (2, 6, 6)).astype(np.uint8)
    blobs = blobs_from_components(labels, component_classes=classes)
    assert ((blobs == -1) == (labels == 255)).all()
    for image, of_image in zip(labels, blobs, strict=True):
        assert all(len(np.unique(image[of_image == i])) == 1 for i in np.unique(of_image))


def test_each_pixel_its_own_blob():
    labels = np.array([[[0, 1], [255, 1]], [[0, 0], [0, 0]]], np.uint8)
    assert one_blob_per_pixel(labels).tolist() == [[[0, 1], [-1, 3]], [[0, 1], [2, 3]]]
