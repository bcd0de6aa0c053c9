"""`run --devices`: two processes train each network together, and leave what one process leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ddp_run.py")
# a row with two shared stages
ROW = ["wang2018", "--rows", "Cross-entropy loss", "--tables", "3", "--seeds", "1", "--device", "cpu"]


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), "run", *arguments],
        capture_output=True, text=True, timeout=300, cwd=SCRIPT.parent.parent,
    )  # fmt: skip


@pytest.mark.slow
def test_two_devices_leave_one_record_and_read_each_others_stages(tmp_path):
    made = []
    for _ in range(2):  # trains the stages; reads them
        done = run(tmp_path, *ROW, "--devices", "2")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("1 trials: 0 reused, 1 run, 0 failed.") == 1
        [record] = (tmp_path / "smoke" / "trials" / "wang2018").glob("*.json")
        made.append(json.loads(record.read_text()))
        record.unlink()
    assert made[0]["cost"]["devices"] == 2
    assert made[0]["metrics"] == made[1]["metrics"]
    assert len(list((tmp_path / "smoke" / "checkpoints" / "wang2018").glob("*.pt"))) == 2
    alone = run(tmp_path, *ROW)  # the stages of two devices are those of one
    assert alone.returncode == 0, alone.stderr
    [record] = (tmp_path / "smoke" / "trials" / "wang2018").glob("*.json")
    assert json.loads(record.read_text())["metrics"] == pytest.approx(made[0]["metrics"])


def test_devices_leave_no_room_for_workers(tmp_path):
    done = run(tmp_path, *ROW, "--devices", "2", "--workers", "2")
    assert done.returncode != 0
    assert done.stderr == (
        "--devices 2 trains one network after the other on all devices, so that neither --gpus nor --workers can be "
        "given with it; leave one of them out.\n"
    )
