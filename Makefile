# Needs python3 (3.11 or newer) and make. Everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
PROFILE ?= push
NAME ?=
# .ci/run sets REQUIRE_SERVICES=1: then the slow comparison with upstream runs too.
REQUIRE_SERVICES ?=
MARKERS := $(if $(filter 1,$(REQUIRE_SERVICES)),,-m "not upstream")
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint contracts types migrations openapi cases prove bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.dev ## install what running, testing and checking need, into .venv only

run: .venv/.runtime ## start everything: database, web, worker, scheduler (Ctrl-C stops it)
	@exec $(BIN)/python manage.py up

test: .venv/.dev ## run the tests (PYTEST_ARGS="-k name" narrows)
	@$(BIN)/python -m pytest -n auto $(MARKERS) $(PYTEST_ARGS)

check: lint contracts types migrations openapi test prove ## everything that must hold before a push

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

contracts: .venv/.dev
	$(BIN)/lint-imports

types: .venv/.dev
	$(BIN)/mypy

migrations: .venv/.dev
	$(BIN)/python manage.py makemigrations --check --dry-run

openapi: .venv/.dev
	@mkdir -p .data
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file .data/openapi.yaml
	diff -u openapi.yaml .data/openapi.yaml

cases: .venv/.dev ## run the examples that others published (CASES_DIR=folder of JSON)
	@$(BIN)/python -m pytest -n0 tests/cases

prove: .venv/.dev ## try to break it (NAME=billing, PROFILE=push|long)
	@$(BIN)/python -m tests.prove $(NAME) --profile $(PROFILE)

bench: .venv/.dev ## measure it (NAME=...), into bench/results.json
	@$(BIN)/python -m tests.bench $(NAME)

lock: ## compile the lock files anew (needs uv)
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		pyproject.toml -o requirements.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove .venv and caches; the data stays
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.runtime: requirements.lock tools/install.py
	@$(PYTHON) tools/install.py requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock tools/install.py
	@$(PYTHON) tools/install.py requirements-dev.lock
	@touch .venv/.runtime $@
