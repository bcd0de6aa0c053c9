import cv2
import numpy as np
import pytest

from reprolib.datasets import landmarks, synthetic_clips, talking_clips
from reprolib.datasets.landmark_masks import landmark_mask
from reprolib.errors import UserError

SIDE = 96


@pytest.fixture(scope="module")
def face():
    return synthetic_clips.load(3, 1, size=SIDE, frames=1).landmarks[0, 0]


@pytest.fixture
def root(tmp_path, monkeypatch, face):
    """Four clips of grey frames, brighter from clip to clip, of two speakers; in the second the face is lost."""
    (tmp_path / "talkingfaces/video").mkdir(parents=True)
    for i in range(4):
        path = tmp_path / f"talkingfaces/video/clip{i}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
        for _ in range(talking_clips.SHORTEST):
            writer.write(np.full((SIDE, SIDE, 3), 60 * i, np.uint8))
        writer.release()
    monkeypatch.setattr(talking_clips, "CACHE", tmp_path / "cache")

    def clip_of(frame):
        return round(frame.mean() / 60)

    def track(frames):
        found = face + np.arange(len(frames))[:, None, None]  # one pixel a frame
        return np.where(clip_of(frames) == 1, np.nan, found).astype(np.float32)

    monkeypatch.setattr(landmarks, "track", track)
    monkeypatch.setattr(landmarks, "embed", lambda frame, points: np.eye(128, dtype=np.float32)[clip_of(frame) // 2])
    return tmp_path


def load(root, count=3, frames=4, size=48, **more):
    corpus = talking_clips.talking_faces(root)
    return talking_clips.load(corpus, count=count, size=size, frames=frames, progress=False, **more)


def test_clips_come_with_masks_landmarks_and_speakers(root):
    clips = load(root)
    assert clips.images.shape == (3, 4, 48, 48, 3)
    assert "clip1" not in clips.names  # the face was lost there
    assert len(set(clips.subjects)) == 2
    np.testing.assert_array_equal(clips.labels[1, 2], landmark_mask(clips.landmarks[1, 2], (48, 48)))


def test_the_crop_stays_where_it_is_and_holds_the_face_of_every_frame(root):
    clips = load(root)
    steps = np.diff(clips.landmarks[0], axis=0)
    np.testing.assert_allclose(steps, steps[0, 0, 0], rtol=1e-4)
    assert clips.landmarks.min() > 0
    assert clips.landmarks.max() < 47


def test_a_crop_is_a_little_off_and_the_same_every_time(root, monkeypatch):
    clips, again = load(root), load(root)
    np.testing.assert_array_equal(clips.landmarks, again.landmarks)
    monkeypatch.setattr(talking_clips, "SHIFT", 0.0)
    monkeypatch.setattr(talking_clips, "ZOOM", 0.0)
    centred = load(root).landmarks[:, :, :, 0]
    middle = (centred.min((1, 2)) + centred.max((1, 2))) / 2
    np.testing.assert_allclose(middle, 23.5, atol=0.6)
    assert np.abs(clips.landmarks - load(root).landmarks).max() > 0.5


def test_clips_of_grid_are_of_one_speaker_and_begin_in_the_sentence(tmp_path, root, face, monkeypatch):
    folder = tmp_path / "grid_s1/s1"
    folder.mkdir(parents=True)
    starts = []
    for name in ("bbaf2n", "lwbsza"):
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (SIDE, SIDE))
        for t in range(talking_clips.GRID_START + 4):
            writer.write(np.full((SIDE, SIDE, 3), 240 if t < talking_clips.GRID_START else 60, np.uint8))
        writer.release()

    def track(frames):
        starts.append(round(frames.mean()))
        return np.repeat(face[None], len(frames), 0)

    monkeypatch.setattr(landmarks, "track", track)
    clips = talking_clips.load(talking_clips.grid(tmp_path), count=2, size=48, frames=4, progress=False)
    assert clips.subjects == ("grid-s1", "grid-s1")
    assert all(abs(grey - 60) < 8 for grey in starts)  # none of the white frames before


def test_the_second_call_tracks_nothing_and_gives_the_same_clips(root, monkeypatch):
    first = load(root)
    monkeypatch.setattr(landmarks, "track", None)
    again = load(root)
    assert again.names == first.names
    assert again.subjects == first.subjects
    np.testing.assert_array_equal(again.images, first.images)
    np.testing.assert_array_equal(again.landmarks, first.landmarks)
    for kept in (root / "cache").rglob("*.npz"):
        with np.load(kept) as arrays:
            assert set(arrays.files) == {"landmarks", "embedding"}  # no images


def test_more_clips_than_show_a_face_is_one_sentence(root):
    with pytest.raises(UserError, match="4 clips are asked for, but only 3 of 4 show a face"):
        load(root, count=4)


def test_more_frames_than_the_clips_have_is_one_sentence(root):
    with pytest.raises(UserError, match="29 frames or more, 30 are asked for"):
        load(root, frames=30)


def test_a_damaged_clip_is_passed_over_with_a_warning(root):
    (root / "talkingfaces/video/clip0.mp4").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 4 clips of talkingfaces are damaged and left out: .*clip0\.mp4"):
        assert sorted(load(root, count=2).names) == ["clip2", "clip3"]


def test_degraded_clips_keep_their_labels_and_a_third_is_untouched():
    clips = synthetic_clips.load(5, 6, size=48, frames=3)
    harder = talking_clips.degrade(clips, seed=0)
    assert harder.categories == (1, 2, 3, 1, 2, 3)
    assert harder.labels is clips.labels
    changed = np.abs(harder.images.astype(int) - clips.images).mean((1, 2, 3, 4))
    assert (changed[[0, 3]] == 0).all()
    assert (changed[[1, 2, 4, 5]] > 0.2).all()
    np.testing.assert_array_equal(talking_clips.degrade(clips, seed=0).images, harder.images)
    assert (talking_clips.degrade(clips, seed=1).images != harder.images).any()


def test_faults_come_about_from_the_scene_to_the_sensor(monkeypatch):
    met = []

    def fault(name):
        def note(frames, points, strength, rng):
            met.append((name, strength))
            return frames

        return note

    monkeypatch.setattr(talking_clips, "_FAULTS", {name: fault(name) for name in talking_clips.KINDS})
    clips = synthetic_clips.load(5, 3, size=32, frames=1)
    pairs = set()
    for seed in range(30):
        met.clear()
        talking_clips.degrade(clips, seed=seed)
        (_, mild), (first, strong), (second, _) = met
        assert (mild, strong) == (1, 2)
        pairs.add((first, second))
    expected = ("occluder", "blur"), ("occluder", "low resolution"), ("occluder", "noise")
    expected += ("blur", "low resolution"), ("blur", "noise"), ("low resolution", "noise")
    assert pairs == set(expected)


def test_faults_are_of_the_kinds_that_are_asked_for():
    clips = synthetic_clips.load(5, 3, size=48, frames=2)
    covered = talking_clips.degrade(clips, seed=0, kinds=("occluder",))
    for image, clean in zip(
        covered.images[1:].reshape(-1, 48, 48, 3), clips.images[1:].reshape(-1, 48, 48, 3), strict=True
    ):
        assert (image != clean).any()
        assert (image == clean).any(-1).mean() > 0.1  # what is not behind the thing or in its shade stays


@pytest.mark.parametrize("fault", talking_clips.KINDS)
def test_a_fault_is_worse_when_it_is_strong(fault):
    clips = synthetic_clips.load(5, 1, size=64, frames=3)
    frames, points = clips.images[0], clips.landmarks[0]

    def change(strength):
        harder = [talking_clips._FAULTS[fault](frames, points, strength, np.random.default_rng(i)) for i in range(6)]
        difference = np.abs(np.array(harder).astype(int) - frames)
        return (difference > 12).mean() if fault == "occluder" else difference.mean()

    assert 0 < change(1) < change(2)


def test_an_occluder_keeps_its_shape_and_moves_with_the_frames():
    clips = synthetic_clips.load(5, 1, size=64, frames=5)
    still = np.repeat(clips.images[0][:1], 5, axis=0)
    shown = talking_clips._FAULTS["occluder"](
        still, np.repeat(clips.landmarks[0][:1], 5, 0), 1, np.random.default_rng(0)
    )
    covered = (shown != still).any(-1)
    areas = covered.sum((1, 2))
    assert areas.min() > 0.5 * areas.max()
    assert (covered[0] != covered[4]).any()
