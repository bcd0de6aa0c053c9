"""The book's first page in sentences and tables: what was found, how each claim fared, what is done, what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from reprolib import studies
from reprolib.parameters import DATA
from reprolib.report import ABSENT
from reprolib.store import RunStore
from reprolib.trial import Record
from reprolib.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_TESTED,
    OPPOSITE,
    REPRODUCED,
    SMALLER,
    VERDICTS,
)

SHORT = {  # what the first page calls each paper; a study without an entry goes by its title
    "masi2020": "Structure via consensus",
    "yang2023": "Fuzzy lips",
    "yin2020": "Interlinked parsing",
    "wang2018": "Face masks in video",
    "sheng2021": "Lip reading by graphs",
}
TRUSTED = tuple(reversed(DATA))  # paper, public, synthetic
DATA_IN_WORDS = {"paper": "paper's own data", "public": "other real data", "synthetic": "rendered data"}
DATASETS_IN_WORDS = {  # that are neither a paper's own nor rendered
    "celebamask": "CelebAMask-HQ", "lfw-occluded": "occluded LFW faces", "fasseg": "FASSEG",
    "talkingfaces": "videos of presenters and GRID", "landmarks300w": "HELEN and AFW", "grid": "GRID",
    "lipnet-ita": "LipNet-ITA",
}  # fmt: skip
SYMBOLS = {
    REPRODUCED: "✓", SMALLER: "½", NOT_REPRODUCED: "✗", OPPOSITE: "↓", INCONCLUSIVE: "?", NOT_TESTED: "·",
}  # fmt: skip
MEANINGS = {  # in a line each; the rules are in book/methods.md
    REPRODUCED: "We find the claimed effect, and our interval includes half the published size or more.",
    SMALLER: "We find the claimed effect, but it is less than half as large as published.",
    NOT_REPRODUCED: "We do not find it, and an effect half as large as published is excluded.",
    OPPOSITE: "We find the opposite of what is claimed.",
    INCONCLUSIVE: "Our interval holds both no effect and half the published one: more data would be needed.",
    NOT_TESTED: "Nothing was run, or a condition fails: a row did not learn, did not converge, or was not registered.",
}

Claims = Sequence[Mapping[str, Any]]  # rows of `reprolib.status.claims`


def short_title(study: str) -> str:
    """What the first page calls a paper."""
    return SHORT.get(study) or studies.load(study).TITLE


def by_study(claims: Claims) -> dict[str, list[Mapping[str, Any]]]:
    """Study → its claims, in the book's order of papers; every paper has an entry."""
    return {study: [claim for claim in claims if claim["study"] == study] for study in studies.STUDIES}


# --- findings ----------------------------------------------------------------------------------------


def findings(claims: Claims) -> str:
    """One sentence per paper, as an HTML list."""
    sentences = (
        f'<li><a href="{study}.html">{escape(short_title(study))}</a>: {escape(finding(of_study))}</li>'
        for study, of_study in by_study(claims).items()
    )
    return f'<ul class="findings">{"".join(sentences)}</ul>'


def finding(claims: Claims) -> str:
    """What became of one paper's primary claims, in one sentence.

    Each claim counts once, on the most trusted data that could test it. The sentence gives the effect of the first
    tested primary claim in registered order, or of a secondary one if no primary claim could be tested.
    """
    primary = [claim for claim in claims if claim["primary"]]
    asked = list(dict.fromkeys(claim["id"] for claim in primary))
    if not asked:
        return "nothing has been run that could tell; its claims are not yet judged by the rules of this book."
    best = _tested(primary)
    if not best:
        told = "its one primary claim has no verdict yet"
        if len(asked) > 1:
            told = f"none of its {len(asked)} primary claims has a verdict yet"
        others = list(_tested([claim for claim in claims if not claim["primary"] and claim["verdict"]]).values())
        return f"{told}; of the secondary ones, {_in_full(others[0])}." if others else f"{told}."
    counts = Counter(claim["verdict"] for claim in best.values())
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    first = best[next(id for id in asked if id in best)]
    return f"{len(best)} of {len(asked)} primary claims could be tested ({told}); {_in_full(first)}."


