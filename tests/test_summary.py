"""The book's first page says what is recorded, and nothing else."""

import pytest

from reprolib import studies, summary
from reprolib.store import RunStore
from reprolib.trial import Outcome, Trial
from reprolib.verdicts import VERDICTS

DONE = {"profile": "gpu", "seeds": 3, "device": "a GPU"}
NOTHING = {"effect": None, "low": None, "high": None, "verdict": "not tested", "seeds": 0}


def claim(**fields) -> dict:
    return {
        "study": "masi2020", "id": "iou", "statement": "Consensus raises the IoU.", "primary": True,
        "published_effect": 1.6, "unit": "points", "data": "synthetic", "dataset": "own", "profile": "gpu",
        "effect": 2.0, "low": 0.5, "high": 3.5, "seeds": 3, "units": 12, "detectable": 1.25, "verdict": "reproduced",
        "verdict_holm": "inconclusive", **fields,
    }  # fmt: skip


# --- findings ----------------------------------------------------------------------------------------


def test_a_paper_of_which_nothing_was_run_says_so():
    sentence = summary.finding([claim(**NOTHING), claim(id="recall", **NOTHING)])
    assert sentence == "none of its 2 primary claims has a verdict yet."


def test_where_no_primary_claim_could_be_tested_another_is_told():
    sentence = summary.finding([claim(**NOTHING), claim(id="minor", statement="Masks are smooth.", primary=False)])
    assert sentence == (
        "its one primary claim has no verdict yet; of the secondary ones, “Masks are smooth”: "
        "reproduced on rendered data, +2.00 points (+0.50 to +3.50; paper +1.60)."
    )


def test_a_paper_without_registered_claims_says_so():
    assert summary.finding([claim(primary=None)]).startswith("nothing has been run that could tell")


def test_a_finding_counts_each_claim_once_on_the_most_trusted_data_that_tested_it():
    sentence = summary.finding([
        claim(verdict="opposite"), claim(data="public", low=-0.5, effect=-0.25, verdict="not reproduced"),
        claim(data="paper", **NOTHING), claim(id="recall", verdict="smaller"), claim(id="speed", **NOTHING),
    ])  # fmt: skip
    assert sentence == (
        "2 of 3 primary claims could be tested (1 smaller, 1 not reproduced); “Consensus raises the IoU”: not "
        "reproduced on other real data, −0.25 points (−0.50 to +3.50; paper +1.60)."
    )


def test_a_claim_of_a_direction_has_no_published_number():
    assert "paper a direction)" in summary.finding([claim(published_effect=None)])


def test_there_is_one_sentence_for_each_of_the_five_papers():
    html = summary.findings([claim()])
    assert html.count("<li>") == len(studies.STUDIES) == 5
    assert html.count("nothing has been run that could tell") == 4
    assert all(f'href="{study}.html"' in html for study in studies.STUDIES)


# --- the matrix --------------------------------------------------------------------------------------


def test_the_matrix_has_a_cell_for_each_primary_claim_on_each_data_source():
    html = summary.verdict_matrix([
        claim(), claim(id="recall", data="public", verdict="opposite"), claim(id="minor", primary=False),
    ])  # fmt: skip
    assert html.count('class="word"') == 2
    assert "2 in all, 1 reproduced, 1 opposite." in html
    assert html.count("<li>") == 2  # which claim is which
    assert html.count("not yet judged") == 4


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_is_told_by_a_symbol_a_word_and_a_class(verdict):
    html = summary.verdict_matrix([claim(verdict=verdict)])
    cell = html[html.index("<td title=") : html.index("<figcaption>")]
    assert f'class="verdict {verdict.replace(" ", "-")}"' in cell
    assert f'<span class="word"> {verdict}</span>' in cell
    assert f">{summary.SYMBOLS[verdict]}<" in cell
    assert len(set(summary.SYMBOLS.values())) == len(VERDICTS)


def test_a_statement_cannot_break_the_page():
    html = summary.verdict_matrix([claim(statement='Less than 3 "<b>" points.')])
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_the_glossary_explains_every_verdict():
    html = summary.glossary()
    assert html.count("<tr>") == len(VERDICTS)
    assert all(verdict in html for verdict in VERDICTS)


# --- all claims --------------------------------------------------------------------------------------


def test_all_claims_have_a_row_on_each_data_source_the_most_trusted_first():
    table = summary.claims_table([claim(), claim(data="paper", **NOTHING), claim(primary=False, verdict_holm="")])
    assert table["data"].tolist() == ["paper's own data", "rendered data", "rendered data"]
    assert table["role"].tolist() == ["primary", "primary", "secondary"]
    measured = table.iloc[1]
    assert (measured["ours"], measured["95 % interval"]) == ("+2.00 points", "+0.50 … +3.50")
    assert (measured["paper's effect"], measured["detectable"]) == ("+1.60 points", "1.25")
    assert table.iloc[0][["ours", "95 % interval", "profile"]].tolist() == ["—"] * 3
    assert table.iloc[2]["after Holm"] == "—"


def test_a_searchable_table_is_a_plain_one_without_scripts_and_the_same_each_time():
    table = summary.claims_table([claim()])
    html = summary.interactive(table, "Claims.", id="claims", choose=["paper"])
    plain = html[: html.index("<script")]
    assert "Consensus raises the IoU." in plain
    assert "Claims." in plain
    assert "https://www.unpkg.com" not in html
    assert html == summary.interactive(table, "Claims.", id="claims", choose=["paper"])


# --- what is done ------------------------------------------------------------------------------------


def found(tables: dict, systems: dict) -> dict:
    kinds = {"tables": tables, "figures": {"1": {}}, "systems": systems}
    totals = {"tables": [1, 31], "figures": [0, 40], "systems": [1, 2]}
    return {"studies": {"masi2020": kinds}, "totals": totals}


def test_a_square_is_filled_with_the_most_trusted_data_on_which_a_table_is_done():
    html = summary.done(found({"1": {"synthetic": DONE, "public": DONE}, "2": {}}, {}))
    assert html.count('class="square filled"') == 1
    assert "Table 1: other real data, gpu, 3 seeds" in html
    assert "2: not done" in html
    assert "1 of 31 tables and 0 of 40 figures" in html


def test_a_method_that_cannot_be_trained_is_not_counted():
    assert "1 of 1" in summary.done(found({}, {"ours": {"synthetic": DONE}, "theirs": {"reason": "no code"}}))


# --- what it cost ------------------------------------------------------------------------------------


def test_compute_adds_up_the_hours_of_each_machine(tmp_path):
    store = RunStore(tmp_path)
    for seed in (0, 1):
        trial = Trial("masi2020", "a", {"data": "synthetic", "profile": "cpu"}, seed)
        cost = {"seconds": 1800.0, "device_name": "a laptop", "peak_memory_mb": 512.0 * (seed + 1)}
        store.save(trial, Outcome({"iou": 50.0}), cost=cost, environment={})
    failed = Trial("masi2020", "a", {"data": "synthetic", "profile": "cpu"}, 2)
    store.save_failure(failed, "NaN loss.", trace="", cost=cost, environment={})
    row = summary.compute(store, ["masi2020"]).loc["masi2020"]
    assert (row["machine"], row["trials"], row["hours"]) == ("a laptop", 2, "1.00")
    assert (row["peak memory"], row["failed runs of the paper"]) == ("1.0 GiB", 1)


def test_compute_of_nothing_is_an_empty_table(tmp_path):
    assert summary.compute(RunStore(tmp_path), ["masi2020"]).empty
