# The habits of this repository. `just` lists them.

_default:
    @just --list --unsorted

# format everything
fmt:
    cargo fmt --all

# what CI will complain about
lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings

# everything, on a real Envoy and a real gRPC client; a filter may follow
test *filter:
    cargo test --workspace {{filter}}

# two thousand changed configurations, judged by `check` and by Envoy; `DIFFERENTIAL_SEED=7` for others
differential:
    cargo test --test integration every_difference_is_listed -- --ignored --nocapture

# rewrite the golden files; read `git diff` before committing them
bless:
    BLESS=1 cargo test --test integration -- golden:: rejected::
    git diff --stat -- tests/golden tests/rejected

# the documentation, with its links checked
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# licences, sources and banned crates
deny:
    .ci/deny

# a real Envoy, two upstreams and a file to edit
sandbox:
    cargo run --release --example sandbox

bench *filter:
    cargo bench --benches -- {{filter}}

# exactly what CI runs
ci:
    .ci/run
