"""What a study is: rows, trials, claims and datasets as data; and what must hold of every study that is declared so."""

import sys
from dataclasses import asdict, replace
from datetime import date
from types import ModuleType

import pandas as pd
import pytest
import shared_core as fake
from pydantic import ValidationError

from reprolib import studies
from reprolib.errors import UserError
from reprolib.parameters import DATA
from reprolib.study import Study, execute
from reprolib.trial import Context, Outcome, Trial

ALL = [studies.load(name) for name in studies.STUDIES]


@pytest.fixture
def study(tmp_path, monkeypatch):
    return fake.make(tmp_path, monkeypatch)


def with_rows(study: Study, data: str) -> dict:
    return {row.name: row for row in study.rows(study.Parameters(profile="cpu", data=data))}


# --- trials ------------------------------------------------------------------------------------------


def test_a_row_has_one_trial_per_seed_at_every_place_that_needs_it(study):
    plan = study.trials(study.Parameters(profile="cpu"))
    assert list(plan) == ["table 1", "table 2", "extra A", "figure 1", "figure 2"]
    assert {place: len(trials) for place, trials in plan.items()} == {
        "table 1": 11, "table 2": 5, "extra A": 6, "figure 1": 10, "figure 2": 0,
    }  # fmt: skip
    assert [trial.seed for trial in plan["table 2"]] == [0, 1, 2, 3, 4]
    assert set(plan["table 2"]) < set(plan["table 1"])
    assert len(study.trials(study.Parameters(profile="cpu", seeds=2))["table 2"]) == 2


def test_the_key_of_a_trial_is_its_configuration_seed_and_recipe_but_not_its_name(study):
    row = study.rows(study.Parameters())[2]
    [first, second] = study.trials_of(row)
    assert first.key == study.trials_of(replace(row, name="another name"))[0].key
    assert first.key != second.key
    for other in ({"profile": "gpu"}, {"data": "paper"}, {"data": "public"}):
        assert first.key not in {t.key for t in study.trials_of(study.rows(study.Parameters(**other))[2])}
    assert first.key != replace(study, recipe=2).trials_of(row)[0].key


def test_only_the_chosen_tables_are_planned(study):
    assert list(study.trials(study.Parameters(tables=["2", "figure 1"]))) == ["table 2", "figure 1"]
    with pytest.raises(UserError, match="Unknown table 'tabel 1'; did you mean 'table 1'"):
        study.trials(study.Parameters(tables=["tabel 1"]))


def test_a_trial_runs_with_its_typed_configuration(tmp_path, monkeypatch):
    seen = []

    def run(config, seed, context):
        seen.append((config, seed, context))
        return Outcome({"iou": 1.0})

    study = fake.make(tmp_path, monkeypatch, experiment={"run": run})
    row = study.rows(study.Parameters())[2]
    context = Context(results=tmp_path)
    assert study.execute(study.trials_of(row)[1], context) == execute(fake.ID, study.trials_of(row)[1], context)
    assert seen == [(row.config, 1, context)] * 2


def test_a_configuration_that_the_code_does_not_know_is_refused(study):
    config = asdict(study.rows(study.Parameters())[2].config)
    with pytest.raises(ValidationError):
        study.config_of(Trial(fake.ID, "Base", config | {"data": 3}, 0))


def test_quoted_rows_are_methods_with_a_reason(study):
    assert study.SYSTEMS == {
        "Base": None, "Extra": None, "Nothing": None, "Nothing elsewhere": None, "Ours": None,
        "Theirs": "quoted: no code",
    }  # fmt: skip


# --- datasets ----------------------------------------------------------------------------------------


def test_a_row_without_its_dataset_is_left_out_with_a_sentence(study, tmp_path, capsys):
    parameters = study.Parameters(data="paper", data_root=str(tmp_path))
    with pytest.raises(UserError, match="holds nothing that these rows need: expected a folder own or own_official"):
        studies.needed(study, parameters)
    assert capsys.readouterr().err == "Left out: 5 rows that need the folder own or own_official.\n"
    (tmp_path / "own_official").mkdir()
    assert len(studies.needed(study, parameters)) == 8
    assert {t.name for t in studies.needed(study, parameters, ["Ours"])} == {"Ours"}
    with pytest.raises(UserError, match="no row of the chosen tables is named 'Nobody'"):
        studies.needed(study, parameters, ["Nobody"])


