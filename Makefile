# Each target does its whole set-up: a first call prepares .venv, later calls reuse it. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
EXPERIMENT ?= pod-kill-under-burst
DRILL ?= gpu-shortage
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Tests that need no testbed and measure no load run on every core; the others have the machine for themselves.
ALONGSIDE := tests/unit tests/replay tests/plugin $(wildcard $(addprefix tests/contract/test_, announcements.py \
	cases_chaos.py chaos_driver.py chaos_port.py device_plugin.py drill_webhooks.py fast_http.py metrics_*.py platform_*.py))
# Property tests draw the same each time: what chance finds is for `make fuzz`, and stops no unrelated change.
SAME_DRAWS := --hypothesis-profile=ci
# Only files that can have property tests: collecting the others takes as long as running these.
FUZZED := $$(grep -rl hypothesis --include='test_*.py' tests/unit tests/replay)
FUZZ_S ?= 600
SEED ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help
help:  ## show this list
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: gameday
gameday: $(VENV)/.testbed system-packages  ## run EXPERIMENT on a local testbed that is started and taken down
	$(BIN)/gameday run $(EXPERIMENT) --target local --with-testbed $(ARGS)

.PHONY: drill-demo
drill-demo: $(VENV)/.testbed system-packages  ## hold a drill with scripted people on a local testbed (DRILL=gpu-shortage)
	$(BIN)/gameday drill $(DRILL) --target local --with-testbed --allow-changes --limit 6m \
		--script experiments/participants/$(DRILL).yaml $(ARGS)

.PHONY: drills
drills: $(VENV)/.dev test-packages  ## hold every drill with scripted people, and look at what it left
	$(BIN)/python -m testbed build core drill
	GAMEDAY_DRILLS="bad-rollout gpu-shortage network-policy scaling-failure" \
		$(BIN)/python -m pytest tests/e2e/test_drill_on_testbed.py $(ARGS)

.PHONY: gameday-kind
gameday-kind: $(VENV)/.testbed  ## run EXPERIMENT on a kind cluster that is made and deleted (ARGS: `gameday kind run -h`)
	$(BIN)/gameday kind run $(EXPERIMENT) $(ARGS)

.PHONY: test
test: $(VENV)/.dev test-packages  ## run all tests (ARGS are pytest's)
	$(BIN)/python -m testbed build core drill
ifeq ($(strip $(ARGS)),)
	status=0; \
	$(BIN)/python -m pytest -rs $(SAME_DRAWS) -n auto $(ALONGSIDE) || status=$$?; \
	$(BIN)/python -m pytest -rs $(SAME_DRAWS) $(addprefix --ignore=,$(ALONGSIDE)) || status=$$?; \
	exit $$status
else
	$(BIN)/python -m pytest $(SAME_DRAWS) $(ARGS)
endif

.PHONY: fuzz
fuzz: $(VENV)/.dev  ## property tests by new seeds for FUZZ_S seconds (600), or by one seed (SEED=7)
	status=0; \
	while true; do \
		seed=$(or $(SEED),$$RANDOM); \
		echo "seed $$seed (the same again: make fuzz SEED=$$seed)"; \
		$(BIN)/python -m pytest -q -n auto -m hypothesis --hypothesis-profile=fuzz --hypothesis-seed=$$seed \
			$(FUZZED) $(ARGS) || status=$$?; \
		[[ -z "$(SEED)" && $$SECONDS -lt $(FUZZ_S) ]] || break; \
	done; \
	exit $$status

.PHONY: check
check: $(VENV)/.dev  ## lint, types, import rules, experiments, runbooks, what every manifest must have
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/gameday validate
	$(BIN)/gameday runbook lint
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/unit/test_policy_manifests.py

.PHONY: testbed-up
testbed-up: $(VENV)/.testbed system-packages  ## start the local testbed (ARGS="--with keda")
	$(BIN)/gameday testbed up $(ARGS)

.PHONY: testbed-down
testbed-down: $(VENV)/.testbed  ## end the local testbed
	$(BIN)/gameday testbed down $(ARGS)

.PHONY: rehearse
rehearse: $(VENV)/.testbed  ## run every experiment against the in-memory twin
	$(BIN)/python -m pytest -m gameday --gameday-rehearse $(ARGS)

.PHONY: bench
bench: bench-run bench-judge bench-load bench-kill  ## print the measured numbers

.PHONY: bench-judge
bench-judge: $(VENV)/.dev  ## judge and report an hour at 1,200 requests/s, and a normal run
	$(BIN)/python -m tests.bench.bench_judge $(ARGS)

.PHONY: mutation
mutation: $(VENV)/.dev  ## mutate assertions and model, and count what the tests notice (hours; ARGS="assertions.temporal*")
	$(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

.PHONY: mutation-sample
mutation-sample: $(VENV)/.dev  ## the same from a random sample, with its 95 % interval (ARGS="--sample 300 --seed 1")
	$(BIN)/python -m tests.bench.mutation_sample $(ARGS)

.PHONY: bench-kill
bench-kill: $(VENV)/.dev test-packages  ## the kill matrix: 200 runs on light testbeds, 30 on the full one (hours)
	$(BIN)/python -m testbed build core
	$(BIN)/python -m tests.bench.bench_kill $(ARGS)
	$(BIN)/python -m tests.bench.bench_kill --full --runs 30 --lanes 1 $(ARGS)

.PHONY: bench-log
bench-log: $(VENV)/.dev  ## a request log of 10 million rows: bytes on disk, memory to write, seconds to read
	$(BIN)/python -m tests.bench.bench_request_log $(ARGS)

.PHONY: bench-load
bench-load: $(VENV)/.dev  ## our load engine beside stock Locust, wrk, k6, vegeta (half an hour; ARGS="--short" or --write)
	-$(BIN)/python -m testbed.system_packages wrk
	-nice -n 19 $(BIN)/python -m testbed build bench
	$(BIN)/python -m tests.bench.bench_load $(ARGS)

.PHONY: bench-run
bench-run: $(VENV)/.testbed system-packages  ## measure an idle testbed and a game day (ARGS=--cold: also from a fresh clone)
	$(BIN)/python -m testbed.measure
	$(BIN)/python -m tests.bench.bench_run $(ARGS)

.PHONY: lock
lock: $(VENV)/.lock  ## pin the requirements anew
	cd requirements && for set in runtime testbed dev go lock; do ../$(BIN)/uv pip compile --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q \
		-o $$set.txt $$set.in; done

.PHONY: system-packages
system-packages: $(VENV)/.python
	@$(BIN)/python -m testbed.system_packages redis-server prometheus

.PHONY: test-packages
test-packages: $(VENV)/.python
	@$(BIN)/python -m testbed.system_packages redis-server prometheus --for-tests chromium

# Stamps: a newer requirements file installs again, into the same environment.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Error: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.testbed: requirements/testbed.txt pyproject.toml | $(VENV)/.python
	@echo "installing the testbed's requirements (about 1 min elsewhere)"
	$(PIP) install -q --require-hashes -r requirements/testbed.txt
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.python
	@echo "installing the development requirements (about 2 min elsewhere)"
	$(PIP) install -q --require-hashes -r requirements/dev.txt
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.testbed

$(VENV)/.lock: requirements/lock.txt | $(VENV)/.python
	$(PIP) install -q --require-hashes -r requirements/lock.txt
	@touch $@
