"""Parameters: what may be set, and the sentence that a reader gets for what may not."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pydantic import Field

from reprolib import paths
from reprolib.errors import UserError
from reprolib.parameters import (
    DATA,
    PROFILES,
    StudyParameters,
    check_notebook,
    check_parameters,
    declared_parameters,
    parse_value,
    select,
)


class Swept(StudyParameters):
    betas: list[float] = Field(default=[0.5])
    margin: float = Field(default=0.1, gt=0)


def refusal(action, *arguments, **named) -> str:
    with pytest.raises(UserError) as caught:
        action(*arguments, **named)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# --- a study's parameters


def test_a_study_runs_without_any_parameter():
    parameters = Swept()
    assert (parameters.profile, parameters.data, parameters.device) == ("smoke", "synthetic", "auto")
    assert (parameters.seeds, parameters.workers, parameters.tables) == (0, 0, [])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("data", DATA)
def test_any_profile_runs_on_any_data(profile, data):
    parameters = Swept(profile=profile, data=data)
    assert (parameters.profile, parameters.data) == (profile, data)


def test_a_whole_number_may_stand_for_a_float():
    assert Swept(betas=[0, 1.5], margin=2).betas == [0.0, 1.5]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"profil": "cpu"}, "Unknown parameter 'profil'; did you mean 'profile'?"),
        ({"beta": [1.0]}, "Unknown parameter 'beta'; did you mean 'betas'?"),
        ({"profile": "gpuu"}, "Unknown value of parameter 'profile': 'gpuu'; did you mean 'gpu'?"),
        ({"data": "x"}, "Unknown value of parameter 'data': 'x'; choose from synthetic, public, paper."),
        ({"device": "tpux"}, "Unknown value of parameter 'device': 'tpux'; choose from auto, cpu, cuda."),
        ({"seeds": "3"}, "Parameter 'seeds' should be a valid integer, but '3' was given."),
        ({"seeds": True}, "Parameter 'seeds' should be a valid integer, but True was given."),
        ({"seeds": -1}, "Parameter 'seeds' should be greater than or equal to 0, but -1 was given."),
        ({"betas": 0.5}, "Parameter 'betas' should be a valid list, but 0.5 was given."),
        ({"betas": [0.5, "x"]}, "Parameter 'betas[1]' should be a valid number, but 'x' was given."),
        ({"margin": 0.0}, "Parameter 'margin' should be greater than 0, but 0.0 was given."),
        ({"tables": [1]}, "Parameter 'tables[0]' should be a valid string, but 1 was given."),
    ],
)
def test_what_is_refused_is_named(given, sentence):
    assert refusal(Swept, **given) == sentence


def test_an_unknown_name_without_a_neighbour_lists_the_known_ones():
    assert refusal(StudyParameters, zzz=1).endswith(
        "choose from profile, data, data_root, seeds, device, workers, tables."
    )


def test_tables_are_chosen_by_number_or_name():
    places = {"table 1": "a", "table 2": "b", "figure 1": "c"}
    assert select(places, []) == places
    assert select(places, ["2", "figure 1"]) == {"table 2": "b", "figure 1": "c"}
    assert refusal(select, places, ["figure 11"]) == "Unknown table 'figure 11'; did you mean 'figure 1'?"
    assert refusal(select, places, ["9"]) == "Unknown table '9'; choose from table 1, table 2, figure 1."


# --- the parameters cell of a notebook

NOTEBOOK = """\
# ---
# jupyter:
#   kernelspec: {name: python3}
# ---

# %% [markdown]
# # A question

# %% tags=["remove-cell", "parameters"]
profile: str = "smoke"  # smoke, cpu or gpu
seeds: int = 0
betas: list[float] = [0.0, -0.5]
strict = True
rate = 1e-4