def _tested(claims: Claims) -> dict[str, Mapping[str, Any]]:
    """Identifier of a claim → what became of it on the most trusted data that could test it."""
    best: dict[str, Mapping[str, Any]] = {}
    for data in TRUSTED:
        for claim in claims:
            if claim["data"] == data and claim["verdict"] != NOT_TESTED:
                best.setdefault(claim["id"], claim)
    return best


def _in_full(claim: Mapping[str, Any]) -> str:
    return f"“{claim['statement'].rstrip('.')}”: {claim['verdict']} on {_place(claim)}, {_found(claim)}"


def _place(claim: Mapping[str, Any]) -> str:
    if claim["data"] == "public":
        return DATASETS_IN_WORDS.get(claim["dataset"], DATA_IN_WORDS["public"])
    return f"{'the ' if claim['data'] == 'paper' else ''}{DATA_IN_WORDS[claim['data']]}"


def _found(claim: Mapping[str, Any]) -> str:
    """ "+0.21 points (−0.40 to +0.80; paper +2.1)"."""
    paper = "a direction" if claim["published_effect"] is None else _signed(claim["published_effect"])
    interval = "" if claim["low"] is None else f"{_signed(claim['low'])} to {_signed(claim['high'])}; "
    return f"{_signed(claim['effect'])} {claim['unit']} ({interval}paper {paper})"


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")


# --- the matrix of verdicts --------------------------------------------------------------------------


def verdict_matrix(claims: Claims) -> str:
    """Primary claims × data sources, grouped by paper, as one HTML table: a symbol, a word and a colour per verdict.

    Columns are the claims in registered order; a folded list beneath says which is which.
    """
    primary = {study: [claim for claim in of_study if claim["primary"]] for study, of_study in by_study(claims).items()}
    asked = {study: list(dict.fromkeys(c["id"] for c in of_study)) for study, of_study in primary.items()}
    width = max(map(len, asked.values()), default=0)
    head = "".join(f'<th scope="col">{number}</th>' for number in range(1, width + 1))
    head = f'<tr><th scope="col">primary claim</th>{head}</tr>'
    body = "".join(_block(study, asked[study], primary[study], width) for study in primary)
    counts = Counter(claim["verdict"] for of_study in primary.values() for claim in of_study)
    total = sum(counts.values())
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "none"
    caption = (
        f"Verdicts on the primary claims of the five papers, on each kind of data on which they are registered: "
        f"{total} in all, {told}."
    )
    lists = "".join(
        f"<p>{escape(short_title(study))}</p><ol>"
        + "".join(f"<li>{escape(next(c for c in primary[study] if c['id'] == id)['statement'])}</li>" for id in ids)
        + "</ol>"
        for study, ids in asked.items()
        if ids
    )
    return (
        f'<figure class="matrix"><div class="frame" tabindex="0" role="region" aria-label="Matrix of verdicts">'
        f"<table><caption><span>{caption}</span></caption><thead>{head}</thead>{body}</table></div>"
        f"<figcaption>{legend()}</figcaption></figure>"
        f"<details><summary>Which claim is which?</summary>{lists}</details>"
    )


def legend() -> str:
    """The symbols of the verdicts with their names, in one line of HTML."""
    return " ".join(f'<span class="key">{_mark(v)} {v}</span>' for v in VERDICTS)


def glossary() -> str:
    """Each verdict with its symbol and what it means, as an HTML table."""
    rows = "".join(f'<tr><th scope="row">{_mark(v)} {v}</th><td>{MEANINGS[v]}</td></tr>' for v in VERDICTS)
    return f'<table class="glossary"><tbody>{rows}</tbody></table>'


