"""Finding faces: at every size and tilt; dlib's detector is replaced where only the search is meant."""

import numpy as np
import pytest

from reprolib import face_finding
from reprolib.datasets import landmarks
from reprolib.face_finding import SEEN, find_faces

dlib = pytest.importorskip("dlib")


class OneSize:
    """A detector that, like dlib's, sees a white square of 80 pixels or more and nothing smaller."""

    def __init__(self):
        self.seen = []

    def run(self, image, upsample, threshold):
        self.seen.append(image.shape[:2])
        ys, xs = np.nonzero(image.max(-1) > 128)
        boxes = []
        for left in sorted({0} | ({image.shape[1] // 2} if (xs > image.shape[1] // 2).any() else set())):
            inside = (xs >= left) & (xs < left + image.shape[1] // 2)
            if inside.any() and np.ptp(xs[inside]) + 1 >= SEEN - 1:
                box = xs[inside].min(), ys[inside].min(), xs[inside].max(), ys[inside].max()
                boxes.append(dlib.rectangle(*map(int, box)))
        return boxes, [1.0] * len(boxes), [0] * len(boxes)


@pytest.fixture
def detector(monkeypatch):
    """The stand-in; the landmarks of a face are the corners of its box."""
    stand_in = OneSize()
    monkeypatch.setattr(landmarks, "_dlib_models", lambda: (stand_in, None))

    def place(photo, corners, to_copy):
        points = np.resize(corners.reshape(2, 2), (68, 2))
        return ((points - to_copy[:, 2]) @ np.linalg.inv(to_copy[:, :2]).T).astype(np.float32)

    monkeypatch.setattr(face_finding, "place_landmarks", place)
    return stand_in


def photo_with(*squares, height=1500, width=2000):
    photo = np.zeros((height, width, 3), np.uint8)
    for x, y, side in squares:
        photo[y : y + side, x : x + side] = 255
    return photo


@pytest.mark.parametrize("side", [45, 85, 200, 700])
def test_a_face_of_any_size_is_found_where_it_is(detector, side):
    (face,) = find_faces(photo_with((300, 200, side)))
    x, y, width, height = face.box
    assert (x, y) == pytest.approx((300, 200), abs=4) and (width, height) == pytest.approx((side, side), abs=8)


def test_a_portrait_is_seen_once_and_small(detector):
    find_faces(photo_with((50, 200, 900)))
    assert detector.seen == [(480, 640)]


def test_faces_down_to_a_third_of_the_largest_are_found_and_the_largest_is_first(detector):
    found = find_faces(photo_with((300, 200, 300), (1500, 700, 110)))
    assert [round(face.width, -1) for face in found] == [300, 110]
    assert len(find_faces(photo_with((300, 200, 300), (1500, 700, 110)), largest=True)) == 1


def test_no_copy_of_a_large_photo_is_enlarged(detector):
    assert find_faces(np.zeros((4000, 6000, 3), np.uint8)) == []
    assert max(height * width for height, width in detector.seen) == 4000 * 6000


@pytest.mark.parametrize(("score", "found"), [(0.1, True), (-0.1, False)])
def test_on_its_side_only_a_clear_face_counts(detector, monkeypatch, score, found):
    def only_upright_when_turned(image, upsample, threshold):
        boxes = [dlib.rectangle(10, 10, 99, 99)] if image.shape[0] > image.shape[1] else []
        return boxes, [score] * len(boxes), [0] * len(boxes)

    monkeypatch.setattr(detector, "run", only_upright_when_turned)
    assert bool(find_faces(photo_with(height=300, width=900))) == found


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.mark.parametrize("angle", [0, 30, -30])
def test_a_real_portrait_is_found_upright_and_tilted(astronaut, angle):
    import cv2

    from reprolib.face_frame import frame_of

    turn = cv2.getRotationMatrix2D((223, 115), angle, 1)
    (face,) = find_faces(cv2.warpAffine(astronaut, turn, (512, 512)), largest=True)
    axis = frame_of(face.points).axis
    assert np.degrees(np.arctan2(axis[1], axis[0])) == pytest.approx(-angle, abs=8)
    np.testing.assert_allclose(face.points[30], (228, 120), atol=12)  # the tip of the nose, about which it turns


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_that_nobody_turned_upright_has_its_face_found_on_its_side_or_upside_down(astronaut, quarters):
    upright = find_faces(astronaut, largest=True)[0].points
    found = find_faces(np.rot90(astronaut, quarters), largest=True)[0].points  # counterclockwise
    last = len(astronaut) - 1
    for _ in range(quarters):
        upright = np.stack([upright[:, 1], last - upright[:, 0]], 1)
    assert np.abs(found - upright).mean() < 4


def test_landmarks_of_a_large_photo_are_those_of_a_small_one(astronaut):
    large = np.kron(astronaut, np.ones((3, 3, 1), np.uint8))
    one, three = (find_faces(photo, largest=True)[0].points for photo in (astronaut, large))
    assert np.abs((three + 0.5) / 3 - 0.5 - one).mean() < 2
