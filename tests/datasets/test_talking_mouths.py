import cv2
import numpy as np
import pytest

from reprolib.datasets import landmarks, talking_mouths, talkingfaces
from reprolib.datasets.facesynth import PARTS, FaceOptions, mouth_crop
from reprolib.datasets.mouths import BACKGROUND, CAVITY, LIP, OF_PART, TEETH, TONGUE
from reprolib.errors import UserError

SIDE = 64


@pytest.fixture
def face_points():
    """68 landmarks in a clip's frame; the lips are x 24–40, y 44–50."""
    points = np.random.default_rng(0).uniform((24, 44), (40, 50), (68, 2)).astype(np.float32)
    points[48], points[54], points[51], points[57] = (24, 47), (40, 47), (32, 44), (32, 50)
    return points


@pytest.fixture
def root(tmp_path, monkeypatch, face_points):
    """Six clips of grey frames, brighter from clip to clip, of three speakers; the second shows no face."""
    (tmp_path / "talkingfaces/video").mkdir(parents=True)
    for i in range(6):
        path = tmp_path / f"talkingfaces/video/clip{i}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
        for _ in range(talkingfaces.FIRST_FRAMES):
            writer.write(np.full((SIDE, SIDE, 3), 40 * i, np.uint8))
        writer.release()
    monkeypatch.setattr(talking_mouths, "CACHE", tmp_path / "cache")

    def clip_of(frame):
        return round(frame.mean() / 40)

    def detect_all(frame, *, zoom):
        return np.empty((0, 68, 2), np.float32) if clip_of(frame) == 1 else face_points[None]

    monkeypatch.setattr(landmarks, "detect_all", detect_all)
    monkeypatch.setattr(landmarks, "embed", lambda frame, points: np.eye(128, dtype=np.float32)[clip_of(frame) // 2])
    return tmp_path


def load(root, count=5, **more):
    return talking_mouths.load(root, count=count, size=(32, 64), progress=False, **more)


def test_mouths_come_with_labels_landmarks_and_speakers(root):
    faces = load(root)
    assert faces.classes == ("background", "lip", "teeth", "tongue", "cavity")
    assert faces.images.shape == (5, 32, 64, 3) and faces.images.dtype == np.uint8
    assert faces.labels.shape == (5, 32, 64) and faces.labels.dtype == np.uint8
    assert faces.landmarks.shape == (5, 68, 2)
    assert sorted(faces.names) == ["clip0", "clip2", "clip3", "clip4", "clip5"]
    of = dict(zip(faces.names, faces.persons, strict=True))
    assert of["clip2"] == of["clip3"] != of["clip4"] == of["clip5"]
    assert of["clip0"] not in (of["clip2"], of["clip4"])


def test_the_lips_fill_six_tenths_of_the_crop(root):
    lips = load(root).landmarks[0, 48:]
    np.testing.assert_allclose(np.ptp(lips[:, 0]), 0.6 * 64, rtol=1e-2)
    np.testing.assert_allclose((lips.min(0) + lips.max(0)) / 2, (31.5, 15.5), atol=0.01)


def test_the_second_call_detects_nothing_and_gives_the_same_mouths(root, monkeypatch):
    first = load(root)
    monkeypatch.delattr(landmarks, "detect_all")
    second = load(root)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.persons == second.persons


def test_the_cache_holds_no_pictures(root):
    load(root)
    for kept in (root / "cache/talking_mouths").iterdir():
        with np.load(kept) as arrays:
            assert set(arrays.files) == {"landmarks", "embedding"}


def test_the_seed_draws_the_clips(root):
    assert len({load(root, count=2, seed=seed).names for seed in range(4)}) > 1


def test_more_mouths_than_there_are_is_an_error(root):
    with pytest.raises(UserError, match=r"6 faces are asked for, but only 5 of 6 clips show a face"):
        load(root, count=6)


def test_a_crop_box_is_twice_as_wide_as_high_and_holds_tall_mouths_too():
    points = np.zeros((68, 2), np.float32)
    points[48:] = (10, 20)
    points[49] = (70, 30)  # 60 × 10: the width decides
    np.testing.assert_allclose(talking_mouths.crop_box(points), (-9.5, 0.5, 100, 50), atol=1e-5)
    points[48:] = (10, 0)
    points[49] = (20, 60)  # 10 × 60: the height does
    np.testing.assert_allclose(talking_mouths.crop_box(points)[2:], (200, 100))


@pytest.mark.parametrize("scale", (1, 8))
def test_a_crop_shows_what_lies_between_the_landmarks_at_any_size_of_face(scale):
    """A white square on the lips' box is found where the landmarks say it is."""
    photo = np.zeros((100 * scale, 200 * scale, 3), np.uint8)
    photo[40 * scale : 60 * scale, 80 * scale : 120 * scale] = 255
    points = np.zeros((68, 2), np.float32)
    points[48:] = (100 * scale - 0.5, 50 * scale - 0.5)
    points[48], points[54] = (80 * scale - 0.5, 40 * scale - 0.5), (120 * scale - 0.5, 60 * scale - 0.5)
    crop, moved = talking_mouths.mouth_crop(photo, points, size=(40, 80))
    ys, xs = np.nonzero(crop[..., 0] > 127)
    edges = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]) - 0.5
    np.testing.assert_allclose(edges, moved[[48, 54]], atol=1)
    np.testing.assert_allclose(moved[54] - moved[48], (48, 24), rtol=1e-3)


