# Everything a developer or CI does. `make` alone lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: edge/%/node_modules/.made
MAKEFLAGS += --no-print-directory

# The newest supported Python by name, unless told: make PYTHON=python3.12 test
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
    $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Exact versions for every install, those that maturin does included.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1
# One interpreter for every cargo call: pyo3 is rebuilt whenever it changes.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

# Each is a project of npm's.
EDGE := $(patsubst edge/%/package-lock.json,%,$(wildcard edge/*/package-lock.json))
EDGE_SOURCES := $(shell find edge -name '*.ts' -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

RUST_SOURCES := $(shell find rust -name '*.rs') $(wildcard rust/*/Cargo.toml) Cargo.toml Cargo.lock

.PHONY: help run test test-rust test-python differential differential-codec references edge edge-built lint lint-style lint-types lint-rust wheel bench profile bench-docs compare autobahn hostile mutate herd ledger soak drain recovery storm stream fuzz asan examples constraints clean prerequisites

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.built  ## show the main job: a price feed and a strategy on it (ARGS="--seconds 5" ends by itself)
	@$(BIN)/python -m websocket_utils demo $(ARGS)

test: test-rust test-python  ## run all tests

test-rust: $(VENV)/.made  ## run the tests of the Rust crates
	cargo test --workspace --locked

# Two at a time, of which one is what uses sockets (tests/conftest.py); PARALLEL= runs all in their order.
PARALLEL ?= -n 2

test-python: $(VENV)/.dev edge-built  ## run the tests of the Python package (ARGS="-k name" selects)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

edge: edge-built  ## set up the programs in edge/ (TypeScript), check their types and run their own tests (needs npm)
	@for project in $(EDGE); do \
	    npm --prefix edge/$$project run --silent check && npm --prefix edge/$$project run --silent --if-present test || exit 1; \
	done

# Whoever has no npm, or no Python that Vercel has, can run all other tests: those of edge/ say what they lack.
edge-built: $(VENV)/.dev
	@if command -v npm >/dev/null; then $(MAKE) $(EDGE:%=edge/%/node_modules/.built); \
	else echo "NOT RUN: the tests of edge/, for want of npm" >&2; fi
	@env -u PIP_CONSTRAINT $(BIN)/python edge/vercel/dev/python_runtime.py || echo "NOT RUN: the Python function on Vercel's own runtime" >&2

lint: lint-style lint-types lint-rust  ## check style and types of Python and Rust (-k goes on after a fault)

lint-style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright
	# It looks for the package with the first python of PATH, whatever pyproject.toml says.
	PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes websocket_utils --ignoreexternal
	$(BIN)/python -m mypy.stubtest websocket_utils._core

lint-rust: $(VENV)/.made
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || \
	    { echo "make lint needs rustfmt and clippy: rustup component add rustfmt clippy" >&2; exit 1; }
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

wheel: $(VENV)/.made  ## build dist/*.whl
	rm -rf dist
	$(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out dist

bench: $(VENV)/.bench  ## measure us and our peers in turn, minutes long (ARGS as for benches/run.py)
	cargo build --release --locked -p websocket_utils_load
	$(BIN)/python benches/run.py $(ARGS)

profile: $(VENV)/.dev  ## count the instructions of codec calls (ARGS="json/decode --brief", see benches/profile_codec.py; needs valgrind)
	$(BIN)/python benches/profile_codec.py $(ARGS)

bench-docs: $(VENV)/.dev  ## render docs/BENCHMARKS.md and README's facts from benches/results
	$(BIN)/python benches/render.py

compare: $(VENV)/.dev  ## measure this version against an older one, minutes long (BEFORE=revision, ARGS as for benches/compare.py)
	$(BIN)/python benches/compare.py --before="$(BEFORE)" $(ARGS)

autobahn: $(VENV)/.dev  ## run the Autobahn suite in both roles (AUTOBAHN_CASES=all|core|sample|6.4.*,7.1.2; needs CPython 2.7)
	$(BIN)/python conformance/run.py $(ARGS)

ledger: $(VENV)/.dev  ## send a million numbered messages each way while connections are killed, and balance the books
	$(BIN)/python hostile/ledger.py --save $(ARGS)
	$(BIN)/python hostile/render.py

soak: $(VENV)/.dev  ## soak the broadcast server for two hours: churn, stalls, cuts, exact books (ARGS="--seconds 60"; Linux)
	$(BIN)/python hostile/soak.py --save $(ARGS)
	$(BIN)/python hostile/render.py

drain: $(VENV)/.dev  ## drain servers with thousands of clients, some of whom read nothing, a minute long (Linux)
	$(BIN)/python hostile/drain.py --save $(ARGS)
	$(BIN)/python hostile/render.py

recovery: $(VENV)/.dev  ## kill workers of a feed with a thousand clients, and see what these have missed, minutes long (Linux)
	$(BIN)/python hostile/recovery.py --save $(ARGS)
	$(BIN)/python hostile/render.py

stream: $(VENV)/.dev  ## publish 10 000 updates a second to workerd, which is reset, killed and evicted (after make edge; Linux)
	$(BIN)/python hostile/edge.py --save $(ARGS)
	$(BIN)/python hostile/render.py

storm: $(VENV)/.dev  ## lose ten thousand connections, and see what is left behind (Linux)
	$(BIN)/python hostile/storm.py --save $(ARGS)
	$(BIN)/python hostile/render.py

fuzz: $(VENV)/.dev  ## look for inputs that break the core, FUZZ_SECONDS=600 for each target (needs nightly Rust and C++)
	fuzz/run
	$(BIN)/python hostile/fuzzing.py
	$(BIN)/python hostile/render.py

differential: $(VENV)/.dev  ## compare with wsproto, zlib, CPython and models on PROPERTY_SCALE=50 times as much input as test does
	PROPERTY_SCALE=$${PROPERTY_SCALE:-50} $(BIN)/python -m pytest tests/property $(ARGS)
	PROPTEST_CASES=$$((256 * $${PROPERTY_SCALE:-50})) cargo test --locked -p websocket_utils_core

differential-codec: $(VENV)/.dev  ## compare the codec with msgspec, or with ARGS="--format protobuf" with Google's library, on CASES=10000000 of SEED
	$(BIN)/python hostile/codec.py $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(BIN)/python hostile/render.py

references: $(VENV)/.dev  ## count what DECODES=10000000 decodes leave behind, a minute long (Linux)
	$(BIN)/python hostile/references.py $(if $(DECODES),--decodes $(DECODES)) $(ARGS)
	$(BIN)/python hostile/render.py

herd: $(VENV)/.dev  ## simulate servers that drop and crowds that come back, a minute long, and render it
	$(BIN)/python hostile/herd.py --save $(ARGS)
	$(BIN)/python hostile/render.py

asan: $(VENV)/.dev  ## run tests of the extension under the address sanitizer (needs nightly Rust)
	fuzz/asan $(ARGS)

hostile: $(VENV)/.dev  ## attack a server in every way of docs/RELIABILITY.md, a minute long, and render it (Linux)
	$(BIN)/python hostile/run.py $(ARGS)
	$(BIN)/python hostile/render.py

# A tenth as many from a client of ours to a server that misbehaves.
mutate: $(VENV)/.dev  ## mutated connections to a server (MUTATION_CONNECTIONS=50000), memory and errors watched (Linux)
	$(BIN)/python hostile/mutate.py --keep $(ARGS)
	$(BIN)/python hostile/render.py

examples: $(VENV)/.dev  ## run every program in examples/ as its test does
	$(BIN)/python -m pytest tests/integration/test_examples.py -v $(ARGS)

constraints: | prerequisites  ## pin the newest versions that pyproject.toml allows, for every extra
	: > constraints.txt
	rm -rf $(VENV)
	$(MAKE) $(VENV)/.bench
	{ echo '# Versions that tests and benches ran with, on Python 3.11; written by "make constraints".'; \
	    $(BIN)/python -m pip freeze --exclude websocket_utils; } > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove what the targets above made
	rm -rf $(VENV) .autobahn target dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f python/websocket_utils/_core*.so

# What no target can install by itself: say so at once, not in the middle of a build.
prerequisites:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found; on Debian: apt-get install python3 python3-venv, elsewhere python.org" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "Rust is needed and cargo was not found: install it with rustup (rustup.rs), then open a new shell" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C linker is needed and cc was not found; on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }

# Stamps: each is newer than what it was made from, so that nothing is done twice.
$(VENV)/.made: constraints.txt | prerequisites
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install maturin
	@touch $@

$(VENV)/.built: $(VENV)/.made pyproject.toml $(RUST_SOURCES)
	@echo "building the extension"
	@$(BIN)/maturin develop --quiet --release --locked --extras cli
	@touch $@

# pip finds the project installed, and adds what its extras ask for.
$(VENV)/.dev: $(VENV)/.built
	@echo "installing the tools for tests and checks"
	@$(PIP) install 'websocket_utils[dev]'
	@touch $@

edge/%/node_modules/.made: edge/%/package-lock.json
	@echo "installing what edge/$* asks npm for"
	@npm ci --prefix edge/$* --ignore-scripts --no-audit --no-fund --silent
	@touch $@

edge/%/node_modules/.built: edge/%/node_modules/.made $(EDGE_SOURCES)
	@npm --prefix edge/$* run --silent --if-present build
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "installing the peers of the benches"
	@$(PIP) install 'websocket_utils[bench]'
	@touch $@
