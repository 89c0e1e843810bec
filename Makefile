# Everything a newcomer needs: `make run`, `make test`. Only Python 3.11 to 3.13 must be there.
PORT ?= 8000
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$name && break; done)
RUN := .venv/bin/python
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help setup setup-dev run test bench lint crash-points access-matrix format messages lock drill drill-controls fuzz

help:
	@echo "make run    start the whole shop on port $(PORT) (PORT=…); Ctrl-C stops it, its data stay in var/"
	@echo "make test   lint and all tests, on engines of their own"
	@echo "make bench  measure every figure of docs/performance.md again: an hour;  ARGS=--quick: fifteen minutes"
	@echo "make crash-points  end every flow at each of its points and write docs/crash-points.md"
	@echo "make fuzz   10,000 requests made from the OpenAPI document, against a shop of their own;  CASES=…  SEED=…"
	@echo "make access-matrix  write docs/access-matrix.md from the table the tests ask the shop"
	@echo "make drill  every fault under load, with incident sheets: a quarter of an hour;  make drill-controls"
	@echo "make setup  only make .venv;  make lint;  make format;  make lock  re-lock requirements with uv"
	@echo "make audit-deps  ask PyPI for known vulnerabilities of what requirements.txt pins; 4: it did not answer for all"
	@echo "make messages  update the Korean catalogue from the sources and compile it"

setup:
	@$(or $(PYTHON),$(error no Python 3.11 to 3.13 found: install one or set PYTHON=/path/to/it)) shop/local/venv.py requirements.txt

setup-dev:
	@$(or $(PYTHON),$(error no Python 3.11 to 3.13 found: install one or set PYTHON=/path/to/it)) shop/local/venv.py requirements.txt requirements-dev.txt

run: setup
	@exec $(RUN) manage.py up --port $(PORT)

test: lint
	$(RUN) -m pytest -n 2

bench: setup  # ARGS="--quick --only settle rush --report DIR"
	@exec $(RUN) manage.py bench $(ARGS)

lint: setup-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy .
	.venv/bin/lint-imports --no-cache --no-logo
	$(RUN) -W "ignore:Got an error checking a consistent" manage.py makemigrations --check --dry-run

crash-points: setup-dev
	$(RUN) -m pytest config/tests/test_crash_points.py -m "crash_matrix or not crash_matrix"
	$(RUN) -m config.tests.crash_report

fuzz: setup-dev  # three to ten minutes; the same seed makes the same requests
	$(RUN) -m config.tests.fuzz $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

drill: setup  # REPORT=directory keeps the sheets elsewhere than in var/
	$(RUN) manage.py drill all $(if $(REPORT),--report $(REPORT))

drill-controls: setup  # each guard taken away once: every one of these drills must fail
	$(RUN) manage.py drill all --control

access-matrix: setup-dev
	$(RUN) -m config.tests.access_matrix

format: setup-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

messages: setup-dev
	DJANGO_SETTINGS_MODULE=config.settings $(RUN) -m config.translations

lock:
	$(LOCK) requirements.in --output-file requirements.txt
	$(LOCK) requirements-dev.in --output-file requirements-dev.txt

audit-deps: setup-dev
	@$(RUN) -m shop.local.advisories
