"""Pages from notebooks: execute a percent source with papermill, refuse a bad page, build the book."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from sphinx_external_toc.parsing import parse_toc_yaml
from traitlets.config import Config

from reprolib.errors import UserError
from reprolib.parameters import check_parameters, declared_parameters
from reprolib.paths import BOOK, EXECUTED, NOTEBOOKS, ROOT

BUILD = ROOT / "_build"
MAX_PAGE_BYTES = 2_000_000
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
SMOKE_BANNER = (
    "This is the book of a smoke run: every step on tiny data, to show that the machinery works. "
    "Its numbers say nothing about the papers."
)


class ThisPython(AsyncKernelManager):
    """Starts kernels in the Python that runs this; the user's kernelspec "python3" may name another one."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])  # without folders to search, only the native kernel remains


def execute(study_id: str, parameters: dict, *, out: Path = EXECUTED, notebooks: Path = NOTEBOOKS) -> Path:
    """Run `notebooks/<study_id>.py` with the given parameters and return the page `out/<study_id>.ipynb`.

    The page replaces an older one only when every cell ran and `gate` accepts it. Raises UserError for a
    parameter that the notebook does not declare or cannot take (before anything runs) and for a failing cell.
    """
    source = _source(study_id, notebooks)
    values = check_parameters(declared_parameters(source), parameters)
    notebook = _notebook(source, {name: values[name] for name in parameters})
    out.mkdir(parents=True, exist_ok=True)
    # Inside `out`, so that the final rename stays on one file system.
    with tempfile.TemporaryDirectory(prefix=".running-", dir=out) as folder:
        page = Path(folder) / f"{study_id}.ipynb"
        try:
            finished = _run(notebook, page)
        except (PapermillExecutionError, CellControlSignal, DeadKernelError) as error:
            raise UserError(_what_failed(study_id, error, page)) from error
        stamp = {"source_sha256": _sha256(source), "parameters": values}
        nbformat.write(_cleaned(finished, stamp), page)
        gate(page, notebooks=notebooks)
        os.replace(page, out / page.name)
    return out / f"{study_id}.ipynb"


def gate(path: Path, *, notebooks: Path = NOTEBOOKS) -> None:
    """Refuse a page that is unfinished, failed, stale or too large; the UserError names page and cell.

    Sphinx renders a traceback as happily as a table, even when warnings are errors.
    """
    if not path.is_file():
        raise UserError(f"The book needs the page {path.name}, but it is not in {path.parent}: execute it.")
    if path.stat().st_size > MAX_PAGE_BYTES:
        size = path.stat().st_size / 1e6
        raise UserError(f"{path.name} has {size:.1f} MB, more than 2 MB: make its pictures smaller or fewer.")
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            raise UserError(f"{path.name}, cell {number}, is an empty code cell: remove it from the source.")
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        if errors or cell.metadata.get("papermill", {}).get("exception"):
            name = errors[0] if errors else "an exception"
            raise UserError(f"{path.name}, cell {number}, ended with {name}: correct it and execute it again.")
    run = notebook.metadata.get("papermill", {})
    if run.get("exception") or not run.get("end_time"):
        raise UserError(f"{path.name} was not executed to its end: execute it again.")
    stamp = notebook.metadata.get("reprolib", {}).get("source_sha256")
    if stamp != _sha256(_source(path.stem, notebooks)):
        raise UserError(f"{path.name} is stale, its source has changed since: execute it again.")


def build_book(source: Path = BOOK, *, html: Path = BUILD / "html", notebooks: Path = NOTEBOOKS) -> Path:
    """Build the book strictly (every warning is an error) and return its `index.html`.

    The settings are the `_config.yml` next to `source`. Raises UserError when `gate` refuses a page or
    the build fails; the book that was at `html` before is then still there.
    """
    for page in pages(source):
        gate(source / "executed" / f"{page}.ipynb", notebooks=notebooks)
    html.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=html.parent) as folder:
        # --all: an incremental build has passed defects that a full one finds.
        options = ["--all", "-W", "-n", "--keep-going", "--config", str(source.parent / "_config.yml")]
        builder = Path(sys.executable).with_name("jupyter-book")
        done = subprocess.run(
            [builder, "build", source, "--path-output", folder, *options], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise UserError(f"The book could not be built from {source}:\n{_last_words(done)}")
        shutil.rmtree(html, ignore_errors=True)
        os.replace(Path(folder) / "_build" / "html", html)
    return html / "index.html"


def pages(source: Path = BOOK) -> list[str]:
    """The names of the executed notebooks in the book's table of contents, in its order."""
    documents = parse_toc_yaml(source / "_toc.yml")
    return [Path(name).name for name in documents if Path(name).parent.name == "executed"]


def included_files() -> list[Path]:
    """The files outside the book that its Markdown pages include."""
    pages = (path.read_text(encoding="utf-8") for path in sorted(BOOK.glob("*.md")))
    named = (name for page in pages for name in re.findall(r"^```\{include\} (\S+)", page, re.MULTILINE))
    return [(BOOK / name).resolve() for name in named]


def smoke_book(folder: Path = BUILD / "smoke") -> Path:
    """Execute every notebook of the book in the smoke profile and build that run's book in `folder/html`.

    The committed pages in `book/executed` are neither read nor changed.
    """
    source = folder / "book"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns("executed"))
    for included in included_files():  # at the same path relative to the book
        (folder / included.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(included, folder / included.relative_to(ROOT))
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    settings["html"]["announcement"] = SMOKE_BANNER
    (folder / "_config.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    # The overview reads the records that the other notebooks make.
    for page in sorted(pages(source), key=lambda name: name == "overview"):
        started = time.monotonic()
        execute(page, {"profile": "smoke"}, out=source / "executed")
        print(f"executed {page} in {time.monotonic() - started:.0f} s", flush=True)
    return build_book(source, html=folder / "html")


def _source(study_id: str, notebooks: Path) -> str:
    path = notebooks / f"{study_id}.py"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in notebooks.glob("*.py")))
        raise UserError(f"There is no notebook {path.name} in {notebooks}; there are: {known}.")
    return path.read_text(encoding="utf-8")  # universal newlines: the hash is the same on every machine


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _notebook(source: str, parameters: Mapping[str, object]) -> NotebookNode:
    """The notebook of a percent source, with the given values written into its parameters cell."""
    notebook = jupytext.reads(source, fmt="py:percent")
    notebook.metadata = NotebookNode(kernelspec=KERNELSPEC)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"  # jupytext draws a new random id at each read
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = _with_values(cell.source, parameters)
    return notebook


