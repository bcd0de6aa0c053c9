"""What `test_together.py` runs as a command: `python -m reprolib` with its results in the folder of the first argument.

A script, because a run on several devices starts its own command again.
"""

import sys
from pathlib import Path

from reprolib import cli, paths

if __name__ == "__main__":  # the tests' collection of docstring examples imports it, too
    paths.RESULTS = Path(sys.argv[1])
    cli.main(sys.argv[2:])
