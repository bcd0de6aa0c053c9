"""Every folder of the project, in one place; nothing depends on the working directory."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BOOK = ROOT / "book"
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = BOOK / "executed"
CACHE = ROOT / ".cache"
