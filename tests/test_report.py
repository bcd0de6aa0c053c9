"""Facts, verdicts, the papers' published numbers, and the tables made of them."""

import json

import numpy as np
import pandas as pd
import pytest

from reprolib import report, studies
from reprolib.errors import UserError
from reprolib.paths import PUBLISHED, ROOT
from reprolib.statistics import Interval

OF_PORTED = sorted((ROOT / "reprolib" / "studies").glob("*/published.csv"))  # the others are in one folder
TABLES = {path.stem: path for path in sorted(PUBLISHED.glob("*.csv"))} | {path.parent.name: path for path in OF_PORTED}


def interval(low: float, point: float, high: float) -> Interval:
    return Interval(point=point, low=low, high=high, n=100)


def claim(**changed) -> report.Claim:
    fields = {
        "study": "masi2020",
        "id": "consensus-iou",
        "statement": "Consensus raises face IoU",
        "place": "Table 1",
        "published_effect": 1.6,
        "unit": "points",
        "data": "synthetic",
        "profile": "cpu",
        "effect": 0.75,
        "low": 0.2,
        "high": 1.25,
        "seeds": 3,
        "verdict": "reproduced",
    }
    return report.Claim(**(fields | changed))


@pytest.mark.parametrize(
    ("published", "ours", "data", "expected"),
    [
        (1.6, (0.2, 0.5, 0.9), "synthetic", "reproduced"),
        (1.6, (0.2, 0.5, 0.9), "public", "reproduced"),
        (1.6, (0.2, 0.5, 0.9), "paper", "same direction"),  # less than half as large
        (1.6, (0.2, 0.8, 1.4), "paper", "reproduced"),  # just half as large
        (1.6, (-0.1, 0.5, 0.9), "synthetic", "same direction"),
        (1.6, (0.0, 0.5, 0.9), "synthetic", "same direction"),  # a bound of zero does not exclude zero
        (1.6, (-0.9, -0.5, 0.1), "synthetic", "not reproduced"),
        (1.6, (0.0, 0.0, 0.0), "synthetic", "not reproduced"),
        (1.6, (-0.9, -0.5, -0.1), "synthetic", "opposite"),
        (-2.2, (-3.0, -2.0, -1.0), "paper", "reproduced"),
        (-2.2, (-3.0, -2.0, 0.1), "synthetic", "same direction"),
        (-2.2, (0.1, 1.0, 2.0), "synthetic", "opposite"),
        (-2.2, (-0.1, 1.0, 2.0), "synthetic", "not reproduced"),
        (1.6, (np.nan, 0.5, 0.9), "synthetic", "not tested"),
    ],
)
def test_the_verdict_follows_sign_interval_and_on_the_papers_own_data_size(published, ours, data, expected):
    assert report.verdict(published, interval(*ours), data=data) == expected
    assert expected in report.VERDICTS


@pytest.mark.parametrize(
    ("ours", "expected"),
    [((-0.4, 0.0, 0.5), "reproduced"), ((-0.4, 0.1, 0.6), "not reproduced"), ((1, 2, 3), "not reproduced")],
)
def test_a_published_null_is_reproduced_when_the_interval_lies_within_the_margin(ours, expected):
    assert report.verdict(0.0, interval(*ours), data="synthetic", margin=0.5) == expected


def test_without_an_interval_nothing_is_tested():
    assert report.verdict(1.6, None, data="synthetic") == "not tested"
    assert report.verdict(0.0, None, data="synthetic", margin=0.1) == "not tested"


def test_a_published_null_needs_a_margin():
    with pytest.raises(ValueError, match="needs a margin"):
        report.verdict(0.0, interval(-1, 0, 1), data="synthetic")


@pytest.mark.parametrize(
    ("published", "ours", "equal"),
    [
        ("4,524,323", 4524323, True),
        ("4,524,323", 4524324, False),
        ("7.0", 7.0499, True),
        ("7.0", 7.05, False),  # rounds half up to 7.1
        ("121", 93, False),
        (121, 121.4, True),
        (7.0, 6.95, True),
        ("300", np.nan, False),
    ],
)
def test_a_fact_is_equal_at_the_published_precision(published, ours, equal):
    assert report.fact("masi2020", "a number", published, ours).equal is equal


