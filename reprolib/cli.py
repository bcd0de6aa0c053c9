"""The command line: run a study, and show its status and its results."""

import dataclasses
import io
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from typer.core import TyperCommand

import reprolib
from reprolib import paths, photo_commands, planning, studies
from reprolib import status as progress
from reprolib.errors import UserError
from reprolib.parameters import StudyParameters, check_parameters, declared_parameters, parse_value

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check your copy of a dataset.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(photo_commands.app)

INTERRUPTED = 130  # typer's exit status for Ctrl-C
USAGE_ERROR = typer.BadParameter.__base__  # typer exports no name for it
Study = Annotated[str, typer.Argument(help=f"One of {', '.join(studies.STUDIES)}.")]
AnyStudy = Annotated[str | None, typer.Argument(help="One study. Default: all.")]
Profile = Annotated[str, typer.Option(help="smoke, cpu or gpu.")]
Data = Annotated[str, typer.Option(help="synthetic, public or paper.")]
DataRoot = Annotated[str, typer.Option(help="The folder with the real data.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds; 0 = the profile's own.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Number of trials at the same time; 0 = automatic.")]
Tables = Annotated[str, typer.Option(help='Such as "1,4,figure 3". Default: all.')]
Rows = Annotated[str, typer.Option(help='Printed names of rows, separated by ";". Default: all.')]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"reprolib {reprolib.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """An open reproduction of five computer-vision papers on faces and lips."""


class WithParameters(TyperCommand):
    """A command with any number of `-p NAME VALUE`, collected in `context.obj`: typer has no lists of pairs."""

    def parse_args(self, context, words: list[str]) -> list[str]:
        context.obj, others, words = [], [], list(words)
        while words:
            if words[0] != "-p":
                others.append(words.pop(0))
                continue
            if len(words) < 3:
                raise UserError(f"Parameters are given as -p NAME VALUE, but {' '.join(words)!r} was found.")
            context.obj.append((words[1], words[2]))
            del words[:3]
        return super().parse_args(context, others)


@app.command(cls=WithParameters, short_help="Run the missing trials and print the study's tables.")
def run(
    context: typer.Context,
    study: Study,
    profile: Profile = "smoke",
    data: Data = "synthetic",
    data_root: DataRoot = "",
    seeds: Seeds = 0,
    device: Device = "auto",
    workers: Workers = 0,
    tables: Tables = "",
    rows: Rows = "",
    gpus: Annotated[int, typer.Option(min=0, help="Number of GPUs to spread the trials over (extra `cluster`).")] = 0,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices that train each network together.")] = 1,
) -> None:
    """Run the missing trials and print the study's tables, with published numbers beside ours.

    STUDY [-p NAME VALUE]… sets a parameter of the study, such as `sheng2021 -p seeds 3`.
    """
    from reprolib import cluster, together  # torch loads slowly, and listing what is done or missing needs none
    from reprolib.machine import resolve_workers
    from reprolib.runner import run as run_trials

    module = studies.load(study)
    options = dict(profile=profile, data=data, data_root=data_root, seeds=seeds, device=device, workers=workers)
    parameters = _parameters(module, context.obj, tables, **options)
    if gpus:
        if parameters.device == "cpu":
            raise UserError(f"--gpus {gpus} needs device 'cuda', but 'cpu' was given; leave one of the two out.")
        parameters = parameters.model_copy(update={"device": "cuda"})
    if devices > 1 and (gpus or parameters.workers > 1):
        raise UserError(
            f"--devices {devices} trains one network after the other on all devices, so that neither --gpus nor "
            "--workers can be given with it; leave one of them out."
        )
    store, place = studies.store_of(parameters), dataclasses.replace(studies.context_of(parameters), devices=devices)
    trials = studies.needed(module, parameters, _names(rows, ";"))
    reused = sum(store.get(trial) is not None for trial in trials)
    if gpus:
        # As many workers on each GPU as one GPU would get.
        ids = [gpu for gpu in cluster.gpus_here(gpus) for _ in range(resolve_workers(parameters.workers, "cuda"))]
        spread = cluster.over_gpus(cluster.configuration(accelerators=ids, folder=paths.CACHE / "parsl"))
    else:
        spread = nullcontext()
    with spread as executor:
        records = run_trials(trials, module.execute, store, place, workers=parameters.workers, executor=executor)
    if not together.leave():
        return
    failed = [record for record in records if record.failure]
    new = len(trials) - reused - len(failed)
    print(f"{len(trials)} trials: {reused} reused, {new} run, {len(failed)} failed.")
    for name, table in _drawn(module.tables(parameters, store), parameters.tables).items():
        print(f"\n{name.capitalize()}\n{_text(table)}")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(trials)} trials failed, the first with {failed[0].failure.rstrip('.')!r}; "
            f"see {store.root / 'failures' / study} and run again."
        )


@app.command(cls=WithParameters, short_help="Show what a run would do and how long it would take.")
def plan(
    context: typer.Context,
    study: Study,
    profile: Profile = "smoke",
    data: Data = "synthetic",
    data_root: DataRoot = "",
    seeds: Seeds = 0,
    device: Device = "auto",
    workers: Workers = 0,
    tables: Tables = "",
    rows: Rows = "",
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of each network here.")] = False,
) -> None:
    """Show what `run` would do: trials, steps, multiply-accumulates, memory, disk and time of each row.

    STUDY [-p NAME VALUE]… sets a parameter of the study, as for `run`.
    """
    module = studies.load(study)
    options = dict(profile=profile, data=data, data_root=data_root, seeds=seeds, device=device, workers=workers)
    parameters = _parameters(module, context.obj, tables, **options)
    found = planning.plan(module, parameters, _names(rows, ";"), measured=measure)
    print(pd.DataFrame(found.printed()).to_string(index=False))
    print("\n".join(["", *planning.sentences(parameters, found)]))


@app.command(short_help="Try learning rates on validation items; log them.")
def tune(
    study: Study,
    profile: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    data: Data = "synthetic",
    data_root: DataRoot = "",
    device: Device = "auto",
    workers: Annotated[int, typer.Option(help="Number of trainings at the same time; 0 = automatic.")] = 0,
    rows: Rows = "",
) -> None:
    """Try learning rates for the rows that the study tunes, on validation items; log them in tuning.csv."""
    from reprolib import tuning  # joblib loads slowly

    module = studies.load(study)
    parameters = module.Parameters(profile=profile, data=data, data_root=data_root, device=device, workers=workers)
    place = studies.context_of(parameters)
    tries = tuning.tune(module, parameters, place, workers=workers, rows=_names(rows, ";"))
    print(_text(pd.DataFrame([vars(one) for one in tries])))


@app.command(short_help="List the tables, figures and methods that are done.")
def status(as_json: AsJson = False) -> None:
    """List the tables, figures and methods that are done, with data source and profile."""
    found = progress.status()
    print(_json(found) if as_json else "\n".join(progress.as_lines(found)))


@app.command(short_help="List the numbers that can be checked exactly.")
def fidelity(study: AnyStudy = None, as_json: AsJson = False) -> None:
    """List the numbers that can be checked exactly: ours, the paper's, and whether they are equal."""
    rows = [dataclasses.asdict(fact) for name in _chosen(study) for fact in studies.load(name).fidelity()]
    print(_json(rows) if as_json else _text(pd.DataFrame(rows)))


