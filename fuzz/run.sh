#!/usr/bin/env bash
# Runs one target under libFuzzer: fuzz/run.sh TARGET SECONDS. Starts from the committed seeds; what it learns is kept in
# fuzz/libfuzzer/corpus/, inputs that fail in fuzz/libfuzzer/artifacts/. A finding becomes a file in fuzz/seeds/TARGET/.
# Needs a C++ compiler. The compiler's own flags for coverage and the address sanitizer are nightly's; with a stable
# compiler RUSTC_BOOTSTRAP=1 unlocks them.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:-}
seconds=${2:-60}
known=$(sed -n 's/^ *Target::new("\([a-z0-9-]*\)".*/\1/p' src/lib.rs)
if ! grep -qxF -- "$target" <<<"$known"; then
  echo "fuzz: no target ${target:-was named}; there are:" >&2
  echo "$known" | sed 's/^/  /' >&2
  exit 2
fi
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" -Ccodegen-units=1 -Zsanitizer=address"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are not for build scripts.
SQLX_OFFLINE=true RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" \
  cargo build --release --manifest-path libfuzzer/Cargo.toml --target "$host"
mkdir -p "libfuzzer/corpus/$target" "libfuzzer/artifacts/$target"
folders=("libfuzzer/corpus/$target")
if [ -d "seeds/$target" ]; then folders+=("seeds/$target"); fi
for folder in $(sed -n 's/^const \(JOURNAL\|LEDGER\): .*"\(.*\)".*/\1=\2/p' src/lib.rs); do
  if grep -qE "Target::new\(\"$target\", .*${folder%%=*}\)" src/lib.rs; then folders+=("${folder#*=}"); fi
done
OPENARCHIVE_FUZZ_TARGET="$target" exec "libfuzzer/target/$host/release/openarchive-libfuzzer" \
  -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
  -artifact_prefix="libfuzzer/artifacts/$target/" "${folders[@]}"
