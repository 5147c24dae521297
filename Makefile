# Everything lives in .venv; the lock file says what goes in, with hashes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup demo test campaign bench lint lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "Installing into .venv ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Crossfoot needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/python -m flows.demo

test: setup lint
	@$(BIN)/python -m pytest -m "not campaign" -n auto --maxprocesses 4 --dist loadfile $(TESTS)

campaign: setup
	@$(BIN)/python -m pytest -m campaign --timeout 3600 $(TESTS)

bench: setup
	@$(BIN)/python -m tests.bench

lint: setup
	@$(BIN)/ruff check --quiet .

lock: setup
	@$(BIN)/uv pip compile --quiet pyproject.toml --group test --extra postgres --universal --python-version 3.11 --no-strip-extras \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements.lock

clean:
	rm -rf .venv build *.egg-info dbt_project/target