def test_data_without_a_root_are_not_called_missing(study):
    row = with_rows(study, "paper")["Ours"]
    assert study.missing_folders(row, None) == ()
    assert study.missing_folders(with_rows(study, "synthetic")["Ours"], None) == ()


def test_data_check_asks_the_loader_of_each_folder(study, tmp_path, monkeypatch):
    loader = ModuleType(f"reprolib.studies.{fake.ID}.loader")
    loader.check = lambda root: [f"own: 3 images under {root.name}"]
    monkeypatch.setitem(sys.modules, loader.__name__, loader)
    assert study.check_data(tmp_path) == [f"own: 3 images under {tmp_path.name}"]


def test_data_check_of_a_study_without_datasets_says_so(tmp_path, monkeypatch):
    study = fake.make(tmp_path, monkeypatch, datasets={}, loaders={})
    with pytest.raises(UserError, match="fake2020 uses rendered faces only; there is nothing to check"):
        study.check_data(tmp_path)


# --- claims ------------------------------------------------------------------------------------------


def test_the_published_effect_is_computed_from_the_cells_that_a_claim_names(tmp_path, monkeypatch):
    cells = {"published_a": "1|Ours|holes", "published_b": "1|Base|holes"}
    study = fake.make(
        tmp_path, monkeypatch, {}, {"id": "holes", "score": "holes", **cells},
        {"id": "sign", "kind": "sign", "published_a": "", "published_b": "", "sign": "-1", "primary": ""},
        {"id": "none", "kind": "null", "margin": "0.5", "data": "paper", "registered": ""},
    )  # fmt: skip
    larger, holes, sign, null = study.registered_claims
    assert (larger.published_effect, larger.direction) == (10.0, 1)
    assert (holes.published_effect, holes.direction) == (-1.0, -1)
    assert (sign.published_effect, sign.direction, sign.primary) == (None, -1, False)
    assert (null.margin, null.data, null.registered) == (0.5, ("paper",), "")


def test_a_claim_that_names_no_cell_and_a_study_without_cells_are_refused(tmp_path, monkeypatch):
    study = fake.make(tmp_path, monkeypatch, {"published_a": "1|Ours|acc"})
    with pytest.raises(UserError, match=r"claim 'larger' names the cell '1\|Ours\|acc', which published.csv does not"):
        _ = study.registered_claims
    study = fake.make(tmp_path / "another", monkeypatch)
    (tmp_path / "another" / fake.ID / "published.csv").unlink()
    with pytest.raises(UserError, match=r"expected the paper's numbers in .*published\.csv, found no such file"):
        _ = study.registered_claims


def test_what_is_left_to_gain_depends_on_the_direction_of_a_score(study):
    assert study.scores["iou"].error(60.0) == 40.0
    assert study.scores["holes"].error(4.0) == 4.0


