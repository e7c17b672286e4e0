# `make demo` and `make test` set up everything that they need. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ORACLE := .oracle
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
WORKERS ?= 2

.PHONY: help setup oracle docs demo test test-slurm test-kubernetes test-browser test-fast lint bench soak lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --requirement requirements.lock
	$(PIP) --no-deps --editable .
	touch $@

setup: $(BIN)/.installed  ## Make .venv with the locked versions of everything

# The reference implementation, as a program of its own that tells the expected results; kept between runs.
$(ORACLE)/.installed: tests/conformance/oracle.lock
	test -x $(ORACLE)/bin/python || $(PYTHON) -m venv $(ORACLE)
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(ORACLE)/bin/python -m pip install --quiet --requirement $<
	touch $@

oracle: $(ORACLE)/.installed

demo: setup  ## Make a small dataset, downsample it, show the result
	$(BIN)/python docs/demo.py

test: setup oracle  ## All tests that need no root
	$(BIN)/python -m pytest -n $(WORKERS)

test-slurm: setup  ## Tests with a real Slurm, which is installed and started on this machine (Debian, Ubuntu; as root)
	$(BIN)/python -m pytest tests/slurm

test-kubernetes: setup  ## Tests with pods in the container image, and a stand-in for a cluster (Debian, Ubuntu; as root)
	$(BIN)/python -m pytest -n 4 tests/kubernetes

docs: setup  ## The documentation as a site, in build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test-browser: setup  ## Tests with pages in a browser: chromium, which is installed if it is missing (Debian; as root)
	$(BIN)/python -m pytest tests/browser

test-fast: setup  ## Unit tests only
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit

lint: setup  ## Formatting, types, layers, Snakemake's own linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$$PWD/$(BIN):$$PATH" snakemake --lint

bench: setup oracle  ## Time and memory beside the reference and the codecs alone, into benchmarks/RESULTS.md; an hour
	$(BIN)/python benchmarks/bench.py $(BENCH)

soak: setup  ## Kill a thousand runs, which takes a while
	$(BIN)/python tests/faults/soak.py --kills 1000

lock:  ## Take the newest versions that pyproject.toml allows
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[dev]'
	build/lock/bin/python -m pip freeze --exclude wkflow > requirements.lock

clean:  ## Remove everything that was made
	rm -rf $(VENV) $(ORACLE) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .snakemake
