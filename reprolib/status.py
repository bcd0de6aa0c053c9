"""What is done of the whole reproduction, and what became of the papers' claims, read from the records."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from reprolib import paths, studies
from reprolib.parameters import DATA
from reprolib.store import RunStore
from reprolib.trial import Record, Trial

TABLES, FIGURES = 31, 40  # of all five papers together
PROFILES = ("gpu", "cpu")  # best first; smoke runs never count

CLAIM_KEYS = (  # of `claims --json`, which others parse
    *("study", "id", "statement", "published_effect", "unit", "data", "profile"),
    *("effect", "low", "high", "seeds", "verdict"),
)

Entry = dict[str, Any]  # {"profile": "gpu", "seeds": 3, "device": "…"}


def status(store: RunStore | None = None, *, profiles: Sequence[str] = PROFILES) -> dict[str, Any]:
    """Tables, figures and systems of every study, with the data sources on which all its trials are done.

    `profiles`: those that count, best first; only the book of a smoke run asks for ("smoke",).
    """
    store = store or RunStore(paths.RESULTS)
    found = {study_id: _study_status(studies.load(study_id), store, profiles) for study_id in studies.STUDIES}
    done = {
        kind: sum(_is_done(entry) for study in found.values() for entry in study[kind].values())
        for kind in ("tables", "figures", "systems")
    }
    systems = sum(len(study["systems"]) for study in found.values())
    totals = {
        "tables": [done["tables"], TABLES],
        "figures": [done["figures"], FIGURES],
        "systems": [done["systems"], systems],
    }
    return {"studies": found, "totals": totals}


def claims(
    study: ModuleType, store: RunStore | None = None, *, profiles: Sequence[str] = PROFILES
) -> list[dict[str, Any]]:
    """Every claim of a study on every data source, from the best profile that tests it."""
    store = store or RunStore(paths.RESULTS)
    chosen = []
    for data in DATA:
        best: dict[str, Any] = {}
        for profile in profiles:
            for claim in study.claims(study.Parameters(profile=profile, data=data), store):
                if claim.id not in best or best[claim.id].verdict == "not tested" != claim.verdict:
                    best[claim.id] = claim
        chosen += best.values()
    rows = [claim.to_json() for claim in chosen]
    return [{key: row[key] for key in CLAIM_KEYS} for row in rows]


def _study_status(study: ModuleType, store: RunStore, profiles: Sequence[str]) -> dict[str, Any]:
    records = {record.trial.key: record for record in store.records(study.ID)}
    numbered: dict[str, dict[str, Entry]] = {"table": {}, "figure": {}}
    systems: dict[str, Entry] = {name: {"reason": reason} if reason else {} for name, reason in study.SYSTEMS.items()}
    for data in DATA:
        # The worse profile first: what the better one has done then takes its place.
        for profile in reversed(profiles):
            places = study.trials(study.Parameters(profile=profile, data=data))
            entries = {place: _entry(trials, records, profile) for place, trials in places.items()}
            any_table = any(entry for place, entry in entries.items() if place.startswith("table "))
            for place, trials in places.items():
                kind, number = place.split(maxsplit=1)
                if kind not in numbered:
                    continue  # an extra beyond the paper
                entry = entries[place]
                if not trials and any_table:
                    entry = {"profile": profile, "seeds": 0, "device": "none needed"}
                _note(numbered[kind], number, data, entry)
            everything = {trial.key: trial for trials in places.values() for trial in trials}.values()
            for name, reason in study.SYSTEMS.items():
                if reason is None:
                    own = [trial for trial in everything if trial.params.get("system") == name]
                    _note(systems, name, data, _entry(own, records, profile))
    return {"tables": numbered["table"], "figures": numbered["figure"], "systems": systems}


def _entry(trials: Sequence[Trial], records: Mapping[str, Record], profile: str) -> Entry | None:
    """How the trials were done; None unless there are some and all of them are in the store."""
    if not trials or any(trial.key not in records for trial in trials):
        return None
    devices = {records[trial.key].cost["device_name"] for trial in trials}
    seeds = {trial.seed for trial in trials}
    return {"profile": profile, "seeds": len(seeds), "device": ", ".join(sorted(devices))}


def _note(entries: dict[str, Entry], name: str, data: str, entry: Entry | None) -> None:
    sources = entries.setdefault(name, {})
    if entry is not None:
        sources[data] = entry


def _is_done(entry: Entry) -> bool:
    return any(data in entry for data in DATA)


def as_lines(found: Mapping[str, Any]) -> Iterable[str]:
    """The status for a reader at a terminal."""
    for study_id, study in found["studies"].items():
        yield study_id
        for kind in ("tables", "figures", "systems"):
            for name, entry in study[kind].items():
                yield f"  {kind[:-1]} {name}: {_in_words(entry)}"
    yield ", ".join(f"{kind}: {done} of {total}" for kind, (done, total) in found["totals"].items())


def _in_words(entry: Entry) -> str:
    if "reason" in entry:
        return f"not trained ({entry['reason']})"
    parts = [f"{data} ({entry[data]['profile']}, {entry[data]['seeds']} seeds)" for data in DATA if data in entry]
    return ", ".join(parts) or "not done"
