#!/usr/bin/env bash
# The test-suite. Every test starts its own servers on 127.0.0.1 and stops them.
set -euo pipefail
cd "$(dirname "$0")/.."
# As root nothing may be skipped: whoever runs as root has what the tests need.
if [ "$(id -u)" -eq 0 ]; then export OPENARCHIVE_NO_SKIP=1; fi
scripts/corpus.sh
echo "test: builds"
built=$(date +%s)
# Built once for each machine, beside our own code: where it cannot be had, the operator's tests say so.
scripts/kubernetes.sh >/dev/null &
kubernetes=$!
# Programs and suites in one go: apart they would choose other features of what they depend on, and compile it twice.
cargo build --workspace --locked --bins --tests
wait "$kubernetes" || true
started=$(date +%s)
echo "test: built in $((started - built)) s; runs"
# Every suite runs, so that one look at the output tells all that fails.
cargo test --workspace --locked --no-fail-fast --config "target.'cfg(unix)'.runner = ['$PWD/scripts/run-suite.sh']"
echo "test: all passed in $(($(date +%s) - started)) s"
