# Everything a fresh machine with Python 3.10 or newer needs: each target sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
# Processes that run tests; each takes up to 2 GB.
PROCESSES ?= 2

.PHONY: demo test test-slow coverage lint docs setup clean

# What no command of ours imports is not worth compiling.
UNUSED := /(tests|torch/(_inductor|testing)|sympy/physics|sqlalchemy|networkx|mypyc?|setuptools|fontTools|pygments/lexers)/

setup: .venv/installed

.venv/installed: pyproject.toml hatch_build.py $(wildcard clusterseg/compiled/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $(PYTHON) is older than 3.10; run: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: Python's venv is missing; on Debian and Ubuntu run: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip # that of Python 3.11 takes twice as long
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	@$(BIN)/python -m compileall -q -j $(PROCESSES) -x '$(UNUSED)' .venv/lib >/dev/null || true # as pip does on one processor
	@touch $@

# The scans of conf/experiment/demo.yaml.
DEMO := data.recipe.seed=2 data.recipe.scans=16 data.recipe.beams=32 data.recipe.azimuths=500 data.recipe.sequences=[0,1,2,3,4,5,8] data.sequences.val=[8]

demo: setup
	$(BIN)/python train.py experiment=demo hydra.run.dir=outputs/demo overwrite=true
	$(BIN)/python evaluate.py compare=[streets,outputs/demo/checkpoints/best.ckpt] data=streets $(DEMO) hydra.run.dir=outputs/demo/evaluation
	@echo
	@echo "The run:        outputs/demo (config.yaml, metrics.csv, checkpoints, clusters.png)"
	@echo "Before, after:  outputs/demo/evaluation/report.html; more in a/report.html, b/report.html"
	@echo "Next:           $(BIN)/python train.py --help"
	@echo "                $(BIN)/python train.py model=spvnas_cluster data.root=DIR   (DIR: SemanticKITTI)"

# By file, for fixtures of a module are built once; the slowest files start first, see tests/conftest.py.
test: setup
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow -n $(PROCESSES) --dist loadfile

# Slower than the tests alone, most on Python 3.11 and older, and so no part of the gate.
coverage: setup
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-report term

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage*
