"""Every test: one thread for each test process, and which tests are slow."""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes that each take every core slow each other down; set before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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