# --- every study ------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ALL, ids=lambda study: study.ID)
class TestEvery:
    """Tables, rows and claims of each study that is declared as data."""

    @pytest.mark.parametrize("data", DATA)
    def test_a_printed_name_means_one_row(self, study, data):
        for profile in ("smoke", "cpu", "gpu"):
            rows = study.rows(study.Parameters(profile=profile, data=data))
            assert len({row.name for row in rows}) == len(rows)

    def test_every_place_of_a_row_is_a_table_or_figure_and_every_table_has_rows(self, study):
        rows = [row for data in DATA for row in with_rows(study, data).values()]
        wanted = {place for row in rows for place in row.places}
        tables = {table.place for table in study.declared_tables}
        assert tables <= wanted | set(study.without_rows)
        assert wanted <= tables | set(study.figures)
        assert set(study.figures) <= wanted | set(study.without_rows)
        smoke = study.rows(study.Parameters(profile="smoke", data="synthetic"))
        named = {row.name for row in (*rows, *smoke)}
        assert {row for table in study.declared_tables for row, _ in (table.lines or {}).values()} <= named
        assert set(study.trivial) <= named

    def test_every_row_that_the_paper_prints_is_trained_or_quoted_with_a_reason(self, study):
        printed = set(pd.read_csv(study.folder / study.ID / "published.csv")["row"])
        lines = {line for table in study.declared_tables for line in table.lines or {}}
        trained = {row for data in DATA for row in with_rows(study, data)}
        assert printed <= trained | lines | set(study.quoted)
        assert not trained & set(study.quoted)
        assert set(study.quoted) <= printed
        assert all(reason.startswith("quoted: ") for reason in study.quoted.values())

    def test_every_claim_names_rows_and_a_score_that_exist_where_it_is_asked(self, study):
        claims = study.registered_claims
        assert len({claim.id for claim in claims}) == len(claims)
        places = {table.place.lower() for table in study.declared_tables} | set(study.figures)
        for claim in claims:
            assert claim.place.lower() in places or claim.place.startswith("Section "), claim.id
            assert claim.score in study.scores, claim.id
            assert claim.kind in ("effect", "sign", "null", "question"), claim.id
            assert set(claim.data) <= set(DATA), claim.id
            assert date.fromisoformat(claim.registered), claim.id
            for data in claim.data:
                missing = {claim.a, claim.b} - set(with_rows(study, data))
                assert missing <= set(study.quoted), (claim.id, data, missing)
                assert not (missing and claim.primary), claim.id

    def test_effects_are_differences_of_two_cells_of_one_column_of_the_claims_rows_and_score(self, study):
        table = pd.read_csv(study.folder / study.ID / "claims.csv", dtype=str).fillna("").set_index("id")
        cells = pd.read_csv(study.folder / study.ID / "published.csv", dtype={"table": str})
        values = cells.set_index(["table", "row", "column"])["value"]
        columns = {t.place: t.columns for t in study.declared_tables}
        for claim in study.registered_claims:
            line = table.loc[claim.id]
            if claim.kind != "effect":
                assert not line["sign"] or claim.kind == "sign", claim.id
                continue
            sides = [line[f"published_{x}"].split("|") for x in "ab"]
            (of_a, a, column), (of_b, b, other) = sides
            assert column == other, claim.id  # the two cells may stand in two tables, as rows and rivals do in wang2018
            # a cell may say more of its row than ours does: "STN-iCNN, mean of ten runs"; and ours more than the cell,
            # where it is another way to train the row: "Full model, kept features"
            for (of, cell, _), row in zip(sides, (claim.a, claim.b), strict=True):
                assert columns[f"table {of}"][column] == claim.score, claim.id
                lines = next(t.lines for t in study.declared_tables if t.place == f"table {of}")
                name = lines.get(cell, (cell,))[0] if lines else cell
                assert name.split(", mean of")[0] == row or row.split(", ")[0] == cell, claim.id
            assert claim.published_effect == pytest.approx(values[of_a, a, column] - values[of_b, b, column]), claim.id
            assert claim.published_effect != 0 or claim.sign, claim.id

    def test_a_configuration_survives_the_way_through_a_record(self, study):
        for data in DATA:
            for row in study.rows(study.Parameters(profile="cpu", data=data)):
                assert study.config_of(study.trials_of(row)[0]) == row.config

    def test_a_trial_names_no_folder_of_this_machine(self, study):
        for row in study.rows(study.Parameters(profile="cpu", data="public", data_root="/somewhere")):
            assert not any("/somewhere" in str(trial.params) for trial in study.trials_of(row))

    def test_primary_claims_compare_rows_with_seeds_enough_for_an_interval(self, study):
        for claim in study.registered_claims:
            for data in claim.data if claim.primary else ():
                rows = with_rows(study, data)
                assert min(rows[name].seeds for name in (claim.a, claim.b)) >= 3, (claim.id, data)

    def test_about_a_dozen_claims_are_primary(self, study):
        assert 8 <= sum(claim.primary for claim in study.registered_claims) <= 14

    def test_rates_of_tuned_rows_are_the_best_of_those_tried(self, study):
        from reprolib import tries, tuning

        log = tuning.read(study)
        for data, profile in {(t.data, t.profile) for t in log}:
            parameters = study.Parameters(profile=profile, data=data)
            tried = [t for t in log if (t.data, t.profile) == (data, profile)]
            keys = {key for _, key in tuning.current(study, parameters).values()}
            assert {t.key for t in tried} <= keys, "tries of an older configuration: tune again"
            rows = {row.name: row for row in study.rows(parameters)}
            for name in {t.row for t in tried}:
                best = tries.best(log, data=data, profile=profile, row=name)
                assert rows[name].config.training.lr == best, (data, profile, name)
