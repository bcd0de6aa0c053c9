"""What a reader may set: the parameters of a study, and those of a notebook, checked before anything runs."""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reprolib import paths
from reprolib.errors import UserError

PROFILES = ("smoke", "cpu", "gpu")
DATA = ("synthetic", "public", "paper")

T = TypeVar("T")


class StudyParameters(BaseModel):
    """What every study takes; a paper's own sweep axes are added by its subclass.

    UserError, one sentence, for an unknown name, a wrong type or a value outside the choices.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: Literal["smoke", "cpu", "gpu"] = "smoke"
    data: Literal["synthetic", "public", "paper"] = "synthetic"
    data_root: str = ""  # where the real data are; not needed for synthetic data
    seeds: int = Field(default=0, ge=0)  # 0 = the profile's own number
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(default=0, ge=0)  # 0 = automatic
    tables: list[str] = []  # empty = all

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UserError(_sentence(error.errors()[0], tuple(type(self).model_fields))) from None


def _sentence(error: Mapping[str, Any], known: Sequence[str]) -> str:
    """Pydantic's first complaint as one sentence that names the parameter and the way out."""
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return _unknown("parameter", name, known)
    if error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return _unknown(f"value of parameter {name!r}:", error["input"], choices)
    expectation = error["msg"].removeprefix("Input should be ")
    place = "".join(f"[{index}]" for index in error["loc"][1:])
    return f"Parameter {name + place!r} should be {expectation}, but {error['input']!r} was given."


def _unknown(kind: str, found: Any, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(str(found), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known) or 'none'}."
    return f"Unknown {kind} {found!r}; {hint}"


def select(places: Mapping[str, T], tables: Sequence[str]) -> dict[str, T]:
    """The places ("table 1", "figure 4") that `tables` names; "1" is short for "table 1", no name means all.

    UserError for a name that the paper does not have.
    """
    chosen = {}
    for name in tables:
        place = name if name in places else f"table {name}"
        if place not in places:
            raise UserError(_unknown("table", name, places))
        chosen[place] = places[place]
    return chosen if tables else dict(places)


# --- the parameters cell of a notebook ---------------------------------------------------------------

_CELL = re.compile(r"^# ?%%.*$", re.MULTILINE)
_TAGS = re.compile(r"tags=(\[[^\]]*\])")


def declared_parameters(source: str) -> dict[str, Any]:
    """Names and default values of a py:percent notebook's one cell tagged "parameters".

    Papermill's own inspection drops some names silently, so the cell is read from its syntax tree; it may
    hold nothing but literal assignments of JSON types.  UserError, naming the line, for anything else.
    """
    starts = list(_CELL.finditer(source))
    ends = [match.start() for match in starts[1:]] + [len(source)]
    cells = [
        (match, source[match.end() : end])
        for match, end in zip(starts, ends, strict=True)
        if "parameters" in _tags(match.group())
    ]
    if len(cells) != 1:
        raise UserError(
            f'A notebook needs exactly one cell tagged "parameters", but {len(cells)} were found; '
            'mark one with `# %% tags=["parameters"]`.'
        )
    header, body = cells[0]
    first_line = source.count("\n", 0, header.end())
    try:
        statements = ast.parse(body).body
    except SyntaxError as error:
        raise UserError(
            f"Line {first_line + (error.lineno or 0)} of the notebook is not Python ({error.msg}); "
            "write one literal assignment a line in the parameters cell."
        ) from None
    declared: dict[str, Any] = {}
    for statement in statements:
        name, value = _assignment(statement, first_line + statement.lineno)
        if name in declared:
            raise UserError(f"Parameter {name!r} is set twice in the parameters cell; keep one of the lines.")
        declared[name] = value
    return declared


def _tags(header: str) -> list[str]:
    match = _TAGS.search(header)
    return json.loads(match.group(1)) if match else []


def _assignment(statement: ast.stmt, line: int) -> tuple[str, Any]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=expression):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as expression):
            pass
        case _:
            raise UserError(f"Line {line} of the notebook should be `name = literal` in the parameters cell.")
    try:
        value = ast.literal_eval(expression)
    except ValueError:
        value = ...
    if not _is_json(value):
        raise UserError(
            f"Line {line} of the notebook gives {name!r} a value that is no JSON literal; "
            "use a string, number, True, False, list or dict."
        )
    return name, value


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return isinstance(value, (str, int, float, bool))


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All declared parameters, with the given values in place of the defaults.

    A value must have its default's type (an integer may stand for a float), and the items of a list the type of the
    default's first item. UserError for an unknown name or a wrong type.
    """
    for name in given:
        if name not in declared:
            raise UserError(_unknown("parameter", name, declared))
    return {name: _typed(name, default, given.get(name, default)) for name, default in declared.items()}


def _typed(name: str, default: Any, value: Any) -> Any:
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default) or not _is_json(value):
        raise UserError(
            f"Parameter {name!r} should be {type(default).__name__}, but {value!r} ({type(value).__name__}) was given."
        )
    if isinstance(default, list) and default:
        return [_typed(f"{name}[{index}]", default[0], item) for index, item in enumerate(value)]
    return value


def parse_value(text: str, default: Any) -> Any:
    """Text from a command line as a value of the default's type: JSON or a Python literal, else the text itself."""
    if isinstance(default, str):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def check_notebook(name: str) -> None:
    """Check the parameters inside a running notebook; the cell after its parameters cell calls this.

    Papermill, a reader in Jupyter and our own command all set parameters by running assignments, so the check reads
    what has run: from the parameters cell to the calling cell, every assigned name must be declared in
    `notebooks/<name>.py` and have the type of its default. Text where another type is declared is parsed as on our
    command line, because `papermill -p` has no lists. The notebook's variables then hold the checked values.

    UserError for an unknown name, a missing name, a wrong type, or a value that no study takes. Outside IPython
    nothing is checked.
    """
    from IPython.core.getipython import get_ipython  # a machine that only trains may lack it

    shell = get_ipython()
    if shell is None:
        return
    declared = declared_parameters((paths.NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8"))
    history = shell.user_ns["In"]
    cells = [_assigned(cell) for cell in history]
    # A second "run all" in the same kernel finds the whole first run in the history: the last parameters cell counts,
    # and the first cell after it that is the calling one. Only the parameters cell has annotations.
    start = max((n for n, cell in enumerate(cells) if any(cell.get(name) for name in declared)), default=0)
    end = history.index(history[-1], start)
    given = {name: shell.user_ns.get(name) for cell in cells[start:end] for name in cell}
    for name, default in declared.items():
        if name not in shell.user_ns:
            raise UserError(f"Parameter {name!r} is not set; run the parameters cell of the notebook first.")
        value = given.get(name, shell.user_ns[name])
        given[name] = parse_value(value, default) if isinstance(value, str) else value
    values = check_parameters(declared, given)
    StudyParameters(**{name: value for name, value in values.items() if name in StudyParameters.model_fields})
    shell.user_ns.update(values)


def _assigned(cell: str) -> dict[str, bool]:
    """The names that a cell's own statements assign, and whether with an annotation."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:
        return {}
    names: dict[str, bool] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign):
            parts = [part for target in statement.targets for part in ast.walk(target)]
            names |= {part.id: False for part in parts if isinstance(part, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = True
    return names
