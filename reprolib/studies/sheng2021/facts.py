"""Exactly checkable quantities of sheng2021: dimensions of Tables I and II, sizes and parameter counts."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import nn

from reprolib import report
from reprolib.datasets.characters import ENGLISH, Tokeniser
from reprolib.models import c3d_resnet18, complexity, local_stream
from reprolib.models.asst_gcn import ASSTGCN
from reprolib.models.c3d_resnet18 import C3DResNet18
from reprolib.models.landmark_patches import LRLP25, LRLP38
from reprolib.models.lip_transformer import TransformerCTC, TransformerSeq2Seq
from reprolib.models.local_stream import LCFE, LMFE
from reprolib.models.ms_tcn import MSTCN
from reprolib.training import warmup_rate

FRAMES, CROP, PATCH = 29, 112, 32  # of LRW
MERGED = "one cell with the next line"
PRINTED_OUTPUTS = {
    "table 1": (MERGED, "T × 64 × H/4 × W/4", "T × 64 × H/4 × W/4", "T × 128 × H/8 × W/8",
                "T × 256 × H/16 × W/16", "T × 512 × H/32 × W/32", "T × 512 × 1 × 1"),
    "table 2": (MERGED, "T × 64 × H/4 × W/4", "T × 128 × H/8 × W/8", "T × 256 × H/16 × W/16", "T × 256"),
}  # fmt: skip


def dimensions(place: str) -> pd.DataFrame:
    """Table I or II: the output of each line, as printed and as our modules compute it."""
    with torch.device("meta"):
        if place == "table 1":
            stages, found = c3d_resnet18.STAGES, _outputs(C3DResNet18(), c3d_resnet18.STAGES, (1, FRAMES, CROP, CROP))
        else:
            stages, found = local_stream.STAGES, _outputs(LMFE(), local_stream.STAGES, (1, 1, FRAMES, PATCH, PATCH))
    lines = {
        name: {"paper": printed, "ours": " × ".join(map(str, found[module]))}
        for (name, module), printed in zip(stages.items(), PRINTED_OUTPUTS[place], strict=True)
    }
    return pd.DataFrame(lines).T


@torch.no_grad()
def _outputs(model: nn.Module, stages: Mapping[str, str], shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Module → shape of its output, while `model` runs on zeros of `shape`."""
    found: dict[str, tuple[int, ...]] = {}
    for name in stages.values():
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.update({name: tuple(output.shape)})
        )
    model.eval()(torch.zeros(shape))
    return found


def facts() -> list[report.Fact]:
    """Sizes (Tables I and II, Sec. III) and parameters of the networks at the paper's width.

    Counts from public code on which the paper builds are not the paper's numbers; their source is "arithmetic".
    """
    with torch.device("meta"):
        whole = _outputs(C3DResNet18(), c3d_resnet18.STAGES, (1, FRAMES, CROP, CROP))
        patches = _outputs(LMFE(), local_stream.STAGES, (1, 1, FRAMES, PATCH, PATCH))
        six = [ASSTGCN(ffn=ffn) for ffn in (2048, 512)]
        seq2seq, ctc = TransformerSeq2Seq(512, 39), TransformerCTC(512, 39)
        counted = {
            "parameters of C3D-ResNet18, ReLU (public code)": ("11,182,784", C3DResNet18()),
            "parameters of C3D-ResNet18, PReLU (public code)": ("11,186,688", C3DResNet18(activation="prelu")),
            "parameters of LMFE": ("385,216", LMFE()),
            "parameters of LCFE": ("2,816", LCFE()),
        }
        in_millions = {
            "parameters of MS-TCN, 512 in, 4 blocks (M; public code)": ("25.19", MSTCN(512, 500, blocks=(1, 2, 4, 8))),
            "parameters of MS-TCN, 512 in, 3 blocks (M)": ("18.69", MSTCN(512, 500)),
            "parameters of MS-TCN, 1024 in, 3 blocks (M)": ("21.05", MSTCN(1024, 500)),
            "parameters of TM-CTC (M; public code)": ("37.85", ctc),
        }
        layers = (seq2seq.encoder, seq2seq.decoder)
    sides = (("MaxPool3d", "28", whole["stem.pool"]),
             ("64", "28", whole["stages.0"]), ("128", "14", whole["stages.1"]), ("256", "7", whole["stages.2"]),
             ("512", "3.5", whole["stages.3"]))  # fmt: skip
    found = [
        *(report.fact("sheng2021", f"Table I, side of the output of {n}", side, shape[-1]) for n, side, shape in sides),
        report.fact("sheng2021", "Table I, channels of the last map", "512", whole["average"][1]),
        *(report.fact("sheng2021", f"Table II, side of the output of {name}", side, patches[module][-1])
          for name, side, module in (("MaxPool3d", "8", "stem.pool"),
                                     ("Conv3d 128", "4", "second"), ("Conv3d 256", "2", "third"))),
        report.fact("sheng2021", "Table II, features of a patch", "256", patches["average"][1]),
        report.fact("sheng2021", "LRLPs", "38", len(LRLP38)),
        report.fact("sheng2021", "sparse LRLPs", "25", len(LRLP25)),
        report.fact("sheng2021", "graph layers", "6", len(six[0].layers)),
        report.fact("sheng2021", "subgraphs of a layer", "8", six[0].layers[0].subgraphs),
        report.fact("sheng2021", "outputs of the decoder", "39", Tokeniser(ENGLISH).outputs),
    ]  # fmt: skip
    found += [
        report.fact("sheng2021", name, stated, complexity.parameters(m), source="arithmetic")
        for name, (stated, m) in counted.items()
    ]
    found += [
        report.fact("sheng2021", name, stated, complexity.parameters(model) / 1e6, source="arithmetic")
        for name, (stated, model) in in_millions.items()
    ]
    for ffn, stated, model in ((2048, "17.39", six[0]), (512, "7.94", six[1])):
        norms = sum(complexity.parameters(m) for m in model.modules() if isinstance(m, nn.LayerNorm))
        name = f"parameters of six graph layers without norms, FFN {ffn} (M)"
        count = (complexity.parameters(model) - norms) / 1e6
        found.append(report.fact("sheng2021", name, stated, count, source="arithmetic"))
    standard = sum(map(complexity.parameters, layers)) / 1e6
    rate = warmup_rate(4000, width=512, factor=1.0, warmup=4000)
    return [
        *found,
        report.fact(
            "sheng2021",
            "parameters of six encoder and six decoder layers (M; public code)",
            "44.1",
            standard,
            source="arithmetic",
        ),
        report.fact(
            "sheng2021", "Eq. 7, highest rate for 512 and 4000 steps (1e-4)", "7.0", 1e4 * rate, source="arithmetic"
        ),
    ]
