# make setup   a virtual environment with everything, from the lock
# make demo    the whole flow on the embedded data, through Dagster; prints the result
# make test    the tests
# make ui      Dagster with the reports on http://127.0.0.1:3000 and MLflow on http://127.0.0.1:5000
# make lock    resolve requirements.lock again from pyproject.toml
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH ?= 2.13.0
UV := 0.13.8
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

.PHONY: help setup demo test lint ui lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing torch $(TORCH) (CPU build)"
	@$(BIN)/python deploy/install_torch.py $(TORCH)
	@echo "installing $$(grep -c '==' requirements.lock) locked packages"
	@$(PIP) install --quiet uv==$(UV)
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "ready: $(BIN)/vrft"

demo: setup
	@$(BIN)/python -m pipelines.materialize $(CELL)

test: setup
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

ui: setup
	@$(BIN)/python -m pipelines.ui

lock: setup
	@$(BIN)/python deploy/lock.py $(BIN)/uv

clean:
	rm -rf .venv build *.egg-info
