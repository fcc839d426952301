#!/usr/bin/env bash
# Cargo's runner for the suites: one that hangs is stopped and fails by name, and those after it still run.
#
# OPENARCHIVE_SUITES='NAME|NAME...' runs those only, and adds the name of each to the file OPENARCHIVE_RAN.
# With OPENARCHIVE_ASIDE=FOLDER the two longest suites, which mostly wait, run beside the others: each is begun, its output goes
# to FOLDER/NAME.log and its exit code to FOLDER/NAME.status, and whoever asked for that waits for it.
set -euo pipefail
# The longest suite takes some six minutes on two cores.
seconds_max=1500
name=$(basename "$1")
if [ -n "${OPENARCHIVE_SUITES:-}" ]; then
  [[ $name =~ ^($OPENARCHIVE_SUITES)- ]] || exit 0
  echo "${BASH_REMATCH[1]}" >>"$OPENARCHIVE_RAN"
fi
if [ -n "${OPENARCHIVE_ASIDE:-}" ] && [[ $name == end_to_end-* || $name == operator-* ]]; then
  folder=$OPENARCHIVE_ASIDE
  unset OPENARCHIVE_ASIDE
  echo "test: $name runs beside the others; its output follows at the end"
  {
    status=0
    "$0" "$@" || status=$?
    # In one step: whoever waits for it never reads half of it.
    echo "$status" >"$folder/$name.status.new" && mv "$folder/$name.status.new" "$folder/$name.status"
  } </dev/null >"$folder/$name.log" 2>&1 &
  echo $! >"$folder/$name.pid"
  exit 0
fi
# `timeout` has a process group of its own: Ctrl-C must reach it.
timeout --kill-after=10 "$seconds_max" "$@" &
child=$!
trap 'kill "$child" 2>/dev/null' INT TERM HUP
status=0
wait "$child" || status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
  echo "test: FAILED: $name was stopped: it did not end within $seconds_max s" >&2
fi
exit "$status"
