# Two commands. Both build the dev profile, so each finds ready what the other one built.
#
#   make demo    market-lambda against the built-in simulator, on http://127.0.0.1:7070
#   make test    everything that proves the product, cheapest first

.PHONY: demo test
MAKEFLAGS += --no-builtin-rules

# In CI a clean checkout shall not build the dependencies again.
ifeq ($(CI),true)
export CARGO_TARGET_DIR = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/thalweg/target
endif

# Runs $(1), says what runs, and then how long it took.
step = @echo; echo "== $(1)"; start=$$(date +%s); $(1) && echo "== took $$(($$(date +%s) - start)) s: $(1)"

demo:
	@command -v npm >/dev/null && cargo xtask ui || echo "The screen is not built (see above; it needs npm of Node 20): the demo runs without it."
	cargo run --package thalweg -- demo

test:
	$(call step,cargo xtask tidy)
	$(call step,cargo fmt --all --check)
	$(call step,cargo clippy --workspace --all-targets -- -D warnings)
	$(call step,cargo xtask ui)
	$(call step,cargo test --workspace --no-fail-fast)
	$(call step,cargo xtask ui --test)
