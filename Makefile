# Two commands do everything: `make demo` shows it, `make test` proves it. Both need Rust and nothing else.

# What `make demo` replays: nothing means the built-in workload.
TRACE ?=
SPEED ?= 1
CLASS ?= llama-70b-4xh100
REPLICAS ?= 8
SEEDS ?= 1
REPORT ?= target/demo.html

SIM = cargo run --quiet --release -p slotwise-sim --

.PHONY: help demo test test-slow lint doc bench clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Replays a workload under all policies. TRACE=file SPEED=1.5 CLASS=... REPLICAS=8 SEEDS=1
	@echo "Building the simulator (a minute the first time) ..."
	@cargo build --quiet --release -p slotwise-sim
	@$(SIM) compare $(if $(TRACE),--trace "$(TRACE)") --speed $(SPEED) --class $(CLASS) \
		--replicas $(REPLICAS) --seeds $(SEEDS) --report "$(REPORT)"

test: ## Runs all tests, doctests and the proof that the core is no_std
	cargo build -p slotwise --no-default-features
	cargo test --workspace --all-features

test-slow: ## The property tests with ten times as many cases
	PROPTEST_CASES=4000 cargo test -p slotwise --all-features --test prefix_index_equals_its_naive_twin \
		--test every_reservation_is_released_once
	PROPTEST_CASES=2000 cargo test -p slotwise-sim --test nothing_is_lost_or_served_twice one_engine

lint: ## Formatting, clippy and documentation, with warnings as errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy -p slotwise --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

doc: ## Builds the manual: target/doc/slotwise/index.html
	cargo doc --workspace --all-features --no-deps

bench: ## Times decisions and hashing with criterion
	cargo bench -p slotwise-benches

clean: ## Removes everything that was built
	cargo clean
