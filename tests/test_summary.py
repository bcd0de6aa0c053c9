"""The book's first page counts what is recorded, and nothing else."""

from reprolib.store import RunStore
from reprolib.summary import compute, coverage, verdict_counts, verdicts
from reprolib.trial import Outcome, Trial
from reprolib.verdicts import VERDICTS

DONE = {"profile": "gpu", "seeds": 3, "device": "a GPU"}


def found(tables: dict, systems: dict) -> dict:
    return {"studies": {"masi2020": {"tables": tables, "figures": {"1": {}}, "systems": systems}}}


def claim(**fields) -> dict:
    return {
        "study": "masi2020", "id": "iou", "statement": "Consensus beats cross entropy.", "published_effect": 1.6,
        "unit": "%", "data": "synthetic", "profile": "gpu", "effect": 2.0, "low": -0.5, "high": 4.5, "seeds": 3,
        "verdict": "same direction", **fields,
    }  # fmt: skip


def test_a_table_counts_only_on_the_data_where_it_is_done():
    table = coverage(found({"1": {"synthetic": DONE}, "2": {}}, {}))
    synthetic, public = (table[(table["data"] == data)].iloc[0] for data in ("synthetic", "public"))
    assert (synthetic["tables"], synthetic["profile"], synthetic["seeds"]) == ("1 of 2", "gpu", "3")
    assert (public["tables"], public["profile"]) == ("not done", "—")


def test_a_system_that_cannot_be_trained_is_not_counted():
    table = coverage(found({}, {"ours": {"synthetic": DONE}, "theirs": {"reason": "no code"}}))
    assert table.iloc[0]["systems"] == "1 of 1"


def test_all_five_papers_are_named_and_four_are_not_done():
    table = coverage(found({"1": {"synthetic": DONE}}, {}))
    assert sum(table.index != "") == 5
    assert (table["tables"] == "not done").sum() == 4 + 2  # four papers, and two data sources of the first


def test_a_claim_has_one_row_and_one_cell_per_data_source():
    table = verdicts([claim(), claim(data="public", verdict="not tested", effect=None, low=None, high=None)])
    row = table.iloc[0]
    assert len(table) == 1
    assert row["paper says"] == "+1.6 %"
    assert row["on synthetic data"] == "same direction: +2 % (−0.50 … +4.50), 3 seeds, gpu"
    assert row["on public data"] == row["on paper data"] == "not tested"


def test_verdicts_are_counted_per_data_source():
    table = verdict_counts([claim(), claim(id="recall"), claim(data="public", verdict="opposite")])
    assert table.loc["synthetic", "same direction"] == 2
    assert table.loc["public", "opposite"] == 1
    assert table.to_numpy().sum() == 3


def test_each_verdict_of_the_one_rule_has_a_column_and_the_old_one_only_where_it_was_given():
    table = verdict_counts([claim(verdict="smaller"), claim(verdict="inconclusive"), claim(verdict="smaller")])
    assert table.columns.tolist() == list(VERDICTS)
    assert table.loc["synthetic", ["smaller", "inconclusive"]].tolist() == [2, 1]
    assert "same direction" in verdict_counts([claim()])


def test_a_claim_of_a_ported_study_is_shown_with_all_that_its_json_has():
    full = claim(verdict="smaller", verdict_holm="inconclusive", primary=True, dataset="own", units=12, detectable=1.0)
    assert verdicts([full]).iloc[0]["on synthetic data"] == "smaller: +2 % (−0.50 … +4.50), 3 seeds, gpu"


def test_compute_adds_up_the_hours_of_each_machine(tmp_path):
    store = RunStore(tmp_path)
    for seed in (0, 1):
        trial = Trial("masi2020", "a", {"data": "synthetic", "profile": "cpu"}, seed)
        cost = {"seconds": 1800.0, "device_name": "a laptop", "peak_memory_mb": 512.0 * (seed + 1)}
        store.save(trial, Outcome({"iou": 50.0}), cost=cost, environment={})
    failed = Trial("masi2020", "a", {"data": "synthetic", "profile": "cpu"}, 2)
    store.save_failure(failed, "NaN loss.", trace="", cost=cost, environment={})
    row = compute(store, ["masi2020"]).loc["masi2020"]
    assert (row["machine"], row["trials"], row["hours"]) == ("a laptop", 2, "1.00")
    assert (row["peak memory"], row["failed trials of the paper"]) == ("1.0 GiB", 1)


def test_compute_of_nothing_is_an_empty_table(tmp_path):
    assert compute(RunStore(tmp_path), ["masi2020"]).empty
