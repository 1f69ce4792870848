# Everything a fresh machine needs is Python 3.11 to 3.13 and make.
#   make demo   install into .venv and run the main job: phi^4 in d = 1 from networks, against the exact answer
#   make test   install into .venv and run the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/phi4_1d

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint types notebooks benchmark clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: test-slow, lint, types, notebooks, benchmark, clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "nnft_mcmc needs Python 3.11 to 3.13 and $(PYTHON) is `$(PYTHON) --version 2>&1`; set PYTHON=python3.12, say" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "installing nnft_mcmc into $(VENV) (about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-for-tests: pyproject.toml | $(BIN)/python
	@echo "installing nnft_mcmc and what its tests need into $(VENV) (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	@rm -rf $(RUN)
	$(BIN)/nnft sample configs/phi4_1d.toml --out $(RUN)
	$(BIN)/nnft measure $(RUN)
	$(BIN)/nnft diagnose $(RUN)
	$(BIN)/nnft compare $(RUN) exact

test: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-for-tests
	$(BIN)/mypy

# Every notebook is a script with cells; it runs as a notebook would, and raises where it misses its exact answer.
notebooks: $(VENV)/installed-for-tests
	@for notebook in notebooks/*.py; do \
	  echo "running $$notebook"; \
	  $(BIN)/jupytext --quiet --to ipynb --execute --output $(VENV)/`basename $$notebook .py`.ipynb $$notebook || exit 1; \
	done

benchmark: $(VENV)/installed
	@for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
