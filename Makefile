# Every target works from a fresh clone: it makes its own environment in .venv first.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
# Where the environment is: `make test PYTHON=python3.12 VENV=.venv-3.12` tests on another Python.
VENV ?= .venv
BIN := $(VENV)/bin
# More for pytest: `make test ARGS="tests/webhooks -x"`.
ARGS ?=
PYTEST := --numprocesses auto --dist worksteal
# The floors are what is allowed at least, so they are tested on the lowest Python that is.
FLOOR_PYTHON ?= python3.11
# Without the cache of compiled modules each process of a test compiles the package again.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo docs docs-serve test test-random test-engines test-long floors interpreters coverage mutants soak soak-mixed bench-client bench-bulk bench-imports bench-simulator bench-receiver bench-engines lint types check wheel dist installed audit workflows release-check format clean

help: ## say what each target does
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  \1\t/' | sort

$(VENV)/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; none was found. Install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $(VENV)/pip

$(VENV)/demo: $(VENV)/pip pyproject.toml
	@echo "preparing $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]'
	@touch $(VENV)/demo

$(VENV)/dev: $(VENV)/pip pyproject.toml
	@echo "preparing $(VENV) for development (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]' --group dev
	@touch $(VENV)/demo $(VENV)/dev

demo: $(VENV)/demo ## run the main job: send, fail over, receive, report; no account needed
	@$(BIN)/python -m nexmo_dispatch_async.cli demo

# Without the theme's notice about a second version of MkDocs, which is a different program.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: $(VENV)/dev ## build the documentation site into site/, with warnings as errors, and look for dead links and orphans
	@$(MKDOCS) build --quiet --strict
	@$(BIN)/python -m pytest -q tests/built_site

docs-serve: $(VENV)/dev ## show the documentation site at http://127.0.0.1:8000 while you write
	@$(MKDOCS) serve

test: $(VENV)/dev ## run the tests: every promise once, without the long repetitions
	@$(BIN)/python -m pytest $(PYTEST) -m "not long and not engines" --hypothesis-profile quick $(ARGS)

# `make test-random ROUNDS=1 SEED=7` repeats the round with that seed.
ROUNDS ?= 20
SEED ?=

test-random: $(VENV)/dev ## run the tests of `make test` ROUNDS times in random order, up to the first round that fails
	@$(BIN)/python -m tests.support.random_rounds --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) -- \
		$(PYTEST) -m "not long and not engines" --hypothesis-profile quick $(ARGS)

test-engines: $(VENV)/dev ## run the tests that start a server: Postgres, where its binaries are installed, and NATS
	@$(BIN)/python -m pytest $(PYTEST) -m "engines and not long" $(ARGS)

test-long: $(VENV)/dev ## run the tests that repeat at length what `make test` promises
	@$(BIN)/python -m pytest $(PYTEST) -m long $(ARGS)

.venv-floors/ready: pyproject.toml tests/support/floors.py
	@command -v $(FLOOR_PYTHON) >/dev/null || { echo "the floors need $(FLOOR_PYTHON): install it, or name the lowest Python with FLOOR_PYTHON=" >&2; exit 1; }
	@echo "preparing .venv-floors with the lowest versions (once)"
	@rm -rf .venv-floors
	@$(FLOOR_PYTHON) -m venv .venv-floors
	@.venv-floors/bin/python tests/support/floors.py >.venv-floors/floors.txt
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check editables -r .venv-floors/floors.txt
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@.venv-floors/bin/python -m pip check
	@touch .venv-floors/ready

floors: .venv-floors/ready ## run all the tests on the lowest version that is allowed of each dependency
	@.venv-floors/bin/python -m pytest $(PYTEST) $(ARGS)

