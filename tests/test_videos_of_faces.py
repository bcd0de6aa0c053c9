"""Videos through `masks` and `mouths`; dlib and the networks are replaced by faces and colours that are known."""

import csv

import cv2
import numpy as np
import pytest
from test_photos import LANDMARKS, colours_for_networks, place

from reprolib import face_finding, mouth_clips, photos
from reprolib.cli import main
from reprolib.datasets import videos
from reprolib.errors import UserError
from reprolib.face_finding import FoundFace, Tracker

HEIGHT, WIDTH, HALF = 120, 160, 45


def centre(t):
    return np.array([70 + 2 * t, 60.0])


def face_at(t):
    return FoundFace((LANDMARKS * HALF + centre(t) - 0.5).astype(np.float32), 1.0)


def video(path, frames=12, *, rate=30.0, cut=None, hidden=()):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (WIDTH, HEIGHT))
    for t in range(frames):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if t not in hidden:
            place(frame, centre(t), HALF)
        if cut is not None and t >= cut:
            frame = 255 - frame
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def seen(monkeypatch):
    """The frames in which dlib finds the face; it is where `video` painted it."""
    frames, state = set(range(1000)), {"t": -1}

    class Known(Tracker):
        def update(self, frame):
            state["t"] += 1
            self.faces = [face_at(state["t"])] if state["t"] in frames else []
            self._missed = [0] * len(self.faces)
            return self.faces

    for module in ("mouth_clips", "video_files"):
        monkeypatch.setattr(f"reprolib.{module}.Tracker", lambda **_: Known())
    monkeypatch.setattr(photos, "probabilities", colours_for_networks)
    return frames


