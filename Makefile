PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: run test test-quick lint bench clean

run: $(INSTALLED)  ## start the service, with a PostgreSQL of its own where DATABASE_URL is not set
	@exec $(BIN)/fw serve

test: $(INSTALLED)  ## run the whole suite
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

test-quick: $(INSTALLED)  ## run what takes less than a minute
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not slow' $(ARGS)

lint: $(INSTALLED)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measure against a bare handler, with wrk
	$(BIN)/python -m tests.bench $(ARGS)

clean:  ## remove what was installed and built, never data
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,dev]'
	@touch $@
