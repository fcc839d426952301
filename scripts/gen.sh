#!/usr/bin/env bash
# Regenerates what is generated and committed: gRPC code, OpenAPI, checked-query data (.sqlx), tables in docs/, what is made of
# the operator's kinds and rights.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "gen: gRPC code"
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-proto --test generated
echo "gen: checked queries"
scripts/with-database.sh scripts/gen-queries.sh
echo "gen: OpenAPI"
OPENARCHIVE_WRITE_GENERATED=1 SQLX_OFFLINE=true cargo test -q -p openarchive-gateway openapi
echo "gen: metrics"
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-telemetry --lib docs_metrics_md_is_fresh
echo "gen: topology"
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-topology
echo "gen: definitions, references, templates and policies of the operator"
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-operator-cli --test generated
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-operator-controller --lib committed_to
OPENARCHIVE_WRITE_GENERATED=1 cargo test -q -p openarchive-operator-netpol --test netpol golden
cargo build -q -p openarchive-operator-cli
scripts/charts.sh --write target/debug/openarchive-operator
echo "gen: limits"
scripts/limits.sh
echo "gen: done"
