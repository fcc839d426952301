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
aside=$(mktemp -d)
stop_aside() {
  for pid in "$aside"/*.pid; do
    # Its runner, which stops the suite; after the suite's end the number may be another's.
    if [ -e "$pid" ] && [ ! -e "${pid%.pid}.status" ]; then pkill -TERM -P "$(cat "$pid")" || true; fi
  done
  rm -rf "$aside"
}
trap stop_aside EXIT
status=0
# Every suite runs, so that one look at the output tells all that fails.
# Beside this shell, which acts on a signal only while it waits.
OPENARCHIVE_ASIDE=$aside cargo test --workspace --locked --no-fail-fast \
  --config "target.'cfg(unix)'.runner = ['$PWD/scripts/run-suite.sh']" &
suites=$!
trap 'kill "$suites" 2>/dev/null; exit 130' INT TERM HUP
wait "$suites" || status=$?
for name in end_to_end operator; do
  pid=$(compgen -G "$aside/$name-*.pid") || {
    echo "test: FAILED: the suite $name did not run" >&2
    status=1
    continue
  }
  suite=${pid%.pid}
  # Not a child of this shell, so there is nothing to `wait` for.
  while [ ! -e "$suite.status" ] && kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 1; done
  cat "$suite.log"
  code=$(cat "$suite.status" 2>/dev/null) || code=
  if [ "$code" != 0 ]; then
    echo "test: FAILED: $(basename "$suite") ended with ${code:-nothing said}" >&2
    status=1
  fi
done
if [ "$status" -ne 0 ]; then exit "$status"; fi
echo "test: all passed in $(($(date +%s) - started)) s"
