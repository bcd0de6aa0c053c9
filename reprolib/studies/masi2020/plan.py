"""Which trials make which table and figure of masi2020."""

from __future__ import annotations

from dataclasses import asdict

from reprolib.parameters import select
from reprolib.studies.masi2020 import settings as s
from reprolib.trial import Trial

ALPHA, BETA = 10.0, 5.0  # Sec. 4.1; "{10.5}" in the paper's text is {10, 5}


def trials(parameters: s.Parameters) -> dict[str, list[Trial]]:
    """Table or figure → the trials it needs; those that `parameters.tables` leaves out are absent."""
    scale = s.SCALES[parameters.profile]
    common = {"data": parameters.data, "profile": parameters.profile, **asdict(scale)}
    del common["seeds"]
    seeds = range(parameters.seeds or scale.seeds)

    def per_seed(rows: dict[str, dict]) -> list[Trial]:
        return [
            Trial("masi2020", name, {**common, "system": name, **row}, seed, s.RECIPE)
            for seed in seeds
            for name, row in rows.items()
        ]

    table_1 = per_seed(_cofw_rows(scale))
    parts = per_seed(_parts_rows(scale))
    sweep = per_seed(_sweep_rows(scale, parameters.alphas, parameters.betas))
    losses = per_seed(_loss_rows(scale))
    watched = [t for t in per_seed(_watched_rows(scale)) if t.seed == 0]
    ablation = [t for t in parts if t.name.startswith(("Baseline", "Struct"))]
    figure_4 = watched + [t for t in sweep if t.params["alpha"] == ALPHA]
    figure_4 += [t for t in table_1 if t.name in (s.TEACHER, s.CE_FINETUNED)]

    plan = {
        "table 1": table_1,
        "table 2": parts,
        "table 3": ablation,
        "table 4": parts,
        "figure 1": [t for t in table_1 if t.name in (s.TEACHER, s.CE_FINETUNED, s.CONSENSUS_FINETUNED)],
        "figure 2": [t for t in table_1 if t.name == s.CE_TRANSFER],
        "figure 3": [],  # drawn from the loss itself
        "figure 4": figure_4,
        "figure 5": [t for t in table_1 if t.name in (s.TEACHER, s.CE_FINETUNED, s.CONSENSUS_FINETUNED)],
        "figure 6": [t for t in ablation if t.name in (s.PARTS_BASELINE, s.PARTS_CONSENSUS)],
        "extra A": sweep + [t for t in table_1 if t.name == s.CE_FINETUNED],
        "extra B": losses + [t for t in table_1 if t.name in (s.CE_TRANSFER, s.CE_FINETUNED)],
        "extra C": per_seed(_long_rows(scale)),
    }
    return select(plan, parameters.tables)


def _row(task: str, stage: str, network: str, loss: str, **more) -> dict:
    """One system; `start` names the loss of the transfer stage whose weights it starts from, or "random"."""
    return {
        "task": task, "stage": stage, "network": network, "loss": loss,
        "alpha": ALPHA, "beta": BETA, "start": "random", "regularised": False, **more,
    }  # fmt: skip


def _cofw_rows(scale: s.Scale) -> dict[str, dict]:
    slow = {"lr": scale.cofw_lr, "final_lr": scale.cofw_lr}  # flat, Sec. 4.1
    fast = {"lr": scale.pretrain_lr}
    tuned = {**slow, "epochs": scale.finetune_epochs}
    scratch = {"epochs": scale.scratch_epochs}
    net, ce, con = "EncoderDecoder", "cross_entropy", "consensus"
    return {
        s.EVERYTHING: _row("cofw", "constant", "constant", "none"),
        s.TEACHER: _row("teacher", "teacher", "FCN8s", ce),
        s.TEACHER_AUGMENTED: _row("teacher_occluded", "teacher", "FCN8s", ce),
        s.CE_TRANSFER: _row("transfer", "transfer", net, ce),
        s.CONSENSUS_TRANSFER: _row("transfer", "transfer", net, con),
        s.CE_SCRATCH: _row("cofw", "supervised", net, ce, **slow, **scratch),
        s.CE_SCRATCH_FAST: _row("cofw", "supervised", net, ce, **fast, **scratch),
        s.CE_FINETUNED: _row("cofw", "supervised", net, ce, start=ce, **tuned),
        s.CE_REGULARISED: _row("cofw", "supervised", net, ce, start=ce, **{**tuned, "regularised": True}),
        s.CONSENSUS_FINETUNED: _row("cofw", "supervised", net, con, start=con, **tuned),
        s.CONSENSUS_REGULARISED: _row("cofw", "supervised", net, con, start=con, **{**tuned, "regularised": True}),
        s.COFW_FCN: _row("cofw", "supervised", "FCN8s", ce, lr=s.FCN_RATE * scale.pretrain_lr, **scratch),
        s.COFW_UNET: _row("cofw", "supervised", "Unet", ce, **fast, **scratch),
    }


