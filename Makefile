# SPDX-License-Identifier: Apache-2.0
# make run    set up .venv, then simulate the hardened network and check every result
# make test   set up .venv with the developers' tools, then run the tests
# make test-slow   run those slow tests that every change must pass, too
# make bench-cmvm   compare the adder-graph optimizer with others; ARGS="--help" tells what it takes
# make lint   check the Python and the RTL, hand-written and generated
# make clean  delete what was built; the environment stays

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := run
.PHONY: run test test-slow bench-cmvm lint lint-python lint-rtl clean setup setup-dev

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := "$(BIN)/python" -m pip install --disable-pip-version-check --constraint constraints.txt

# Tools come from PATH, or from the environment's wheels.
export EDALIZE_LAUNCHER := "$(abspath $(BIN))/python" -m hsflow.launch
DESIGNS := hashiflex
LIBRARY := $(filter-out hsflow $(DESIGNS),$(patsubst cores/%/,%,$(dir $(wildcard cores/*/*.core))))

run: setup
	"$(BIN)/fusesoc" run --target=sim hashiflex

test: setup-dev
# A worker for each processor; a file's tests stay together, for they share what they built.
	"$(BIN)/python" -m pytest --numprocesses auto --dist loadfile --ignore tests/docs
# The README is followed by itself, as its reader would.
	"$(BIN)/python" -m pytest tests/docs

# What takes minutes and guards what users are promised: the optimizer's ratios, and equal bytes from equal input.
test-slow: setup-dev
	"$(BIN)/python" -m pytest -m slow --numprocesses auto tests/bench/test_cmvm_bench.py tests/targets/test_hashiflex.py

bench-cmvm: setup
	"$(BIN)/python" -m benchmarks.cmvm $(ARGS)

lint: lint-python lint-rtl

lint-python: setup-dev
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/mypy" cores/hsflow/generator.py
	cd targets && MYPYPATH=..:../plugins:. "$(abspath $(BIN))/mypy" --config-file ../pyproject.toml \
	  --namespace-packages --explicit-package-bases edalize/flows/*.py edalize/tools/*.py edalize/build_runners/*.py

lint-rtl: setup
	for core in $(LIBRARY:%=hsflow:rtl:%) $(DESIGNS); do "$(BIN)/fusesoc" run --target=lint "$$core"; done

clean:
	rm -rf build .hsflow cores/*/.hsflow

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	$(PIP) --editable .
	touch "$@"

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable ".[dev]"
	touch "$@"
