import pytest
import torch

from reprolib.models.landmark_patches import (
    LRLP25,
    LRLP38,
    landmark_patches,
    relative_coordinates,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_landmarks_are_those_of_the_lower_face():
    assert (len(LRLP38), len(LRLP25)) == (38, 25)
    assert set(LRLP38) - set(LRLP25) == set(range(2, 15))  # what the sparse ones lack is the jaw
    assert all(list(points) == sorted(set(points)) for points in (LRLP38, LRLP25))


@pytest.mark.parametrize("size", [4, 5])
def test_patches_at_whole_pixels_are_plain_crops(size):
    frames = random(2, 3, 20, 24)
    landmarks = torch.randint(5, 15, (2, 3, 4, 2), generator=torch.Generator().manual_seed(0)).float()
    patches = landmark_patches(frames, landmarks, size)
    assert patches.shape == (2, 4, 3, size, size)
    for n in range(2):
        for t in range(3):
            for k in range(4):
                x, y = (int(v) - size // 2 for v in landmarks[n, t, k])
                assert torch.equal(patches[n, k, t], frames[n, t, y : y + size, x : x + size])


def test_landmarks_are_rounded():
    frames = random(1, 1, 20, 20)
    near, at = torch.tensor([[[[7.4, 8.6]]]]), torch.tensor([[[[7.0, 9.0]]]])
    assert torch.equal(landmark_patches(frames, near, 6), landmark_patches(frames, at, 6))


def test_beyond_the_borders_the_last_pixels_are_repeated():
    frame = torch.arange(9.0).view(1, 1, 3, 3)
    corner = landmark_patches(frame, torch.tensor([[[[0.0, 0.0]]]]), 4)[0, 0, 0]
    assert corner.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [3, 3, 3, 4]]
    far = landmark_patches(frame, torch.tensor([[[[1e6, -1e6]]]]), 4)[0, 0, 0]
    assert (far == 2).all()


def test_the_dtype_stays():
    frames = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    assert landmark_patches(frames, torch.zeros(1, 2, 3, 2), 4).dtype == torch.uint8


def face():
    """Eyes 30 apart, 40 above the base of the nose: face size 50."""
    points = random(68, 2) * 10
    points[36:42], points[42:48] = torch.tensor([0.0, 0.0]), torch.tensor([30.0, 0.0])
    points[33], points[30] = torch.tensor([15.0, 40.0]), torch.tensor([15.0, 30.0])
    points[57] = torch.tensor([25.0, 80.0])
    return points[None, None]


def test_coordinates_by_hand():
    assert relative_coordinates(face(), (33, 57)).flatten().tolist() == pytest.approx([0, 0.2, 0.2, 1.0])


def test_coordinates_do_not_depend_on_place_and_size_of_the_face():
    moved = 3 * face() + torch.tensor([17.0, -5.0])
    torch.testing.assert_close(relative_coordinates(moved, LRLP38), relative_coordinates(face(), LRLP38))


def test_frames_without_landmarks_give_zeros():
    assert torch.equal(relative_coordinates(torch.zeros(1, 2, 68, 2), LRLP25), torch.zeros(1, 2, 25, 2))
