import re

import pandas as pd
import pytest

from reprolib import page, report, studies
from reprolib.paths import ROOT
from reprolib.report import fact
from reprolib.store import RunStore
from reprolib.trial import Outcome


class Study:
    """A study of one table whose only trial is recorded on synthetic data."""

    ID = "wang2018"

    def __init__(self, facts):
        self._facts = facts
        self.real = studies.load("wang2018")

    def trials(self, parameters):
        return {"table 2": self.real.trials(parameters)["table 2"][:1], "table 1": []}

    def tables(self, parameters, store):
        one = pd.DataFrame({"mIoU": [1.0]}, index=["Baseline"])
        return {"table 2": one, "table 1": one}

    def answers(self, parameters, store, ids):
        return [f"{name}: +1" for name in ids if parameters.data == "synthetic"]

    def fidelity(self):
        return self._facts


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A page, and the HTML of everything that it displays."""
    html = []
    monkeypatch.setattr(page, "display", lambda thing: html.append(thing.data))
    store = RunStore(tmp_path)
    facts = [fact("wang2018", "layers", "5", 5), fact("wang2018", "parameters", "7", 8)]
    study = Study(facts)
    parameters = study.real.Parameters(seeds=1)
    [trial] = study.trials(parameters)["table 2"]
    cost = {"seconds": 1.0, "device": "cpu", "device_name": "a CPU", "peak_memory_mb": 1.0}
    store.save(trial, Outcome({"miou": 1.0}), cost=cost, environment={})
    return page.StudyPage(study, lambda parameters, store: {}, parameters, store), html


def test_a_page_shows_the_sources_that_have_records(shown):
    made, _ = shown
    assert list(made.sources) == ["synthetic"]
    assert len(made.records("synthetic", "table 2")) == 1
    assert made.records("synthetic", "table 9") == []


def test_a_table_says_what_stands_behind_it_and_is_saved(shown):
    made, html = shown
    made.table("table 2", "Table II.")
    assert "Table II. Data: synthetic; profile: smoke; seeds: 1; device: a CPU; made from 1 record" in html[0]
    saved = made.store.root / "tables" / "wang2018-table-2-synthetic-smoke.csv"
    assert pd.read_csv(saved, index_col=0).loc["Baseline", "mIoU"] == 1.0


def test_a_table_that_needs_no_trial_is_shown_once_and_never_called_not_done(shown):
    made, html = shown
    made._tables["public"] = made._tables["synthetic"]
    made.table("table 1", "Table I.")
    assert len(html) == 1
    assert "Not done" not in html[0]
    assert (made.store.root / "tables" / "wang2018-table-1.csv").is_file()


def test_answers_are_given_for_each_source_that_has_them(shown):
    made, html = shown
    made.answers("flm", "fgr")
    made.sources = {"public": made.sources["synthetic"].model_copy(update={"data": "public"})}
    made.answers("flm")
    assert len(html) == 1
    assert "synthetic data" in html[0] and html[0].count("<li>") == 2


def test_facts_that_differ_come_first_and_all_can_be_unfolded(shown):
    made, html = shown
    made.facts()
    assert html[0] == "<p>1 of 2 exactly checkable numbers are equal.</p>"
    assert "parameters" in html[1] and "layers" not in html[1]
    assert html[2].startswith("<details><summary>All 2 numbers</summary>")
    assert "layers" in html[2]


def test_an_empty_table_of_our_own_is_left_out(shown):
    made, html = shown
    made.own_table(lambda parameters, store: pd.DataFrame(), "spread", "Spread.")
    assert html == []
    made.own_table(lambda parameters, store: pd.DataFrame({"a": [report.NOT_DONE]}), "spread", "Spread.")
    assert "Spread. Data: synthetic" in html[0]


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_answer_that_a_page_asks_for_is_known_to_its_study(name, tmp_path):
    study = studies.load(name)
    source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    asked = [re.findall(r'"([^"]+)"', ids) for ids in re.findall(r"shown\.answers\((.*?)\)", source, re.DOTALL)]
    assert asked
    for ids in asked:
        lines = study.answers(study.Parameters(), RunStore(tmp_path), ids)
        assert len(lines) == len(ids)
        assert all("Not done" in line for line in lines)
