"""From records to tables and judged claims: every gate, every verdict, and the stable shape of `claims --json`."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shared_core as fake
from shared_core import BASE, ELSEWHERE, EXTRA, NOTHING, OURS, save

from reprolib import status, verdicts
from reprolib.results import Results
from reprolib.store import RunStore

HALF = 0.9816  # half the 95 % interval of five seeds spread evenly over ±1: t(0.975, 4) · sd / √5
SIGN = {"kind": "sign", "sign": "1", "published_a": "", "published_b": ""}
NULL = {"kind": "null", "margin": "1.5"}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "results")


@pytest.fixture
def judge(tmp_path, monkeypatch, store):
    """Judge one claim after recording the trivial row, the reference row and ours: `ours`, `base` are `save`'s."""

    def judge(claim=(), *, ours=(), base=(), trivial=()):
        study = fake.make(tmp_path, monkeypatch, dict(claim))
        if trivial is not None:
            save(store, study, NOTHING, **{"validation": 50.0} | dict(trivial))
        save(store, study, BASE, **{"spread": 0.0} | dict(base))
        save(store, study, OURS, **dict(ours))
        [judged] = Results(study, store).judged(study.Parameters(profile="cpu"))
        return judged

    return judge


# --- verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [
        (8.0, 1.0, "reproduced"),
        (2.0, 1.0, "smaller"),
        (0.0, 1.0, "not reproduced"),
        (-3.0, 1.0, "opposite"),
        (2.0, 8.0, "inconclusive"),
    ],
)
def test_a_size_is_judged_by_its_interval_and_half_of_the_expected_effect(judge, gain, spread, verdict):
    judged = judge(ours={"iou": 60.0 + gain, "spread": spread})
    assert (judged.verdict, judged.reason) == (verdict, "")
    assert judged.effect.point == pytest.approx(gain, abs=1e-9)
    assert judged.effect.low == pytest.approx(gain - spread * HALF, abs=1e-3)
    assert (judged.effect.seeds, judged.effect.units) == (5, 12)
    assert (judged.learned, judged.converged) == (True, True)


@pytest.mark.parametrize(("base", "verdict"), [(60.0, "smaller"), (85.0, "reproduced")])
def test_the_expected_effect_is_the_published_share_of_our_own_error(judge, base, verdict):
    """10 of 39.5 points are a quarter: of our 40 points 10, of our 15 points not even 4."""
    assert judge(base={"iou": base}, ours={"iou": base + 2.0}).verdict == verdict


@pytest.mark.parametrize(
    ("gain", "verdict"), [(-2.0, "reproduced"), (-1.1, "reproduced"), (0.0, "inconclusive"), (2.0, "opposite")]
)
def test_less_is_better_where_the_score_is_an_error(judge, gain, verdict):
    claim = {"score": "holes", "published_a": "1|Ours|holes", "published_b": "1|Base|holes"}
    judged = judge(claim, ours={"holes": 4.0 + gain, "iou": 80.0})
    assert judged.verdict == verdict
    assert judged.effect.point == pytest.approx(gain)  # a − b, not turned


def test_an_effect_on_a_reference_row_without_error_is_judged_by_its_sign(judge):
    claim = {"score": "holes", "published_a": "1|Ours|holes", "published_b": "1|Base|holes"}
    assert judge(claim, base={"holes": 0.0}, ours={"holes": 2.0}).verdict == "opposite"


@pytest.mark.parametrize(("gain", "verdict"), [(1.1, "reproduced"), (-1.1, "opposite"), (0.5, "inconclusive")])
def test_a_direction_without_a_size_is_judged_by_its_sign(judge, gain, verdict):
    assert judge(SIGN, ours={"iou": 60.0 + gain}).verdict == verdict
    assert judge(SIGN | {"sign": "-1"}, ours={"iou": 60.0 - gain}).verdict == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(0.5, "reproduced"), (1.0, "inconclusive"), (3.0, "not reproduced")])
def test_no_difference_is_judged_by_a_margin_stated_beforehand(judge, gain, verdict):
    judged = judge(NULL, ours={"iou": 60.0 + gain})
    assert (judged.verdict, judged.verdict_holm) == (verdict, verdict)


def test_the_margin_is_a_tenth_of_the_reference_rows_error_where_none_is_stated(judge):
    assert judge(NULL | {"margin": ""}, ours={"iou": 63.0}).verdict == "reproduced"  # within ±4


