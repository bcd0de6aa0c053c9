"""Train a network on your own images and masks: yang2023's lip network or a plain U-Net.

    from reprolib import own_masks
    own_masks.fit("IMAGES", "MASKS", classes="classes.json", out="RUN")
    labels = own_masks.load("RUN/network.pt").label(photo)

The images are split into parts for training, for choosing the best epoch, and for one score at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from reprolib import metrics
from reprolib.checkpoints import load_network, save_network
from reprolib.datasets import folders
from reprolib.datasets.augmentation import augment
from reprolib.datasets.faces import FaceSet
from reprolib.datasets.people import split_people
from reprolib.datasets.pictures import IGNORED, read_labels, read_picture, resize_labels, resize_picture, same_size
from reprolib.errors import UserError
from reprolib.losses.lip_loss import ce_dice_loss, lip_loss
from reprolib.machine import resolve_device
from reprolib.models import pretrained as imagenet
from reprolib.models.encoders import load_imagenet
from reprolib.models.lip_inference import OneOutput
from reprolib.models.lip_network import STRIDE, LipNetwork
from reprolib.photo_files import PHOTOS, make_folder, write_bytes
from reprolib.training import Batch, Schedule, channels_first, make_fabric, predict, train

PARTS = ("train", "validation", "test")
SHARES = (0.7, 0.15, 0.15)
LEAST_GROUPS = 10
PATIENCE = 10  # epochs


@dataclass(frozen=True)
class OwnNetwork:
    """A trained network, its classes by number, and the (height, width) to which images are scaled for it."""

    network: OneOutput
    classes: tuple[str, ...]
    size: tuple[int, int]

    def label(self, photo: np.ndarray) -> np.ndarray:
        """Labels uint8 (H, W) of a uint8 (H, W, 3) RGB photo."""
        return resize_labels(_find(self.network, resize_picture(photo, self.size)[None])[0], photo.shape[:2])


def fit(
    images: Path | str,
    masks: Path | str,
    *,
    classes: Path | str,
    out: Path | str,
    network: str = "lips",
    encoder: str = "mobilenet_v2",
    pretrained: bool = True,
    size: tuple[int, int] = (64, 128),
    group: str = "",
    epochs: int = 60,
    batch_size: int = 16,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> dict:
    """Train on images and masks from two folders, and return scores on images that training did not see.

    The mask of NAME.jpg is NAME.png or NAME_mask.png: class numbers, grey or palette, 0 = background, 255 = ignored.
    classes: a file with the class names in order, a .json list or text with one per line. network: "lips" (yang2023's)
    or "unet". encoder: mobilenet_v2, resnet18 or resnet34; "unet" also takes resnet50 and vgg16. `pretrained` starts it
    from ImageNet weights. size: (height, width) in pixels, multiples of 32, to which images are scaled. group: a
    regular expression; images in whose names it matches the same text (one person, one video) stay in one part.
    Writes to the folder `out`: network.pt, split.json and scores.json, the returned dict: IoU of each class on the test
    part, beside that of predicting each pixel's most frequent class. UserError for inputs that cannot be used.
    """
    names, out = read_classes(Path(classes)), Path(out)
    if any(side < STRIDE or side % STRIDE for side in size):
        raise UserError(f"the size should be multiples of {STRIDE}, but is {size[0]}×{size[1]}: choose another")
    device = resolve_device(device)
    pairs = read_pairs(Path(images), Path(masks), classes=names, size=size)
    parts = split(pairs.names, group=group, seed=seed)
    make_folder(out)
    learn, choose, test = (pairs.subset(indices) for indices in parts)
    torch.manual_seed(seed)
    arguments = {"network": network, "encoder": encoder, "classes": len(names)}
    model = build(**arguments, pretrained=pretrained)

    def ious(found: np.ndarray, of: FaceSet) -> np.ndarray:
        return metrics.iou(metrics.confusion(found, of.labels, len(names)).sum(0))

    def loss(scores: Tensor, batch: Batch) -> Tensor:
        if scores.shape[1] == len(names):
            return ce_dice_loss(scores, batch["labels"])
        return lip_loss(*scores.split([len(names), 1, len(names)], dim=1), batch["labels"])

    with tqdm(total=epochs, desc="epochs", disable=None) as bar:

        def validate(trained: OneOutput) -> float:
            bar.update()
            return float(np.nanmean(ious(_find(trained, choose.images), choose)))

        schedule = Schedule.plateau(
            epochs, batch_size, lr, final_lr=lr / 100, drop_after=3, patience=PATIENCE, optimiser=torch.optim.AdamW
        )
        data = {"images": channels_first(learn.images), "labels": torch.from_numpy(learn.labels)}
        fitted = train(
            model, data, loss, schedule=schedule, fabric=make_fabric(device), seed=seed, prepare=_prepare,
            augment=augment, validate=validate,
        )  # fmt: skip
    counts = np.stack([(learn.labels == k).sum(0) for k in range(len(names))])
    frequent = np.broadcast_to(counts.argmax(0).astype(np.uint8), test.labels.shape)
    scores = {
        "iou": _named(names, ious(_find(model, test.images), test)),
        "iou of the most frequent class": _named(names, ious(frequent, test)),
        "images": {part: len(indices) for part, indices in zip(PARTS, parts, strict=True)},
        "best epoch": fitted.stopped.best_epoch,
        "converged": fitted.stopped.converged,
    }
    save_network(out / "network.pt", model.network, arguments=arguments, names=list(names), size=list(size))
    members = {part: [pairs.names[i] for i in indices] for part, indices in zip(PARTS, parts, strict=True)}
    for file, content in (("scores.json", scores), ("split.json", members)):
        write_bytes(out / file, json.dumps(content, indent=1).encode())
    return scores


def load(path: Path | str) -> OwnNetwork:
    """The network that `fit` wrote, on the CPU; UserError if the file is missing or no such network."""
    kept, about = load_network(
        Path(path), lambda **arguments: build(**arguments).network, study="your network", what="network of `train`"
    )
    return OwnNetwork(OneOutput(kept, imagenet=True).eval(), tuple(about["names"]), tuple(about["size"]))


def build(*, network: str, encoder: str, classes: int, pretrained: bool = False) -> OneOutput:
    """The network "lips" or "unet" before training; UserError for another network or encoder."""
    if network not in ("lips", "unet"):
        raise UserError(f"expected the network lips or unet, found {network!r}; choose one of them")
    if (pretrained or network == "unet") and encoder not in imagenet.NAMES:
        raise UserError(
            f"expected one of the encoders {', '.join(imagenet.NAMES)}, found {encoder!r}; choose one of them"
        )
    if network == "unet":
        return OneOutput(imagenet.unet(encoder, classes, pretrained=pretrained), imagenet=True)
    lips = LipNetwork(classes=classes, encoder=encoder)
    if pretrained:
        load_imagenet(lips.encoder, encoder)
    return OneOutput(lips, imagenet=True)


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes by number: a .json list, or a text file with one per line; UserError for other files."""
    try:
        names = json.loads(folders.read_text(path)) if path.suffix == ".json" else folders.read_lines(path)
    except json.JSONDecodeError as error:
        raise UserError(f'{path} should be JSON, but is not ({error}): write it as ["background", …]') from error
    if not isinstance(names, list) or not 2 <= len(names) < IGNORED or len({str(name) for name in names}) < len(names):
        raise UserError(f"{path} should list the names of 2 to {IGNORED - 1} classes, all different, by number")
    return tuple(str(name) for name in names)


def read_pairs(images: Path, masks: Path, *, classes: tuple[str, ...], size: tuple[int, int]) -> FaceSet:
    """Every image that has a mask, scaled to `size`; a few unusable pairs are left out with a warning.

    A pair is unusable if it is damaged, image and mask differ in size, or the mask has numbers beyond the classes.
    UserError without pairs, or if more than a few are unusable.
    """
    labelled = {
        path.stem.removesuffix("_mask"): path for path in folders.files(masks, ".png") if _is_mask(path, images)
    }
    files = [path for path in folders.files(images, *PHOTOS) if path.stem in labelled and path != labelled[path.stem]]
    if not files:
        raise UserError(f"{images} should hold images whose masks are {masks}/NAME.png or NAME_mask.png, but has none")
    kept, skipped = [], folders.Skipped(f"images of {images}", len(files))
    for path in tqdm(files, "images", disable=None):
        with skipped.item():
            image, labels = read_picture(path), read_labels(labelled[path.stem])
            same_size(image.shape[1::-1], labels.shape[::-1], labelled[path.stem])
            if (highest := int(labels[labels != IGNORED].max(initial=0))) >= len(classes):
                raise UserError(
                    f"{labelled[path.stem]} should hold class numbers below {len(classes)}, but holds {highest}: "
                    "name all classes, or convert the mask"
                )
            kept.append((resize_picture(image, size), resize_labels(labels, size), path.stem))
    skipped.warn()
    pixels, numbers, names = zip(*kept, strict=True)
    return FaceSet(np.stack(pixels), np.stack(numbers), classes, names)


def split(names: Sequence[str], *, group: str, seed: int) -> list[np.ndarray]:
    """Indices for training, validation and test, about 70, 15 and 15 % of the groups; UserError for fewer than ten."""
    try:
        matches = [re.search(group, name) for name in names]
    except re.error as error:
        raise UserError(f"the group {group!r} should be a regular expression, but is not ({error})") from error
    # without a group, and where it matches nothing, each image is its own
    groups = [match.group() if match and match.group() else name for match, name in zip(matches, names, strict=True)]
    if (found := len(set(groups))) < LEAST_GROUPS:
        raise UserError(f"training needs {LEAST_GROUPS} groups of images or more, but has {found}: add images")
    return split_people(groups, parts=SHARES, seed=seed, called="groups")


def _is_mask(path: Path, images: Path) -> bool:
    """If images and masks share a folder, only NAME_mask.png is a mask."""
    return path.stem.endswith("_mask") or path.parent.resolve() != images.resolve()


def _named(names: tuple[str, ...], ious: np.ndarray) -> dict[str, float | None]:
    values = {
        name: round(float(value), 4) if np.isfinite(value) else None for name, value in zip(names, ious, strict=True)
    }
    return values | {"mean": round(float(np.nanmean(ious)), 4)}


def _find(network: OneOutput, images: np.ndarray) -> np.ndarray:
    """Labels uint8 (N, H, W) of images uint8 (N, H, W, 3)."""
    return predict(network, channels_first(images), prepare=_prepare)


def _prepare(batch: Batch) -> dict[str, Tensor]:
    """As `augment` takes it: images in [−1, 1]."""
    made = {"images": batch["images"].float().div(127.5).sub(1)}
    return made | {"labels": batch["labels"].long()} if "labels" in batch else made
