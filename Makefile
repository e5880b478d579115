# Everything a contributor runs. Needs Python 3.11 or newer (with venv), make and git; the rest is set up in .venv.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
SANDBOX_PORT ?= 8001

BIN := $(VENV)/bin
# One process more than there are processors: many tests wait for a process of their own. Files run in the order of the collection.
PARALLEL = -q -n $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4))) --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-reset test engines coverage coverage-report mutants lint types bench messages requirements clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo         sandbox on http://localhost:$(SANDBOX_PORT), example site on http://localhost:$(PORT); Ctrl-C stops both"
	@echo "make demo-reset   forget the demo's database, keys and files"
	@echo "make test         the test suite, on SQLite (DATABASE_URL chooses another database; ARGS=-m thorough runs the rest)"
	@echo "make engines      workers of django-tasks-db, RQ and Celery (PostgreSQL at DATABASE_URL, redis-server, RabbitMQ at BROKER_URL)"
	@echo "make coverage     the suite on SQLite, and on DATABASE_URL if that is given, with the branches it has taken"
	@echo "make mutants      changes to the code that no test notices (ARGS chooses functions; see CONTRIBUTING.md)"
	@echo "make lint         ruff, and the check that imports point one way"
	@echo "make types        mypy --strict"
	@echo "make bench        the benchmarks"
	@echo "make messages     compile the translations"
	@echo "make requirements pin the dependencies anew (needs uv)"
	@echo "make clean        remove .venv, .demo and all caches"

demo: $(VENV)/.demo
	@exec $(BIN)/python -m example_project.demo --port $(PORT) --sandbox-port $(SANDBOX_PORT)

demo-reset:
	@rm -rf .demo && echo "The demo starts anew with the next 'make demo'."

# COVERAGE=1 measures it too, for coverage-report. Hundreds of short processes share compiled modules, whatever the shell forbids.
test: export PYTHONDONTWRITEBYTECODE =
test: ARGS ?= -m "not thorough"
test: $(VENV)/.test
	@$(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest $(PARALLEL) $(ARGS)

# Not part of `make test`, which needs no server. One at a time: each has several workers, and kills some of them.
engines: $(VENV)/.engines
	@$(BIN)/python -m pytest -q tests/engines $(ARGS)

coverage: $(VENV)/.test
	@$(BIN)/coverage erase
	@DATABASE_URL= $(MAKE) --no-print-directory test COVERAGE=1
	@test -z "$$DATABASE_URL" || $(MAKE) --no-print-directory test COVERAGE=1 ARGS='-m "not browser"'
	@$(MAKE) --no-print-directory coverage-report

coverage-report: $(VENV)/.test
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

# One at a time: all of them use one test database. Its directory is made here, because each forked run would remove its own.
mutants: $(VENV)/.mutants
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	  EPROSPERA_TEST_SCRATCH=$$scratch $(BIN)/mutmut run --max-children 1 $(ARGS)

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(VENV)/.test
	@$(BIN)/mypy

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(ARGS)

messages: $(VENV)/.test
	@$(BIN)/django-admin compilemessages --ignore ".venv*" --ignore .demo

# Markers in the files choose Django 5.2 for Python 3.11 and Django 6.1 for newer ones.
requirements:
	@$(call pin,--extra sandbox pyproject.toml requirements/demo.in,demo)
	@$(call pin,--extra sandbox pyproject.toml requirements/test.in -c requirements/demo.txt,test)
	@$(call pin,requirements/mutants.in -c requirements/test.txt,mutants)
	@$(call pin,requirements/bench.in -c requirements/test.txt,bench)
	@$(call pin,requirements/engines.in -c requirements/test.txt,engines)

$(VENV)/.demo: requirements/demo.txt
	@$(call install,requirements/demo.txt)
	@touch $@

$(VENV)/.test: requirements/test.txt
	@$(call install,requirements/test.txt)
	@touch $@ $(VENV)/.demo

$(VENV)/.mutants: requirements/mutants.txt $(VENV)/.test
	@$(call install,requirements/mutants.txt)
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.test
	@$(call install,requirements/bench.txt)
	@touch $@

$(VENV)/.engines: requirements/engines.txt $(VENV)/.test
	@$(call install,requirements/engines.txt)
	@touch $@

clean:
	rm -rf $(VENV) .demo .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* mutants build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(1): a requirements file with hashes.
define install
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is needed (Debian: apt install python3-venv)." >&2; exit 1; }; \
	echo "Installing $(1) into $(VENV) …"; \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r $(1)
endef

# $(1): where the requirements are, $(2): the name of the file with hashes that pins them.
define pin
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	  --custom-compile-command "make requirements" $(1) -o requirements/$(2).txt
endef
