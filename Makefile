# The one entry point, for people and for CI. Needs Python 3.11 to 3.13 and make; `make help` lists the targets.

PYTHON ?= python3
PORT ?= 3000
TESTS ?=
MONITOR ?= flight_delays
SECONDS ?= 60

BIN := .venv/bin
STAMP := .venv/.installed
DEMO := $(CURDIR)/.monitoring/demo
# A process started in the background by a script ignores INT and TERM, and Dagster hands that on to its children.
SIGNALS := $(shell env --default-signal=INT,TERM true 2>/dev/null && echo env --default-signal=INT,TERM)

# The other files of benchmarks/ make the rows, or measure something else than time.
SPEED := $(filter-out benchmarks/workload.py benchmarks/calibration.py benchmarks/capacity.py benchmarks/capacity_page.py benchmarks/closed_loop.py benchmarks/experiments.py benchmarks/load.py benchmarks/many_monitors.py benchmarks/rule_replay.py benchmarks/year.py, $(sort $(wildcard benchmarks/*.py)))

# Nothing here reports home.
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install demo demo-live ui test test-faults fuzz audit sbom lint check fix docs bench bench-calibration lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv and install the package with everything it is developed with

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "found Python %d.%d, need 3.11 to 3.13: make PYTHON=python3.11 ..." % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP) ## train, serve, watch and retrain a model on real flights (MONITOR=bike_demand for another)
	$(BIN)/monitoring-pipeline demo --monitor $(MONITOR)

demo-live: $(STAMP) ## a scoring service, PostgreSQL, Dagster's daemon and real requests, from drift to retraining
	$(SIGNALS) $(BIN)/python -m examples.flight_delays.live

ui: $(STAMP) ## open what the demo did in the Dagster UI at localhost:3000 (PORT=... for another port)
	@test -d $(DEMO)/dagster || { echo "make ui: there is no $(DEMO)/dagster yet. Run make demo first."; exit 1; }
	@echo "Dagster UI: http://127.0.0.1:$(PORT) (Ctrl-C ends it)"
	@MONITORING_HOME=$(DEMO) MONITORING_MONITORS=$(DEMO)/monitors MONITORING_CLOCK=$(DEMO)/clock \
		DAGSTER_HOME=$(DEMO)/dagster VIRTUAL_ENV=$(CURDIR)/.venv exec $(SIGNALS) $(BIN)/dg dev -h 127.0.0.1 -p $(PORT)

test: $(STAMP) ## run the tests (ALL=1 with the slow stories, TESTS=path some); without its server binary one skips
	# Two workers have two cores: a second thread of scikit-learn's would only wait, by spinning.
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(if $(ALL)$(TESTS),,-m "not slow") $(TESTS)

test-faults: $(STAMP) ## break everything that can break, and print what held (FAULT_SEEDS=12 for each database)
	@OMP_NUM_THREADS=1 $(BIN)/python -m monitoring_pipeline_tests.fault_table

fuzz: $(STAMP) ## fuzz what reads the input of others, with atheris (SECONDS=60)
	$(BIN)/python fuzz/targets.py $(SECONDS)

audit: $(STAMP) ## compare the locked versions with known vulnerabilities; needs the network
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

sbom: $(STAMP) ## write what is installed, with licences, to dist/sbom.json
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.json $(BIN)/python

lint: $(STAMP) ## everything that reads the code without running it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/monitoring-pipeline check-config monitors/*.yaml

check: lint test ## lint, then test; CI runs the slow tests, too

fix: $(STAMP) ## mend and format what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write the generated pages again, and the site into site/
	$(BIN)/python docs/build_statistics.py
	$(BIN)/python docs/build_reference.py
	$(BIN)/python docs/build_comparison.py
	$(BIN)/python docs/build_licences.py
	$(BIN)/python deploy/grafana/build_dashboards.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## measure every claim about speed; one table per claim
	@for file in $(SPEED); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-calibration: $(STAMP) ## measure how often every rule alarms without a change, and how often with one
	$(BIN)/python benchmarks/calibration.py

lock: ## resolve the dependencies again into constraints.txt; needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --no-header --no-annotate -o constraints.txt
	uv pip compile pyproject.toml --extra server --extra serving -c constraints.txt --python-platform linux --python-version 3.11 --generate-hashes --no-header --no-annotate -o deploy/requirements.txt

clean: ## remove everything made here, the environment included
	rm -rf .venv .monitoring .dagster_home .tmp_dagster_home_* mlruns mlartifacts mlflow.db dist site
	rm -rf .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