# --- gates -------------------------------------------------------------------------------------------


def untested(judged) -> str:
    assert judged.verdict == "not tested"
    assert judged.verdict_holm in ("", "not tested")
    return judged.reason


def test_a_claim_on_rows_that_were_not_run_is_not_tested(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    save(store, study, BASE)
    [judged] = Results(study, store).judged(study.Parameters(profile="cpu"))
    assert untested(judged) == "At least one of the two rows was not run."
    assert (judged.effect, judged.learned, judged.converged) == (None, None, None)
    assert (judged.data, judged.dataset, judged.profile) == ("synthetic", "facesynth", "cpu")


@pytest.mark.parametrize("registered", ["", "2026-11-21"])
def test_a_claim_that_was_registered_after_the_first_run_is_not_tested(judge, registered):
    judged = judge({"registered": registered}, ours={"iou": 68.0, "finished": "2026-11-25T00:00:00+00:00"})
    assert untested(judged) == "The claim was not registered before the first full run."
    assert judged.effect.point == pytest.approx(8.0)  # shown all the same


def test_a_claim_counts_as_registered_on_the_day_of_the_first_run(judge):
    assert judge({"registered": "2026-11-20"}, ours={"iou": 68.0}).verdict == "reproduced"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({"ours": {"validation": 59.9}}, OURS),
        ({"base": {"validation": 59.9}}, BASE),
        ({"base": {"validation": 40.0}, "ours": {"validation": 40.0}}, f"{OURS}, {BASE}"),
        ({"trivial": {"validation": 70.1}}, f"{OURS}, {BASE}"),
    ],
)
def test_a_row_that_does_not_beat_the_trivial_one_by_ten_points_tests_nothing(judge, rows, named):
    judged = judge(**rows)
    reason = f"Does not beat the best trivial predictor by 10 points on validation items: {named}"
    assert untested(judged) == reason
    assert judged.learned is False


def test_without_a_trivial_prediction_nothing_is_tested(judge):
    assert untested(judge(trivial=None)) == "No trivial prediction of this task was scored."


def test_ten_points_are_enough_and_only_the_trivial_rows_of_the_same_task_count(judge, tmp_path, monkeypatch, store):
    save(store, fake.make(tmp_path, monkeypatch), ELSEWHERE, validation=95.0)
    assert judge(ours={"iou": 68.0, "validation": 60.0}, base={"validation": 60.0}).verdict == "reproduced"


def test_a_row_still_improving_at_its_ceiling_tests_nothing(judge):
    judged = judge(base={"converged": False}, ours={"iou": 68.0})
    assert untested(judged) == f"Still improving when the longest allowed training ended: {BASE}"
    assert judged.converged is False


def test_a_step_matched_control_need_not_have_converged(judge, monkeypatch):
    rows = Results.rows
    monkeypatch.setattr(
        Results, "rows",
        lambda self, p: {name: replace(row, step_matched=name == BASE) for name, row in rows(self, p).items()},
    )  # fmt: skip
    assert judge(base={"converged": False}, ours={"iou": 68.0}).verdict == "reproduced"
    assert untested(judge(ours={"converged": False, "iou": 68.0})).endswith(OURS)


def test_one_seed_gives_an_effect_without_interval(judge):
    judged = judge(ours={"iou": 68.0, "seeds": 1, "spread": 0.0})
    assert untested(judged) == "One seed was run, so there is no interval."
    assert judged.effect.point == pytest.approx(8.0)
    assert np.isnan(judged.effect.low)


def test_only_seeds_that_both_rows_have_are_paired(judge):
    judged = judge(ours={"iou": 68.0, "seeds": 3})
    assert judged.effect.seeds == 3
    assert judged.effect.point == pytest.approx(8.0 - 0.5)  # the first three of five shifts: −1, −0.5, 0


