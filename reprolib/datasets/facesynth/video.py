"""Clips: one person who moves and talks, in one place, through one camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...errors import UserError
from . import occluders, parts, scene
from .camera import expose
from .geometry import Expression, Pose
from .lexicon import LEXICON
from .scene import DEFAULT, FaceOptions, Scene
from .speech import ARTICULATORS, articulate, timeline

_MOTION, _WORDS, _GRAIN, _THING = 11, 12, 13, 14  # streams of random numbers, beside those of scene.py


@dataclass(frozen=True)
class Clip:
    """images: uint8 (T, H, W, 3), RGB. labels: uint8 (T, H, W). landmarks: float32 (T, 68, 2), pixels (x, y).

    words: (word, first frame, first frame after it) of everything that is said.
    """

    images: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    words: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Category:
    """How much moves in a clip; angles are standard deviations in degrees."""

    yaw: float
    pitch: float
    roll: float
    sway: float  # of place, as a share of the picture
    light: float  # how much direction and brightness of the light change
    occluder: float  # probability that something passes in front of the face
    settings: dict  # FaceOptions of light and camera


# 300VW: category 1 is well lit and near frontal, 2 adds light, 3 adds occlusion, large poses and poor cameras.
CATEGORIES = {
    1: Category(8, 4, 3, 0.012, 0.03, 0.0,
                dict(side_light=0.05, low_light=0.0, blur=0.1, noise=0.1, jpeg=0.4, low_resolution=0.1)),
    2: Category(12, 6, 5, 0.02, 0.35, 0.08,
                dict(side_light=0.55, low_light=0.30, blur=0.2, noise=0.35, jpeg=0.5, low_resolution=0.2)),
    3: Category(20, 9, 9, 0.035, 0.30, 0.75,
                dict(side_light=0.35, low_light=0.25, blur=0.5, noise=0.45, jpeg=0.6, low_resolution=0.4)),
}  # fmt: skip
_CALM = Category(3, 1.5, 1, 0.006, 0.02, 0.0, {})  # somebody who reads aloud


def wander(rng: np.random.Generator, frames: int, fps: float, seconds: float) -> np.ndarray:
    """float64 (frames,): a smooth track of zero mean and unit standard deviation that changes within `seconds`."""
    sigma = max(0.6, seconds * fps)
    pad = int(3 * sigma) + 1
    white = rng.standard_normal((1, frames + 2 * pad))
    smooth = cv2.GaussianBlur(white, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)[0, pad : pad + frames]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def blinks(rng: np.random.Generator, frames: int, fps: float, *, per_second: float = 0.35) -> np.ndarray:
    """float64 (frames,) in [0, 1]: lids that fall in about 0.1 s and rise in about 0.15 s."""
    times = np.arange(frames) / fps
    out = np.zeros(frames)
    now = rng.exponential(1 / per_second)
    while now < times[-1] + 0.2:
        since = times - now
        out = np.maximum(out, np.where(since < 0, np.exp(-np.square(since / 0.05)), np.exp(-np.square(since / 0.085))))
        now += 0.3 + rng.exponential(1 / per_second)
    return out


@dataclass(frozen=True)
class Delivery:
    """How words are spoken: `pace` > 1 is faster; `shift` is their offset from the clip's middle, in seconds.

    before, after: other words spoken around them, seen as far as the clip reaches.
    """

    pace: float = 1.0
    shift: float = 0.0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


_PLAIN = Delivery()


def _mouth(words, rng, frames, fps, how: Delivery) -> tuple[np.ndarray, tuple[tuple[str, int, int], ...]]:
    """float64 (frames, 8) articulators of `words` spoken in the middle of the clip, and the words' frames."""
    tempo = how.pace * rng.uniform(0.85, 1.15)
    effort = rng.uniform(0.75, 1.2)
    everything, own = how.before + words + how.after, slice(len(how.before), len(how.before) + len(words))

    def spoken(tempo):
        names, middles, spans = timeline(everything, tempo=tempo)
        spans = spans[own]
        return names, middles, spans, *((spans[0][0], spans[-1][1]) if spans else (0.0, 0.0))

    *_, begin, end = spoken(tempo)
    room = frames / fps - 0.16
    if end - begin > room:
        tempo *= (end - begin) / max(room, 0.1)
    names, middles, spans, begin, end = spoken(tempo)
    start = (frames / fps - (end - begin)) / 2 - begin + how.shift
    times = (np.arange(frames) + 0.5) / fps - start
    track = articulate(names, middles, times, effort=effort)
    track += 0.02 * np.stack([wander(rng, frames, fps, 0.15) for _ in ARTICULATORS], 1)
    said = [(w, round((start + a) * fps), round((start + b) * fps)) for w, (a, b) in zip(words, spans, strict=True)]
    said = tuple((w, max(0, a), min(frames, max(b, a + 1))) for w, a, b in said)
    low = np.where(np.isin(ARTICULATORS, ("wide",)), -1.0, 0.0)
    return np.clip(track, low, 1.0), said