# %% tags=["remove-input"]
derived = profile + "!"
"""


def test_declared_parameters_are_the_literals_of_the_tagged_cell():
    assert declared_parameters(NOTEBOOK) == {
        "profile": "smoke",
        "seeds": 0,
        "betas": [0.0, -0.5],
        "strict": True,
        "rate": 1e-4,
    }


def test_the_parameters_cell_may_be_the_last():
    assert declared_parameters('# %% tags=["parameters"]\nseeds = 1\n') == {"seeds": 1}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("other = profile", "Line 15 of the notebook gives 'other' a value that is no JSON literal"),
        ("other = (1, 2)", "Line 15 of the notebook gives 'other' a value that is no JSON literal"),
        ("other = None", "Line 15 of the notebook gives 'other' a value that is no JSON literal"),
        ("other = dict(a=1)", "Line 15 of the notebook gives 'other' a value that is no JSON literal"),
        ("import os", "Line 15 of the notebook should be `name = literal`"),
        ("a = b = 1", "Line 15 of the notebook should be `name = literal`"),
        ("other: int", "Line 15 of the notebook should be `name = literal`"),
        ("other = ", "Line 15 of the notebook is not Python"),
        ("seeds = 1", "Parameter 'seeds' is set twice"),
    ],
)
def test_anything_but_literal_assignments_is_refused_by_line(line, sentence):
    source = NOTEBOOK.replace("rate = 1e-4\n", f"rate = 1e-4\n{line}\n")
    assert refusal(declared_parameters, source).startswith(sentence)


def test_a_notebook_has_exactly_one_parameters_cell():
    assert "but 2 were found" in refusal(declared_parameters, NOTEBOOK + NOTEBOOK)
    assert "but 0 were found" in refusal(declared_parameters, "# %%\nseeds = 1\n")


DECLARED = {"profile": "smoke", "seeds": 0, "rate": 0.1, "strict": True, "betas": [0.5], "tables": []}


def test_given_values_take_the_place_of_the_defaults():
    given = {"rate": 1, "betas": [1, 0.25], "tables": ["1"]}
    assert check_parameters(DECLARED, given) == DECLARED | {"rate": 1.0, "betas": [1.0, 0.25], "tables": ["1"]}
    assert check_parameters(DECLARED, {}) == DECLARED


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"profille": "cpu"}, "Unknown parameter 'profille'; did you mean 'profile'?"),
        ({"seeds": "3"}, "Parameter 'seeds' should be int, but '3' (str) was given."),
        ({"seeds": True}, "Parameter 'seeds' should be int, but True (bool) was given."),
        ({"seeds": 1.0}, "Parameter 'seeds' should be int, but 1.0 (float) was given."),
        ({"rate": "1e-4"}, "Parameter 'rate' should be float, but '1e-4' (str) was given."),
        ({"strict": 1}, "Parameter 'strict' should be bool, but 1 (int) was given."),
        ({"betas": (0.5,)}, "Parameter 'betas' should be list, but (0.5,) (tuple) was given."),
        ({"betas": [0.5, "x"]}, "Parameter 'betas[1]' should be float, but 'x' (str) was given."),
        ({"profile": None}, "Parameter 'profile' should be str, but None (NoneType) was given."),
    ],
)
def test_a_wrong_name_or_type_is_refused_before_anything_runs(given, sentence):
    assert refusal(check_parameters, DECLARED, given) == sentence


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("3", 0, 3),
        ("1e-4", 0.1, 1e-4),
        ("true", False, True),
        ("True", False, True),
        ('["1", "2"]', [], ["1", "2"]),
        ("['1', '2']", [], ["1", "2"]),
        ("3", "", "3"),
        ("true", "", "true"),
        ("many", 0, "many"),
    ],
)
def test_a_command_line_value_takes_the_type_of_its_default(text, default, value):
    assert parse_value(text, default) == value
    assert type(parse_value(text, default)) is type(value)


# --- inside a running notebook

CELL = 'profile: str = "smoke"\nseeds: int = 0\ntrain: bool = True\nbetas: list = [0.5]\n'
CHECK = "check_notebook('page')"


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Runs cells in a fresh IPython as a kernel does; returns the variables, or raises what a cell raised."""
    (tmp_path / "page.py").write_text(f'# %% tags=["parameters"]\n{CELL}', encoding="utf-8")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    shell = InteractiveShell(user_ns={"check_notebook": check_notebook})
    shell.history_manager.enabled = False  # no history file in the user's home
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)

    def run(*sources: str) -> dict:
        for source in sources:
            shell.run_cell(source, store_history=True).raise_error()
        return shell.user_ns

    return run


def test_a_notebook_runs_with_its_defaults(cells):
    found = cells(CELL, CHECK)
    assert (found["profile"], found["seeds"], found["train"], found["betas"]) == ("smoke", 0, True, [0.5])


def test_text_that_papermill_passes_on_becomes_the_declared_type(cells):
    found = cells(CELL, 'train = "false"\nbetas = "[0, 5]"\nseeds = "3"', CHECK)
    assert (found["train"], found["seeds"], found["betas"]) == (False, 3, [0.0, 5.0])
    assert [type(beta) for beta in found["betas"]] == [float, float]


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ([CELL, "sede = 3"], "Unknown parameter 'sede'; did you mean 'seeds'?"),
        ([CELL + "sede: int = 3\n"], "Unknown parameter 'sede'; did you mean 'seeds'?"),
        ([CELL, "profile = 'cpu'", "sede, other = 3, 4"], "Unknown parameter 'sede'; did you mean 'seeds'?"),
        ([CELL, "seeds = 'many'"], "Parameter 'seeds' should be int, but 'many' (str) was given."),
        ([CELL.replace("= 0", "= 1.5")], "Parameter 'seeds' should be int, but 1.5 (float) was given."),
        ([CELL, "profile = 'cpuu'"], "Unknown value of parameter 'profile': 'cpuu'; did you mean 'cpu'?"),
        ([CELL, "betas = 1"], "Parameter 'betas' should be list, but 1 (int) was given."),
        ([CELL, "betas = '[1'"], "Parameter 'betas' should be list, but '[1' (str) was given."),
        ([CELL, "betas = '[\"x\"]'"], "Parameter 'betas[0]' should be float, but 'x' (str) was given."),
        ([CELL, "train = None"], "Parameter 'train' should be bool, but None (NoneType) was given."),
        (
            [CELL.replace("seeds: int = 0\n", "")],
            "Parameter 'seeds' is not set; run the parameters cell of the notebook first.",
        ),
    ],
)
def test_a_notebook_stops_at_what_was_injected(cells, sources, sentence):
    assert refusal(cells, *sources, CHECK) == sentence


def test_what_later_cells_assign_is_no_parameter(cells):
    later = "study = 1"
    cells(CELL, CHECK, later, CHECK)  # the reader runs the check again
    cells(CELL, CHECK, later)  # and then all cells
    assert refusal(cells, CELL, "sede = 3", CHECK) == "Unknown parameter 'sede'; did you mean 'seeds'?"


def test_a_cell_that_is_no_python_sets_no_parameter(cells, capsys):
    with pytest.raises(SyntaxError):
        cells(CELL, "sede = = 3")
    cells(CHECK)


def test_a_plain_script_has_no_injected_parameters(monkeypatch):
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    check_notebook("overview")
