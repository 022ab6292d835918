# make setup   a virtual environment with everything, from the lock; TORCH_BUILD=cpu or cuda chooses torch's build
# make demo    the whole flow on the embedded data, through Dagster; prints the result
# make demo-all the same for detection, classification and grounding, one experiment of each
# make check   for every day, three to three and a half minutes on two cores: style, types and the quick tests
# make test    all tests, in three runs of pytest at once; with PYTEST_ARGS="-k muon" one ordinary run of pytest
# make lint    style and types (make types: types alone)
# make ui      Dagster with the reports on http://127.0.0.1:3000 and MLflow on http://127.0.0.1:5000
# make services  the same as a deployment has it: PostgreSQL for both, servers started again when they end
# make docs    the documentation site, into build/site; without network once its packages are installed
# make lock    resolve requirements.lock and requirements-docs.lock again from pyproject.toml
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH ?= 2.13.0
TORCH_BUILD ?=
UV := 0.13.9
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
CELL ?= lvis-mini-1shot-s0
PYTEST_ARGS ?=

# Nothing is sent anywhere by the tools we use.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1
export DAGSTER_DISABLE_TELEMETRY := yes
export GX_ANALYTICS_ENABLED := false

.PHONY: help setup again demo demo-all check quick test lint types ui services docs lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# uv's progress bars on a terminal; elsewhere a line for each large download, without the list of packages at the end.
TOLD = if [ -t 2 ]; then $(1); else $(1) 2>&1 | grep --line-buffered -v '^ [-+~] '; fi

setup: .venv/.installed

# Holds the TORCH_BUILD it was made with; another one makes it again.
MADE_WITH := $(shell cat .venv/.installed 2>/dev/null)
.venv/.installed: requirements.lock pyproject.toml deploy/install_torch.py $(if $(filter-out $(MADE_WITH),$(TORCH_BUILD)),again)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) deploy/install_torch.py
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing some $$(grep -c '==' requirements.lock) locked packages into .venv; this takes some minutes"
	@$(PIP) install --quiet uv==$(UV)
	@$(call TOLD,$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -r requirements.lock)
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python deploy/install_torch.py $(TORCH)
	@echo "trying what was installed: each library is loaded once"
	@$(BIN)/python deploy/check_install.py
	@echo "$(TORCH_BUILD)" > $@
	@echo "ready: $(BIN)/vrft"

demo: setup
	@$(BIN)/python -m pipelines.materialize $(CELL)

demo-all: setup
	@for cell in lvis-mini-1shot-s0 icons-mini-1shot-s0 phrases-mini-4shot-s0; do \
	  $(BIN)/python -m pipelines.materialize $$cell || exit; done

check: setup
	@$(MAKE) --no-print-directory -j2 lint quick

quick: setup
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -p no:hydra_pytest -m "not slow and not e2e and not slurm and not kubernetes" $(PYTEST_ARGS)

test: setup
	@$(BIN)/python $(if $(PYTEST_ARGS),-m pytest $(PYTEST_ARGS),tests/run_all.py)

lint: setup types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

ui: setup
	@$(BIN)/python -m pipelines.ui

services: setup
	@$(BIN)/python -m pipelines.services

# An environment of its own: the site needs none of the project's packages, and the project none of the site's.
.venv-docs/.installed: requirements-docs.lock
	@echo "installing mkdocs into .venv-docs"
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip --disable-pip-version-check --no-input install --quiet --no-deps --require-hashes \
	  -r requirements-docs.lock
	@touch $@

docs: .venv-docs/.installed
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

lock: setup
	@$(BIN)/python deploy/lock.py $(BIN)/uv

clean:
	rm -rf .venv .venv-docs build *.egg-info
