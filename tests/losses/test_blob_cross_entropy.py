import torch
from torch.nn import functional as F

from reprolib.losses.blob_cross_entropy import blob_cross_entropy


def test_each_blob_of_each_image_weighs_the_same_whatever_its_size():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    blobs = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[0, 0, 0], blobs[0, 0, 0] = 2, 7  # image 0: one pixel against fifteen; image 1: one blob
    ce = F.cross_entropy(logits, labels, reduction="none")
    rest = (ce[0].sum() - ce[0, 0, 0]) / 15
    expected = ((ce[0, 0, 0] + rest) / 2 + ce[1].mean()) / 2
    loss = blob_cross_entropy(logits, labels, blobs)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_one_blob_an_image_is_plain_cross_entropy():
    torch.manual_seed(1)
    logits, labels = torch.randn(3, 3, 5, 5), torch.randint(0, 3, (3, 5, 5))
    loss = blob_cross_entropy(logits, labels, torch.zeros_like(labels))
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_ignored_pixels_and_images_without_blobs_do_not_count():
    torch.manual_seed(2)
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    blobs = torch.zeros_like(labels)
    blobs[1], labels[0, :2] = -1, 255
    expected = F.cross_entropy(logits[:1, :, 2:], labels[:1, 2:])
    torch.testing.assert_close(blob_cross_entropy(logits, labels, blobs), expected)
