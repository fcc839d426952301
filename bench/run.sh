#!/usr/bin/env bash
# Builds everything as it is released, installs the other programs where they are missing, and runs one benchmark:
# bench/run.sh peers|load|many_objects [arguments]. Measuring takes the whole machine: let nothing else run beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
which=$1; shift
export SQLX_OFFLINE=true
# One build for the programs and for what measures them, which looks for them beside itself.
program=$(cargo build --release --workspace --locked --bins --benches --message-format=json-render-diagnostics |
  python3 -c 'import json, sys
found = [m["executable"] for m in map(json.loads, sys.stdin)
         if m.get("executable") and m["target"]["name"] == sys.argv[1] and "bench" in m["target"]["kind"]]
print(found[-1])' "$which")
if [ "$which" = peers ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "bench: needs root: Postfix starts only as root, and only root may drop the kernel's caches" >&2
    exit 1
  fi
  scripts/setup.sh
  missing=()
  command -v restic >/dev/null || missing+=(restic)
  command -v borg >/dev/null || missing+=(borgbackup)
  if [ ${#missing[@]} -gt 0 ]; then
    echo "bench: installs ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
fi
if [ "$which" = many_objects ]; then exec "$program" "$@"; fi
exec "$program" --results "$PWD/bench/RESULTS.md" "$@"
