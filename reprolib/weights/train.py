"""How the weights in this folder were made: `python -m reprolib.weights.train features --data-root DATA --out DIR`.

Two networks, `features` (brows, eyes, nose, lips, inner mouth; also where something covers them) and `regions` (face,
hair, ears, neck, cloth, hat, glasses; only what shows). Both start from ImageNet and train on 650 faces of
CelebAMask-HQ (Lee et al., CVPR 2020) in the square that dlib's landmarks give a face. `features` also sees the 870
faces of HELEN with hand-set points, `regions` the training faces of LFW Part Labels. Their labels are coarser: a
pixel's label is the set of classes that it allows, and the loss is that of the set's probability.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reprolib import face_frame
from reprolib.datasets import landmarks
from reprolib.datasets.landmark_masks import inside, spline
from reprolib.datasets.three_hundred_vw import read_points
from reprolib.face_frame import Frame, Window
from reprolib.models.face_parser import FEATURES, REGIONS, FaceParser, as_input

SPLIT = Path(__file__).parent.parent / "datasets" / "celebamask_split.csv"
ANY = 255  # a pixel whose label is not known
BATCH, OTHERS = 16, 4  # of which so many come from the second source
FROZEN = 2  # stages of the encoder that keep ImageNet's weights: they cost most and change least

MIRRORED = {"features": (0, 2, 1, 4, 3, 5, 6, 7, 8, 9, 11, 10), "regions": tuple(range(12))}
# labels beyond the classes: sets of them
ALLOWED = {
    "features": [(0, 1, 2, 5), (0, 3), (0, 4)],  # outside of polygons of eyes and lips; along the rim of an eye
    "regions": [
        (1, 3, 4, 7),  # LFW's skin
        (0, 5, 6),  # LFW's background
        (1, 7),  # an eye behind glasses
        (0, 2, 3, 4, 5),  # earring, necklace
    ],
}
# CelebAMask-HQ's 19 classes in each network's labels: background, skin, nose, glasses, eyes, brows, ears, mouth, …
CELEBAMASK = {
    "features": np.array([0, 0, 5, 0, 3, 4, 1, 2, 0, 0, 7, 6, 8, 0, 0, 0, 0, 0, 0], np.uint8),
    "regions": np.array([0, 1, 1, 7, 1, 1, 1, 1, 3, 3, 1, 1, 1, 2, 6, 11, 11, 4, 5], np.uint8),
}


@dataclass(frozen=True)
class Face:
    """image uint8 (H, W, 3) RGB, labels uint8 (H, W) with classes, sets of classes or `ANY`, and where the face is."""

    image: np.ndarray
    labels: np.ndarray
    frame: Frame


def celebamask(root: Path, part: str, network: str) -> list[Face]:
    """The faces of one part of the split; left and right of brows and eyes are the person's, whatever the file says."""
    with SPLIT.open(encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["part"] == part]
    faces = []
    for name in names:
        image = np.array(Image.open(root / "celebamask" / "images" / f"{name}.jpg").convert("RGB"))
        original = sides_by_place(np.array(Image.open(root / "celebamask" / "masks" / f"{name}.png")))
        labels = CELEBAMASK[network][original]
        if network == "regions" and (original == 3).any():
            labels[np.isin(original, (4, 5, 6, 7))] = 10
        faces.append(Face(image, labels, face_frame.whole(*image.shape[:2])))
    return faces


def sides_by_place(labels: np.ndarray) -> np.ndarray:
    """CelebAMask-HQ's labels with left and right eye, brow and ear as they lie: the person's left is at larger x.

    Where one of a pair shows, the middle of nose and mouth decides.
    """
    labels = labels.copy()
    middle = np.nonzero(np.isin(labels, (2, 10, 11, 12)))[1]
    for left, right in ((4, 5), (6, 7), (8, 9)):
        x_left, x_right = np.nonzero(labels == left)[1], np.nonzero(labels == right)[1]
        if len(x_left) and len(x_right):
            swapped = x_left.mean() < x_right.mean()
        elif len(middle) and len(x_left) + len(x_right):
            swapped = (x_left.mean() < middle.mean()) if len(x_left) else (x_right.mean() > middle.mean())
        else:
            continue
        if swapped:
            was_left, was_right = labels == left, labels == right
            labels[was_left], labels[was_right] = right, left
    return labels


