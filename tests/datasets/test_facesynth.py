"""What the renderer promises: the same face everywhere, labels and landmarks that agree, homophenes that look alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.datasets import facesynth
from reprolib.datasets.facesynth import PARTS, FaceOptions
from reprolib.datasets.facesynth.geometry import MIRROR, TEMPLATE, Expression, Pose, View, express, smooth
from reprolib.errors import UserError

FINGERPRINT = Path(__file__).with_name("facesynth_fingerprint.npz")
LABEL = {name: i for i, name in enumerate(PARTS)}
PLAIN = FaceOptions(occluder=0, blur=0, noise=0, jpeg=0, low_resolution=0, low_light=0, glasses=0, beard=0)
FRONTAL = FaceOptions(**{**vars(PLAIN), "yaw": (0, 0), "pitch": (0, 0), "roll": (0, 0), "hair": 0.0})


def fingerprint() -> dict[str, np.ndarray]:
    """Means over an 8 × 8 grid and landmarks of six faces, one mouth and one frame of speech."""
    faces = [facesynth.render(7, i) for i in range(6)]
    mouth = facesynth.mouth_crop(7, 0)
    clip = facesynth.speak("blue", 7, 0, frames=3, person=1)
    images = [f.image for f in faces] + [mouth.image, clip.images[1]]
    means = [i.reshape(8, i.shape[0] // 8, 8, i.shape[1] // 8, 3).mean((1, 3)) for i in images]
    landmarks = [f.landmarks for f in faces] + [mouth.landmarks, clip.landmarks[1]]
    counts = [np.bincount(f.labels.ravel(), minlength=len(PARTS)) for f in [*faces, mouth]]
    return {"means": np.float32(means), "landmarks": np.float32(landmarks), "counts": np.int32(counts)}


def test_the_same_index_gives_the_same_picture_on_every_machine():
    """Who changes the pictures on purpose renews the file and raises `rendered.RENDERING`, too."""
    stored, now = np.load(FINGERPRINT), fingerprint()
    np.testing.assert_allclose(now["means"], stored["means"], atol=2)
    np.testing.assert_allclose(now["landmarks"], stored["landmarks"], atol=1e-3)
    np.testing.assert_allclose(now["counts"], stored["counts"], atol=12)


def test_two_runs_are_equal_and_two_indices_or_seeds_are_not():
    a, b = facesynth.render(1, 2, size=64), facesynth.render(1, 2, size=64)
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert a.tags == b.tags
    for other in (facesynth.render(1, 3, size=64), facesynth.render(2, 2, size=64)):
        assert np.abs(other.landmarks - a.landmarks).max() > 0.5


def test_shapes_and_types():
    face = facesynth.render(0, 0, size=96)
    assert (face.image.shape, face.image.dtype) == ((96, 96, 3), np.uint8)
    assert (face.labels.shape, face.labels.dtype) == ((96, 96), np.uint8)
    assert face.unoccluded_labels.shape == (96, 96)
    assert (face.landmarks.shape, face.landmarks.dtype) == ((68, 2), np.float32)
    assert (face.box.shape, face.box.dtype) == ((4,), np.float32)
    assert facesynth.mouth_crop(0, 0).image.shape == (128, 256, 3)
    assert len(facesynth.COLOURS) == len(PARTS) == 15


def test_every_part_occurs():
    seen = np.unique([facesynth.render(0, i, size=64).labels for i in range(40)])
    np.testing.assert_array_equal(seen, np.arange(len(PARTS)))


def test_landmarks_lie_on_their_parts():
    for index in range(5):
        face = facesynth.render(3, index, size=192, options=FRONTAL)
        p = face.landmarks

        def part(points, labels=face.labels):
            x, y = np.round(points.mean(0)).astype(int)
            return PARTS[labels[y, x]]

        assert part(p[30:31]) == part(p[27:31]) == "nose"
        assert part(p[19:20]) == "brow_l" and part(p[24:25]) == "brow_r"
        assert part(p[[50, 51, 52, 61, 62, 63]]) == "upper_lip"
        assert part(p[[56, 57, 58, 65, 66, 67]]) == "lower_lip"


def test_left_is_the_left_of_the_picture():
    face = facesynth.render(0, 1, options=FRONTAL)
    columns = {
        name: np.nonzero(face.labels == LABEL[name])[1].mean() for name in ("eye_l", "eye_r", "brow_l", "brow_r")
    }
    assert columns["eye_l"] < columns["eye_r"] and columns["brow_l"] < columns["brow_r"]
    assert face.landmarks[36, 0] < face.landmarks[45, 0]


def test_box_holds_all_landmarks_with_a_tenth_on_each_side():
    face = facesynth.render(0, 5)
    low, high = face.landmarks.min(0), face.landmarks.max(0)
    np.testing.assert_allclose(face.box[:2], low - 0.1 * (high - low), rtol=1e-4)
    np.testing.assert_allclose(face.box[2:], 1.2 * (high - low), rtol=1e-4)


def test_occluders_change_only_the_pixels_that_they_label():
    options = FaceOptions(occluder=1.0)
    face = facesynth.render(4, 0, size=96, options=options)
    hidden = face.labels == LABEL["occluder"]
    assert "occluded" in face.tags and hidden.any()
    np.testing.assert_array_equal(face.labels[~hidden], face.unoccluded_labels[~hidden])
    assert not (face.unoccluded_labels == LABEL["occluder"]).any()


def test_the_hidden_face_does_not_depend_on_its_occluder():
    with_it = facesynth.render(4, 1, size=96, options=FaceOptions(occluder=1.0))
    without = facesynth.render(4, 1, size=96, options=FaceOptions(occluder=0.0))
    np.testing.assert_array_equal(with_it.unoccluded_labels, without.labels)
    np.testing.assert_array_equal(with_it.landmarks, without.landmarks)


def test_a_person_keeps_the_face_and_changes_the_picture():
    options = FRONTAL
    first, second = (facesynth.render(0, i, size=96, options=options, person=9) for i in (0, 1))
    assert not np.array_equal(first.image, second.image)

    def eyes_apart(f):  # share of the width of the face, which no expression changes
        p = f.landmarks
        return (p[42, 0] - p[39, 0]) / (p[16, 0] - p[0, 0])

    assert eyes_apart(first) == pytest.approx(eyes_apart(second), abs=1e-4)
    stranger = facesynth.render(0, 0, size=96, options=options, person=10)
    assert abs(eyes_apart(first) - eyes_apart(stranger)) > 1e-3


def test_mouth_crop_is_filled_by_the_mouth():
    options = FaceOptions(**{**vars(PLAIN), "crop_jitter": 0.0})
    for index in range(4):
        mouth = facesynth.mouth_crop(0, index, options=options).landmarks[48:]
        low, high = mouth.min(0), mouth.max(0)
        np.testing.assert_allclose((low + high) / 2, (128, 64), atol=0.1)
        assert max((high - low) / (256, 128)) == pytest.approx(0.6, abs=1e-3)


def test_open_mouths_show_teeth_tongue_or_cavity_and_closed_ones_do_not():
    inside = [LABEL[n] for n in ("teeth", "tongue", "cavity")]
    closed = facesynth.mouth_crop(0, 3, options=FaceOptions(**{**vars(PLAIN), "mouth_open": 0.0}))
    wide = facesynth.mouth_crop(0, 3, options=FaceOptions(**{**vars(PLAIN), "mouth_open": 1.0, "jaw": (0.8, 0.9)}))
    assert not np.isin(closed.labels, inside).any()
    assert np.isin(wide.labels, inside).mean() > 0.04


def test_annotator_noise_moves_borders_and_landmarks_but_not_the_picture():
    clean = facesynth.render(0, 0, options=PLAIN)
    noisy = facesynth.render(0, 0, options=FaceOptions(**{**vars(PLAIN), "annotator_noise": 1.0}))
    np.testing.assert_array_equal(clean.image, noisy.image)
    assert np.std(noisy.landmarks - clean.landmarks) == pytest.approx(1.0, abs=0.25)
    assert 0.005 < np.mean(noisy.labels != clean.labels) < 0.1


def test_harder_options_are_tagged():
    dark = facesynth.render(0, 0, size=64, options=FaceOptions(low_light=1.0, noise=1.0, blur=1.0))
    light = facesynth.render(0, 0, size=64, options=FaceOptions(low_light=0.0, noise=0.0, blur=0.0))
    assert {"low_light", "noise", "blur"} <= set(dark.tags)
    assert not {"low_light", "noise", "blur"} & set(light.tags)
    assert dark.image.mean() < 0.8 * light.image.mean()


def test_flipping_the_template_renumbers_its_points():
    np.testing.assert_allclose(TEMPLATE[MIRROR] * (-1, 1, 1), TEMPLATE)
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))


def test_a_face_that_turns_right_moves_its_nose_to_the_right_and_one_that_nods_moves_it_down():
    def nose(pose):
        return View(pose.matrix(), 0.0, 0.0, 1.0).project(TEMPLATE)[30]

    assert nose(Pose(yaw=20))[0] > nose(Pose())[0] + 0.1
    assert nose(Pose(pitch=20))[1] > nose(Pose())[1] + 0.1


def test_pressed_lips_close_and_a_blink_closes_the_eyes():
    shut = express(TEMPLATE, Expression(blink=1.0, press=1.0))
    assert shut[41, 1] - shut[37, 1] < 0.1 * (TEMPLATE[41, 1] - TEMPLATE[37, 1])
    np.testing.assert_allclose(shut[62], shut[66])


@given(st.integers(3, 12), st.booleans())
def test_smooth_curves_pass_through_their_points(count, closed):
    points = np.random.default_rng(count).normal(size=(count, 2))
    np.testing.assert_allclose(smooth(points, closed=closed, steps=4)[::4], points, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(40, 40), (33, 71), (90, 50)]))
def test_any_face_can_be_rendered_at_any_size(index, size):
    face = facesynth.mouth_crop(0, index, size=size, options=FaceOptions(yaw=(-55, 55), occluder=1.0))
    assert face.image.shape == (*size, 3)
    assert face.labels.max() < len(PARTS)
    assert np.isfinite(face.landmarks).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(60, 80), (97, 61)]), st.floats(-50, 150), st.floats(5, 120))
def test_paste_occluder_leaves_its_arguments_and_labels_what_it_covers(seed, size, x, scale):
    image, labels = np.full((*size, 3), 128, np.uint8), np.zeros(size, np.uint8)
    rng = np.random.default_rng(seed)
    new, covered = facesynth.paste_occluder(image, labels, rng, label=200, near=(x, 30), scale=scale)
    assert (image == 128).all() and (labels == 0).all()
    assert (new.shape, new.dtype, covered.dtype) == (image.shape, np.uint8, np.uint8)
    assert set(np.unique(covered)) <= {0, 200}


def test_homophenes_have_equal_visemes_and_look_alike():
    groups = (
        ("pat", "bat", "mat"),
        ("fan", "van"),
        ("peach", "beach"),
        ("my", "pie", "buy"),
        ("two", "do", "new", "sue"),
    )
    for words in groups:
        assert len({facesynth.viseme_classes(w) for w in words}) == 1
    assert facesynth.viseme_classes("fat") != facesynth.viseme_classes("pat")
    pat, mat, five = (facesynth.speak(w, 0, 0, size=32, frames=8) for w in ("pat", "mat", "five"))
    np.testing.assert_array_equal(pat.images, mat.images)
    assert not np.array_equal(pat.images, five.images)


def test_lexicon_is_large_and_all_of_it_can_be_said():
    assert len(facesynth.LEXICON) >= 120
    assert all(facesynth.viseme_classes(word) for word in facesynth.LEXICON)


def test_lips_meet_for_closed_consonants_and_open_for_vowels():
    clip = facesynth.speak("pat", 0, 0, size=48, options=PLAIN)
    gap = clip.landmarks[:, 66, 1] - clip.landmarks[:, 62, 1]
    ((_, start, end),) = clip.words
    assert gap[:start].max() < 0.5
    assert gap[start:end].max() > 2 * max(gap[start], 0.3)


def test_sounds_colour_their_neighbours():
    # the lips are already round in the consonant before a round vowel
    def width(word):
        clip = facesynth.speak(word, 0, 0, size=48, frames=20, options=PLAIN, person=3)
        ((_, start, _),) = clip.words
        points = clip.landmarks[start]
        return np.linalg.norm(points[54] - points[48])

    assert facesynth.viseme_classes("two")[0] == facesynth.viseme_classes("see")[0]
    assert width("two") < width("see")


def test_words_come_in_order_inside_the_clip():
    clip = facesynth.speak("place blue at five", 1, 0, size=32, frames=40)
    assert [w for w, _, _ in clip.words] == ["place", "blue", "at", "five"]
    assert len(clip.images) == len(clip.labels) == len(clip.landmarks) == 40
    edges = [frame for _, start, end in clip.words for frame in (start, end)]
    assert edges == sorted(edges) and edges[0] > 0 and edges[-1] <= 40


def test_video_moves_smoothly_and_harder_categories_move_more():
    def speed(category):
        tracks = [facesynth.video(0, i, frames=10, size=32, category=category).landmarks for i in range(6)]
        return np.mean([np.abs(np.diff(t[:, 27:31].mean(1), axis=0)).mean() for t in tracks])

    assert 0 < speed(1) < speed(3) < 2.0  # pixels a frame, of 32


def test_category_three_has_occluders_and_category_one_has_none():
    def occluded(category):
        clips = [facesynth.video(0, i, frames=6, size=32, category=category) for i in range(6)]
        return sum((c.labels == LABEL["occluder"]).any() for c in clips)

    assert occluded(1) == 0 and occluded(3) >= 2


def test_sheets_show_pictures_row_by_row():
    pictures = facesynth.sheet(0, rows=2, cols=3, size=32)
    assert pictures.shape == (64, 96, 3)
    np.testing.assert_array_equal(pictures[32:, 32:64], facesynth.render(0, 4, size=32).image)
    labels = facesynth.label_sheet(0, rows=1, cols=1, size=32)
    np.testing.assert_array_equal(labels, facesynth.COLOURS[facesynth.render(0, 0, size=32).labels])


def test_errors_say_what_was_expected_and_found():
    with pytest.raises(UserError, match=r"“bart”.*did you mean.*(bark|bat)"):
        facesynth.viseme_classes("bart")
    with pytest.raises(UserError, match="category is 1, 2 or 3, found 4"):
        facesynth.video(0, 0, category=4)
    with pytest.raises(UserError, match=r"FaceOptions\.blur is a probability.*found 2"):
        FaceOptions(blur=2)
    with pytest.raises(UserError, match="at least 16 pixels a side"):
        facesynth.render(0, 0, size=8)
    with pytest.raises(UserError, match="at least 0, found 0 and -1"):
        facesynth.render(0, -1)
    with pytest.raises(UserError, match="found 0 frames"):
        facesynth.speak("blue", 0, 0, frames=0)
