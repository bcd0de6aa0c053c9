"""The training behind a trial of yang2023, and its numbers of mouths."""

from __future__ import annotations

from reprolib.planning import Network, Work
from reprolib.studies.yang2023.config import Config

# Mouths for training and validation, at most: FLRSeg is split by speakers, two faces of CelebAMask-HQ have no mouth.
MOUTHS = {"celebamask": (649, 79), "flrseg": (441, 63), "facesynth": (440, 88)}


def work(config: Config) -> list[Work]:
    """The one training behind a trial; none for a prediction that ignores the image."""
    training = config.training
    if training is None:
        return []
    train, validation = mouths_for(config)
    network = Network(_described(config), len(config.classes), 0, config.height)
    return [
        Work("training", config.dataset, network, config, config.dice, training.epochs, training.batch_size, train,
             validation, aspect=config.width // config.height)
    ]  # fmt: skip


def mouths_for(config: Config) -> tuple[int, int]:
    """Mouths for training and validation, at most."""
    train, validation = MOUTHS[config.dataset]
    return min(config.train_mouths or train, train), min(config.test_mouths or validation, validation)


def _described(config: Config) -> str:
    """All of a network that its cost depends on: "LipNetwork mobilenet_v2 reconstruction 6/8/24 fuzzy 4/8/16"."""
    parts = [config.network, config.encoder]
    if config.flm != "none":
        parts += [config.flm, "/".join(map(str, config.kernels or ()))]
    if config.fgr != "none":
        parts += [config.fgr, "shared" if config.shared_gcn else ""]
    if config.nodes:
        parts.append("/".join(map(str, config.nodes)))
    return " ".join(filter(None, parts))
