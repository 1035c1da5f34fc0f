# Everything a fresh machine with Python 3.10 or newer needs: each target sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
DATA ?=

.PHONY: demo test lint setup clean

setup: .venv/installed

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $(PYTHON) is older than 3.10; run: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: Python's venv is missing; on Debian and Ubuntu run: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# On real scans: make demo DATA=/path/to/SemanticKITTI/sequences
demo: setup
	@test -n "$(DATA)" || { echo "error: say where SemanticKITTI lies: make demo DATA=DIR (DIR holds 00, 01, ... or a folder sequences)"; exit 1; }
	$(BIN)/python train.py experiment=demo data.root="$(DATA)" hydra.run.dir=outputs/demo
	$(BIN)/python evaluate.py ckpt=outputs/demo/checkpoints/best.ckpt hydra.run.dir=outputs/demo/evaluation

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
