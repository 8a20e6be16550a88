# The words of the README. Everything is installed into .venv; nothing else of the machine is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Locust has an environment of its own; what the load test is told.
LOADTEST := .venv-loadtest
HOST ?= http://127.0.0.1:8080
USERS ?= 50
SPAWN ?= 10
TIME ?= 60s
ACCOUNTS ?=

.PHONY: run test bench loadtest check format clean help

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run  ## set up and run the server; ARGS="--port 9000 --workers 2" are its flags
	$(BIN)/python run.py $(ARGS)

test: $(VENV)/.test  ## set up and run the tests; ARGS="-k slots" are pytest's
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 $(ARGS)

bench: $(VENV)/.run  ## measure the server beside its peers; ARGS="placing --quick" names parts and options
	$(BIN)/python -m bench $(ARGS)

loadtest: $(LOADTEST)/.done  ## trade and watch feeds on a running server; HOST= USERS= TIME= SPAWN= ACCOUNTS=
	$(LOADTEST)/bin/python -m locust --locustfile loadtest/locustfile.py --headless --only-summary --stop-timeout 20 \
		--host "$(HOST)" --users $(USERS) --spawn-rate $(SPAWN) --run-time $(TIME) --accounts "$(ACCOUNTS)"

check: $(VENV)/.test  ## format, lint and types, as CI asks for them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.test  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and caches; data/ stays
	rm -rf $(VENV) $(LOADTEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Shakti needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.test: requirements.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

$(LOADTEST)/.done: loadtest/requirements.txt
	$(PYTHON) -m venv $(LOADTEST)
	$(LOADTEST)/bin/python -m pip install --quiet --disable-pip-version-check -r loadtest/requirements.txt
	@touch $@
