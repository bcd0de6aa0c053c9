"""The trainings behind a trial of sheng2021, their numbers of clips, and what shared stages depend on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from reprolib.planning import Network, Work
from reprolib.studies.sheng2021.config import Config, Sizes
from reprolib.studies.sheng2021.rows import RECIPE

SPLIT = (0.65, 0.1, 0.25)  # of the speakers of rendered clips: training, validation, test
MASK_CHANNELS = 4  # lip, teeth, tongue, cavity
OUTPUTS = 39  # a decoder's characters and EOS (Sec. IV-B)
SPELT = 26  # characters that are counted for a sentence
# Words or sentences for training and validation, at most: damaged clips are left out.
COUNTS = {("grid", "words"): (4200, 600), ("grid", "sentences"): (700, 100), ("lipnet-ita", "words"): (1759, 264)}
CLASSES = {"grid": 51, "lipnet-ita": 71, "facesynth": 30, "lrw": 500}


def work(config: Config) -> list[Work]:
    """The trainings behind one trial, in the order in which they run; a stage that exists already is not repeated."""
    before = [made for earlier in config.before for made in work(earlier)]
    if config.training is None:
        return before
    train, validation = examples_for(config)
    training, network = config.training, Network(described(config), classes_of(config), 0, config.sizes.size)
    spec = stage_spec(config) if is_shared(config) else None
    loss = "characters" if config.task == "sentences" else "words"
    own = Work(stage_name(config), config.dataset, network, config, loss, training.epochs, training.batch_size, train,
               validation, spec)  # fmt: skip
    return [*before, own]


def is_shared(config: Config) -> bool:
    """Whether a training is kept for the rows that start from it: whole networks of the paper's streams, on words."""
    return config.task == "words" and config.network == "Streams" and config.start in ("random", "streams")


def stage_spec(config: Config) -> dict[str, Any]:
    """All that a shared training depends on, except its seed: trials with equal ones share it."""
    return {"stage": "words", "recipe": RECIPE, **asdict(config)}


def stage_name(config: Config) -> str:
    """The name of the training as `plan` prints it: "words, local stream without LMFE"."""
    parts = [config.task, {"both": "two streams"}.get(config.streams, f"{config.streams} stream")]
    lacking = (("LMFE", config.motion), ("LCFE", config.coordinates), ("encoding", config.encoding))
    if config.streams != "global":
        parts += [f"without {name}" for name, there in lacking if not there]
        parts += [] if config.graph == "both" else [f"graph {config.graph}"]
        parts += ["sparse"] if config.points == "nose and mouth" else []
    parts += ["masks"] if config.masks else []
    parts += ["again"] if config.start == "streams" and config.streams != "both" else []
    return ", ".join([*parts, config.back_end])


def classes_of(config: Config) -> int:
    """Number of words in the vocabulary, or of the characters that a decoder outputs."""
    return OUTPUTS if config.task == "sentences" else config.vocabulary or CLASSES[config.dataset]


def examples_for(config: Config) -> tuple[int, int]:
    """Words or sentences for training and validation, at most."""
    if config.dataset == "lrw":
        return tuple(CLASSES["lrw"] * count for count in (config.clips, max(1, config.clips // 5)))
    if (config.dataset, config.task) in COUNTS:
        return COUNTS[config.dataset, config.task]
    total = config.clips if config.dataset in ("lrs2", "lrs3") else round(config.clips / SPLIT[0])
    return round(SPLIT[0] * total), round(SPLIT[1] * total)


def italian_frames(sizes: Sizes) -> int:
    """Frames of the longest word of LipNet-ITA, 1.5 times a window of GRID."""
    return 3 * sizes.frames // 2


def italian_size(sizes: Sizes) -> tuple[int, int]:
    """Height and width of LipNet-ITA's mouths, pixels; their area is about that of a crop."""
    return 3 * sizes.crop // 4, 3 * sizes.crop // 2


def described(config: Config) -> str:
    """All of a network that its cost depends on: "local stream 8/12 px …"."""
    sizes = config.sizes
    trained = replace(config, before=())
    parts = [f"{trained.network} {stage_name(trained)}", config.start, config.dataset, str(config.points)]
    numbers = (sizes.frames, sizes.crop, sizes.patch, sizes.width, sizes.layers, sizes.subgraphs, sizes.blocks)
    return " ".join([*parts, "/".join(map(str, numbers))]).replace(",", "")
