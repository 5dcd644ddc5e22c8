# Two commands matter: `make demo` shows what edgewise does, `make test` proves that it does it.
# Both set up everything they need in .venv on a machine with python3, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EDGEWISE := $(BIN)/edgewise
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
RUN_STAMP := $(VENV)/.run
DEV_STAMP := $(VENV)/.dev
BENCH_STAMP := $(VENV)/.bench
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test check unit format bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(RUN_STAMP) ## a real network, a slow link, two processes, and the link cut half-way
	@$(EDGEWISE) demo

test: check unit ## everything that must hold: check, then all tests

check: $(DEV_STAMP) ## style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

unit: $(DEV_STAMP) ## all tests
	@$(BIN)/python -m pytest

format: $(DEV_STAMP) ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(BENCH_STAMP) ## every benchmark; tables go to docs/benchmarks
	@missed=; for script in benchmarks/*.py; do echo "== $$script"; \
		$(BIN)/python $$script --md docs/benchmarks/$$(basename $$script .py).md \
		|| missed="$$missed $$script"; done; \
		test -z "$$missed" || { echo "goals not met in:$$missed"; exit 1; }

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "python3 is missing. Install it with: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "edgewise needs Python 3.11 or newer, found $$($(PYTHON) --version)."; \
		echo "Install one and name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python cannot make virtual environments here."; \
		echo "Add the missing part with: sudo apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(PIP) install --upgrade 'pip>=25.1' || { rm -rf $(VENV); exit 1; }

$(RUN_STAMP): $(BIN)/python pyproject.toml constraints.txt
	@$(PIP) install -c constraints.txt -e '.[all]'
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@$(PIP) install -c constraints.txt --group dev
	@touch $@

$(BENCH_STAMP): $(DEV_STAMP)
	@$(PIP) install -c constraints.txt --group bench
	@touch $@
