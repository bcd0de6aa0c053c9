"""Which tables, figures and methods are done, and the verdicts on the papers' claims, read from the records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reprolib import paths, studies
from reprolib.parameters import DATA
from reprolib.results import Results
from reprolib.store import RunStore
from reprolib.study import Row, Study

PROFILES = ("gpu", "cpu")  # best first; smoke runs never count

CLAIM_KEYS = (  # of `claims --json`, which other programs parse
    *("study", "id", "statement", "primary", "published_effect", "unit", "data", "dataset", "profile"),
    *("effect", "low", "high", "seeds", "units", "detectable", "learned", "converged", "registered"),
    *("verdict", "verdict_holm"),
)

Entry = dict[str, Any]  # {"profile": "gpu", "seeds": 3, "device": "…"}


def status(store: RunStore | None = None, *, profiles: Sequence[str] = PROFILES) -> dict[str, Any]:
    """Tables, figures and methods of every study, with the data sources on which all their rows are done.

    `profiles`: those that count, best first; only the book of a smoke run asks for ("smoke",).
    """
    store = store or RunStore(paths.RESULTS)
    found = {study_id: _status(studies.load(study_id), store, profiles) for study_id in studies.STUDIES}
    totals = {kind: [0, 0] for kind in ("tables", "figures", "systems")}
    for study in found.values():
        for kind, total in totals.items():
            total[0] += sum(map(_is_done, study[kind].values()))
            total[1] += len(study[kind])
    return {"studies": found, "totals": totals}


def claims(study: Study, store: RunStore | None = None, *, profiles: Sequence[str] = PROFILES) -> list[dict[str, Any]]:
    """Every claim of a study on every data source, from the best profile that tests it."""
    results = Results(study, store or RunStore(paths.RESULTS))
    asked = [data for data in reversed(DATA) if any(data in claim.data for claim in study.registered_claims)]
    of_data = [study.Parameters(profile=profiles[-1], data=data) for data in asked]
    return [row for parameters in of_data for row in results.claims_json(parameters, profiles)]


def _status(study: Study, store: RunStore, profiles: Sequence[str]) -> dict[str, Any]:
    """Tables, figures and methods of a study: each data source with the best profile that did all rows."""
    results = Results(study, store)
    tables = {table.place: {} for table in study.declared_tables if table.place.startswith("table ")}
    places: dict[str, dict[str, Entry]] = tables | {figure: {} for figure in study.figures}
    systems: dict[str, dict[str, Any]] = {n: {"reason": why} if why else {} for n, why in study.SYSTEMS.items()}
    for data in DATA:
        for profile in reversed(profiles):  # a better profile replaces a worse one
            rows = study.rows(study.Parameters(profile=profile, data=data))
            for place in places:
                _note(places, place, data, _rows_entry([row for row in rows if place in row.places], results, profile))
            for row in rows:
                _note(systems, row.name, data, _rows_entry([row], results, profile))
            if any(places[place].get(data, {}).get("profile") == profile for place in tables):
                for place in places:  # drawn from the method itself
                    if not any(place in row.places for row in rows) and place in study.without_rows:
                        _note(places, place, data, {"profile": profile, "seeds": 0, "device": "none needed"})
    numbered = {place.split()[1]: entry for place, entry in places.items() if place in tables}
    figures = {place.split()[1]: entry for place, entry in places.items() if place not in tables}
    return {"tables": numbered, "figures": figures, "systems": systems}


def _rows_entry(rows: Sequence[Row], results: Results, profile: str) -> Entry | None:
    """How the rows were done; None unless each has three seeds, or all that are planned for it."""
    if not results.is_done(rows):
        return None
    records = [results.of(row) for row in rows]
    devices = {record.cost["device_name"] for of in records for record in of}
    seeds = min((len(of) for row, of in zip(rows, records, strict=True) if row.seeds > 1), default=1)
    return {"profile": profile, "seeds": seeds, "device": ", ".join(sorted(devices))}


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
