"""One random face: person, expression, pose, light, background and camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...errors import UserError
from . import features, hair, head, occluders, parts
from .appearance import Person, background, draw_light, draw_person
from .camera import Camera, draw_camera, expose
from .canvas import Canvas
from .geometry import Expression, Pose, View
from .relief import Light

_PERSON, _OWN_PERSON, _SCENE, _FRAME = 1, 2, 3, 4  # streams of random numbers, so that none depends on another


# occluders that can be in front of a mouth without hiding all of it
MOUTH_OCCLUDERS = ("hand", "microphone", "cup", "object")


@dataclass(frozen=True)
class FaceOptions:
    """Difficulty of the images: probabilities in [0, 1], ranges of pose in degrees, strengths around 1."""

    hair: float = 0.93
    beard: float = 0.22
    glasses: float = 0.18
    makeup: float = 0.25
    occluder: float = 0.25
    second_occluder: float = 0.15  # given a first one
    yaw: tuple[float, float] = (-40.0, 40.0)
    pitch: tuple[float, float] = (-15.0, 18.0)
    roll: tuple[float, float] = (-20.0, 20.0)
    mouth_open: float = 0.5  # probability of parted lips
    jaw: tuple[float, float] = (0.0, 0.9)  # how far an open mouth opens
    wide: tuple[float, float] = (-0.5, 1.0)
    blink: float = 0.06
    side_light: float = 0.25
    low_light: float = 0.10
    specular: float = 0.25
    blur: float = 0.25
    noise: float = 0.25
    jpeg: float = 0.30
    low_resolution: float = 0.20
    camera_strength: float = 1.0
    crop_margin: float = 0.35  # around the box of the landmarks, as a share of its longer side
    crop_jitter: float = 0.06  # of place and size, as a share of the picture
    annotator_noise: float = 0.0  # standard deviation in pixels of the error of label borders and landmarks

    def __post_init__(self):
        for name in (
            "hair", "beard", "glasses", "makeup", "occluder", "second_occluder", "mouth_open", "blink",
            "side_light", "low_light", "specular", "blur", "noise", "jpeg", "low_resolution",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"FaceOptions.{name} is a probability in [0, 1], found {getattr(self, name)}: change it."
                )


DEFAULT = FaceOptions()


@dataclass(frozen=True)
class Face:
    """One rendered face.

    image: uint8 (H, W, 3), RGB. labels: uint8 (H, W), indices into PARTS. unoccluded_labels: the same beneath the
    occluder. landmarks: float32 (68, 2), pixels (x, y). box: float32 (4,), the landmarks' box x, y, width, height
    with a tenth added on each side. tags: what is special, e.g. "low_light", "side_light", "blur", "beard", "occluded".
    """

    image: np.ndarray
    labels: np.ndarray
    unoccluded_labels: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """Everything but the pixels of one picture."""

    person: Person
    expression: Expression
    pose: Pose
    light: Light
    camera: Camera
    backdrop: np.ndarray  # float32 (H, W, 3)
    cloth: np.ndarray
    lean: float
    x: float
    y: float
    scale: float

    def head(self) -> head.Head:
        detail = 64 if self.scale < 80 else 128
        view = View(self.pose.matrix(), self.x, self.y, self.scale)
        return head.Head(self.person, self.expression, view, self.light, detail)


def stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one purpose of sample `index`."""
    if min(seed, index) < 0:
        raise UserError(f"seed, index and person are at least 0, found {seed} and {index}: change the negative one.")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, purpose])))


def person_of(seed: int, index: int, person: int | None, options: FaceOptions) -> Person:
    rng = stream(seed, index, _OWN_PERSON) if person is None else stream(seed, person, _PERSON)
    o = options
    return draw_person(rng, hair=o.hair, beard=o.beard, glasses=o.glasses, makeup=o.makeup)


