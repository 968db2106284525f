# Everything runs in .venv, which is made on first use and again when the pins change.
TORCH ?= torch==2.13.0
PYTHON ?= python3
# Newer ones need Python 3.11.5; Debian 12 has 3.11.2, and pip resolves for the Python that it runs on.
HELD := soupsieve<3

VENV := .venv/bin/python
PIP := $(VENV) -m pip --quiet --disable-pip-version-check
READY := .venv/ready
# Tests run in several processes; a file's tests stay in one.
SHARED_OUT := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Two OpenMP threads beside any other work slow torch down 25 to 50 times.
export OMP_NUM_THREADS = 1

# A relative data folder is the caller's, whatever folder a notebook or a test works in.
ifneq ($(strip $(NADAM_REF_DATA)),)
override NADAM_REF_DATA := $(if $(filter /% ~%,$(firstword $(NADAM_REF_DATA))),,$(CURDIR)/)$(NADAM_REF_DATA)
export NADAM_REF_DATA
endif

# The user's own packages and settings have no place in .venv.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS

.PHONY: help book zip test test-all lint audit pins release clean
.DELETE_ON_ERROR:

help: ## list the targets (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

book: $(READY) ## execute what changed and render the book into _build/html
	@$(VENV) -m nadam_ref book

zip: $(READY) ## render the book and pack it into one file, _build/nadam-ref-VERSION.zip
	@$(VENV) -m nadam_ref book --zip

test: $(READY) ## run the tests, some minutes
	@$(VENV) -m pytest $(SHARED_OUT)

test-all: $(READY) ## run all tests, the slow ones included, and print what they cover
	@$(VENV) -m coverage erase
	@$(VENV) -m coverage run -m pytest -m "" $(SHARED_OUT); failed=$$?; \
	 $(VENV) -m coverage combine --quiet && $(VENV) -m coverage report && exit $$failed

lint: $(READY) ## check style (ruff) and types (mypy)
	@$(VENV) -m ruff check
	@$(VENV) -m ruff format --check
	@$(VENV) -m mypy

audit: ## ask pip-audit whether a pinned version has a known vulnerability; needs a network
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip --quiet install pip-audit
	@.venv/audit/bin/python .ci/audit.py '$(TORCH)'

# torch first: whichever build TORCH names is there when the rest is resolved, so nothing replaces it.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 14) or sys.exit("the pins need Python 3.11 to 3.14, this is %d.%d: make PYTHON=python3.11" % v)'
	@echo "Installing into .venv: $(TORCH), then requirements.txt"
	@$(PYTHON) -m venv .venv
	@$(PIP) install $(TORCH)
	@$(PIP) install -r requirements.txt
	@$(PIP) install --no-deps -e .
	@touch $@

pins: ## resolve pyproject.toml into requirements.txt
	@$(PYTHON) -m venv --clear .venv/pins
	@.venv/pins/bin/python -m pip --quiet install $(TORCH)
	@.venv/pins/bin/python -m pip --quiet install -e '.[dev]' '$(HELD)'
	@{ grep '^#' requirements.txt; .venv/pins/bin/python -m pip freeze --all --exclude-editable | \
	   grep -vE '^(torch|triton|nvidia-.*|cuda-.*|pip|setuptools)[ =]'; } > .venv/requirements.txt
	@mv .venv/requirements.txt requirements.txt

release: $(READY) ## make release VERSION=1.2.3: check, test, build and tag; with DRY_RUN=1 without the tag
	@$(VENV) .ci/release.py check "$(VERSION)"
	@$(MAKE) --no-print-directory lint test zip
	@$(VENV) .ci/release.py build "$(VERSION)"
	@$(if $(DRY_RUN),echo "all is ready: without DRY_RUN this makes the tag",$(VENV) .ci/release.py tag "$(VERSION)")

clean: ## remove the environment, the book and all caches
	@rm -rf .venv _build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis nadam_ref.egg-info
	@find nadam_ref tests -name __pycache__ -type d -prune -exec rm -rf {} +
