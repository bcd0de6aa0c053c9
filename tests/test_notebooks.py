"""A page is what its source says, whole and up to date, or it is refused."""

import json
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from reprolib import notebooks
from reprolib.errors import UserError
from reprolib.notebooks import KERNELSPEC, _sha256, _with_values, execute, gate
from reprolib.paths import NOTEBOOKS, ROOT

SOURCE = """# %% [markdown]
# # A page

# %% tags=["parameters"]
profile: str = "smoke"  # α: one of smoke, cpu, gpu
betas: list = [
    1.0,
    5.0,
]  # weights
seeds: int = 0  # how many

# %% tags=["hide-input"]
import sys

print("noise", file=sys.stderr)
print(profile, betas, seeds)

# %% tags=["remove-cell"]
from myst_nb import glue

print("hidden")
glue("answer", 42)
"""


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A folder of sources with one notebook, and a throw-away build folder."""
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "_build")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "tiny.py").write_text(SOURCE, encoding="utf-8")
    return folder


def good_page(folder: Path) -> nbformat.NotebookNode:
    """A page that the gate accepts, for one defect at a time."""
    cell = nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")])
    run = {"start_time": "2026-01-01T00:00:00", "end_time": "2026-01-01T00:00:01", "exception": None}
    stamp = {"source_sha256": _sha256(SOURCE), "parameters": {}}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": run, "reprolib": stamp})


def write(page: nbformat.NotebookNode, folder: Path) -> Path:
    nbformat.write(page, folder / "tiny.ipynb")
    return folder / "tiny.ipynb"


def test_gate_accepts_a_whole_page(sources, tmp_path):
    gate(write(good_page(tmp_path), tmp_path), notebooks=sources)


def with_error(page):
    page.cells[0].outputs = [nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])]


def with_cell_exception(page):
    page.cells[0].metadata["papermill"] = {"exception": True}


def with_page_exception(page):
    page.metadata.papermill.exception = True


def without_end(page):
    page.metadata.papermill.end_time = None


def without_run(page):
    del page.metadata["papermill"]


def with_empty_cell(page):
    page.cells.append(nbformat.v4.new_code_cell("  \n"))


def with_other_source(page):
    page.metadata.reprolib.source_sha256 = _sha256(SOURCE + "\n")


def without_stamp(page):
    del page.metadata["reprolib"]


def with_large_picture(page):
    page.cells[0].outputs = [nbformat.v4.new_output("stream", text="x" * 2_000_001)]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (with_error, r"tiny\.ipynb, cell 0, ended with ZeroDivisionError"),
        (with_cell_exception, r"tiny\.ipynb, cell 0, ended with an exception"),
        (with_page_exception, r"tiny\.ipynb was not executed to its end"),
        (without_end, r"tiny\.ipynb was not executed to its end"),
        (without_run, r"tiny\.ipynb was not executed to its end"),
        (with_empty_cell, r"tiny\.ipynb, cell 1, is an empty code cell"),
        (with_other_source, r"tiny\.ipynb is stale"),
        (without_stamp, r"tiny\.ipynb is stale"),
        (with_large_picture, r"tiny\.ipynb has 2\.0 MB"),
    ],
)
def test_gate_refuses_a_page(sources, tmp_path, spoil, complaint):
    page = good_page(tmp_path)
    spoil(page)
    with pytest.raises(UserError, match=complaint):
        gate(write(page, tmp_path), notebooks=sources)


def test_gate_refuses_a_page_that_is_not_there(sources, tmp_path):
    with pytest.raises(UserError, match=r"needs the page tiny\.ipynb, but it is not in"):
        gate(tmp_path / "tiny.ipynb", notebooks=sources)


def test_values_replace_the_literals_and_leave_the_comments():
    cell = 'profile: str = "smoke"  # α\nbetas: list = [\n    1.0,\n]  # β\nseeds = 0'
    shown = _with_values(cell, {"profile": "gpu", "betas": [2.0, 3.0]})
    assert shown == "profile: str = 'gpu'  # α\nbetas: list = [2.0, 3.0]  # β\nseeds = 0"


def test_execute_makes_a_page_of_its_source(sources, tmp_path):
    path = execute("tiny", {"profile": "cpu", "betas": [2.0]}, out=tmp_path / "out", notebooks=sources)
    page = nbformat.read(path, as_version=4)
    shown = [output.text for cell in page.cells[:-1] for output in cell.get("outputs", [])]
    assert shown == ["cpu [2.0] 0\n"]  # what was printed; stderr and what is hidden are gone
    assert [output.metadata.scrapbook.name for output in page.cells[-1].outputs] == ["answer"]
    assert [cell.id for cell in page.cells] == ["cell-000", "cell-001", "cell-002", "cell-003"]  # none injected
    assert "profile: str = 'cpu'  # α: one of smoke, cpu, gpu" in page.cells[1].source
    assert page.metadata.reprolib == {
        "source_sha256": _sha256(SOURCE),
        "parameters": {"profile": "cpu", "betas": [2.0], "seeds": 0},
    }
    assert str(tmp_path) not in json.dumps(page)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["tiny.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [({"profil": "cpu"}, "did you mean 'profile'"), ({"seeds": "three"}, "'seeds' should be int")],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(sources, tmp_path, parameters, complaint):
    with pytest.raises(UserError, match=complaint):
        execute("tiny", parameters, out=tmp_path / "out", notebooks=sources)
    assert not (tmp_path / "out").exists()


def test_an_unknown_notebook_is_refused_by_name(sources, tmp_path):
    with pytest.raises(UserError, match=r"no notebook huge\.py .* there are: tiny"):
        execute("huge", {}, out=tmp_path / "out", notebooks=sources)


def test_a_failed_run_leaves_the_old_page(sources, tmp_path):
    old = write(good_page(tmp_path), tmp_path).read_bytes()
    (sources / "tiny.py").write_text(SOURCE + '\n# %%\nraise ValueError("NaN loss")\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"notebook tiny failed in cell 4 with ValueError: NaN loss"):
        execute("tiny", {}, out=tmp_path, notebooks=sources)
    assert (tmp_path / "tiny.ipynb").read_bytes() == old
    assert "NaN loss" in (tmp_path / "_build" / "failed" / "tiny.ipynb").read_text(encoding="utf-8")


# --- anybody's papermill


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_every_notebook_has_a_kernel_and_checks_its_parameters_first(source):
    notebook = jupytext.read(source)
    assert notebook.metadata.kernelspec == KERNELSPEC
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert code[1].source.splitlines()[-1] == f'check_notebook("{source.stem}")'


def papermill(name: str, out: Path, *arguments: str) -> subprocess.CompletedProcess:
    """`jupytext --to notebook -o - notebooks/NAME.py | papermill - OUT ...`, as people type it, from another folder."""
    programs = Path(sys.executable).parent
    convert = [programs / "jupytext", "--to", "notebook", "-o", "-", NOTEBOOKS / f"{name}.py"]
    converted = subprocess.run(convert, capture_output=True, check=True).stdout
    command = [programs / "papermill", "-", out, *arguments]
    return subprocess.run(command, input=converted, capture_output=True, cwd=out.parent)


@pytest.mark.slow
def test_plain_papermill_runs_a_page(tmp_path):
    done = papermill("facesynth", tmp_path / "page.ipynb", "-p", "profile", "smoke", "-p", "seed", "3")
    assert done.returncode == 0, done.stderr.decode()
    shown = [cell for cell in nbformat.read(tmp_path / "page.ipynb", as_version=4).cells if cell.get("outputs")]
    assert len(shown) > 3


@pytest.mark.slow
def test_plain_papermill_stops_at_a_misspelt_parameter(tmp_path):
    done = papermill("facesynth", tmp_path / "page.ipynb", "-p", "sede", "3")
    assert done.returncode != 0
    assert "Unknown parameter 'sede'; did you mean 'seed'?" in done.stderr.decode()
    page = nbformat.read(tmp_path / "page.ipynb", as_version=4)
    outputs = [
        output for cell in page.cells for output in cell.get("outputs", []) if output.output_type != "display_data"
    ]
    assert [output.traceback for output in outputs] == [["Unknown parameter 'sede'; did you mean 'seed'?"]]
    assert sum(cell.get("execution_count") is not None for cell in page.cells) == 3  # parameters, injected, check


# --- other people's machines


def test_the_kernel_is_this_python_whatever_the_users_kernelspec_says(sources, tmp_path, monkeypatch):
    other = tmp_path / "share" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": [str(tmp_path / "no-python"), "{connection_file}"], "display_name": "Other", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    (sources / "tiny.py").write_text(SOURCE + "\n# %%\nprint(sys.executable)\n", encoding="utf-8")
    page = nbformat.read(execute("tiny", {}, out=tmp_path / "out", notebooks=sources), as_version=4)
    assert page.cells[-1].outputs[0].text.strip() == sys.executable


def test_folders_with_spaces_and_a_home_that_cannot_be_written(sources, tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "IPYTHONDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    page = execute("tiny", {"betas": [2]}, out=tmp_path / "Meine Hefte ö" / "it's", notebooks=sources)
    assert "smoke [2.0] 0" in page.read_text(encoding="utf-8")


def test_what_pages_include_is_there():
    files = notebooks.included_files()
    assert any(path.name == "scores.md" for path in files)
    assert all(path.is_file() and path.is_relative_to(ROOT) for path in files), files
