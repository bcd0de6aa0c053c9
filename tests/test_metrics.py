"""Metrics against hand-computed values and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as reference

from reprolib import metrics

LABEL = np.array([[[0, 0, 1], [1, 1, 255]]], dtype=np.uint8)
PRED = np.array([[[0, 1, 1], [1, 0, 0]]], dtype=np.uint8)


def random_maps(*, classes: int, images: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, (images, 9, 7)), rng.integers(0, classes, (images, 9, 7))


def test_confusion_counts_annotated_by_predicted_and_skips_ignored_pixels():
    assert metrics.confusion(PRED, LABEL, 3).tolist() == [[[1, 1, 0], [1, 2, 0], [0, 0, 0]]]


def test_confusion_counts_only_where_asked():
    where = np.array([[[True, False, False], [True, True, True]]])
    assert metrics.confusion(PRED, LABEL, 2, where=where).tolist() == [[[1, 0], [1, 1]]]


def test_confusion_of_an_empty_mask_is_zero_and_its_metrics_are_nan():
    conf = metrics.confusion(PRED, LABEL, 2, where=np.zeros((1, 2, 3), bool))
    assert conf.sum() == 0
    assert np.isnan([metrics.accuracy(conf)[0], metrics.mean_iou(conf)[0], metrics.mean_recall(conf)[0]]).all()


def test_confusion_keeps_images_apart_and_takes_tensors():
    pred, label = random_maps(classes=4)
    whole = metrics.confusion(torch.from_numpy(pred), torch.from_numpy(label), 4)
    assert whole.dtype == np.int64
    for i in range(3):
        assert (whole[i] == metrics.confusion(pred[i : i + 1], label[i : i + 1], 4)[0]).all()


@pytest.mark.parametrize(("pred", "label"), [(PRED, LABEL[0]), (PRED[0], LABEL[0])])
def test_confusion_refuses_maps_that_are_not_n_h_w_alike(pred, label):
    with pytest.raises(ValueError, match=r"must both be \(N, H, W\)"):
        metrics.confusion(pred, label, 2)


def test_confusion_refuses_values_that_are_no_class():
    with pytest.raises(ValueError, match="pred holds classes 0…1, expected 0…0"):
        metrics.confusion(PRED, np.zeros_like(LABEL), 1)


def test_class_metrics_by_hand():
    conf = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])  # the third class occurs in neither map
    np.testing.assert_allclose(metrics.iou(conf), [6 / 9, 3 / 6, np.nan])
    np.testing.assert_allclose(metrics.recall(conf), [6 / 8, 3 / 4, np.nan])
    np.testing.assert_allclose(metrics.precision(conf), [6 / 7, 3 / 5, np.nan])
    np.testing.assert_allclose(metrics.f1(conf), [12 / 15, 6 / 9, np.nan])
    np.testing.assert_allclose(metrics.accuracy(conf), 9 / 12)
    np.testing.assert_allclose(metrics.mean_iou(conf), (6 / 9 + 3 / 6) / 2)
    np.testing.assert_allclose(metrics.mean_recall(conf), 3 / 4)


def test_a_class_that_is_predicted_but_not_annotated_has_iou_zero_and_no_recall():
    conf = np.array([[5, 5], [0, 0]])
    np.testing.assert_allclose(metrics.iou(conf), [0.5, 0])
    np.testing.assert_allclose(metrics.recall(conf), [0.5, np.nan])


def test_metrics_work_over_the_last_two_axes():
    conf = np.random.default_rng(0).integers(1, 9, (2, 5, 3, 3))
    for metric in (metrics.iou, metrics.f1, metrics.recall, metrics.precision, metrics.accuracy, metrics.mean_iou):
        np.testing.assert_array_equal(metric(conf)[1, 4], metric(conf[1, 4]))


@pytest.mark.parametrize("seed", range(3))
def test_pooled_metrics_equal_torchmetrics(seed):
    pred, label = random_maps(classes=4, seed=seed)
    conf = metrics.confusion(pred, label, 4).sum(0)
    given = (torch.from_numpy(pred), torch.from_numpy(label))
    per_class = {"num_classes": 4, "average": "none"}
    theirs_conf = reference.multiclass_confusion_matrix(*given, num_classes=4)
    np.testing.assert_array_equal(conf, theirs_conf)
    np.testing.assert_allclose(metrics.iou(conf), reference.multiclass_jaccard_index(*given, **per_class), 1e-6)
    np.testing.assert_allclose(metrics.f1(conf), reference.multiclass_f1_score(*given, **per_class), 1e-6)
    np.testing.assert_allclose(metrics.recall(conf), reference.multiclass_recall(*given, **per_class), 1e-6)
    np.testing.assert_allclose(metrics.precision(conf), reference.multiclass_precision(*given, **per_class), 1e-6)


def test_merging_classes_equals_merging_the_maps():
    pred, label = random_maps(classes=3)
    face = metrics.merge_classes(metrics.confusion(pred, label, 3), ((0, 2), (1,)))
    assert (face == metrics.confusion(pred == 1, label == 1, 2)).all()


@pytest.mark.parametrize("groups", [((0,), (1,)), ((0, 1), (1, 2))])
def test_merging_refuses_groups_that_lose_or_repeat_a_class(groups):
    with pytest.raises(ValueError, match="exactly once"):
        metrics.merge_classes(np.ones((3, 3), int), groups)


def test_components_touch_at_corners_but_only_within_a_class():
    label = np.array([[[1, 0, 2], [0, 1, 2], [0, 0, 1]]])  # a diagonal of class 1, and class 2: two components
    pred = np.array([[[1, 0, 1], [0, 0, 0], [2, 0, 1]]])  # four
    assert metrics.sparsity(pred, label).tolist() == [2.0]
    assert metrics.sparsity(label, label).tolist() == [0.0]


def test_sparsity_counts_neither_background_nor_ignored_pixels():
    label = np.array([[[0, 255, 1]]])
    assert metrics.sparsity(np.array([[[0, 1, 0]]]), label).tolist() == [1.0]
    assert metrics.sparsity(np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), int)).tolist() == [0.0, 0.0]


def test_superpixel_accuracy_compares_majorities_once_a_superpixel():
    superpixels = np.array([[[0, 0, 0], [7, 7, 9]], [[0, 0, 0], [0, 0, 0]]])
    label = np.array([[[1, 1, 0], [2, 2, 255]], [[1, 1, 1], [1, 0, 0]]])
    pred = np.array([[[0, 1, 1], [2, 0, 1]], [[0, 0, 0], [0, 1, 1]]])
    # image 0: superpixel 0 right (1, 1), 7 predicted 0 in a tie of 0 and 2, 9 not annotated; image 1: wrong
    assert metrics.superpixel_accuracy(pred, label, superpixels).tolist() == [[1, 2], [0, 1]]


def test_superpixel_accuracy_is_pixel_accuracy_when_every_pixel_is_a_superpixel():
    pred, label = random_maps(classes=3)
    ids = np.broadcast_to(np.arange(63).reshape(9, 7), label.shape)
    assert metrics.superpixel_accuracy(pred, label, ids).sum(0).tolist() == [(pred == label).sum(), 189]


def test_superpixel_accuracy_refuses_negative_ids():
    with pytest.raises(ValueError, match="ids ≥ 0"):
        metrics.superpixel_accuracy(PRED, LABEL, np.full(LABEL.shape, -1))


def test_a_box_covers_its_pixels_and_stops_at_the_edge():
    mask = metrics.box_mask([[1, 0, 2, 3], [-1, -1, 2, 2], [3, 1, 99, 1]], (4, 5))
    assert mask.shape == (3, 4, 5)
    assert mask[0].astype(int).tolist() == [[0, 1, 1, 0, 0]] * 3 + [[0] * 5]
    assert np.argwhere(mask[1]).tolist() == [[0, 0]]
    assert np.argwhere(mask[2]).tolist() == [[1, 3], [1, 4]]


def test_the_mean_iou_may_leave_the_background_out():
    conf = np.array([[8, 0, 0], [0, 1, 1], [0, 0, 2]])
    assert metrics.mean_iou(conf) == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    assert metrics.mean_iou(conf, first=1) == pytest.approx((1 / 2 + 2 / 3) / 2)