def _mark(verdict: str) -> str:
    return f'<span class="verdict {_css(verdict)}" aria-hidden="true">{SYMBOLS[verdict]}</span>'


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _block(study: str, ids: Sequence[str], claims: Claims, width: int) -> str:
    """The rows of one paper: its name, then one row per data source on which a primary claim is registered."""
    name = f'<a href="{study}.html">{escape(short_title(study))}</a>'
    rows = [f'<tr><th scope="rowgroup" colspan="{width + 1}">{name}</th></tr>']
    for data in TRUSTED:
        found = {claim["id"]: claim for claim in claims if claim["data"] == data}
        if found:
            cells = "".join(_cell(found.get(id)) for id in ids) + "<td></td>" * (width - len(ids))
            rows.append(f'<tr><th scope="row">{DATA_IN_WORDS[data]}</th>{cells}</tr>')
    if len(rows) == 1:
        rows.append(f'<tr><td colspan="{width + 1}">not yet judged by the rules of this book</td></tr>')
    return f"<tbody>{''.join(rows)}</tbody>"


def _cell(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return "<td></td>"
    verdict = claim["verdict"]
    title = f"{claim['statement']} {verdict.capitalize()}"
    if claim["effect"] is not None:
        title += f": {_found(claim)}"
    return f'<td title="{escape(title)}">{_mark(verdict)}<span class="word"> {verdict}</span></td>'


# --- all claims --------------------------------------------------------------------------------------


def claims_table(claims: Claims) -> pd.DataFrame:
    """One row per claim and data source, with everything that a reader may want to search or filter by."""
    columns = [
        *("paper", "claim", "role", "data", "verdict", "after Holm", "ours", "95 % interval", "paper's effect"),
        *("detectable", "seeds", "profile"),
    ]
    rows = [_line(claim) for of_study in by_study(claims).values() for claim in sorted(of_study, key=_trust)]
    return pd.DataFrame(rows, columns=columns)


def _trust(claim: Mapping[str, Any]) -> int:
    return TRUSTED.index(claim["data"])


def _line(claim: Mapping[str, Any]) -> dict[str, Any]:
    unit, measured = claim["unit"], claim["effect"] is not None
    known = measured and claim["low"] is not None
    published, detectable = claim["published_effect"], claim.get("detectable")
    roles = {True: "primary", False: "secondary", None: "first round"}
    return {
        "paper": short_title(claim["study"]),
        "claim": claim["statement"],
        "role": roles[claim.get("primary")],
        "data": DATA_IN_WORDS[claim["data"]],
        "verdict": claim["verdict"] + (f": {_failed(claim)}" if measured and claim["verdict"] == NOT_TESTED else ""),
        "after Holm": claim.get("verdict_holm") or ABSENT,
        "ours": f"{_signed(claim['effect'])} {unit}" if measured else ABSENT,
        "95 % interval": f"{_signed(claim['low'])} … {_signed(claim['high'])}" if known else ABSENT,
        "paper's effect": ABSENT if published is None else f"{_signed(published)} {unit}",
        "detectable": ABSENT if detectable is None else f"{detectable:.3g}",
        "seeds": claim["seeds"],
        "profile": claim["profile"] if measured else ABSENT,
    }


def _failed(claim: Mapping[str, Any]) -> str:
    """The condition of a verdict that fails for a claim whose rows were run."""
    failed = {"learned": "a row did not learn", "converged": "a row did not converge", "registered": "not registered"}
    return next((words for name, words in failed.items() if claim.get(name) is False), "too few seeds")


def interactive(table: pd.DataFrame, caption: str, *, id: str, choose: Sequence[str]) -> str:
    """A table that can be searched and sorted, and filtered by the columns to `choose` from, as HTML.

    It needs `scripts` once on the page; where scripts are off it is a plain table.
    """
    from itables import to_html_datatable

    choices = [list(table.columns).index(name) for name in choose]
    return to_html_datatable(
        table, caption, connected=False, table_id=id, use_to_html=True, showIndex=False,
        classes="display compact", style="width:100%;caption-side:top", pageLength=10, autoWidth=False,
        lengthMenu=[10, 25, {"label": "all", "value": -1}],
        layout={"topStart": "search", "topEnd": "pageLength", "bottomStart": "info", "bottomEnd": "paging"},
        columnControl=["order"], columnDefs=[{"targets": choices, "columnControl": ["order", ["searchList"]]}],
    )  # fmt: skip


DARK = """<script>
(() => {  // DataTables is dark where the root has the class "dark", the theme where it has data-theme="dark"
  const root = document.documentElement;
  const follow = () => {
    const dark = root.dataset.theme === "dark";
    if (dark !== root.classList.contains("dark")) root.classList.toggle("dark", dark);
  };
  new MutationObserver(follow).observe(root, {attributeFilter: ["data-theme", "class"]});
  follow();
})();
</script>"""


def scripts() -> str:
    """The script and style sheet of `interactive` tables, whole, so that no network is needed; as HTML."""
    from itables import options
    from itables.javascript import generate_init_offline_itables_html

    html = generate_init_offline_itables_html(options.dt_bundle)
    return html[: html.rindex("</script>") + len("</script>")] + DARK  # without the note for readers with scripts off


# --- what is done ------------------------------------------------------------------------------------


def done(found: Mapping[str, Any]) -> str:
    """One line per paper: each of its tables and figures as a square, and its methods as a bar; as HTML.

    `found`: from `reprolib.status.status`. A square of something done holds a letter for its most trusted data.
    """
    lines = []
    for study, kinds in found["studies"].items():
        methods = [entry for entry in kinds["systems"].values() if "reason" not in entry]
        trained = sum(any(data in entry for data in DATA) for entry in methods)
        cells = [
            f'<td><span class="squares">{_squares(kinds[kind], kind)}</span></td>' for kind in ("tables", "figures")
        ]
        share = 100 * trained / len(methods) if methods else 0
        bar = f'<span class="bar" aria-hidden="true"><span style="width: {share:.0f}%"></span></span>'
        cells.append(f"<td>{bar} {trained} of {len(methods)}</td>")
        lines.append(f'<tr><th scope="row">{escape(short_title(study))}</th>{"".join(cells)}</tr>')
    totals = {kind: "{} of {}".format(*counts) for kind, counts in found["totals"].items()}
    caption = (
        f"Done: {totals['tables']} tables and {totals['figures']} figures of the five papers. A filled square is done, "
        "all its rows with at least three seeds, on the paper's own data (P), other real data (R) or rendered data (S)."
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("paper", "tables", "figures", "methods trained"))
    return (
        f'<figure class="done"><div class="frame" tabindex="0" role="region" aria-label="What is done"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></figure>"
    )


LETTERS = {"paper": "P", "public": "R", "synthetic": "S"}


def _squares(places: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    squares = []
    for number, entry in places.items():
        best = next((data for data in TRUSTED if data in entry), None)
        if best is None:
            told = f"{kind[:-1].capitalize()} {number}: not done"
        else:
            how = entry[best]
            told = f"{kind[:-1].capitalize()} {number}: {DATA_IN_WORDS[best]}, {how['profile']}, {how['seeds']} seeds"
        filled = "open" if best is None else "filled"
        letter = f"<b>{LETTERS[best]}</b>" if best else ""
        squares.append(f'<span class="square {filled}" role="img" aria-label="{escape(told)}" title="{escape(told)}">'
                       f"{escape(number)}{letter}</span>")  # fmt: skip
    return "".join(squares)


# --- what it cost ------------------------------------------------------------------------------------


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
    table["failed runs of the paper"] = [failed[study] for study in table["paper"]]
    return table.set_index("paper").rename_axis(index=None)


def _cost(record: Record) -> dict[str, Any]:
    return {
        "paper": record.trial.study,
        "data": record.trial.params["data"],
        "profile": record.trial.params["profile"],
        "machine": record.cost["device_name"],
        "seconds": record.cost["seconds"],
        "memory": record.cost["peak_memory_mb"],
    }
