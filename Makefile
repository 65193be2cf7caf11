# Everything runs inside .venv, which is made on first use and again when pyproject.toml changes.
# Needed beforehand: Python 3.11 or later with venv and pip, make, and a C compiler should a
# dependency have no binary wheel for this machine.

PYTHON ?= python3
JOBS   ?= 2
# A release with a build for processors alone; TORCH=torch takes the newest, often with CUDA.
TORCH  ?= torch==2.13.0
MINUTES ?= 60
FILES  ?= 10000
BIN    := .venv/bin
WHEEL  := build/wheel/venv/bin

# One thread per worker: the workers already fill the cores, and idle threads spin.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# No plugins but these: one that happens to be installed may warn, and warnings are errors.
ONLY_OUR_PLUGINS := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -p xdist -p pytest_timeout
PYTEST     := $(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
SPHINX     := $(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -q

.DEFAULT_GOAL := help
.PHONY: help reproduce benchmark test test-torch test-all test-wheel test-minimal fuzz fuzz-files lint docs clean

help:  ## show this text
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

reproduce: .venv/installed  ## the tables and figures of the paper, into results/
	$(BIN)/fairprog reproduce --out results

benchmark: .venv/installed  ## times and ratios with their budgets, into results/benchmark.csv
	$(BIN)/python -m experiments.benchmark --out results --page results/benchmark.rst

test: .venv/installed-dev  ## doctests and tests, without the slow ones
	$(PYTEST)

test-torch: .venv/installed-torch  ## tests that need torch and transformers, slow ones too
	$(ONLY_OUR_PLUGINS) -n $(JOBS) --dist worksteal -m "" fairprog/torch tests/torch

test-all: .venv/installed-dev  ## doctests and tests, all of them, and the wheel's
	$(PYTEST) -m ""
	$(MAKE) test-wheel

test-wheel:  ## wheel and sdist are built and checked; the tests pass on the installed wheel
	rm -rf build/wheel && mkdir -p build/wheel/tree
	$(PYTHON) -m venv build/wheel/venv
	$(WHEEL)/python -m pip install --quiet build twine
	$(WHEEL)/python -m build --outdir build/wheel/dist .
	$(WHEEL)/python -m twine check --strict build/wheel/dist/*
	$(WHEEL)/python -m pip install --quiet "$$(echo build/wheel/dist/*.whl)[dev]"
	git archive HEAD | tar -x -C build/wheel/tree && rm -rf build/wheel/tree/fairprog
	cd build/wheel/tree && $(ONE_THREAD) MPLBACKEND=Agg ../venv/bin/python -m pytest -n $(JOBS) --dist worksteal --ignore tests/house tests

test-minimal: .venv-minimal/installed  ## tests with the lowest versions pyproject.toml allows
	$(ONE_THREAD) MPLBACKEND=Agg .venv-minimal/bin/python -m pytest -n $(JOBS) --dist worksteal -W ignore::DeprecationWarning

fuzz: .venv/installed-dev  ## random programs for MINUTES=60, every answer checked independently
	$(ONE_THREAD) MPLBACKEND=Agg PYTHONPATH=. $(BIN)/python -m tests.fuzz_programs --minutes $(MINUTES)

fuzz-files: .venv/installed-dev  ## FILES=10000 random changes of each kind of file
	$(ONE_THREAD) MPLBACKEND=Agg PYTHONPATH=. $(BIN)/python -m tests.fuzz_files $(FILES)

lint: .venv/installed-dev  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-dev  ## the documentation into docs/_build/html, its examples run
	$(SPHINX) -b html docs docs/_build/html
	$(SPHINX) -b doctest docs docs/_build/doctest

clean:  ## remove what the other targets made, .venv included; results/ stays
	rm -rf .venv .venv-minimal build dist docs/_build docs/_names.rst docs/generated docs/gallery
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------ environment

.venv/created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fairprog needs Python 3.11 or later; say make PYTHON=...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: pyproject.toml .venv/created
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.venv/installed-torch: pyproject.toml .venv/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[torch,transformers]' '$(TORCH)'
	@touch $@

# Lower bounds become exact; what only the tests need is taken as new as it comes.
.venv-minimal/installed: pyproject.toml
	$(PYTHON) -m venv .venv-minimal
	$(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*(d.replace(">=", "==") for d in p["dependencies"]), sep="\n")' > .venv-minimal/minimal.txt
	.venv-minimal/bin/python -m pip install --quiet --constraint .venv-minimal/minimal.txt --editable '.[dask,experiments]' hypothesis pyarrow pytest pytest-timeout pytest-xdist
	@touch $@
