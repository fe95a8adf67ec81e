# `make demo` runs a demonstration and `make test` the test suite. The demo needs Rust only. The
# tests also need Python >= 3.11 and Node >= 20, for the packages. `make test-rust`,
# `make test-python` and `make test-node` need one of them each.

# The trace of `make demo`; empty for the built-in workload.
TRACE ?=
SPEED ?= 1
CLASS ?= llama-70b-4xh100
REPLICAS ?= 8
SEEDS ?= 1
REPORT ?= target/demo.html

PYTHON ?= python3

# Always the same crates with the same features: otherwise they would be compiled again.
CARGO_TEST = cargo test --all-features -p slotwise -p slotwise-wire -p slotwise-gateway \
	-p slotwise-sim -p slotwise-benches

SIM = cargo run --quiet --release -p slotwise-sim --

.PHONY: help demo test test-rust test-python test-node test-examples test-hosts test-busy test-slow test-vllm lint doc bench instructions bench-check bench-python bench-node bench-rivals soak clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: ## Replays a workload under all policies. TRACE=file SPEED=1.5 CLASS=... REPLICAS=8 SEEDS=1
	@echo "Building the simulator (a minute the first time) ..."
	@cargo build --quiet --release -p slotwise-sim
	@$(SIM) compare $(if $(TRACE),--trace "$(TRACE)") --speed $(SPEED) --class $(CLASS) \
		--replicas $(REPLICAS) --seeds $(SEEDS) --report "$(REPORT)"

test: ## Runs all tests of all languages, also after a failure; ends with a line for each
	@MAKE="$(MAKE)" tests/every_language.sh

test-busy: ## Runs `make test` five times beside busy processes: no test depends on speed
	@MAKE="$(MAKE)" tests/busy.sh

test-rust: ## Tests the Rust crates, and builds core and wire without std
	cargo build -p slotwise -p slotwise-wire -p slotwise-gateway --no-default-features
	$(CARGO_TEST) --no-fail-fast

test-python: ## Builds and tests the Python package in a fresh environment, with its types
	rm -rf target/python && $(PYTHON) -m venv target/python
	target/python/bin/pip install --quiet --disable-pip-version-check './python[test]'
	cd python && ../target/python/bin/python -P -m pytest
	cd python && ../target/python/bin/python -P -m mypy
	cd python && ../target/python/bin/python -P -m mypy.stubtest slotwise._core
	cd target/python && PATH="$$PWD/bin:$$PATH" bin/pyright --verifytypes slotwise --ignoreexternal
	cd python && ../target/python/bin/pyright --pythonpath ../target/python/bin/python tests/consumer.py
	target/python/bin/pip install --quiet --disable-pip-version-check 'pyzmq~=27.3'
	target/python/bin/python tests/examples/run.py python slotwise-python

test-node: ## Builds and tests the Node package from its lockfile
	cd crates/node/npm && npm ci --no-audit --no-fund && npm run build && npm test
	cd crates/node/npm/test/hosts && npm ci --ignore-scripts --no-audit --no-fund && npm test
	cd examples/node && npm ci --ignore-scripts --no-audit --no-fund
	$(PYTHON) tests/examples/run.py node slotwise-node

test-examples: ## Tests all gateways on one scenario. After test-python and test-node
	cargo build --quiet --manifest-path examples/rust/Cargo.toml --target-dir examples/rust/target
	target/python/bin/python tests/examples/run.py python node rust slotwise-python slotwise-node

# All hosts, if empty.
HOSTS ?=

test-hosts: ## Tests adapters in real hosts, the admin page, several gateways; skips what is missing
	PYTHON="$(PYTHON)" tests/hosts/run.sh $(HOSTS)

test-slow: ## More cases of property tests; all orders of threads; flat memory
	PROPTEST_CASES=1500 $(CARGO_TEST) --test prefix_index_equals_its_reference_model \
		--test every_reservation_is_released_once
	cargo test --release -p slotwise --all-features --test prefix_index_equals_its_reference_model \
		--test the_prefix_index_keeps_to_its_memory -- --ignored --nocapture
	PROPTEST_CASES=1000 $(CARGO_TEST) --test nothing_is_lost_or_served_twice one_engine
	PROPTEST_CASES=100 $(CARGO_TEST) --test pruning_never_changes_a_decision
	RUSTFLAGS="--cfg loom" cargo test -p slotwise --lib --target-dir target/loom prefix::
	target/python/bin/python python/bench/memory.py 1
	cd crates/node/npm && npm run --silent bench:memory -- 1

test-vllm: ## Tests against two vLLM servers on CPUs (6 GB of disk); skipped if not installable
	tests/vllm/run.sh

lint: ## Checks formatting, clippy, documentation, prose and the supply chain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy -p slotwise --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps
	$(PYTHON) tests/supply/check.py
	$(PYTHON) tests/docs/check.py
	$(PYTHON) tests/prose/check.py

doc: ## Builds the manual: target/doc/slotwise/index.html
	cargo doc --workspace --all-features --no-deps

bench: ## Times decisions and hashing with criterion
	cargo bench -p slotwise-benches

instructions: ## Counts instructions of decisions with callgrind. BEFORE=file compares
	benches/instructions.sh $(BEFORE)

bench-check: ## Fails if one of twelve operations takes 3 % more instructions than recorded
	benches/check.sh

soak: ## A gateway of 65,000 endpoints for an hour of its time: MINUTES=5 FILL=1 for less
	cargo run --quiet -p slotwise-benches --bin soak --profile bench -- --minutes $(or $(MINUTES),60) --fill $(or $(FILL),10)

bench-python: ## Times decisions from Python, an empty call and rivals. After test-python
	target/python/bin/python python/bench/pick.py

bench-node: ## Times decisions from Node and an empty call. After test-node
	cd crates/node/npm && npm run bench

# The output of `make bench-rivals`.
RECORD ?= benches/record/rivals.json

bench-rivals: ## Times published prefix indexes, 20 minutes. TRACE=file DATE=2026-11-21 RECORD=file
	cd benches/rivals && cargo build --release
	benches/rivals/target/release/rivals $(if $(TRACE),--trace "$(TRACE)") $(if $(DATE),--date $(DATE)) --json "$(RECORD)"

clean: ## Removes all build output
	cargo clean
