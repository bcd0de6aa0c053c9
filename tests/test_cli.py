"""The commands, on a small study made for the purpose: what they print, and the one sentence when they cannot."""

import json
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Literal

import pandas as pd
import pytest
import shared_core
from pydantic import Field

from reprolib import cluster, notebooks, paths, report, studies
from reprolib import status as progress
from reprolib.cli import main
from reprolib.errors import UserError
from reprolib.parameters import StudyParameters
from reprolib.store import RunStore
from reprolib.trial import Outcome, Trial

SEEDS = {"smoke": 1, "cpu": 2, "gpu": 3}


def fake_study(*, fails: str | None = None) -> SimpleNamespace:
    """Two tables, a figure that shares their trials, a figure that needs none, an extra, a system nobody can train."""

    class Parameters(StudyParameters):
        sweep: list[float] = Field(default_factory=lambda: [1.0])
        sentences: Literal["grid", "lrs3"] = "lrs3"

    def trials(parameters):
        def of(*systems):
            return [
                Trial(
                    "fake",
                    system,
                    {"data": parameters.data, "profile": parameters.profile, "system": system},
                    seed,
                )
                for system in systems
                for seed in range(parameters.seeds or SEEDS[parameters.profile])
            ]

        return {
            "table 1": of("ours", "theirs"),
            "table 2": of("theirs"),
            "figure 1": of("ours"),
            "figure 2": [],
            "extra A": of("ours"),
        }

    def execute(trial, context):
        if trial.name == fails:
            raise UserError("The loss became nan in epoch 2; lower the learning rate.")
        return Outcome({"iou": 70.0 + trial.seed})

    def scores(parameters, store):
        places = trials(parameters)
        return {t.name: r.metrics["iou"] for ts in places.values() for t in ts if (r := store.get(t)) is not None}

    def tables(parameters, store):
        ours = pd.DataFrame({"published": {"ours": 83.9, "theirs": 82.0}, "here": scores(parameters, store)})
        return {"table 1": ours, "table 2": ours.loc[["theirs"]]}

    def check_data(data_root):
        if not (data_root / "fake").is_dir():
            raise UserError(f"The folder {data_root / 'fake'} is missing; unpack the dataset there.")
        return ["fake: 3 images"]

    return SimpleNamespace(
        ID="fake",
        Parameters=Parameters,
        SYSTEMS={"ours": None, "theirs": None, "elsewhere": "no public code"},
        trials=trials,
        execute=execute,
        tables=tables,
        rows=lambda parameters: [],
        fidelity=lambda: [report.fact("fake", "parameters", "1,234", 1234)],
        check_data=check_data,
    )


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    """The fake study as the only one, and an empty results folder."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    install(monkeypatch, fake_study())


def install(monkeypatch, study):
    def load(name):
        if name != "fake":
            raise UserError(f"There is no study {name!r}; choose from fake.")
        return study

    monkeypatch.setattr(studies, "STUDIES", ("fake",))
    monkeypatch.setattr(studies, "load", load)


@pytest.fixture
def call(capsys):
    """Run a command line; its exit status, what it printed, and its errors without device and progress bar."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*words])
        out, err = capsys.readouterr()
        shown = [line for line in err.replace("\r", "\n").split("\n") if line.strip()]
        lines = [line for line in shown if "trial/s]" not in line and not line.startswith("Device of ")]
        return stop.value.code, out, "\n".join(lines)

    return call


def run_profile(call, profile, *more):
    assert call("run", "fake", "--profile", profile, "--workers", "1", *more)[0] == 0


# --- run


def test_run_prints_the_tables_and_what_was_reused(call):
    code, out, err = call("run", "fake", "--profile", "cpu", "--workers", "1")
    assert (code, err) == (0, "")
    assert out.startswith("4 trials: 0 reused, 4 run, 0 failed.\n\nTable 1\n")
    assert "Table 2\n" in out
    assert "83.9" in out
    assert "71" in out
    code, out, err = call("run", "fake", "--profile", "cpu", "--workers", "1", "--seeds", "3")
    assert out.startswith("6 trials: 4 reused, 2 run, 0 failed.")


def test_run_sets_what_only_this_study_has(call, monkeypatch):
    study, seen = fake_study(), []
    monkeypatch.setattr(study, "trials", lambda parameters: seen.append(parameters) or {})
    install(monkeypatch, study)
    own = ("-p", "sweep", "[0, 0.5]", "-p", "sentences", "grid")
    for words in (("run", *own, "fake", "--seeds", "2"), ("run", "fake", "--seeds", "2", *own)):
        assert call(*words)[0] == 0
        assert (seen[-1].sweep, seen[-1].sentences, seen[-1].seeds) == ([0.0, 0.5], "grid", 2)


