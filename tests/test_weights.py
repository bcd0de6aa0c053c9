"""How the weights of the tools are trained: labels that are sets of classes, sides, and where a training stopped."""

import numpy as np
import pytest
import torch
from PIL import Image

from reprolib.models.face_parser import FEATURES
from reprolib.weights import train
from reprolib.weights.train import ANY, Face, augmented, f1_scores, polygons, set_loss, sides_by_place

ALLOWED = torch.zeros(256, 3, dtype=torch.bool)
ALLOWED[:3] = torch.eye(3, dtype=torch.bool)
ALLOWED[3, :2] = True  # class 0 or 1
ALLOWED[ANY] = True


def test_a_pixel_whose_label_is_a_set_wants_the_probability_of_the_set():
    probabilities = torch.tensor([0.2, 0.3, 0.5])
    scores = probabilities.log().view(1, 3, 1, 1)
    loss = set_loss(scores, torch.full((1, 1, 1), 3), ALLOWED)
    assert loss.item() == pytest.approx(-np.log(0.5) + 0.5 * 0.0, abs=1e-5)  # Dice knows no pixel


def test_a_pixel_of_any_class_costs_nothing():
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = set_loss(scores, torch.full((1, 2, 2), ANY), ALLOWED)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.zeros_like(scores), atol=1e-6, rtol=0)


def test_known_pixels_cost_cross_entropy_and_half_the_dice_loss():
    labels = torch.tensor([[[0, 1], [2, 2]]])
    perfect = 40 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert set_loss(perfect, labels, ALLOWED).item() == pytest.approx(0, abs=1e-5)
    even = torch.zeros(1, 3, 2, 2)
    # overlap and total of classes 1 and 2: 1/3 and 1/3·4 + 1; 2/3 and 1/3·4 + 2
    dice = 1 - np.mean([(2 / 3 + 1) / (7 / 3 + 1), (4 / 3 + 1) / (10 / 3 + 1)])
    assert set_loss(even, labels, ALLOWED).item() == pytest.approx(np.log(3) + 0.5 * dice, abs=1e-5)


def test_left_is_the_persons_left_however_the_file_is_labelled():
    labels = np.zeros((4, 10), np.uint8)
    labels[0, 1], labels[0, 8] = 4, 5  # the eye on the image's left is called left: mirrored
    labels[1, 1], labels[1, 8] = 7, 6  # brows as they should be
    labels[2, 2] = 8  # one ear alone, left of the nose: the right one
    labels[3, 5] = 2
    found = sides_by_place(labels)
    assert found[0, [1, 8]].tolist() == [5, 4]
    assert found[1, [1, 8]].tolist() == [7, 6]
    assert found[2, 2] == 9


def face():
    points = np.zeros((68, 2))
    for first, x in ((36, 30), (42, 70)):
        turn = np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
        points[first : first + 6] = np.stack([x + 10 * np.cos(turn), 40 + 5 * np.sin(turn)], 1)
    for indices, wide, high in ((range(48, 60), 20, 12), (range(60, 68), 12, 5)):
        turn = np.linspace(np.pi, 3 * np.pi, len(indices), endpoint=False)
        points[list(indices)] = np.stack([50 + wide * np.cos(turn), 80 + high * np.sin(turn)], 1)
    return points


def test_hand_set_points_become_lips_inner_mouth_and_eyes_with_a_rim():
    labels = polygons(face(), (100, 100))
    lips = {"upper lip": (50, 72), "inner mouth": (50, 80), "lower lip": (50, 88)}
    at = {FEATURES.index(name): xy for name, xy in {"right eye": (30, 40), "left eye": (70, 40), **lips}.items()}
    for k, (x, y) in at.items():
        assert labels[y, x] == k
    assert labels[40, 81] == 10 and labels[40, 19] == 11  # beside the eyes: perhaps still eye
    assert labels[10, 10] == 9  # neither eye nor lips


def test_a_mirrored_face_swaps_its_sides():
    image = np.zeros((512, 512, 3), np.uint8)
    labels = np.zeros((512, 512), np.uint8)
    labels[200:260, 320:400], labels[200:260, 112:192] = 3, 4
    face = Face(image, labels, train.face_frame.whole(512, 512))
    for seed in range(12):
        _, found = augmented(face, train.face_frame.FEATURES, "features", [face], np.random.default_rng(seed))
        left, right = (np.nonzero(found == k)[1] for k in (3, 4))
        if len(left) and len(right):
            assert left.mean() > right.mean()


def test_f1_is_pooled_over_faces_and_leaves_out_what_is_not_known():
    window = train.face_frame.Window(down=0, half=1, size=32)

    class Half(torch.nn.Module):
        def forward(self, images):
            scores = torch.zeros(len(images), 2, 32, 32)
            scores[:, 1, :, :16] = 1
            return scores

    labels = np.zeros((32, 32), np.uint8)
    labels[:, :8] = 1
    labels[16:] = ANY
    found = f1_scores(
        Half(), [Face(np.zeros((32, 32, 3), np.uint8), labels, train.face_frame.whole(32, 32))], window, 2
    )
    np.testing.assert_allclose(found, [2 * 256 / (256 + 384), 2 * 128 / (256 + 128)])


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    root = tmp_path / "data"
    for folder in ("celebamask/images", "celebamask/masks", "landmarks300w/helen_train"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["file,part"]
    for i in range(13):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(root / f"celebamask/images/{i}.jpg")
        Image.fromarray(rng.integers(0, 19, (64, 64), dtype=np.uint8)).save(root / f"celebamask/masks/{i}.png")
        lines.append(f"{i},{'train' if i < 12 else 'validation'}")
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    points = "\n".join(f"{x} {y}" for x, y in face())
    (root / "landmarks300w/helen_train/a_1.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(root / "landmarks300w/helen_train/a_1.jpg")
    monkeypatch.setattr(train, "SPLIT", tmp_path / "split.csv")
    monkeypatch.setattr(train.face_frame, "FEATURES", train.face_frame.Window(down=0.19, half=0.58, size=32))
    random = train.FaceParser(classes=2)
    state = {f"features.{k}": v for stage in random.encoder for k, v in stage.state_dict().items()}
    monkeypatch.setattr(train, "imagenet", lambda: state)

    def stop(*_, **__):
        raise KeyboardInterrupt

    train.train("features", data_root=root, out=tmp_path / "whole", epochs=4)
    with monkeypatch.context() as patch:
        patch.setattr(train, "f1_scores", stop)  # of the third epoch
        with pytest.raises(KeyboardInterrupt):
            train.train("features", data_root=root, out=tmp_path / "parts", epochs=4)
    assert (tmp_path / "parts/features.state").is_file()
    train.train("features", data_root=root, out=tmp_path / "parts", epochs=4)
    with np.load(tmp_path / "whole/features.npz") as whole, np.load(tmp_path / "parts/features.npz") as parts:
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], parts[name])
