"""Rendered faces, mouths and talking people with exact labels, as files: facesynth for other projects."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from reprolib.datasets import facesynth
from reprolib.datasets.facesynth import COLOURS, LEXICON, PARTS
from reprolib.datasets.landmarks import save_arrays
from reprolib.errors import UserError
from reprolib.video_writer import VideoWriter
from reprolib.whole_files import write_whole

OCCLUDER = PARTS.index("occluder")
FPS = 25
FRAMES = 75  # of a clip
WORDS = 3, 6  # fewest and most in a sentence
UNITS = 1000  # of GRID's time scale per frame


def write(kind: str, *, count: int, size: int, seed: int, out: Path, workers: int = 0) -> Iterator[Path]:
    """Render `count` samples of a kind into a folder; yields the paths of images, videos and the manifest.

    "faces" and "mouths" (twice as wide as high): NAME.png, NAME_mask.png (palette, numbers into classes.json),
    NAME_whole.png (the same without occluders), NAME_occluder.png (255 where one is) and NAME.pts (68 landmarks).
    "clips" (moving people, in 300VW's categories in turn) and "speech" (sentences): NAME.mp4, NAME.npz (labels and
    landmarks) and NAME.align (start, end and word, 1,000 units per frame, as in GRID). manifest.csv has one line
    per sample. Sample i of a seed does not depend on `count` or `workers`. UserError if the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "classes.json", json.dumps(list(PARTS), indent=1).encode())
    except OSError as error:
        raise UserError(f"{out} should be a folder to write to, but cannot be ({error.strerror})") from error
    make = _KINDS[kind]
    jobs = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator")
    samples = jobs(delayed(make)(seed, index, size, out) for index in range(count))
    lines = []
    for index, (path, said) in enumerate(tqdm(samples, kind, total=count, disable=None)):
        lines.append([path.name, kind, seed, index, size, said])
        yield path
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([["file", "kind", "seed", "index", "size", "said or special"], *lines])
    write_whole(out / "manifest.csv", text.getvalue().encode())
    yield out / "manifest.csv"


def _face(seed: int, index: int, size: int, out: Path) -> tuple[Path, str]:
    return _still(facesynth.render(seed, index, size=size), out / f"face-{seed}-{index:06d}")


def _mouth(seed: int, index: int, size: int, out: Path) -> tuple[Path, str]:
    return _still(facesynth.mouth_crop(seed, index, size=(size, 2 * size)), out / f"mouth-{seed}-{index:06d}")


def _clip(seed: int, index: int, size: int, out: Path) -> tuple[Path, str]:
    clip = facesynth.video(seed, index, frames=FRAMES, fps=FPS, size=size, category=1 + index % 3)
    return _video(clip, out / f"clip-{seed}-{index:06d}")


def _speech(seed: int, index: int, size: int, out: Path) -> tuple[Path, str]:
    rng = np.random.default_rng((seed, index))
    words = rng.choice(sorted(LEXICON), size=rng.integers(WORDS[0], WORDS[1] + 1))
    clip = facesynth.speak(" ".join(words), seed, index, fps=FPS, size=size)
    return _video(clip, out / f"speech-{seed}-{index:06d}")


_KINDS: dict[str, Callable] = {"faces": _face, "mouths": _mouth, "clips": _clip, "speech": _speech}


def _still(face: facesynth.Face, stem: Path) -> tuple[Path, str]:
    for labels, kind in ((face.labels, "mask"), (face.unoccluded_labels, "whole")):
        image = Image.fromarray(labels)
        image.putpalette(COLOURS.ravel().tolist())
        _save(image, Path(f"{stem}_{kind}.png"))
    _save(Image.fromarray(np.where(face.labels == OCCLUDER, 255, 0).astype(np.uint8)), Path(f"{stem}_occluder.png"))
    points = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.landmarks)
    write_whole(Path(f"{stem}.pts"), f"version: 1\nn_points: 68\n{{\n{points}\n}}\n".encode())
    return _save(Image.fromarray(face.image), Path(f"{stem}.png")), " ".join(face.tags)


def _video(clip: facesynth.Clip, stem: Path) -> tuple[Path, str]:
    times = "".join(f"{UNITS * first} {UNITS * end} {word}\n" for word, first, end in clip.words)
    write_whole(Path(f"{stem}.align"), times.encode())
    save_arrays(Path(f"{stem}.npz"), labels=clip.labels, landmarks=clip.landmarks)
    with VideoWriter(Path(f"{stem}.mp4"), FPS) as writer:
        for frame in clip.images:
            writer.write(frame)
    return Path(f"{stem}.mp4"), " ".join(word for word, _, _ in clip.words)


def _save(image: Image.Image, path: Path) -> Path:
    file = io.BytesIO()
    image.save(file, "PNG")
    write_whole(path, file.getvalue())
    return path