@pytest.mark.parametrize(
    ("tables", "count", "shown"),
    [("2", 1, ["Table 2"]), ("figure 1", 1, []), ("figure 2", 0, []), ("2, figure 1", 2, ["Table 2"])],
)
def test_run_makes_only_the_tables_that_were_asked_for(call, tables, count, shown):
    code, out, _ = call("run", "fake", "--workers", "1", "--tables", tables)
    assert code == 0
    assert out.startswith(f"{count} trials: 0 reused, {count} run")
    assert [line for line in out.splitlines() if line.startswith("Table")] == shown


def test_smoke_records_live_apart(call, tmp_path):
    run_profile(call, "smoke")
    assert not (tmp_path / "results" / "trials").exists()
    assert len(RunStore(tmp_path / "results" / "smoke").records("fake")) == 2


def test_a_failed_trial_is_told_in_one_sentence_and_the_others_are_kept(call, monkeypatch, tmp_path):
    install(monkeypatch, fake_study(fails="theirs"))
    code, out, err = call("run", "fake", "--profile", "cpu", "--workers", "1")
    assert code == 2
    assert out.startswith("4 trials: 0 reused, 2 run, 2 failed.")
    *shown, last = err.splitlines()
    assert shown[0] == "Trial 'theirs' (seed 0) failed: The loss became nan in epoch 2; lower the learning rate."
    assert last.startswith("2 of 4 trials failed, the first with 'The loss became nan")
    install(monkeypatch, fake_study())
    assert "4 trials: 2 reused, 2 run, 0 failed." in call("run", "fake", "--profile", "cpu", "--workers", "1")[1]


