"""Which trials make which table and figure of yin2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from reprolib.parameters import select
from reprolib.studies.yin2020 import settings as s
from reprolib.trial import Trial

ALL = ("coarse", "localiser", "fine")


def trials(parameters: s.Parameters) -> dict[str, list[Trial]]:
    """Table or figure → the trials it needs; those that `parameters.tables` leaves out are absent."""
    scale = s.SCALES[parameters.profile]
    common = {"data": parameters.data, "profile": parameters.profile, **asdict(scale)}
    del common["seeds"], common["end_to_end_seeds"]
    first, second, elsewhere = (
        {"source": source, **s.sizes(source, parameters.profile)} for source in s.SOURCES[parameters.data]
    )

    def per_seed(rows: Mapping[str, dict], where: Mapping, seeds: int = scale.seeds) -> list[Trial]:
        return [
            Trial("yin2020", name, {**common, **where, "system": name, **row}, seed, s.RECIPE)
            for name, row in rows.items()
            for seed in range(parameters.seeds or seeds)  # neighbours share no stage: workers do not wait for one
        ]

    main = per_seed(MAIN, first) + per_seed({s.END_TO_END: END_TO_END}, first, scale.end_to_end_seeds)
    rivals, stages = per_seed(rivals_of(parameters.profile), first), per_seed(STAGES, first)
    options = per_seed(OPTIONS | even_rows(first["patch"], first["mouth_patch"]), first)
    halves = per_seed({name: row | {"small": scale.half} for name, row in HALVES.items()}, first)
    second_rows = per_seed(SECOND, second) if second != first else _named(main, s.ICNN, s.STN, s.END_TO_END)
    hybrid = per_seed({name: row | {"start": elsewhere} for name, row in HYBRID.items()}, second)

    plan = {
        "table 1": [],  # hyper-parameters: the settings have them
        "table 2": main,
        "table 3": second_rows + hybrid,
        "table 4": main + rivals,
        "figure 1": _named(main, s.END_TO_END),
        "figure 2": [],  # 2–4 and 7 are drawn from the modules
        "figure 3": [],
        "figure 4": [],
        "figure 5": _named(main + stages, *s.ASKED_ABOUT_MISSING),
        "figure 6": halves + _named(main, s.ICNN, s.STN, s.END_TO_END),
        "figure 7": [],
        "figure 8": _named(main, s.STN),
        "extra A": [*_named(main, s.ICNN, s.STN, s.END_TO_END), *stages, *_named(rivals, s.ROI_ALIGN), *options],
        "extra B": per_seed({s.TIMING: {"pipeline": "timing", "network": "ICNN"}}, first),
    }
    return select(plan, parameters.tables)


def _named(trials_: Sequence[Trial], *names: str) -> list[Trial]:
    return [t for t in trials_ if t.name in names]


def parser(
    *,
    network: str = "ICNN",
    cropper: str = "stn",
    localiser: str = "resnet18",
    isotropic: bool = False,
    learns: Sequence[str] = (),
    kept: bool = False,
) -> dict:
    """One form of the two-stage parser.

    `network`: "ICNN" or "OriginalICNN" in both stages. `cropper`: "baseline" (centroids), "hard" (centroids of the arg
    max), "stn", "roi_align", "truth" (the labels' centres) or "none" (the coarse stage alone). `localiser`: "resnet18"
    or "light". `learns`: which of the pre-trained stages go on to learn from the part loss; none without it. `kept`:
    the losses of their pre-training are added to it.
    """
    return {
        "pipeline": "two-stage", "network": network, "cropper": cropper, "localiser": localiser,
        "isotropic": isotropic, "learns": list(learns), "kept": kept,
    }  # fmt: skip


def whole_face(network: str) -> dict:
    """A network that labels the whole face at once."""
    return {"pipeline": "global", "network": network}


def rivals_of(profile: str) -> dict[str, dict]:
    """The rows of Table 4 that are not the paper's own systems and can be trained."""
    trained = s.WHOLE_FACE.get(profile, {})
    return {
        s.ROI_ALIGN: parser(cropper="roi_align", learns=("fine",)),
        s.FCN: whole_face("FCN8s") | trained.get("FCN8s", {}),
        s.UNET: whole_face("Unet") | trained.get("Unet", {}),
    }


def even_rows(patch: int, mouth_patch: int) -> dict[str, dict]:
    """Crops that are one pixel smaller, cut for networks that were trained on odd ones."""
    even = {"tested_patch": patch - 1, "tested_mouth_patch": mouth_patch - 1}
    return {s.EVEN_STN: parser() | even, s.EVEN_TRUE: parser(cropper="truth") | even}


END_TO_END = parser(learns=ALL)
MAIN = {
    s.ORIGINAL: parser(network="OriginalICNN", cropper="baseline"),
    s.ICNN: parser(cropper="baseline"),
    s.STN: parser(),
}
STAGES = {
    s.STAGE_1: parser(cropper="none"),
    s.TRUE_CROPS: parser(cropper="truth"),
    s.RECIPE_ONLY: parser(learns=("fine",)),
    s.LONGER: parser(cropper="baseline", learns=("fine",)),
    s.KEPT: parser(learns=ALL, kept=True),
    **{s.rate_row(rate): END_TO_END | {"pretrained_rate": rate} for rate in s.OTHER_RATES},
}
OPTIONS = {
    s.HARD_LABELS: parser(cropper="hard"),
    s.ISOTROPIC: parser(isotropic=True),
    s.LIGHT: parser(localiser="light"),
}
HALVES = {s.ICNN_HALF: MAIN[s.ICNN], s.STN_HALF: MAIN[s.STN], s.END_TO_END_HALF: END_TO_END}
SECOND = {s.ICNN_SECOND: MAIN[s.ICNN], s.STN_SECOND: MAIN[s.STN], s.END_TO_END_SECOND: END_TO_END}
HYBRID = {s.HYBRID: END_TO_END, s.UNTUNED: parser()}  # both start from an end-to-end training elsewhere
