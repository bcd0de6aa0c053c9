"""From photo files to mask files: the inputs and outputs of `lips`, `parse` and `masks`."""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image

from reprolib import photos
from reprolib.datasets import folders, videos
from reprolib.errors import UserError
from reprolib.photos import Labelled, PaperNetwork
from reprolib.whole_files import write_whole

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".ppm", ".jp2")
VIDEOS = videos.SUFFIXES
WRITTEN = ("_mask", "_overlay", "_preview")  # what our own files end in
COLOURS = {  # one part has one colour through the whole project, see figures.py; left and right share it
    "background": "000000", "skin": "0072b2", "left brow": "4c3821", "right brow": "4c3821", "left eye": "edec4d",
    "right eye": "edec4d", "eyes": "edec4d", "nose": "62c8d9", "lip": "a60907", "upper lip": "a60907",
    "outer mouth": "a60907", "lower lip": "ffc6a6", "inner mouth": "63003e", "cavity": "63003e", "teeth": "ffffff",
    "tongue": "9e367e", "hair": "c68e00", "left ear": "e58fb1", "right ear": "e58fb1", "neck": "2f1177",
    "cloth": "8a8a8a", "hat": "d55e00", "glasses": "7fd34e",
}  # fmt: skip
OPACITY = 0.55  # of the colours over the photo


@dataclass(frozen=True)
class Options:
    """Options that the commands for photos share; see their help."""

    out: Path
    largest: bool = False
    mouth_crops: bool = False
    as_json: bool = False
    overwrite: bool = False
    device: str = "cpu"


def inputs(given: Sequence[Path | str]) -> list[Path]:
    """The photos and videos of files, folders and patterns such as `*.jpg`, each once, in the given order.

    Our own masks, overlays and previews in a folder are left out. UserError for a pattern or folder without any, and
    for two files of one name: the mask of one would replace the other's.
    """
    found: dict[Path, None] = {}
    for item in given:
        path = Path(item).expanduser()
        if path.is_dir():
            inside = [f for f in folders.files(path, *PHOTOS, *VIDEOS) if not f.stem.endswith(WRITTEN)]
            if not inside:
                raise UserError(f"{path} should hold photos, but has none: give another folder")
        elif not path.exists() and glob.has_magic(str(item)):
            inside = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
            if not inside:
                raise UserError(f"{item} should match photos, but matches no file: check the pattern")
        else:
            inside = [path]
        found |= dict.fromkeys(inside)
    names = [path.stem for path in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"two photos are named {twice[0]}, and one's mask would replace the other's: rename one, or label them "
            "into two folders"
        )
    return list(found)


def label_files(
    given: Sequence[Path | str],
    tool: str,
    options: Options,
    *,
    workers: int = 1,
    network: PaperNetwork | None = None,
) -> Iterator[Path]:
    """Label photos and videos, `workers` at a time; yields the path of each file that was written.

    For a photo it writes NAME_mask.png (class numbers, with a palette), NAME_overlay.png and, on request,
    NAME_faces.json; for a video see `video_files.label_video`. classes.json holds the class names in order. Photos and
    videos that are already labelled are skipped unless `overwrite`. All others are tried; one UserError at the end has
    a sentence for each that could not be used.
    """
    files = inputs(given)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda needs a GPU that torch can use, but there is none: leave --device out")
    make_folder(options.out)
    classes = network.classes if network else photos.CLASSES[tool]
    yield write_bytes(options.out / "classes.json", json.dumps(list(classes), indent=1).encode())
    waiting = [path for path in files if options.overwrite or not is_done(path, options.out)]
    failures = []
    jobs = Parallel(n_jobs=max(1, min(workers, len(waiting))), return_as="generator")
    for written, failure in jobs(delayed(_label_file)(path, tool, options, network) for path in waiting):
        failures += [failure] if failure else []
        yield from written
    if failures:
        raise UserError("\n".join(failures))


def is_done(path: Path, out: Path) -> bool:
    """Whether a photo or video is labelled: the file that is written last exists."""
    return (out / f"{path.stem}{'_overlay.mp4' if path.suffix.lower() in VIDEOS else '_mask.png'}").exists()


def _label_file(path: Path, tool: str, options: Options, network: PaperNetwork | None) -> tuple[list[Path], str]:
    """The files written for one photo or video, and the sentence that says why there are none."""
    try:
        if path.suffix.lower() in VIDEOS:
            from reprolib import video_files

            return video_files.label_video(path, tool, options, network=network), ""
        photo = photos.read_photo(path)
        found = photos.label(
            photo,
            tool,
            largest=options.largest,
            mouth_crop=options.mouth_crops,
            device=options.device,
            network=network,
        )
        if not found.faces:
            raise UserError(
                f"{path} shows no face that can be found (40 pixels or more, both eyes in view, tilted less than 45°): "
                "crop it to the head, or turn it upright"
            )
        return write(photo, found, options.out / path.stem, as_json=options.as_json), ""
    except UserError as error:
        return [], str(error)


def write(photo: np.ndarray, found: Labelled, stem: Path, *, as_json: bool = False) -> list[Path]:
    """Write STEM_mask.png, STEM_overlay.png and perhaps STEM_faces.json; returns their paths."""
    colours = palette(found.classes)
    overlay = Image.fromarray(blended(photo, found.labels, colours))
    written = []
    if as_json:
        written.append(write_bytes(Path(f"{stem}_faces.json"), json.dumps(described(found), indent=1).encode()))
    written.append(write_png(Path(f"{stem}_overlay.png"), overlay, level=1))
    written.append(write_png(Path(f"{stem}_mask.png"), with_palette(found.labels, colours), level=6))
    return written


def described(found: Labelled) -> list[dict]:
    """The faces of a photo as JSON: box (x, y, width, height), landmarks, detector's score, areas, confidence."""
    faces = []
    for labelled in found.faces:
        entry: dict = {"areas": labelled.areas, "confidence": None}
        if np.isfinite(labelled.confidence):
            entry["confidence"] = round(labelled.confidence, 3)
        if labelled.face is not None:
            entry["box"] = list(labelled.face.box)
            entry["score"] = round(labelled.face.score, 3)
            entry["landmarks"] = labelled.face.points.round(2).astype(float).tolist()
        faces.append(entry)
    return faces


def palette(classes: Sequence[str]) -> np.ndarray:
    """The colours uint8 (classes, 3) of classes in order."""
    return np.array([list(bytes.fromhex(COLOURS[name])) for name in classes], np.uint8)


def blended(photo: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A photo uint8 (H, W, 3) with the colours of its labels over it; background stays as it is."""
    painted = colours[labels]
    cv2.addWeighted(painted, OPACITY, photo, 1 - OPACITY, 0, dst=painted)
    np.copyto(painted, photo, where=(labels == 0)[..., None])
    return painted


def make_folder(folder: Path) -> None:
    """Make a folder for results; UserError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} should be a folder to write to, but cannot be ({error.strerror})") from error


def with_palette(labels: np.ndarray, colours: np.ndarray) -> Image.Image:
    """Labels uint8 (H, W) as an image that is shown in `colours`, uint8 (classes, 3)."""
    mask = Image.fromarray(labels)
    mask.putpalette(colours.ravel().tolist())
    return mask


def write_png(path: Path, image: Image.Image, *, level: int) -> Path:
    """Write an image whole or not at all, compressed at `level` from 1 (fast) to 9; UserError if that fails."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=level)
    return write_bytes(path, file.getvalue())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all; returns its path. UserError if that fails."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give another folder") from error
    return path
