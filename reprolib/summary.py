"""The three tables of the book's first page: what is done, what the claims came to, what it cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reprolib import studies
from reprolib.parameters import DATA
from reprolib.report import ABSENT, NOT_DONE
from reprolib.store import RunStore
from reprolib.trial import Record
from reprolib.verdicts import VERDICTS

OLD_VERDICT = "same direction"  # of studies that are not yet ported to `reprolib.study`


def coverage(found: Mapping[str, Any]) -> pd.DataFrame:
    """One row per paper and data source: what is done of what there is; from `reprolib.status.status`."""
    rows = []
    for study in studies.STUDIES:
        title = studies.load(study).TITLE
        parts = found["studies"].get(study)
        if parts is None:
            rows.append({"paper": title, "data": ABSENT} | dict.fromkeys(("tables", "figures", "systems"), NOT_DONE))
            continue
        for data in DATA:
            entries = [entry[data] for kind in parts.values() for entry in kind.values() if data in entry]
            row = {"paper": title, "data": data}
            row |= {kind: _done(parts[kind], data) for kind in ("tables", "figures", "systems")}
            row |= {name: _all(entries, name) for name in ("profile", "seeds", "device")}
            rows.append(row)
    table = pd.DataFrame(rows).fillna(ABSENT)
    table["paper"] = table["paper"].mask(table["paper"].duplicated(), "")  # named once
    return table.set_index("paper").rename_axis(index=None)


def verdicts(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per claim: the published effect, then verdict, effect and 95 % interval on each data source.

    `claims`: from `reprolib.status.claims`, of any number of studies.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for claim in claims:
        row = rows.setdefault((claim["study"], claim["id"]), {"claim": claim["statement"]})
        row["paper says"] = _effect(claim["published_effect"], claim["unit"])
        row[f"on {claim['data']} data"] = _found(claim)
    columns = ["claim", "paper says", *(f"on {data} data" for data in DATA)]
    index = pd.Index([study for study, _ in rows])
    return pd.DataFrame([{**dict.fromkeys(columns, "not tested"), **row} for row in rows.values()], index, columns)


def verdict_counts(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """How often each verdict was given on each data source: one row per data source."""
    given = pd.DataFrame([(claim["data"], claim["verdict"]) for claim in claims], columns=["data", "verdict"])
    counts = pd.crosstab(given["data"], given["verdict"])
    columns = [*VERDICTS, OLD_VERDICT] if OLD_VERDICT in counts else list(VERDICTS)
    return counts.reindex(index=list(DATA), columns=columns, fill_value=0).rename_axis(index=None, columns=None)


def compute(store: RunStore, studies: Sequence[str]) -> pd.DataFrame:
    """Trials, failed trials, hours and peak memory of every study, data source, profile and machine."""
    records = [record for study in studies for record in store.records(study)]
    failed = {study: len(list((store.root / "failures" / study).glob("*.json"))) for study in studies}
    if not records:
        return pd.DataFrame({"trials": []})
    table = pd.DataFrame([_cost(record) for record in records])
    keys = ["paper", "data", "profile", "machine"]
    table = table.groupby(keys, sort=False).agg(
        trials=("seconds", "size"), hours=("seconds", "sum"), memory=("memory", "max")
    )
    table["hours"] = [f"{seconds / 3600:.2f}" for seconds in table["hours"]]
    table["memory"] = [f"{megabytes / 1024:.1f} GiB" for megabytes in table["memory"]]
    table = table.reset_index().rename(columns={"memory": "peak memory"})
    table["failed trials of the paper"] = [failed[study] for study in table["paper"]]
    return table.set_index("paper").rename_axis(index=None)


def _done(places: Mapping[str, Mapping[str, Any]], data: str) -> str:
    possible = [entry for entry in places.values() if "reason" not in entry]
    done = sum(data in entry for entry in possible)
    return f"{done} of {len(possible)}" if done else NOT_DONE


def _all(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    values = dict.fromkeys(str(entry[name]) for entry in entries if entry["seeds"])
    return ", ".join(sorted(values)) or ABSENT


def _found(claim: Mapping[str, Any]) -> str:
    if claim["effect"] is None:
        return claim["verdict"]
    bounds = f"{claim['low']:+.2f} … {claim['high']:+.2f}".replace("-", "−")
    effect = _effect(claim["effect"], claim["unit"])
    return f"{claim['verdict']}: {effect} ({bounds}), {claim['seeds']} seeds, {claim['profile']}"


def _effect(value: float | None, unit: str) -> str:
    return ABSENT if value is None else f"{value:+.3g} {unit}".replace("-", "−").strip()


def _cost(record: Record) -> dict[str, Any]:
    return {
        "paper": record.trial.study,
        "data": record.trial.params["data"],
        "profile": record.trial.params["profile"],
        "machine": record.cost["device_name"],
        "seconds": record.cost["seconds"],
        "memory": record.cost["peak_memory_mb"],
    }
