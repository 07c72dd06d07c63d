# make demo   sets everything up and runs the main job on embedded data
# make test   sets everything up and passes the tests
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-ray fast nightly portable installs lint format bench constraints clean

VENV := .venv
BIN := $(VENV)/bin
# uv if there is one, else one of our own in .bootstrap
UV := $(shell command -v uv 2>/dev/null || echo .bootstrap/bin/uv)
PYTHON ?= python3

help:
	@sed -n 's/^# //p' Makefile

.bootstrap/bin/uv:
	$(PYTHON) -m venv .bootstrap
	.bootstrap/bin/pip install --quiet uv

$(VENV)/.core: pyproject.toml constraints.txt $(filter .bootstrap/bin/uv,$(UV))
	test -x $(BIN)/python || $(UV) venv --quiet $(VENV)
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable .
	touch $@

# with torch, which training needs
$(VENV)/.observe: $(VENV)/.core
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable '.[observe]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(UV) pip install --quiet --compile-bytecode --python $(VENV) --constraint constraints.txt --editable '.[models,hf,torchgeo,osm,stac,cloud,dist]' --group dev
	touch $@

demo: $(VENV)/.observe
	$(BIN)/foveate demo --out demo
	@echo "Open in a browser: demo/run/report.html (which tiles to keep), demo/focus/report.html (where to look),"
	@echo "demo/observer/report.html (what observing is worth), demo/observe/report.html (which tiles to acquire)."

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

# the tests that take minutes: walks over every option, snippets of the guide, larger worlds
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "slow and not ray"

# the tests that start a Ray cluster on this machine, one after the other
test-ray: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m ray --force-enable-socket

# the tests of `make test` without those of real imagery and browsers
fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not realdata and not browser and not slow and not ray"

# ten thousand histories of a run directory, a thousand with processes that are killed: hours
nightly: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -q --hypothesis-profile nightly tests/run/test_states.py

# the tests that compute, under six arithmetics of this processor
portable: $(VENV)/.dev
	$(BIN)/python tests/portable.py

# the wheel in fresh environments: core, each extra, the lowest versions declared
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

# the benchmarks, each against a named peer
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

# renew the pinned versions from what is installed
constraints: $(VENV)/.dev
	@echo '# Versions that the checks ran with; no index is named here. Renew with: make constraints' > constraints.txt
	$(UV) pip freeze --python $(VENV) --exclude-editable >> constraints.txt