def test_a_fact_shows_both_numbers_alike():
    facts = [report.fact("s", "parameters", 4524323, 4524323), report.fact("s", "GMAC", "7.0", 7.1498)]
    table = report.fidelity_table(facts)
    assert table["published"].tolist() == ["4,524,323", "7.0"]
    assert table["ours"].tolist() == ["4,524,323", "7.1"]
    assert table["equal"].tolist() == ["yes", "no"]
    assert json.loads(json.dumps(facts[1].to_json())) == {
        "study": "s",
        "quantity": "GMAC",
        "published": "7.0",
        "ours": 7.1498,
        "equal": False,
        "source": "paper",
    }
    assert table["source"].tolist() == ["paper", "paper"]
    assert report.fact("s", "GMAC", "7.0", 7.0, source="release").source == "release"


def test_a_claim_becomes_json_without_nan():
    plain = claim(effect=float("nan"), low=None).to_json()
    assert plain["effect"] is None
    assert plain["low"] is None
    assert plain["high"] == 1.25
    json.dumps(plain, allow_nan=False)


def test_the_verdict_table_has_a_row_per_claim():
    untested = claim(id="fps", published_effect=None, effect=None, low=None, high=None, seeds=0, verdict="not tested")
    table = report.verdict_table([claim(published_effect=-2.2), untested])
    assert table.index.tolist() == [untested.statement] * 2
    assert table["verdict"].tolist() == ["reproduced", "not tested"]
    assert table["paper"].tolist() == ["−2.2 points", "—"]
    assert table["ours"].tolist() == ["+0.75 points", "not done"]
    assert table["95 % interval"].tolist() == ["+0.2 … +1.25", "—"]
    counts = report.verdict_counts([claim(), untested])
    assert counts.loc[("masi2020", "synthetic")].tolist() == [1, 0, 0, 0, 1]


def test_each_paper_has_its_numbers_in_one_place():
    assert sorted(TABLES) == sorted(studies.STUDIES)
    assert len(TABLES) == len(OF_PORTED) + len(list(PUBLISHED.glob("*.csv")))


@pytest.mark.parametrize("study", TABLES)
def test_published_numbers_are_numeric_named_and_given_once(study):
    cells = pd.read_csv(TABLES[study], dtype={"table": str})
    assert cells.columns[:4].tolist() == ["table", "row", "column", "value"]
    if TABLES[study] in OF_PORTED:  # whose number each one is
        assert cells.columns[4:].tolist() == ["source"]
        assert set(cells["source"]) <= {"paper", "release", "readme"}
    assert np.isfinite(cells["value"].to_numpy(float)).all()
    assert not cells.duplicated(["table", "row", "column"]).any()
    assert not cells[["table", "row", "column"]].map(lambda text: text != text.strip() or not text).any(axis=None)


def test_masi2020_has_its_four_tables_in_printed_order():
    assert pd.read_csv(TABLES["masi2020"], dtype={"table": str})["table"].unique().tolist() == list("1234")
    first, third = report.published("masi2020", "1"), report.published("masi2020", "3")
    assert first.columns.tolist() == ["IOU_face", "acc.", "rec_face", "rec_all", "spars.", "fps"]
    assert first.shape == (12, 6)
    second = report.published("masi2020", "2")
    assert (second.shape, second.columns.tolist()) == ((25, 4), ["size_in", "no CRF", "acc_p", "acc_sp"])
    assert set(second["no CRF"]) == {0, 1}
    assert first.loc["Struct. Forest [30]", "rec_all"] == 88.6
    assert report.published("masi2020", "4").shape == (9, 4)
    assert third.columns.tolist() == [
        *("IOU_hair", "IOU_bg", "IOU_face", "IOU_mean", "recall_all", "acc_p", "acc_sp", "spars.")
    ]
    assert first.loc["Struct. via con. +Transf.+f.t.", "spars."] == 1.6


def test_masi2020_names_the_six_cells_that_only_the_authors_release_has():
    cells = pd.read_csv(TABLES["masi2020"], dtype={"table": str})
    released = cells[cells["source"] == "release"]
    assert released[["table", "row"]].drop_duplicates().values.tolist() == [["3", "Struct. via cons. +reg."]]
    assert released["value"].tolist() == [75.84, 95.75, 90.63, 87.41, 93.22, 96.06]


