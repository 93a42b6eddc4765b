# Two commands on a fresh machine with Python 3.11, venv and make: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# The stamp carries the lock's checksum, so an unchanged lock costs nothing and a changed one reinstalls.
LOCK := $(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
# One process more than the smallest machine we test on has cores: some tests wait for real time. Tests of a file go to
# whoever is idle; what a file shares is cheap to start twice, an idle core at the end is not.
PYTEST_SPREAD ?= -n 3 --dist worksteal
STAMP := $(VENV)/.installed-$(LOCK)

.PHONY: install demo test check bench docs site screenshots captures lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* && touch $@

demo: install
	$(BIN)/routerconsole demo

test: install
	$(BIN)/python -m pytest $(PYTEST_SPREAD) $(PYTEST_ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PYTEST_SPREAD) --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

# What the code states about itself; `make test` fails when it is stale.
docs: install
	$(BIN)/python -m tests.docs.reference --write
	$(BIN)/python -m tests.docs.faults_report --write

# The documents as plain HTML in build/site; no network.
site: install
	$(BIN)/python -m tests.docs.site build/site

# The README's picture, drawn from a scripted fleet without network.
screenshots: install
	$(BIN)/python -m tests.docs.screenshots

# The console's own checks gone through on the demo fleet, on a terminal; the screens are kept in docs/console.
captures: install
	$(BIN)/python -m tests.docs.captures

bench: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash bench/run.sh

# Needs pip-tools on PATH (not part of the lock). No index is named: pip reads it from the machine's own configuration.
lock:
	pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --extra dev --all-build-deps \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate \
	  --output-file requirements.lock pyproject.toml
	@{ printf '%s\n' '# Every package that runtime, tests and the build need, exact and hashed for all platforms. Made by `make lock`; never edited.' \
	  "# No index is named here: pip reads it from the machine's own configuration."; grep -v '^#' requirements.lock; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
