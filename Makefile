# Sandmount: every target does its own set-up. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := operator tests examples
PLOT := $(VENV)/plot

.PHONY: help demo test test-deployed check unit bench bench-scale image chart api-docs cluster-up cluster-down cluster-status format requirements clean dashboard-picture

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Start a real cluster and run the five host volume scenarios
	@$(BIN)/python examples/host-volume-mount/run.py

test: check ## Run all checks and all tests, on a cluster that is started and removed for it
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not alone" $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -m alone $(PYTEST_ARGS) || [ $$? = 5 ]  # 5: none was selected

test-deployed: $(INSTALLED) ## Run the e2e and attack suites with the operator as a Pod, from the production overlay or, with HOW=chart, the chart
	@rm -rf build/rights; export SANDMOUNT_TEST_OPERATOR=$(or $(HOW),overlay); \
	$(BIN)/python -m pytest tests/e2e tests/attack -n auto --dist loadfile -m "not alone" $(PYTEST_ARGS) && \
	{ $(BIN)/python -m pytest tests/e2e tests/attack -m alone $(PYTEST_ARGS) || [ $$? = 5 ]; } && \
	$(BIN)/python -m tests.rights

check: $(INSTALLED) ## Lint, format, types and the import contracts
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports --no-logo

unit: $(INSTALLED) ## Run only the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit

bench: $(INSTALLED) ## Measure the operator beside bare Pods; beside another build with BASELINE=revision, beside agent-sandbox with PEER=1
	@$(BIN)/python -m tests.bench run --baseline '$(BASELINE)' --out '$(or $(OUT),build/bench.json)' $(BENCH_ARGS)

bench-scale: $(INSTALLED) $(PLOT)/.installed ## Measure how cost and latency grow to 10,000 Sandboxes, and plot it
	@$(BIN)/python -m tests.bench scale --out '$(or $(OUT),build/bench-scale.json)' $(BENCH_ARGS)
	@$(PLOT)/bin/python tests/bench/plot.py '$(or $(OUT),build/bench-scale.json)' '$(or $(PICTURE),docs/performance-scale.png)'

dashboard-picture: $(INSTALLED) $(PLOT)/.installed ## Draw what the dashboard shows in a run of minutes, from the data of a real Prometheus
	@$(BIN)/python -m tests.dashboard '$(or $(OUT),build/dashboard.json)'
	@$(PLOT)/bin/python tests/dashboard/plot.py '$(or $(OUT),build/dashboard.json)' '$(or $(PICTURE),docs/dashboard.png)'

image: ## Build the operator's image, sandmount:0.1.0: with Docker, or as build/sandmount-image.tar where there is none
	@if docker version >/dev/null 2>&1; then docker build --tag sandmount:0.1.0 .; \
	else $(MAKE) --no-print-directory $(INSTALLED) && $(BIN)/python -m tests.cluster.operator_image build; fi

chart: ## Put the objects of manifests/ into the Helm chart again, after a change
	@rm -f charts/sandmount/files/*; for part in base policy webhook webhook-cert-manager monitoring grafana; do for file in manifests/$$part/*.{yaml,json}; do \
	  [ -e "$$file" ] || continue; \
	  case $$file in */kustomization.yaml|*/namespace.yaml|manifests/webhook/deployment.yaml) ;; \
	  *) cp $$file charts/sandmount/files/$$part-$$(basename $$file);; esac; done; done

api-docs: $(INSTALLED) ## Write docs/api.md from the CRD again, after a change of it
	@$(BIN)/python -m tests.api.reference

cluster-up: $(INSTALLED) ## Start the cluster that demo and tests use, or mend it
	@$(BIN)/python -m tests.cluster up

cluster-down: $(INSTALLED) ## Stop the cluster and remove what it left
	@$(BIN)/python -m tests.cluster down

cluster-status: $(INSTALLED) ## Say which parts of the cluster run
	@$(BIN)/python -m tests.cluster status

format: $(INSTALLED) ## Format the code
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

requirements: $(INSTALLED) ## Pin the dependencies of pyproject.toml anew, with hashes
	@set -e -o pipefail; $(PYTHON) -m venv $(VENV)/uv; $(VENV)/uv/bin/python -m pip install --quiet uv; \
	pin="$(VENV)/uv/bin/uv pip compile pyproject.toml --upgrade --generate-hashes --universal --python-version 3.11 --quiet \
	  --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make requirements'"; \
	eval "$$pin -o requirements.txt"; eval "$$pin --extra dev -o requirements-dev.txt"; \
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  eval "$${pin/pyproject.toml/-} -o requirements-build.txt"

clean: ## Remove what the targets made inside the repository
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# On Debian and Ubuntu python3 comes without the venv module.
$(INSTALLED): requirements-dev.txt
	@[ ! -L $(VENV) ] || { echo "$(VENV) is a link; the packages of another folder would be removed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Sandmount needs Python 3.11 or newer; set PYTHON=... to one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv; } || \
	  { echo "Python's venv module is missing; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Installing the Python packages into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@echo "$(CURDIR)/operator" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sandmount.pth"
	@touch $@

# Not among the development dependencies: only the plots of bench-scale and of dashboard-picture need it.
$(PLOT)/.installed: tests/bench/requirements.txt | $(INSTALLED)
	@echo "Installing matplotlib into $(PLOT) ..."
	@$(PYTHON) -m venv --clear $(PLOT)
	@$(PLOT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
