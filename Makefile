# make app, make test, make fuzz, make lint, make types, make bench,
# make bench-quality, make bench-learning, make clean. Set-up happens by itself, once.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
SECONDS ?= 600
# The first interpreter on the path that is new enough and can make environments; PYTHON=... names another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help app test fuzz lint types bench bench-quality bench-learning clean chromium

help:
	@echo "make app    open the dashboard (PORT=$(PORT))"
	@echo "make test   lint, types and the whole test suite"
	@echo "make fuzz   damaged files for every reader of data and models, SECONDS=$(SECONDS) each"
	@echo "make lint   ruff; make types: mypy; make bench: measured speed ratios; make clean: remove what was made"
	@echo "make bench-quality   accuracy, ECE and bytes beside other libraries: benchmarks/QUALITY.md"
	@echo "make bench-learning   what learning brings, five seeds: over an hour, goes on where it was"

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "temper: Python 3.11 or newer with its venv module is needed and none was found; install it (on Debian and Ubuntu: apt-get install python3-venv), or name one: make app PYTHON=/path/to/python3" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "temper: Python 3.11 or newer is needed; $(PYTHON) is not." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "temper: $(PYTHON) lacks its venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

# A stamp for each set of requirements: installed once, again when the file changes.
$(VENV)/.app: requirements.txt | $(BIN)/python
	@echo "temper: installing what the dashboard needs (once, some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "temper: installing what tests, lint and types need (once, some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.app

$(VENV)/.bench: requirements.txt requirements-dev.txt requirements-bench.txt | $(BIN)/python
	@echo "temper: installing what the comparison needs (once, some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@ $(VENV)/.dev $(VENV)/.app

app: $(VENV)/.app
	@$(BIN)/python -m ui.start --port $(PORT)

chromium:
	@bash .ci/chromium

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy

test: $(VENV)/.dev chromium lint types
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.dev
	@TEMPER_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -q tests/test_fuzz_data.py tests/test_fuzz_models.py

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

bench-quality: $(VENV)/.bench
	@$(BIN)/python -m benchmarks.quality

bench-learning: $(VENV)/.app
	@$(BIN)/python -m benchmarks.learning

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
