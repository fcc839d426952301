#!/usr/bin/env bash
# Cargo's runner for the suites: one that hangs is stopped and fails by name, and those after it still run.
set -euo pipefail
# The longest suite takes some five minutes on two cores.
seconds_max=1500
status=0
timeout --kill-after=10 "$seconds_max" "$@" || status=$?
if [ "$status" -eq 124 ]; then echo "test: FAILED: $(basename "$1") did not end within $seconds_max s and was stopped" >&2; fi
exit "$status"