def _parts_rows(scale: s.Scale) -> dict[str, dict]:
    tuned = {"lr": scale.parts_lr, "final_lr": scale.parts_lr, "epochs": scale.finetune_epochs}
    scratch = {"epochs": scale.scratch_epochs}
    net, ce, con = "EncoderDecoder", "cross_entropy", "consensus"

    def parts(network, loss, **more):
        return _row("part_labels", "supervised", network, loss, **more)

    return {
        s.PARTS_BASELINE: parts(net, ce, start=ce, **tuned),
        s.PARTS_CONSENSUS: parts(net, con, start=con, **tuned),
        s.PARTS_BASELINE_REG: parts(net, ce, start=ce, **{**tuned, "regularised": True}),
        s.PARTS_CONSENSUS_REG: parts(net, con, start=con, **{**tuned, "regularised": True}),
        s.PARTS_SAME_START: parts(net, con, start=ce, **tuned),
        s.PARTS_RELEASED: parts(net, "consensus_batch_pooled", start=ce, **tuned),
        s.PARTS_FCN: parts("FCN8s", ce, lr=s.FCN_RATE * scale.pretrain_lr, **scratch),
        s.PARTS_UNET: parts("Unet", ce, lr=scale.pretrain_lr, **scratch),
    }


def _tuned_on_cofw(scale: s.Scale, loss: str, **more) -> dict:
    rate = {"lr": scale.cofw_lr, "final_lr": scale.cofw_lr, "epochs": scale.finetune_epochs}
    return _row("cofw", "supervised", "EncoderDecoder", loss, start="cross_entropy", **rate, **more)


def sweep_row(alpha: float, beta: float) -> str:
    """The name of a point of the sweep; the paper's point is a row of Table B, too."""
    return s.SAME_START if (alpha, beta) == (ALPHA, BETA) else f"α = {alpha:g}, β = {beta:g}"


def _sweep_rows(scale: s.Scale, alphas, betas) -> dict[str, dict]:
    """Table A: α × β of the consensus loss, all from the same start.

    Adam does not see the scale of a loss, so β / α decides; α = 1, β = 0 repeats α = 10, β = 0 as a check.
    """
    return {
        sweep_row(alpha, beta): _tuned_on_cofw(scale, "consensus") | {"alpha": alpha, "beta": beta}
        for alpha in alphas
        for beta in betas
    }


def _long_rows(scale: s.Scale) -> dict[str, dict]:
    """Table C: fine-tuning until little changes, to tell a slow loss from a bad one."""
    rows = {s.CE_LONG: _tuned_on_cofw(scale, "cross_entropy")}
    rows |= {s.long_row(beta): _tuned_on_cofw(scale, "consensus") | {"beta": beta} for beta in s.LONG_BETAS}
    return {name: row | {"epochs": 4 * scale.finetune_epochs} for name, row in rows.items()}


def _watched_rows(scale: s.Scale) -> dict[str, dict]:
    """Figure 4a: two systems of Table 1 once more, with their predictions after some of the epochs."""
    rows = _cofw_rows(scale)
    return {f"{name}, watched": rows[name] | {"watched": True} for name in (s.CE_FINETUNED, s.CONSENSUS_FINETUNED)}


def _loss_rows(scale: s.Scale) -> dict[str, dict]:
    """Table B: other losses at the same cost, all from the same start."""
    return {name: _tuned_on_cofw(scale, loss) for name, loss in s.LOSS_ROWS.items()}