# --- Holm --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "corrected"),
    [
        ({"primary": "yes"}, "inconclusive"),
        ({"primary": ""}, "reproduced"),
        ({"primary": "yes", "registered": ""}, "reproduced"),  # does not pass the gates
    ],
)
def test_holm_corrects_over_the_primary_claims_that_pass(tmp_path, monkeypatch, store, second, corrected):
    """p = 0.04 is below 0.05, but not below 0.025, its level beside a second claim."""
    study = fake.make(tmp_path, monkeypatch, SIGN, SIGN | {"id": "extra", "a": EXTRA} | second)
    save(store, study, NOTHING, validation=50.0)
    save(store, study, BASE, spread=0.0)
    for row in (OURS, EXTRA):
        save(store, study, row, iou=60.0 + 3.0 * HALF / 2.776)
    first, other = Results(study, store).judged(study.Parameters(profile="cpu"))
    assert (first.verdict, first.verdict_holm) == ("reproduced", corrected)
    expected = {"yes": "inconclusive" if corrected == "inconclusive" else "not tested", "": ""}
    assert other.verdict_holm == expected[second["primary"]]


def test_questions_have_effects_and_no_verdict(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch, {}, {"id": "why", "kind": "question", "primary": ""})
    parameters = study.Parameters(profile="cpu")
    results = Results(study, store)
    assert [judged.claim.id for judged in results.judged(parameters)] == ["larger"]
    assert [(claim.id, effect) for claim, effect in results.questions(parameters)] == [("why", None)]
    save(store, study, BASE)
    save(store, study, OURS, iou=61.0)
    [(_, effect)] = Results(study, store).questions(parameters)
    assert effect.point == pytest.approx(1.0)


def test_a_claim_is_asked_only_of_the_data_that_it_names(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch, {"data": "paper"})
    assert Results(study, store).judged(study.Parameters(profile="cpu", data="public")) == []
    [judged] = Results(study, store).judged(study.Parameters(profile="cpu", data="paper"))
    assert judged.dataset == "own"


# --- JSON --------------------------------------------------------------------------------------------

KEYS = [  # design.md, "claims --json"
    *("study", "id", "statement", "primary", "published_effect", "unit", "data", "dataset", "profile", "effect", "low"),
    *("high", "seeds", "units", "detectable", "learned", "converged", "registered", "verdict", "verdict_holm"),
]


