"""What a visitor types exists, and the three places that name the environment agree."""

import importlib
import re
import shlex
import subprocess
import tomllib

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import reprolib
from reprolib.cli import app
from reprolib.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROSE = ("README.md", "CONTRIBUTING.md", "book/reproduce.md", "book/methods.md", "book/sixth_paper.md")


def locked() -> dict[str, set[str]]:
    """Package → its locked versions (several where they depend on the platform)."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", LOCK, re.MULTILINE):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def ranges() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


@pytest.mark.parametrize("requirement", ranges(), ids=str)
def test_the_lock_has_every_dependency_in_its_range(requirement):
    versions = locked()[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_every_locked_package_has_a_hash():
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_index_and_no_folder():
    assert re.findall(r"https?://\S+|--index-url.*|--extra-index-url.*|--find-links.*|file:\S+", LOCK) == []


def test_the_lock_was_made_by_the_documented_command():
    command = re.search(r"pip compile .*", MAKEFILE).group().removeprefix("pip compile ")
    assert f"uv pip compile {command}" in LOCK.splitlines()[1]


def test_conda_installs_the_same_lock_on_a_supported_python():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert {"pip": ["-r requirements.lock"]} in dependencies
    python = next(line for line in dependencies if str(line).startswith("python="))
    assert python.removeprefix("python=") in PROJECT["requires-python"]


def test_make_installs_the_same_lock():
    assert re.search(r"pip sync .*requirements\.lock", MAKEFILE)


@pytest.mark.parametrize("target", ["study", "check", "test", "book", "lock", "clean"])
def test_make_has_the_target(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("target", ["study", "check", "test", "book"])
def test_make_needs_nothing_but_a_clone(target):
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "python3 -m venv .venv" in plan.stdout


def test_make_refuses_an_old_python_in_one_sentence(tmp_path):
    old = tmp_path / "python2.6"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "--always-make", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "study"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def commands() -> list[str]:
    """Every shell command of the prose, once."""
    lines = []
    for name in PROSE:
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            lines += [line.split("#")[0].strip() for line in block.splitlines()]
    return sorted({line for line in lines if line})


def test_the_readme_needs_two_commands():
    first = re.search(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert first.group(1).splitlines() == ["make study", "make test"]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_prose_exists(command):
    words = shlex.split(command)
    if words[0] == "make":
        assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in words[1:])
        return
    assert words[:3] == ["python", "-m", "reprolib"]
    found = typer.main.get_command(app)
    rest = words[3:]
    while hasattr(found, "commands"):
        found, rest = found.commands[rest[0]], rest[1:]
    found.make_context(found.name, rest)  # refuses an unknown option or a missing argument


def test_the_changelog_begins_with_what_is_not_released_and_names_the_version():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["version"] in headings
    assert PROJECT["version"] == reprolib.__version__


def test_ci_runs_every_test_once():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-2:]
    assert steps == ["make check", 'make test TESTS="slow or book"']
    assert '-m "not slow and not book"' in MAKEFILE


def test_the_code_names_no_place_of_one_machine():
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    text_files = [ROOT / name for name in files if name.endswith((".py", ".md", ".yml", ".toml", ".ipynb", ".json"))]
    patterns = re.compile(r"/(?:home|root|Users)/\w+|" + re.escape(str(ROOT.parent)) + r"/\w+")
    named = [
        str(file.relative_to(ROOT))
        for file in text_files
        if file.exists() and patterns.search(file.read_text(encoding="utf-8"))
    ]
    assert named == []


def test_the_walk_from_a_number_to_its_code_names_what_is_there():
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("### Follow one number")[1].split("\n## ")[0]
    steps = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    assert len(steps) == 12
    for file, text in steps:
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`([^`]+)`", text):
            assert name in source, f"{file} has no {name}"


def test_the_api_page_names_what_exists():
    page = (ROOT / "book/api.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\.\. auto\w+:: ([\w.]+)\n(?:   :members: ([\w, ]+)\n)?", page, re.MULTILINE)
    assert len(entries) > 20
    for path, members in entries:
        module, _, name = path.rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        for member in filter(None, members.split(", ")):
            assert hasattr(thing, member), f"{path} has no {member}"


def test_no_letter_touches_a_name_in_backticks():
    """`name`s is a warning to docutils, and an error in the build of the book."""
    pieces = re.compile(r"(?<![`\w])`[\w.]+`[a-zA-Z]")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sorted((ROOT / "reprolib").rglob("*.py"))
        for match in pieces.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
