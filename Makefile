# Every target installs what it needs first; nothing but make, python3 and git has to be there.
SHELL := /bin/bash
PY := .venv/bin/python
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB ?= demo
# Empty: as many targets as the lab has, 2 in a new one.
HOSTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check lab-up lab-down lab-list lab-shell setup format bench programs faults fifty docs clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.venv/.ready: requirements.lock pyproject.toml bootstrap.sh
	@./bootstrap.sh

setup: .venv/.ready ## the virtual environment, with everything pinned by hash

demo: setup ## raise the lab and run the emergency path for real: make demo HOSTS=10
	@$(PY) -m lab demo --name $(LAB) $(if $(HOSTS),--targets $(HOSTS))

test: setup ## everything CI runs: format, lint, types, unit tests, and the lab
	@$(MAKE) --no-print-directory check-static
	@$(PY) -m lab setup
	@# Most of a lab test is waiting for hosts: three workers do on two cores what one does in more than twice the time.
	@$(BIN)/pytest -n 3 --dist loadfile --durations=15 tests

check: setup check-static ## format, lint, types, unit tests: under a minute
	@$(BIN)/pytest -q -n auto -m "not lab" tests

.PHONY: check-static
check-static:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lab-up: setup ## the lab's hosts: make lab-up HOSTS=10 LAB=name
	@$(PY) -m lab up --name $(LAB) $(if $(HOSTS),--targets $(HOSTS))

lab-down: setup ## end the lab: no process, mount, namespace or cgroup stays
	@$(PY) -m lab down --name $(LAB)

lab-list: setup ## labs, their hosts, and whether these are up
	@$(PY) -m lab list

lab-shell: setup ## a shell on a lab host: make lab-shell HOST=t1
	@[ -n "$(HOST)" ] || { echo "which host? make lab-shell HOST=t1 (make lab-list shows them all)" >&2; exit 2; }
	@$(PY) -m lab shell --name $(LAB) $(HOST)

format: setup ## rewrite the code in the project's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup ## side-by-side measurements against the peers, and of rollouts that go wrong
	@$(PY) -m bench
	@$(PY) -m bench.rollouts

programs: setup ## programs nobody wrote for this project, built, compared and run; writes docs/programs.md (20 minutes)
	@$(PY) -m bench.programs

faults: setup ## every fault at every moment of a rollout, and what must hold after each (about 15 minutes)
	@$(PY) -m tests.faults --docs

fifty: setup ## a rollout over fifty targets, wave by wave, and back
	@GOFALLBACK_TEST_TARGETS=50 $(BIN)/pytest -q -s tests/lab/test_fifty_hosts.py

docs: setup ## generated references
	@$(PY) -m gofallback.cli.reference

clean: ## remove the virtual environment; labs and downloads stay
	rm -rf .venv