def hand_set(root: Path, folder: str) -> list[Face]:
    """Faces with hand-set points: polygons of lips, inner mouth and eyes; brows and nose are not known."""
    faces = []
    for path in sorted((root / "landmarks300w" / folder).glob("*.jpg")):
        points = read_points(path.with_suffix(".pts")).astype(float)
        image = np.array(Image.open(path).convert("RGB"))
        faces.append(Face(image, polygons(points, image.shape[:2]), face_frame.frame_of(points)))
    return faces


def polygons(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels uint8 (H, W) of `features` from (68, 2) points, along splines; an eye's rim may be eye or not."""
    labels = np.full(shape, 9, np.uint8)

    def fill(value: int, *arcs: Sequence[int]) -> np.ndarray:
        outline = np.concatenate([spline(points[list(arc)])[:-1] for arc in arcs])
        labels[found := inside(outline, shape)] = value
        return found

    for value, rim, first in ((3, 10, 42), (4, 11, 36)):
        eye = fill(value, range(first, first + 4), (first + 3, first + 4, first + 5, first))
        width = max(1, round(0.12 * np.ptp(points[first : first + 6], axis=0).max()))
        grown = cv2.dilate(eye.astype(np.uint8), np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > 0
        labels[grown & ~eye] = rim
    fill(8, range(48, 55), (*range(54, 60), 48))  # the whole mouth, whose rest is the lower lip
    fill(6, range(48, 55), (54, 64), (64, 63, 62, 61, 60), (60, 48))
    fill(7, range(60, 65), (*range(64, 68), 60))
    return labels


def part_labels(root: Path, out: Path) -> list[Face]:
    """LFW Part Labels' training faces that dlib finds: hair, skin and background, not known near their borders."""
    lines = (root / "lfw" / "parts_train.txt").read_text(encoding="utf-8").split("\n")
    names = [(line.split()[0], f"{line.split()[0]}_{int(line.split()[1]):04d}") for line in lines if line.strip()]
    photos = [root / "lfw" / "lfw_funneled" / person / f"{name}.jpg" for person, name in names]
    images = np.stack([np.array(Image.open(photo).convert("RGB")) for photo in photos])
    faces = []
    for (_, name), image, points in zip(names, images, landmarks.detect_many(images, cache=out), strict=True):
        if np.isnan(points).any():
            continue
        colours = np.array(Image.open(root / "lfw" / "parts_lfw_funneled_gt_images" / f"{name}.png").convert("RGB"))
        strongest = colours.argmax(-1)  # red hair, green skin, blue background
        labels = np.array([2, 8, 9], np.uint8)[strongest]
        grown, shrunk = (way(labels, np.ones((5, 5), np.uint8)) for way in (cv2.dilate, cv2.erode))
        labels[grown != shrunk] = ANY
        faces.append(Face(image, labels, face_frame.frame_of(points)))
    return faces


def augmented(
    face: Face, window: Window, network: str, textures: Sequence[Face], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A window of a face as a careless camera would take it: image uint8 (size, size, 3), labels (size, size)."""
    size = window.size
    matrix = face_frame.to_window(face.frame, window)
    # rotation, scale, stretch and shift about the window's middle
    angle = np.radians(rng.uniform(-35, 35) if rng.random() < 0.15 else rng.normal(0, 9))
    scale, stretch = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.05))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = scale * turn @ np.diag([stretch, 1 / stretch])
    middle = np.full(2, (size - 1) / 2)
    matrix = turn @ (matrix - np.array([[0, 0, middle[0]], [0, 0, middle[1]]]))
    matrix[:, 2] += middle + rng.normal(0, 0.05 * size, 2)
    border = cv2.BORDER_CONSTANT if rng.random() < 0.6 else cv2.BORDER_REPLICATE
    image = face_frame.cut(face.image, matrix, size, border=border)
    labels = cv2.warpAffine(face.labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=ANY)
    if rng.random() < 0.5:
        image, known = image[:, ::-1], labels[:, ::-1]
        labels = np.append(np.array(MIRRORED[network], np.uint8), np.full(256 - 12, ANY, np.uint8))[known]
    if rng.random() < 0.35:
        image, covered = occluded(image, textures[rng.integers(len(textures))].image, rng)
        if network == "regions":
            labels = np.where(covered, 0, labels)
    return degraded(image, rng), np.ascontiguousarray(labels)


def occluded(image: np.ndarray, texture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image with one or two blobs pasted on it, cut out of another picture; and bool (H, W) where they are."""
    size = len(image)
    covered = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 3)):
        turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        radius = rng.uniform(0.06, 0.2) * size * np.exp(rng.normal(0, 0.2, 12))
        blob = np.stack([np.cos(turns) * radius, np.sin(turns) * radius * rng.uniform(0.3, 1)], 1)
        angle = rng.uniform(0, np.pi)
        blob = blob @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        cv2.fillPoly(covered, [np.round(blob + rng.uniform(0.1, 0.9, 2) * size).astype(np.int32)], 1)
    y, x = (int(rng.integers(0, max(1, side - size // 2))) for side in texture.shape[:2])
    patch = cv2.resize(texture[y : y + size // 2, x : x + size // 2], (size, size)).astype(np.float32)
    patch = np.clip(patch * rng.uniform(0.5, 1.4, 3) + rng.uniform(-30, 30), 0, 255)
    soft = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 0.7)[..., None]
    return (image * (1 - soft) + patch * soft).astype(np.uint8), covered > 0


def degraded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) with other colours and light, and at times dark, noisy, blurred, coarse or a poor JPEG."""
    size = len(image)
    if rng.random() < 0.3:
        if rng.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
        else:
            small = int(size / rng.uniform(1.3, 4))
            image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    pixels = image.astype(np.float32) / 255
    if rng.random() < 0.12:
        pixels = np.repeat(pixels.mean(-1, keepdims=True), 3, -1)
    else:
        grey = pixels.mean(-1, keepdims=True)
        pixels = (grey + (pixels - grey) * rng.uniform(0.5, 1.5)) * np.exp(rng.normal(0, 0.08, 3))
    if rng.random() < 0.3:  # light from one side
        ramp = np.linspace(-1, 1, size)
        slope = rng.normal(0, 0.35, 2)
        pixels = pixels * np.exp(np.add.outer(ramp * slope[0], ramp * slope[1]))[..., None]
    dark = rng.random() < 0.15
    gain = rng.uniform(0.12, 0.5) if dark else np.exp(rng.normal(0, 0.2))
    pixels = gain * np.clip(pixels, 0, None) ** np.exp(rng.normal(0, 0.2))
    if dark or rng.random() < 0.2:
        pixels = pixels + rng.normal(0, rng.uniform(0.005, 0.05), pixels.shape)
    image = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])
        image = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return image


def set_loss(scores: Tensor, labels: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy of the sets of classes that labels allow, plus half the Dice loss where the class is known.

    scores float32 (N, C, H, W); labels int64 (N, H, W), rows of allowed bool (labels, C).
    """
    classes = scores.shape[1]
    log_probabilities = scores.log_softmax(1)
    permitted = allowed[labels].permute(0, 3, 1, 2)
    cross_entropy = -log_probabilities.masked_fill(~permitted, -30.0).logsumexp(1).mean()
    known = (labels < classes).unsqueeze(1)
    truth = F.one_hot(labels.clamp(max=classes - 1), classes).permute(0, 3, 1, 2) * known
    probabilities = log_probabilities.exp() * known
    # rows without unknown pixels carry the overlap: polygons leave out what brows and noses are
    overlap, total = (values.sum((0, 2, 3))[1:] for values in (probabilities * truth, probabilities + truth))
    return cross_entropy + 0.5 * (1 - (2 * overlap + 1) / (total + 1)).mean()


def f1_scores(network: FaceParser, faces: Sequence[Face], window: Window, classes: int) -> np.ndarray:
    """F1 of each class in the window, pooled over faces, NaN for absent ones; pixels without a class do not count."""
    counts = np.zeros((classes, 3))
    network.eval()
    for face in faces:
        matrix = face_frame.to_window(face.frame, window)
        image = face_frame.cut(face.image, matrix, window.size)
        size = (window.size, window.size)
        labels = cv2.warpAffine(face.labels, matrix, size, flags=cv2.INTER_NEAREST, borderValue=ANY)
        with torch.inference_mode():
            found = network(as_input(image[None]))[0].argmax(0).numpy()
        known = labels < ANY
        for k in range(classes):
            is_found, is_true = (found == k) & known, labels == k
            counts[k] += (is_found & is_true).sum(), is_found.sum(), is_true.sum()
    with np.errstate(invalid="ignore"):
        return np.where(counts[:, 2] > 0, 2 * counts[:, 0] / (counts[:, 1] + counts[:, 2]), np.nan)


def imagenet() -> dict[str, Tensor]:
    """torchvision's weights of MobileNetV2, downloaded once."""
    from torchvision.models import MobileNet_V2_Weights  # loads slowly

    return MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)


def train(network_name: str, *, data_root: Path, out: Path, epochs: int, seed: int = 0) -> None:
    """Train one of the two networks; goes on from the last whole epoch in `out`, writes NAME.npz there at the end."""
    out.mkdir(parents=True, exist_ok=True)
    window = getattr(face_frame, network_name.upper())
    names = FEATURES if network_name == "features" else REGIONS
    faces = celebamask(data_root, "train", network_name)
    others = hand_set(data_root, "helen_train") if network_name == "features" else part_labels(data_root, out)
    validation = celebamask(data_root, "validation", network_name)
    allowed = torch.zeros(256, len(names), dtype=torch.bool)
    allowed[: len(names)] = torch.eye(len(names), dtype=torch.bool)
    for row, classes in enumerate(ALLOWED[network_name], len(names)):
        allowed[row, list(classes)] = True
    allowed[ANY] = True

    torch.manual_seed(seed)
    network = FaceParser(classes=len(names))
    network.load_imagenet(imagenet())
    network = network.to(memory_format=torch.channels_last)
    for stage in network.encoder[:FROZEN]:
        stage.requires_grad_(False)
    average = FaceParser(classes=len(names)).requires_grad_(False)  # of the weights over the last few hundred steps
    average.load_state_dict(network.state_dict())
    encoder = {id(p) for p in network.encoder.parameters()}
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in network.encoder.parameters() if p.requires_grad], "lr": 5e-4},
            {"params": [p for p in network.parameters() if id(p) not in encoder], "lr": 2e-3},
        ],
        weight_decay=1e-4,
        fused=True,  # one pass over the weights, five times as fast on a CPU
    )
    steps = len(faces) // (BATCH - OTHERS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [5e-4, 2e-3], total_steps=epochs * steps, pct_start=0.1, cycle_momentum=False
    )
    state, first = out / f"{network_name}.state", 0
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        for thing, name in ((network, "network"), (average, "average"), (optimiser, "optimiser")):
            thing.load_state_dict(kept[name])
        done = {name: kept["rate"][name] for name in ("last_epoch", "_step_count", "_last_lr")}
        schedule.load_state_dict(schedule.state_dict() | done)  # with another number of epochs, another schedule
        first = kept["epoch"]
    for epoch in range(first, epochs):
        rng = np.random.default_rng((seed, epoch))  # an epoch is the same whether training stopped before it or not
        order = rng.permutation(len(faces))
        network.train()
        network.encoder[:FROZEN].eval()
        total = 0.0
        for step in range(steps):
            chosen = [faces[i] for i in order[step * (BATCH - OTHERS) : (step + 1) * (BATCH - OTHERS)]]
            chosen += [others[i] for i in rng.integers(len(others), size=OTHERS)]
            made = [augmented(face, window, network_name, faces, rng) for face in chosen]
            images, labels = (np.stack(parts) for parts in zip(*made, strict=True))
            loss = set_loss(network(as_input(images)), torch.from_numpy(labels).long(), allowed)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
            # short at first: an average of early weights is of no use
            keep = min(0.995, (epoch * steps + step) / (epoch * steps + step + 20))
            for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - keep)
                else:
                    mean.copy_(value)
        scores = f1_scores(average, validation, window, len(names)) if epoch % 3 == 2 or epoch + 1 == epochs else None
        listed = "" if scores is None else ", ".join(f"{n} {s:.3f}" for n, s in zip(names, scores, strict=True))
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f} {listed}", flush=True)
        parts = {"network": network, "average": average, "optimiser": optimiser, "rate": schedule}
        partial = state.with_suffix(".partial")
        torch.save({"epoch": epoch + 1} | {name: thing.state_dict() for name, thing in parts.items()}, partial)
        partial.replace(state)
    average.save_half(out / f"{network_name}.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", choices=("features", "regions"))
    parser.add_argument("--data-root", type=Path, required=True, help="folder with celebamask, landmarks300w and lfw")
    parser.add_argument("--out", type=Path, required=True, help="folder for the state and the weights")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    train(options.network, data_root=options.data_root, out=options.out, epochs=options.epochs)


if __name__ == "__main__":
    main()
