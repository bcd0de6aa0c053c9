"""What counts as done, and the shapes of `status`, `claims` and `fidelity --json`, of studies on the shared core."""

import json
import subprocess
import sys

import pytest
import shared_core as fake
from shared_core import BASE, EXTRA, NOTHING, OURS, save

from reprolib import paths, status
from reprolib.store import RunStore


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return fake.make(tmp_path, monkeypatch), RunStore(tmp_path / "results")


def done(study, store, rows=(NOTHING, BASE, OURS), **how):
    for row in rows:
        save(store, study, row, **how)


def test_nothing_is_done_in_an_empty_store(world):
    assert status.status() == {
        "studies": {
            fake.ID: {
                "tables": {"1": {}, "2": {}},
                "figures": {"1": {}, "2": {}},
                "systems": {
                    "Base": {}, "Extra": {}, "Nothing": {}, "Nothing elsewhere": {}, "Ours": {},
                    "Theirs": {"reason": "quoted: no code"},
                },
            }
        },
        "totals": {"tables": [0, 2], "figures": [0, 2], "systems": [0, 6]},
    }  # fmt: skip


def test_a_table_is_done_when_all_its_rows_are(world):
    study, store = world
    done(study, store, (BASE, OURS))
    entry = {"profile": "cpu", "seeds": 5, "device": "a CPU"}
    found = status.status()
    assert found["studies"][fake.ID]["tables"] == {"1": {}, "2": {"synthetic": entry}}
    done(study, store, (NOTHING,))
    found = status.status()
    assert found["studies"][fake.ID]["tables"] == {"1": {"synthetic": entry}, "2": {"synthetic": entry}}
    figures = {"1": {"synthetic": entry}, "2": {"synthetic": {"profile": "cpu", "seeds": 0, "device": "none needed"}}}
    assert found["studies"][fake.ID]["figures"] == figures
    assert found["studies"][fake.ID]["systems"]["Ours"] == {"synthetic": entry}
    assert found["studies"][fake.ID]["systems"]["Nothing"] == {"synthetic": entry | {"seeds": 1}}
    assert found["totals"] == {"tables": [2, 2], "figures": [2, 2], "systems": [3, 6]}


@pytest.mark.parametrize(("seeds", "tables"), [(2, 0), (3, 2), (5, 2)])
def test_three_of_five_seeds_are_enough(world, seeds, tables):
    study, store = world
    done(study, store, seeds=seeds)
    found = status.status()
    assert found["totals"]["tables"] == [tables, 2]
    if tables:
        assert found["studies"][fake.ID]["tables"]["1"]["synthetic"]["seeds"] == seeds


def test_the_best_profile_that_did_all_rows_counts_and_smoke_never_does(world):
    study, store = world
    done(study, store, profile="smoke")
    assert status.status()["totals"]["tables"] == [0, 2]
    assert status.status(profiles=("smoke",))["totals"]["tables"] == [2, 2]
    done(study, store)
    done(study, store, (OURS,), profile="gpu", device="a GPU")
    tables = status.status()["studies"][fake.ID]["tables"]
    assert (tables["1"]["synthetic"]["profile"], tables["2"]["synthetic"]["profile"]) == ("cpu", "gpu")
    assert tables["2"]["synthetic"] == {"profile": "gpu", "seeds": 3, "device": "a GPU"}


def test_data_sources_are_apart_and_extras_are_no_tables(world):
    study, store = world
    done(study, store, (OURS, EXTRA), data="public", device="one CPU")
    done(study, store, (OURS,), data="paper", device="another CPU")
    found = status.status()["studies"][fake.ID]
    assert {place: list(entry) for place, entry in found["tables"].items()} == {"1": [], "2": ["public", "paper"]}
    assert list(found["systems"]["Extra"]) == ["public"]
    lines = list(status.as_lines(status.status()))
    assert "  table 1: not done" in lines
    assert "  table 2: public (cpu, 5 seeds), paper (cpu, 5 seeds)" in lines
    assert "  system Theirs: not trained (quoted: no code)" in lines


def test_claims_are_listed_for_each_data_source_from_its_best_profile(world):
    study, store = world
    done(study, store, (BASE, OURS), data="public")
    done(study, store, (BASE, OURS), data="public", profile="gpu")
    found = status.claims(study)
    assert [(claim["data"], claim["profile"], claim["seeds"]) for claim in found] == [
        ("paper", "cpu", 0), ("public", "gpu", 3), ("synthetic", "cpu", 0),
    ]  # fmt: skip
    assert all(tuple(claim) == status.CLAIM_KEYS for claim in found)


def test_the_five_papers_have_31_tables_and_40_figures(tmp_path):
    totals = status.status(RunStore(tmp_path))["totals"]
    assert (totals["tables"], totals["figures"]) == ([0, 31], [0, 40])


def test_the_commands_print_what_others_parse(world, capsys):
    from reprolib.cli import main

    study, store = world
    done(study, store, (BASE, OURS))
    printed = {}
    for command in ("status", "claims", "fidelity"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--json"])
        out, err = capsys.readouterr()
        assert (stopped.value.code, err) == (0, "")
        printed[command] = json.loads(out)
    assert printed["status"] == status.status()
    assert printed["claims"] == status.claims(study)
    assert printed["fidelity"] == [
        {"study": fake.ID, "quantity": "layers", "published": "5", "ours": 5, "equal": True, "source": "paper"},
        {"study": fake.ID, "quantity": "GMAC", "published": "7.0", "ours": 8.0, "equal": False, "source": "release"},
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["status --json", "claims masi2020 --json", "plan masi2020 --profile cpu", "data check --help"],
)
def test_listing_loads_no_torch(command):
    code = "import sys; from reprolib.cli import app; app(sys.argv[1:], standalone_mode=False);"
    code += "print([name for name in ('torch', 'torchvision', 'lightning') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True, cwd=paths.ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"