def test_beyond_the_edge_the_last_pixels_are_repeated():
    points = np.zeros((68, 2), np.float32)
    points[54] = (40, 20)  # the box begins outside of the picture
    crop, _ = talking_mouths.mouth_crop(np.full((30, 60, 3), 90, np.uint8), points)
    assert (crop == 90).all()


def pseudo_and_true(index, **options):
    plain = FaceOptions(occluder=0, blur=0, noise=0, jpeg=0, low_light=0, side_light=0, low_resolution=0, beard=0,
                        yaw=(-15, 15), **options)  # fmt: skip
    face = mouth_crop(5, index, options=plain)
    true = np.array([OF_PART.get(part, BACKGROUND) for part in PARTS])[face.labels]
    return talking_mouths.pseudo_labels(face.image, face.landmarks), true


def test_pseudo_labels_of_rendered_mouths_agree_with_their_true_labels():
    pairs = [pseudo_and_true(index, mouth_open=1.0, jaw=(0.3, 0.9)) for index in range(20)]
    pseudo, true = (np.stack(maps) for maps in zip(*pairs, strict=True))

    def iou(part):
        return ((pseudo == part) & (true == part)).sum() / ((pseudo == part) | (true == part)).sum()

    assert iou(BACKGROUND) > 0.97
    assert iou(LIP) > 0.85
    assert iou(TEETH) > 0.45
    assert iou(TONGUE) > 0.5
    assert iou(CAVITY) > 0.55


@pytest.mark.parametrize(("gap", "parts"), [(4, {BACKGROUND, LIP}), (40, {BACKGROUND, LIP, CAVITY})])
def test_lips_that_hardly_part_are_closed_whatever_the_shade_between_them(gap, parts):
    angle = np.linspace(-np.pi, np.pi, 12, endpoint=False)
    points = np.zeros((68, 2), np.float32)
    points[48:60] = np.stack([128 + 75 * np.cos(angle), 64 + 40 * np.sin(angle)], 1)
    angle = np.linspace(-np.pi, np.pi, 8, endpoint=False)
    points[60:68] = np.stack([128 + 55 * np.cos(angle), 64 + gap / 2 * np.sin(angle)], 1)
    crop = np.full((128, 256, 3), (170, 90, 90), np.uint8)
    cv2.ellipse(crop, (128, 64), (55, gap // 2), 0, 0, 360, (40, 15, 15), -1)
    assert set(np.unique(talking_mouths.pseudo_labels(crop, points))) == parts


def test_a_mouth_without_extent_has_no_inside():
    labels = talking_mouths.pseudo_labels(np.zeros((128, 256, 3), np.uint8), np.zeros((68, 2), np.float32))
    assert set(np.unique(labels)) <= {BACKGROUND, LIP}


def test_near_embeddings_are_one_speaker():
    embeddings = np.array([(0, 0), (1, 0), (0.1, 0), (1.1, 0), (9, 9)])
    assert talking_mouths.speakers(embeddings).tolist() == [0, 1, 0, 1, 2]
    assert talking_mouths.speakers(embeddings[:1]).tolist() == [0]