def test_masi2020_table_1_agrees_with_itself():
    """IoU, recall and accuracy of the face fix its share of the box, and with it the mean of both recalls."""
    rows = report.published("masi2020", "1").filter(regex=r"\+Transf|Occ\.Aug", axis=0) / 100
    iou, recall, accuracy = rows["IOU_face"], rows["rec_face"], rows["acc."]
    face = (1 - accuracy) / (recall * (1 / iou - 1))
    non_face_recall = 1 - face * (recall / iou - 1) / (1 - face)
    assert len(rows) == 5
    np.testing.assert_allclose(rows["rec_all"], (recall + non_face_recall) / 2, atol=0.002)


def test_masi2020_table_3_mean_iou_is_the_mean_of_the_three():
    row = report.published("masi2020", "3").loc["Struct. via cons. +reg."]
    assert row[["IOU_hair", "IOU_bg", "IOU_face"]].mean() == pytest.approx(row["IOU_mean"], abs=0.01)


def test_masi2020_tables_3_and_4_agree_through_f1_and_iou():
    iou = report.published("masi2020", "3").loc["Struct. via cons. +reg."] / 100
    f1 = report.published("masi2020", "4").loc["Struct. via cons. (Ours), 128 px"] / 100
    for part in ("face", "hair", "bg"):
        assert 2 * iou[f"IOU_{part}"] / (1 + iou[f"IOU_{part}"]) == pytest.approx(f1[f"F1_{part}"], abs=2e-4)


def test_an_unknown_study_or_table_is_named():
    with pytest.raises(UserError, match=r"no such file"):
        report.published("nobody1999", "1")
    with pytest.raises(UserError, match=r"\(1, 2, 3, 4\), found '9'"):
        report.published("masi2020", "9")


def test_ours_stands_beside_the_paper_with_spread_and_rank_agreement():
    paper = pd.DataFrame({"IoU": [70.5, 80.5, 90.0], "fps": [0.03, np.nan, 300]}, index=["a", "b", "c"])
    scores = pd.DataFrame({"system": ["b", "b", "a", "d"], "IoU": [60.0, 62.0, 50.0, 10.0], "x": 1.0})
    table = report.beside_published(report.summarise(scores, by="system"), paper)
    assert table.columns.tolist() == [(c, side) for c in ("IoU", "fps", "x") for side in ("ours", "paper")]
    assert table.index.tolist() == ["a", "b", "c", "d", "Kendall τ of the rows"]
    assert table["IoU", "ours"].tolist() == ["50.0", "61.0 ± 1.4", "not done", "10.0", "—"]
    assert table["IoU", "paper"].tolist() == ["70.5", "80.5", "90.0", "—", ""]
    assert table["fps", "paper"].tolist() == ["0.03", "—", "300", "—", ""]
    assert table["fps", "ours"].tolist() == ["not done"] * 4 + ["—"]
    assert table["x", "ours"].tolist() == ["1.00", "1.00 ± 0.00", "not done", "1.00", "—"]


def test_the_order_of_rows_is_compared_where_there_are_five():
    names = list("abcde")
    paper = pd.DataFrame({"IoU": [1.0, 2.0, 3.0, 4.0, 5.0]}, index=names)
    for rows, tau in ((5, "1.00"), (4, "—")):
        lines = pd.DataFrame({"system": names[:rows], "IoU": paper["IoU"][:rows].to_numpy() * 10})
        table = report.beside_published(report.summarise(lines, by="system"), paper)
        assert table["IoU", "ours"].iloc[-1] == tau


def test_a_table_becomes_html_with_its_provenance_and_no_colour_of_its_own():
    caption = report.provenance(data="synthetic", profile="cpu", seeds=3, device="CPU", records=12)
    html = report.to_html(pd.DataFrame({"IoU < 1": ["0.5"]}, index=["a & b"]), caption)
    assert caption == "Data: synthetic; profile: cpu; seeds: 3; device: CPU; made from 12 records."
    assert f"<figcaption><strong>{caption}</strong></figcaption>" in html
    assert "a &amp; b" in html
    assert "IoU &lt; 1" in html
    assert "color" not in html


@pytest.mark.parametrize("data", ["synthetic", "paper"])
def test_a_claim_without_a_number_asks_for_its_sign_alone(data):
    less = Interval(point=-0.1, low=-0.2, high=-0.05, n=9)
    assert report.verdict(None, less, data=data, sign=-1) == "reproduced"
    assert report.verdict(None, less, data=data, sign=1) == "opposite"
    assert report.verdict(0.0, less, data=data, sign=-1) == "reproduced"
    assert report.verdict(None, None, data=data, sign=-1) == "not tested"
