PYTHON := .venv/bin/python
TSC := .local/npm-tsc/node_modules/.bin/tsc

.PHONY: help run test chaos lint format bench docs site clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## set up what is missing, run the whole system, print its address (Ctrl-C ends it)
	@ops/setup.sh run
	@exec .venv/bin/messenger local up

test: ## set up what is missing, run all tests but the longest kills, on real services
	@ops/setup.sh test
	@$(PYTHON) -m tests.lanes test

chaos: ## kill every part at every point, MESSENGER_CHAOS_ROUNDS times each (1), and play long
	@ops/setup.sh test
	@$(PYTHON) -m tests.lanes chaos

lint: ## check style, types (mypy --strict, tsc), the direction of imports and the documents' links
	@ops/setup.sh lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@for part in page workers overview; do \
	  [ ! -x $(TSC) ] || $(TSC) -p ops/tsc/$$part.json || exit 1; \
	done
	@$(MAKE) -s site

format: ## format the code
	@ops/setup.sh lint
	.venv/bin/ruff check --fix-only --quiet .
	.venv/bin/ruff format --quiet .

bench: ## measure and write bench/results (an hour, on an idle machine)
	@ops/setup.sh bench
	$(PYTHON) -m bench

docs: ## write TOPICS.md, FRAMES.md, SETTINGS.md, METRICS.md and the API's *.json of docs, and the table of faults in docs/AUDIT.md
	@ops/setup.sh lint
	$(PYTHON) -m ops.docs
	$(PYTHON) -m ops.frame_fields
	$(PYTHON) -m ops.settings_page
	$(PYTHON) -m ops.metrics_page
	$(PYTHON) -m ops.api_docs
	$(PYTHON) -m tests.planted

site: ## write the documents as a site to .local/site; a link that leads nowhere is an error
	@ops/setup.sh lint
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build -q --strict -f ops/site/mkdocs.yml

clean: ## stop the local stack, delete its data and everything else that git ignores
	@if [ -x .venv/bin/messenger ]; then .venv/bin/messenger local down; fi
	git clean -fdXq
