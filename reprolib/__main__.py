"""`python -m reprolib`."""

from reprolib.cli import main

main()