@app.command(short_help="List the papers' claims with our effects and verdicts.")
def claims(study: AnyStudy = None, as_json: AsJson = False) -> None:
    """List the papers' claims with our effect, its 95 % interval and the verdict, per data source."""
    rows = [row for name in _chosen(study) for row in progress.claims(studies.load(name))]
    print(_json(rows) if as_json else _text(pd.DataFrame(rows)))


@data_app.command("check")
def data_check(study: Study, data_root: Annotated[str, typer.Option(help="The folder with the real data.")]) -> None:
    """Check that your copy of the dataset is complete and readable."""
    module, folder = studies.load(study), Path(data_root).expanduser()
    if not folder.is_dir():
        raise UserError(f"The data root {folder} is not a folder; give the folder that holds the dataset.")
    print("\n".join(module.check_data(folder)))


@app.command(cls=WithParameters, short_help="Execute one paper's notebook.")
def notebook(context: typer.Context, study: Study) -> None:
    """Execute one paper's notebook: STUDY [-p NAME VALUE]…, such as `masi2020 -p profile gpu -p seeds 5`."""
    from reprolib import notebooks  # papermill and Jupyter load slowly, and only two commands need them

    source = paths.NOTEBOOKS / f"{study}.py"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in paths.NOTEBOOKS.glob("*.py")))
        raise UserError(f"There is no notebook {study!r}; choose from {known or 'none'}.")
    declared = declared_parameters(source.read_text(encoding="utf-8"))
    given = _values(context.obj, declared)
    check_parameters(declared, given)
    print(notebooks.execute(study, given))


@app.command()
def book() -> None:
    """Build the HTML book from the executed notebooks."""
    from reprolib import notebooks  # as above

    print(notebooks.build_book())


def main(arguments: list[str] | None = None) -> None:
    """Entry point: an error that the user can mend is one sentence on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A redirected output in an old code page cannot hold β, nor can any hold a file name that is not UTF-8.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name="reprolib", standalone_mode=False) or 0
        sys.stdout.flush()
    except USAGE_ERROR as error:
        _stop(error.format_message(), 2)
    except UserError as error:
        _stop(str(error), 2)
    except OSError as error:
        if error.strerror is None:
            raise
        if error.filename is None:
            # Python would try to print the rest once more at exit, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = "The output" if error.filename is None else error.filename
        _stop(f"{what} cannot be used ({error.strerror}); check the path or choose another.", 2)
    except typer.Abort:
        code = INTERRUPTED
    if code == INTERRUPTED:
        _stop("Interrupted; finished trials are kept, the same command goes on from there.", code)
    sys.exit(code)


def _stop(sentence: str, code: int) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(code)


def _parameters(module: Any, pairs: list[tuple[str, str]], tables: str, **options: Any) -> StudyParameters:
    """The parameters set by the options and `-p NAME VALUE`; UserError for an unknown name or a wrong type."""
    options["tables"] = _names(tables, ",")
    return module.Parameters(**options | _values(pairs, dict(module.Parameters())))


def _names(text: str, separator: str) -> list[str]:
    return [name.strip() for name in text.split(separator) if name.strip()]


def _chosen(study: str | None) -> tuple[str, ...]:
    return studies.STUDIES if study is None else (study,)


def _values(pairs: list[tuple[str, str]], declared: dict[str, Any]) -> dict[str, Any]:
    """The values given by `-p NAME VALUE`, converted to the types of the declared ones."""
    return {name: parse_value(text, declared.get(name, "")) for name, text in pairs}


def _drawn(tables: dict[str, pd.DataFrame], chosen: list[str]) -> dict[str, pd.DataFrame]:
    """The tables among the chosen places; a chosen figure has none."""
    wanted = {name if " " in name else f"table {name}" for name in chosen}
    return {name: table for name, table in tables.items() if not chosen or name in wanted}


def _json(value: Any) -> str:
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, indent=1, ensure_ascii=not unicode, allow_nan=False)


def _text(table: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", 80, "display.float_format", "{:.8g}".format):
        return table.to_string()
