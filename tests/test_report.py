"""Facts, verdicts, the papers' published numbers, and the tables made of them."""

import numpy as np
import pandas as pd
import pytest

from reprolib import report, studies
from reprolib.errors import UserError
from reprolib.paths import ROOT

TABLES = {path.parent.name: path for path in (ROOT / "reprolib" / "studies").glob("*/published.csv")}


def published(study: str, table: str) -> pd.DataFrame:
    return report.published_from(TABLES[study], table)


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
    assert table["source"].tolist() == ["paper", "paper"]
    assert report.fact("s", "GMAC", "7.0", 7.0, source="release").source == "release"


@pytest.mark.parametrize("study", studies.STUDIES)
def test_published_numbers_are_numeric_named_and_given_once(study):
    cells = pd.read_csv(TABLES[study], dtype={"table": str})
    assert cells.columns.tolist() == ["table", "row", "column", "value", "source"]
    assert set(cells["source"]) <= {"paper", "release", "readme", "later paper"}
    assert np.isfinite(cells["value"].to_numpy(float)).all()
    assert not cells.duplicated(["table", "row", "column"]).any()
    assert not cells[["table", "row", "column"]].map(lambda text: text != text.strip() or not text).any(axis=None)


def test_masi2020_has_its_four_tables_in_printed_order():
    assert pd.read_csv(TABLES["masi2020"], dtype={"table": str})["table"].unique().tolist() == list("1234")
    first, third = published("masi2020", "1"), published("masi2020", "3")
    assert first.columns.tolist() == ["IOU_face", "acc.", "rec_face", "rec_all", "spars.", "fps"]
    assert first.shape == (12, 6)
    second = published("masi2020", "2")
    assert (second.shape, second.columns.tolist()) == ((25, 4), ["size_in", "no CRF", "acc_p", "acc_sp"])
    assert set(second["no CRF"]) == {0, 1}
    assert first.loc["Struct. Forest [30]", "rec_all"] == 88.6
    assert published("masi2020", "4").shape == (9, 4)
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
    rows = published("masi2020", "1").filter(regex=r"\+Transf|Occ\.Aug", axis=0) / 100
    iou, recall, accuracy = rows["IOU_face"], rows["rec_face"], rows["acc."]
    face = (1 - accuracy) / (recall * (1 / iou - 1))
    non_face_recall = 1 - face * (recall / iou - 1) / (1 - face)
    assert len(rows) == 5
    np.testing.assert_allclose(rows["rec_all"], (recall + non_face_recall) / 2, atol=0.002)


def test_masi2020_table_3_mean_iou_is_the_mean_of_the_three():
    row = published("masi2020", "3").loc["Struct. via cons. +reg."]
    assert row[["IOU_hair", "IOU_bg", "IOU_face"]].mean() == pytest.approx(row["IOU_mean"], abs=0.01)


def test_masi2020_tables_3_and_4_agree_through_f1_and_iou():
    iou = published("masi2020", "3").loc["Struct. via cons. +reg."] / 100
    f1 = published("masi2020", "4").loc["Struct. via cons. (Ours), 128 px"] / 100
    for part in ("face", "hair", "bg"):
        assert 2 * iou[f"IOU_{part}"] / (1 + iou[f"IOU_{part}"]) == pytest.approx(f1[f"F1_{part}"], abs=2e-4)


def test_an_unknown_table_is_named():
    with pytest.raises(UserError, match=r"\(1, 2, 3, 4\), found '9'"):
        published("masi2020", "9")


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


def test_subscripts_of_the_papers_column_heads_are_subscripts():
    table = pd.DataFrame({"IOU_hair": ["a_hair"]}, index=["Conv2_x"])
    html = report.to_html(table, "Table 1. Heads")
    assert "<th>IOU<sub>hair</sub></th>" in html
    assert "a_hair" in html and "Conv2_x" in html