def test_claims_become_json_of_one_shape_whatever_was_run(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    [empty] = Results(study, store).claims_json(study.Parameters(profile="cpu"))
    assert list(empty) == KEYS == list(status.CLAIM_KEYS)
    assert empty == {
        "study": "fake2020", "id": "larger", "statement": "Ours is better.", "primary": True, "published_effect": 10.0,
        "unit": "points", "data": "synthetic", "dataset": "facesynth", "profile": "cpu", "effect": None, "low": None,
        "high": None, "seeds": 0, "units": 0, "detectable": None, "learned": None, "converged": None,
        "registered": True, "verdict": "not tested", "verdict_holm": "not tested",
    }  # fmt: skip
    save(store, study, NOTHING, validation=50.0)
    save(store, study, BASE, spread=0.0)
    save(store, study, OURS, iou=68.0)
    [run] = json.loads(json.dumps(Results(study, store).claims_json(study.Parameters(profile="cpu")), allow_nan=False))
    assert list(run) == KEYS
    assert run["effect"] == pytest.approx(8.0) and run["low"] < 8.0 < run["high"]
    assert run["detectable"] == pytest.approx(HALF * (2.776 + 0.941) / 2.776, abs=1e-3)
    assert (run["seeds"], run["units"], run["learned"], run["converged"]) == (5, 12, True, True)
    assert (run["verdict"], run["verdict_holm"]) == ("reproduced", "reproduced")


def test_an_effect_without_interval_has_no_nan_in_json(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    for row in (BASE, OURS):
        save(store, study, row, seeds=1)
    [claim] = Results(study, store).claims_json(study.Parameters(profile="cpu"))
    assert (claim["effect"], claim["low"], claim["detectable"], claim["seeds"]) == (0.0, None, None, 1)


# --- tables ------------------------------------------------------------------------------------------


def table(study, store, place):
    return study.tables(study.Parameters(profile="cpu", tables=[place]), store)[place]


def test_a_cell_is_ours_or_not_done_or_absent(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    save(store, study, OURS, iou=70.0)
    found = table(study, store, "table 1")
    assert list(found.index) == [BASE, "Theirs", OURS, "Kendall τ of the rows"]
    ours = found.xs("ours", axis=1, level=1)
    assert ours.loc[OURS].tolist() == ["70.0 ± 0.8", "4 ± 1", "—"]  # a finished row has no such score
    assert ours.loc[BASE].tolist() == ["not done"] * 3
    assert ours.loc["Theirs"].tolist() == ["—"] * 3  # quoted: nobody can do it
    assert found.xs("paper", axis=1, level=1).loc["Theirs"].tolist() == ["65.0", "—", "—"]


def test_a_line_of_another_size_reads_the_metrics_with_its_suffix(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    assert table(study, store, "table 2").loc["Ours, large", ("IoU", "ours")] == "not done"
    save(store, study, OURS, iou=70.0, holes=2.0, spread=0.0, metrics={"iou_large": 72.0})
    found = table(study, store, "table 2").loc["Ours, large"]
    assert found["IoU", "ours"] == "72.0 ± 0.0"
    assert found["holes", "ours"] == "—"  # the number of the other size would be a wrong one


def test_a_table_of_ours_has_no_empty_columns_of_the_paper(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    save(store, study, EXTRA, iou=50.0, spread=0.0)
    found = table(study, store, "extra A")
    assert found.to_dict() == {"IoU": {EXTRA: "50.00 ± 0.00"}}


def test_published_cells_from_elsewhere_than_the_paper_are_named(tmp_path, monkeypatch, store):
    results = Results(fake.make(tmp_path, monkeypatch), store)
    assert results.not_from_the_paper("table 1") == ["Ours (holes): release"]
    assert results.not_from_the_paper("table 2") == []


# --- records -----------------------------------------------------------------------------------------


def test_the_best_profile_with_records_speaks_for_each_data_source_most_trusted_first(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    assert Results(study, store).sources(("gpu", "cpu")) == []
    save(store, study, BASE, profile="cpu", data="synthetic")
    save(store, study, BASE, profile="gpu", data="synthetic")
    save(store, study, BASE, profile="cpu", data="paper")
    save(store, study, BASE, profile="smoke", data="public")
    found = [(p.data, p.profile) for p in Results(study, store).sources(("gpu", "cpu"))]
    assert found == [("paper", "cpu"), ("synthetic", "gpu")]


def test_each_record_and_array_is_read_once(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch, {}, SIGN | {"id": "sign"})
    for row in (NOTHING, BASE, OURS):
        save(store, study, row)
    read = {"records": 0, "arrays": []}
    records, arrays = store.records, store.arrays

    def counted_records(name):
        read["records"] += 1
        return records(name)

    def counted_arrays(record):
        read["arrays"].append(record.trial.key)
        return arrays(record)

    monkeypatch.setattr(store, "records", counted_records)
    monkeypatch.setattr(store, "arrays", counted_arrays)
    results = Results(study, store)
    for _ in range(2):
        results.judged(study.Parameters(profile="cpu"))
        results.table(study.Parameters(profile="cpu"), study.declared_tables[0])
    assert read["records"] == 1
    assert len(read["arrays"]) == len(set(read["arrays"])) == 10


def test_a_record_without_the_score_gives_no_effect(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    save(store, study, BASE)
    save(store, study, OURS)
    results = Results(study, store)
    [claim] = study.registered_claims
    assert results.stacked(results.by_row(study.Parameters(profile="cpu"))[OURS], "nothing of the kind") is None
    assert results.effect(study.Parameters(profile="gpu"), claim) is None
    assert results.level_of(study.Parameters(profile="gpu"), BASE, "iou") is None
    assert results.level_of(study.Parameters(profile="cpu"), BASE, "iou") == pytest.approx(60.0)


def test_verdicts_are_those_of_the_one_rule():
    assert verdicts.VERDICTS == (
        "reproduced", "smaller", "not reproduced", "opposite", "inconclusive", "not tested",
    )  # fmt: skip


def test_of_two_unfinished_profiles_the_one_with_more_rows_is_shown(tmp_path, monkeypatch, store):
    study = fake.make(tmp_path, monkeypatch)
    save(store, study, BASE, profile="gpu")
    assert [p.profile for p in Results(study, store).sources(("gpu", "cpu"), "table 1")] == ["gpu"]
    for row in (BASE, OURS):
        save(store, study, row)
    assert [p.profile for p in Results(study, store).sources(("gpu", "cpu"), "table 1")] == ["cpu"]
    save(store, study, OURS, profile="gpu")
    assert [p.profile for p in Results(study, store).sources(("gpu", "cpu"), "table 1")] == ["gpu"]
