"""How fast facesynth renders on one core, beside the 60 pictures a second that keep a training step busy.

python benchmarks/facesynth.py
"""

import time

import cv2

from reprolib.datasets import facesynth

TARGET = 60.0  # images of 128 × 128 a second and core


def rate(draw, count: int, *, repeats: int = 3) -> tuple[float, float]:
    """Items a second of wall clock and of processor time, each the best of `repeats`: the machine may be busy."""
    wall, processor = [], []
    for _ in range(repeats):
        a, b = time.perf_counter(), time.process_time()
        for index in range(count):
            draw(index)
        wall.append(count / (time.perf_counter() - a))
        processor.append(count / (time.process_time() - b))
    return max(wall), max(processor)


def main() -> None:
    cv2.setNumThreads(1)
    facesynth.render(0, 0)  # fills the caches
    hard = facesynth.FaceOptions(occluder=1.0, beard=1.0, glasses=1.0)
    rows = {
        "render 128 × 128": (lambda i: facesynth.render(0, i), 60, 1),
        "render 128 × 128, all extras": (lambda i: facesynth.render(0, i, options=hard), 60, 1),
        "mouth_crop 128 × 256": (lambda i: facesynth.mouth_crop(0, i), 40, 1),
        "video 128 × 128, frames": (lambda i: facesynth.video(0, i, frames=30, category=1 + i % 3), 3, 30),
    }
    print(f"{'':32}{'wall /s':>10}{'cpu /s':>10}{'cpu ÷ target':>14}")
    for name, (draw, count, each) in rows.items():
        wall, processor = (each * r for r in rate(draw, count))
        print(f"{name:32}{wall:10.1f}{processor:10.1f}{processor / TARGET:14.2f}")


if __name__ == "__main__":
    main()