interpreters: ## run all the tests but those of the page on every other Python that is claimed and installed
	@set -e; own=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $$(sed -n 's/.*Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml); do \
		test $$version != $$own || continue; python=; \
		for p in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
			$$p -c 'import sys' 2>/dev/null && python=$$p && break; done; \
		test -n "$$python" || { echo "Python $$version is not installed: left out"; continue; }; \
		echo "Python $$version"; venv=.venv-$$version; \
		if ! test $$venv/ready -nt pyproject.toml; then \
			$$python -m venv $$venv; \
			$$venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip; \
			$$venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[cli]' --group test; \
			touch $$venv/ready; \
		fi; \
		$$venv/bin/python -m pytest $(PYTEST) --ignore=tests/simulator/page $(ARGS); \
	done

coverage: $(VENV)/dev ## run all the tests and measure which branches they take
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest $(PYTEST)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

mutants: $(VENV)/dev ## change each module without I/O 60 times, and count what its tests notice: `make mutants ARGS="failover retry"`
	@$(BIN)/python -m tests.support.mutants $(ARGS)

$(VENV)/fuzz: $(VENV)/dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@touch $(VENV)/fuzz

soak: $(VENV)/fuzz ## run the long tests: 200,000 sends, 100,000 hostile and 10,000 described requests, a simulated day, campaigns killed 20 times
	@$(BIN)/python -m pytest -s tests/soak

SOAK_SECONDS ?= 1800

soak-mixed: $(VENV)/dev ## run mixed traffic for SOAK_SECONDS, half an hour: memory, sockets, descriptors and tasks stay flat
	@SOAK_MIXED_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -s tests/soak/test_mixed_traffic.py

$(VENV)/bench: $(VENV)/dev
	@echo "preparing $(VENV) for the benchmarks (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $(VENV)/bench

bench-client: $(VENV)/bench ## measure what a send costs, next to aiohttp by hand, httpx and the official SDK
	@$(BIN)/python benchmarks/client.py

bench-bulk: $(VENV)/bench ## measure what a campaign costs a recipient, next to aiohttp workers; its memory, and the import of a million rows
	@$(BIN)/python benchmarks/bulk.py

bench-imports: $(VENV)/dev ## measure what an import costs, next to aiohttp's
	@$(BIN)/python benchmarks/imports.py

bench-simulator: $(VENV)/dev ## measure the sends that the simulator accepts, next to a do-nothing aiohttp server
	@$(BIN)/python benchmarks/simulator.py

bench-receiver: $(VENV)/dev ## measure what a received callback costs, next to a bare aiohttp handler
	@$(BIN)/python benchmarks/receiver.py

bench-engines: $(VENV)/dev ## measure callbacks, claims, sends and wake-ups on SQLite, Postgres and NATS, with 1 to 3 workers
	@$(BIN)/python benchmarks/engines.py

lint: $(VENV)/dev ## check style with ruff
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: $(VENV)/dev ## check types with mypy --strict and pyright, also of the examples; every public type must be known
	@$(BIN)/python -m mypy
	@$(BIN)/python -m mypy examples
	@$(BIN)/python -m pyright
	@PATH="$(CURDIR)/$(BIN):$$PATH"; for package in nexmo_dispatch_async nexmo_dispatch_core nexmo_dispatch_webhooks; do \
		said=$$(pyright --verifytypes $$package --ignoreexternal) || { echo "$$said"; exit 1; }; \
		echo "$$package: $$(echo "$$said" | grep score)"; \
	done

wheel: $(VENV)/dev ## build wheel and sdist, compare both with the repository, and use the wheel in an empty environment
	@$(BIN)/python -m tests.support.check_wheel

check: lint types wheel ## lint, types and wheel

.venv-release/ready: pyproject.toml
	@echo "preparing .venv-release for a release (once)"
	@$(PYTHON) -m venv .venv-release
	@.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --group release
	@touch .venv-release/ready

dist: $(VENV)/dev .venv-release/ready ## build what is uploaded into dist/: contents and metadata as the repository says, and as an index takes it
	@rm -rf dist && mkdir dist
	@$(BIN)/python -m tests.support.check_wheel dist
	@.venv-release/bin/python -m twine check --strict dist/*

installed: dist ## use the wheel of dist/ on every claimed Python that is installed, with the newest and the lowest dependencies
	@$(BIN)/python -m tests.support.check_installed dist/*.whl

audit: .venv-release/ready ## look for known vulnerabilities in the runtime dependencies; without an answer of the advisory service it fails
	@.venv-release/bin/python -m tests.support.audit

workflows: .venv-release/ready ## check the workflow files: their form, and what a workflow must not do
	@.venv-release/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv-release/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv-release/bin/zizmor --offline --quiet --persona=pedantic .github

# The audit stands last: it needs the network, and a release without its answer is for a person to decide.
release-check: types workflows installed audit ## what a release must pass beside `make test`: complete types, workflow files, both archives, every Python, the audit

format: $(VENV)/dev ## rewrite the code in the project's style
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean: ## remove what the targets made
	@find nexmo_dispatch_async nexmo_dispatch_core webhooks tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +
	@rm -rf .venv .venv-* dist build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache site
