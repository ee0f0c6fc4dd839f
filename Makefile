# Every target sets up what it needs: `make demo` or `make test` may be the first thing you type.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
HOME_DIR := $(or $(LETTERMILL_HOME),$(CURDIR)/.lettermill)
export DAGSTER_HOME ?= $(HOME_DIR)/dagster
WORKERS ?= 2
# Screenshots are tested in a real browser; without one those tests are left out, and said to be.
BROWSER := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
# Faults are put in by strace, and sent through a real Postfix: likewise.
SERVICES := $(and $(shell command -v strace),$(shell PATH="$$PATH:/usr/sbin" command -v postfix))
WITHOUT := $(if $(BROWSER),, and not browser)$(if $(SERVICES),, and not services)

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-fast real-data check format lock bench

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

install: $(READY)  ## Create .venv and install what requirements.lock pins

# The stamp holds as long as the lock and the project file do: a second call installs nothing.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "Lettermill needs Python 3.11 or 3.12; name one with: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY)  ## Run the whole road: export → segment → mail → events → report
	@$(BIN)/lettermill demo

dev: $(READY)  ## Start Dagster, edge, stream and sink; Ctrl-C stops them together
	@$(BIN)/lettermill dev

test: $(READY)  ## Run every test
	@test -n "$(BROWSER)" || echo "Left out: the tests in a browser (no Chromium on the PATH)" >&2
	@test -n "$(SERVICES)" || echo "Left out: the faults that need strace and Postfix (not on the PATH)" >&2
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not real_data$(WITHOUT)"

test-fast: $(READY)  ## Run the tests that take seconds
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not real_data"

real-data: $(READY)  ## Run the whole real files: make real-data DATA=<folder>
	@test -n "$(DATA)" || { echo "Say where the files are: make real-data DATA=<folder>" >&2; exit 2; }
	@LETTERMILL_TEST_DATA=$(abspath $(DATA)) $(BIN)/python -m pytest -n $(WORKERS) -m real_data

check: $(READY)  ## Format, lint, types, layers, Dagster definitions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@mkdir -p $(DAGSTER_HOME)
	@$(BIN)/dg check defs

format: $(READY)  ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(READY)  ## Pin the newest versions that pyproject.toml allows
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --no-strip-extras --quiet --upgrade --output-file requirements.lock

bench: $(READY)  ## Run the benchmarks (needs PostgreSQL 15 beside the segments, postfix and strace beside the sends)
	@$(BIN)/python -m bench pipeline
	@$(BIN)/python -m bench hostile
	@$(BIN)/python -m bench render
	@$(BIN)/python -m bench segments
	@$(BIN)/python -m bench send
	@$(BIN)/python -m bench faults
