"""The networks behind `lips`, `parse` and `masks` as ONNX files, which run without torch.

The graph takes a window of a photo from `face_frame.cut` and does the same as `photos.probabilities`: it normalises the
pixels, runs the network on the window and on its mirror image, and averages the two.
"""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from reprolib import __version__, face_frame, photos
from reprolib.errors import UserError
from reprolib.models.face_parser import FEATURES, MEAN, REGIONS, STD
from reprolib.whole_files import write_whole

NETWORKS = {"features": (FEATURES, face_frame.FEATURES), "regions": (REGIONS, face_frame.REGIONS)}


class OnWindows(nn.Module):
    """Windows uint8 (N, size, size, 3) RGB -> class probabilities float32 (N, classes, size, size)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, order: tuple[int, ...]):
        """order: for each class, its class in the mirror image (left and right swap)."""
        super().__init__()
        self.network, self.order = network, list(order)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1))

    def forward(self, windows: Tensor) -> Tensor:
        images = (windows.permute(0, 3, 1, 2).float() - self.mean) / self.std
        # both in one batch, (2N, 3, size, size) -> 2 × (N, classes, size, size)
        found, mirrored = self.network(torch.cat([images, images.flip(3)])).softmax(1).unflatten(0, (2, -1))
        return (found + mirrored.flip(3)[:, self.order]) / 2


def export(name: str, path: Path | str) -> Path:
    """Write the network "features" or "regions" with its weights to an .onnx file; returns its path.

    Input `windows` uint8 (N, size, size, 3) RGB, output `probabilities` float32 (N, classes, size, size), for any N.
    Metadata in JSON: `classes`, the class names in order, and `window`, its position in a face's frame
    (`face_frame.Window`). UserError for another name, for a path that does not end in .onnx or cannot be written, and
    if the extra `onnx` is not installed.
    """
    path = Path(path)
    if name not in NETWORKS:
        raise UserError(f"expected one of the networks {', '.join(NETWORKS)}, found {name!r}; choose one of them")
    if path.suffix != ".onnx" or path.is_dir():
        raise UserError(f"{path} should be a file whose name ends in .onnx: give another name")
    for module in ("onnx", "onnxscript"):
        if find_spec(module) is None:
            raise UserError(f"The export needs the package {module}, which is not installed: pip install '.[onnx]'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give a path in a folder of yours") from error

    import onnx

    classes, window = NETWORKS[name]
    # a copy: the tools keep the network itself in channels-last layout
    network = copy.deepcopy(photos.load_network(name)).to(memory_format=torch.contiguous_format)
    module = OnWindows(network, photos.OTHER_SIDE if name == "features" else tuple(range(len(classes)))).eval()
    example = torch.zeros(2, window.size, window.size, 3, dtype=torch.uint8)  # one alone would fix N at 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own functions
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["windows"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    where = {"down": window.down, "half": window.half, "size": window.size}
    about = {"classes": json.dumps(classes), "window": json.dumps(where), "reprolib": __version__}
    onnx.helper.set_model_props(model, about)
    for node in model.graph.node:  # the exporter notes lines of source code, with their paths on this machine
        del node.metadata_props[:]
    model.graph.doc_string = ""
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())
    return path
