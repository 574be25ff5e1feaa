# `make demo`, `make test` and `make lint` need Python 3.11 or newer and make; each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal
FAST := tests/test_contracts.py tests/test_errors.py tests/test_imports.py tests/recipe/test_document.py \
	tests/recipe/test_locked_hashes.py tests/recipe/test_precedence.py tests/results tests/report/test_verdict.py

.PHONY: demo test test-all fast native lint check-gpu docs pages results clean

demo: .venv/installed
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	RMEM_RUNS=$$folder/runs RMEM_RESULTS=$$folder/results $(BIN)/rmem train quickstart

# What takes longest (marker `slow`) is left to `make test-all`, which .ci/run passes.
test: .venv/installed
	$(PYTEST) -m 'not pages and not slow'

test-all: .venv/installed
	$(PYTEST) -m 'not pages'

# Under a minute: what a recipe, a result and a table are, without training.
fast: .venv/installed
	$(BIN)/python -m pytest -q -m 'not pages' --numprocesses auto --maxprocesses 4 $(FAST)

# What is compiled at first use, side by side beforehand: tests would wait for one operation after the other.
native: .venv/installed
	$(BIN)/python -c 'from rmem_cli.ops.native.build import FAMILIES; print(*FAMILIES, sep="\n")' | \
	xargs -P 4 -I FAMILY $(BIN)/python -c 'from rmem_cli.ops.native import build; build.status("FAMILY")'

lint: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: .venv/installed
	$(BIN)/mkdocs build --strict --quiet

# What each page of the documentation tells to do, done.
pages: .venv/installed
	$(PYTEST) -m pages

# What only a GPU can show: equal numbers, no hidden wait, speed and memory of each form. It has run on none yet.
check-gpu: .venv/installed
	$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available() and "there is no NVIDIA GPU here")'
	$(BIN)/python -m pytest -m cuda tests/test_cuda.py
	$(BIN)/rmem bench --device cuda

# The tables beside the results, and the README's scoreboard; a commit of rows is made after it, and a test fails when they are stale.
results: .venv/installed
	RMEM_RESULTS=results $(BIN)/rmem report --format markdown --out results
	RMEM_RESULTS=results $(BIN)/rmem report --grid --format markdown --out results
	$(BIN)/python tests/helpers/readme.py

.venv/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,docs]'
	touch $@

clean:
	rm -rf .venv build dist site
