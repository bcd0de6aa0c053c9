"""Which trials make which table and figure of yang2023."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reprolib.parameters import select
from reprolib.studies.yang2023 import settings as s
from reprolib.trial import Trial


def trials(parameters: s.Parameters) -> dict[str, list[Trial]]:
    """Table or figure → the trials it needs; those that `parameters.tables` leaves out are absent."""
    scale = s.SCALES[parameters.profile]
    sources = {"data": parameters.data, "trained_on": parameters.data, "tested_on": parameters.data}
    common = {"profile": parameters.profile, **sources, **asdict(scale)}
    del common["seeds"]
    seeds = range(parameters.seeds or scale.seeds)

    def per_seed(rows: dict[str, dict]) -> list[Trial]:
        return [
            Trial("yang2023", name, {**common, "system": name, **row}, seed, s.RECIPE)
            for seed in seeds
            for name, row in rows.items()
        ]

    grid = per_seed(grid_rows(parameters.kernels, parameters.nodes))
    ablation = per_seed(ABLATION)
    comparison = per_seed(COMPARISON)
    encoders = per_seed(ENCODERS)
    options = per_seed(OPTIONS)
    longer = {"epochs": s.LONGER * scale.epochs}
    elsewhere = s.ELSEWHERE if parameters.data == "synthetic" else parameters.data
    shown = [t for t in comparison if t.name == s.PROPOSED]  # their records keep the pictures
    hard = [t for t in comparison if t.name in (s.PROPOSED, s.UNET)] + [t for t in ablation if t.name == s.BASELINE]

    plan = {
        "table 1": grid,
        "table 2": ablation,
        "table 3": ablation,
        "table 4": ablation,
        "table 5": comparison,
        "table 6": encoders,
        "figure 1": shown,
        "figure 2": [],  # 2–4 are drawn from the modules
        "figure 3": [],
        "figure 4": [],
        "figure 5": shown,
        "figure 6": ablation,
        "figure 7": comparison,
        "figure 8": comparison,
        "figure 9": per_seed({s.CROSS: PROPOSED | {"trained_on": "synthetic", "tested_on": elsewhere}}),
        "figure 10": hard,
        "figure 11": hard,
        "extra A": options + shown,
        "extra B": per_seed(
            {s.long_row(row): ABLATION[row] | longer for row in s.LONG_ROWS}
            | {s.slow_row(row): ABLATION[row] | longer | {"lr": scale.lr / s.LONGER} for row in s.SLOW_ROWS}
        ),
        "extra C": [t for t in ablation if t.name in (s.BASELINE, *s.NORMALISED_ROWS)] + per_seed(NORMALISED),
    }
    return select(plan, parameters.tables)


def lip_network(
    *,
    encoder: str = "resnet34",
    flm: str = "reconstruction",
    fgr: str = "fuzzy",
    kernels: int = s.BEST,
    nodes: int = s.BEST,
    temperature: float = 0.05,
    sampling: str = "pixel",
    shared_gcn: bool = False,
) -> dict:
    """One variant of the paper's network: without a module ("none"), with a part of it, or with all of it.

    `flm`: "none", "rules" (without reconstruction) or "reconstruction". `fgr`: "none", "linear" (a learned
    1×1 projection) or "fuzzy". `kernels`, `nodes`: at the finest scale, doubled at each coarser one.
    `sampling`: "pixel" (the authors' code), "kernel" (Eq. 6) or "expectation".
    """
    return {
        "network": "LipNetwork", "encoder": encoder, "flm": flm, "fgr": fgr, "kernels": kernels, "nodes": nodes,
        "temperature": temperature, "sampling": sampling, "shared_gcn": shared_gcn,
    }  # fmt: skip


def rival(network: str) -> dict:
    """Another network on the paper's encoder."""
    return {"network": network, "encoder": "resnet34"}


PROPOSED = lip_network()
ABLATION = {
    s.BASELINE: lip_network(flm="none", fgr="none"),
    s.RULES: lip_network(flm="rules", fgr="none"),
    s.RECONSTRUCTION: lip_network(fgr="none"),
    s.GRAPH: lip_network(flm="none", fgr="linear"),
    s.PROJECTION: lip_network(flm="none"),
    s.PROPOSED: PROPOSED,
}
NORMALISED = {s.normalised_row(row): ABLATION[row] | {"normalised": True} for row in s.NORMALISED_ROWS}
COMPARISON = {
    s.UNET: rival("Unet"),
    s.MANET: rival("MAnet"),
    s.FPN: rival("FPN"),
    s.PSPNET: rival("PSPNet"),
    s.DEEPLAB: rival("DeepLabV3"),
    s.LSFCNN: rival("LSFCNN"),
    s.GLORE: rival("GloRe"),
    s.DUALSEG: rival("DualSeg"),
    s.SPYGR: rival("SpyGR"),
    s.PROPOSED: PROPOSED,
    s.UPERNET: rival("UPerNet"),
}
ENCODERS = {
    s.PROPOSED: PROPOSED,
    s.RESNET_18: lip_network(encoder="resnet18"),
    s.MOBILENET: lip_network(encoder="mobilenet_v2"),
    s.SQUEEZENET: lip_network(encoder="squeezenet"),
    s.SHUFFLENET: lip_network(encoder="shufflenet_v2"),
}
OPTIONS = {
    s.PER_KERNEL: lip_network(sampling="kernel"),
    s.EXPECTED: lip_network(sampling="expectation"),
    s.SOFTER: lip_network(temperature=1.0),
    s.HARDER: lip_network(temperature=0.01),
    s.SHARED: lip_network(shared_gcn=True),
}


def grid_rows(kernels: Sequence[int], nodes: Sequence[int]) -> dict[str, dict]:
    """Table I: kernels × nodes; the paper's choice is the proposed network itself."""
    rows = {s.grid_row(k, n): lip_network(kernels=k, nodes=n) for k in kernels for n in nodes}
    return {s.SAME_AS.get(name, name): row for name, row in rows.items()}


def specification(system: str, kernels: Sequence[int] = (8, 16, 32), nodes: Sequence[int] = (8, 16, 32)) -> dict:
    """What network a row is, whatever profile and data; KeyError: no such row, or beyond this grid of Table I."""
    rows = grid_rows(kernels, nodes) | ABLATION | NORMALISED | COMPARISON | ENCODERS | OPTIONS
    return rows[s.SAME_AS.get(system, system)]