def _with_values(source: str, parameters: Mapping[str, object]) -> str:
    """The parameters cell with some of its literals replaced: a reader sees the values that were used."""
    text = source.encode()  # ast counts columns in bytes
    starts = [0, *(index + 1 for index, byte in enumerate(text) if byte == ord("\n"))]
    for statement in reversed(ast.parse(source).body):
        assert isinstance(statement, (ast.Assign, ast.AnnAssign))  # `declared_parameters` has read the cell
        target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
        if isinstance(target, ast.Name) and target.id in parameters:
            old = statement.value
            begin = starts[old.lineno - 1] + old.col_offset
            end = starts[old.end_lineno - 1] + old.end_col_offset
            text = text[:begin] + repr(parameters[target.id]).encode() + text[end:]
    return text.decode()


def _run(notebook: NotebookNode, page: Path) -> NotebookNode:
    """Run all cells with papermill; what has run so far is always in `page`."""
    windows = os.name == "nt"  # has no sockets in folders
    with tempfile.TemporaryDirectory(prefix="nb", dir=None if windows else "/tmp") as folder:
        # Sockets in a private folder: TCP ports can be taken by another kernel between choice and use. Socket
        # paths must be shorter than about 100 characters.
        sockets = {"transport": "ipc", "ip": f"{folder}/k", "connection_file": f"{folder}/k.json"}
        return papermill.execute_notebook(
            notebook,
            page,
            progress_bar=False,
            start_timeout=300,
            iopub_timeout=120,
            coalesce_streams=True,
            config=Config({} if windows else {"KernelManager": sockets}),
            kernel_manager_class=ThisPython,
            extra_arguments=["--log-level=CRITICAL"],  # a failing cell is reported once, by us
        )


def _cleaned(notebook: NotebookNode, stamp: Mapping[str, object]) -> NotebookNode:
    """The notebook as it is published: no stderr, no time stamps per cell, no paths of this machine."""
    run = notebook.metadata.papermill
    kept = ("start_time", "end_time", "duration", "version", "exception")
    notebook.metadata = NotebookNode(
        kernelspec=KERNELSPEC,
        language_info={"name": "python"},
        papermill={key: run[key] for key in kept},
        reprolib=stamp,
    )
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            hidden = {"remove-cell", "remove-output"} & set(cell.metadata.get("tags", []))
            cell.outputs = [output for output in cell.outputs if _is_shown(output, hidden=bool(hidden))]
    return notebook


def _is_shown(output: NotebookNode, *, hidden: bool) -> bool:
    """Whether a page shows an output; glued values (marked "scrapbook") are shown from hidden cells, too."""
    if hidden:
        return "scrapbook" in output.get("metadata", {})
    return output.get("name") != "stderr"


def _what_failed(study_id: str, error: Exception, page: Path) -> str:
    """One sentence about a failing cell; the page, as far as it ran, is kept for inspection."""
    kept = BUILD / "failed" / page.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(page, kept)
    if isinstance(error, PapermillExecutionError):
        what = f"{error.ename}: {error.evalue}".splitlines()[0]
        where = f"cell {error.cell_index}"
    else:
        where, what = "a cell", f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return f"The notebook {study_id} failed in {where} with {what} (as far as it ran: {kept})."


def _last_words(done: subprocess.CompletedProcess) -> str:
    """The warnings and errors of a failed build, or its last lines where there is none."""
    lines = (done.stdout + done.stderr).splitlines()
    telling = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join((telling or lines)[-15:])


def main() -> int:
    """Build the smoke book and print where it is; returns the exit status, 2 for a UserError."""
    try:
        page = smoke_book()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\nThe book of this smoke run: {page}")
    print("The book of the published results: make book")
    return 0


if __name__ == "__main__":
    sys.exit(main())