def test_run_on_real_data_needs_them_only_for_what_is_missing(call, tmp_path):
    words = ("run", "fake", "--data", "public", "--workers", "1")
    told = call(*words)[2]
    assert told.startswith("Data 'public' need the folder that holds them")
    assert "--data-root" in told
    assert "nowhere is not a folder" in call(*words, "--data-root", str(tmp_path / "nowhere"))[2]
    assert call(*words, "--data-root", str(tmp_path))[0] == 0
    assert "2 trials: 2 reused" in call(*words)[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("run unknown", "There is no study 'unknown'; choose from fake."),
        ("run fake --profile gpux", "Unknown value of parameter 'profile': 'gpux'; did you mean 'gpu'?"),
        ("run fake --profle gpu", "No such option: --profle (Possible options: --profile)"),
        ("run fake --seeds many", "Invalid value for '--seeds': "),
        ("run fake --workers -2", "Parameter 'workers' should be greater than or equal to 0, but -2 was given."),
        ("run fake --tables 7", "Unknown table '7'; choose from table 1, table 2, figure 1, figure 2, extra A."),
        ("run fake -p sentencs grid", "Unknown parameter 'sentencs'; did you mean 'sentences'?"),
        ("run fake -p sentences grit", "Unknown value of parameter 'sentences': 'grit'; did you mean 'grid'?"),
        ("run fake -p sweep many", "Parameter 'sweep' should be a valid list, but 'many' was given."),
        ("run fake -p sweep", "Parameters are given as -p NAME VALUE, but '-p sweep' was found."),
        ("status -p sweep 1", "No such option: -p"),
        ("run fake --gpus -1", "Invalid value for '--gpus': "),
        ("run fake --gpus 2 --device cpu", "--gpus 2 needs device 'cuda', but 'cpu' was given;"),
        ("ruin fake", "No such command 'ruin'"),
        ("data check fake --data-root nowhere", "The data root nowhere is not a folder;"),
        ("data check fake", "Missing option '--data-root'"),
        ("notebook unknown", "There is no notebook 'unknown'; choose from fake."),
        ("notebook fake -p profile", "Parameters are given as -p NAME VALUE, but '-p profile' was found."),
        ("notebook fake -p profil gpu", "Unknown parameter 'profil'; did you mean 'profile'?"),
        ("notebook fake -p seeds many", "Parameter 'seeds' should be int, but 'many' (str) was given."),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr(call, words, sentence, monkeypatch, tmp_path):
    give_notebook(monkeypatch, tmp_path)
    code, out, err = call(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(sentence)
    assert len(err.splitlines()) == 1


def test_a_missing_gpu_is_told_before_anything_runs(call, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, err = call("run", "fake", "--device", "cuda")
    assert (code, out) == (2, "")
    assert err.startswith("Device 'cuda' was asked for, but no GPU was found")


def test_more_gpus_than_there_are_is_told_before_anything_runs(call, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    code, out, err = call("run", "fake", "--gpus", "8")
    assert (code, out) == (2, "")
    assert err.startswith("8 GPUs were asked for, but PyTorch finds 4 on this machine; ask for as many")


@pytest.mark.parametrize(("visible", "names"), [(None, ["0", "0", "1", "1"]), ("3,5,7", ["3", "3", "5", "5"])])
def test_several_gpus_are_named_to_the_workers_and_trials_ask_for_cuda(call, monkeypatch, visible, names):
    """A worker that finds no GPU then fails its trial instead of training on the CPU."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    seen = []
    monkeypatch.setattr(cluster, "configuration", lambda *, accelerators, folder: seen.append(accelerators))
    monkeypatch.setattr(cluster, "over_gpus", lambda config: nullcontext("executor"))

    def noted(trials, execute, store, context, *, workers, executor):
        seen.append((context.device, executor))
        return []

    monkeypatch.setattr("reprolib.runner.run", noted)
    assert call("run", "fake", "--gpus", "2", "--workers", "2")[0] == 0
    assert seen == [names, ("cuda", "executor")]


def test_the_gpu_profile_on_the_cpu_is_warned_of(call, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = call("run", "fake", "--profile", "gpu", "--workers", "1")
    assert code == 0
    assert err.startswith("Warning: profile 'gpu' runs on the CPU")
    assert len(err.splitlines()) == 1
    # nothing is left to run: nothing to warn of; and the CPU's own profile is at home there
    assert call("run", "fake", "--profile", "gpu", "--workers", "1")[2] == ""
    assert call("run", "fake", "--profile", "cpu", "--workers", "1")[2] == ""


def test_an_unwritable_results_folder_is_told_before_anything_runs(call, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "file" / "results")
    code, out, err = call("run", "fake", "--workers", "1")
    assert (code, out) == (2, "")
    assert err.startswith(f"Results could not be written to {tmp_path / 'file'}")


def test_an_interrupt_is_told_without_a_traceback(call, monkeypatch):
    study = fake_study()

    def interrupted(trial, context):
        raise KeyboardInterrupt

    study.execute = interrupted
    install(monkeypatch, study)
    code, _, err = call("run", "fake", "--workers", "1")
    assert (code, err) == (130, "Interrupted; finished trials are kept, the same command goes on from there.")


# --- status, claims and fidelity


@pytest.fixture
def core(tmp_path, monkeypatch):
    """A study on the shared core with records of both rows of its claim."""
    monkeypatch.undo()
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    study = shared_core.make(tmp_path, monkeypatch)
    for row in (shared_core.NOTHING, shared_core.BASE, shared_core.OURS):
        shared_core.save(RunStore(paths.RESULTS), study, row)
    return study


def test_status_is_printed_as_json_and_in_words(call, core):
    code, out, err = call("status", "--json")
    assert (code, err) == (0, "") and json.loads(out) == progress.status()
    lines = call("status")[1].splitlines()
    assert "  table 2: synthetic (cpu, 5 seeds)" in lines
    assert "  system Extra: not done" in lines
    assert "  system Theirs: not trained (quoted: no code)" in lines
    assert lines[-1] == "tables: 2 of 2, figures: 2 of 2, systems: 3 of 6"


def test_claims_are_printed_as_json(call, core):
    rows = json.loads(call("claims", core.ID, "--json")[1])
    assert rows == progress.claims(core)
    assert [row["data"] for row in rows] == ["paper", "public", "synthetic"]
    assert call("claims")[0] == 0


def test_fidelity_lists_ours_beside_published(call):
    (row,) = json.loads(call("fidelity", "--json")[1])
    assert row == {
        "study": "fake",
        "quantity": "parameters",
        "published": "1,234",
        "ours": 1234,
        "equal": True,
        "source": "paper",
    }
    assert "1,234" in call("fidelity", "fake")[1]


# --- data, notebook, book


def test_data_check_says_what_was_found_or_what_is_missing(call, tmp_path):
    code, _, err = call("data", "check", "fake", "--data-root", str(tmp_path))
    assert (code, err) == (2, f"The folder {tmp_path / 'fake'} is missing; unpack the dataset there.")
    (tmp_path / "fake").mkdir()
    assert call("data", "check", "fake", "--data-root", str(tmp_path)) == (0, "fake: 3 images\n", "")


def give_notebook(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    source = '# %% tags=["parameters"]\nprofile: str = "smoke"\nseeds: int = 0\ntables: list = []\n'
    (tmp_path / "notebooks" / "fake.py").write_text(source)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")


def test_a_notebook_is_executed_with_typed_parameters(call, monkeypatch, tmp_path):
    give_notebook(monkeypatch, tmp_path)
    seen = []
    monkeypatch.setattr(notebooks, "execute", lambda study, given: seen.append((study, given)) or "page.ipynb")
    words = ("notebook", "fake", "-p", "profile", "gpu", "-p", "seeds", "3", "-p", "tables", '["1"]')
    assert call(*words) == (0, "page.ipynb\n", "")
    assert seen == [("fake", {"profile": "gpu", "seeds": 3, "tables": ["1"]})]


def test_the_book_command_prints_where_the_book_is(call, monkeypatch):
    monkeypatch.setattr(notebooks, "build_book", lambda: "index.html")
    assert call("book") == (0, "index.html\n", "")


def test_help_names_every_command(call):
    out = call("--help")[1]
    for command in ("run", "status", "fidelity", "claims", "data", "notebook", "book"):
        assert f"  {command} " in out
    assert "..." not in out.partition("Commands:")[2]  # no summary is cut short


def test_the_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "reprolib", "run", "masi2021"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "There is no study 'masi2021'; did you mean 'masi2020'?\n"
