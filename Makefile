# What people type. Needs make and Python 3.10 or newer, no compiler.
#   make run [ARGS=--once]   make test   make lint   make bench   make doc   make clean
#   make bench ARGS=growth SCALE=10000000
#   make fuzz [INPUTS=1000000] [ARGS='http-door --seed 7']
#   make torture [ARGS='kills --kills 1000 --seed 7']
#   make simulate [SEEDS=20000] [FIRST=1] [ARGS='--replay 7']
# Another interpreter: make PYTHON=python3.12 test

PYTHON = python3
VENV = .venv
ARGS =
SCALE =
INPUTS = 100000
SEEDS = 20000
FIRST = 1

# Everything below names paths relative to this folder, which may have blanks in its name.
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find koboldfs twisted -name '*.py')

.PHONY: help run test fuzz simulate torture lint bench doc coverage clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.installed
	@$(BIN)/koboldfs demo $(ARGS)

test: $(VENV)/.installed $(VENV)/.test-extra
	@$(BIN)/python -W error -m test.run $(ARGS)

fuzz: $(VENV)/.installed $(VENV)/.test-extra
	@$(BIN)/python -W error -m test.fuzz --inputs $(INPUTS) $(ARGS)

torture: $(VENV)/.installed $(VENV)/.test-extra
	@$(BIN)/python -W error -m test.torture $(ARGS)

simulate: $(VENV)/.installed $(VENV)/.test-extra
	@$(BIN)/python -W error -m test.simulation --seeds $(SEEDS) --first $(FIRST) $(ARGS)

lint: $(VENV)/.installed $(VENV)/.lint-extra
	$(BIN)/ruff check koboldfs twisted test bench
	$(BIN)/ruff format --check koboldfs twisted test bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed $(VENV)/.test-extra
	@$(BIN)/python -m bench $(if $(SCALE),--scale $(SCALE)) $(ARGS)

coverage: $(VENV)/.installed $(VENV)/.test-extra
	@rm -f .coverage .coverage.*
	@$(BIN)/python -W error -m test.run --coverage $(ARGS)
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report

doc: $(VENV)/.doc
	@$(BIN)/python -m doc.build html

clean:
	rm -rf $(VENV) build dist html *.egg-info _trial_temp* .coverage .coverage.* \
	    .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# --- the virtual environment; a stamp file says that a step was done

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or \
	    sys.exit("Python 3.10 or newer is needed: say make PYTHON=python3.12 ...")'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install 'setuptools>=77'
	@touch $@

# What we depend on changes seldom; it is asked for only when pyproject.toml changes.
$(VENV)/.dependencies: $(VENV)/.made pyproject.toml
	@echo "installing koboldfs and what it needs into $(VENV)"
	@rm -rf build koboldfs.egg-info
	@$(PIP) install --no-build-isolation .
	@rm -rf build koboldfs.egg-info
	@touch $@ $(VENV)/.installed

$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES) README
	@rm -rf build koboldfs.egg-info
	@$(PIP) install --no-build-isolation --no-deps --force-reinstall .
	@rm -rf build koboldfs.egg-info
	@touch $@

$(VENV)/.test-extra: $(VENV)/.dependencies
	@echo "installing what the tests need"
	@$(PIP) install --no-build-isolation '.[test]'
	@rm -rf build koboldfs.egg-info
	@touch $@

$(VENV)/.lint-extra: $(VENV)/.dependencies
	@echo "installing what the checks need"
	@$(PIP) install --no-build-isolation '.[lint]'
	@rm -rf build koboldfs.egg-info
	@touch $@

$(VENV)/.doc: $(VENV)/.made
	@$(PIP) install docutils
	@touch $@
