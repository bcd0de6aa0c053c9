import numpy as np
import pandas as pd
import pytest

from reprolib import comparisons, report
from reprolib.comparisons import Comparison
from reprolib.parameters import StudyParameters
from reprolib.records import Arrays
from reprolib.runner import run
from reprolib.store import RunStore
from reprolib.trial import Context, Outcome, Trial

ROWS = {"new": 0.8, "old": 0.5}
GAIN = Comparison("gain", "It hits more often.", "Table 1", "new", "old", "hits", 20.0, of_a="hits", of_b="hits")


@pytest.fixture
def study(tmp_path):
    """Two rows of three seeds; in every seed the new one hits 8, the old one 5 of ten items of five people."""

    def execute(trial, context):
        hits = np.arange(10) < 10 * ROWS[trial.name]
        return Outcome({"hits": hits.mean()}, arrays={"hits": hits.astype(float), "people": np.arange(10) // 2})

    store = RunStore(tmp_path)
    trials = [Trial("s", name, {"data": "synthetic", "name": name}, seed) for name in ROWS for seed in range(3)]
    records = run(trials, execute, store, Context(), progress=False)
    by_name = {name: [record for record in records if record.trial.name == name] for name in ROWS}
    return by_name, Arrays(store)


def percent(mean):
    return 100 * mean


def test_the_effect_is_the_difference_of_the_rows(study):
    found = comparisons.compare(GAIN, *study, percent)
    assert found.point == pytest.approx(30)
    assert 0 < found.low < 30 < found.high


def test_people_are_resampled_whole(study):
    """Two items of one person say less than two of two people: the interval is wider."""
    alone, whole = (comparisons.compare(GAIN, *study, percent, groups=groups) for groups in (None, "people"))
    assert whole.point == pytest.approx(alone.point)
    assert whole.high - whole.low > alone.high - alone.low


def test_only_seeds_that_both_rows_have_are_compared(study):
    records, arrays = study
    fewer = records | {"old": records["old"][1:]}
    assert comparisons.common_seeds(GAIN, fewer) == {1, 2}
    made = comparisons.claim(GAIN, None, fewer, study="s", parameters=StudyParameters())
    assert made.seeds == 2
    assert comparisons.compare(GAIN, records | {"old": []}, arrays, percent) is None


def test_a_claim_carries_the_effect_its_interval_and_a_verdict(study):
    found = comparisons.compare(GAIN, *study, percent)
    made = comparisons.claim(GAIN, found, study[0], study="s", parameters=StudyParameters())
    assert (made.effect, made.low, made.high, made.published_effect) == (found.point, found.low, found.high, 20.0)
    assert made.verdict == report.verdict(20.0, found, data="synthetic")
    untested = comparisons.claim(GAIN, None, {}, study="s", parameters=StudyParameters())
    assert (untested.effect, untested.seeds, untested.verdict) == (None, 0, "not tested")


def test_questions_that_share_a_sentence_keep_their_own_lines(study):
    found = comparisons.compare(GAIN, *study, percent)
    table = comparisons.answers([GAIN, GAIN], [found, None], "hits")
    assert table.index.tolist() == [GAIN.statement] * 2
    assert table["hits"].tolist()[1] == report.NOT_DONE
    assert table["hits"].tolist()[0].startswith("+30.00 [")


def test_words_say_when_an_effect_may_be_nothing(study):
    found = comparisons.compare(GAIN, *study, percent)
    assert "it may be nothing" not in comparisons.in_words(GAIN, found, "hits")
    assert comparisons.in_words(GAIN, None, "hits").endswith("<em>Not done.</em>")
    nothing = comparisons.compare(
        Comparison("none", "Equal.", "Table 1", "new", "new", "hits", None, of_a="hits", of_b="hits"), *study, percent
    )
    assert "it may be nothing" in comparisons.in_words(GAIN, nothing, "hits")


def test_scores_are_one_line_a_trial_and_their_summary_one_a_row(study):
    records, _ = study
    lines = comparisons.scores(records, {"share of hits": "hits", "unknown": "no such metric"})
    assert lines["row"].tolist() == ["new"] * 3 + ["old"] * 3
    assert lines["share of hits"].tolist() == [0.8] * 3 + [0.5] * 3
    assert lines["unknown"].isna().all()
    table = comparisons.summary(lines)
    assert table.index.tolist() == ["new", "old"]
    assert table["unknown"].tolist() == ["—", "—"]  # recorded, but without it: not "not done"
    assert isinstance(table, pd.DataFrame)
