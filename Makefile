# Two commands: `make quickstart` (the whole pipeline) and `make test`. `make test-oldest` runs the tests with the oldest
# versions that pyproject.toml allows; both venvs may lie elsewhere (VENV=…, OLDEST=…).
PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install quickstart test test-oldest lint architecture clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	touch $@

quickstart: install
	$(BIN)/mmreason run configs/quickstart.yaml

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15

test-oldest:
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python .ci/oldest_versions.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check -c $(OLDEST)/oldest.txt -e ".[dev]"
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not e2e"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

architecture: install
	$(BIN)/python docs/draw_architecture.py

clean:
	rm -rf runs
