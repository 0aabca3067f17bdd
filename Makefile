# Every target sets up what it needs in .venv; `make` alone lists them.
# PYTHON picks the interpreter: make test PYTHON=python3.13

PYTHON ?= python3
PY     := .venv/bin/python
# uv, where it can be had: it installs in seconds what takes pip a minute.
UV     := uv==0.13.9
INSTALL := .ci/install.py

# Part of a stamp's name, so that another interpreter gets an environment of its own.
PYTHON_VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo none)
VENV    := .venv/.python-$(PYTHON_VERSION)
RUNTIME := .venv/.runtime
TEST    := .venv/.test
DEV     := .venv/.dev
# Other packages have an environment of their own.
NEIGHBOURS := .venv-neighbours/.installed-$(PYTHON_VERSION)
# So have the services of root keys, and their clients.
ROOT_KEYS  := .venv-root-keys/.installed-$(PYTHON_VERSION)
ROOT_KEY_TESTS := -q -n 3 --dist loadfile tests/root_keys

# And the packages whose own tests are run, with their sources.
SUITES := .venv-suites/.installed-$(PYTHON_VERSION)

# And LocalEmu, whose pins are others than theirs.
LOCALEMU := .venv-localemu/.installed

# Where pyenv is used, tox finds its interpreters behind those already on PATH.
TOX_PATH = $$PATH$$(for bin in "$$(pyenv root 2>/dev/null)"/versions/3.1[123]*/bin; do printf ':%s' "$$bin"; done)

# Tests start many processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help driver demo demo-kms demo-move test test-long coverage root-keys neighbours suites tox lint format types imports house docs bench bench-rotation bench-moving bench-search bench-root-keys bench-peers wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

# -- The environment ---------------------------------------------------------------------------

.venv/.python-%:
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) found. Name a Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Making .venv with Python $*"
	@"$(PYTHON)" -m venv --clear .venv
	@$(PY) -m pip --disable-pip-version-check --quiet install $(UV) || echo "uv is not to be had; pip does without."
	@touch "$@"

$(RUNTIME): $(VENV) requirements-runtime.txt
	@echo "Installing requirements-runtime.txt"
	@$(PY) $(INSTALL) -r requirements-runtime.txt
	@touch $@

$(TEST): $(RUNTIME) requirements-test.txt
	@echo "Installing requirements-test.txt"
	@$(PY) $(INSTALL) -r requirements-test.txt
	@touch $@

$(DEV): $(TEST) requirements.txt
	@echo "Installing requirements.txt"
	@$(PY) $(INSTALL) -r requirements.txt
	@touch $@

$(NEIGHBOURS): requirements-neighbours.txt requirements-graphene.txt requirements-test.txt requirements-runtime.txt
	@echo "Installing requirements-neighbours.txt"
	@"$(PYTHON)" -m venv --clear .venv-neighbours
	@.venv-neighbours/bin/python $(INSTALL) -r requirements-neighbours.txt
	@.venv-neighbours/bin/python $(INSTALL) --no-deps --target .venv-neighbours/graphql_types -r requirements-graphene.txt
	@.venv-neighbours/bin/python .ci/mariadb_driver.py
	@touch $@

$(ROOT_KEYS): requirements-root-keys.txt requirements-test.txt requirements-runtime.txt
	@echo "Installing requirements-root-keys.txt"
	@"$(PYTHON)" -m venv --clear .venv-root-keys
	@.venv-root-keys/bin/python $(INSTALL) -r requirements-root-keys.txt
	@.venv-root-keys/bin/python .ci/mariadb_driver.py
	@touch $@

$(SUITES): requirements-suites.txt requirements-test.txt requirements-runtime.txt
	@echo "Installing requirements-suites.txt"
	@"$(PYTHON)" -m venv --clear .venv-suites
	@.venv-suites/bin/python $(INSTALL) -r requirements-suites.txt
	@.venv-suites/bin/python .ci/mariadb_driver.py
	@touch $@

# Its KMS needs Python 3.13. Where none is found, its tests are skipped.
$(LOCALEMU): requirements-localemu.txt
	@for python in python3.13 "$$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python none; do \
		"$$python" -c '' 2>/dev/null && break; done; \
	if [ "$$python" = none ]; then echo "LocalEmu needs Python 3.13, which is not found."; exit; fi; \
	echo "Installing requirements-localemu.txt" && "$$python" -m venv --clear .venv-localemu && \
	.venv-localemu/bin/python $(INSTALL) -r requirements-localemu.txt && touch $@