@dataclass(frozen=True)
class _Take:
    """Everything but the pixels of a clip: a scene for each frame, the words' times, and the random generator."""

    scenes: list[Scene]
    words: tuple[tuple[str, int, int], ...]
    scale: float  # of the face, before it moves
    tracks: dict[str, np.ndarray]
    rng: np.random.Generator


def _take(words, seed, index, frames, fps, size, category: Category, options, person, how: Delivery) -> _Take:
    if frames < 1 or fps <= 0 or size < 16:
        raise UserError(
            f"a clip needs at least one frame, a positive frame rate and 16 pixels, "
            f"found {frames} frames, {fps} per second and {size} pixels: change them."
        )
    who = scene.person_of(seed, index, person, options)
    rng = scene.stream(seed, index, _MOTION)
    still = replace(options, yaw=_narrow(options.yaw), pitch=_narrow(options.pitch), roll=_narrow(options.roll))
    first, _ = scene.draw_scene(
        rng, who, height=size, width=size, options=still, around=slice(0, 68), drop=0.05,
        fill=1 / (1 + 2 * options.crop_margin),
    )  # fmt: skip
    # framed for a face at rest, so that an opening mouth does not zoom the picture
    rest = replace(first.expression, jaw=0.15, part=0.0, protrude=0.0, press=0.0, tuck=0.0, wide=0.0)
    first = scene.frame(
        replace(first, expression=rest), around=slice(0, 68), fill=1 / (1 + 2 * options.crop_margin), shift=(0, 0.03)
    )
    mouth, said = _mouth(words, scene.stream(seed, index, _WORDS), frames, fps, how)
    smile = options.wide[0] * 0.2 + 0.3 * rng.random()
    tracks = {name: wander(rng, frames, fps, s) for name, s in
              (("yaw", 0.6), ("pitch", 0.5), ("roll", 0.7), ("x", 0.6), ("y", 0.6), ("zoom", 0.8),
               ("brow", 0.5), ("look_x", 0.25), ("look_y", 0.25), ("turn", 0.7), ("glow", 0.5), ("shake", 0.15),
               ("thing_x", 0.8), ("thing_y", 0.8))}  # fmt: skip
    lids = np.maximum(first.expression.blink * 0.6, blinks(rng, frames, fps))
    scenes = []
    for t in range(frames):
        at = {name: track[t] for name, track in tracks.items()}
        now = _moment(first, at, category, size)
        shape = dict(zip(ARTICULATORS, mouth[t], strict=True))
        shape["wide"] = float(np.clip(shape["wide"] + smile, -1, 1))
        expression = Expression(
            **shape, blink=lids[t], brow=0.3 * at["brow"], gaze_x=float(np.clip(0.35 * at["look_x"], -1, 1)),
            gaze_y=float(np.clip(0.25 * at["look_y"], -1, 1)),
        )  # fmt: skip
        camera = replace(now.camera, motion=now.camera.motion * min(1.5, abs(at["shake"])))
        scenes.append(replace(now, expression=expression, camera=camera))
    return _Take(scenes, said, first.scale, tracks, rng)


def _clip(words, seed, index, frames, fps, size, category: Category, options, person) -> Clip:
    take = _take(words, seed, index, frames, fps, size, category, options, person, _PLAIN)
    rng = take.rng
    thing = rng.random() < category.occluder
    kind = occluders.KINDS[rng.integers(len(occluders.KINDS))]
    arrival = rng.uniform(-0.3, 0.7) * frames, rng.uniform(0.3, 0.9) * frames  # when it comes, how long it stays
    grain = scene.stream(seed, index, _GRAIN)

    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.empty((frames, size, size), np.uint8)
    landmarks = np.empty((frames, 68, 2), np.float32)
    for t, now in enumerate(take.scenes):
        canvas, head = scene.paint(now)
        if thing and arrival[0] <= t < arrival[0] + arrival[1]:
            # the same random numbers in every frame: the thing keeps its shape and only moves
            aside = np.array([take.tracks["thing_x"][t], take.tracks["thing_y"][t]])
            near = head.landmarks[30] + head.px(0.3) * aside
            image, canvas.labels = occluders.paste_occluder(
                np.clip(canvas.image, 0, 255).astype(np.uint8), canvas.labels, scene.stream(seed, index, _THING),
                label=parts.OCCLUDER, near=tuple(near), scale=take.scale * 1.9, kind=kind,
            )  # fmt: skip
            canvas.image = image.astype(np.float32)
        images[t] = expose(canvas.image, now.camera, grain)
        labels[t], landmarks[t] = scene.annotate(canvas.labels, head.landmarks, grain, options.annotator_noise)
    return Clip(images, labels, landmarks, take.words)