def _within(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number in `bounds`, more often near the middle than at the ends."""
    return bounds[0] + (bounds[1] - bounds[0]) * (rng.random() + rng.random()) / 2


def draw_expression(rng: np.random.Generator, options: FaceOptions) -> Expression:
    opened = rng.random() < options.mouth_open
    jaw = options.jaw[0] + (options.jaw[1] - options.jaw[0]) * rng.random() ** 1.6
    lips = rng.random(4)
    return Expression(
        jaw=jaw if opened else 0.0,
        part=lips[0] if opened else 0.0,
        wide=_within(rng, options.wide),
        protrude=max(0.0, lips[1] - 0.75) * 3,
        press=max(0.0, lips[2] - 0.7) * 2.4 if not opened else 0.0,
        tuck=max(0.0, lips[3] - 0.85) * 5 if opened else 0.0,
        teeth=rng.random(),
        tongue=rng.uniform(0, 0.95),
        blink=rng.uniform(0.6, 1.0) if rng.random() < options.blink else rng.random() ** 3 * 0.45,
        brow=rng.normal(0, 0.45),
        gaze_x=float(np.clip(rng.normal(0, 0.3), -1, 1)),
        gaze_y=float(np.clip(rng.normal(0, 0.3), -1, 1)),
    )


def draw_scene(
    rng: np.random.Generator,
    person: Person,
    *,
    height: int,
    width: int,
    options: FaceOptions,
    around: slice,
    fill: float,
    drop: float,
) -> tuple[Scene, tuple[str, ...]]:
    """A scene in which the landmarks `around` fill the share `fill` of the picture, and its tags."""
    o = options
    pose = Pose(_within(rng, o.yaw), _within(rng, o.pitch), _within(rng, o.roll))
    expression = draw_expression(rng, o)
    side, low, glossy = rng.random(3) < (o.side_light, o.low_light, o.specular)
    side &= not low  # both at once leave nothing to see
    light = draw_light(rng, side=side, low=low, glossy=glossy)
    camera = draw_camera(
        rng, blur=o.blur, noise=o.noise, jpeg=o.jpeg, low_resolution=o.low_resolution, strength=o.camera_strength
    )
    backdrop = background(height, width, rng, skin=person.skin, hair=person.hair)
    scene = Scene(
        person=person, expression=expression, pose=pose, light=light, camera=camera, backdrop=backdrop,
        cloth=rng.uniform(10, 220) + rng.uniform(-60, 60, 3) * rng.random(), lean=rng.normal(0, 0.08),
        x=0.0, y=0.0, scale=1.0,
    )  # fmt: skip
    shift, zoom = rng.uniform(-1, 1, 2) * o.crop_jitter, 1 + rng.uniform(-1, 1) * o.crop_jitter
    shift[1] += drop
    scene = frame(scene, around=around, fill=fill * zoom, shift=shift)
    tags = [
        ("side_light", side), ("low_light", low), ("specular", glossy), ("blur", camera.motion + camera.defocus > 0),
        ("noise", camera.noise > 5), ("jpeg", camera.jpeg > 0), ("low_resolution", camera.resolution < 1),
        ("beard", person.beard != "none"), ("glasses", person.glasses > 0), ("makeup", person.makeup > 0),
        ("bald", person.style == "bald"), ("large_pose", abs(pose.yaw) > 25), ("mouth_open", expression.jaw > 0.15),
    ]  # fmt: skip
    return scene, tuple(name for name, present in tags if present)


def frame(scene: Scene, *, around: slice, fill: float, shift: np.ndarray) -> Scene:
    """The scene with its head placed so that the landmarks `around` fill the share `fill` of the picture."""
    height, width = scene.backdrop.shape[:2]
    points = replace(scene, x=0.0, y=0.0, scale=1.0).head().landmarks[around]
    low, high = points.min(0), points.max(0)
    scale = fill * min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    x, y = np.array([width, height]) * (0.5 + np.asarray(shift)) - scale * (low + high) / 2
    return replace(scene, x=float(x), y=float(y), scale=float(scale))


def paint(scene: Scene) -> tuple[Canvas, head.Head]:
    """The scene from back to front, before exposure, occluders and camera."""
    canvas = Canvas(scene.backdrop.copy())
    h = scene.head()
    person = scene.person
    locks = hair.Hair(canvas, h) if person.style != "bald" else None
    long = person.style in ("long", "curly", "fringe")
    if locks and long:
        locks.behind()
    head.paint_neck_and_clothes(canvas, h, scene.cloth * (h.light.ambient + 0.6 * h.light.key), scene.lean)
    if locks and not long:
        locks.behind()
    near = -1 if scene.pose.yaw > 0 else 1
    head.paint_ear(canvas, h, -near)
    mask, u, v = head.paint_skin(canvas, h)
    if person.beard != "none":
        head.paint_beard(canvas, h, mask, u, v)
    head.paint_nose(canvas, h)
    features.paint_mouth(canvas, h)
    features.paint_eyes(canvas, h)
    features.paint_brows(canvas, h)
    head.light_skin(canvas, h, mask, u, v)
    features.glint_eyes(canvas, h)
    head.paint_ear(canvas, h, near)
    if person.glasses:
        hair.paint_glasses(canvas, h)
    if locks:
        locks.before()
    canvas.image *= np.float32(h.light.exposure)
    return canvas, h


def paint_lower_face(scene: Scene) -> tuple[Canvas, head.Head]:
    """The scene as in `paint`, but without eyes, brows, ears, hair of the head and glasses, at half the cost."""
    canvas = Canvas(scene.backdrop.copy())
    h = scene.head()
    head.paint_neck_and_clothes(canvas, h, scene.cloth * (h.light.ambient + 0.6 * h.light.key), scene.lean)
    mask, u, v = head.paint_skin(canvas, h)
    if scene.person.beard != "none":
        head.paint_beard(canvas, h, mask, u, v)
    head.paint_nose(canvas, h)
    features.paint_mouth(canvas, h)
    head.light_skin(canvas, h, mask, u, v)
    canvas.image *= np.float32(h.light.exposure)
    return canvas, h


def occlude(
    canvas: Canvas, h: head.Head, rng: np.random.Generator, *, probability: float, second: float, mouth: bool
) -> int:
    """Put none, one or two occluders over the painted face (or mouth), in place; returns how many."""
    count = int(rng.random() < probability)
    count += count * int(rng.random() < second)
    for _ in range(count):
        near = h.landmarks[48:60].mean(0) - (0, h.px(0.25)) if mouth else h.landmarks[30]
        near = tuple(near + h.px(0.25) * rng.normal(0, 1, 2))
        kind = MOUTH_OCCLUDERS[rng.integers(len(MOUTH_OCCLUDERS))] if mouth else None
        image = np.clip(canvas.image, 0, 255).astype(np.uint8)
        image, canvas.labels = occluders.paste_occluder(
            image, canvas.labels, rng, label=parts.OCCLUDER, near=near, scale=h.px(1.4 if mouth else 1.9), kind=kind
        )
        canvas.image = image.astype(np.float32)
    return count


def annotate(labels: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, sigma: float):
    """The labels and landmarks of an annotator whose borders and points are off by `sigma` pixels."""
    if sigma <= 0:
        return labels, landmarks
    h, w = labels.shape
    # neighbouring border pixels err together, over about a tenth of the picture
    offset = cv2.resize(
        rng.normal(0, sigma * 1.3, (12, 12, 2)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC
    )
    x = np.arange(w, dtype=np.float32)[None] + offset[..., 0]
    y = np.arange(h, dtype=np.float32)[:, None] + offset[..., 1]
    moved = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return moved, landmarks + rng.normal(0, sigma, landmarks.shape)


def _face(seed, index, height, width, options, person, mouth) -> Face:
    if min(height, width) < 16:
        raise UserError(f"a face needs at least 16 pixels a side, found {height}×{width}: ask for a larger size.")
    who = person_of(seed, index, person, options)
    rng = stream(seed, index, _SCENE)
    around = slice(48, 68) if mouth else slice(0, 68)
    fill, drop = (0.6, 0.0) if mouth else (1 / (1 + 2 * options.crop_margin), 0.05)  # hair needs room above
    scene, tags = draw_scene(rng, who, height=height, width=width, options=options, around=around, fill=fill, drop=drop)
    canvas, h = paint(scene)
    bare = canvas.labels
    noise = stream(seed, index, _FRAME)
    if occlude(canvas, h, rng, probability=options.occluder, second=options.second_occluder, mouth=mouth):
        tags = (*tags, "occluded")
    image = expose(canvas.image, scene.camera, noise)
    landmarks = h.landmarks
    low, high = landmarks.min(0), landmarks.max(0)
    box = np.concatenate([low - 0.1 * (high - low), 1.2 * (high - low)])
    if options.annotator_noise > 0:
        state = noise.bit_generator.state
        bare, _ = annotate(bare, landmarks, noise, options.annotator_noise)
        noise.bit_generator.state = state  # the same slip of the pen with and without the occluder
        canvas.labels, landmarks = annotate(canvas.labels, landmarks, noise, options.annotator_noise)
    return Face(image, canvas.labels, bare, landmarks.astype(np.float32), box.astype(np.float32), tags)


def render(
    seed: int, index: int, *, size: int = 128, options: FaceOptions = DEFAULT, person: int | None = None
) -> Face:
    """Face `index` of the infinite series with this `seed`; `person` fixes the identity, else every index has its own.

    Returns a Face of size × size pixels; the same arguments give the same image on every machine. UserError for a
    size below 16 pixels or a negative seed, index or person.
    """
    return _face(seed, index, size, size, options, person, mouth=False)


def mouth_crop(
    seed: int,
    index: int,
    *,
    size: tuple[int, int] = (128, 256),
    options: FaceOptions = DEFAULT,
    person: int | None = None,
) -> Face:
    """The mouth of a face, painted at `size` (height, width): its box fills about 0.6 of the picture."""
    return _face(seed, index, size[0], size[1], options, person, mouth=True)
