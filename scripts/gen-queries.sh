#!/usr/bin/env bash
# Writes .sqlx afresh: the query macros save what the database said of each query. Needs DATABASE_URL.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .sqlx.new && mkdir .sqlx.new
# The macros run again only where the crate is built again.
for crate in schema trust storage ingest gateway worker; do
  touch services/$crate/src/lib.rs
  find services/$crate/tests -name '*.rs' -exec touch {} + 2>/dev/null || true
done
touch services/openarchive/src/main.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$PWD/.sqlx.new" cargo check --workspace --all-targets --locked
rm -rf .sqlx && mv .sqlx.new .sqlx
echo "gen: $(ls .sqlx | wc -l) queries"
