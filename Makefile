# make demo    the main job, on a new database; PHONE=+41791234567 changes the number, STORE=postgresql the database
# make test    every test, or those of TESTS='tests/domain docs'
# make test-clients  the clients of ZITADEL that exist, on our server; those of npm only where Node 20 is
# make check   format, lint, types and layers
# make coverage the tests of the core, and that they reach every branch of it and of the projections
# make mutants small changes to the rules, each of which a test must notice; MODULES='policy.py' tries only that one
# make reliability  kills, power losses, failovers and races, and a table of what came of them; QUICK=1, PROOFS='R1 R4'
# make docs    the pages of reference that follow from the code
# make protos  the Python of the API's .proto files
# make bench   the speed of commands, of replay and of the import beside their floors, and how long an event loop stands still
# make lock    choose newer dependencies
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENTS := tests/clients/node_modules/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := test
.PHONY: demo test test-clients check coverage mutants reliability docs protos bench wheel lock clean

demo: $(READY)
	$(if $(filter postgresql,$(STORE)),$(BIN)/python tests/cluster.py) $(BIN)/humanuser demo \
		$(if $(PHONE),--phone '$(PHONE)') $(if $(filter postgresql,$(STORE)),--database '{url}')

# Deep tests take long, and the stacks that are dumped of a slow test can crash it where it has threads.
test: $(READY)
	$(BIN)/pytest --numprocesses auto --dist loadfile $(if $(filter deep,$(HYPOTHESIS_PROFILE)),-o faulthandler_timeout=0) $(TESTS)

test-clients: $(READY) $(CLIENTS)
	$(BIN)/pytest --numprocesses auto tests/clients/check_clients.py tests/clients/check_page.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile tests/domain tests/projections \
		tests/adapters/test_event_stores.py tests/adapters/test_contracts.py tests/adapters/test_life.py
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include 'domain/*,projections/*' --fail-under 100

mutants: $(READY)
	nice $(BIN)/python tests/mutants.py $(MODULES)

reliability: $(READY)
	PYTHONPATH=tests PYTHONUNBUFFERED=1 $(BIN)/python -m reliability $(if $(QUICK),--quick) $(PROOFS)

docs: $(READY)
	$(BIN)/python docs/reference_pages.py

protos: $(READY)
	$(BIN)/python tests/proto_stubs.py

bench: $(READY)
	$(BIN)/python -m benchmarks.change_phone
	$(BIN)/python -m benchmarks.postgresql_appends
	$(BIN)/python -m benchmarks.transport
	$(BIN)/python -m benchmarks.event_loop
	$(BIN)/python -m benchmarks.replay
	$(BIN)/python -m benchmarks.import_time

wheel: $(READY)
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .

# uv takes seconds where pip takes a minute or two; where it cannot be had, or reaches no packages, pip does it.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/# via/p' requirements.lock >$(VENV)/uv.lock
	{ $(PIP) install --require-hashes --requirement $(VENV)/uv.lock \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock; } \
		|| $(PIP) install --no-compile --require-hashes --requirement requirements.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(CLIENTS): tests/clients/package-lock.json
	@if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null; then \
		cd tests/clients && npm ci && touch node_modules/.ready; \
	else \
		echo '!! no Node: the clients of npm, which need version 20 and npm itself, are not tried'; \
	fi

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 \
		--all-extras --group dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv* dist build tests/clients/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
