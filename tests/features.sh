#!/usr/bin/env bash
# Checks that every combination of features compiles without a warning, and that what a producer needs stays small.
set -euo pipefail
cd "$(dirname "$0")/.."

# At most so many crates of others, without those that only a driver brings.
most=23

# The names and versions of the crates that `cargo tree` with these arguments lists, one each.
crates() {
    cargo tree --edges normal --prefix none --format '{p}' "$@" | sed 's/ (.*//' | grep -v '^aint-queue' | sort -u
}

# What is left of a producer's tree without the crates that stand for a driver and all that those need themselves.
producer() {
    local features=$1 own=/dev/null crate
    shift
    own=$(mktemp)
    for crate in "$@"; do
        crates --package "$crate" >>"$own"
    done
    crates --no-default-features >"$own.core"
    # What the driver shares with the rest counts as the rest.
    crates --no-default-features --features "$features" | sort -u - "$own.core" |
        { grep -vxFf <(sort -u "$own" | comm -23 - "$own.core") || true; } | wc -l
    rm -f "$own" "$own.core"
}

count() {
    local what=$1 found
    shift
    found=$(producer "$@")
    echo "a producer $what: $found crates"
    if ((found > most)); then
        echo "error: that is more than $most: look at cargo tree --edges normal --no-default-features" >&2
        exit 1
    fi
}

count "without a driver" ""
count "on SQLite, without the driver's own" sqlite rusqlite crossbeam-channel nix
count "on Redis, without the driver's own" redis redis

# Each feature by itself; all of them together are what every other check compiles.
for features in "" tracing sqlite redis server otel; do
    echo "features: ${features:-none}"
    cargo clippy --quiet --lib --bins --no-default-features --features "$features" -- -D warnings
    cargo clippy --quiet --package aint-queue-core --no-default-features --features "$features" -- -D warnings
done

# The terminal view, which the crate of producers does not know.
echo "features: top"
cargo clippy --quiet --lib --bins --no-default-features --features top -- -D warnings

# A user's program without any feature, at the versions of this workspace and with what other checks have compiled.
cp Cargo.lock tests/producer/
CARGO_TARGET_DIR=target cargo clippy --quiet --manifest-path tests/producer/Cargo.toml --all-targets -- -D warnings
CARGO_TARGET_DIR=target cargo test --quiet --manifest-path tests/producer/Cargo.toml
