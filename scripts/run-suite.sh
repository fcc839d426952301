#!/usr/bin/env bash
# Cargo's runner for the suites: one that hangs is stopped and fails by name, and those after it still run.
set -euo pipefail
# The longest suite takes some five minutes on two cores.
seconds_max=1500
# `timeout` has a process group of its own: Ctrl-C must reach it.
timeout --kill-after=10 "$seconds_max" "$@" &
child=$!
trap 'kill "$child" 2>/dev/null' INT TERM HUP
status=0
wait "$child" || status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
  echo "test: FAILED: $(basename "$1") was stopped: it did not end within $seconds_max s" >&2
fi
exit "$status"
