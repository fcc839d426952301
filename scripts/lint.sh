#!/usr/bin/env bash
# Formatting, clippy with warnings as errors, and the architecture's rules about dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "lint: rustfmt"
cargo fmt --all --check
echo "lint: clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings
echo "lint: dependencies"
scripts/check-dependencies.sh
echo "lint: limits table"
scripts/limits.sh --check
echo "lint: ok"
