# Needs Python 3.11 or newer, make, and the public package registries; no Java, Docker or Redis.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/setup.stamp

.PHONY: help setup tools demo test evidence lint bench lock clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 10

setup: $(STAMP)  ## Virtual environment with locked packages, and Kafka's jars

$(STAMP): requirements.lock pyproject.toml streams/embedded/kafka-jars.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@echo "Fetching Apache Kafka, once per user"
	$(BIN)/python -c 'from streams.embedded.jars import kafka_jars; kafka_jars()'
	@touch $@

tools:  ## What some tests need from Debian's packages, as root: Chromium, promtool; without them these tests are skipped
	command -v chromium >/dev/null && command -v promtool >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium prometheus; }

demo: setup  ## The whole loop on this machine; SHORT=1 for the short one, KEEP=1 leaves the page open
	$(BIN)/npo demo $(if $(SHORT),--short) $(if $(KEEP),--keep)

test: setup  ## All tests but those of `make evidence`
	$(BIN)/python -m pytest $(ARGS)

evidence: setup  ## The slow tests: what the learning rules have to reach, over 20 seeds and more
	$(BIN)/python -m experiments.evidence
	$(BIN)/python -m pytest tests/evidence -m evidence $(ARGS)

lint: setup  ## Style, types and the dependency rule
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## Samples a second through the running system, on this machine
	$(BIN)/npo bench

lock: setup  ## Newest versions that pyproject.toml allows, and the digests of Kafka's jars
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-config --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet -o requirements.lock
	$(BIN)/python -c 'from streams.embedded.jars import write_lock; write_lock()'

clean:  ## Remove all that make and the tools have made, but not Kafka's jars
	rm -rf .venv .npo dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