def _narrow(bounds: tuple[float, float]) -> tuple[float, float]:
    return bounds[0] * 0.35, bounds[1] * 0.35


def _moment(first: Scene, at: dict[str, float], category: Category, size: int) -> Scene:
    """The scene with head, light and camera where the tracks have taken them."""
    p, light = first.pose, first.light
    pose = Pose(
        float(np.clip(p.yaw + category.yaw * at["yaw"], -50, 50)),
        float(np.clip(p.pitch + category.pitch * at["pitch"], -25, 25)),
        float(np.clip(p.roll + category.roll * at["roll"], -35, 35)),
    )
    turn = category.light * at["turn"]
    c, s = np.cos(turn), np.sin(turn)
    direction = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ light.direction
    exposure = float(np.clip(light.exposure * np.exp(0.6 * category.light * at["glow"]), 0.2, 1.3))
    return replace(
        first,
        pose=pose,
        light=replace(light, direction=direction, exposure=exposure),
        x=float(first.x + size * category.sway * at["x"]),
        y=float(first.y + size * category.sway * at["y"]),
        scale=float(first.scale * np.exp(category.sway * at["zoom"])),
    )


def video(
    seed: int,
    index: int,
    *,
    frames: int = 30,
    fps: float = 25,
    size: int = 128,
    category: int = 1,
    options: FaceOptions = DEFAULT,
    person: int | None = None,
) -> Clip:
    """Clip `index` of series `seed`: a person who talks and moves, as hard as 300VW's `category` 1, 2 or 3.

    The category sets light, camera, motion and occluders; `options` sets the rest.
    """
    if category not in CATEGORIES:
        raise UserError(f"a video's category is 1, 2 or 3, found {category}: choose one of them.")
    kind = CATEGORIES[category]
    rng = scene.stream(seed, index, _WORDS)
    known = sorted(LEXICON)
    words = tuple(known[k] for k in rng.integers(len(known), size=max(1, int(frames / fps * 2.2))))
    return _clip(words, seed, index, frames, fps, size, kind, replace(options, **kind.settings), person)


def speak(
    text: str,
    seed: int,
    index: int,
    *,
    fps: float = 25,
    size: int = 128,
    options: FaceOptions = DEFAULT,
    person: int | None = None,
    frames: int | None = None,
) -> Clip:
    """A person says `text` in the middle of `frames` frames (None: as many as it takes).

    Words with equal `viseme_classes` look the same. Light, camera and occluders: `options`. UserError for a word that
    is not in LEXICON.
    """
    words = tuple(text.lower().split())
    _, _, spans = timeline(words, tempo=0.85)
    if frames is None:
        frames = int(np.ceil(((spans[-1][1] if spans else 0.0) + 0.4) * fps))
    # an occluder here is as likely as in a picture, and stays
    kind = replace(CATEGORIES[1], occluder=options.occluder)
    return _clip(words, seed, index, frames, fps, size, kind, options, person)


def speak_closely(
    text: str,
    seed: int,
    index: int,
    *,
    frame: Callable[[np.ndarray], np.ndarray],
    frames: int,
    fps: float = 25,
    size: int = 64,
    how: Delivery = _PLAIN,
    options: FaceOptions = DEFAULT,
    person: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `speak`, but only the face below the eyes, in an image framed by `frame`.

    Returns (grey frames uint8 (T, size, size), landmarks float32 (T, 68, 2)). `frame` maps the clip's landmarks to the
    (2, 3) similarity that takes them into the image, so that nothing is painted larger than it is seen. Eyes, brows,
    ears, hair, glasses, occluders and labels are left out; the head moves about a third as much as in `speak`.
    """
    take = _take(tuple(text.lower().split()), seed, index, frames, fps, size, _CALM, options, person, how)
    landmarks = np.stack([moment.head().landmarks for moment in take.scenes])
    matrix = frame(landmarks)
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    turn = float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
    grain = scene.stream(seed, index, _GRAIN)
    pictures = np.empty((frames, size, size), np.uint8)
    for t, moment in enumerate(take.scenes):
        x, y = matrix[:, :2] @ (moment.x, moment.y) + matrix[:, 2]
        pose = replace(moment.pose, roll=moment.pose.roll + turn)
        canvas, head = scene.paint_lower_face(
            replace(moment, pose=pose, x=float(x), y=float(y), scale=moment.scale * zoom)
        )
        pictures[t] = cv2.cvtColor(expose(canvas.image, moment.camera, grain), cv2.COLOR_RGB2GRAY)
        landmarks[t] = head.landmarks
    return pictures, landmarks.astype(np.float32)
