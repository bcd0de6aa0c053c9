# Two commands suffice: `make study` and `make test`. Both make the environment in .venv first.
# While you work: `make check`, under two minutes.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
READY := $(VENV)/.ready
# Whole files go to one of two processes: fixtures such as the smoke book are made once.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile
# Which tests `make test` runs, such as TESTS="slow or book"; all when left out.
TESTS :=

.PHONY: study check test book lock clean

study: $(READY)  ## every notebook in the smoke profile, and the book of that run
	$(PY) -m reprolib.notebooks

check: $(READY)  ## style, types and the fast tests
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PYTEST) -m "not slow and not book"

test: $(READY)  ## all tests: the smoke notebooks and a strict build of the book are among them
	$(PYTEST) -m "$(TESTS)"

book: $(READY)  ## the published book, from the committed pages: _build/html/index.html
	$(PY) -m reprolib book

lock: $(READY)  ## exact versions of everything, after a change in pyproject.toml
	$(UV) pip compile pyproject.toml --extra landmarks --extra cluster --extra onnx --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -o requirements.lock

clean:  ## what can be made again; trial records and published pages stay
	rm -rf _build results/smoke .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet uv
	$(UV) pip sync --quiet --python $(PY) requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@
