# Every target first installs what it needs; only make, python3 and git must be there.
SHELL := /bin/bash
PY := .venv/bin/python
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB ?= demo
# Empty: as many targets as the lab has, 2 in a new one.
HOSTS ?=
# Of `make test`. Lab tests mostly wait for hosts: on two cores, three workers need less than half the time of one.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test check lab-up lab-down lab-list lab-shell setup format bench programs faults fifty docs clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.venv/.ready: requirements.lock pyproject.toml bootstrap.sh
	@./bootstrap.sh

setup: .venv/.ready ## make the virtual environment, every package pinned by hash

demo: setup ## start the lab and run the emergency path for real: make demo HOSTS=10
	@$(PY) -m lab demo --name $(LAB) $(if $(HOSTS),--targets $(HOSTS))

test: setup ## every check of CI: format, lint, types, unit tests, and the lab
	@$(MAKE) --no-print-directory -j2 check-static lab-setup
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=15 tests

check: setup ## format, lint, types, import contracts, unit tests: under a minute
	@$(MAKE) --no-print-directory -j2 --output-sync=target check-static check-unit

.PHONY: check-static check-unit lab-setup
check-static:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

lab-setup:
	@$(PY) -m lab setup

check-unit:
	@# Fewer generated examples than in CI (tests/conftest.py).
	@$(BIN)/pytest -q -n auto --hypothesis-profile=quick tests/unit

lab-up: setup ## start the lab's hosts: make lab-up HOSTS=10 LAB=name
	@$(PY) -m lab up --name $(LAB) $(if $(HOSTS),--targets $(HOSTS))

lab-down: setup ## end the lab: no process, mount, namespace or cgroup stays
	@$(PY) -m lab down --name $(LAB)

lab-list: setup ## list the labs, and whether their hosts are up
	@$(PY) -m lab list

lab-shell: setup ## open a shell on a lab host: make lab-shell HOST=t1
	@[ -n "$(HOST)" ] || { echo "which host? make lab-shell HOST=t1 (make lab-list shows them all)" >&2; exit 2; }
	@$(PY) -m lab shell --name $(LAB) $(HOST)

format: setup ## rewrite the code in the project's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup ## measure the product beside its peers, and rollouts that fail
	@$(PY) -m bench
	@$(PY) -m bench.rollouts

programs: setup ## build, compare and run programs of other projects; writes docs/programs.md (20 minutes)
	@$(PY) -m bench.programs

faults: setup ## inject every fault at every moment of a rollout, and check the invariants (about 15 minutes)
	@$(PY) -m tests.faults --docs

fifty: setup ## roll out over fifty targets, wave by wave, and back
	@GOFALLBACK_TEST_TARGETS=50 $(BIN)/pytest -q -s tests/lab/test_fifty_hosts.py

docs: setup ## write the generated references
	@$(PY) -m gofallback.cli.reference

clean: ## remove the virtual environment; labs and downloads stay
	rm -rf .venv
