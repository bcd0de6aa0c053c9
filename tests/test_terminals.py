"""Other people's terminals: an old code page, output that goes nowhere, a plotting window that is not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import reprolib
from reprolib.cli import main

PRINTS = """
import sys
from reprolib import cli, report
cli.studies.STUDIES = ("one",)
fact = report.Fact("one", "β − 1, Śniadecki", 1, 1, True, "paper")
cli.studies.load = lambda name: type("Study", (), {"fidelity": staticmethod(lambda: [fact])})
cli.main(sys.argv[1:])
"""


def reprolib_in(encoding: str, *arguments: str, stdout=subprocess.PIPE) -> subprocess.CompletedProcess:
    """`reprolib ARGUMENTS` with one fact to list, in a terminal of the given encoding."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", PRINTS, *arguments]
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "ascii"])
def test_every_encoding_gets_the_same_json(encoding):
    done = reprolib_in(encoding, "fidelity", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout.decode(encoding))[0]["quantity"] == "β − 1, Śniadecki"


@pytest.mark.slow
def test_a_table_keeps_what_a_code_page_lacks_as_an_escape():
    assert rb"\u03b2 \u2212 1" in reprolib_in("cp1252", "fidelity").stdout
    assert "β − 1" in reprolib_in("utf-8", "fidelity").stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_an_output_that_cannot_be_written_is_one_sentence():
    with open("/dev/full", "wb") as full:
        done = reprolib_in("utf-8", "fidelity", stdout=full)
    assert done.returncode == 2
    assert (
        done.stderr.decode()
        == "The output cannot be used (No space left on device); check the path or choose another.\n"
    )


@pytest.mark.slow
def test_a_reader_who_stops_early_sees_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    done = reprolib_in("utf-8", "fidelity", stdout=writing)
    os.close(writing)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_file_where_a_folder_should_be_is_named(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()

    def write():
        (tmp_path / "file" / "deeper").mkdir()

    monkeypatch.setattr("reprolib.notebooks.build_book", write)
    with pytest.raises(SystemExit) as stopped:
        main(["book"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'file' / 'deeper'} cannot be used (Not a directory)")


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"reprolib {reprolib.__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["TkAgg", "QtAgg", "module://a_backend_of_someone_else"])
def test_figures_for_files_need_no_window(backend, tmp_path):
    environment = os.environ | {"MPLBACKEND": backend}
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(display, None)
    code = "from reprolib import figures; import matplotlib.pyplot as plt; plt.subplots()[0].savefig('figure.png')"
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "figure.png").stat().st_size > 1000


WITHOUT = """
import sys
for name in ("resource", "fcntl", "termios"):  # what Windows lacks
    sys.modules[name] = None
from reprolib import machine, mouth_clips, own_masks, own_words, photo_commands, photos, runner, synth, video_files
from reprolib.cli import main
print(machine.peak_memory())
main(["fidelity", "masi2020"])
"""


@pytest.mark.slow
def test_the_tools_and_commands_need_nothing_that_only_unix_has():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
