# make demo        set up the environment and run the main jobs on synthetic data
# make test        set up the environment and run the checks
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-ray fast nightly portable installs lint format bench constraints clean

VENV := .venv
BIN := $(VENV)/bin
## uv if it is installed, else a local copy in .bootstrap
UV := $(shell command -v uv 2>/dev/null || echo .bootstrap/bin/uv)
PYTHON ?= python3
## Keep compiled modules: many tests start a process, and pytest rewrites hundreds of files.
export PYTHONDONTWRITEBYTECODE :=

help:
	@sed -n 's/^# //p' Makefile

.bootstrap/bin/uv:
	$(PYTHON) -m venv .bootstrap
	.bootstrap/bin/pip install --quiet uv

$(VENV)/.core: pyproject.toml constraints.txt $(filter .bootstrap/bin/uv,$(UV))
	test -x $(BIN)/python || $(UV) venv --quiet $(VENV)
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable .
	touch $@

## torch is required for training
$(VENV)/.observe: $(VENV)/.core
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable '.[observe]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable '.[models,hf,torchgeo,osm,stac,cloud,dist]' --group dev
	touch $@

demo: $(VENV)/.observe
	$(BIN)/foveate demo --out demo
	@echo "Open in a browser: demo/run/report.html (which tiles to keep), demo/focus/report.html (where to look),"
	@echo "demo/observer/report.html (gain of the selection), demo/observe/report.html (which tiles to acquire)."

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

# make test-slow   tests that take minutes: all options, all examples of properties, larger worlds
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "(slow or hypothesis) and not ray" \
		--hypothesis-profile thorough

# make test-ray    tests that start a local Ray cluster, one at a time
test-ray: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m ray --force-enable-socket

# make fast        tests of `make test` without real imagery and browsers
fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not realdata and not browser and not slow and not ray"

# make nightly     ten thousand histories of a run directory, a thousand with killed processes: hours
nightly: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -q --hypothesis-profile nightly tests/run/test_states.py

# make portable    numerical tests with six instruction sets of this processor
portable: $(VENV)/.dev
	$(BIN)/python tests/portable.py

# make installs    install the wheel in new environments: core, each extra, lowest declared versions
installs: $(VENV)/.dev
	$(BIN)/python tests/installs.py $(UV)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/ty check src

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# make bench       benchmarks against other libraries
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/kcenter.py
	$(BIN)/python benchmarks/balance.py
	$(BIN)/python benchmarks/builtin.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/large_pool.py
	$(BIN)/python benchmarks/drivers.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/tune_text.py
	$(BIN)/python benchmarks/focus_cost.py
	$(BIN)/python benchmarks/observe_cost.py

clean:
	rm -rf $(VENV) .bootstrap demo

# make constraints update the pinned versions from the installed ones
constraints: $(VENV)/.dev
	@echo '# Versions used by the checks. Update with: make constraints' > constraints.txt
	$(UV) pip freeze --python $(VENV) --exclude-editable >> constraints.txt
