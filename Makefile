# Every target works from a fresh clone: it makes its own environment in .venv first.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := .venv/bin
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test coverage soak bench-client bench-imports bench-simulator bench-receiver lint types check wheel format clean

help: ## say what each target does
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  \1\t/' | sort

.venv/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; none was found. Install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "python venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch .venv/pip

.venv/demo: .venv/pip pyproject.toml
	@echo "preparing .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]'
	@touch .venv/demo

.venv/dev: .venv/pip pyproject.toml
	@echo "preparing .venv for development (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]' --group dev
	@touch .venv/demo .venv/dev

demo: .venv/demo ## run the main job: send, fail over, receive, report; no account needed
	@$(BIN)/python -m nexmo_dispatch_async.cli demo

test: .venv/dev ## run all the tests
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

coverage: .venv/dev ## run all the tests and measure which branches they take
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

.venv/fuzz: .venv/dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@touch .venv/fuzz

soak: .venv/fuzz ## run the long tests: 200,000 sends, 100,000 hostile and 10,000 described requests, a simulated day
	@$(BIN)/python -m pytest -s tests/soak

.venv/bench: .venv/dev
	@echo "preparing .venv for the benchmarks (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch .venv/bench

bench-client: .venv/bench ## measure what a send costs, next to aiohttp by hand, httpx and the official SDK
	@$(BIN)/python benchmarks/client.py

bench-imports: .venv/dev ## measure what an import costs, next to aiohttp's
	@$(BIN)/python benchmarks/imports.py

bench-simulator: .venv/dev ## measure the sends that the simulator accepts, next to a do-nothing aiohttp server
	@$(BIN)/python benchmarks/simulator.py

bench-receiver: .venv/dev ## measure what a received callback costs, next to a bare aiohttp handler
	@$(BIN)/python benchmarks/receiver.py

lint: .venv/dev ## check style with ruff
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: .venv/dev ## check types with mypy --strict and pyright; every public type must be known
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pyright
	@PATH="$(CURDIR)/$(BIN):$$PATH"; for package in nexmo_dispatch_async nexmo_dispatch_core nexmo_dispatch_webhooks; do \
		said=$$(pyright --verifytypes $$package --ignoreexternal) || { echo "$$said"; exit 1; }; \
		echo "$$package: $$(echo "$$said" | grep score)"; \
	done

wheel: .venv/dev ## build the wheel and import it in an empty environment
	@$(BIN)/python tests/support/check_wheel.py

check: lint types wheel ## lint, types and wheel

format: .venv/dev ## rewrite the code in the project's style
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean: ## remove what the targets made
	@rm -rf .venv dist build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