def fails(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, arguments)))
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_a_video_gets_a_mask_for_each_frame_and_an_overlay_of_its_frame_rate(seen, tmp_path, capsys):
    video(tmp_path / "ann.mp4", 8)
    with pytest.raises(SystemExit) as exit_:
        main(["masks", str(tmp_path / "ann.mp4"), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 0
    names = [path.name for path in sorted((tmp_path / "out/ann_masks").iterdir())]
    assert names == [f"{t:05d}.png" for t in range(8)]
    frames, rate = videos.count(tmp_path / "out/ann_overlay.mp4")
    assert (frames, rate) == (8, pytest.approx(30))
    first, last = (cv2.imread(str(tmp_path / f"out/ann_masks/{t:05d}.png"), cv2.IMREAD_COLOR) for t in (0, 7))
    assert first.shape == (HEIGHT, WIDTH, 3)
    moved = [np.nonzero(mask.any(-1))[1].mean() for mask in (first, last)]
    assert moved[1] - moved[0] == pytest.approx(14, abs=2)


def test_frames_without_a_face_have_an_empty_mask(seen, tmp_path):
    seen -= {3, 4}
    with pytest.raises(SystemExit):
        main(["masks", str(video(tmp_path / "ann.mp4", 6)), "--out", str(tmp_path / "out")])
    shown = [cv2.imread(str(tmp_path / f"out/ann_masks/{t:05d}.png")).any() for t in range(6)]
    assert shown == [True, True, True, False, False, True]


def test_a_video_without_a_face_is_one_sentence_and_leaves_no_overlay(seen, tmp_path, capsys):
    seen.clear()
    path = video(tmp_path / "ann.mp4", 4)
    message = fails(["masks", path, "--out", tmp_path / "out"], capsys)
    assert message.startswith(f"{path} shows no face in any of its frames") and message.count("\n") == 1
    assert not (tmp_path / "out/ann_overlay.mp4").exists()


def test_mouths_writes_arrays_a_table_and_a_preview(seen, tmp_path, capsys):
    video(tmp_path / "ann.mp4", 10)
    with pytest.raises(SystemExit) as exit_:
        main(["mouths", str(tmp_path / "ann.mp4"), "--out", str(tmp_path / "out"), "--size", "64"])
    assert exit_.value.code == 0
    with np.load(tmp_path / "out/ann.npz") as kept:
        assert kept["mouth"].shape == (10, 64, 64) and kept["mouth"].dtype == np.uint8
        assert kept["fps"] == pytest.approx(30) and kept["seen"].all()
        np.testing.assert_allclose(kept["landmarks"][4], face_at(4).points, atol=1e-3)
        middle = kept["in_crop"][:, 48:].mean(1)
        np.testing.assert_allclose(middle, np.full((10, 2), 31.5), atol=0.51)  # whole pixels
    lines = list(csv.DictReader((tmp_path / "out/ann.csv").open()))
    assert len(lines) == 10 and lines[3]["seconds"] == "0.100" and lines[3]["seen"] == "1"
    assert float(lines[2]["x48"]) == pytest.approx(face_at(2).points[48, 0], abs=0.01)
    assert videos.count(tmp_path / "out/ann_preview.mp4")[0] == 10


def test_gaps_are_bridged_and_marked(seen, tmp_path):
    seen -= {4, 5}
    clip = mouth_clips.read(video(tmp_path / "ann.mp4", 10), size=64)
    assert clip.seen.tolist() == [t not in (4, 5) for t in range(10)]
    np.testing.assert_allclose(clip.landmarks[4], face_at(4).points, atol=1e-3)  # it moves evenly


def test_a_clip_that_is_resampled_lasts_as_long(seen, tmp_path):
    clip = mouth_clips.read(video(tmp_path / "ann.mp4", 30), size=64, fps=25)
    assert clip.fps == 25 and len(clip.mouth) == len(clip.landmarks) == len(clip.seen) == 25
    np.testing.assert_allclose(clip.landmarks[10], face_at(12).points, atol=1e-3)


def test_a_cut_and_too_few_faces_are_one_sentence_each(seen, tmp_path):
    with pytest.raises(UserError, match=r"has a cut at frame 5 \(0.17 s\)"):
        mouth_clips.read(video(tmp_path / "cut.mp4", 10, cut=5))
    seen.clear()
    with pytest.raises(UserError, match="face is found in 0 of 10 frames"):
        mouth_clips.read(video(tmp_path / "none.mp4", 10))


def test_the_crop_is_what_the_loaders_of_lip_reading_make(seen, tmp_path):
    from reprolib.datasets.speech import align, mouth_crops

    path = video(tmp_path / "ann.mp4", 8)
    frames, points = videos.read(path), np.stack([face_at(t).points for t in range(8)])
    grey, moved = align(frames, points, 160)
    np.testing.assert_array_equal(mouth_clips.read(path).mouth, mouth_crops(grey[None], moved[None], 112)[0])


# following a face


@pytest.fixture
def dlib(monkeypatch):
    """What a search finds, and how many searches were made; landmarks are placed where the face is looked for."""
    state = {"found": [face_at(0)], "searches": 0}

    def find_faces(frame, *, largest=False):
        state["searches"] += 1
        return state["found"][: 1 if largest else None]

    monkeypatch.setattr(face_finding, "find_faces", find_faces)
    monkeypatch.setattr(face_finding, "follow", lambda frame, face: FoundFace(face.points + 0.1, face.score))
    return state


FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def test_faces_are_followed_between_searches(dlib):
    tracker = Tracker()
    for _ in range(face_finding.AGAIN):
        assert len(tracker.update(FRAME)) == 1
    assert dlib["searches"] == 1
    tracker.update(FRAME)
    assert dlib["searches"] == 2


def test_a_face_is_given_up_when_two_searches_miss_it(dlib):
    tracker = Tracker()
    tracker.update(FRAME)
    dlib["found"] = []
    counts = [len(tracker.update(FRAME)) for _ in range(2 * face_finding.AGAIN)]
    assert counts[: 2 * face_finding.AGAIN - 1] == [1] * (2 * face_finding.AGAIN - 1) and counts[-1] == 0


def test_a_dropped_face_is_looked_for_at_once(dlib):
    tracker = Tracker()
    tracker.drop(tracker.update(FRAME)[0])
    assert tracker.faces == []
    assert len(tracker.update(FRAME)) == 1 and dlib["searches"] == 2


def test_a_face_that_hardly_moves_is_steadied_and_one_that_moves_is_not(dlib, monkeypatch):
    tracker = Tracker(steady=True)
    start = tracker.update(FRAME)[0].points
    np.testing.assert_allclose(tracker.update(FRAME)[0].points, start + 0.1 * 0.25, atol=1e-4)
    monkeypatch.setattr(face_finding, "follow", lambda frame, face: FoundFace(face.points + 5, face.score))
    before = tracker.faces[0].points
    np.testing.assert_allclose(tracker.update(FRAME)[0].points, before + 5, atol=1e-4)
