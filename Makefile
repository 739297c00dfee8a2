PYTHON := .venv/bin/python

.PHONY: help run test chaos lint format bench docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## set up what is missing, run the whole system, show the address of the chat page (Ctrl-C ends it)
	@ops/setup.sh run
	@exec .venv/bin/messenger local up

test: ## set up and run all tests (of the kills a sample), with real services and a browser
	@ops/setup.sh test
	$(PYTHON) -m pytest -q tests/unit tests/property tests/simulation tests/sdk tests/contract tests/stages
	$(PYTHON) -m pytest -q tests/integration
	$(PYTHON) -m pytest -q tests/chaos -m "not soak"
	$(PYTHON) -m pytest -q tests/browser

chaos: ## all kills, ten times each (two hours)
	@ops/setup.sh test
	MESSENGER_CHAOS_ROUNDS=10 MESSENGER_HYPOTHESIS=thorough $(PYTHON) -m pytest -q tests/chaos tests/property tests/simulation

lint: ## ruff, mypy --strict, and who may import whom
	@ops/setup.sh lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: ## format the code
	@ops/setup.sh lint
	.venv/bin/ruff check --fix-only --quiet .
	.venv/bin/ruff format --quiet .

bench: ## measure; writes bench/results (on an idle machine, a quarter of an hour)
	@ops/setup.sh run
	$(PYTHON) -m bench

docs: ## write docs/TOPICS.md again
	@ops/setup.sh lint
	$(PYTHON) -m ops.docs

clean: ## leave the tree as cloned (ends the local stack, deletes its data)
	@if [ -x .venv/bin/messenger ]; then .venv/bin/messenger local down; fi
	git clean -fdXq
