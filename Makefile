# `make` lists the targets. Every target makes the .venv it needs.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
SOURCES := src tests benchmarks docs examples

# A part of the tests: PART=metrics, PART=training/test_training_loop.py.
PART ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-fast test-slow fuzz interop lint format types spelling docs bench clean
.PHONY: batch page load site tutorials real-size

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## install the tested set of packages into .venv

# torch first and alone: for a CPU-only build pass PIP_ARGS="--index-url ..." with the index that PyTorch's install
# page names, and it stays when the rest is installed.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is missing or older than Python 3.11; name a newer one: make venv PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,serve,batch,dev]'
	touch $@

demo: $(STAMP) ## draw a clip, find a sentence in it, write the annotated video
	$(BIN)/bridge-stg demo --out demo
	@echo "the answer and the annotated video:" && find demo/out -type f | sort

test: $(STAMP) ## run the tests (minutes, CPU); PART=metrics runs one folder
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu" tests/$(PART)

test-fast: $(STAMP) ## run the tests that start no process, teach no model and write no video file
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not process and not learning and not video" tests/$(PART)

test-slow: $(STAMP) ## run the long tests too
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not gpu" --ignore tests/fuzz --ignore tests/interop tests/$(PART)

# FUZZ_SEED=7 damages other files, FUZZ_ROUNDS=100 fewer of them.
fuzz: $(STAMP) ## damage files at random: a right answer or one clear line, never a traceback (ten minutes)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/fuzz -s

interop: $(STAMP) .venv-interop/.installed ## let other projects' programs read what is written here, and the other way
	INTEROP_PYTHON=.venv-interop/bin/python OMP_NUM_THREADS=1 $(BIN)/pytest tests/interop

# The clients of the extra "interop" ask for packages of other versions than the tested ones.
.venv-interop/.installed: pyproject.toml
	test -x .venv-interop/bin/python || $(PYTHON) -m venv .venv-interop
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["interop"], sep="\n")' \
		> .venv-interop/requirements.txt
	.venv-interop/bin/python -m pip install -q -r .venv-interop/requirements.txt
	touch $@

lint: $(STAMP) ## check style, formatting and import direction
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

format: $(STAMP) ## fix style and formatting in place
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: $(STAMP) ## check the types (strict outside the model)
	$(BIN)/mypy

spelling: $(STAMP) ## look for misspelt words
	$(BIN)/codespell $(SOURCES) *.md

docs: $(STAMP) ## check that links, files and symbols named in the docs exist
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/docs

batch: $(STAMP) ## kill a batch on a real Ray, and let it go on
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/batch/test_batch_ray.py

page: $(STAMP) ## try the page of `serve` in Chromium (install Debian's chromium, or set CHROMIUM)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/serve/test_serve_page.py

load: $(STAMP) ## 32 clients for a minute, and requests made from the service's own description
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/serve/test_serve_load.py

# Random weights: it shows that the commands work at this size. PIP_ARGS as for venv.
real-size: $(STAMP) ## train, merge and ground at the size of the 2B with Swin-L (20 minutes, 18 GB; SCALE=tiny: a minute)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[vocabulary]'
	$(BIN)/python benchmarks/real_size.py --scale $(or $(SCALE),2b)

tutorials: $(STAMP) ## run the tutorials of docs/tutorials from their first cell to their last
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/docs/test_tutorials.py

site: $(STAMP) ## build the site of the documents; a link that leads nowhere fails
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --quiet

bench: $(STAMP) ## time each stage of grounding with the shipped model
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/grounding.py

clean: ## remove what the targets made, .venv included
	rm -rf .venv .venv-interop demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