driver: $(TEST)
	@$(PY) .ci/mariadb_driver.py

# -- The commands of the README ----------------------------------------------------------------

demo: $(RUNTIME) ## the story of a clinic, told by the demo project
	@$(PY) -m demo_project.story

demo-kms: $(ROOT_KEYS) ## the same clinic moves its root key to a KMS, which starts on this machine
	@.venv-root-keys/bin/python -m demo_project.kms_story

demo-move: $(RUNTIME) ## a clinic's notes in clear become encrypted while it writes, go back once, and move
	@$(PY) -m demo_project.moving.story

test: driver ## the tests, on every database found here; ARGS="--on sqlite -k text" picks some
	@$(PY) -m tests.matrix $(ARGS)

# -- More tests --------------------------------------------------------------------------------

test-long: driver $(LOCALEMU) ## what finds what is rare, at full size; ARGS as for test
	@ENVELOPE_TEST_LONG=1 $(PY) -m tests.matrix --marks long $(ARGS)
	@ENVELOPE_TEST_LONG=1 $(MAKE) --no-print-directory root-keys ARGS="-m long"
	@$(MAKE) --no-print-directory suites ARGS=

coverage: driver $(ROOT_KEYS) ## the tests once more, with the coverage of all databases and root keys together
	@$(PY) -m coverage erase
	$(PY) -m coverage run -m tests.matrix $(ARGS)
	.venv-root-keys/bin/python -m coverage run -m pytest $(ROOT_KEY_TESTS)
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

root-keys: $(ROOT_KEYS) ## the tests of root keys in services, which start by themselves; ARGS for pytest
	@.venv-root-keys/bin/python -m pytest $(ROOT_KEY_TESTS) $(ARGS)

neighbours: $(NEIGHBOURS) ## the tests beside other packages; ARGS="revisions" picks some
	@.venv-neighbours/bin/python -m tests.neighbours $(ARGS)

suites: $(SUITES) ## other packages' own tests, with fields of ours in their models; ARGS="django_otp" picks one
	@.venv-suites/bin/python -m tests.suites $(ARGS)

tox: $(DEV) ## the tests with the other Pythons and Djangos; ENVS=py313-dj61 picks some, ARGS as above
	@PATH="$(TOX_PATH)" $(PY) -m tox run $(OPTIONS) $(if $(ENVS),-e $(ENVS)) $(if $(ARGS),-- $(ARGS))

# -- Checks ------------------------------------------------------------------------------------

lint: $(DEV) ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(DEV) ## let ruff repair what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(DEV) ## mypy, strict; and what mypy and pyright see of the fields in a project
	$(PY) -m mypy
	$(PY) -m pytest -q -p no:randomly tests/fields/test_types.py

imports: $(TEST) ## the layers of the package
	@$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

house: $(TEST) ## how large the rooms are, and how far the way through them; ARGS=--names lists names
	@$(PY) .ci/house.py $(ARGS)

docs: $(DEV) ## the documentation, where a warning is an error
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html

wheel: $(DEV) ## build into dist/, and look at what was packed
	@rm -rf dist
	$(PY) -m build --outdir dist
	$(PY) .ci/check_wheel.py dist

# -- Speed -------------------------------------------------------------------------------------

bench: driver ## time and bytes per value, beside a plain TextField
	@$(PY) -m bench

bench-rotation: driver ## rotations of stored values, beside what the database does at most
	@$(PY) -m bench.rotation

bench-moving: driver ## a live column that is encrypted: how fast, and what writers notice; ARGS="--rows 100000"
	@$(PY) -m bench.moving $(ARGS)

bench-search: driver ## searches by a blind index among a million rows, writes, and the filling; ARGS="--rows 20000"
	@$(PY) -m bench.search $(ARGS)

bench-root-keys: $(ROOT_KEYS) ## how often root keys are asked, and how long those of the tests take
	@.venv-root-keys/bin/python -m bench.root_keys

bench-peers: driver ## the same work done by other packages, in an environment of their own
	@$(PY) -m bench.peers

clean: ## remove everything that was made here
	rm -rf .venv .venv-localemu .venv-neighbours .venv-root-keys .venv-suites .tox build dist docs/_build htmlcov .coverage .coverage.* \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
