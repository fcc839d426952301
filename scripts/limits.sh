#!/usr/bin/env bash
# Writes docs/limits.md: every named limit in the code, with what its comment says. `--check` compares instead.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
table() {
  printf '# Limits\n\nMade by `scripts/limits.sh` from the constants whose names end in `_MAX`. Each stands beside its use.\n\n| limit | value | what | where |\n|---|---|---|---|\n'
  git ls-files 'services/*/src/*.rs' 'operator/*/src/*.rs' | grep -v tests | sort | while read -r file; do
    awk -v file="${file#services/}" '
      /^ *\/\/\/ / { line = $0; sub(/^ *\/\/\/ /, "", line); doc = (doc == "" ? line : doc " " line); next }
      /^(pub(\(crate\)|\(super\))? )?const [A-Z0-9_]+_MAX: / {
        name = $0; sub(/^.*const /, "", name); sub(/:.*/, "", name)
        value = $0; sub(/^[^=]*= /, "", value); sub(/;.*/, "", value); gsub(/\|/, "\\|", doc)
        printf "| `%s` | `%s` | %s | %s |\n", name, value, doc, file
      }
      { doc = "" }' "$file"
  done
}
if [ "${1:-}" = --check ]; then
  diff <(table) docs/limits.md >/dev/null || { echo "docs/limits.md is stale: run make gen" >&2; exit 1; }
else
  table >docs/limits.md
fi
