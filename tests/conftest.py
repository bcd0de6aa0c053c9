"""Every test: the threads of each test process, and which tests are slow."""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    # Test processes share the cores: their threads wait asleep. Set before torch is imported. Two threads and not one:
    # with one, trainings of the smallest networks abort on some AMD processors (PyTorch 2.15, "corrupted list").
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest

# Files in which most tests train networks, start processes or make whole pages. Single tests elsewhere carry the mark.
SLOW = ("studies/*", "test_cluster.py", "test_kill.py", "test_lips.py", "test_page.py", "test_parse.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and any(item.path.relative_to(here).match(name) for name in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _same_random_weights():
    """Start every test from the same random numbers, whichever tests its process ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
